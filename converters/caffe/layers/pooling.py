"""Pooling over windows and over whole images, and pyramids of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import choice, refusal
from modelzoo.errors import UnsupportedOperatorError


@dataclass(frozen=True)
class _Axis:
    """The windows along one spatial axis.

    Attributes:
        size: of the image; kernel, stride, pad: as the layer writes them.
        count: how many windows there are.
    """

    size: int
    kernel: int
    stride: int
    pad: int
    count: int

    @classmethod
    def of(cls, size: int, kernel: int, stride: int, pad: int, *, floor: bool, clipped: bool) -> _Axis:
        """Counted rounded up, unless `floor`; where any axis is padded (`clipped`), the last starts in the image."""
        spare = size + 2 * pad - kernel
        count = (spare // stride if floor else -(-spare // stride)) + 1
        if clipped and (count - 1) * stride >= size + pad:
            count -= 1
        return cls(size, kernel, stride, pad, count)

    @property
    def last(self) -> int:
        """Where the last window starts."""
        return (self.count - 1) * self.stride - self.pad

    @property
    def empty(self) -> int:
        """How many windows lie behind the image altogether: the last one, where the stride exceeds the kernel."""
        return int(self.last >= self.size)

    @property
    def reach(self) -> int:
        """Cells behind the image that the windows cover, those left out that lie behind it altogether."""
        return max(self.last - self.empty * self.stride + self.kernel - self.size, 0)


Axes = tuple[_Axis, _Axis]


@layer_type("Pooling")
def pooling(g: Builder, layer: Layer, x: Value) -> Value | tuple[Value, ...]:
    """Maxima or means of windows; a second top of MAX is where each maximum lies, row * width + column, as float."""
    param = layer.message.pooling_param
    height, width = _image(layer, x)
    kind = _kind(layer, choice(param, "pool"))
    given = param.HasField("kernel_size"), param.HasField("kernel_h") and param.HasField("kernel_w")
    kernel = (param.kernel_h, param.kernel_w) if given[1] else (param.kernel_size, param.kernel_size)
    pad, stride = _pair(layer, "pad"), _pair(layer, "stride")
    if param.global_pooling:
        if any(given) or any(pad) or set(stride) != {1}:
            raise refusal(
                layer,
                "pools over whole images and has a window.",
                received=f"kernel {kernel}, pad {pad}, stride {stride}",
                hint="leave out global_pooling, or kernel, pad and stride",
            )
        if len(layer.tops) < 2:
            return g.GlobalMaxPool(x) if kind == "MAX" else g.GlobalAveragePool(x)
        kernel = (height, width)
    elif all(given) or not any(given):
        raise refusal(layer, "needs kernel_size, or else kernel_h and kernel_w.", received=f"kernel {kernel}")
    floor = choice(param, "round_mode") == "FLOOR"
    axes = _windows(layer, (height, width), kernel, stride, pad, floor=floor)
    return _means(g, x, axes) if kind == "AVE" else _maxima(g, x, axes, mask=len(layer.tops) > 1)


@layer_type("SPP")
def spatial_pyramid(g: Builder, layer: Layer, x: Value) -> Value:
    """Level i pools about 2^i x 2^i bins; the levels are flattened and joined. A pyramid of one level stays 4-D.

    Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition, https://arxiv.org/abs/1406.4729
    """
    param = layer.message.spp_param
    sizes = _image(layer, x)
    kind = _kind(layer, choice(param, "pool"))
    levels = []
    for level in range(param.pyramid_height):
        bins = 2**level
        height, width = (-(-size // bins) for size in sizes)
        pad = ((height * bins - sizes[0] + 1) // 2, (width * bins - sizes[1] + 1) // 2)
        axes = _windows(layer, sizes, (height, width), (height, width), pad)
        levels.append(_means(g, x, axes) if kind == "AVE" else _maxima(g, x, axes, mask=False)[0])
    if not levels:
        raise refusal(layer, "has no level.", received="pyramid_height: 0", hint="write pyramid_height of 1 or more")
    if len(levels) == 1:
        return levels[0]
    return g.Concat(*(g.Flatten(made, axis=1) for made in levels), axis=1)


def _pair(layer: Layer, name: str) -> tuple[int, int]:
    """A number for the height and one for the width: `<name>_h` and `<name>_w`, or `<name>` for both."""
    param = layer.message.pooling_param
    alone, *each = (param.HasField(field) for field in (name, f"{name}_h", f"{name}_w"))
    if any(each) and (alone or not all(each)):
        raise refusal(
            layer,
            f"needs {name}, or else both {name}_h and {name}_w.",
            received=", ".join(field for field in (name, f"{name}_h", f"{name}_w") if param.HasField(field)),
            hint=f"write {name} once, or {name}_h and {name}_w",
        )
    if any(each):
        return int(getattr(param, f"{name}_h")), int(getattr(param, f"{name}_w"))
    return (int(getattr(param, name)),) * 2


def _image(layer: Layer, x: Value) -> tuple[int, int]:
    if x.rank != 4:
        raise refusal(
            layer,
            "needs an input of 4 axes (number, channels, height, width).",
            received=f"shape {x.shape}",
            hint="give the input's shape: inputs={NAME: SHAPE}",
        )
    height, width = x.sizes_from(2)
    return height, width


def _kind(layer: Layer, pool: str) -> str:
    if pool == "STOCHASTIC":
        raise UnsupportedOperatorError(
            layer.name,
            "Pooling (STOCHASTIC)",
            what=f"Layer {layer.name!r} ({layer.type}) pools at random, which Caffe itself does on GPUs only.",
            hint="write pool: MAX or pool: AVE in the prototxt",
        )
    return pool


def _windows(
    layer: Layer,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    *,
    floor: bool = False,
) -> Axes:
    padded = any(pad)
    if min(kernel) < 1 or min(stride) < 1 or (padded and any(p >= k for p, k in zip(pad, kernel, strict=True))):
        raise refusal(
            layer,
            "has a kernel or stride of 0, or padding that is not smaller than the kernel.",
            received=f"kernel {kernel}, stride {stride}, pad {pad}",
        )
    high, wide = (_Axis.of(size[i], kernel[i], stride[i], pad[i], floor=floor, clipped=padded) for i in range(2))
    if min(high.count, wide.count) < 1:
        raise refusal(
            layer,
            "has a window that is larger than its padded input.",
            received=f"image {size}, kernel {kernel}, stride {stride}, pad {pad}",
            hint="give a larger input: inputs={NAME: SHAPE}",
        )
    return high, wide


def _frame(begin: tuple[int, int], end: tuple[int, int]) -> list[int]:
    """The `pads` of Pad for an image (N, C, height, width)."""
    return [0, 0, *begin, 0, 0, *end]


def _maxima(g: Builder, x: Value, axes: Axes, *, mask: bool) -> tuple[Value, ...]:
    """Windows are cut to the image; one that is empty gives the lowest number, and -1 as place in the mask."""
    high, wide = axes
    attributes = {
        "kernel_shape": [axis.kernel for axis in axes],
        "strides": [axis.stride for axis in axes],
        "pads": [high.pad, wide.pad, high.reach, wide.reach],
    }
    frame = _frame((0, 0), (high.empty, wide.empty))
    lowest = float(np.finfo(np.float32).min)
    if not mask:
        made = g.MaxPool(x, **attributes)
        return (g.Pad(made, frame, lowest) if any(frame) else made,)
    made, places = g.MaxPool(x, outputs=2, **attributes)
    # ONNX counts through the whole batch, Caffe through one channel of one image.
    places = g.Cast(g.Mod(places, g.constant(high.size * wide.size, np.int64)), to=1)
    if any(frame):
        made, places = g.Pad(made, frame, lowest), g.Pad(places, frame, -1.0)
    return made, places


def _means(g: Builder, x: Value, axes: Axes) -> Value:
    """The divisor is the window cut to the image with its padding: cells of zeros count, what lies beyond does not."""
    high, wide = axes
    begin, end = (high.pad, wide.pad), (high.reach, wide.reach)
    attributes = {
        "kernel_shape": [axis.kernel for axis in axes],
        "strides": [axis.stride for axis in axes],
    }
    beyond = [max(axis.reach - axis.pad, 0) for axis in axes]
    if not any(beyond):
        made = g.AveragePool(x, pads=[*begin, *end], count_include_pad=int(any(begin + end)), **attributes)
    else:
        if any(begin + end):
            x = g.Pad(x, _frame(begin, (min(end[0], high.pad), min(end[1], wide.pad))), 0.0)
        made = g.AveragePool(x, pads=[0, 0, *beyond], **attributes)
    return _with_empty(g, made, axes)


def _with_empty(g: Builder, x: Value, axes: Axes) -> Value:
    """Behind the means those of the empty windows: 0 by the (negative) divisor that Caffe computes, NaN where it is 0.

    The axis that gives NaN comes last, so that it prevails in the corner.
    """
    ends = {0.0: [0, 0], float("nan"): [0, 0]}
    for i, axis in enumerate(axes):
        if axis.empty:
            value = float("nan") if axis.last == axis.size else 0.0
            next(end for key, end in ends.items() if (key != key) == (value != value))[i] = 1
    for value, (below, right) in ends.items():
        if below or right:
            x = g.Pad(x, _frame((0, 0), (below, right)), value)
    return x
