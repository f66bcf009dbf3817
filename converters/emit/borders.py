"""What a model takes and gives, by the names of its source."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from modelzoo.errors import ConversionError

__all__ = ["Borders", "functional", "unique"]


def functional(model: Any) -> Any:
    """The model itself, or the functional model of a sequential one.

    Raises:
        ConversionError: the model is a class of its own, whose call only Python knows.
    """
    import keras

    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None) or not hasattr(model, "operations"):
        raise ConversionError(
            "Only functional Keras models can be written to a file of another kind.",
            received=f"{type(model).__name__} {getattr(model, 'name', '')!r}",
            hint="build it from keras.Input with keras.Model(inputs, outputs)",
        )
    return model


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
        """The borders of a functional model."""
        inputs, outputs = model.inputs, model.outputs
        return cls(
            tuple(inputs),
            tuple(outputs),
            _names(model, "input_sources", model.input, inputs),
            _names(model, "output_sources", model.output, outputs),
        )

    def call(self, model: Any, values: Sequence[Any]) -> list[Any]:
        """Run `model` for inference on one value for each input; one value for each output comes back."""
        import keras

        return list(keras.tree.flatten(model(self.packed(model, values), training=False)))

    def packed(self, model: Any, values: Sequence[Any]) -> Any:
        """One value for each input, in the structure in which `model` takes them."""
        import keras

        if isinstance(model.input, dict) and len(values) == 1:
            return {next(iter(model.input)): values[0]}
        return keras.tree.pack_sequence_as(model.input, list(values)) if len(values) > 1 else values[0]


def _names(model: Any, attribute: str, structure: Any, tensors: Sequence[Any]) -> tuple[str, ...]:
    import keras

    sources = getattr(model, attribute, None)
    own = getattr(model, "source_names", {})
    names = [own.get(layer, layer) for layer in (tensor._keras_history.operation.name for tensor in tensors)]
    if isinstance(structure, dict):
        # Keras has its own order for what is in a dict.
        numbered = keras.tree.pack_sequence_as(structure, list(range(len(tensors))))
        for number, path in _paths(numbered, ()):
            names[number] = "_".join(path)
    elif sources and len(sources) == len(tensors):
        names = list(sources)
    return unique(names)


def _paths(numbered: Any, path: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Each number in nested dicts and lists, and the keys that lead to it."""
    if isinstance(numbered, int):
        yield numbered, path
        return
    for key, item in numbered.items() if isinstance(numbered, dict) else enumerate(numbered):
        yield from _paths(item, (*path, str(key)))


def unique(names: Sequence[str], taken: Collection[str] = ()) -> tuple[str, ...]:
    """The names, with a number behind those that are taken or come again."""
    given: list[str] = []
    for wanted in names:
        name, number = wanted, 0
        while name in given or name in taken:
            number += 1
            name = f"{wanted}_{number}"
        given.append(name)
    return tuple(given)
