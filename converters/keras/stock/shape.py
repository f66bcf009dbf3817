"""What only moves elements: a change of layout is noted, not computed, wherever it can be."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from converters.keras.held import Dims, Held, Unknown, channels_last
from converters.keras.node import Node
from converters.keras.stock.activation import same
from converters.keras.stock.convolution import zero_padded
from converters.keras.stock.reshape import is_size, keeps_first
from converters.keras.stock.table import Result, stock

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_CODES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16", 6: "int32", 7: "int64", 9: "bool"}


@stock("Transpose")
def transpose(at: Node, x: Held, *, perm: list[int] | None = None) -> Result:
    if x.flat is not None:
        x = Held.of(at.source(x), nonnegative=x.nonnegative)
    order = list(range(x.rank))[::-1] if perm is None else [axis % x.rank for axis in perm]
    # Axis i of the result is axis order[i] of x; where the tensor's axes lie stays as it is.
    axes = tuple(order.index(axis) for axis in x.axes)
    labels = None if x.labels is None else tuple(x.labels[axis] for axis in order)
    return Held(x.tensor, axes, nonnegative=x.nonnegative, labels=labels)


@stock("Squeeze")
def squeeze_attribute(at: Node, x: Held, *, axes: list[int] | None = None) -> Result:
    return _squeezed(at, x, axes)


@stock("Squeeze", since=13)
def squeeze(at: Node, x: Held, axes: Any = None) -> Result:
    if axes is not None and not isinstance(axes, np.ndarray):
        return None
    return _squeezed(at, x, None if axes is None else [int(axis) for axis in axes.ravel()])


def _squeezed(at: Node, x: Held, axes: list[int] | None) -> Result:
    if axes is None or x.flat is not None:
        return None
    gone = {axis % x.rank for axis in axes}
    if len(gone) == x.rank or any(x.shape[axis] not in (1, None) for axis in gone):
        return None
    unsure = {x.axis(axis) for axis in gone if x.shape[axis] is None}
    if 0 in unsure:
        return None
    if unsure:
        # What must be 1 at run time is made 1 by its type: the first and only element.
        cuts = tuple(slice(0, 1) if place in unsure else slice(None) for place in range(x.rank))
        x = Held(x.tensor[cuts], x.axes, nonnegative=x.nonnegative)
        if any(x.shape[axis] != 1 for axis in gone):
            return None
    if x.axes[0] in gone:  # another axis comes first, which no layer does
        return Held.of(keras.ops.squeeze(at.source(x), axis=tuple(sorted(gone))), nonnegative=x.nonnegative)
    kept = [axis for axis in x.axes if axis not in gone]
    sizes = [size for size, axis in zip(x.tensor.shape, x.axes, strict=True) if axis not in gone][1:]
    if sum(size is None for size in sizes) > 1:
        return Held.of(keras.ops.squeeze(at.source(x), axis=tuple(sorted(gone))), nonnegative=x.nonnegative)
    made = at.layer(keras.layers.Reshape, [-1 if size is None else size for size in sizes])(x.tensor)
    return Held(made, tuple(sorted(kept).index(axis) for axis in kept), nonnegative=x.nonnegative)


@stock("Unsqueeze")
def unsqueeze_attribute(at: Node, x: Held, *, axes: list[int]) -> Result:
    return _unsqueezed(at, x, axes)


@stock("Unsqueeze", since=13)
def unsqueeze(at: Node, x: Held, axes: Any) -> Result:
    if not isinstance(axes, np.ndarray):
        return None
    return _unsqueezed(at, x, [int(axis) for axis in axes.ravel()])


def _unsqueezed(at: Node, x: Held, axes: list[int]) -> Result:
    rank = x.rank + len(axes)
    new = sorted(axis % rank for axis in axes)
    if x.in_source_order or x.flat is not None:
        tensor = at.source(x)
        for axis in new:
            tensor = keras.ops.expand_dims(tensor, axis)
        return Held.of(tensor, nonnegative=x.nonnegative)
    # Another order stays: the new axes go behind the first one.
    kept = [axis for axis in range(rank) if axis not in new]
    tensor = x.tensor
    for _ in new:
        tensor = keras.ops.expand_dims(tensor, 1)
    first, *others = (kept[axis] for axis in x.axes)
    return Held(tensor, (first, *new, *others), nonnegative=x.nonnegative)


@stock("Expand", since=8)
def expand(at: Node, x: Held, shape: Any) -> Result:
    if isinstance(shape, Dims):
        target: list[Any] = list(shape.array.ravel())
    elif isinstance(shape, np.ndarray):
        target = [int(size) for size in shape.ravel()]
    else:
        return None
    if len(target) > x.rank or x.flat is not None or not x.rank:
        return None
    target = [1] * (x.rank - len(target)) + target
    repeats: dict[int, int] = {}
    for axis, (have, wanted) in enumerate(zip(x.shape, target, strict=True)):
        if is_size(wanted, 1) or (have is not None and is_size(wanted, have)):
            continue
        if isinstance(wanted, Unknown):
            if axis or not keeps_first(x, wanted, None):
                return None
        elif have == 1 and x.axis(axis):
            repeats[x.axis(axis)] = wanted
        else:
            return None
    tensor = x.tensor
    for place, count in repeats.items():
        tensor = keras.ops.repeat(tensor, count, axis=place)
    if not repeats:
        tensor = at.layer(keras.layers.Identity)(tensor)
    return Held(tensor, x.axes, nonnegative=x.nonnegative)


@stock("Concat", since=4)
def concat(at: Node, *inputs: Any, axis: int) -> Result:
    if not all(isinstance(item, Held) for item in inputs):
        return None
    if len(inputs) == 1:
        return same(inputs[0], at.layer(keras.layers.Identity)(inputs[0].tensor))
    rank = inputs[0].rank
    last = channels_last(rank)
    order = last if rank >= 3 and any(item.axes == last for item in inputs) else tuple(range(rank))
    if any(item.rank != rank for item in inputs):
        return None
    if len({item.axes for item in inputs}) == 1:
        order = inputs[0].axes
    tensors = [at.to(item, order) for item in inputs]
    place = order.index(axis % rank)
    if place == 0 or "float" not in inputs[0].dtype:  # the layer calls whole numbers float32
        made = keras.ops.concatenate(tensors, axis=place)
    else:
        made = at.layer(keras.layers.Concatenate, axis=place)(tensors)
    return Held(made, order, nonnegative=all(item.nonnegative for item in inputs))


@stock("Split")
def split_attribute(at: Node, x: Held, *, axis: int = 0, split: list[int] | None = None) -> Result:
    return _split(at, x, axis, split)


@stock("Split", since=13)
def split_input(at: Node, x: Held, split: Any = None, *, axis: int = 0, num_outputs: int | None = None) -> Result:
    if split is not None and not isinstance(split, np.ndarray):
        return None
    return _split(at, x, axis, None if split is None else [int(size) for size in split])


def _split(at: Node, x: Held, axis: int, sizes: list[int] | None) -> Result:
    if x.flat is not None:
        x = Held.of(at.source(x))
    place, size, count = x.axis(axis), x.shape[axis % x.rank], len(at.used)
    if size is None:
        return None
    if sizes is None:
        chunk = -(-size // count)
        sizes = [chunk] * (count - 1) + [size - chunk * (count - 1)]
    if len(sizes) != count or sizes[-1] <= 0 or len(sizes) > 32:
        return None
    if count == 1:
        return same(x, at.layer(keras.layers.Identity)(x.tensor), nonnegative=x.nonnegative)
    borders = [int(border) for border in np.cumsum(sizes)[:-1]]
    parts = keras.ops.split(x.tensor, borders, axis=place)
    return tuple(Held(part, x.axes, nonnegative=x.nonnegative) for part in parts)


@stock("Slice")
def slice_attributes(at: Node, x: Held, *, starts: list[int], ends: list[int], axes: list[int] | None = None) -> Result:
    return _sliced(at, x, starts, ends, axes, None)


@stock("Slice", since=10)
def slice_inputs(at: Node, x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Result:
    given = [starts, ends, axes, steps]
    if not isinstance(x, Held) or any(item is not None and not isinstance(item, np.ndarray) for item in given):
        return None
    lists = [None if item is None else [int(number) for number in item.ravel()] for item in given]
    assert lists[0] is not None and lists[1] is not None
    return _sliced(at, x, lists[0], lists[1], lists[2], lists[3])


def _sliced(
    at: Node, x: Held, starts: list[int], ends: list[int], axes: list[int] | None, steps: list[int] | None
) -> Result:
    if x.flat is not None:
        x = Held.of(at.source(x), nonnegative=x.nonnegative)
    cuts = [slice(None)] * x.rank
    for start, end, axis, step in zip(
        starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True
    ):
        size = x.shape[axis % x.rank]
        if start == 0 and step == 1 and (end >= 2**31 - 1 or (size is not None and end >= size)):
            continue  # all of it
        if step <= 0 or x.axis(axis) == 0:
            return None
        stop = None if end >= 2**31 - 1 else end
        cuts[x.axis(axis)] = slice(start or None, stop, step if step != 1 else None)
    return Held(x.tensor[tuple(cuts)], x.axes, nonnegative=x.nonnegative)


@stock("Tile", since=6)
def tile(at: Node, x: Held, repeats: Any) -> Result:
    if not isinstance(repeats, np.ndarray) or len(repeats) != x.rank or repeats[0] != 1:
        return None
    if x.flat is not None:
        x = Held.of(at.source(x), nonnegative=x.nonnegative)
    made = keras.ops.tile(x.tensor, [int(repeats[axis]) for axis in x.axes])
    return Held(made, x.axes, nonnegative=x.nonnegative)


@stock("Pad", since=2)
def pad_attributes(at: Node, x: Held, *, pads: list[int], mode: str = "constant", value: float = 0.0) -> Result:
    return _padded(at, x, pads, mode, value)


@stock("Pad", since=11)
def pad_inputs(at: Node, x: Held, pads: Any, value: Any = None, axes: Any = None, *, mode: str = "constant") -> Result:
    constants = all(item is None or isinstance(item, np.ndarray) for item in (pads, value, axes))
    if not constants or pads is None or axes is not None or (value is not None and value.size != 1):
        return None
    return _padded(at, x, [int(pad) for pad in pads], mode, 0.0 if value is None else float(value.ravel()[0]))


def _padded(at: Node, x: Held, pads: list[int], mode: str, value: float) -> Result:
    if min(pads) < 0 or x.dtype not in _FLOATS or x.flat is not None:
        return None
    rank = x.rank
    begin, end = pads[:rank], pads[rank:]
    if not any(pads):
        return same(x, at.layer(keras.layers.Identity)(x.tensor), nonnegative=x.nonnegative)
    spatial = rank in (3, 4, 5) and not (begin[0] or begin[1] or end[0] or end[1])
    if mode == "constant" and value == 0.0 and spatial and x.axes == channels_last(rank):
        return at.as_last(zero_padded(at, x.tensor, begin[2:], end[2:]), nonnegative=x.nonnegative)
    kinds = {"constant": "constant", "reflect": "reflect", "edge": "edge"}
    if mode not in ("constant", "reflect") or begin[0] or end[0]:
        return None
    amounts = [(begin[axis], end[axis]) for axis in x.axes]
    options = {"constant_values": value} if mode == "constant" else {}
    made = keras.ops.pad(x.tensor, amounts, mode=kinds[mode], **options)
    return Held(made, x.axes, nonnegative=x.nonnegative and value >= 0)


@stock("Cast", since=6)
def cast(at: Node, x: Held, *, to: int, saturate: int = 1, round_mode: str = "up") -> Result:
    target = _CODES.get(to)
    if target is None or x.dtype not in _CODES.values():
        return None
    if x.dtype in _FLOATS and target not in _FLOATS:
        return None  # rounding and NaN are for the operator table
    if x.dtype == target:
        return same(x, at.layer(keras.layers.Identity)(x.tensor), nonnegative=x.nonnegative)
    return same(x, keras.ops.cast(x.tensor, target), nonnegative=x.nonnegative)


@stock("Gather")
def gather(at: Node, data: Any, indices: Any, *, axis: int = 0) -> Result:
    if isinstance(data, np.ndarray) and isinstance(indices, Held):
        if data.ndim != 2 or axis % data.ndim != 0 or data.dtype.name not in _FLOATS or indices.rank < 1:
            return None
        # Negative indices count from the end in ONNX and not in the layer.
        if not indices.nonnegative and not indices.dtype.startswith("uint"):
            indices = Held.of(keras.ops.mod(at.source(indices), data.shape[0]))
        kind = keras.layers.Embedding if at.table is None else keras.layers.ReversibleEmbedding
        layer = at.layer(kind, *data.shape, dtype=data.dtype.name)
        labels = None if indices.lengths is None else (*indices.lengths, frozenset())
        return Held.of(at.apply(layer, at.source(indices), table=at.table, embeddings=data), labels=labels)
    if not isinstance(data, Held) or not isinstance(indices, np.ndarray) or indices.size > 64 or data.flat is not None:
        return None
    size = data.shape[axis % data.rank]
    if size is None or data.axis(axis) == 0:
        return None
    numbers = np.where(indices < 0, indices + size, indices).astype(np.int32)
    if indices.ndim == 0:
        made = keras.ops.take(data.tensor, int(numbers), axis=data.axis(axis))
        gone = axis % data.rank
        axes = tuple(item - (item > gone) for item in data.axes if item != gone)
        labels = None if data.labels is None else (*data.labels[:gone], *data.labels[gone + 1 :])
        return Held(made, axes, nonnegative=data.nonnegative, labels=labels)
    if indices.ndim != 1:
        return None
    made = keras.ops.take(data.tensor, numbers, axis=data.axis(axis))
    return Held(made, data.axes, nonnegative=data.nonnegative)
