"""BatchNormalization in inference is a scale and a shift of each channel: the convolution before it can do both."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import onnx_ir as ir

from converters.graph.merging import constant_of, register, shared_alike

__all__ = ["add_zero_biases", "fold_batch_norms"]

#: Operator -> axis of its kernel that counts output channels.
_CHANNELS = {"Conv": 0, "ConvTranspose": 1}


def fold_batch_norms(model: ir.Model) -> int:
    """Fold every BatchNormalization that follows a convolution with constant weights into these weights, in place.

    Computed in float64 and rounded once. For inference: a model that is to be trained keeps its normalisation. The
    value that stays keeps the normalised one's name. Convolutions that share a kernel share the folded one; where
    another normalisation, or none, follows one of them, the kernel and these normalisations stay.

    Returns:
        How many were folded.
    """
    count = 0
    made: dict[Hashable, tuple[ir.Value, ir.Value]] = {}
    for node in list(model.graph):
        if node.op_type == "BatchNormalization" and node.domain == "" and _fold(model.graph, node, made):
            count += 1
    return count


def add_zero_biases(model: ir.Model) -> None:
    """Give every convolution without a bias one of zeros, in place.

    For inference: TensorFlow runs a convolution and the activation behind it as one kernel only where a bias stands
    between them.
    """
    made: dict[ir.Value | None, ir.Value] = {}
    for node in list(model.graph):
        kernel = constant_of(node.inputs[1]) if node.op_type in _CHANNELS and len(node.inputs) > 1 else None
        if node.domain or kernel is None or (len(node.inputs) > 2 and node.inputs[2] is not None):
            continue
        group = node.attributes.get("group")
        channels = kernel.shape[0] if node.op_type == "Conv" else kernel.shape[1] * (group.value if group else 1)
        owner = node.inputs[1]
        if owner not in made:
            made[owner] = register(model.graph, f"{node.outputs[0].name}.bias", np.zeros(channels, kernel.dtype))
        node.resize_inputs(3)
        node.replace_input_with(2, made[owner])


def _norm_of(conv: ir.Node) -> ir.Node | None:
    """The BatchNormalization that is all that reads a convolution and that nobody reads the statistics of."""
    out = conv.outputs[0]
    if len(out.uses()) != 1 or out.is_graph_output():
        return None
    norm = next(iter(out.uses())).node
    training = norm.attributes.get("training_mode")
    if norm.op_type != "BatchNormalization" or norm.domain or norm.inputs[0] is not out:
        return None
    if any(value.uses() or value.is_graph_output() for value in norm.outputs[1:]):
        return None
    return None if training is not None and training.value else norm


def _folding(conv: ir.Node) -> Hashable:
    """What makes of a kernel the folded one; None where nothing is to be folded."""
    norm = _norm_of(conv) if conv.op_type in _CHANNELS and not conv.domain else None
    if norm is None:
        return None
    epsilon = norm.attributes.get("epsilon")
    return (conv.op_type, *norm.inputs[1:5], epsilon.value if epsilon else 1e-5)


def _fold(graph: ir.Graph, norm: ir.Node, made: dict[Hashable, tuple[ir.Value, ir.Value]]) -> bool:
    x = norm.inputs[0]
    conv = x.producer() if x is not None else None
    if x is None or conv is None or conv.op_type not in _CHANNELS or conv.domain or conv.graph is not graph:
        return False
    foldable = _norm_of(conv) is norm and shared_alike(conv.inputs[1], _folding)
    if not foldable:
        return False
    group = conv.attributes.get("group")
    if conv.op_type == "ConvTranspose" and group is not None and group.value != 1:
        return False
    arrays = [constant_of(value) for value in (conv.inputs[1], *norm.inputs[1:5])]
    given = conv.inputs[2] if len(conv.inputs) > 2 else None
    bias = None if given is None else constant_of(given)
    if any(array is None for array in arrays) or (given is not None and bias is None):
        return False
    kernel, gamma, beta, mean, variance = (array for array in arrays if array is not None)
    epsilon = norm.attributes.get("epsilon")
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + (epsilon.value if epsilon else 1e-5))
    shape = [1] * kernel.ndim
    shape[_CHANNELS[conv.op_type]] = -1
    shift = ((0.0 if bias is None else bias.astype(np.float64)) - mean) * scale + beta
    name = norm.outputs[0].name or norm.name or "folded"
    key = (conv.inputs[1], given, _folding(conv))
    if key not in made:
        made[key] = (
            register(graph, f"{name}.kernel", (kernel * scale.reshape(shape)).astype(kernel.dtype)),
            register(graph, f"{name}.bias", shift.astype(kernel.dtype)),
        )
    conv.resize_inputs(3)
    for place, value in enumerate(made[key], start=1):
        conv.replace_input_with(place, value)
    old = norm.outputs[0]
    ir.convenience.replace_all_uses_with(old, conv.outputs[0], replace_graph_outputs=True)
    graph.remove(norm, safe=True)
    conv.outputs[0].name = name
    return True
