"""Constants that belong to the operator before them: biases behind products, scales behind normalisation.

Exporters write `x @ w + b` and `batch_norm(x) * s + t` as chains of nodes. For layers that have a bias or a scale of
their own the chain is one layer; the value that stays is that of the chain's last node, under its name.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

__all__ = ["constant_of", "merge_constants", "register"]


def merge_constants(model: ir.Model, keep: Collection[str] = (), *, products: bool = True) -> int:
    """Merge constants into the operators before them, in place.

    `Conv * Mul + Add` gets another kernel and bias (exporters write a folded normalisation so); `MatMul + Add` gets a
    bias, as a third input that only this package's lowerings know; `BatchNormalization * Mul + Add` gets another scale
    and shift.

    Args:
        model: the hub graph.
        keep: names of tensors that somebody asked for, which stay what they are.
        products: give MatMul biases too, which other programs do not know.

    Returns:
        How many nodes were merged away.
    """
    count = 0
    for node in list(model.graph):
        if node.op_type == "MatMul" and not products:
            continue
        while node.graph is model.graph and _merge_next(model.graph, node, keep):
            count += 1
    return count


def _merge_next(graph: ir.Graph, node: ir.Node, keep: Collection[str]) -> bool:
    """Merge the only reader of the node's first output into the node, if it can be."""
    if node.domain or node.op_type not in ("BatchNormalization", "Conv", "ConvTranspose", "MatMul"):
        return False
    out = node.outputs[0]
    uses = list(out.uses())
    if len(uses) != 1 or out.is_graph_output() or out.name in keep or node.name in keep:
        return False
    reader = uses[0].node
    if reader.domain or reader.op_type not in ("Add", "Mul") or reader.graph is not graph or len(reader.inputs) != 2:
        return False
    constant = constant_of(reader.inputs[1 - uses[0].idx])
    if constant is None or constant.dtype.kind != "f":
        return False
    if node.op_type == "BatchNormalization":
        merged = _into_norm(graph, node, reader.op_type, constant)
    elif node.op_type == "MatMul":
        merged = reader.op_type == "Add" and _into_product(graph, node, constant)
    else:
        merged = _into_convolution(graph, node, reader.op_type, constant)
    if not merged:
        return False
    last = reader.outputs[0]
    name = last.name
    ir.convenience.replace_all_uses_with(last, out, replace_graph_outputs=True)
    graph.remove(reader, safe=True)
    out.name = name
    return True


def _per_channel(constant: np.ndarray, channels: int, spatial: int | None) -> np.ndarray | None:
    """(channels,) where the constant has one number for each channel of (N, C, spatial...), else None."""
    if constant.size == 1:
        return np.broadcast_to(constant.ravel(), (channels,))
    if constant.size != channels or spatial is None:
        return None
    shape = (1,) * (spatial + 2 - constant.ndim) + constant.shape
    return constant.ravel() if shape == (1, channels, *([1] * spatial)) else None


def _into_convolution(graph: ir.Graph, node: ir.Node, operator: str, constant: np.ndarray) -> bool:
    given = node.inputs[2] if len(node.inputs) > 2 else None
    kernel, bias = constant_of(node.inputs[1]), constant_of(given)
    if kernel is None or kernel.dtype != constant.dtype or (given is not None and bias is None):
        return False
    group = node.attributes.get("group")
    groups = group.value if group else 1
    if operator == "Mul" and node.op_type == "ConvTranspose" and groups != 1:
        return False
    axis = 0 if node.op_type == "Conv" else 1
    channels = kernel.shape[0] if axis == 0 else kernel.shape[1] * groups
    values = _per_channel(constant, channels, kernel.ndim - 2)
    if values is None:
        return False
    name = node.outputs[0].name
    # Computed in float64 and rounded once.
    if operator == "Add":
        bias = values if bias is None else values.astype(np.float64) + bias
    else:
        shape = [1] * kernel.ndim
        shape[axis] = -1
        scaled = (kernel * values.astype(np.float64).reshape(shape)).astype(kernel.dtype)
        node.replace_input_with(1, register(graph, f"{name}.kernel", scaled))
        bias = None if bias is None else bias * values.astype(np.float64)
    if bias is not None:
        node.resize_inputs(3)
        node.replace_input_with(2, register(graph, f"{name}.bias", bias.astype(kernel.dtype)))
    return True


def _into_product(graph: ir.Graph, node: ir.Node, constant: np.ndarray) -> bool:
    kernel = constant_of(node.inputs[1])
    if len(node.inputs) != 2 or kernel is None or kernel.ndim != 2 or constant_of(node.inputs[0]) is not None:
        return False
    width = kernel.shape[1]
    if constant.size not in (1, width) or (constant.size == width and constant.shape[-1:] != (width,)):
        return False
    if constant.dtype != kernel.dtype or constant.ndim > 2:
        return False
    bias = np.ascontiguousarray(np.broadcast_to(constant.ravel(), (width,)))
    node.resize_inputs(3)
    node.replace_input_with(2, register(graph, f"{node.outputs[0].name}.bias", bias))
    return True


def _into_norm(graph: ir.Graph, node: ir.Node, operator: str, constant: np.ndarray) -> bool:
    training = node.attributes.get("training_mode")
    arrays = [constant_of(value) for value in node.inputs[1:3]]
    if any(array is None for array in arrays) or (training is not None and training.value):
        return False
    scale, shift = (array for array in arrays if array is not None)
    # How many spatial axes there are does not matter: a constant of (C, 1, 1) says it itself.
    spatial = max(constant.ndim - 1, 0) if constant.ndim < 3 or constant.shape[0] != 1 else constant.ndim - 2
    values = _per_channel(constant, len(scale), spatial)
    if values is None or (constant.size > 1 and spatial == 0):
        return False
    name = node.outputs[0].name
    if operator == "Mul":
        node.replace_input_with(1, register(graph, f"{name}.scale", (scale * values).astype(scale.dtype)))
        node.replace_input_with(2, register(graph, f"{name}.shift", (shift * values).astype(scale.dtype)))
    else:
        node.replace_input_with(2, register(graph, f"{name}.shift", (shift + values).astype(scale.dtype)))
    return True


def constant_of(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initialiser that is no input, or of a Constant node; None for what is computed."""
    if value is None or value.is_graph_input():
        return None
    if value.const_value is not None:
        return np.asarray(value.const_value.numpy())
    return None


def register(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """A new initialiser; a name that is taken gets an underscore."""
    while name in graph.initializers:
        name += "_"
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value
