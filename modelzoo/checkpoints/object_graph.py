"""The object graph of TensorFlow's object-based checkpoints: who holds which variable, and under which names.

A variable that a model and its optimiser both hold is in the file once, under the shorter way to it, which may be the
optimiser's: `optimizer/_trainable_variables/0`. The graph has the other ways.
Format: tensorflow/core/protobuf/trackable_object_graph.proto.
"""

from __future__ import annotations

from collections import deque

from modelzoo.checkpoints.checkpoint import Checkpoint
from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.wire import LENGTH, VARINT, fields

__all__ = ["names_in_model"]

_OPTIMIZERS = frozenset({"optimizer", "_optimizer"})
_LONGEST = 64
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def names_in_model(checkpoint: Checkpoint) -> dict[str, str]:
    """For each variable of a model the name that it has when optimisers are not looked at.

    Args:
        checkpoint: any; only object-based ones have a graph.

    Returns:
        {name in the file: name in the model}, both ending in `/.ATTRIBUTES/VARIABLE_VALUE`.

    Raises:
        CheckpointFormatError: the graph is damaged.
    """
    graph = checkpoint.object_graph
    if graph is None:
        return {}
    with damage_in(checkpoint.path, "_CHECKPOINTABLE_OBJECT_GRAPH"):
        nodes = [_node(value) for number, kind, value in fields(graph) if number == 1 and kind == LENGTH]  # type: ignore[arg-type]
        found: dict[str, str] = {}
        seen = {0}
        waiting: deque[tuple[int, tuple[str, ...]]] = deque([(0, ())] if nodes else [])
        while waiting:
            at, way = waiting.popleft()
            children, keys = nodes[at]
            for key in keys:
                if key in checkpoint.entries and key.endswith(_SUFFIX):
                    found.setdefault(key, "/".join(way) + _SUFFIX)
            # Numbered by weights before numbered by layers: the former are what names in files go by.
            for name, child in sorted(children, key=lambda one: one[0].startswith("layer-")):
                if child >= len(nodes):
                    raise Damage("the object graph names an object that is not there")
                if child not in seen and name not in _OPTIMIZERS and len(way) < _LONGEST:
                    seen.add(child)
                    waiting.append((child, (*way, _escaped(name))))
        return found


def _node(data: bytes | memoryview) -> tuple[list[tuple[str, int]], list[str]]:
    """(name and number of each child, checkpoint's names of its values) of one object."""
    children: list[tuple[str, int]] = []
    keys: list[str] = []
    for number, kind, value in fields(data):
        if number not in (1, 2) or kind != LENGTH:
            continue
        assert not isinstance(value, int)
        name, child = "", 0
        for inner, inner_kind, part in fields(value):
            if inner_kind == VARINT and inner == 1:
                assert isinstance(part, int)
                child = part
            elif inner_kind == LENGTH and inner == (2 if number == 1 else 3):
                assert not isinstance(part, int)
                name = bytes(part).decode("utf-8", "replace")
        if number == 1:
            children.append((name, child))
        else:
            keys.append(name)
    return children, keys


def _escaped(name: str) -> str:
    """A child's name as part of a way, where `/` would end it."""
    return name.replace(".", "..").replace("/", ".S")
