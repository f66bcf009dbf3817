"""Chains of operators that are one operator written out: what recognises their parts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from converters.graph.merging import constant_of, register

__all__ = [
    "Chain",
    "all_axes",
    "array_of",
    "equals",
    "flat_vector",
    "made_by",
    "number_of",
    "only_reader",
    "other_input",
    "rank_of",
    "size_of",
    "sizes_named",
    "vector_of",
]


@dataclass
class Chain:
    """A chain that was recognised: its nodes, the value that it gives, and the operator that it is."""

    nodes: list[ir.Node]
    out: ir.Value
    operator: str
    version: int
    x: ir.Value
    weights: dict[str, ir.Value] = field(default_factory=dict)
    attributes: dict[str, float | str | list[int]] = field(default_factory=dict)


def made_by(value: ir.Value | None, *operators: str) -> ir.Node | None:
    """The node of ONNX's own domain that gives the value, if it is one of `operators`."""
    node = None if value is None else value.producer()
    return node if node is not None and not node.domain and node.op_type in operators else None


def only_reader(value: ir.Value, *operators: str) -> ir.Node | None:
    """The only node that reads the value, if it is one of `operators`."""
    readers = {use.node for use in value.uses()}
    if len(readers) != 1 or value.is_graph_output():
        return None
    node = readers.pop()
    return node if not node.domain and node.op_type in operators and node.graph is not None else None


def array_of(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initialiser that is no input, or of a Constant node."""
    node = made_by(value, "Constant")
    if node is None or value is None:
        return constant_of(value)
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy())


def number_of(value: ir.Value | None) -> float | None:
    """The one float32 number that a constant holds."""
    array = array_of(value)
    return float(array.ravel()[0]) if array is not None and array.size == 1 and array.dtype == np.float32 else None


def equals(value: ir.Value | None, wanted: float) -> bool:
    number = number_of(value)
    return number is not None and math.isclose(number, wanted, rel_tol=1e-6)


def other_input(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """The other input of a node of two inputs."""
    first, second = node.inputs
    return second if first is value else first


#: Operators whose result has as many axes as their first input.
_ALIKE = frozenset(
    (
        "AveragePool", "BatchNormalization", "Clip", "Dropout", "Elu", "Gelu", "GroupNormalization", "HardSigmoid",
        "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "MaxPool", "Mish", "PRelu",
        "Pad", "Relu", "Resize", "Sigmoid", "Softplus", "Softmax", "Split", "Tanh", "Transpose", "Upsample",
    )
)  # fmt: skip


def rank_of(value: ir.Value | None, seen: dict[ir.Value, int | None] | None = None) -> int | None:
    """How many axes a value has: as declared, or as the convolution has from which it comes."""
    seen = {} if seen is None else seen
    if value is None or value in seen:
        return None if value is None else seen[value]
    node, rank = value.producer(), None if value.shape is None else len(value.shape)
    array = array_of(value) if rank is None else None
    seen[value] = None  # while it is looked for
    if array is not None:
        rank = array.ndim
    elif rank is None and node is not None and not node.domain:
        if node.op_type in ("Conv", "ConvTranspose"):
            rank = rank_of(node.inputs[1], seen)
        elif node.op_type in ("Add", "Concat", "Div", "MatMul", "Mul", "Sub"):
            ranks = [rank_of(item, seen) for item in node.inputs[:2]]
            rank = None if None in ranks else max(item or 0 for item in ranks)
        elif node.op_type == "Gather":
            ranks = [rank_of(item, seen) for item in node.inputs]
            rank = None if None in ranks else sum(item or 0 for item in ranks) - 1
        elif node.op_type == "Reshape":
            rank = _count(node.inputs[1])
        elif node.op_type in _ALIKE:
            rank = rank_of(node.inputs[0], seen)
    seen[value] = rank
    return rank


def _count(shape: ir.Value | None) -> int | None:
    """How many sizes a shape has."""
    array, node = array_of(shape), made_by(shape, "Concat", "Shape", "Unsqueeze")
    if array is not None or node is None:
        return None if array is None else array.size
    if node.op_type == "Shape":
        return None if node.attributes else rank_of(node.inputs[0])
    if node.op_type == "Unsqueeze":
        return 1
    counts = [_count(item) for item in node.inputs]
    return None if None in counts else sum(item or 0 for item in counts)


def size_of(value: ir.Value) -> int:
    array = array_of(value)
    return 0 if array is None else array.size


def vector_of(value: ir.Value | None) -> ir.Value | None:
    """The value, if it is a float32 constant with one number for each feature of the last axis."""
    array = array_of(value)
    fits = array is not None and array.dtype == np.float32 and array.ndim and array.size == array.shape[-1] > 1
    return value if fits else None


def flat_vector(graph: ir.Graph, name: str, value: ir.Value) -> ir.Value:
    """The vector of a constant: the constant itself where it is one, so that what shares it shares it still."""
    array = array_of(value)
    assert array is not None
    return value if array.ndim == 1 or name.endswith(".kernel") else register(graph, name, array.reshape(-1))


def all_axes(rank: int) -> list[str | int]:
    return [f"axis {place}" for place in range(rank)]


def sizes_named(value: ir.Value | None, x: ir.Value, rank: int) -> list[str | int] | None:
    """The items of a shape: numbers, or `axis k` for a size of x; None where something else is in it."""
    array = array_of(value)
    if array is not None:
        return [int(item) for item in array.ravel()]
    node = made_by(value, "Cast", "Concat", "Gather", "Reshape", "Shape", "Slice", "Squeeze", "Unsqueeze")
    if node is None:
        return None
    if node.op_type == "Shape":
        start, end = (node.attributes.get(name) for name in ("start", "end"))
        cut = slice(start.value if start else 0, end.value if end else None)
        return all_axes(rank)[cut] if node.inputs[0] is x else None
    if node.op_type == "Concat":
        parts = [sizes_named(item, x, rank) for item in node.inputs]
        return None if any(part is None for part in parts) else [item for part in parts for item in part or ()]
    items = sizes_named(node.inputs[0], x, rank)
    given = [array_of(item) for item in node.inputs[1:]]
    if items is None or node.op_type in ("Cast", "Reshape", "Squeeze", "Unsqueeze"):
        return items
    if any(item is None for item in given) or not given:
        return None
    numbers = [int(item.ravel()[0]) if item is not None and item.size == 1 else None for item in given]
    if None in numbers:
        return None
    if node.op_type == "Gather":
        return [items[numbers[0] or 0]]
    step = numbers[3] if len(numbers) > 3 else 1
    return items[numbers[0] : numbers[1] : step]
