"""Convolution, its transpose, and the matrix of patches (im2col), over any number of spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import axis_of, refusal


@dataclass(frozen=True)
class _Window:
    """One number a spatial axis in every field."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def of(cls, layer: Layer, rank: int) -> _Window:
        made = cls(
            _by_axis(layer, "kernel_size", "kernel", rank, None),
            _by_axis(layer, "stride", "stride", rank, 1),
            _by_axis(layer, "pad", "pad", rank, 0),
            _by_axis(layer, "dilation", None, rank, 1),
        )
        if min((*made.kernel, *made.stride, *made.dilation), default=1) < 1:
            raise refusal(
                layer,
                "has a kernel, stride or dilation of 0.",
                received=f"kernel {made.kernel}, stride {made.stride}, dilation {made.dilation}",
                hint="write both of kernel_h and kernel_w, of stride_h and stride_w, or one number for both",
            )
        return made

    @property
    def extent(self) -> tuple[int, ...]:
        """Cells from the first to the last tap."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def attributes(self) -> dict[str, list[int]]:
        """As ONNX' operators take them; a blob without spatial axes is given one of size 1."""
        return {
            "kernel_shape": list(self.kernel) or [1],
            "strides": list(self.stride) or [1],
            "dilations": list(self.dilation) or [1],
            "pads": [*self.pad, *self.pad] or [0, 0],
        }


def _by_axis(layer: Layer, field: str, stem: str | None, rank: int, default: int | None) -> tuple[int, ...]:
    """A number for each spatial axis: written once, or once an axis, or for two axes as `_h` and `_w`."""
    param = layer.message.convolution_param
    repeated = [int(item) for item in getattr(param, field)]
    if stem is not None and (param.HasField(f"{stem}_h") or param.HasField(f"{stem}_w")):
        if rank != 2 or repeated:
            raise refusal(
                layer,
                f"mixes {field} with {stem}_h and {stem}_w, or has not 2 spatial axes.",
                received=f"{field}: {repeated}, {rank} spatial axes",
                hint=f"write {field} once for each axis",
            )
        return int(getattr(param, f"{stem}_h")), int(getattr(param, f"{stem}_w"))
    if not repeated and default is not None:
        return (default,) * rank
    if len(repeated) not in (1, rank):
        raise refusal(
            layer,
            f"has {len(repeated)} numbers in {field}, and its input {rank} spatial axes.",
            received=f"{field}: {repeated}",
            hint=f"write {field} once, or once for each axis",
        )
    return tuple(repeated) if len(repeated) == rank else tuple(repeated) * rank


@dataclass(frozen=True)
class _Images:
    """A blob as images: the axes before the channels are one, and there is at least one spatial axis."""

    value: Value
    before: tuple[int | None, ...]
    channels: int
    spatial: tuple[int, ...]

    @classmethod
    def of(cls, g: Builder, layer: Layer, x: Value) -> _Images:
        axis = axis_of(layer, x, layer.message.convolution_param.axis)
        before, channels, spatial = x.shape[:axis], *x.sizes_from(axis, axis + 1), x.sizes_from(axis + 1)
        if axis == 0:
            g.batch_is_fixed = True
        count = before[0] if len(before) == 1 else math.prod(x.sizes_from(0, axis))
        value = g.reshape(x, (count, channels, *(spatial or (1,))))
        return cls(value, before, channels, spatial)

    def back(self, g: Builder, made: Value) -> Value:
        """`made` with the axes that the blob had."""
        return g.reshape(made, (*self.before, *made.sizes_from(1, 2 + len(self.spatial))))


def _counts(layer: Layer, channels: int) -> tuple[int, int]:
    """Number of output channels and of groups."""
    param = layer.message.convolution_param
    count, group = int(param.num_output), int(param.group)
    if count < 1:
        raise refusal(layer, "has no output.", received=f"num_output: {count}", hint="write num_output")
    if group < 1 or channels % group or count % group:
        raise refusal(
            layer,
            f"cannot cut its channels into {group} groups.",
            received=f"{channels} channels in, num_output {count}, group {group}",
            hint="check num_output and group, and the input's shape: inputs={NAME: SHAPE}",
        )
    return count, group


def _one_top_each(layer: Layer) -> None:
    if len(layer.bottoms) != len(layer.tops):
        raise refusal(
            layer,
            f"has {len(layer.bottoms)} bottoms and {len(layer.tops)} tops.",
            received=f"{', '.join(layer.bottoms) or 'none'}; {', '.join(layer.tops) or 'none'}",
            hint="write one top for each bottom",
        )


def _fits(layer: Layer, images: _Images, result: Sequence[int]) -> None:
    if min(result, default=1) < 1:
        raise refusal(
            layer,
            "has a window that is larger than its padded input.",
            received=f"spatial sizes {images.spatial}, result {tuple(result)}",
            hint="give a larger input: inputs={NAME: SHAPE}",
        )


def _slid(images: _Images, window: _Window) -> list[int]:
    """How many places the window takes on each axis."""
    sizes = zip(images.spatial, window.extent, window.stride, window.pad, strict=True)
    return [(size + 2 * pad - extent) // stride + 1 for size, extent, stride, pad in sizes]


@layer_type("Convolution")
def convolution(g: Builder, layer: Layer, *bottoms: Value) -> tuple[Value, ...]:
    """Cross-correlation over the axes behind the channels; all bottoms share the weights."""
    param = layer.message.convolution_param
    _one_top_each(layer)
    tops = []
    for x in bottoms:
        images = _Images.of(g, layer, x)
        window = _Window.of(layer, len(images.spatial))
        count, group = _counts(layer, images.channels)
        _fits(layer, images, _slid(images, window))
        shape = (count, images.channels // group, *window.kernel)
        view = shape if window.kernel else (*shape, 1)
        kernel = g.blob(layer, 0, shape, param.weight_filler, view=view)
        bias = g.blob(layer, 1, (count,), param.bias_filler) if param.bias_term else None
        tops.append(images.back(g, g.Conv(images.value, kernel, bias, group=group, **window.attributes())))
    return tuple(tops)


@layer_type("Deconvolution")
def deconvolution(g: Builder, layer: Layer, *bottoms: Value) -> tuple[Value, ...]:
    """The transpose of a convolution: `pad` cells are cut from each side, gaps between windows hold the bias."""
    param = layer.message.convolution_param
    _one_top_each(layer)
    tops = []
    for x in bottoms:
        images = _Images.of(g, layer, x)
        window = _Window.of(layer, len(images.spatial))
        count, group = _counts(layer, images.channels)
        sizes = zip(images.spatial, window.extent, window.stride, window.pad, strict=True)
        _fits(layer, images, [stride * (size - 1) + extent - 2 * pad for size, extent, stride, pad in sizes])
        shape = (images.channels, count // group, *window.kernel)
        view = shape if window.kernel else (*shape, 1)
        kernel = g.blob(layer, 0, shape, param.weight_filler, view=view)
        bias = g.blob(layer, 1, (count,), param.bias_filler) if param.bias_term else None
        tops.append(images.back(g, g.ConvTranspose(images.value, kernel, bias, group=group, **window.attributes())))
    return tuple(tops)


@layer_type("Im2col")
def im2col(g: Builder, layer: Layer, *bottoms: Value) -> tuple[Value, ...]:
    """The patches under each place of the window, as channels (channel, tap): a convolution with unit kernels."""
    _one_top_each(layer)
    tops = []
    for x in bottoms:
        images = _Images.of(g, layer, x)
        window = _Window.of(layer, len(images.spatial))
        _fits(layer, images, _slid(images, window))
        taps = math.prod(window.kernel)
        unit = np.eye(taps, dtype=np.float32).reshape(taps, 1, *(window.kernel or (1,)))
        kernel = g.constant(np.tile(unit, (images.channels, *[1] * (unit.ndim - 1))))
        tops.append(images.back(g, g.Conv(images.value, kernel, group=images.channels, **window.attributes())))
    return tuple(tops)
