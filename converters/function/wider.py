"""Computing in a type for which TensorFlow has a kernel, and casting back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["HALVES", "SMALL_INTEGERS", "UNSIGNED", "as_floats", "cast_back", "in_type"]

#: Types of 16 bits: kernels are missing or slow, sums in them lose digits.
HALVES = (tf.float16, tf.bfloat16)

UNSIGNED = (tf.uint8, tf.uint16, tf.uint32, tf.uint64)

#: Integers that linear algebra has no kernels for.
SMALL_INTEGERS = (tf.int8, tf.int16, *UNSIGNED)


def in_type(
    wide: tf.DType, lacking: Sequence[tf.DType], function: Callable[..., Any], *tensors: tf.Tensor
) -> tf.Tensor:
    """`function(*tensors)`, in the type `wide` where the first tensor's type is one of `lacking`, and cast back."""
    own = tensors[0].dtype
    if own not in lacking:
        return function(*tensors)
    return tf.cast(function(*(tf.cast(tensor, wide) for tensor in tensors)), own)


def as_floats(x: tf.Tensor) -> tf.Tensor:
    """`x` as float32 or float64: halves as float32, integers as float64."""
    if x.dtype in (tf.float32, tf.float64):
        return x
    return tf.cast(x, tf.float32 if x.dtype in HALVES else tf.float64)


def cast_back(x: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """`x` in the type of `like`; fractions are cut off for integers."""
    return x if x.dtype == like.dtype else tf.cast(x, like.dtype)
