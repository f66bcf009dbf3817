"""Shapes: asking for them and changing them without touching an element's value or order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.table import Static, Tensor, op
from converters.function.values import as_tensor, partial_vector, shape_of, widen

__all__ = ["axes_of", "dimensions", "reshaped"]


def dimensions(x: tf.Tensor) -> list[Any]:
    """The size of each axis: an int where it is known while tracing, else a scalar of int64."""
    if x.shape.is_fully_defined():
        return x.shape.as_list()
    sizes = tf.shape(x, out_type=tf.int64)
    return [sizes[axis] if size is None else size for axis, size in enumerate(x.shape.as_list())]


def reshaped(x: tf.Tensor, sizes: Sequence[Any]) -> tf.Tensor:
    """`x` in a shape whose sizes are ints or scalars; one unknown size becomes -1, so that the rest stays known."""
    unknown = [axis for axis, size in enumerate(sizes) if not isinstance(size, int | np.integer)]
    if not unknown:
        return tf.reshape(x, np.array(sizes, np.int64))
    if len(unknown) == 1 and all(size > 0 for axis, size in enumerate(sizes) if axis != unknown[0]):
        return tf.reshape(x, np.array([-1 if axis in unknown else size for axis, size in enumerate(sizes)], np.int64))
    return tf.reshape(x, tf.stack([tf.cast(size, tf.int64) for size in sizes]))


def axes_of(axes: Any, rank: int) -> list[int]:
    """Axes as ints counted from the front, in the order given.

    Raises:
        ValueError: they are not known while tracing, or lie beyond the rank.
    """
    if isinstance(axes, tf.Tensor):
        raise ValueError("the axes must be known while tracing")
    found = [int(axis) for axis in np.ravel(axes)]
    beyond = [axis for axis in found if not -rank <= axis < rank]
    if beyond:
        raise ValueError(f"axis {beyond[0]} of a tensor with {rank} axes")
    return [axis % rank for axis in found]


@op("Shape")
def shape(data: Any) -> Static:
    return shape_of(as_tensor(data))


@op("Shape", since=15)
def shape_part(data: Any, *, start: int = 0, end: int | None = None) -> Static:
    sizes = as_tensor(data).shape[start:end]
    if sizes.is_fully_defined():
        return np.array(sizes.as_list(), np.int64)
    return shape_of(as_tensor(data))[start:end]


@op("Size")
def size(data: Any) -> Static:
    tensor = as_tensor(data)
    if tensor.shape.is_fully_defined():
        return np.array(tensor.shape.num_elements(), np.int64)
    return tf.size(tensor, out_type=tf.int64)


@op("Reshape", moves=True)
def reshape_by_attribute(data: Tensor, *, shape: list[int] | None = None) -> Tensor:
    return reshape(data, np.array(shape or [], np.int64))


@op("Reshape", since=5, moves=True)
def reshape_5(data: Tensor, shape: Static) -> Tensor:
    return reshape(data, shape)


@op("Reshape", since=14, moves=True)
def reshape(data: Tensor, shape: Static, *, allowzero: int = 0) -> Tensor:
    wanted = partial_vector(shape)
    if allowzero:
        made = tf.reshape(data, shape)
        return made if -1 in wanted else tf.ensure_shape(made, wanted)
    own = dimensions(data)
    if isinstance(shape, np.ndarray):
        if any(size == 0 and axis >= len(own) for axis, size in enumerate(wanted)):
            raise ValueError(f"the shape {wanted} copies an axis that the data lacks")
        sizes = [own[axis] if size == 0 else size for axis, size in enumerate(wanted)]
        return tf.reshape(data, sizes) if -1 in wanted else reshaped(data, sizes)
    # Sizes that are computed may be zero, too: those are copied. What inference knows of the rest is kept.
    vector = tf.cast(shape, tf.int64)
    length = min(len(wanted), len(own))
    copied = tf.stack([tf.cast(size, tf.int64) for size in own[:length]] + [0] * (len(wanted) - length))
    made = tf.reshape(data, tf.where(vector == 0, tf.cast(copied, tf.int64), vector))
    static = [None if size is None else _size_or_none(own, axis, size) for axis, size in enumerate(wanted)]
    return tf.ensure_shape(made, static)


def _size_or_none(own: list[Any], axis: int, size: int) -> int | None:
    if size > 0:
        return size
    return own[axis] if size == 0 and axis < len(own) and isinstance(own[axis], int) else None


@op("Flatten", moves=True)
def flatten(data: Tensor, *, axis: int = 1) -> Tensor:
    sizes = dimensions(data)
    first = axis + len(sizes) if axis < 0 else axis
    return reshaped(data, [_product(sizes[:first]), _product(sizes[first:])])


def _product(sizes: list[Any]) -> Any:
    result: Any = 1
    for size in sizes:
        result = size if isinstance(result, int) and result == 1 else result * size
    return result


def _untouched(axes: tf.Tensor, rank: int) -> tf.Tensor:
    """For each of `rank` axes whether it is none of `axes`, a vector of known length and unknown elements."""
    front = tf.where(axes < 0, axes + tf.cast(rank, axes.dtype), axes)
    return tf.reduce_all(tf.range(rank, dtype=axes.dtype)[:, None] != front[None, :], 1)


@op("Squeeze", moves=True)
def squeeze_by_attribute(data: Tensor, *, axes: list[int] | None = None) -> Tensor:
    return squeeze(data, None if axes is None else np.array(axes))


@op("Squeeze", since=13, moves=True)
def squeeze(data: Tensor, axes: Static | None = None) -> Tensor:
    if axes is None:
        return tf.squeeze(data)
    if isinstance(axes, tf.Tensor):
        sizes = tf.boolean_mask(tf.shape(data, tf.int64), _untouched(axes, data.shape.rank))
        return tf.reshape(data, tf.ensure_shape(sizes, [data.shape.rank - axes.shape[0]]))
    # With an empty list TensorFlow would squeeze every axis.
    return tf.squeeze(data, axes_of(axes, data.shape.rank)) if np.size(axes) else tf.identity(data)


@op("Unsqueeze", moves=True)
def unsqueeze_by_attribute(data: Tensor, *, axes: list[int]) -> Tensor:
    return unsqueeze(data, np.array(axes))


@op("Unsqueeze", since=13, moves=True)
def unsqueeze(data: Tensor, axes: Static) -> Tensor:
    if isinstance(axes, tf.Tensor):
        rank = data.shape.rank + axes.shape[0]
        places = tf.where(_untouched(axes, rank))
        return tf.reshape(data, tf.tensor_scatter_nd_update(tf.ones(rank, tf.int64), places, tf.shape(data, tf.int64)))
    if data.shape.rank == 0 and np.size(axes) == 1:
        return tf.stack([data])  # a Pack: TensorFlow's inference follows sizes through it
    places = axes_of(axes, data.shape.rank + np.size(axes))
    if len(set(places)) < len(places):
        raise ValueError(f"the axes {list(axes)} name one place twice")
    for place in sorted(places):
        data = tf.expand_dims(data, place)
    return data


@op("Transpose", moves=True)
def transpose(data: Tensor, *, perm: list[int] | None = None) -> Tensor:
    return tf.transpose(data, perm)


@op("Expand", since=8, moves=True)
def expand(data: Tensor, shape: Static) -> Tensor:
    wanted = partial_vector(shape)
    own = data.shape.as_list()
    own = [1] * (len(wanted) - len(own)) + own
    ahead = len(own) - len(wanted)
    if isinstance(shape, np.ndarray):
        # An axis of one element takes the wanted size; any other one keeps its own.
        sizes = [None] * ahead + [None if size == 1 else size for size in wanted]
        if None not in sizes or data.shape.is_fully_defined():
            full = [mine if size is None else size for mine, size in zip(own, sizes, strict=True)]
            return tf.broadcast_to(data, full)
    made = tf.broadcast_to(data, tf.broadcast_dynamic_shape(tf.shape(data, tf.int64), tf.cast(shape, tf.int64)))
    return tf.ensure_shape(made, [_broadcast(m, w) for m, w in zip(own, [1] * ahead + list(wanted), strict=True)])


def _broadcast(one: int | None, other: int | None) -> int | None:
    if one == 1 or other == 1:
        return other if one == 1 else one
    return one if other is None else other


@op("Identity")
def identity(data: Any) -> Any:
    return tf.identity(data) if isinstance(data, tf.Tensor) else data


@op("Tile", moves=True)
def tile_along(data: Tensor, tiles: Static, axis: Static) -> Tensor:
    at = axes_of(axis, data.shape.rank)[0]
    repeats: list[Any] = [1] * data.shape.rank
    repeats[at] = tf.cast(tf.reshape(tiles, ()), tf.int64)
    return tile(data, tf.stack([tf.cast(item, tf.int64) for item in repeats]))


@op("Tile", since=6, moves=True)
def tile(data: Tensor, repeats: Static) -> Tensor:
    if data.dtype == tf.uint16:  # the only type without a kernel
        return tf.cast(tf.tile(tf.cast(data, tf.int32), repeats), data.dtype)
    return tf.tile(data, repeats)


@op("Where", since=9)
def where(condition: Tensor, x: Any, y: Any) -> Tensor:
    return tf.where(condition, as_tensor(widen(x)), as_tensor(widen(y)))
