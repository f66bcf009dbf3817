"""Nodes whose inputs are all known are computed at conversion; integers from shapes are followed symbolically."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from converters.function.attributes import plain
from converters.function.plan import Scope, Step
from converters.function.values import as_numpy
from converters.keras.held import Deferred, Dims, Held, Unknown, Zeros

__all__ = ["fold", "follow_dims"]


def fold(node: ir.Node, model: ir.Model, known: Mapping[ir.Value, np.ndarray]) -> list[Any] | None:
    """The outputs of a node whose inputs are all constants, computed by the operator table; None if it is random."""
    step = Step(node, model, model.opset_imports, {}, {})
    if step.row is not None and step.row.random:
        return None
    scope = Scope(None, {})
    scope.update(known)
    step.run(scope)
    values = [as_numpy(scope[value]) for value in node.outputs]
    return [value if isinstance(value, np.ndarray) else Deferred() for value in values]


def follow_dims(node: ir.Node, inputs: list[Any]) -> list[Any] | None:
    """The outputs of a node that cuts, joins or computes with sizes of which some are unknown; None for other nodes.

    What is computed from sizes alone is deferred: no tensor of the model, but part of each layer that reads it.
    """
    if node.domain:
        return None
    row = _DIMS.get(node.op_type)
    followed = None if row is None else _followed(row, node, inputs)
    inside = not any(value.is_graph_output() for value in node.outputs)
    if followed is None and inside and node.op_type in _ARITHMETIC and _of_sizes(inputs):
        return [Deferred() for _ in node.outputs]
    return followed


def _followed(row: Callable[[list[Any], dict[str, Any]], Any], node: ir.Node, inputs: list[Any]) -> list[Any] | None:
    attributes = {
        name: plain(attribute)
        for name, attribute in node.attributes.items()
        if attribute.type not in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    }
    result = row(inputs, attributes)
    return None if result is None else [result]


def _of_sizes(inputs: list[Any]) -> bool:
    """Whether all inputs are sizes, or small constants beside them."""
    small = all(
        item is None or isinstance(item, Dims | Deferred) or (isinstance(item, np.ndarray) and item.size <= _SMALL)
        for item in inputs
    )
    return small and any(isinstance(item, Dims | Deferred) for item in inputs)


def _items(value: Any) -> np.ndarray | None:
    if isinstance(value, Dims):
        return value.array
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return value.astype(object)
    return None


def _integers(value: Any) -> list[int] | None:
    if isinstance(value, Dims):
        value = value.known
    return None if not isinstance(value, np.ndarray) else [int(item) for item in value.ravel()]


def _shape(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    held = inputs[0]
    if isinstance(held, np.ndarray):
        sizes: list[Any] = list(held.shape)
    elif isinstance(held, Held):
        sizes = [Unknown(held, axis) if size is None else int(size) for axis, size in enumerate(held.shape)]
    else:
        return None
    array = np.empty(len(sizes), object)
    array[:] = sizes
    return Dims(array[attributes.get("start", 0) : attributes.get("end", len(sizes))])


def _size(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    held = inputs[0]
    if isinstance(held, Held) and None not in held.shape:
        return np.array(math.prod(size or 0 for size in held.shape), np.int64)
    return None


def _constant_of_shape(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    value = attributes.get("value")
    return Zeros() if isinstance(inputs[0], Dims) and (value is None or not np.any(value)) else None


def _expand(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    zeros = isinstance(inputs[0], Zeros) or (isinstance(inputs[0], np.ndarray) and inputs[0].dtype.kind == "f")
    if not zeros or not isinstance(inputs[1], Dims):
        return None
    return None if isinstance(inputs[0], np.ndarray) and inputs[0].any() else Zeros()


def _gather(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    if isinstance(inputs[0], Zeros):
        return Zeros() if isinstance(inputs[1], np.ndarray) else None
    items, where = _items(inputs[0]), inputs[1]
    if items is None or not isinstance(where, np.ndarray) or attributes.get("axis", 0) not in (0, -1):
        return None
    return Dims(np.asarray(items[where], object).reshape(where.shape))


def _slice(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    if isinstance(inputs[0], Zeros):
        return Zeros() if all(item is None or isinstance(item, np.ndarray) for item in inputs[1:]) else None
    items = _items(inputs[0])
    given = [_integers(item) for item in inputs[1:] if item is not None] or [
        attributes.get("starts"),
        attributes.get("ends"),
    ]
    if items is None or items.ndim != 1 or None in given:
        return None
    step = given[3][0] if len(given) > 3 else 1  # type: ignore[index]
    return Dims(items[given[0][0] : given[1][0] : step])  # type: ignore[index]


def _concat(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    parts = [_items(item) for item in inputs]
    if any(part is None or part.ndim != 1 for part in parts):
        return None
    return Dims(np.concatenate([part for part in parts if part is not None]))


def _unsqueeze(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    items = _items(inputs[0])
    return None if items is None or items.ndim else Dims(items.reshape(1))


def _squeeze(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    items = _items(inputs[0])
    return None if items is None or items.shape != (1,) else Dims(items.reshape(()))


def _same(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    if attributes.get("to", int(ir.DataType.INT64)) not in (int(ir.DataType.INT64), int(ir.DataType.INT32)):
        return None
    items = _items(inputs[0])
    return None if items is None else Dims(items)


def _elementwise(function: Callable[[Any, Any], Any], neutral: int) -> Callable[[list[Any], dict[str, Any]], Any]:
    """Arithmetic of two values, one by one; what comes of an open size is open, with `neutral` behind it the same."""

    def pair(a: Any, b: Any) -> Any:
        if isinstance(a, Unknown) or isinstance(b, Unknown):
            return a if not isinstance(b, Unknown) and b == neutral else Unknown()
        return function(int(a), int(b))

    def row(inputs: list[Any], attributes: dict[str, Any]) -> Any:
        if len(inputs) != 2 or not any(isinstance(item, Dims) for item in inputs):
            return None
        first, second = _items(inputs[0]), _items(inputs[1])
        if first is None or second is None or max(first.size, second.size) > _SMALL:
            return None
        try:
            pairs = np.broadcast(first, second)
            made = np.empty(pairs.size, object)
            made[:] = [pair(a, b) for a, b in pairs]
        except (ValueError, ZeroDivisionError):
            return None
        return Dims(made.reshape(pairs.shape))

    return row


def _quotient(a: int, b: int) -> int:
    """a / b, cut off towards zero as ONNX does with integers."""
    return a // b if (a < 0) == (b < 0) else -(-a // b)


def _equal(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    """Comparison with constants; no size is negative."""
    first, second = (_items(item) for item in inputs)
    if first is None or second is None or not any(isinstance(item, Dims) for item in inputs):
        return None
    found = []
    for a, b in np.broadcast(first, second):
        if not isinstance(a, Unknown) and not isinstance(b, Unknown):
            found.append(a == b)
        elif (not isinstance(a, Unknown) and a < 0) or (not isinstance(b, Unknown) and b < 0):
            found.append(False)
        else:
            return None
    return np.array(found, bool).reshape(np.broadcast(first, second).shape)


def _where(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    condition, first, second = inputs[0], _items(inputs[1]), _items(inputs[2])
    if first is None or second is None or not isinstance(condition, np.ndarray) or condition.size > _SMALL:
        return None
    if not any(isinstance(item, Dims) for item in inputs):
        return None
    return Dims(np.where(condition, first, second))


def _reshape(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    items = _items(inputs[0])
    target = _integers(inputs[1]) if len(inputs) > 1 else attributes.get("shape")
    if items is None or target not in ([-1], [1], [items.size]):
        return None
    return Dims(items.reshape(-1))


#: Constants above this many elements are no sizes.
_SMALL = 64

#: What is done to sizes on their way into a shape, a start or an end.
_ARITHMETIC = frozenset(
    (
        "Abs", "Add", "And", "Cast", "Ceil", "Concat", "Div", "Equal", "Floor", "Gather", "Greater", "GreaterOrEqual",
        "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "ReduceMax",
        "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "ScatterND", "Shape", "Sign", "Size", "Slice", "Split",
        "Sqrt", "Squeeze", "Sub", "Unsqueeze", "Where",
    )
)  # fmt: skip

#: Shape arithmetic that keeps unknown sizes unknown, one by one.
_DIMS: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "Add": _elementwise(operator.add, 0),
    "Cast": _same,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _elementwise(_quotient, 1),
    "Equal": _equal,
    "Expand": _expand,
    "Gather": _gather,
    "Identity": _same,
    "Mul": _elementwise(operator.mul, 1),
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _elementwise(operator.sub, 0),
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
