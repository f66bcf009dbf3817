"""Quantisation: floats as small integers (or small floats) with a scale and a zero point.

A scale is one number, one for each index of an axis, or one for each block of an axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.casting import cast_to
from converters.function.convolution import integer_convolution
from converters.function.linear import exact_float, matrix_product
from converters.function.table import Static, Tensor, op
from converters.function.values import NARROW, Narrow, dtype_of, element_dtype, tf_dtype
from converters.function.wider import as_floats
from converters.function.windows import sizes_of, window

__all__ = ["quantized"]

#: Ranges of integers narrower than a byte.
_RANGES = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}


def _fitting(scale: tf.Tensor, x: tf.Tensor, axis: int, block: int) -> tf.Tensor:
    """`scale` shaped to go with `x`."""
    rank = x.shape.rank
    if scale.shape.rank == 0 or (scale.shape.rank == 1 and scale.shape[0] == 1):
        return tf.reshape(scale, ())
    where = axis % rank if rank > 1 else 0
    if scale.shape.rank == 1 and not block:
        return tf.reshape(scale, [-1 if i == where else 1 for i in range(rank)])
    if not block:
        return scale
    size = x.shape[where] if x.shape[where] is not None else tf.shape(x)[where]
    return tf.repeat(scale, block, where)[(*[slice(None)] * where, slice(size))]


def quantized(x: tf.Tensor, zero: tf.Tensor | None, dtype: np.dtype, saturate: bool = True) -> Any:
    """`x` (in units of the scale) rounded, moved by `zero` and put into `dtype`."""
    dtype = np.dtype(dtype)
    wide = as_floats(x)
    if dtype.kind in "iu" or dtype.name in _RANGES:
        low, high = _RANGES.get(dtype.name) or (np.iinfo(dtype).min, np.iinfo(dtype).max)
        moved = tf.round(wide)
        if zero is not None:
            moved += tf.cast(zero, wide.dtype)
        made = tf.cast(tf.clip_by_value(moved, float(low), float(high)), tf_dtype(dtype))
        return Narrow(made, dtype) if dtype in NARROW else made
    if zero is not None:
        wide += tf.cast(zero, wide.dtype)
    return cast_to(wide, dtype, saturate=saturate)


def _kind(zero_point: Any, output_dtype: int = 0) -> np.dtype:
    if zero_point is not None:
        return np.dtype(dtype_of(zero_point))
    return np.dtype(element_dtype(output_dtype)) if output_dtype else np.dtype(np.uint8)


def _tensor(value: Any) -> tf.Tensor | None:
    return value.values if isinstance(value, Narrow) else None if value is None else tf.convert_to_tensor(value)


_CONSTANT = ("y_scale", "y_zero_point", "x_scale", "x_zero_point")


@op("QuantizeLinear", since=10, constant=_CONSTANT)
def quantize_linear(
    x: Tensor,
    y_scale: Tensor,
    y_zero_point: Any = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Any:
    kind = tf_dtype(element_dtype(precision)) if precision else y_scale.dtype
    if not kind.is_floating:
        kind = tf.float32
    scale = _fitting(tf.cast(y_scale, kind), x, axis, block_size)
    zero = _tensor(y_zero_point)
    if zero is not None:
        zero = _fitting(zero, x, axis, block_size)
    return quantized(tf.cast(x, kind) / scale, zero, _kind(y_zero_point, output_dtype), bool(saturate))


@op("DequantizeLinear", since=10, constant=_CONSTANT)
def dequantize_linear(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    kind = tf_dtype(element_dtype(output_dtype)) if output_dtype else x_scale.dtype
    wide = tf.float64 if kind == tf.float64 else tf.float32
    value = tf.cast(x, wide)
    if x_zero_point is not None:
        value -= tf.cast(_fitting(x_zero_point, x, axis, block_size), wide)
    return tf.cast(value * tf.cast(_fitting(x_scale, x, axis, block_size), wide), kind)


@op("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low = tf.minimum(tf.reduce_min(x), 0.0)
    high = tf.maximum(tf.reduce_max(x), 0.0)
    scale = tf.where(tf.equal(low, high), 1.0, high - low) / 255.0
    zero = tf.round(tf.clip_by_value(-low / scale, 0.0, 255.0))
    made = tf.clip_by_value(tf.round(x / scale) + zero, 0.0, 255.0)
    return tf.cast(made, tf.uint8), scale, tf.cast(zero, tf.uint8)


@op(
    "QLinearConv",
    since=10,
    constant=("x_scale", "x_zero_point", "w", "w_scale", "w_zero_point", "y_scale", "y_zero_point", "b"),
)
def qlinear_conv(
    x: Tensor,
    x_scale: Tensor,
    x_zero_point: Tensor,
    w: Static,
    w_scale: Tensor,
    w_zero_point: Static,
    y_scale: Tensor,
    y_zero_point: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Any:
    seen = window(x, kernel_shape or sizes_of(w, 2), strides, dilations, pads, auto_pad)
    total = integer_convolution(x, w, x_zero_point, w_zero_point, seen, group)
    behind = [1] * seen.rank
    if b is not None:
        total = tf.cast(total, tf.int32) + tf.reshape(b, (-1, *behind))
    factor = tf.reshape(x_scale, ()) * tf.reshape(w_scale, (-1, *behind)) / tf.reshape(y_scale, ())
    return quantized(tf.cast(total, tf.float32) * factor, tf.reshape(y_zero_point, ()), dtype_of(y_zero_point))


@op(
    "QLinearMatMul",
    since=10,
    constant=("a_scale", "a_zero_point", "b_scale", "b_zero_point", "y_scale", "y_zero_point"),
)
def qlinear_matmul(
    a: Tensor,
    a_scale: Tensor,
    a_zero_point: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero_point: Tensor,
    y_scale: Tensor,
    y_zero_point: Any,
) -> Any:
    wide = exact_float(a.shape[-1] if a.shape.rank else None)
    left = tf.cast(a, wide) - tf.cast(_by_row(a_zero_point), wide)
    right = tf.cast(b, wide) - tf.cast(b_zero_point, wide)
    factor = _by_row(a_scale) * b_scale / _by_row(y_scale)
    zero = _by_row(_tensor(y_zero_point))
    total = tf.cast(matrix_product(left, right), tf.float32)
    return quantized(total * tf.cast(factor, tf.float32), zero, dtype_of(y_zero_point))


def _by_row(value: Any) -> tf.Tensor:
    """One number for each row as a column."""
    if value.shape.rank == 1:
        return tf.reshape(value, ()) if value.shape[0] == 1 else value[:, None]
    return value
