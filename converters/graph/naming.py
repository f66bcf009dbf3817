"""Names of nodes and tensors: every node gets one, and taps may be asked for by tensor or by node."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

__all__ = ["CONSTANT", "SOURCE_NAME", "name_nodes", "source_name", "tensor_names"]

CONSTANT = "modelzoo.constant"
"""Metadata of an initialiser that is part of the arithmetic: no weight, however many floats it has."""

SOURCE_NAME = "modelzoo.source_name"
"""Metadata of a value that the source calls as it calls an input, which a layer of Caffe works on in place."""


def source_name(value: ir.Value) -> str:
    """What the source calls a value."""
    return value.metadata_props.get(SOURCE_NAME) or value.name or ""


def name_nodes(model: ir.Model) -> None:
    """Name each unnamed node of the main graph and its subgraphs `<op>_<n>`, n counting the operator's nodes from 0."""
    taken = {node.name for node in model.graph.all_nodes() if node.name}
    counts: Counter[str] = Counter()
    for node in model.graph.all_nodes():
        number = counts[node.op_type]
        counts[node.op_type] += 1
        if node.name:
            continue
        name = f"{node.op_type}_{number}"
        while name in taken:
            number += 1
            name = f"{node.op_type}_{number}"
        node.name = name
        taken.add(name)


def tensor_names(graph: ir.Graph) -> dict[str, ir.Value]:
    """Every name that a tap of `graph` may be asked for by.

    Tensor names come first; the name of a node counts where it is unique, has one output and is not a tensor's name.
    """
    names: dict[str, ir.Value] = {}
    for value in (*graph.inputs, *graph.initializers.values()):
        if value.name:
            names[value.name] = value
    for node in graph:
        for value in node.outputs:
            if value.name:
                names[value.name] = names[source_name(value)] = value
    counts = Counter(node.name for node in graph)
    for node in graph:
        outputs = [value for value in node.outputs if value.name]
        if node.name and counts[node.name] == 1 and len(outputs) == 1:
            names.setdefault(node.name, outputs[0])
    return names
