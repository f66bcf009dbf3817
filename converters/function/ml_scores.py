"""What the classifiers and regressors of ai.onnx.ml do with their scores: transforms, a second class, labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from converters.function.values import as_tensor

__all__ = ["labelled", "transformed", "two_classes", "with_rows"]


def with_rows(x: tf.Tensor) -> tf.Tensor:
    """(N, F) float32 or float64 from (N, F) or (F,) of any number type."""
    wide = x if x.dtype in (tf.float32, tf.float64) else tf.cast(x, tf.float32)
    return wide[None] if wide.shape.rank == 1 else wide


def transformed(scores: tf.Tensor, post_transform: str) -> tf.Tensor:
    """Scores (N, E) after NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO (zeros have no share) or PROBIT (inverse normal CDF).

    Raises:
        ValueError: another transform.
    """
    match post_transform:
        case "NONE":
            return scores
        case "SOFTMAX":
            return tf.nn.softmax(scores, -1)
        case "LOGISTIC":
            return tf.sigmoid(scores)
        case "SOFTMAX_ZERO":
            top = tf.reduce_max(scores, -1, keepdims=True)
            zero = tf.abs(scores) <= tf.cast(1e-7, scores.dtype)
            powers = tf.where(zero, scores * tf.exp(-top), tf.exp(scores - top))
            total = tf.reduce_sum(tf.where(zero, tf.zeros((), scores.dtype), powers), -1, keepdims=True)
            return tf.math.divide_no_nan(powers, total)
        case "PROBIT":
            return tf.math.ndtri(scores)
    raise ValueError(f"unknown post_transform {post_transform!r}; known: NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT")


def two_classes(score: tf.Tensor, post_transform: str, *, signed: bool) -> tf.Tensor:
    """The scores (N, 2) of both classes where a model has one for the second only, (N, 1).

    Args:
        score: the score of the second class.
        post_transform: see `transformed`.
        signed: 0 is the border between the classes, so the first class has `-score`; else `1 - score`.
    """
    if post_transform in ("NONE", "PROBIT"):
        score = transformed(score, post_transform)
        return tf.concat([-score if signed and post_transform == "NONE" else 1 - score, score], -1)
    return transformed(tf.concat([-score, score], -1), post_transform)


def labelled(index: tf.Tensor, ints: Sequence[int] | None, strings: Sequence[str] | None) -> tf.Tensor:
    """The label of each index: a string where there are strings, else an int64."""
    labels = as_tensor(np.array(strings, dtype=object)) if strings else tf.constant(list(ints or []), tf.int64)
    return tf.gather(labels, index)
