"""Losses of classification."""

from __future__ import annotations

import tensorflow as tf

from converters.function.table import Tensor, op
from converters.function.wider import HALVES, cast_back

__all__: list[str] = []


def _likelihood(
    x: tf.Tensor, target: tf.Tensor, weight: tf.Tensor | None, ignore_index: int | None, reduction: str
) -> tf.Tensor:
    """The loss of log probabilities `x` (N, C, d...) for classes `target` (N, d...)."""
    rank = x.shape.rank
    count = tf.cast(tf.shape(x)[1], target.dtype)
    ignored = tf.zeros_like(target, tf.bool) if ignore_index is None else tf.equal(target, ignore_index)
    # What is ignored may name no class at all.
    classes = tf.where(ignored, tf.zeros_like(target), tf.where(target < 0, target + count, target))
    rows = tf.transpose(x, (0, *range(2, rank), 1))
    chosen = -tf.gather(rows, classes, axis=rank - 1, batch_dims=rank - 1)
    share = tf.ones_like(chosen) if weight is None else tf.gather(tf.cast(weight, x.dtype), classes)
    share = tf.where(ignored, tf.zeros_like(share), share)
    loss = tf.where(ignored, tf.zeros_like(chosen), chosen * share)
    if reduction == "none":
        return loss
    total = tf.reduce_sum(loss)
    return total if reduction == "sum" else total / tf.reduce_sum(share)


@op("NegativeLogLikelihoodLoss", since=12)
def negative_log_likelihood_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    wide = tf.cast(x, tf.float32) if x.dtype in HALVES else x
    return cast_back(_likelihood(wide, target, weight, ignore_index, reduction), x)


@op("SoftmaxCrossEntropyLoss", since=12)
def softmax_cross_entropy_loss(
    scores: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> tuple[Tensor, Tensor]:
    wide = tf.cast(scores, tf.float32) if scores.dtype in HALVES else scores
    logs = tf.nn.log_softmax(wide, 1)
    loss = _likelihood(logs, labels, weights, ignore_index, reduction)
    return cast_back(loss, scores), cast_back(logs, scores)
