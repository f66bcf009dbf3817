"""Operators that onnxruntime's optimiser made of several, taken apart again into ONNX's own.

For lowerings that have a layer for each of ONNX's operators and none for `com.microsoft`.
Specification: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from converters.graph.merging import constant_of, register

__all__ = ["take_fused_apart"]

_DOMAIN = "com.microsoft"

#: Activation of a fused operator -> names of its parameters, in order.
_ACTIVATIONS = {
    "Clip": ("min", "max"),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
}


def take_fused_apart(model: ir.Model) -> int:
    """Replace fused operators by what they were made of, in place; those that cannot be said so stay.

    A new node carries the version since which ONNX has its operator where the model's opset may be older. Values keep
    their names; those between the new nodes are called `<output>.<part>`.

    Returns:
        How many were taken apart.
    """
    count = 0
    for node in list(model.graph):
        if node.domain == _DOMAIN or node.op_type == "SimplifiedLayerNormalization":
            parts = _PARTS.get(node.op_type)
            count += parts is not None and _replaced(model.graph, node, parts)
    return count


class _Parts:
    """The nodes that replace one."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self.graph, self.node = graph, node
        self.nodes: list[ir.Node] = []
        self.name = node.outputs[0].name or node.name or node.op_type

    def attribute(self, name: str, default: Any) -> Any:
        found = self.node.attributes.get(name)
        return default if found is None else found.value

    def input(self, place: int) -> ir.Value | None:
        return self.node.inputs[place] if place < len(self.node.inputs) else None

    def add(
        self,
        operator: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        version: int | None = None,
    ) -> ir.Value:
        made = ir.node(operator, inputs, dict(attributes or {}), version=version)
        made.name = f"{self.name}.{operator}_{len(self.nodes)}"
        made.outputs[0].name = made.name
        self.nodes.append(made)
        return made.outputs[0]

    def number(self, value: float) -> ir.Value:
        return register(self.graph, f"{self.name}.number", np.array(value, np.float32))

    def activated(self, x: ir.Value, name: str, numbers: Sequence[float]) -> ir.Value | None:
        if not name:
            return x
        if name not in _ACTIVATIONS or len(numbers) < len(_ACTIVATIONS[name]):
            return None
        # Until opset 10 the bounds of Clip are attributes.
        version = 6 if name == "Clip" else None
        return self.add(name, [x], dict(zip(_ACTIVATIONS[name], numbers, strict=False)), version)


def _replaced(graph: ir.Graph, node: ir.Node, parts: Callable[[_Parts], Sequence[ir.Value | None] | None]) -> bool:
    if any(value is not None and value.dtype not in (None, ir.DataType.FLOAT) for value in node.inputs):
        return False
    at = _Parts(graph, node)
    results = parts(at)
    if results is None or not at.nodes:
        return False
    for place, value in enumerate(node.outputs):
        used = bool(value.uses()) or value.is_graph_output()
        if used and (place >= len(results) or results[place] is None):
            return False
    graph.insert_before(node, at.nodes)
    renamed = []
    for old, new in zip(node.outputs, results, strict=False):
        if new is not None and old.name and new.producer() in at.nodes:
            new.shape, new.type = new.shape or old.shape, new.type or old.type
            ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
            renamed.append((new, old.name))
    graph.remove(node, safe=True)
    for value, name in renamed:
        value.name = name
    return True


def _conv(at: _Parts) -> Sequence[ir.Value | None] | None:
    attributes = {
        name: item.value for name, item in at.node.attributes.items() if name not in ("activation", "activation_params")
    }
    inputs = [item for item in (at.input(0), at.input(1), at.input(2)) if item is not None]
    made = at.add("Conv", inputs, attributes)
    if at.input(3) is not None:
        made = at.add("Add", [made, at.input(3)])
    numbers = list(at.attribute("activation_params", ()))
    return _given(at.activated(made, at.attribute("activation", ""), numbers))


def _gemm(at: _Parts) -> Sequence[ir.Value | None] | None:
    kept = {name: at.attribute(name, None) for name in ("alpha", "beta", "transA", "transB")}
    made = at.add("Gemm", list(at.node.inputs), {name: item for name, item in kept.items() if item is not None})
    given = (at.attribute(f"activation_{name}", None) for name in ("alpha", "beta", "gamma"))
    numbers = [item for item in given if item is not None]
    return _given(at.activated(made, at.attribute("activation", ""), numbers))


def _matmul(at: _Parts) -> Sequence[ir.Value | None] | None:
    if at.attribute("transBatchA", 0) or at.attribute("transBatchB", 0):
        return None
    sides = []
    for place, name in ((0, "transA"), (1, "transB")):
        value = at.input(place)
        if at.attribute(name, 0) and value is not None:
            array = constant_of(value)
            rank = array.ndim if array is not None else None if value.shape is None else len(value.shape)
            if rank is None or rank < 2:
                return None
            if array is not None:
                value = register(at.graph, f"{value.name}.T", np.swapaxes(array, -1, -2))
            else:
                value = at.add("Transpose", [value], {"perm": [*range(rank - 2), rank - 1, rank - 2]})
        sides.append(value)
    made = at.add("MatMul", sides)
    alpha = at.attribute("alpha", 1.0)
    return [made if alpha == 1.0 else at.add("Mul", [made, at.number(alpha)])]


def _gelu(at: _Parts) -> Sequence[ir.Value | None] | None:
    x = at.input(0)
    if at.input(1) is not None:
        x = at.add("Add", [x, at.input(1)])
    approximate = "tanh" if at.node.op_type == "FastGelu" else "none"
    return [at.add("Gelu", [x], {"approximate": approximate}, version=20)]


def _quick_gelu(at: _Parts) -> Sequence[ir.Value | None] | None:
    scaled = at.add("Mul", [at.input(0), at.number(at.attribute("alpha", 1.702))])
    return [at.add("Mul", [at.input(0), at.add("Sigmoid", [scaled])])]


def _skip_norm(at: _Parts) -> Sequence[ir.Value | None] | None:
    simplified = at.node.op_type == "SkipSimplifiedLayerNormalization"
    total = at.add("Add", [at.input(0), at.input(1)])
    bias = at.input(3 if simplified else 4)
    if bias is not None:
        total = at.add("Add", [total, bias])
    epsilon = {"epsilon": at.attribute("epsilon", 1e-12)}
    if simplified:
        return [at.add("RMSNormalization", [total, at.input(2)], epsilon, version=23), None, None, total]
    weights = [item for item in (at.input(2), at.input(3)) if item is not None]
    return [at.add("LayerNormalization", [total, *weights], epsilon, version=17), None, None, total]


def _rms_norm(at: _Parts) -> Sequence[ir.Value | None] | None:
    attributes = {name: item.value for name, item in at.node.attributes.items()}
    return [at.add("RMSNormalization", [at.input(0), at.input(1)], attributes, version=23)]


def _given(value: ir.Value | None) -> Sequence[ir.Value | None] | None:
    return None if value is None else [value]


_PARTS: dict[str, Callable[[_Parts], Sequence[ir.Value | None] | None]] = {
    "BiasGelu": _gelu,
    "FastGelu": _gelu,
    "FusedConv": _conv,
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
    "SimplifiedLayerNormalization": _rms_norm,
    "SkipLayerNormalization": _skip_norm,
    "SkipSimplifiedLayerNormalization": _skip_norm,
}
