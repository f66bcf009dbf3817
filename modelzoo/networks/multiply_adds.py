"""Multiply-adds of a forward pass, counted as papers count them: convolutions, dense layers, recurrence, attention.

Biases, normalisation, activations and pooling are left out, as by Howard et al. (MobileNets, arXiv:1704.04861) and He
et al. (arXiv:1512.03385, where a multiply-add is called a FLOP).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modelzoo.errors import UsageError

__all__ = ["MultiplyAdds", "count_multiply_adds"]


@dataclass(frozen=True)
class MultiplyAdds:
    """The count for one example.

    Attributes:
        count: multiply-adds.
        uncounted: layers that compute more than what is left out on purpose, but whose work is not known, or whose
            maps have no fixed size; without them the count is a lower bound.
    """

    count: int
    uncounted: tuple[str, ...] = ()


class _Unknown(Exception):
    """A layer whose work cannot be told."""


def count_multiply_adds(model: Any) -> MultiplyAdds:
    """Count the multiply-adds of a model for one example, by walking its layers.

    Args:
        model: a functional or sequential keras.Model whose input has a fixed size but for the batch.

    Returns:
        The count, and the layers that are not in it.

    Raises:
        UsageError: the model has no graph that could be walked.
    """
    graph = _functional(model)
    if not hasattr(graph, "_nodes_by_depth"):
        raise UsageError(
            "Multiply-adds are counted in functional and sequential models that are built.",
            received=type(model).__name__,
        )
    total = 0
    uncounted: list[str] = []
    for operation, inputs, output in _calls(graph):
        try:
            total += _work(operation, inputs, output)
        except _Unknown:
            if operation.name not in uncounted:
                uncounted.append(operation.name)
    return MultiplyAdds(total, tuple(uncounted))


def _calls(model: Any) -> Iterator[tuple[Any, list[Any], Any]]:
    """(operation, input tensors, output tensor) of every call in a model and those inside it."""
    import keras

    for nodes in model._nodes_by_depth.values():
        for node in nodes:
            operation = node.operation
            if isinstance(operation, keras.layers.InputLayer):
                continue
            if isinstance(operation, keras.Model) and hasattr(_functional(operation), "_nodes_by_depth"):
                yield from _calls(_functional(operation))
                continue
            yield operation, list(node.input_tensors), node.output_tensors[0]


def _functional(model: Any) -> Any:
    """The graph of a model: a Sequential has it inside."""
    return getattr(model, "_functional", None) or model


def _work(operation: Any, inputs: Sequence[Any], output: Any) -> int:
    for kind in type(operation).__mro__:
        if kind.__name__ in _RULES:
            return _RULES[kind.__name__](operation, inputs, output)
    # A layer that nobody wrote a rule for counts for nothing only where it cannot hold a product of matrices.
    for owner in operation._flatten_layers() if hasattr(operation, "_flatten_layers") else ():
        own = owner._trainable_variables + owner._non_trainable_variables
        if any(len(weight.shape) > 1 for weight in own) and not _elementwise(owner):
            raise _Unknown
    return 0


def _elementwise(layer: Any) -> bool:
    return type(layer).__name__ in ("Normalization", "PReLU", "BatchNormalization", "LayerNormalization", "LayerScale")


def _sizes(shape: Sequence[int | None]) -> list[int]:
    if any(size is None for size in shape):
        raise _Unknown
    return [int(size or 0) for size in shape]


def _positions(tensor: Any, layer: Any) -> int:
    """Places of a map, (H, W) of (N, H, W, C)."""
    shape = tensor.shape[2:] if getattr(layer, "data_format", None) == "channels_first" else tensor.shape[1:-1]
    return math.prod(_sizes(shape))


def _weights(weight: Any) -> int:
    return math.prod(int(size) for size in weight.shape)


def _convolution(layer: Any, inputs: Sequence[Any], output: Any) -> int:
    return _positions(output, layer) * _weights(layer.kernel)


def _transposed(layer: Any, inputs: Sequence[Any], output: Any) -> int:
    """Each place of the input meets the whole kernel."""
    return _positions(inputs[0], layer) * _weights(layer.kernel)


def _separable(layer: Any, inputs: Sequence[Any], output: Any) -> int:
    return _positions(output, layer) * (_weights(layer.depthwise_kernel) + _weights(layer.pointwise_kernel))


def _dense(layer: Any, inputs: Sequence[Any], output: Any) -> int:
    return math.prod(_sizes(output.shape[1:-1])) * _weights(layer.kernel)


def _einsum_dense(layer: Any, inputs: Sequence[Any], output: Any) -> int:
    return _einsum(layer.equation, [inputs[0].shape, tuple(layer.kernel.shape)])


def _einsum(equation: str, shapes: Sequence[Sequence[int | None]]) -> int:
    """The product of the sizes of all letters but the batch's."""
    sizes: dict[str, int | None] = {}
    for letters, shape in zip(equation.replace(" ", "").split("->")[0].split(","), shapes, strict=True):
        if "." in letters:
            raise _Unknown
        sizes.update(zip(letters, shape, strict=True))
    batch = equation.strip()[0]
    return math.prod(_sizes([size for letter, size in sizes.items() if letter != batch]))


def _attention(layer: Any, inputs: Sequence[Any], output: Any) -> int:
    """Projections, then scores and their weighted sum, each queries x keys x heads x width."""
    query, value = inputs[0], inputs[1] if len(inputs) > 1 else inputs[0]
    key = inputs[2] if len(inputs) > 2 else value
    places = [math.prod(_sizes(tensor.shape[1:-1])) for tensor in (query, key, value)]
    parts = (layer._query_dense, layer._key_dense, layer._value_dense)
    total = sum(many * _weights(part.kernel) for many, part in zip(places, parts, strict=True))
    total += places[0] * _weights(layer._output_dense.kernel)
    return int(total + places[0] * places[1] * layer.num_heads * (layer.key_dim + layer.value_dim))


def _recurrent(layer: Any, inputs: Sequence[Any], output: Any) -> int:
    """Every step meets every kernel of the cells."""
    kernels = [weight for weight in layer.weights if weight.name in ("kernel", "recurrent_kernel")]
    others = [weight for weight in layer.weights if len(weight.shape) > 1 and "kernel" not in weight.name]
    if not kernels or any(len(kernel.shape) != 2 for kernel in kernels) or any(w.name != "bias" for w in others):
        raise _Unknown
    return _sizes(inputs[0].shape[1:2])[0] * sum(_weights(kernel) for kernel in kernels)


def _matmul(operation: Any, inputs: Sequence[Any], output: Any) -> int:
    if len(inputs) != 2:
        raise _Unknown
    return math.prod(_sizes(output.shape[1:])) * _sizes(inputs[0].shape[-1:])[0]


def _dot(operation: Any, inputs: Sequence[Any], output: Any) -> int:
    axes = getattr(operation, "axes", -1)  # the layer says which axes meet, the operation joins the last one
    axis = axes if isinstance(axes, int) else axes[0]
    return math.prod(_sizes(output.shape[1:])) * _sizes([inputs[0].shape[axis]])[0]


def _einsum_operation(operation: Any, inputs: Sequence[Any], output: Any) -> int:
    return _einsum(operation.subscripts, [tensor.shape for tensor in inputs])


def _unknown(operation: Any, inputs: Sequence[Any], output: Any) -> int:
    raise _Unknown


_RULES: dict[str, Callable[[Any, Sequence[Any], Any], int]] = {
    "BaseConv": _convolution,
    "BaseDepthwiseConv": _convolution,
    "BaseConvTranspose": _transposed,
    "BaseSeparableConv": _separable,
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    "MultiHeadAttention": _attention,
    "RNN": _recurrent,
    "Bidirectional": _recurrent,
    "Embedding": lambda operation, inputs, output: 0,
    "Matmul": _matmul,
    "Dot": _dot,
    "Einsum": _einsum_operation,
    "TimeDistributed": _unknown,
    "GraphFunction": _unknown,
    "Lambda": _unknown,
    "ConvLSTM": _unknown,
    "Attention": _unknown,
    "GroupedQueryAttention": _unknown,
    "DotProductAttention": _unknown,
    "Tensordot": _unknown,
}
"""Class, of the layer or one that it derives from -> how its work is counted."""
