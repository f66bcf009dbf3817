"""Parts of tensors: joining, cutting, padding, and picking by a mask or a place."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.shape import axes_of, dimensions, reshaped
from converters.function.table import Static, Tensor, op
from converters.function.values import partial_vector

__all__ = ["slices"]


@op("Concat", moves=True)
def concat(*inputs: Tensor, axis: int = 1) -> Tensor:
    return tf.concat(inputs, axis)


@op("Concat", since=4, moves=True)
def concat_4(*inputs: Tensor, axis: int) -> Tensor:
    return tf.concat(inputs, axis)


@op("Split", moves=True)
def split_1(
    data: Tensor, sizes: Static | None = None, *, axis: int = 0, split: list[int] | None = None, output_count: int
) -> tuple[Tensor, ...]:
    given = sizes if sizes is not None else None if split is None else np.array(split)
    return split_18(data, given, axis=axis, output_count=output_count)


@op("Split", since=2, moves=True)
def split_2(data: Tensor, *, axis: int = 0, split: list[int] | None = None, output_count: int) -> tuple[Tensor, ...]:
    return split_18(data, None if split is None else np.array(split), axis=axis, output_count=output_count)


@op("Split", since=13, moves=True)
def split_13(data: Tensor, split: Static | None = None, *, axis: int = 0, output_count: int) -> tuple[Tensor, ...]:
    return split_18(data, split, axis=axis, output_count=output_count)


@op("Split", since=18, moves=True)
def split_18(
    data: Tensor, split: Static | None = None, *, axis: int = 0, num_outputs: int | None = None, output_count: int
) -> tuple[Tensor, ...]:
    if split is not None:
        return tuple(tf.split(data, split, axis, num=output_count))
    # Equal parts; where that does not come out even the last one is smaller.
    count, whole = num_outputs or output_count, dimensions(data)[axis]
    part = -(-whole // count)
    return tuple(tf.split(data, tf.stack([part] * (count - 1) + [whole - part * (count - 1)]), axis, num=count))


@op("Slice", moves=True)
def slice_by_attributes(data: Tensor, *, starts: list[int], ends: list[int], axes: list[int] | None = None) -> Static:
    return slices(data, np.array(starts), np.array(ends), None if axes is None else np.array(axes))


@op("Slice", since=10, moves=True)
def slices(
    data: Tensor, starts: Static, ends: Static, axes: Static | None = None, steps: Static | None = None
) -> Static:
    rank = data.shape.rank
    count = starts.shape[0]
    if isinstance(axes, tf.Tensor):
        return _sliced(data, starts, ends, tf.where(axes < 0, axes + tf.cast(rank, axes.dtype), axes), steps)
    places = list(range(count)) if axes is None else axes_of(axes, rank)
    known = [isinstance(item, np.ndarray) or item is None for item in (starts, ends, steps)]
    if all(known) and rank == 1 and data.dtype in (tf.int32, tf.int64) and count == 1:
        found = partial_vector(data)[_cut(starts, ends, steps)] if data.shape[0] is not None else [None]
        if None not in found and -1 not in found:
            return np.array(found, data.dtype.as_numpy_dtype)
    every = (1 << rank) - 1
    if all(known):
        # Out of range means up to the end, which holds for the ends of int32, too.
        lows, highs = (np.clip(item, -(2**31 - 1), 2**31 - 1).astype(np.int32) for item in (starts, ends))
        begin, end, step = np.zeros(rank, np.int32), np.zeros(rank, np.int32), np.ones(rank, np.int32)
        begin[places], end[places] = lows, highs
        step[places] = 1 if steps is None else steps
        for place in places:
            every &= ~(1 << place)
        return tf.strided_slice(data, begin, end, step, begin_mask=every, end_mask=every)
    made = _sliced(data, starts, ends, np.array(places), steps)
    return tf.ensure_shape(made, [None if axis in places else data.shape[axis] for axis in range(rank)])


def _sliced(data: tf.Tensor, starts: Static, ends: Static, axes: Static, steps: Static | None) -> tf.Tensor:
    """A slice of which nothing needs to be known but how many axes the data has."""
    where, rank = tf.cast(axes, tf.int64)[:, None], data.shape.rank
    begin = tf.tensor_scatter_nd_update(tf.zeros(rank, tf.int64), where, tf.cast(starts, tf.int64))
    end = tf.tensor_scatter_nd_update(tf.shape(data, out_type=tf.int64), where, tf.cast(ends, tf.int64))
    step = tf.ones(rank, tf.int64)
    if steps is not None:
        step = tf.tensor_scatter_nd_update(step, where, tf.cast(steps, tf.int64))
    return tf.ensure_shape(tf.strided_slice(data, begin, end, step), [None] * rank)


def _cut(starts: np.ndarray, ends: np.ndarray, steps: np.ndarray | None) -> slice:
    step = 1 if steps is None else int(steps[0])
    start, end = int(starts[0]), int(ends[0])
    return slice(start, None if step < 0 and end < -(2**31) else end, step)


@op("Pad", moves=True)
def pad_by_paddings(data: Tensor, *, paddings: list[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    return pad_by_attributes(data, pads=paddings, mode=mode, value=value)


@op("Pad", since=2, moves=True)
def pad_by_attributes(data: Tensor, *, pads: list[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    return pad(data, np.array(pads), tf.constant(value, data.dtype), mode=mode)


@op("Pad", since=11, moves=True)
def pad(
    data: Tensor, pads: Static, value: Tensor | None = None, axes: Static | None = None, *, mode: str = "constant"
) -> Tensor:
    rank = data.shape.rank
    if isinstance(axes, tf.Tensor):
        # Which axes is not known: every axis gets its amounts, most of them zero.
        where = tf.where(axes < 0, axes + tf.cast(rank, axes.dtype), axes)
        where = tf.concat([where, where + tf.cast(rank, axes.dtype)], 0)[:, None]
        pads, axes = tf.scatter_nd(tf.cast(where, tf.int64), tf.cast(pads, tf.int64), [2 * rank]), None
    places = list(range(rank)) if axes is None else axes_of(axes, rank)
    counts = pads.astype(np.int64) if isinstance(pads, np.ndarray) else tf.cast(pads, tf.int64)
    amounts = {place: (counts[i], counts[i + len(places)]) for i, place in enumerate(places)}
    known = isinstance(counts, np.ndarray)
    if mode == "constant" or (mode == "reflect" and known and _within(data, amounts)):
        return _padded(data, amounts, value, mode, known)
    for place, (before, after) in amounts.items():
        if known and before == after == 0:
            continue
        size = dimensions(data)[place]
        size = tf.cast(size, tf.int64)
        cells = tf.range(-before, size + after)
        if mode == "edge":
            cells = tf.clip_by_value(cells, 0, size - 1)
        elif mode == "wrap":
            cells = tf.math.floormod(cells, size)
        elif mode == "reflect":
            turn = 2 * (size - 1)
            way = tf.math.floormod(cells, tf.maximum(turn, 1))
            cells = tf.minimum(way, turn - way)
        else:
            raise ValueError(f"unknown mode {mode!r}; Pad knows constant, reflect, edge and wrap")
        data = tf.gather(data, cells, axis=place)
    return data


def _within(data: tf.Tensor, amounts: dict[int, tuple[Any, Any]]) -> bool:
    """Whether each axis is reflected at most once: then TensorFlow's kernel serves."""
    sizes = [data.shape[place] for place in amounts]
    fits = (size is None or max(pair) < size for size, pair in zip(sizes, amounts.values(), strict=True))
    return all(fits) and all(min(pair) >= 0 for pair in amounts.values())


def _padded(
    data: tf.Tensor, amounts: dict[int, tuple[Any, Any]], value: tf.Tensor | None, mode: str, known: bool
) -> tf.Tensor:
    rank = data.shape.rank
    fill = tf.zeros((), data.dtype) if value is None else tf.reshape(value, ())
    table: list[Any] = [[0, 0] for _ in range(rank)]
    cut: list[Any] = [slice(None)] * rank
    for place, (before, after) in amounts.items():
        # Negative amounts remove elements.
        table[place] = [max(0, before), max(0, after)] if known else [tf.maximum(before, 0), tf.maximum(after, 0)]
        if not known or min(before, after) < 0:
            size = dimensions(data)[place]
            cut[place] = slice(max(0, -before) if known else tf.maximum(-before, 0), size + (after - table[place][1]))
    data = data if all(item == slice(None) for item in cut) else data[tuple(cut)]
    rows = np.array(table, np.int64) if known else tf.stack([[tf.cast(i, tf.int64) for i in row] for row in table])
    if mode == "reflect":
        return tf.pad(data, rows, mode="REFLECT")
    return tf.pad(data, rows, constant_values=fill)


@op("DepthToSpace", moves=True)
def depth_to_space(data: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    batch, channels, height, width = dimensions(data)
    depth = channels // (blocksize * blocksize)
    if mode == "DCR":
        blocks = reshaped(data, [batch, blocksize, blocksize, depth, height, width])
        order = [0, 3, 4, 1, 5, 2]
    else:
        blocks = reshaped(data, [batch, depth, blocksize, blocksize, height, width])
        order = [0, 1, 4, 2, 5, 3]
    return reshaped(tf.transpose(blocks, order), [batch, depth, height * blocksize, width * blocksize])


@op("SpaceToDepth", moves=True)
def space_to_depth(data: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    batch, channels, height, width = dimensions(data)
    height, width = height // blocksize, width // blocksize
    blocks = reshaped(data, [batch, channels, height, blocksize, width, blocksize])
    order = [0, 3, 5, 1, 2, 4] if mode == "DCR" else [0, 1, 3, 5, 2, 4]
    return reshaped(tf.transpose(blocks, order), [batch, channels * blocksize * blocksize, height, width])


@op("ReverseSequence", since=10, moves=True)
def reverse_sequence(data: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> Tensor:
    return tf.reverse_sequence(data, lengths, seq_axis=time_axis, batch_axis=batch_axis)


@op("Compress", since=9, moves=True)
def compress(data: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    places = tf.reshape(tf.where(condition), (-1,))
    if axis is None:
        return tf.gather(tf.reshape(data, (-1,)), places)
    return tf.gather(data, places, axis=axis)


@op("NonZero", since=9)
def non_zero(x: Tensor) -> Tensor:
    return tf.transpose(tf.where(tf.not_equal(x, tf.zeros((), x.dtype))))


@op("Trilu", since=14)
def trilu(x: Tensor, k: Static | None = None, *, upper: int = 1) -> Tensor:
    rows, columns = dimensions(x)[-2:]
    offset = 0 if k is None else tf.cast(tf.reshape(k, ()), tf.int64)
    distance = tf.range(columns, dtype=tf.int64)[None, :] - tf.range(rows, dtype=tf.int64)[:, None]
    return tf.where(distance >= offset if upper else distance <= offset, x, tf.zeros((), x.dtype))
