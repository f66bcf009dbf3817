"""Putting elements at places: the result is a copy of the data, changed there."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from converters.function.gather import from_front, places_from_front
from converters.function.shape import dimensions
from converters.function.table import Static, Tensor, op

__all__: list[str] = []


def _multiplied(data: tf.Tensor, places: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
    # A place may be named several times: then all of its updates are multiplied.
    shape = tf.shape(data, out_type=tf.int64)
    depth = tf.shape(places)[-1] if places.shape[-1] is None else places.shape[-1]
    strides = tf.math.cumprod(shape[:depth], exclusive=True, reverse=True)
    rows = tf.reshape(tf.reduce_sum(tf.cast(places, tf.int64) * strides, -1), (-1,))
    count = tf.reduce_prod(shape[:depth])
    parts = tf.reshape(updates, tf.concat([[-1], shape[depth:]], 0))
    return data * tf.reshape(tf.math.unsorted_segment_prod(parts, rows, count), shape)


_REDUCTIONS: dict[str, Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "none": tf.tensor_scatter_nd_update,
    "add": tf.tensor_scatter_nd_add,
    "mul": _multiplied,
    "max": tf.tensor_scatter_nd_max,
    "min": tf.tensor_scatter_nd_min,
}


def _scattered(data: tf.Tensor, places: tf.Tensor, updates: tf.Tensor, reduction: str) -> tf.Tensor:
    if reduction not in _REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; known are {', '.join(_REDUCTIONS)}")
    if data.dtype == tf.bool and reduction != "none":
        # On truth values the sum and the maximum are "or", the product and the minimum "and".
        wide = _REDUCTIONS["max" if reduction in ("add", "max") else "min"]
        return tf.cast(wide(tf.cast(data, tf.int32), places, tf.cast(updates, tf.int32)), tf.bool)
    return _REDUCTIONS[reduction](data, places, updates)


def _scatter_elements(data: tf.Tensor, indices: Static, updates: tf.Tensor, axis: int, reduction: str) -> tf.Tensor:
    rank = data.shape.rank
    at = axis % rank
    index = tf.cast(from_front(indices, dimensions(data)[at]), tf.int64)
    shape = tf.shape(index, out_type=tf.int64)
    grid = []
    for other in range(rank):
        if other == at:
            grid.append(index)
            continue
        line = tf.reshape(tf.range(shape[other]), [-1 if i == other else 1 for i in range(rank)])
        grid.append(tf.broadcast_to(line, shape))
    return _scattered(data, tf.stack(grid, -1), updates, reduction)


@op("Scatter", since=9, moves=True)
@op("ScatterElements", since=11, moves=True)
def scatter_elements(data: Tensor, indices: Static, updates: Tensor, *, axis: int = 0) -> Tensor:
    return _scatter_elements(data, indices, updates, axis, "none")


@op("ScatterElements", since=16, moves=True)
def scatter_elements_16(
    data: Tensor, indices: Static, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    return _scatter_elements(data, indices, updates, axis, reduction)


@op("ScatterND", since=11, moves=True)
def scatter_nd(data: Tensor, indices: Static, updates: Tensor) -> Tensor:
    return scatter_nd_16(data, indices, updates)


@op("ScatterND", since=16, moves=True)
def scatter_nd_16(data: Tensor, indices: Static, updates: Tensor, *, reduction: str = "none") -> Tensor:
    return _scattered(data, places_from_front(indices, data), updates, reduction)


@op("TensorScatter", since=24, moves=True)
def tensor_scatter(
    past: Tensor, update: Tensor, write_indices: Tensor | None = None, *, axis: int = -2, mode: str = "linear"
) -> Tensor:
    rank = past.shape.rank
    at = axis % rank
    size, length = dimensions(past)[at], tf.cast(dimensions(update)[at], tf.int64)
    first = tf.zeros((1,), tf.int64) if write_indices is None else tf.cast(write_indices, tf.int64)
    # (N, size): which element of the update each place takes, if any.
    source = tf.range(tf.cast(size, tf.int64))[None, :] - first[:, None]
    if mode == "circular":
        source = tf.math.floormod(source, tf.cast(size, tf.int64))
    source = tf.broadcast_to(source, tf.stack([tf.shape(past, tf.int64)[0], tf.cast(size, tf.int64)]))
    taken = (source >= 0) & (source < length)
    order = [0, at, *(i for i in range(1, rank) if i != at)]
    back = [order.index(i) for i in range(rank)]
    parts = tf.gather(tf.transpose(update, order), tf.clip_by_value(source, 0, length - 1), axis=1, batch_dims=1)
    parts = tf.transpose(parts, back)
    shape = [1] * rank
    shape[0], shape[at] = -1, past.shape[at] or tf.shape(past)[at]
    return tf.where(tf.reshape(taken, shape), parts, past)
