"""Reshaping: axes merge and split where they lie, so that a layout survives, also where sizes are open."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import keras
import numpy as np

from converters.keras.held import Dims, Flat, Held, Unknown, first_axis_of
from converters.keras.node import Node
from converters.keras.sizes import Groups, Size, group, rest
from converters.keras.stock.activation import same
from converters.keras.stock.table import Result, stock

__all__ = ["is_size", "keeps_first"]

#: Most numbers of an order that a model's config may hold.
_ORDER = 4096

#: Most parts that an axis is cut into where only cutting and stacking can split it.
_PARTS = 32


@stock("Flatten")
def flatten(at: Node, x: Held, *, axis: int = 1) -> Result:
    if x.flat is not None:
        return x if axis % x.rank == 1 else None
    place = axis if 0 <= axis <= x.rank else axis % max(x.rank, 1)
    if place == 1:
        return _flattened(at, x)
    behind = x.shape[place:]
    if not 0 < place < x.rank or None in behind:
        return None
    width = math.prod(size or 0 for size in behind)
    return Held.of(keras.ops.reshape(at.source(x), (-1, width)), nonnegative=x.nonnegative) if width else None


def _flattened(at: Node, x: Held) -> Result:
    sizes = x.tensor.shape[1:]
    if None in sizes or x.axes[0] != 0:
        tensor = at.source(x)
        return Held.of(at.layer(keras.layers.Flatten)(tensor), nonnegative=x.nonnegative)
    made = at.layer(keras.layers.Reshape, (math.prod(sizes),))(x.tensor)
    moving = [axis for axis, size in zip(x.axes, x.tensor.shape, strict=True) if size != 1 and axis != 0]
    flat = None if moving == sorted(moving) else Flat(x.axes, tuple(sizes))
    return Held.of(made, flat=flat, nonnegative=x.nonnegative)


@stock("Reshape")
def reshape_attribute(at: Node, x: Held, *, shape: list[int]) -> Result:
    return reshape(at, x, np.array(shape))


@stock("Reshape", since=5)
def reshape(at: Node, x: Held, shape: Any, *, allowzero: int = 0) -> Result:
    if isinstance(shape, np.ndarray):
        target: list[Any] = [int(item) for item in shape.ravel()]
    elif isinstance(shape, Dims):
        target = list(shape.array.ravel())
    else:
        return None
    if not target or not x.rank:
        return None
    if not allowzero:
        target = [x.shape[i] if is_size(item, 0) and i < x.rank else item for i, item in enumerate(target)]
        target = [Unknown(x, i) if item is None else item for i, item in enumerate(target)]
    elif any(is_size(item, 0) for item in target):
        return None
    tail = _tail(x, target, at.batch)
    if tail is not None and len(tail) == 1:
        if x.flat is not None:
            return same(x, x.tensor, nonnegative=x.nonnegative)
        if x.rank > 2:
            return _flattened(at, x)
    if x.flat is not None:
        x = Held.of(at.source(x), nonnegative=x.nonnegative)
    have, wanted = _sizes(at, x, target, kept=tail is not None)
    regrouped = _regrouped(at, x, have, wanted) if None not in wanted else None
    if regrouped is not None:
        return regrouped
    if tail is not None:
        return Held.of(at.layer(keras.layers.Reshape, tuple(tail))(at.source(x)), nonnegative=x.nonnegative)
    behind = [item if isinstance(item, int) else None for item in target[1:]]
    if all(size is not None and size > 0 for size in behind):
        # However many rows that makes: another axis now comes first.
        first = target[0] if isinstance(target[0], int) and None not in x.shape else -1
        return Held.of(keras.ops.reshape(at.source(x), (first, *behind)), nonnegative=x.nonnegative)
    return None


# -- sizes ----------------------------------------------------------------------------------------------------------


def _sizes(at: Node, x: Held, target: Sequence[Any], *, kept: bool) -> tuple[list[Size], list[Size | None]]:
    """The sizes of x and of what it becomes, None for one that nothing tells; with `kept` the first stays itself."""
    have = [Size.of(1, place) if size is None else Size(size) for place, size in enumerate(x.shape)]
    free = {place: x.aliases(place) | _declared(at, 0, place) for place, size in enumerate(x.shape) if size is None}
    wanted: list[Size | None] = []
    for place, item in enumerate(target):
        if kept and place == 0:
            wanted.append(have[0])
            free.pop(0, None)
            continue
        if not isinstance(item, Unknown):
            wanted.append(None if item == -1 else Size(item))
            continue
        names = _declared(at, 1, place) | (item.of.aliases(item.axis) if item.of is not None else frozenset())
        found = next((axis for axis, known in free.items() if known & names), None)
        wanted.append(None if found is None else Size.of(1, found))
        if found is not None:
            del free[found]
    if wanted.count(None) == 1:
        # Nothing is lost: what is left is the one size that is not said.
        left = rest(have, [size for size in wanted if size is not None])
        wanted = [left if size is None else size for size in wanted]
    return have, wanted


def _declared(at: Node, which: int, place: int) -> frozenset[Hashable]:
    """The name that the source has for a size of the node's input (0) or output (1)."""
    names = at.declared[which]
    name = names[place] if names is not None and place < len(names) else None
    return frozenset() if name is None else frozenset([("named", name)])


# -- moving axes ----------------------------------------------------------------------------------------------------


def _regrouped(at: Node, x: Held, have: list[Size], wanted: list[Any]) -> Result:
    """A reshape that merges and splits axes where they lie."""
    groups = group(have, wanted)
    if groups is None or not any(ins == [x.axes[0]] and len(outs) == 1 for ins, outs in groups):
        return None  # the rows of a layer would be others
    order = sorted(groups, key=lambda item: min(x.axes.index(axis) for axis in item[0]))
    axes = tuple(axis for ins, _ in order for axis in sorted(ins))
    new_axes = tuple(axis for _, outs in order for axis in outs)
    sizes = [wanted[axis].known for axis in new_axes]
    if sizes[1:].count(None) > 1:
        shuffled = _shuffled(at, x, groups, wanted)
        if shuffled is not None:
            return shuffled
        made = _cut(at, x, groups, axes, wanted)
    else:
        tensor = at.to(x, axes)
        if list(tensor.shape[1:]) == sizes[1:]:
            made = tensor
        else:
            made = at.layer(keras.layers.Reshape, [-1 if size is None else size for size in sizes[1:]])(tensor)
    if made is None:
        return None
    return Held(made, new_axes, nonnegative=x.nonnegative, labels=_labels(at, x, groups, wanted))


def _labels(at: Node, x: Held, groups: Groups, wanted: Sequence[Size]) -> tuple[frozenset[Hashable], ...]:
    """What the open sizes that stay are known by."""
    labels = []
    before = {outs[0]: ins[0] for ins, outs in groups if len(ins) == len(outs) == 1}
    for place, size in enumerate(wanted):
        kept = size.known is None and place in before
        labels.append(x.aliases(before[place]) | _declared(at, 0, before[place]) if kept else frozenset())
    return tuple(labels)


def _single(groups: Groups) -> tuple[list[int], list[int]] | None:
    """The only group that is not one axis into itself."""
    changed = [item for item in groups if len(item[0]) != 1 or len(item[1]) != 1]
    return changed[0] if len(changed) == 1 else None


def _shuffled(at: Node, x: Held, groups: Groups, wanted: Sequence[Size]) -> Result:
    """Two axes that were one, exchanged and merged again: the elements of that one in another order."""
    only = _single(groups)
    note = at.notes.get(("split", id(x.tensor)))
    if only is None or note is None or len(only[0]) != 2 or len(only[1]) != 1:
        return None
    tensor, place, (outer, inner), _ = note
    if outer * inner > _ORDER or [x.axes.index(axis) for axis in only[0]] != [place + 1, place]:
        return None
    # All other axes must be where they were.
    before = [axis for axis in x.axes if axis not in only[0]]
    target = [next(outs[0] for ins, outs in groups if axis in ins) for axis in before]
    new_axes = [*target[:place], only[1][0], *target[place:]]
    order = np.arange(outer * inner).reshape(outer, inner).T.ravel()
    made = keras.ops.take(tensor, order, axis=place)
    return Held(made, tuple(new_axes), nonnegative=x.nonnegative, labels=_labels(at, x, groups, wanted))


def _cut(at: Node, x: Held, groups: Groups, axes: tuple[int, ...], wanted: Sequence[Size]) -> Any:
    """One axis split in two, or two merged, where several other sizes are open: by cutting, which needs no sizes."""
    only = _single(groups)
    if only is None:
        return None
    ins, outs = only
    place = axes.index(ins[0])
    if len(ins) == 1 and len(outs) == 2:
        parts = [wanted[axis].known for axis in outs]
        if None in parts or not 1 < (parts[0] or 0) <= _PARTS:
            return None
        tensor = at.to(x, axes)
        made = keras.ops.stack(keras.ops.split(tensor, parts[0], axis=place), axis=place)
        at.notes["split", id(made)] = (tensor, place, parts, made)
        return made
    if len(ins) == 2 and len(outs) == 1:
        count = x.shape[ins[0]]
        if count is None or not 1 < count <= _PARTS:
            return None
        rows = keras.ops.unstack(at.to(x, axes), count, axis=place)
        return at.layer(keras.layers.Concatenate, axis=place)(rows)
    return None


# -- the first axis -------------------------------------------------------------------------------------------------


def is_size(item: Any, number: int) -> bool:
    """Whether a size is known to be `number`."""
    return not isinstance(item, Unknown) and item == number


def _tail(x: Held, target: list[Any], batch: int | None) -> list[int] | None:
    """The sizes behind the batch axis, -1 for one that is open; None where the batch axis does not stay itself."""
    first, behind = target[0], target[1:]
    have = x.shape
    whole = None if None in have[1:] else math.prod(size or 0 for size in have[1:])
    open_ends = [i for i, item in enumerate(behind) if isinstance(item, Unknown) or item == -1]
    if len(open_ends) > 1:
        return None
    sizes = [-1 if i in open_ends else int(item) for i, item in enumerate(behind)]
    others = math.prod(size for size in sizes if size != -1)
    if not open_ends:
        # Nothing is open behind it, so equal contents mean that the batch axis is what it was.
        return sizes if whole is not None and others == whole else None
    if not keeps_first(x, first, batch):
        return None
    if whole is not None:
        if not others or whole % others:
            return None
        sizes[open_ends[0]] = whole // others
    return sizes


def keeps_first(x: Held, first: Any, batch: int | None) -> bool:
    """Whether a size for the first axis is the one that it has."""
    size, tensor = x.shape[0], x.tensor
    if not isinstance(first, Unknown):
        if size is not None or first != batch:
            return bool(first == size)
        return x.axes[0] == 0 and isinstance(first_axis_of(tensor)._keras_history.operation, keras.layers.InputLayer)
    if size is not None or first.of is None or first.axis or first.of.axes[0] or x.axes[0]:
        return False
    return first_axis_of(first.of.tensor) is first_axis_of(tensor)
