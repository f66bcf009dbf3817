"""Convolutions: the kernel is permuted once, at conversion, to Keras' (spatial..., in / groups, out)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from converters.keras.held import Held
from converters.keras.node import Node
from converters.keras.stock.elementwise import biased
from converters.keras.stock.table import Result, stock
from converters.keras.stock.windows import Window

_CONV = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
_DEPTHWISE = {1: keras.layers.DepthwiseConv1D, 2: keras.layers.DepthwiseConv2D}
_TRANSPOSED = {1: keras.layers.Conv1DTranspose, 2: keras.layers.Conv2DTranspose, 3: keras.layers.Conv3DTranspose}
_ZERO_PADDING = {1: keras.layers.ZeroPadding1D, 2: keras.layers.ZeroPadding2D, 3: keras.layers.ZeroPadding3D}
#: Most groups of a transposed convolution that become layers of their own.
_GROUPS = 64

_CROPPING = {1: keras.layers.Cropping1D, 2: keras.layers.Cropping2D, 3: keras.layers.Cropping3D}


def zero_padded(at: Node, tensor: Any, begin: Sequence[int], end: Sequence[int]) -> Any:
    """`tensor` (N, spatial..., C) with cells of zeros around it."""
    rank = len(begin)
    amounts = tuple(zip(begin, end, strict=True))
    return at.layer(_ZERO_PADDING[rank], amounts[0] if rank == 1 else amounts, part="pad")(tensor)


@stock("Conv")
def conv(
    at: Node,
    x: Held,
    w: Any,
    b: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Result:
    if isinstance(b, Held):
        made = conv(at, x, w, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides)
        return biased(at, made, b)
    computed = isinstance(w, Held) and b is None and None not in w.shape and group == 1
    if not (computed or _constants(w, b)) or not isinstance(x, Held) or len(w.shape) not in (3, 4, 5):
        return None
    rank = len(w.shape) - 2
    window = Window.of(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    steps, spread = tuple(window.strides), tuple(dilations or [1] * rank)
    if (any(s > 1 for s in steps) and any(d > 1 for d in spread)) or min(window.begin + window.end) < 0:
        return None
    if rank == 3 and spread[1] != spread[2]:  # TensorFlow's shape inference takes them for each other
        return None
    if not window.exact and not window.same:
        return None
    if x.shape[1] != w.shape[1] * group:  # nor where the number of channels is open
        return None
    tensor = at.last(x)
    # What is "same" for one size is not for another, and a layer that is shared may read both.
    several = at.key is not None and window.exact and max(steps) > 1
    padding = "valid" if window.plain else "same" if window.same and not several else "explicit"
    if window.plain and max(window.kernel) == 1:
        padding = "same"  # no difference, but TensorFlow fuses the addition behind a convolution with this padding only
    if padding == "explicit":
        tensor, padding = zero_padded(at, tensor, window.begin, window.end), "valid"
    options: dict[str, Any] = {
        "strides": steps,
        "padding": padding,
        "dilation_rate": spread,
        "use_bias": b is not None,
        "dtype": x.dtype,
    }
    if computed:
        kernel = at.to(w, (*range(2, rank + 2), 1, 0))
        return at.as_last(
            keras.ops.conv(tensor, kernel, strides=steps, padding=padding, data_format="channels_last",
                           dilation_rate=spread)
        )  # fmt: skip
    if group > 1 and w.shape[1] == 1 and rank in _DEPTHWISE and len(set(steps)) == 1 and len(set(spread)) == 1:
        multiplier = w.shape[0] // group
        # (C * m, 1, spatial...) -> (spatial..., C, m)
        kernel = np.moveaxis(w.reshape(group, multiplier, *w.shape[2:]), (0, 1), (-2, -1))
        if rank == 2 and len(set(steps)) > 1:
            return None
        layer = at.layer(_DEPTHWISE[rank], w.shape[2:], depth_multiplier=multiplier, **options)
        return at.as_last(at.apply(layer, tensor, depthwise=kernel, bias=b))
    kernel = np.moveaxis(w, (0, 1), (-1, -2))
    layer = at.layer(_CONV[rank], w.shape[0], w.shape[2:], groups=group, **options)
    return at.as_last(at.apply(layer, tensor, kernel=kernel, bias=b))


@stock("ConvTranspose")
def conv_transpose(
    at: Node,
    x: Held,
    w: Any,
    b: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Result:
    if isinstance(b, Held):
        said: dict[str, Any] = {"output_padding": output_padding, "output_shape": output_shape}
        said |= {"auto_pad": auto_pad, "dilations": dilations, "group": group, "pads": pads, "strides": strides}
        return biased(at, conv_transpose(at, x, w, **said), b)
    if not _constants(w, b) or group > _GROUPS or output_shape or auto_pad not in ("NOTSET", "VALID", ""):
        return None
    rank = w.ndim - 2
    if x.shape[1] != w.shape[0]:
        return None
    steps, spread = tuple(strides or [1] * rank), tuple(dilations or [1] * rank)
    if rank not in _TRANSPOSED or (max(spread) > 1 and max(steps) > 1):
        return None
    both = list(pads or [0] * (2 * rank)) if auto_pad != "VALID" else [0] * (2 * rank)
    extent = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], spread, strict=True)]
    # Keras' "valid" gives in * s + max(k - s, 0) cells, the full result first and then zeros.
    spare = [max(s - k, 0) for k, s in zip(extent, steps, strict=True)]
    extra = list(output_padding or [0] * rank)
    begin = both[:rank]
    end = [high - more + free for high, more, free in zip(both[rank:], extra, spare, strict=True)]
    if min(begin + end) < 0:
        return None
    cropped = any(begin + end)
    whole = at.last(x)
    # Keras' layers have no groups: one layer each.
    tensors = keras.ops.split(whole, group, axis=-1) if group > 1 else [whole]
    kernels = np.split(np.moveaxis(w, (0, 1), (-1, -2)), group, axis=-1)
    biases = [None] * group if b is None else np.split(b, group)
    parts = []
    for number, (tensor, kernel, bias) in enumerate(zip(tensors, kernels, biases, strict=True)):
        layer = at.layer(
            _TRANSPOSED[rank],
            w.shape[1],
            w.shape[2:],
            strides=steps,
            dilation_rate=spread,
            padding="valid",
            use_bias=b is not None,
            dtype=x.dtype,
            part=f"group_{number + 1}" if group > 1 else "full" if cropped else None,
        )
        parts.append(at.apply(layer, tensor, kernel=kernel, bias=bias))
    made = parts[0]
    if group > 1:
        made = at.layer(keras.layers.Concatenate, part="full" if cropped else None)(parts)
    if cropped:
        amounts = tuple(zip(begin, end, strict=True))
        made = at.layer(_CROPPING[rank], amounts[0] if rank == 1 else amounts)(made)
    return at.as_last(made)


def _constants(w: Any, b: Any) -> bool:
    return isinstance(w, np.ndarray) and (b is None or isinstance(b, np.ndarray))
