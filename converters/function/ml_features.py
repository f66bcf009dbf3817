"""ai.onnx.ml: preparing features."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from converters.function.table import Tensor, op

__all__: list[str] = []

_ML = "ai.onnx.ml"


def _wide(x: tf.Tensor) -> tf.Tensor:
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


@op("ArrayFeatureExtractor", domain=_ML)
def array_feature_extractor(x: Tensor, y: Tensor) -> Tensor:
    rows = x[None] if x.shape.rank == 1 else x
    return tf.gather(rows, tf.reshape(y, (-1,)), axis=-1)


@op("Binarizer", domain=_ML)
def binarizer(x: Tensor, *, threshold: float = 0.0) -> Tensor:
    return tf.cast(_wide(x) > threshold, x.dtype)


@op("Scaler", domain=_ML)
def scaler(x: Tensor, *, offset: list[float] | None = None, scale: list[float] | None = None) -> Tensor:
    wide = _wide(x)
    kind = wide.dtype.as_numpy_dtype
    return tf.cast((wide - np.array(offset or [0], kind)) * np.array(scale or [1], kind), tf.float32)


@op("Normalizer", domain=_ML)
def normalizer(x: Tensor, *, norm: str = "MAX") -> Tensor:
    wide = _wide(x)
    match norm:
        case "MAX":
            divisor = tf.reduce_max(wide, -1, keepdims=True)
        case "L1":
            divisor = tf.reduce_sum(tf.abs(wide), -1, keepdims=True)
        case "L2":
            divisor = tf.sqrt(tf.reduce_sum(wide * wide, -1, keepdims=True))
        case _:
            raise ValueError(f"unknown norm {norm!r}; known: MAX, L1, L2")
    one = tf.ones((), wide.dtype)
    return tf.cast(wide / tf.where(divisor == 0, one, divisor), tf.float32)


@op("Imputer", domain=_ML)
def imputer(
    x: Tensor,
    *,
    imputed_value_floats: list[float] | None = None,
    imputed_value_int64s: list[int] | None = None,
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> Tensor:
    values: list[float] | list[int] | None
    if x.dtype.is_floating:
        missing = tf.math.is_nan(x) if np.isnan(replaced_value_float) else x == replaced_value_float
        values = imputed_value_floats
    else:
        missing = x == replaced_value_int64
        values = imputed_value_int64s
    if not values:
        raise ValueError(f"no imputed value is given for {x.dtype.name}")
    return tf.where(missing, np.array(values, x.dtype.as_numpy_dtype), x)


@op("FeatureVectorizer", domain=_ML)
def feature_vectorizer(*inputs: Tensor, inputdimensions: list[int] | None = None) -> Tensor:
    parts = []
    for index, value in enumerate(inputs):
        rows = tf.cast(value[None] if value.shape.rank == 1 else value, tf.float32)
        if inputdimensions:
            wanted = inputdimensions[index]
            rows = rows[:, :wanted]
            missing = wanted - tf.shape(rows)[1]
            filled = tf.pad(rows, tf.scatter_nd([[1, 1]], missing[None], [2, 2]))
            rows = tf.ensure_shape(filled, [rows.shape[0], wanted])
        parts.append(rows)
    return tf.concat(parts, 1)
