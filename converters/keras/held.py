"""What the lowering holds for a value of the graph, and how a value comes into the layout that is wanted."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "Deferred",
    "Dims",
    "Flat",
    "Held",
    "Unknown",
    "Zeros",
    "channels_last",
    "common_lengths",
    "first_axis_of",
    "keras_has",
]


def channels_last(rank: int) -> tuple[int, ...]:
    """Source axes (N, C, spatial...) in the order (N, spatial..., C)."""
    return (0, *range(2, rank), 1) if rank >= 3 else tuple(range(rank))


def keras_has(dtype: np.dtype) -> bool:
    """Whether Keras has tensors of this type (NumPy's; object for strings)."""
    import keras

    try:
        return bool(keras.backend.standardize_dtype("string" if dtype.kind in "OUST" else dtype.name))
    except ValueError:
        return False


def first_axis_of(tensor: Any) -> Any:
    """The symbolic tensor whose open first axis the first axis of `tensor` is: an input, or what made it anew.

    Layers and operations of Keras keep the axis, but for those that join or move it; a piece of an ONNX graph may
    give any other.
    """
    while True:
        operation, node, _ = tensor._keras_history
        order = getattr(operation, "axes", None)
        if isinstance(getattr(operation, "newshape", None), tuple):  # rows are cut anew
            return tensor
        if getattr(operation, "axis", None) == 0 or (isinstance(order, list | tuple) and order and order[0] != 0):
            return tensor
        if hasattr(operation, "weight_specs"):  # a GraphFunction
            return tensor
        before = [item for item in operation._inbound_nodes[node].input_tensors if item.shape and item.shape[0] is None]
        if not before:
            return tensor
        tensor = before[0]


@dataclass(frozen=True)
class Flat:
    """How the last axis of a flattened value came about: from axes in another order than the source flattens them.

    Attributes:
        axes: of the value before it was flattened, batch axis included, as `Held.axes`.
        sizes: of its axes behind the batch axis, in the order of `axes`.
    """

    axes: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def order(self) -> np.ndarray:
        """(features,) int: position k of the held value is feature `order[k]` of the source."""
        tail = [axis - 1 for axis in self.axes[1:]]
        source = [self.sizes[tail.index(i)] for i in range(len(tail))]
        return np.arange(math.prod(source)).reshape(source).transpose(tail).ravel()


@dataclass(frozen=True, eq=False)
class Held:
    """A Keras tensor and how it lies to the source's value.

    Attributes:
        tensor: symbolic Keras tensor, or one of its like.
        axes: axis j of `tensor` is axis `axes[j]` of the source's value.
        flat: for (N, features) values that were flattened in another order than the source's.
        nonnegative: no element is below zero, so that padding with zeros is neutral for a maximum.
        labels: for each of the source's axes what an open size is known by from before.
        narrow: the source's type where Keras has none such; the tensor's holds each of its values.
    """

    tensor: Any
    axes: tuple[int, ...]
    flat: Flat | None = None
    nonnegative: bool = False
    labels: tuple[frozenset[Hashable], ...] | None = None
    narrow: np.dtype | None = None

    @classmethod
    def of(cls, tensor: Any, **attributes: Any) -> Held:
        """A tensor that lies as in the source."""
        return cls(tensor, tuple(range(len(tensor.shape))), **attributes)

    @property
    def rank(self) -> int:
        return len(self.axes)

    @property
    def dtype(self) -> str:
        return str(self.tensor.dtype) if self.narrow is None else self.narrow.name

    @property
    def in_source_order(self) -> bool:
        return self.flat is None and self.axes == tuple(range(self.rank))

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Sizes of the source's axes; None where they are dynamic."""
        sizes: list[int | None] = [None] * self.rank
        for position, axis in enumerate(self.axes):
            sizes[axis] = self.tensor.shape[position]
        return tuple(sizes)

    def axis(self, source: int) -> int:
        """Where the source's axis lies in `tensor`; negative ones count from the end."""
        return self.axes.index(source % self.rank)

    def aliases(self, source: int) -> frozenset[Hashable]:
        """What the size of the source's axis is known by: axes with a common one are equally long."""
        before = None if self.labels is None else self.labels[source % self.rank]
        return before or frozenset([("axis", id(self.tensor), self.axis(source))])

    @property
    def lengths(self) -> tuple[frozenset[Hashable], ...] | None:
        """The labels of a value that has these axes too; None where no size but the batch's is open."""
        if self.flat is not None or None not in self.tensor.shape[1:]:
            return None
        return tuple(self.aliases(axis) for axis in range(self.rank))

    def constant(self, array: np.ndarray) -> np.ndarray:
        """A constant that broadcasts against the source's value, brought into the order of `tensor`."""
        padded = array.reshape((1,) * (self.rank - array.ndim) + array.shape)
        return padded.transpose(self.axes)


def common_lengths(*values: Held) -> tuple[frozenset[Hashable], ...] | None:
    """The labels of what comes of values by broadcasting: of two open sizes either may be 1, unless they are one."""
    rank = max(value.rank for value in values)
    labels = []
    for place in range(-rank, 0):
        have = [value for value in values if value.rank >= -place]
        unsure = [value.aliases(place) for value in have if value.shape[place] is None]
        labels.append(frozenset.intersection(*unsure) if unsure else frozenset[Hashable]())
    return tuple(labels) if any(labels) else None


@dataclass(frozen=True, eq=False)
class Unknown:
    """One size that is known only at run time: axis `axis` of the source's value `of`, or computed (None) of such."""

    of: Any = None
    axis: int = 0


@dataclass(frozen=True, eq=False)
class Dims:
    """Integers of which some may be `Unknown`: what Shape gives, and what is cut and joined from it.

    Attributes:
        array: object array of rank 0 or 1 with int and `Unknown` items.
    """

    array: np.ndarray

    @property
    def known(self) -> np.ndarray | None:
        """The integers, if all are known."""
        if any(isinstance(item, Unknown) for item in self.array.ravel()):
            return None
        return self.array.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Deferred:
    """A value that no Keras tensor can be (a sequence, an optional): computed inside the layers that read it."""


@dataclass(frozen=True, eq=False)
class Zeros(Deferred):
    """Zeros of sizes that only run time tells, such as the first states of a recurrent layer."""
