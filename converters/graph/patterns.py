"""Operators that exporters write out as chains of smaller ones, made one operator again.

Before ONNX had LayerNormalization (opset 17), Gelu (20) and RMSNormalization (23), exporters spelled them; most still
do for older opsets. One operator is one layer: quicker, readable, and its scale is a weight that has a name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import onnx_ir as ir

from converters.graph.chains import (
    Chain,
    all_axes,
    array_of,
    flat_vector,
    made_by,
    only_reader,
    other_input,
    rank_of,
    sizes_named,
)
from converters.graph.written_gelu import gelu_erf, gelu_tanh
from converters.graph.written_normalization import group_normalization, normalization

__all__ = ["join_patterns"]


def join_patterns(model: ir.Model, keep: Collection[str] = ()) -> int:
    """Make each written-out GELU and layer, RMS or group normalisation one node, in place.

    The new node carries the version since which ONNX has its operator, whatever the model's opset is; its output keeps
    the name of the chain's last value. Only float32 is joined. Transpositions between two reshapes that only make
    three axes of more, which exporters write for attention, are joined where the declared sizes prove it.

    Args:
        model: the hub graph.
        keep: names of tensors or nodes that somebody asked for; a chain with such a value inside stays as it is.

    Returns:
        How many chains were joined.
    """
    count = _spread_less(model.graph, keep)
    for node in list(model.graph):
        match = _KEYS.get(node.op_type)
        if match is None or node.domain or node.graph is not model.graph:
            continue
        chain = match(node)
        if chain is not None and _join(model.graph, chain, keep):
            count += 1
    return count


def _spread_less(graph: ir.Graph, keep: Collection[str]) -> int:
    """Let values be spread by the arithmetic that reads them: `y / expand(n, shape of y)` is `y / n`."""
    count = 0
    for node in list(graph):
        if node.op_type != "Expand" or node.domain or {node.name, node.outputs[0].name} & set(keep):
            continue
        reader, shape = only_reader(node.outputs[0], "Add", "Div", "Mul", "Sub"), made_by(node.inputs[1], "Shape")
        if reader is None or shape is None or shape.attributes or reader.graph is not graph:
            continue
        if other_input(reader, node.outputs[0]) is shape.inputs[0] and node.inputs[0] is not None:
            reader.replace_input_with(list(reader.inputs).index(node.outputs[0]), node.inputs[0])
            graph.remove(node, safe=True)
            count += 1
    return count


def _join(graph: ir.Graph, chain: Chain, keep: Collection[str]) -> bool:
    inside = set(chain.nodes)
    for node in inside:
        for value in node.outputs:
            if value is chain.out:
                continue
            if value.is_graph_output() or value.name in keep or node.name in keep:
                return False
            if any(use.node not in inside for use in value.uses()):
                return False
    last, out = chain.out.producer(), chain.out
    assert last is not None
    inputs = [chain.x, *(flat_vector(graph, f"{out.name}.{part}", value) for part, value in chain.weights.items())]
    made = ir.node(chain.operator, inputs, chain.attributes, version=chain.version, name=last.name)
    graph.insert_before(last, made)
    name, result = out.name, made.outputs[0]
    result.shape, result.type = out.shape, out.type
    ir.convenience.replace_all_uses_with(out, result, replace_graph_outputs=True)
    graph.remove(chain.nodes, safe=True)
    result.name = name
    return True


def _rows_product(node: ir.Node) -> Chain | None:
    """A Gemm of rows that were made of all axes but the last one, and apart again after it: a MatMul with a bias."""
    before, after = made_by(node.inputs[0], "Reshape"), only_reader(node.outputs[0], "Reshape")
    if before is None or after is None or len(node.inputs) != 3 or node.inputs[1] is None or node.inputs[2] is None:
        return None
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
    if any(plain.get(name) != item.value for name, item in node.attributes.items()):
        return None
    x, kernel, bias = before.inputs[0], array_of(node.inputs[1]), array_of(node.inputs[2])
    rank = rank_of(x)
    if x is None or rank is None or rank < 3 or kernel is None or bias is None or bias.shape != kernel.shape[1:]:
        return None
    rows, made = sizes_named(before.inputs[1], x, rank), sizes_named(after.inputs[1], x, rank)
    axes = all_axes(rank)
    if rows is None or made is None or len(rows) != 2 or rows[0] != -1 or rows[1] not in (axes[-1], kernel.shape[0]):
        return None
    if not _are(made[:-1], axes[:-1], x) or made[-1] not in (-1, kernel.shape[1]):
        return None
    weights = {"kernel": node.inputs[1], "bias": node.inputs[2]}
    return Chain([before, node, after], after.outputs[0], "MatMul", 13, x, weights)


def _exchange(node: ir.Node) -> Chain | None:
    """The last two axes exchanged, all others made one before and apart again after it."""
    perm = node.attributes.get("perm")
    before, after = made_by(node.inputs[0], "Reshape"), only_reader(node.outputs[0], "Reshape")
    if before is None or after is None or perm is None or list(perm.value) != [0, 2, 1]:
        return None
    x = before.inputs[0]
    rank = rank_of(x)
    if x is None or rank is None or rank < 3:
        return None
    joined, made = sizes_named(before.inputs[1], x, rank), sizes_named(after.inputs[1], x, rank)
    axes = all_axes(rank)
    order = [*range(rank - 2), rank - 1, rank - 2]
    if joined is None or made is None or joined[:1] != [-1] or not _are(joined[1:], axes[-2:], x):
        return None
    if not _are(made, [axes[place] for place in order], x):
        return None
    return Chain([before, node, after], after.outputs[0], "Transpose", 1, x, {}, {"perm": order})


def _are(sizes: Sequence[str | int], axes: Sequence[str | int], x: ir.Value) -> bool:
    """Whether sizes are those of the axes named, or the numbers that x declares for them."""
    dims = {} if x.shape is None else {f"axis {place}": size for place, size in enumerate(x.shape.dims)}
    return len(sizes) == len(axes) and all(
        size == axis or (isinstance(size, int) and size == dims.get(str(axis)))
        for size, axis in zip(sizes, axes, strict=True)
    )


#: Operator that betrays a chain -> what recognises it.
_KEYS: dict[str, Callable[[ir.Node], Chain | None]] = {
    "Erf": gelu_erf,
    "Gemm": _rows_product,
    "InstanceNormalization": group_normalization,
    "Sqrt": normalization,
    "Tanh": gelu_tanh,
    "Transpose": _exchange,
}
