"""Convolutions and their transposes, in one to three spatial axes."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.linear import exact_float
from converters.function.table import Static, Tensor, op
from converters.function.values import known
from converters.function.wider import HALVES
from converters.function.windows import Window, first, last, sizes_of, window

__all__ = ["convolve", "integer_convolution"]

#: Without oneDNN TensorFlow's CPU kernels lack gradients of grouped and dilated convolutions.
_ONEDNN = platform.machine().lower() in ("x86_64", "amd64") and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"


@op("Conv")
def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    seen = window(x, kernel_shape or sizes_of(w, 2), strides, dilations, pads, auto_pad)
    return convolve(x, w, b, seen, group)


def convolve(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None, seen: Window, group: int) -> tf.Tensor:
    """The convolution of `x` (N, C, spatial...) with `w` (C_out, C / group, taps...), plus `b` (C_out,)."""
    own = x.dtype
    if own in HALVES:
        x, w, b = tf.cast(x, tf.float32), tf.cast(w, tf.float32), None if b is None else tf.cast(b, tf.float32)
    if seen.rank == 1:
        seen, x, w = _with_row(seen), x[:, :, None], w[:, :, None]
        made = first(_biased(_convolve(last(x), w, seen, group), b))[:, :, 0]
    else:
        made = first(_biased(_convolve(last(x), w, seen, group), b))
    return made if own == made.dtype else tf.cast(made, own)


def _biased(x: tf.Tensor, b: tf.Tensor | None) -> tf.Tensor:
    return x if b is None else tf.nn.bias_add(x, b)


def _with_row(seen: Window) -> Window:
    """The window of one axis as one of two, the first of them of size 1."""
    # The strides are equal, since kernels for depthwise convolutions want that; on the first axis it changes nothing.
    return Window(
        (1, *seen.sizes),
        (1, *seen.kernel),
        seen.strides * 2,
        (1, *seen.dilations),
        (0, *seen.begin),
        (0, *seen.end),
        (0, *seen.beyond),
        (1, *seen.counts),
        seen.auto,
    )


def _convolve(x: tf.Tensor, w: tf.Tensor, seen: Window, group: int) -> tf.Tensor:
    # x (N, spatial..., C), w (C_out, C / group, taps...)
    plain = max(seen.dilations) == 1
    # Kernels for depthwise convolutions know one stride for both axes, and it or the dilation must be 1.
    even = len(set(seen.strides)) == 1 and (plain or max(seen.strides) == 1)
    depthwise = seen.rank == 2 and group > 1 and w.shape[1] == 1 and even
    padding = seen.padding() if seen.rank == 2 else "VALID" if seen.plain else None
    # A depthwise convolution that Grappler fuses with its bias forgets explicit padding and aborts the process.
    if padding is None or (depthwise and not isinstance(padding, str)):
        x, padding = seen.padded(x), "VALID"
    if depthwise:
        depth = tf.reshape(w, tf.stack([group, -1, *seen.kernel]))
        # (C, multiplier, taps...) -> (taps..., C, multiplier)
        return tf.nn.depthwise_conv2d(
            x, tf.transpose(depth, (2, 3, 0, 1)), (1, *seen.strides, 1), padding, dilations=seen.dilations
        )
    direct = _ONEDNN and x.dtype == tf.float32
    kernel = tf.transpose(w, (*range(2, w.shape.rank), 1, 0))
    dilations = seen.dilations
    # TensorFlow's shape inference takes the dilations of the last two of three axes for each other.
    confused = seen.rank == 3 and dilations[1] != dilations[2]
    if not plain and (confused or not direct):
        kernel, dilations = _spread(kernel, dilations), (1,) * seen.rank
    if group == 1 or (direct and seen.rank == 2):
        return _kernel(x, kernel, seen, padding, dilations)
    parts = zip(tf.split(x, group, -1), tf.split(kernel, group, -1), strict=True)
    return tf.concat([_kernel(part, taps, seen, padding, dilations) for part, taps in parts], -1)


def _kernel(x: tf.Tensor, kernel: tf.Tensor, seen: Window, padding: Any, dilations: Sequence[int]) -> tf.Tensor:
    if seen.rank == 2:
        return tf.nn.conv2d(x, kernel, seen.strides, padding, dilations=dilations)
    if seen.rank == 3:
        return tf.nn.conv3d(x, kernel, (1, *seen.strides, 1), padding, dilations=(1, *dilations, 1))
    raise ValueError(f"convolutions over {seen.rank} spatial axes are not supported, over 1 to 3 they are")


def _spread(kernel: tf.Tensor, dilations: Sequence[int]) -> tf.Tensor:
    """`kernel` (taps..., in, out) with zeros between its taps: the dilated kernel as a plain one."""
    for axis, d in enumerate(dilations):
        if d > 1:
            taps = kernel.shape[axis]
            if taps is None:
                raise ValueError("the sizes of a dilated kernel must be known while tracing")
            wide = tf.expand_dims(kernel, axis + 1)
            wide = tf.pad(wide, [[0, d - 1] if i == axis + 1 else [0, 0] for i in range(wide.shape.rank)])
            shape = kernel.shape.as_list()
            shape[axis] = taps * d
            kernel = tf.gather(tf.reshape(wide, shape), tf.range((taps - 1) * d + 1), axis=axis)
    return kernel


@op("ConvTranspose")
def conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    own = x.dtype
    if own in HALVES:
        x, w, b = tf.cast(x, tf.float32), tf.cast(w, tf.float32), None if b is None else tf.cast(b, tf.float32)
    rank = w.shape.rank - 2
    steps, spread = list(strides or [1] * rank), list(dilations or [1] * rank)
    extra = list(output_padding or [0] * rank)
    wanted: list[Any] = list(output_shape)[-rank:] if output_shape else [None] * rank
    both = list(pads or [0] * (2 * rank))
    row = rank == 1
    if row:
        x, w = x[:, :, None], w[:, :, None]
        steps, spread, extra, wanted = [1, *steps], [1, *spread], [0, *extra], [1, *wanted]
        both = [0, both[0], 0, both[1]]
        rank = 2
    sizes, taps = sizes_of(x, 2), sizes_of(w, 2)
    full, begin, result = [], [], []
    for i, size in enumerate(sizes):
        extent = (taps[i] - 1) * spread[i] + 1
        whole = (size - 1) * steps[i] + extent
        if wanted[i] is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            wanted[i] = size * steps[i]
        if wanted[i] is not None:
            total = whole + extra[i] - wanted[i]
            low = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            result.append(wanted[i])
        else:
            low, high = (0, 0) if auto_pad == "VALID" else (both[i], both[rank + i])
            result.append(whole + extra[i] - low - high)
        full.append(whole)
        begin.append(low)
    made = _biased(_place(_scatter(last(x), w, steps, spread, group, full), full, begin, result), b)
    made = first(made)
    made = made[:, :, 0] if row else made
    return made if own == made.dtype else tf.cast(made, own)


def _scatter(x: tf.Tensor, w: tf.Tensor, steps: list[int], spread: list[int], group: int, full: list[Any]) -> tf.Tensor:
    # x (N, spatial..., C), w (C, C_out / group, taps...) -> all cells that any tap reaches
    rank = len(steps)
    kernel = tf.transpose(w, (*range(2, rank + 2), 1, 0))
    direct = _ONEDNN and x.dtype == tf.float32
    if max(spread) > 1 and not direct:
        kernel, spread = _spread(kernel, spread), [1] * rank
    batch, channels = tf.shape(x)[0], sizes_of(w, 1)[0]
    even = len(set(steps)) == 1 and max(spread) == 1
    if rank == 2 and group > 1 and w.shape[1] == 1 and x.shape[-1] == group and even:
        depth = tf.transpose(kernel, (0, 1, 3, 2))
        shape = tf.stack([batch, *full, group])
        return tf.nn.depthwise_conv2d_backprop_input(shape, depth, x, (1, *steps, 1), "VALID")
    if group == 1 or (direct and rank == 2):
        return _transposed(x, kernel, steps, spread, tf.stack([batch, *full, channels * group]))
    shape = tf.stack([batch, *full, channels])
    parts = zip(tf.split(x, group, -1), tf.split(kernel, group, -1), strict=True)
    return tf.concat([_transposed(part, taps, steps, spread, shape) for part, taps in parts], -1)


def _transposed(x: tf.Tensor, kernel: tf.Tensor, steps: list[int], spread: list[int], shape: tf.Tensor) -> tf.Tensor:
    if len(steps) == 2:
        return tf.nn.conv2d_transpose(x, kernel, shape, steps, "VALID", dilations=spread)
    if len(steps) == 3:
        return tf.nn.conv3d_transpose(x, kernel, shape, (1, *steps, 1), "VALID", dilations=(1, *spread, 1))
    raise ValueError(f"convolutions over {len(steps)} spatial axes are not supported, over 1 to 3 they are")


def _place(x: tf.Tensor, full: list[Any], begin: list[Any], result: list[Any]) -> tf.Tensor:
    """The cells from `begin` on, `result` many of each axis; zeros where the full result does not reach."""
    amounts, starts = [[0, 0]], [0]
    for have, low, size in zip(full, begin, result, strict=True):
        before = tf.maximum(-low, 0) if isinstance(low, tf.Tensor) else max(-low, 0)
        behind = low + size - have
        amounts.append([before, tf.maximum(behind, 0) if isinstance(behind, tf.Tensor) else max(behind, 0)])
        starts.append(low + before)
    amounts.append([0, 0])
    if any(isinstance(n, tf.Tensor) or n for pair in amounts for n in pair):
        x = tf.pad(x, amounts)
    whole = all(isinstance(n, int) for n in (*starts, *result)) and not any(starts)
    if whole and list(result) == x.shape[1:-1].as_list():
        return x
    cut = tuple(slice(low, low + size) for low, size in zip(starts[1:], result, strict=True))
    x = x[(slice(None), *cut, slice(None))]
    return tf.ensure_shape(x, [x.shape[0], *(n if isinstance(n, int) else None for n in result), x.shape[-1]])


@op("ConvInteger", since=10, constant=("x_zero_point", "w_zero_point"))
def conv_integer(
    x: Tensor,
    w: Static,
    x_zero_point: Tensor | None = None,
    w_zero_point: Static | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    seen = window(x, kernel_shape or sizes_of(w, 2), strides, dilations, pads, auto_pad)
    return tf.cast(integer_convolution(x, w, x_zero_point, w_zero_point, seen, group), tf.int32)


def integer_convolution(
    x: tf.Tensor, w: Any, x_zero: tf.Tensor | None, w_zero: Any, seen: Window, group: int
) -> tf.Tensor:
    """The convolution of integers less their zero points: whole numbers, in a float type that holds them exactly.

    Args:
        x: (N, C, spatial...) of 8 bits; w: (C_out, C / group, taps...), known or not.
        x_zero: scalar; w_zero: scalar or (C_out,).
    """
    shift = None if w_zero is None else np.asarray(w_zero) if isinstance(known(w_zero), np.ndarray) else w_zero
    if isinstance(w, np.ndarray) and (shift is None or isinstance(shift, np.ndarray)):
        centred = w.astype(np.float64)
        if shift is not None:
            centred -= shift.astype(np.float64).reshape(-1, *[1] * (w.ndim - 1) if shift.size > 1 else ())
        # What the weights really are bounds the sums far better than their type does.
        largest = float(np.abs(centred).reshape(len(centred), -1).sum(-1).max(initial=0)) * 255
        wide = exact_float(1, int(largest))
        kernel = tf.constant(centred, wide)
    else:
        shape = w.shape
        wide = exact_float(None if None in tuple(shape) else int(np.prod(tuple(shape)[1:])))
        kernel = tf.cast(w, wide)
        if shift is not None:
            zero = tf.cast(shift, wide)
            kernel -= tf.reshape(zero, (-1, *[1] * (kernel.shape.rank - 1)))
    image = tf.cast(x, wide)
    if x_zero is not None:
        image -= tf.reshape(tf.cast(x_zero, wide), ())
    return convolve(image, kernel, None, seen, group)


@op("CausalConvWithState", since=27)
def causal_convolution_with_state(
    x: Tensor, w: Tensor, b: Tensor | None = None, past_state: Tensor | None = None, *, activation: str = "none"
) -> tuple[Tensor, Tensor]:
    reach = sizes_of(w, 2)[0] - 1
    whole = tf.pad(x, [[0, 0], [0, 0], [reach, 0]]) if past_state is None else tf.concat([past_state, x], 2)
    wide = tf.float32 if x.dtype in HALVES else x.dtype
    # One row of an image (N, 1, L, C), and a kernel (1, k, C, 1).
    row = tf.transpose(tf.cast(whole, wide), (0, 2, 1))[:, None]
    kernel = tf.transpose(tf.cast(w, wide), (2, 0, 1))[None]
    made = _biased(tf.nn.depthwise_conv2d(row, kernel, (1, 1, 1, 1), "VALID"), None if b is None else tf.cast(b, wide))
    made = tf.cast(tf.ensure_shape(tf.transpose(made[:, 0], (0, 2, 1)), x.shape), x.dtype)
    if activation in ("silu", "swish"):
        made = tf.cast(tf.nn.silu(tf.cast(made, wide)), x.dtype)
    elif activation != "none":
        raise ValueError(f"unknown activation {activation!r}; known: none, silu, swish")
    return made, whole[:, :, tf.shape(whole)[2] - reach :]
