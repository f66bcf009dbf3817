"""What a file says about its variables and tables: where their values lie, and which of them are not trained."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.framework import variable_pb2

from converters.tensorflow.control import name_aliases
from converters.tensorflow.graph import flatten
from converters.tensorflow.pruning import pruned
from converters.tensorflow.reading import Source
from converters.tensorflow.restoring import Place, restored_names
from converters.tensorflow.tables import TABLE_FILLERS, Table, find_tables

__all__ = ["initial_values", "untrained_nodes"]


def initial_values(source: Source) -> tuple[dict[tuple[str, str], Place], dict[tuple[str, str], Table]]:
    """Where the values of variables and tables are, read from the operators that would fill them."""
    roots = [node.name for node in source.graph.node if node.op in TABLE_FILLERS]
    if source.meta is not None:
        roots += [source.meta.saver_def.restore_op_name] if source.meta.saver_def.restore_op_name else []
        for key in ("saved_model_main_op", "legacy_init_op", "table_initializer"):
            roots += list(source.meta.collection_def[key].node_list.value) if key in source.meta.collection_def else []
        initial = source.meta.signature_def.get("__saved_model_init_op")
        roots += [info.name for info in initial.outputs.values()] if initial is not None else []
        roots += [node.name for node in source.graph.node if node.op in ("Assign", "AssignVariableOp")]
    if not roots:
        return {}, {}
    flat = flatten(pruned(source.graph, roots))
    name_aliases(flat)
    return restored_names(flat), find_tables(flat, source)


def untrained_nodes(source: Source, places: Mapping[tuple[str, str], Place]) -> set[Any]:
    """The variables that the file says are not trained: (function, node) where their place in the checkpoint tells,
    else their names.
    """
    if source.meta is None:
        return set()
    keys = _untrained_keys(source.meta.object_graph_def.nodes)
    found: set[Any] = {node for node, place in places.items() if place.name in keys}
    for key in ("variables", "trainable_variables"):
        for data in source.meta.collection_def[key].bytes_list.value if key in source.meta.collection_def else ():
            variable = variable_pb2.VariableDef()
            try:
                variable.ParseFromString(data)
            except DecodeError:  # a collection of something else
                continue
            name = variable.variable_name.split(":")[0]
            if key == "variables":
                found.add(name)
            else:
                found.discard(name)
    return found


def _untrained_keys(nodes: Any) -> set[str]:
    """Keys in the checkpoint of the variables of an object graph that are not trained.

    A key is the way from the root to the variable, the shortest one, with dots and slashes of names escaped.
    """
    keys = set()
    seen = {0}
    ahead = deque([(0, "")])
    while ahead:
        number, path = ahead.popleft()
        if not 0 <= number < len(nodes):
            continue
        node = nodes[number]
        if node.WhichOneof("kind") == "variable" and not node.variable.trainable:
            keys.add(f"{path}.ATTRIBUTES/VARIABLE_VALUE")
        for child in node.children:
            if child.node_id not in seen:
                seen.add(child.node_id)
                name = child.local_name.replace(".", "..").replace("/", ".S")
                ahead.append((child.node_id, f"{path}{name}/"))
    return keys
