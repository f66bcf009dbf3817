"""Random numbers. With a seed the same ones at each call, without one new ones from TensorFlow's generator."""

from __future__ import annotations

import struct
from typing import Any

import tensorflow as tf

from converters.function.table import Tensor, op
from converters.function.values import element_dtype, tf_dtype
from converters.function.wider import HALVES

__all__ = ["uniform"]


def _seed(seed: float) -> tf.Tensor:
    """ONNX's seed, a float, as the two integers that TensorFlow's stateless generators want."""
    return tf.constant([0, struct.unpack("<i", struct.pack("<f", seed))[0]], tf.int32)


def uniform(shape: Any, seed: float | None, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Numbers in [0, 1) of `shape`."""
    if seed is None:
        return tf.random.uniform(shape, dtype=dtype)
    return tf.random.stateless_uniform(shape, _seed(seed), dtype=dtype)


def _normal(shape: Any, seed: float | None, dtype: tf.DType) -> tf.Tensor:
    if seed is None:
        return tf.random.normal(shape, dtype=dtype)
    return tf.random.stateless_normal(shape, _seed(seed), dtype=dtype)


def _wide(dtype: tf.DType) -> tf.DType:
    return tf.float32 if dtype in HALVES else dtype


def _uniform(shape: Any, dtype: tf.DType, low: float, high: float, seed: float | None) -> tf.Tensor:
    wide = _wide(dtype)
    drawn = uniform(shape, seed, wide)
    return tf.cast(tf.cast(low, wide) + drawn * tf.cast(high - low, wide), dtype)


def _gaussian(shape: Any, dtype: tf.DType, mean: float, scale: float, seed: float | None) -> tf.Tensor:
    wide = _wide(dtype)
    return tf.cast(tf.cast(mean, wide) + _normal(shape, seed, wide) * tf.cast(scale, wide), dtype)


def _like(x: tf.Tensor, dtype: int | None) -> tf.DType:
    if dtype is not None:
        return tf_dtype(element_dtype(dtype))
    return x.dtype if x.dtype.is_floating else tf.float32


@op("RandomUniform", random=True)
def random_uniform(
    *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: list[int]
) -> Tensor:
    return _uniform(shape, tf_dtype(element_dtype(dtype)), low, high, seed)


@op("RandomUniformLike", random=True)
def random_uniform_like(
    x: Tensor, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float | None = None
) -> Tensor:
    return tf.ensure_shape(_uniform(tf.shape(x), _like(x, dtype), low, high, seed), x.shape)


@op("RandomNormal", random=True)
def random_normal(
    *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: list[int]
) -> Tensor:
    return _gaussian(shape, tf_dtype(element_dtype(dtype)), mean, scale, seed)


@op("RandomNormalLike", random=True)
def random_normal_like(
    x: Tensor, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Tensor:
    return tf.ensure_shape(_gaussian(tf.shape(x), _like(x, dtype), mean, scale, seed), x.shape)


@op("Bernoulli", since=15, random=True)
def bernoulli(x: Tensor, *, dtype: int | None = None, seed: float | None = None) -> Tensor:
    kind = x.dtype if dtype is None else tf_dtype(element_dtype(dtype))
    wide = _wide(x.dtype)
    drawn = uniform(tf.shape(x), seed, wide) < tf.cast(x, wide)
    return tf.cast(tf.ensure_shape(drawn, x.shape), kind)


@op("Multinomial", since=7, random=True)
def multinomial(x: Tensor, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Tensor:
    kind = tf_dtype(element_dtype(dtype))
    logits = tf.cast(x, _wide(x.dtype))
    if seed is None:
        return tf.random.categorical(logits, sample_size, dtype=kind)
    return tf.random.stateless_categorical(logits, sample_size, _seed(seed), dtype=kind)
