"""Comparison, logic and bits of each element."""

from __future__ import annotations

import tensorflow as tf

from converters.function.math import with_axis
from converters.function.table import Tensor, op
from converters.function.wider import UNSIGNED

__all__: list[str] = []


@op("Equal", since=7)
def equal(a: Tensor, b: Tensor) -> Tensor:
    return tf.equal(a, b)


@op("Greater", since=7)
def greater(a: Tensor, b: Tensor) -> Tensor:
    return tf.greater(a, b)


@op("Less", since=7)
def less(a: Tensor, b: Tensor) -> Tensor:
    return tf.less(a, b)


@op("GreaterOrEqual", since=12)
def greater_or_equal(a: Tensor, b: Tensor) -> Tensor:
    return tf.greater_equal(a, b)


@op("LessOrEqual", since=12)
def less_or_equal(a: Tensor, b: Tensor) -> Tensor:
    return tf.less_equal(a, b)


@op("And", since=7)
def logical_and(a: Tensor, b: Tensor) -> Tensor:
    return tf.logical_and(a, b)


@op("Or", since=7)
def logical_or(a: Tensor, b: Tensor) -> Tensor:
    return tf.logical_or(a, b)


@op("Xor", since=7)
def logical_xor(a: Tensor, b: Tensor) -> Tensor:
    return tf.not_equal(a, b)


for _name, _function in {
    "And": logical_and,
    "Equal": equal,
    "Greater": greater,
    "Less": less,
    "Or": logical_or,
    "Xor": logical_xor,
}.items():
    op(_name)(with_axis(_function))


@op("Not")
def logical_not(x: Tensor) -> Tensor:
    return tf.logical_not(x)


@op("IsNaN", since=9)
def is_nan(x: Tensor) -> Tensor:
    return tf.math.is_nan(x)


@op("IsInf", since=10)
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    found = tf.math.is_inf(x)
    if not detect_negative:
        found &= x > 0
    return found if detect_positive else found & (x < 0)


@op("BitwiseAnd", since=18)
def bitwise_and(a: Tensor, b: Tensor) -> Tensor:
    return tf.bitwise.bitwise_and(a, b)


@op("BitwiseOr", since=18)
def bitwise_or(a: Tensor, b: Tensor) -> Tensor:
    return tf.bitwise.bitwise_or(a, b)


@op("BitwiseXor", since=18)
def bitwise_xor(a: Tensor, b: Tensor) -> Tensor:
    return tf.bitwise.bitwise_xor(a, b)


@op("BitwiseNot", since=18)
def bitwise_not(x: Tensor) -> Tensor:
    return tf.bitwise.invert(x)


@op("BitShift", since=11)
def bit_shift(x: Tensor, y: Tensor, *, direction: str) -> Tensor:
    bits = 8 * x.dtype.size
    beyond = y >= tf.cast(bits, y.dtype)
    if y.dtype not in UNSIGNED:
        beyond |= y < 0
    # TensorFlow leaves such amounts open; ONNX shifts everything out and fills with the sign.
    amount = tf.where(beyond, tf.zeros_like(y), y)
    if direction == "LEFT":
        shifted, empty = tf.bitwise.left_shift(x, amount), tf.zeros_like(x)
    else:
        shifted, empty = tf.bitwise.right_shift(x, amount), tf.zeros_like(x)
        if x.dtype not in UNSIGNED:
            empty = -tf.cast(x < 0, x.dtype)
    return tf.where(beyond, empty, shifted)
