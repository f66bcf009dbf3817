"""Tensors made from a shape or a few numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import tensorflow as tf

from converters.function.shape import dimensions
from converters.function.table import Static, Tensor, op
from converters.function.values import Narrow, as_tensor, dtype_of, element_dtype, narrow, tf_dtype
from converters.function.wider import HALVES, in_type

__all__: list[str] = []


@op("ConstantOfShape", since=9)
def constant_of_shape(shape: Static, *, value: np.ndarray | None = None) -> Any:
    element = narrow(np.zeros(1, np.float32) if value is None else value)
    made = tf.fill(tf.cast(shape, tf.int64), tf.reshape(as_tensor(element), ()))
    return Narrow(made, element.dtype) if isinstance(element, Narrow) else made


@op("EyeLike", since=9)
def eye_like(x: Any, *, dtype: int | None = None, k: int = 0) -> Tensor:
    wanted = tf_dtype(dtype_of(x) if dtype is None else element_dtype(dtype))
    rows, columns = dimensions(as_tensor(x))
    distance = tf.range(columns, dtype=tf.int64)[None, :] - tf.range(rows, dtype=tf.int64)[:, None]
    return tf.cast(distance == k, wanted)


@op("Range", since=11)
def sequence_of_numbers(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return sequence_of_numbers_27(start, limit, delta)


@op("Range", since=27)
def sequence_of_numbers_27(
    start: Tensor, limit: Tensor, delta: Tensor, *, stash_type: int = ir.DataType.FLOAT
) -> Tensor:
    wide = tf_dtype(element_dtype(stash_type))
    return in_type(wide, HALVES, _numbers, *(tf.reshape(item, ()) for item in (start, limit, delta)))


def _numbers(start: tf.Tensor, limit: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
    if start.dtype.is_integer:
        first, last, step = (tf.cast(item, tf.int64) for item in (start, limit, delta))
        return tf.cast(tf.range(first, last, step), start.dtype)
    count = tf.cast(tf.maximum(tf.math.ceil((limit - start) / delta), 0), tf.int64)
    # Each number from the first one: a running sum would drift.
    return start + tf.cast(tf.range(count), start.dtype) * delta
