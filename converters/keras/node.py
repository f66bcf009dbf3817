"""One node while it is lowered: names for its layers, and its inputs in the layout that a layer needs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from converters.keras.held import Held, channels_last
from converters.keras.names import LayerNames
from converters.keras.tying import LayerMemo
from converters.keras.weights import call_with

__all__ = ["Node", "permuted"]


class Node:
    """What a stock form is given besides the inputs.

    Attributes:
        name: source name of the node's first output.
        used: for each output, whether anything reads it.
        dtype: in which its layers compute.
        batch: the batch size that the source declares and that became dynamic here, if there is one.
        key: equal for nodes whose layers are the same ones; None where no other node reads the weights.
        table: what stands for a matrix that is read by number and, transposed, as a kernel.
        made: names of the layers with weights.
        declared: names of the open sizes of the node's first input and first output, where the source says any.
        notes: what stock forms remember of earlier nodes.
    """

    def __init__(
        self,
        names: LayerNames,
        name: str,
        used: Sequence[bool],
        folded: dict[Any, Any],
        batch: int | None = None,
        dtype: str = "float32",
        memo: LayerMemo | None = None,
        key: Hashable | None = None,
        table: Hashable | None = None,
    ) -> None:
        self._names = names
        self.name = name
        self.used = tuple(used)
        self.batch = batch
        self.dtype = dtype
        self.key = key
        self.table = table
        self.made: list[str] = []
        self.declared: tuple[Sequence[Hashable | None] | None, Sequence[Hashable | None] | None] = (None, None)
        self.notes = folded
        self._folded = folded
        self._memo = memo

    # -- layers ---------------------------------------------------------------------------------------------------

    def layer(self, kind: type, *args: Any, part: str | None = None, **options: Any) -> Any:
        """A new layer of class `kind`: named after the node, or `<node>.<part>` for what comes before or after."""
        options.setdefault("dtype", self.dtype)
        return kind(*args, name=self._names.new(self.name, part), **options)

    def apply(
        self,
        layer: Any,
        x: Any,
        *,
        holder: Any = None,
        table: Hashable | None = None,
        call: Mapping[str, Any] | None = None,
        **arrays: np.ndarray | None,
    ) -> Any:
        """Call `layer`, or the one that was made for a node like this, on the tensor `x`.

        Args:
            layer: an unbuilt layer.
            x: symbolic tensor.
            holder: who has the initialisers, if not the layer itself (the cell of a recurrent layer).
            table: the matrix that the layer holds, whatever it does with it.
            call: other arguments of the call.
            **arrays: `kernel=array` and so on give the layer's weights.
        """
        given = {weight: array for weight, array in arrays.items() if array is not None}
        key = (self.key, len(self.made)) if table is None and self.key is not None else table
        if self._memo is not None and key is not None:
            known = self._memo.find(key, layer, given)
            result = None if known is None else _called(known, x, call or {})
            if known is not None and result is not None:
                self._names.drop(layer.name)
                self.made.append(known.name)
                return result
            self._memo.add(key, layer, given)
        self.made.append(layer.name)
        return call_with(layer, x, given, holder=holder, **(call or {}))

    # -- layouts --------------------------------------------------------------------------------------------------

    def to(self, x: Held, axes: tuple[int, ...]) -> Any:
        """The tensor of `x` with the source's axes in the order `axes`; each order is made once."""
        if x.flat is not None:
            x = self._unflattened(x)
        if x.axes == axes:
            return x.tensor
        key = (id(x.tensor), x.axes, axes)
        if key not in self._folded:
            order = [x.axes.index(axis) for axis in axes]
            name = self._names.new(self.name, "layout")
            # The tensor is kept in the entry: its id must not be given to another one.
            self._folded[key] = (permuted(x.tensor, order, name), x.tensor)
        return self._folded[key][0]

    def last(self, x: Held) -> Any:
        """The tensor of `x` with channels last, (N, spatial..., C)."""
        return self.to(x, channels_last(x.rank))

    def source(self, x: Held) -> Any:
        """The tensor of `x` as it lies in the source."""
        return self.to(x, tuple(range(x.rank)))

    def as_last(self, tensor: Any, **attributes: Any) -> Held:
        """A tensor that was computed with channels last."""
        return Held(tensor, channels_last(len(tensor.shape)), **attributes)

    def _unflattened(self, x: Held) -> Held:
        flat = x.flat
        assert flat is not None
        key = (id(x.tensor), "flat")
        if key not in self._folded:
            kind = _policy(x.tensor)
            whole = keras.layers.Reshape(flat.sizes, name=self._names.new(self.name, "unflatten"), dtype=kind)(x.tensor)
            order = [flat.axes.index(axis) for axis in range(len(flat.axes))]
            whole = permuted(whole, order, self._names.new(self.name, "layout"))
            name = self._names.new(self.name, "flatten")
            again = keras.layers.Reshape((math.prod(flat.sizes),), name=name, dtype=kind)(whole)
            self._folded[key] = (again, x.tensor)
        return Held.of(self._folded[key][0], nonnegative=x.nonnegative)


def _called(layer: Any, x: Any, call: Mapping[str, Any]) -> Any | None:
    """What a built layer gives, None where it refuses a tensor of this rank or these sizes."""
    try:
        return layer(x, **call)
    except ValueError:
        return None


def permuted(tensor: Any, order: Sequence[int], name: str) -> Any:
    """Axis j of the result is axis `order[j]` of `tensor`: a Reshape where no element moves, else a Permute."""
    shape = tensor.shape
    moved = [axis for axis in order if shape[axis] != 1]
    if order[0] == 0 and moved == sorted(moved):
        sizes = [shape[axis] for axis in order[1:]]
        if sum(size is None for size in sizes) <= 1:
            target = [-1 if size is None else size for size in sizes]
            return keras.layers.Reshape(target, name=name, dtype=_policy(tensor))(tensor)
    if order[0] == 0:
        return keras.layers.Permute(tuple(order[1:]), name=name, dtype=_policy(tensor))(tensor)
    return keras.ops.transpose(tensor, tuple(order))


def _policy(tensor: Any) -> str:
    """The dtype policy of a layer that only moves elements, under which Keras does not cast them."""
    kind = str(tensor.dtype)
    return kind if "float" in kind and "float8" not in kind else "float32"
