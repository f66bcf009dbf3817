"""Ways through a functional Keras model: what a value is computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelzoo.errors import ModelzooError

__all__ = ["layers_before", "untapped_input", "variables_before"]


def layers_before(tensors: Sequence[Any]) -> list[Any]:
    """The layers and operations that symbolic tensors are computed from, each once, inputs first."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    pending = [(tensor, False) for tensor in reversed(tensors)]
    while pending:
        tensor, ready = pending.pop()
        operation, parents = _origin(tensor)
        if ready:
            found.setdefault(id(operation), operation)
            continue
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        pending.append((tensor, True))
        pending.extend((parent, False) for parent in reversed(parents))
    return [operation for operation in found.values() if hasattr(operation, "variables")]


def variables_before(tap: str, tensor: Any) -> list[Any]:
    """The variables that a tap is computed from, in the order of the layers.

    A layer that holds a whole graph has many taps: of its variables only those count that the tap needs.
    """
    own, _ = _origin(tensor)
    found: list[Any] = []
    for layer in layers_before([tensor]):
        program = getattr(layer, "program", None)
        if layer is own and program is not None and hasattr(layer, "values"):
            found += _in_graph(layer, program, tap)
        else:
            found += layer.variables
    return found


def _in_graph(layer: Any, program: Any, tap: str) -> list[Any]:
    feeds = {spec.ref for spec in program.inputs.values()}
    try:
        plan = program.plan(feeds, [program.ref(tap)])
    except ModelzooError:  # the tap is known by another name there: then all of the layer counts
        return list(layer.variables)
    used = {program.weight_of.get(node.source) for node in plan.nodes.values()}
    return [variable for number, variable in enumerate(layer.values) if number in used]


def untapped_input(network: Any, taps: Mapping[str, Any]) -> str | None:
    """The tap nearest before the last layer that has a kernel; None where no such layer or tap is found."""
    import keras

    by_tensor: dict[int, str] = {}
    for name, tensor in taps.items():
        by_tensor.setdefault(id(tensor), name)
    outputs = [tensor for tensor in keras.tree.flatten(network.output) if hasattr(tensor, "_keras_history")]
    kernels = [layer for layer in layers_before(outputs[:1]) if getattr(layer, "kernel", None) is not None]
    if not kernels:
        return None
    current = keras.tree.flatten(kernels[-1]._inbound_nodes[0].input_tensors)[0]
    while id(current) not in by_tensor:
        _, parents = _origin(current)
        if len(parents) != 1:
            return None
        current = parents[0]
    return by_tensor[id(current)]


def _origin(tensor: Any) -> tuple[Any, list[Any]]:
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, list(node.input_tensors)
