"""Picking elements by their places."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.shape import dimensions
from converters.function.table import Static, Tensor, op
from converters.function.values import partial_vector

__all__ = ["from_front"]


def from_front(indices: Any, size: Any) -> tf.Tensor:
    """Indices counted from the front; negative ones count from the back of an axis of `size` elements."""
    if isinstance(indices, np.ndarray):
        if not (indices < 0).any():
            return tf.constant(indices)
        if isinstance(size, int):
            return tf.constant(np.where(indices < 0, indices + size, indices))
    tensor = tf.convert_to_tensor(indices)
    return tf.where(tensor < 0, tensor + tf.cast(size, tensor.dtype), tensor)


@op("Gather", moves=True)
def gather(data: Tensor, indices: Static, *, axis: int = 0) -> Static:
    if isinstance(indices, np.ndarray) and data.shape.rank == 1 and indices.ndim < 2 and data.shape[0] is not None:
        if data.dtype in (tf.int32, tf.int64):
            # Sizes of a shape: what is known of it stays known.
            found = [partial_vector(data)[i] for i in indices.ravel().tolist()]
            if None not in found and -1 not in found:
                return np.array(found, data.dtype.as_numpy_dtype).reshape(indices.shape)
        if indices.ndim == 0:
            return data[int(indices)]
    return tf.gather(data, from_front(indices, dimensions(data)[axis]), axis=axis)


@op("GatherElements", since=11, moves=True)
def gather_elements(data: Tensor, indices: Static, *, axis: int = 0) -> Tensor:
    rank = data.shape.rank
    at = axis % rank
    places = from_front(indices, dimensions(data)[at])
    sizes = dimensions(places)
    # On the other axes the indices may cover a part only.
    data = data[tuple(slice(None) if i == at else slice(sizes[i]) for i in range(rank))]
    if at == rank - 1:
        return tf.gather(data, places, batch_dims=rank - 1)
    order = [*(i for i in range(rank) if i != at), at]
    back = [order.index(i) for i in range(rank)]
    picked = tf.gather(tf.transpose(data, order), tf.transpose(places, order), batch_dims=rank - 1)
    return tf.transpose(picked, back)


@op("GatherND", since=11, moves=True)
def gather_nd(data: Tensor, indices: Static, *, batch_dims: int = 0) -> Tensor:
    return tf.gather_nd(data, places_from_front(indices, data, batch_dims), batch_dims)


def places_from_front(indices: Static, data: tf.Tensor, first: int = 0) -> tf.Tensor:
    """Rows of indices (..., axes) into the axes of `data` from `first` on, each counted from the front of its axis."""
    if isinstance(indices, np.ndarray) and not (indices < 0).any():
        return tf.constant(indices)
    tensor = tf.convert_to_tensor(indices)
    depth = tf.shape(tensor)[-1] if tensor.shape[-1] is None else tensor.shape[-1]
    ends = tf.shape(data, out_type=tensor.dtype)[first : first + depth]
    return tf.where(tensor < 0, tensor + ends, tensor)


@op("OneHot", since=9)
def one_hot(indices: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Tensor:
    count = tf.cast(tf.reshape(depth, ()), tf.int64)
    wanted = tf.cast(indices, tf.int64)
    wanted = tf.expand_dims(tf.where(wanted < 0, wanted + count, wanted), axis)
    shape = [1] * wanted.shape.rank
    shape[axis] = -1
    hit = wanted == tf.reshape(tf.range(count), shape)
    return tf.where(hit, values[1], values[0])
