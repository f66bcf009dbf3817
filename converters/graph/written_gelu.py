"""GELU as exporters write it out, by erf or by tanh."""

from __future__ import annotations

import math

import onnx_ir as ir

from converters.graph.chains import Chain, equals, made_by, only_reader, other_input

__all__ = ["gelu_erf", "gelu_tanh"]


def gelu_erf(node: ir.Node) -> Chain | None:
    """x / 2 * (1 + erf(x / sqrt(2))), its factors in any order."""
    inner = made_by(node.inputs[0], "Div", "Mul")
    if inner is None:
        return None
    root = math.sqrt(2)
    for position, value in enumerate(inner.inputs):
        other = inner.inputs[1 - position]
        fits = equals(other, 1 / root) if inner.op_type == "Mul" else position == 0 and equals(other, root)
        if value is not None and fits:
            return _halved(node, value, [inner, node], "none")
    return None


def gelu_tanh(node: ir.Node) -> Chain | None:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x³))), its factors in any order."""
    outer = made_by(node.inputs[0], "Mul")
    if outer is None:
        return None
    for position, value in enumerate(outer.inputs):
        plus = made_by(value, "Add")
        if plus is None or not equals(outer.inputs[1 - position], math.sqrt(2 / math.pi)):
            continue
        for place, x in enumerate(plus.inputs):
            times = made_by(plus.inputs[1 - place], "Mul")
            if x is None or times is None:
                continue
            for which, cube in enumerate(times.inputs):
                nodes = _cubed(cube, x)
                if nodes is not None and equals(times.inputs[1 - which], 0.044715):
                    return _halved(node, x, [*nodes, times, plus, outer, node], "tanh")
    return None


def _cubed(value: ir.Value | None, x: ir.Value) -> list[ir.Node] | None:
    """The nodes that make x³ of x."""
    node = made_by(value, "Pow", "Mul")
    if node is None:
        return None
    if node.op_type == "Pow":
        return [node] if node.inputs[0] is x and equals(node.inputs[1], 3.0) else None
    if x not in node.inputs:
        return None
    square = made_by(other_input(node, x), "Mul", "Pow")
    if square is None or square.inputs[0] is not x:
        return None
    twice = square.inputs[1] is x if square.op_type == "Mul" else equals(square.inputs[1], 2.0)
    return [square, node] if twice else None


def _halved(node: ir.Node, x: ir.Value, nodes: list[ir.Node], approximate: str) -> Chain | None:
    """`x * 0.5 * (1 + value)`: from the value on, until x and the half are both found."""
    plus = only_reader(node.outputs[0], "Add")
    if plus is None or not equals(other_input(plus, node.outputs[0]), 1.0):
        return None
    nodes = [*nodes, plus]
    value, has_x, has_half = plus.outputs[0], False, False
    while not (has_x and has_half):
        times = only_reader(value, "Mul")
        if times is None:
            return None
        other = other_input(times, value)
        half = made_by(other, "Mul", "Div")
        if other is x and not has_x:
            has_x = True
        elif equals(other, 0.5) and not has_half:
            has_half = True
        elif half is not None and not has_x and not has_half and _is_half_of(half, x):
            has_x = has_half = True
            nodes.append(half)
        else:
            return None
        nodes.append(times)
        value = times.outputs[0]
    return Chain(nodes, value, "Gelu", 20, x, {}, {"approximate": approximate})


def _is_half_of(node: ir.Node, x: ir.Value) -> bool:
    if node.op_type == "Div":
        return node.inputs[0] is x and equals(node.inputs[1], 2.0)
    return x in node.inputs and equals(other_input(node, x), 0.5)
