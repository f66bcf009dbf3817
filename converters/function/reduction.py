"""Reductions: one number from many along some axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.table import Static, Tensor, op
from converters.function.wider import HALVES, as_floats, cast_back, in_type

__all__: list[str] = []

Reduction = Callable[[tf.Tensor, Any, bool], tf.Tensor]


def _sum(x: tf.Tensor, axes: Any, keep: bool) -> tf.Tensor:
    return in_type(tf.float32, HALVES, lambda t: tf.reduce_sum(t, axes, keep), x)


def _mean(x: tf.Tensor, axes: Any, keep: bool) -> tf.Tensor:
    if not x.dtype.is_integer:
        return in_type(tf.float32, HALVES, lambda t: tf.reduce_mean(t, axes, keep), x)
    wide = tf.cast(x, tf.int64)
    count = tf.reduce_sum(tf.ones_like(wide), axes, keep)
    return tf.cast(tf.raw_ops.TruncateDiv(x=tf.reduce_sum(wide, axes, keep), y=tf.maximum(count, 1)), x.dtype)


def _product(x: tf.Tensor, axes: Any, keep: bool) -> tf.Tensor:
    return in_type(tf.float32, HALVES, lambda t: tf.reduce_prod(t, axes, keep), x)


def _l1(x: tf.Tensor, axes: Any, keep: bool) -> tf.Tensor:
    return _sum(x if x.dtype.is_unsigned else tf.abs(x), axes, keep)


def _sum_square(x: tf.Tensor, axes: Any, keep: bool) -> tf.Tensor:
    return in_type(tf.float32, HALVES, lambda t: tf.reduce_sum(tf.square(t), axes, keep), x)


def _l2(x: tf.Tensor, axes: Any, keep: bool) -> tf.Tensor:
    return cast_back(tf.sqrt(tf.reduce_sum(tf.square(as_floats(x)), axes, keep)), x)


def _log_sum(x: tf.Tensor, axes: Any, keep: bool) -> tf.Tensor:
    return cast_back(tf.math.log(tf.reduce_sum(as_floats(x), axes, keep)), x)


def _log_sum_exp(x: tf.Tensor, axes: Any, keep: bool) -> tf.Tensor:
    return cast_back(tf.reduce_logsumexp(as_floats(x), axes, keep), x)


def _largest(x: tf.Tensor, axes: Any, keep: bool) -> tf.Tensor:
    return tf.reduce_any(x, axes, keep) if x.dtype == tf.bool else tf.reduce_max(x, axes, keep)


def _smallest(x: tf.Tensor, axes: Any, keep: bool) -> tf.Tensor:
    return tf.reduce_all(x, axes, keep) if x.dtype == tf.bool else tf.reduce_min(x, axes, keep)


def _by_attribute(reduction: Reduction) -> Callable[..., Any]:
    def row(x: Tensor, *, axes: list[int] | None = None, keepdims: int = 1) -> Tensor:
        return reduction(x, axes or None, bool(keepdims))

    return row


def _by_input(reduction: Reduction) -> Callable[..., Any]:
    def row(x: Tensor, axes: Static | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
        made = reduction(x, _chosen(x, axes, bool(noop_with_empty_axes)), bool(keepdims))
        if isinstance(axes, tf.Tensor) and x.shape.rank is not None and axes.shape.num_elements():
            # Which axes is open, but not how many.
            rank = x.shape.rank - (0 if keepdims else axes.shape.num_elements())
            made = tf.ensure_shape(made, [None] * rank)
        return made

    return row


def _chosen(x: tf.Tensor, axes: Any, noop: bool) -> Any:
    """The axes to reduce, None for all of them; no axes mean all of them or none, as `noop` says."""
    if axes is None:
        return [] if noop else None
    if noop:
        return axes
    if isinstance(axes, np.ndarray):
        return axes if axes.size else None
    count = axes.shape.num_elements()
    if count is not None:
        return axes if count else None
    return tf.cond(tf.size(axes) > 0, lambda: axes, lambda: tf.range(tf.cast(tf.rank(x), axes.dtype)))


for _name, _reduction, _version in (
    ("ReduceL1", _l1, 18),
    ("ReduceL2", _l2, 18),
    ("ReduceLogSum", _log_sum, 18),
    ("ReduceLogSumExp", _log_sum_exp, 18),
    ("ReduceMax", _largest, 18),
    ("ReduceMean", _mean, 18),
    ("ReduceMin", _smallest, 18),
    ("ReduceProd", _product, 18),
    ("ReduceSum", _sum, 13),
    ("ReduceSumSquare", _sum_square, 18),
):
    op(_name)(_by_attribute(_reduction))
    op(_name, since=_version)(_by_input(_reduction))
