"""Sequences: lists of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.shape import dimensions
from converters.function.table import Static, Tensor, op
from converters.function.values import Narrow, as_tensor

__all__: list[str] = []


def _place(position: Static | None, count: int, beyond: int = 0) -> int:
    if position is None:
        return count
    if not isinstance(position, np.ndarray):
        raise ValueError("the position in a sequence must be known while tracing; call the function eagerly")
    place = int(position.reshape(()))
    if not -count <= place < count + beyond:
        raise ValueError(f"position {place} of a sequence of {count} elements")
    return place + count if place < 0 else place


@op("SequenceConstruct", since=11)
def sequence_construct(*inputs: Any) -> list[Any]:
    return list(inputs)


@op("SequenceEmpty", since=11)
def sequence_empty(*, dtype: int = 1) -> list[Any]:
    return []


@op("SequenceLength", since=11)
def sequence_length(sequence: Any) -> np.ndarray:
    return np.array(len(sequence), np.int64)


@op("SequenceAt", since=11)
def sequence_at(sequence: Any, position: Static) -> Any:
    if isinstance(position, np.ndarray):
        return sequence[_place(position, len(sequence))]
    number = tf.cast(tf.reshape(position, ()), tf.int32)
    place = tf.where(number < 0, number + len(sequence), number)
    inside = tf.debugging.Assert((place >= 0) & (place < len(sequence)), ["position outside of the sequence:", number])
    kinds = {item.dtype for item in sequence if isinstance(item, Narrow)}
    with tf.control_dependencies([inside]):
        picked = tf.switch_case(place, [lambda item=item: as_tensor(item) for item in sequence])
    return Narrow(picked, kinds.pop()) if kinds else picked


@op("SequenceInsert", since=11)
def sequence_insert(sequence: Any, tensor: Any, position: Static | None = None) -> list[Any]:
    place = _place(position, len(sequence), beyond=1)
    return [*sequence[:place], tensor, *sequence[place:]]


@op("SequenceErase", since=11)
def sequence_erase(sequence: Any, position: Static | None = None) -> list[Any]:
    place = len(sequence) - 1 if position is None else _place(position, len(sequence))
    return [*sequence[:place], *sequence[place + 1 :]]


@op("SplitToSequence", since=11)
def split_to_sequence(data: Tensor, split: Static | None = None, *, axis: int = 0, keepdims: int = 1) -> list[Any]:
    size = dimensions(data)[axis]
    if isinstance(split, tf.Tensor) and split.shape.rank:
        return tf.split(data, split, axis, num=split.shape[0])
    if not isinstance(size, int) or isinstance(split, tf.Tensor):
        raise ValueError("how many parts a sequence gets must be known while tracing; call the function eagerly")
    if split is None:
        return tf.split(data, size, axis) if keepdims else tf.unstack(data, axis=axis)
    if split.ndim:
        return tf.split(data, split, axis)
    part = int(split)
    return tf.split(data, [part] * (size // part) + ([size % part] if size % part else []), axis)


@op("ConcatFromSequence", since=11)
def concat_from_sequence(sequence: Any, *, axis: int, new_axis: int = 0) -> Any:
    tensors = [as_tensor(item) for item in sequence]
    made = tf.stack(tensors, axis) if new_axis else tf.concat(tensors, axis)
    return Narrow(made, sequence[0].dtype) if isinstance(sequence[0], Narrow) else made


@op("SequenceMap", since=17)
def sequence_map(sequence: Any, *inputs: Any, body: Callable[..., list[Any]]) -> tuple[list[Any], ...]:
    rows = []
    for place, element in enumerate(sequence):
        rows.append(body(element, *(item[place] if isinstance(item, list) else item for item in inputs)))
    count = len(body.plan.outputs)  # type: ignore[attr-defined]
    return tuple([row[output] for row in rows] for output in range(count))
