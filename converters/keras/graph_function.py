"""The one registered layer: a piece of an ONNX graph that Keras has no pieces for, run by `converters.function`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import keras
import onnx

__all__ = ["GraphFunction"]


@keras.saving.register_keras_serializable(package="modelzoo", name="GraphFunction")
class GraphFunction(keras.layers.Layer):
    """Operators of an ONNX graph as a Keras layer, in the source's layout.

    Args:
        graph: the piece as a serialised `ModelProto`, base64. Its first inputs are the layer's inputs, its last ones
            the weights.
        weights: shape, dtype and trainable of each weight, in the order of the graph's last inputs.

    The layer takes one tensor or a list of them, and gives one or a list, as the graph has inputs and outputs. Types
    that Keras lacks (float8 of AMD's kind, numbers of 4 bits) go in and come out in wider ones that hold their values.
    """

    def __init__(self, graph: str, weights: Sequence[dict[str, Any]] = (), **options: Any) -> None:
        # Each input keeps the type that the graph declares for it.
        super().__init__(autocast=False, **options)
        self.graph = graph
        self.weight_specs = [dict(item) for item in weights]
        self._function: Any = None
        self._given: list[Any] | None = None
        self._names: tuple[list[str], list[str]] = ([], [])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "graph": self.graph, "weights": self.weight_specs}

    def build(self, *shapes: Any) -> None:
        """Make the weights; their values come from an initialiser that is set while the model is converted."""
        given = self._given
        self.arrays = [
            self.add_weight(
                name=f"weight_{number}",
                shape=tuple(item["shape"]),
                dtype=item["dtype"],
                trainable=item["trainable"],
                initializer="zeros" if given is None else given[number],
            )
            for number, item in enumerate(self.weight_specs)
        ]
        self._given = None
        self.built = True

    def compute_output_spec(self, *inputs: Any, **options: Any) -> Any:
        """Shapes and types of the outputs, found by tracing."""
        # Keras takes what it multiplies by a constant for sparse, which no value here ever is.
        return super().compute_output_spec(*keras.tree.map_structure(_dense, inputs), **options)

    def call(self, inputs: Any) -> Any:
        function = self._load()
        given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        feeds, results = self._names
        fed = dict(zip(feeds, [*given, *(variable.value for variable in self.arrays)], strict=True))
        out = function.values(fed)
        values = [_wide(out[name]) for name in results]
        return values[0] if len(values) == 1 else values

    def _load(self) -> Any:
        if self._function is None:
            from converters.function import load

            proto = onnx.ModelProto.FromString(base64.b64decode(self.graph))
            function = load(proto)
            # The function is no state of the layer: Keras must not track it.
            object.__setattr__(self, "_function", function)
            names = ([item.name for item in proto.graph.input], [item.name for item in proto.graph.output])
            object.__setattr__(self, "_names", names)
        return self._function


def _dense(tensor: Any) -> Any:
    if not getattr(tensor, "sparse", False):
        return tensor
    return keras.KerasTensor(tensor.shape, tensor.dtype, name=tensor.name)


def _wide(value: Any) -> Any:
    """A value as a tensor of a type that Keras has."""
    import tensorflow as tf

    from converters.function.values import Narrow, as_tensor
    from converters.keras.held import keras_has

    tensor = as_tensor(value)
    return tf.cast(tensor, value.dtype) if isinstance(value, Narrow) and keras_has(value.dtype) else tensor
