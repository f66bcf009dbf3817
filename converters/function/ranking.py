"""Largest, smallest and distinct elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.shape import dimensions
from converters.function.table import Static, Tensor, op

__all__: list[str] = []

Both = tuple[Tensor, Tensor]


def _reversed_order(x: tf.Tensor) -> tf.Tensor:
    """Numbers whose order is that of `x` backwards: no integer overflows when its bits are inverted."""
    return tf.bitwise.invert(x) if x.dtype.is_integer else -x


@op("TopK")
def top_k_by_attribute(x: Tensor, *, axis: int = -1, k: int) -> Both:
    return top_k(x, np.array([k]), axis=axis)


@op("TopK", since=10)
def top_k_10(x: Tensor, k: Static, *, axis: int = -1) -> Both:
    return top_k(x, k, axis=axis)


@op("TopK", since=11)
def top_k(x: Tensor, k: Static, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Both:
    rank = x.shape.rank
    at = axis % rank
    order = [*(i for i in range(rank) if i != at), at]
    back = [order.index(i) for i in range(rank)]
    last = x if at == rank - 1 else tf.transpose(x, order)
    count = int(np.ravel(k)[0]) if isinstance(k, np.ndarray) else tf.cast(tf.reshape(k, ()), tf.int32)
    found = tf.math.top_k(last if largest else _reversed_order(last), count, sorted=bool(sorted))
    values = found.values if largest else tf.gather(last, found.indices, batch_dims=rank - 1)
    indices = tf.cast(found.indices, tf.int64)
    if at == rank - 1:
        return values, indices
    return tf.transpose(values, back), tf.transpose(indices, back)


def _extreme(x: tf.Tensor, axis: int, keepdims: int, last: int, smallest: bool) -> tf.Tensor:
    if x.shape.rank == 0:
        return tf.zeros((), tf.int64)
    at = axis % x.shape.rank
    find = tf.argmin if smallest else tf.argmax
    if last:
        place = tf.cast(dimensions(x)[at], tf.int64) - 1 - find(tf.reverse(x, [at]), at)
    else:
        place = find(x, at)
    return tf.expand_dims(place, at) if keepdims else place


@op("ArgMax")
def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1) -> Tensor:
    return _extreme(x, axis, keepdims, 0, smallest=False)


@op("ArgMax", since=12)
def arg_max_12(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    return _extreme(x, axis, keepdims, select_last_index, smallest=False)


@op("ArgMin")
def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1) -> Tensor:
    return _extreme(x, axis, keepdims, 0, smallest=True)


@op("ArgMin", since=12)
def arg_min_12(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    return _extreme(x, axis, keepdims, select_last_index, smallest=True)


@op("Unique", since=11)
def unique(x: Tensor, *, axis: int | None = None, sorted: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    data = tf.reshape(x, (-1,)) if axis is None else x
    at = 0 if axis is None else axis % x.shape.rank
    found, inverse, counts = tf.raw_ops.UniqueWithCountsV2(x=data, axis=[at], out_idx=tf.int64)
    number = tf.size(counts, out_type=tf.int64)
    first = tf.math.unsorted_segment_min(tf.range(tf.size(inverse, out_type=tf.int64)), inverse, number)
    if sorted:
        order = tf.cast(_order(found, at), tf.int64)
        found, first, counts = (tf.gather(t, order, axis=a) for t, a in ((found, at), (first, 0), (counts, 0)))
        inverse = tf.gather(tf.math.invert_permutation(order), inverse)
    return found, first, inverse, counts


def _order(found: tf.Tensor, axis: int) -> tf.Tensor:
    """The ascending order of subtensors along an axis, compared element by element."""
    rows = _columns(found, axis)
    count = tf.shape(rows)[0]

    def by_column(column: tf.Tensor, order: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        places = tf.argsort(tf.gather(rows[:, column], order), stable=True)
        return column - 1, tf.gather(order, places)

    # Sorting by the last column first, each sort being stable, leaves the first column as the most important one.
    loop_vars = (tf.shape(rows)[1] - 1, tf.range(count))
    invariants = (tf.TensorShape([]), tf.TensorShape([None]))
    return tf.while_loop(lambda column, _: column >= 0, by_column, loop_vars, invariants)[1]


def _columns(found: tf.Tensor, axis: int) -> tf.Tensor:
    rank = found.shape.rank
    if found.dtype == tf.string:
        # Strings are compared by their characters; a shorter one comes first.
        points: Any = tf.strings.unicode_decode(tf.reshape(found, (-1,)), "UTF-8").to_tensor(-1)
        found = tf.reshape(points, tf.concat([tf.shape(found), tf.shape(points)[1:]], 0))
    elif found.dtype == tf.bool:
        found = tf.cast(found, tf.int32)
    order = [axis, *(i for i in range(found.shape.rank or rank + 1) if i != axis)]
    moved = tf.transpose(found, order)
    return tf.reshape(moved, tf.stack([tf.shape(moved)[0], -1]))
