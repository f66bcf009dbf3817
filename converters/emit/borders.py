"""What a model takes and gives, by the names of its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelzoo.errors import ConversionError

__all__ = ["Borders"]


@dataclass(frozen=True)
class Borders:
    """The inputs and outputs of a functional model, in its own flat order.

    Attributes:
        inputs, outputs: symbolic Keras tensors.
        input_names, output_names: the source's name of each where the model knows it, else the key in the model's
            dict, else the layer's name. Unique among inputs, and among outputs.
    """

    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]

    @classmethod
    def of(cls, model: Any) -> Borders:
        """The borders of a functional or sequential model.

        Raises:
            ConversionError: the model is a class of its own, whose call only Python knows.
        """
        import keras

        inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
        if not isinstance(model, keras.Model) or not inputs or not outputs:
            raise ConversionError(
                "Only functional Keras models have inputs and outputs that can be written down.",
                received=f"{type(model).__name__} {getattr(model, 'name', '')!r}",
                hint="build it from keras.Input with keras.Model(inputs, outputs)",
            )
        return cls(
            tuple(inputs),
            tuple(outputs),
            _names(model, "input_sources", model.input, inputs),
            _names(model, "output_sources", model.output, outputs),
        )

    def call(self, model: Any, values: Sequence[Any]) -> list[Any]:
        """Run `model` for inference on one value for each input; one value for each output comes back."""
        import keras

        fed = keras.tree.pack_sequence_as(model.input, list(values)) if len(values) > 1 else values[0]
        if isinstance(model.input, dict) and len(values) == 1:
            fed = {next(iter(model.input)): values[0]}
        return list(keras.tree.flatten(model(fed, training=False)))


def _names(model: Any, attribute: str, structure: Any, tensors: Sequence[Any]) -> tuple[str, ...]:
    sources = getattr(model, attribute, None)
    own = getattr(model, "source_names", {})
    if isinstance(structure, dict) and all(not isinstance(item, dict | list | tuple) for item in structure.values()):
        # Keras flattens a dict in the order of its keys.
        key_of = {id(tensor): key for key, tensor in structure.items()}
        names = [key_of.get(id(tensor), str(tensor.name)) for tensor in tensors]
    elif sources and len(sources) == len(tensors):
        names = list(sources)
    else:
        layers = [tensor._keras_history.operation.name for tensor in tensors]
        names = [own.get(layer, layer) for layer in layers]
    unique: list[str] = []
    for name in names:
        number, wanted = 0, name
        while name in unique:
            number += 1
            name = f"{wanted}_{number}"
        unique.append(name)
    return tuple(unique)
