"""Weights that several nodes read become one variable each, as the source has it.

Nodes that do the same with the same constants are one layer that is called several times. What that leaves untied is
known when a walk over the graph is done, and the next walk does otherwise: convolutions and products that share a
kernel and not a bias add the bias behind the layer, a table that is also a kernel is a `ReversibleEmbedding`, and any
other such weight stands on its own. A weight that stands on its own is the only row of an `Embedding`, a tensor that
everybody reads: stock layers train and save it like any weight.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from converters.function.attributes import constant_value, plain, resolve, tensor_value
from converters.graph.merging import is_default
from converters.graph.naming import CONSTANT

__all__ = ["Identities", "LayerMemo", "Readers", "Sharing", "Ties", "table_of"]

_FLOATS = frozenset((ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16))

#: Operators whose third input is a bias, which an addition behind the layer can do as well.
_BIASED = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))

#: Inputs that are weights, where other float constants are none.
_WEIGHTS = {"BatchNormalization": (1, 2), "GRU": (1, 2, 3), "LSTM": (1, 2, 3), "PRelu": (1,)}


@dataclass
class Ties:
    """What the walks so far have taught.

    Attributes:
        standing: weights that stand on their own.
        apart: nodes whose bias stands on its own.
        in_source_order: nodes that read what lies otherwise as it lies in the source, since their kernels would differ.
        tables: weights that are read by number, and transposed as kernels.
    """

    standing: set[ir.Value] = field(default_factory=set)
    apart: set[ir.Node] = field(default_factory=set)
    in_source_order: set[ir.Node] = field(default_factory=set)
    tables: set[ir.Value] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.standing) + len(self.apart) + len(self.in_source_order) + len(self.tables)


@dataclass(frozen=True, eq=False)
class _Computed:
    """A constant that was computed from others; what was computed alike from the same is the same object."""

    of: Hashable
    leaves: frozenset[ir.Value]
    read_again: bool  # whether something else comes of what it was computed from


class Identities:
    """What each constant is: an initialiser is itself, a computed one what it was computed from.

    Args:
        exact: no two initialisers became one for being equal, as exporters do with what layers start with.
    """

    def __init__(self, *, exact: bool) -> None:
        self._exact = exact
        self._computed: dict[ir.Value, _Computed] = {}
        self._once: dict[Hashable, _Computed] = {}
        self._learned: dict[ir.Value, bool] = {}

    def of(self, value: ir.Value) -> Hashable:
        return self._computed.get(value, value)

    def leaves(self, value: ir.Value) -> frozenset[ir.Value]:
        """The initialisers that a constant comes from."""
        known = self._computed.get(value)
        return frozenset((value,)) if known is None else known.leaves

    def transposed(self, value: ir.Value) -> ir.Value | None:
        """The matrix of which the constant is the transpose, if it was computed so."""
        known = self._computed.get(value)
        node = None if known is None else value.producer()
        if node is None or node.op_type != "Transpose" or node.domain or node.inputs[0] is None:
            return None
        permutation = node.attributes.get("perm")
        reverses = permutation is None or list(permutation.value) == [1, 0]
        return node.inputs[0] if reverses and node.inputs[0] not in self._computed else None

    def compute(self, node: ir.Node) -> None:
        """Note that a node was computed, all its inputs being constants."""
        done = self.does(node, range(len(node.inputs)))
        leaves = frozenset(leaf for value in node.inputs if value is not None for leaf in self.leaves(value))
        again = any(value is not None and self._read_again(value) for value in node.inputs)
        for number, value in enumerate(node.outputs):
            key = (done, number)
            self._computed[value] = self._once.setdefault(key, _Computed(key, leaves, again))

    def key(self, node: ir.Node, places: Iterable[int]) -> Hashable | None:
        """What a node does to the constants at `places` of its inputs; None where it shares no weight with others."""
        values = [value for place in places if (value := node.inputs[place]) is not None]
        if not any(self._read_again(value) for value in values):
            return None
        learned = any(self.is_weight(leaf) for value in values for leaf in self.leaves(value))
        return self.does(node, places) if learned else None

    def _read_again(self, value: ir.Value) -> bool:
        known = self._computed.get(value)
        return len(value.uses()) > 1 or (known is not None and known.read_again)

    def does(self, node: ir.Node, places: Iterable[int]) -> Hashable:
        """Equal for nodes of the same operator, attributes and constants at `places`."""
        read = tuple((place, self.of(value)) for place in places if (value := node.inputs[place]) is not None)
        return (node.domain, node.op_type, _attributes(node), read)

    def is_weight(self, leaf: ir.Value) -> bool:
        """Whether an initialiser is something that was learned."""
        if leaf not in self._learned:
            array = array_of(leaf) if leaf.dtype in _FLOATS and CONSTANT not in leaf.metadata_props else None
            self._learned[leaf] = array is not None and (self._exact or not is_default(array))
        return self._learned[leaf]


def array_of(leaf: ir.Value) -> np.ndarray | None:
    """The array of an initialiser or of a Constant node."""
    if leaf.const_value is not None:
        return tensor_value(leaf.const_value)
    node = leaf.producer()
    if node is None or node.op_type != "Constant" or node.domain:
        return None
    value = constant_value(resolve(node, {}))
    return value if isinstance(value, np.ndarray) else None


_PLAIN = frozenset(
    (
        ir.AttributeType.FLOAT, ir.AttributeType.FLOATS, ir.AttributeType.INT, ir.AttributeType.INTS,
        ir.AttributeType.STRING, ir.AttributeType.STRINGS,
    )
)  # fmt: skip


def _attributes(node: ir.Node) -> Hashable:
    """Equal for equal attributes; graphs and tensors equal themselves only."""
    return tuple(
        (name, repr(plain(item)) if not item.is_ref() and item.type in _PLAIN else id(item))
        for name, item in sorted(node.attributes.items())
    )


class LayerMemo:
    """The layers of a walk by what they were made of.

    Attributes:
        pieces: those that hold a piece of the graph, and what is narrow of what they give.
    """

    def __init__(self) -> None:
        self._layers: dict[Hashable, list[tuple[Mapping[str, np.ndarray], Any]]] = {}
        self.pieces: dict[Hashable, Any] = {}

    def find(self, key: Hashable, layer: Any, arrays: Mapping[str, np.ndarray]) -> Any | None:
        """The layer that does to the same arrays what `layer` would do."""
        for known, made in self._layers.get(self._whole(key, layer), ()):
            if known.keys() == arrays.keys() and all(_equal(known[name], array) for name, array in arrays.items()):
                return made
        return None

    def add(self, key: Hashable, layer: Any, arrays: Mapping[str, np.ndarray]) -> None:
        self._layers.setdefault(self._whole(key, layer), []).append((arrays, layer))

    @staticmethod
    def _whole(key: Hashable, layer: Any) -> Hashable:
        config = layer.get_config()
        config.pop("name")
        return (key, type(layer), repr(config))


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return (one.ctypes.data, one.strides) == (other.ctypes.data, other.strides) or np.array_equal(one, other)


@dataclass(frozen=True)
class _Reader:
    node: ir.Node
    place: int
    value: ir.Value
    layers: tuple[str, ...]
    does: Hashable | None


class Readers:
    """Which layers of a walk hold which initialiser."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._readers: dict[ir.Value, list[_Reader]] = {}

    def note(self, node: ir.Node, places: Sequence[int], layers: Sequence[str]) -> None:
        """Note that layers hold the constants at `places` of a node's inputs."""
        weights = _WEIGHTS.get(node.op_type) if not node.domain else None
        does = self._identities.does(node, places)
        for place in places:
            value = node.inputs[place]
            if value is not None and (weights is None or place in weights):
                self.note_value(node, place, value, layers, does)

    def note_value(
        self, node: ir.Node, place: int, value: ir.Value, layers: Sequence[str], does: Hashable | None = None
    ) -> None:
        """The same of one constant, which a node reads at `place`, or somewhere (-1)."""
        for leaf in self._identities.leaves(value):
            self._readers.setdefault(leaf, []).append(_Reader(node, place, value, tuple(layers), does))

    def teach(self, ties: Ties) -> bool:
        """Decide on what became several variables; whether there is anything new to do in another walk."""
        before = len(ties)
        for leaf, readers in self._readers.items():
            if len({reader.layers for reader in readers}) > 1 and self._identities.is_weight(leaf):
                self._decide(leaf, readers, ties)
        return len(ties) > before

    def _decide(self, leaf: ir.Value, readers: list[_Reader], ties: Ties) -> None:
        biased = all(reader.node.op_type in _BIASED and not reader.node.domain for reader in readers)
        nodes = {reader.node for reader in readers}
        only_biases = {reader.place for reader in readers} == {2}
        alike = {reader.does for reader in readers}
        if len(alike) == 1 and None not in alike and not nodes <= ties.in_source_order:
            ties.in_source_order |= nodes
        elif biased and not nodes <= ties.apart and (only_biases or self._alike_but_bias(readers)):
            ties.apart |= nodes
        elif leaf not in ties.tables and self._is_table(leaf, readers):
            ties.tables.add(leaf)
            ties.apart |= {reader.node for reader in readers if reader.place == 1}
        else:
            ties.standing.add(leaf)
            ties.apart |= {reader.node for reader in readers if reader.place == 1 and reader.node.op_type in _BIASED}

    def _alike_but_bias(self, readers: list[_Reader]) -> bool:
        alone = {self._identities.does(reader.node, (1,)) for reader in readers}
        return len(alone) == 1 and {reader.place for reader in readers} == {1}

    def _is_table(self, leaf: ir.Value, readers: list[_Reader]) -> bool:
        """Whether rows of a matrix are taken by number, and its transpose is a kernel."""
        if not hasattr(keras.layers, "ReversibleEmbedding"):
            return False
        return all(
            (reader.node.op_type == "Gather" and reader.place == 0 and reader.value is leaf)
            or (reader.place == 1 and table_of(reader.node, self._identities) is leaf)
            for reader in readers
        )


class Sharing:
    """What one walk over a graph notes about weights."""

    def __init__(self, model: ir.Model) -> None:
        # The front ends of this package say of each weight who reads it.
        self.identities = Identities(exact=model.producer_name == "modelzoo")
        self.memo = LayerMemo()
        self.readers = Readers(self.identities)


def table_of(node: ir.Node, identities: Identities) -> ir.Value | None:
    """The matrix whose rows a node takes by number, or whose transpose it multiplies by."""
    if node.domain or len(node.inputs) < 2:
        return None
    kernel = node.inputs[1]
    if node.op_type == "Gather":
        return node.inputs[0]
    if node.op_type == "MatMul" and kernel is not None:
        return identities.transposed(kernel)
    if node.op_type == "Gemm" and kernel is not None:
        transposes = node.attributes.get("transB")
        return kernel if transposes is not None and transposes.value else identities.transposed(kernel)
    return None
