"""Arithmetic on each element: one number or two in, one out; sums along an axis."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import tensorflow as tf

from converters.function.table import Static, Tensor, op
from converters.function.wider import UNSIGNED

__all__ = ["spread"]


def spread(a: tf.Tensor, b: tf.Tensor, axis: int | None, broadcast: int) -> tf.Tensor:
    """`b` shaped so that NumPy's rules give what `broadcast` and `axis` meant before opset 7.

    The axes of `b` are those of `a` from `axis` on (the last ones by default).
    """
    if not broadcast or axis is None or b.shape.rank in (None, 0):
        return b
    behind = a.shape.rank - axis % a.shape.rank - b.shape.rank
    for _ in range(behind):
        b = b[..., None]
    return b


def with_axis(function: Callable[..., Any]) -> Callable[..., Any]:
    """A row for opsets 1-6 of a binary operator."""

    def row(a: Tensor, b: Tensor, *, axis: int | None = None, broadcast: int = 0) -> Tensor:
        return function(a, spread(a, b, axis, broadcast))

    return row


def unary(function: Callable[..., Any]) -> Callable[..., Any]:
    """A row that is one kernel of TensorFlow."""

    def row(x: Tensor) -> Tensor:
        return function(x)

    return row


for _name, _function in {
    "Acos": tf.acos,
    "Acosh": tf.acosh,
    "Asin": tf.asin,
    "Asinh": tf.asinh,
    "Atan": tf.atan,
    "Atanh": tf.atanh,
    "Ceil": tf.math.ceil,
    "Cos": tf.cos,
    "Cosh": tf.cosh,
    "Erf": tf.math.erf,
    "Exp": tf.exp,
    "Floor": tf.floor,
    "Log": tf.math.log,
    "Reciprocal": tf.math.reciprocal,
    "Round": tf.round,
    "Sin": tf.sin,
    "Sinh": tf.sinh,
    "Sqrt": tf.sqrt,
    "Tan": tf.tan,
}.items():
    op(_name)(unary(_function))


@op("Abs")
def absolute(x: Tensor) -> Tensor:
    return tf.identity(x) if x.dtype in UNSIGNED else tf.abs(x)


@op("Neg")
def negative(x: Tensor) -> Tensor:
    return tf.negative(x)


@op("Sign", since=9)
def sign(x: Tensor) -> Tensor:
    return tf.cast(x != 0, x.dtype) if x.dtype in UNSIGNED else tf.sign(x)


@op("Add", since=7)
def add(a: Tensor, b: Tensor) -> Tensor:
    return tf.add(a, b)


@op("Sub", since=7)
def subtract(a: Tensor, b: Tensor) -> Tensor:
    return tf.subtract(a, b)


@op("Mul", since=7)
def multiply(a: Tensor, b: Tensor) -> Tensor:
    return tf.multiply(a, b)


@op("Div", since=7)
def divide(a: Tensor, b: Tensor) -> Tensor:
    return tf.raw_ops.TruncateDiv(x=a, y=b) if a.dtype.is_integer else tf.realdiv(a, b)


@op("Pow", since=7)
def power(x: Tensor, y: Tensor) -> Tensor:
    if x.dtype.is_floating:
        return tf.pow(x, tf.cast(y, x.dtype))
    if y.dtype.is_floating:
        return tf.cast(tf.pow(tf.cast(x, tf.float64), tf.cast(y, tf.float64)), x.dtype)
    base, exponent = tf.cast(x, tf.int64), tf.cast(y, tf.int64)
    raised = tf.pow(base, tf.abs(exponent))
    return tf.cast(tf.where((exponent < 0) & (tf.abs(base) != 1), tf.zeros_like(raised), raised), x.dtype)


for _name, _function in {"Add": add, "Sub": subtract, "Mul": multiply, "Div": divide, "Pow": power}.items():
    op(_name)(with_axis(_function))


@op("Mod", since=10)
def modulo(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    if a.dtype.is_integer:
        if not fmod or a.dtype in UNSIGNED:
            return tf.math.floormod(a, b)
        return tf.cast(tf.truncatemod(tf.cast(a, tf.int64), tf.cast(b, tf.int64)), a.dtype)
    if fmod:
        size = tf.math.floormod(tf.abs(a), tf.abs(b))
        return tf.where(a < 0, -size, size)
    rest = tf.math.floormod(a, b)
    # A rest of zero has the sign of the divisor.
    return tf.where(rest == 0, tf.where(b < 0, -tf.abs(rest), tf.abs(rest)), rest)


@op("Clip")
def clip_by_attributes(x: Tensor, *, min: float | None = None, max: float | None = None) -> Tensor:
    # Before opset 11 the bounds default to the ends of float32; a half holds those as infinities.
    if min is not None:
        x = tf.maximum(x, tf.cast(min, x.dtype))
    return x if max is None else tf.minimum(x, tf.cast(max, x.dtype))


@op("Clip", since=11)
def clip(x: Tensor, min: Static | None = None, max: Static | None = None) -> Tensor:
    if min is not None:
        x = tf.maximum(x, tf.convert_to_tensor(min))
    return tf.identity(x) if max is None else tf.minimum(x, tf.convert_to_tensor(max))


@op("Max")
def maximum(*inputs: Tensor) -> Tensor:
    return reduce(tf.maximum, inputs)


@op("Min")
def minimum(*inputs: Tensor) -> Tensor:
    return reduce(tf.minimum, inputs)


@op("Sum")
def total(*inputs: Tensor) -> Tensor:
    return reduce(tf.add, inputs)


@op("Mean")
def mean(*inputs: Tensor) -> Tensor:
    return reduce(tf.add, inputs) / tf.cast(len(inputs), inputs[0].dtype)


@op("CumSum", since=11)
def cumulative_sum(x: Tensor, axis: Static, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    return tf.cumsum(x, tf.reshape(axis, ()), exclusive=bool(exclusive), reverse=bool(reverse))


@op("CumProd", since=26)
def cumulative_product(x: Tensor, axis: Static, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    return tf.math.cumprod(x, tf.reshape(axis, ()), exclusive=bool(exclusive), reverse=bool(reverse))
