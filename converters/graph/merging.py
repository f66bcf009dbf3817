"""Constants that belong to the operator before them: biases behind products, scales behind normalisation.

Exporters write `x @ w + b` and `batch_norm(x) * s + t` as chains of nodes. For layers that have a bias or a scale of
their own the chain is one layer; the value that stays is that of the chain's last node, under its name. What several
nodes share stays shared: chains of the same constants get the same merged ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

__all__ = ["constant_of", "is_default", "merge_constants", "register", "shared_alike"]

#: What constants were merged -> the one that came of them.
_Made: TypeAlias = dict[Hashable, ir.Value]


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
    made: _Made = {}
    for node in list(model.graph):
        if node.op_type == "MatMul" and not products:
            continue
        while node.graph is model.graph and _merge_next(model.graph, node, keep, made):
            count += 1
    return count


def _merge_next(graph: ir.Graph, node: ir.Node, keep: Collection[str], made: _Made) -> bool:
    """Merge the only reader of the node's first output into the node, if it can be."""
    found = _next(graph, node, keep)
    if found is None:
        return False
    reader, operand = found
    constant = constant_of(operand)
    if constant is None or constant.dtype.kind != "f":
        return False

    def what_follows(other: ir.Node) -> Hashable:
        then = _next(graph, other, keep)
        return None if then is None else (other.op_type, then[0].op_type, then[1])

    changed = node.inputs[1:3] if reader.op_type == "Mul" else node.inputs[2:3]
    if not all(shared_alike(value, what_follows) for value in changed):
        return False
    if node.op_type == "BatchNormalization":
        merged = _into_norm(graph, node, reader.op_type, operand, constant, made)
    elif node.op_type == "MatMul":
        merged = reader.op_type == "Add" and _into_product(graph, node, operand, constant, made)
    else:
        merged = _into_convolution(graph, node, reader.op_type, operand, constant, made)
    if not merged:
        return False
    out, last = node.outputs[0], reader.outputs[0]
    name = last.name
    ir.convenience.replace_all_uses_with(last, out, replace_graph_outputs=True)
    graph.remove(reader, safe=True)
    out.name = name
    return True


def _next(graph: ir.Graph, node: ir.Node, keep: Collection[str]) -> tuple[ir.Node, ir.Value | None] | None:
    """The only reader of a node that constants are merged into, a sum or product, and what else it reads."""
    if node.domain or node.op_type not in ("BatchNormalization", "Conv", "ConvTranspose", "MatMul"):
        return None
    out = node.outputs[0]
    uses = list(out.uses())
    if len(uses) != 1 or out.is_graph_output() or out.name in keep or node.name in keep:
        return None
    reader = uses[0].node
    if reader.domain or reader.op_type not in ("Add", "Mul") or reader.graph is not graph or len(reader.inputs) != 2:
        return None
    return reader, reader.inputs[1 - uses[0].idx]


def shared_alike(value: ir.Value | None, what_follows: Callable[[ir.Node], Hashable]) -> bool:
    """Whether a constant may change with what follows its reader: all that read it are followed by the same."""
    array = constant_of(value)
    if value is None or array is None or len(value.uses()) < 2 or is_default(array):
        return True
    return len({what_follows(use.node) for use in value.uses()}) == 1


def is_default(array: np.ndarray) -> bool:
    """Whether an array is a vector of one number again and again: layers start so, and exporters write that once."""
    if max(array.shape, default=1) != array.size or array.size == 0:
        return False
    return bool((array == array.flat[0]).all()) and (array.size > 1 or array.flat[0] in (0, 1))


def _per_channel(constant: np.ndarray, channels: int, spatial: int | None) -> np.ndarray | None:
    """(channels,) where the constant has one number for each channel of (N, C, spatial...), else None."""
    if constant.size == 1:
        return np.broadcast_to(constant.ravel(), (channels,))
    if constant.size != channels or spatial is None:
        return None
    shape = (1,) * (spatial + 2 - constant.ndim) + constant.shape
    return constant.ravel() if shape == (1, channels, *([1] * spatial)) else None


def _once(graph: ir.Graph, made: _Made, key: Hashable, name: str, compute: Callable[[], np.ndarray]) -> ir.Value:
    """The merged constant of `key`, made for the first that asks for it."""
    if key not in made:
        made[key] = register(graph, name, compute())
    return made[key]


def _into_convolution(
    graph: ir.Graph, node: ir.Node, operator: str, operand: ir.Value | None, constant: np.ndarray, made: _Made
) -> bool:
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

        def scaled() -> np.ndarray:
            return (kernel * values.astype(np.float64).reshape(shape)).astype(kernel.dtype)

        key = ("kernel", node.inputs[1], operand, axis)
        node.replace_input_with(1, _once(graph, made, key, f"{name}.kernel", scaled))
        bias = None if bias is None else bias * values.astype(np.float64)
    if bias is not None:
        summed = bias.astype(kernel.dtype)
        merged = _once(graph, made, ("bias", operator, given, operand, channels), f"{name}.bias", lambda: summed)
        node.resize_inputs(3)
        node.replace_input_with(2, merged)
    return True


def _into_product(graph: ir.Graph, node: ir.Node, operand: ir.Value | None, constant: np.ndarray, made: _Made) -> bool:
    kernel = _matrix(node.inputs[1])
    if len(node.inputs) != 2 or kernel is None or kernel.ndim != 2 or constant_of(node.inputs[0]) is not None:
        return False
    width = kernel.shape[1]
    if constant.size not in (1, width) or (constant.size == width and constant.shape[-1:] != (width,)):
        return False
    if constant.dtype != kernel.dtype or constant.ndim > 2:
        return False
    bias = operand
    if bias is None or bias.producer() is not None or constant.shape != (width,):
        whole = np.ascontiguousarray(np.broadcast_to(constant.ravel(), (width,)))
        key = ("bias", "Add", None, operand, width)
        bias = _once(graph, made, key, f"{node.outputs[0].name}.bias", lambda: whole)
    node.resize_inputs(3)
    node.replace_input_with(2, bias)
    return True


def _matrix(value: ir.Value | None) -> np.ndarray | None:
    """A constant, or the transpose of one."""
    node = None if value is None else value.producer()
    permutation = None if node is None else node.attributes.get("perm")
    if node is None or node.op_type != "Transpose" or node.domain or not (permutation is None or permutation.value[0]):
        return constant_of(value)
    return None if (array := constant_of(node.inputs[0])) is None else array.T


def _into_norm(
    graph: ir.Graph, node: ir.Node, operator: str, operand: ir.Value | None, constant: np.ndarray, made: _Made
) -> bool:
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
    name, kind = node.outputs[0].name, scale.dtype
    if operator == "Mul":
        factor = ("scale", node.inputs[1], operand)
        node.replace_input_with(1, _once(graph, made, factor, f"{name}.scale", lambda: (scale * values).astype(kind)))
    key = ("shift", operator, node.inputs[2], operand)
    moved = (shift * values if operator == "Mul" else shift + values).astype(kind)
    node.replace_input_with(2, _once(graph, made, key, f"{name}.shift", lambda: moved))
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
