"""Big weights on their way around tf2onnx, which copies every constant of a graph dozens of times.

They leave the TensorFlow graph as inputs and enter the ONNX graph as initialisers. What tf2onnx puts between such an
input and the operator that takes it, because it is no constant, is computed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx

__all__ = ["put_weights", "take_weights"]

_BIG = 1 << 16  # elements
_TAKERS = {"Conv2D", "DepthwiseConv2dNative", "MatMul"}
"""Operators of TensorFlow whose weights tf2onnx accepts as any tensor."""


def take_weights(graph: Any) -> dict[str, np.ndarray]:
    """Replace big kernels of a frozen GraphDef by placeholders.

    A kernel is taken only if all that reads it, perhaps behind identities, are operators of which it is the second
    input: for others tf2onnx looks at values.

    Returns:
        {name of the placeholder: its array}.
    """
    import tensorflow as tf

    readers: dict[str, list[tuple[Any, int]]] = {}
    for node in graph.node:
        for place, given in enumerate(node.input):
            if not given.startswith("^"):  # that only says what comes first
                readers.setdefault(given.split(":")[0], []).append((node, place))

    def only_kernel(name: str) -> bool:
        found = readers.get(name, [])
        return bool(found) and all(
            only_kernel(node.name) if node.op == "Identity" else node.op in _TAKERS and place == 1
            for node, place in found
        )

    taken: dict[str, np.ndarray] = {}
    for node in graph.node:
        if node.op != "Const" or node.attr["dtype"].type != tf.float32.as_datatype_enum:
            continue
        tensor = node.attr["value"].tensor
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        if tf.TensorShape(shape).num_elements() < _BIG or not only_kernel(node.name):
            continue
        taken[node.name] = tf.make_ndarray(tensor)
        node.op = "Placeholder"
        del node.attr["value"]
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return taken


def put_weights(model: onnx.ModelProto, weights: Mapping[str, np.ndarray]) -> None:
    """Make initialisers of inputs, in place, and compute what only changes their form.

    Args:
        model: whose graph has these inputs.
        weights: {name of the input: its value}.
    """
    from onnx import numpy_helper

    graph = model.graph
    values = dict(weights)
    keep = [item for item in graph.input if item.name not in weights]
    del graph.input[:]
    graph.input.extend(keep)
    numbers = {item.name: item for item in graph.initializer if item.data_type == 7}  # int64: shapes and axes
    left = []
    for node in graph.node:
        value = _reshaped(node, values, numbers) if node.input and node.input[0] in values else None
        if value is None:
            left.append(node)
        else:
            values[node.output[0]] = value
    used = {name for node in left for name in _read(node)} | {item.name for item in graph.output}
    for name in list(values):
        value = values.pop(name)
        if name in used:
            graph.initializer.append(numpy_helper.from_array(value, name))
    _keep_nodes(graph, left)
    idle = [item for item in graph.initializer if item.name not in used]
    for item in idle:
        graph.initializer.remove(item)


def _reshaped(node: Any, values: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> np.ndarray | None:
    """What a node makes of a weight; None where it computes with it."""
    import numpy as np
    from onnx import numpy_helper

    value = values[node.input[0]]
    attributes = {item.name: item for item in node.attribute}
    if node.op_type == "Identity":
        return value
    if node.op_type == "Transpose":
        return np.ascontiguousarray(value.transpose(attributes["perm"].ints if "perm" in attributes else None))
    if node.op_type == "Reshape" and node.input[1] in numbers and "allowzero" not in attributes:
        wanted = numpy_helper.to_array(numbers[node.input[1]])
        return value.reshape([value.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)])
    return None


def _read(node: Any) -> Iterator[str]:
    """Names that a node reads, those of its inner graphs included."""
    yield from node.input
    for attribute in node.attribute:
        for inner in [attribute.g, *attribute.graphs] if attribute.type in (5, 10) else []:
            for other in inner.node:
                yield from _read(other)
            yield from (item.name for item in inner.output)


def _keep_nodes(graph: Any, nodes: list[Any]) -> None:
    kept = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _copy(node: Any) -> Any:
    copied = type(node)()
    copied.CopyFrom(node)
    return copied
