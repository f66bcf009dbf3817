"""Which nodes of a GraphDef matter for what is wanted, before anything is made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.python.framework import op_def_registry

from converters.tensorflow.checks import check_operator
from converters.tensorflow.plan import PLACEHOLDERS, VARIABLES
from converters.tensorflow.reading import Source
from converters.tensorflow.tables import TABLE_FILLERS
from modelzoo.errors import UsageError

__all__ = ["NO_OUTPUTS", "check_all", "pruned", "reached", "wanted_outputs"]

#: Operators whose results nobody reads and that are no outputs for it.
NO_OUTPUTS = frozenset(("Const", "NoOp", "Assert", *PLACEHOLDERS, *VARIABLES, *TABLE_FILLERS))


def wanted_outputs(source: Source, outputs: Sequence[str] | None) -> dict[str, str] | None:
    """Output name -> tensor name; None = all that nobody reads."""
    signature = source.outputs or {}
    if outputs is not None:
        if not outputs:
            raise UsageError("No output was asked for.", received=repr(outputs), hint="outputs=[tensor names]")
        return {name: signature.get(name, name) for name in outputs}
    return signature or None


def reached(graph: graph_pb2.GraphDef, cut: Collection[str]) -> list[str]:
    """The nodes that no node reads and that depend on a tensor of `cut`."""
    readers: dict[str, list[str]] = {}
    for node in graph.node:
        for text in node.input:
            readers.setdefault(text.lstrip("^").split(":")[0], []).append(node.name)
    seen: set[str] = set()
    ahead = [name.split(":")[0] for name in cut]
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += readers.get(name, [])
    found = [node.name for node in graph.node if node.name in seen and node.name not in readers]
    return [node.name for node in graph.node if node.name in found and node.op not in NO_OUTPUTS] or sorted(cut)


def check_all(graph: graph_pb2.GraphDef) -> None:
    """The allow-list over every node, those of functions that nobody calls included."""
    functions = {function.signature.name: function for function in graph.library.function}
    for node in graph.node:
        check_operator(node.name, node.op, functions)
    for name, function in functions.items():
        for node in function.node_def:
            check_operator(f"{name}/{node.name}", node.op, functions)


def pruned(graph: graph_pb2.GraphDef, roots: Iterable[str], cut: Collection[str] = ()) -> graph_pb2.GraphDef:
    """The nodes from which `roots` (tensor names, or nodes below a call) can be reached, without what is cut off."""
    nodes = {node.name: node for node in graph.node}
    stop = {name if ":" in name else f"{name}:0" for name in cut}
    keep: set[str] = set()
    ahead = [_main_node(nodes, name.split(":")[0]) for name in roots]
    # What is cut must be there to be described, but not what it is computed from.
    cut_nodes = {name.split(":")[0] for name in cut}
    while ahead:
        name = ahead.pop()
        if name not in nodes or name in keep:
            continue
        keep.add(name)
        for text in nodes[name].input:
            ref = text if ":" in text or text.startswith("^") else f"{text}:0"
            if ref not in stop:
                ahead.append(ref.lstrip("^").split(":")[0])
    made_graph = graph_pb2.GraphDef(library=graph.library, versions=graph.versions)
    for node in graph.node:
        if node.name in keep:
            made_graph.node.append(node)
        elif node.name in cut_nodes:
            # A node that is only fed.
            made = made_graph.node.add(name=node.name, op="Placeholder")
            _describe_cut(node, made)
    return made_graph


def _describe_cut(node: Any, made: Any) -> None:
    """Make a Placeholder say what the first output of `node` is, as far as the file tells."""
    signature = op_def_registry.get(node.op)
    kind = tf.float32.as_datatype_enum
    argument = signature.output_arg[0] if signature is not None and signature.output_arg else None
    if argument is not None:
        if argument.type:
            kind = argument.type
        elif argument.type_attr in node.attr:
            kind = node.attr[argument.type_attr].type
        elif argument.type_list_attr in node.attr and node.attr[argument.type_list_attr].list.type:
            kind = node.attr[argument.type_list_attr].list.type[0]
    made.attr["dtype"].type = kind
    shapes = [node.attr[key].list.shape for key in ("_output_shapes", "output_shapes") if key in node.attr]
    if shapes and shapes[0]:
        made.attr["shape"].shape.CopyFrom(shapes[0][0])
    else:
        made.attr["shape"].shape.unknown_rank = True


def _main_node(nodes: Mapping[str, Any], name: str) -> str:
    """The node of the main graph below which `name` lies."""
    while name not in nodes and "/" in name:
        name = name.rpartition("/")[0]
    return name
