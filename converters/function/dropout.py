"""Dropout: at inference the identity, in training some elements are zero and the others scaled."""

from __future__ import annotations

import tensorflow as tf

from converters.function.random import uniform
from converters.function.table import Static, Tensor, op
from converters.function.values import is_known
from converters.function.wider import HALVES

__all__: list[str] = []

Both = tuple[Tensor, Tensor]


def _dropped(x: tf.Tensor, ratio: tf.Tensor, seed: float | None) -> tuple[tf.Tensor, tf.Tensor]:
    wide = tf.float32 if x.dtype in HALVES else x.dtype
    share = tf.cast(ratio, wide)
    kept = tf.ensure_shape(uniform(tf.shape(x), seed, wide) >= share, x.shape)
    scaled = tf.cast(x, wide) * tf.math.divide_no_nan(tf.ones((), wide), 1 - share)
    return tf.cast(tf.where(kept, scaled, tf.zeros((), wide)), x.dtype), kept


def _whole(x: tf.Tensor) -> tf.Tensor:
    return tf.ones_like(x, dtype=tf.bool)


@op("Dropout", random=True)
def dropout_1(x: Tensor, *, is_test: int = 0, ratio: float = 0.5) -> Both:
    if is_test:
        return tf.identity(x), tf.ones_like(x)
    made, kept = _dropped(x, tf.constant(ratio), None)
    return made, tf.cast(kept, x.dtype)


@op("Dropout", since=7)
def dropout_7(x: Tensor, *, ratio: float = 0.5) -> Both:
    return tf.identity(x), tf.ones_like(x)


@op("Dropout", since=10)
def dropout_10(x: Tensor, *, ratio: float = 0.5) -> Both:
    return tf.identity(x), _whole(x)


@op("Dropout", since=12, random=True, constant=("ratio",))
def dropout(
    x: Tensor, ratio: Tensor | None = None, training_mode: Static | None = None, *, seed: float | None = None
) -> Both:
    share = tf.constant(0.5) if ratio is None else tf.reshape(ratio, ())
    if training_mode is None:
        return tf.identity(x), _whole(x)
    if is_known(training_mode):
        return _dropped(x, share, seed) if bool(training_mode) else (tf.identity(x), _whole(x))
    training = tf.reshape(training_mode, ())
    return tf.cond(training, lambda: _dropped(x, share, seed), lambda: (tf.identity(x), _whole(x)))
