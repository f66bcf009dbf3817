"""Weights that stand on their own: tensors that a layer without other purpose gives to everybody who reads them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from converters.keras.held import Held
from converters.keras.names import LayerNames
from converters.keras.tying import Sharing
from converters.keras.weights import call_with
from modelzoo.errors import ConversionError

__all__ = ["StandingWeights"]


class StandingWeights:
    """The weights of a walk that stand on their own, each made when it is first asked for.

    Each is the only row of an `Embedding`: stock layers train and save it like any weight.

    Args:
        names: of the layers.
        inputs: the model's symbolic inputs, which may still grow in number.
        sharing: where it is noted who holds a bias.
    """

    def __init__(self, names: LayerNames, inputs: Sequence[Any], sharing: Sharing) -> None:
        self._names = names
        self._inputs = inputs
        self._sharing = sharing
        self._made: dict[Hashable, Held] = {}
        self._zero: Any = None

    def weight(self, value: ir.Value, array: np.ndarray) -> Held:
        """An initialiser as a tensor of its shape."""
        return self._once(value, value.name or "weight", array)

    def bias(self, node: ir.Node, array: np.ndarray) -> Held:
        """The bias of a node, its third input; what every layer starts with belongs to the node alone."""
        value = node.inputs[2]
        assert value is not None
        identities = self._sharing.identities
        learned = any(identities.is_weight(leaf) for leaf in identities.leaves(value))
        held = self._once(identities.of(value) if learned else node, value.name or "bias", array)
        if learned:
            self._sharing.readers.note_value(node, 2, value, [held.tensor.name])
        return held

    def _once(self, key: Hashable, source: str, array: np.ndarray) -> Held:
        if key not in self._made:
            layer = keras.layers.Embedding(1, array.size, name=self._names.new(source), dtype=array.dtype.name)
            row = call_with(layer, self._number_zero(source), {"embeddings": array.reshape(1, -1)})
            self._made[key] = Held.of(keras.ops.reshape(row, array.shape))
        return self._made[key]

    def _number_zero(self, source: str) -> Any:
        """The index of the only row, shape (), computed from an input: layers of a functional model read tensors."""
        if self._zero is None:
            tensor = next((item for item in self._inputs if item.dtype != "string"), None)
            if tensor is None:
                raise ConversionError(
                    f"The weight {source!r} is shared by nodes of a model without inputs of numbers.",
                    hint='convert it with to="function"',
                )
            self._zero = keras.ops.sum(keras.ops.zeros_like(tensor, dtype="int32"))
        return self._zero
