"""Keras model -> LiteRT (`.tflite`) by TensorFlow's own exporter."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.emit.borders import Borders, functional, unique
from converters.emit.publishing import publish
from modelzoo.errors import ConversionError

if TYPE_CHECKING:
    import keras

__all__ = ["write_litert"]


def write_litert(model: keras.Model, out: Path) -> Path:
    """Write a functional Keras model as a LiteRT file of float32 built-in operators.

    Args:
        model: functional, in whatever layout it has; channels stay last.
        out: the `.tflite` file; one that is there is replaced.

    Returns:
        `out`. Its signature `serving_default` names the inputs by the model's input layers (source names made legal)
        and the outputs by their source names. A batch size that is open becomes 1; other open sizes stay open
        (`resize_tensor_input`).

    Raises:
        ConversionError: the model is not functional, or LiteRT has no built-in operator for something in it.
        DiskError, UsageError: the file cannot be written there.
    """
    import tensorflow as tf

    model = functional(model)
    borders = Borders.of(model)
    names = unique([_legal(tensor._keras_history.operation.name) for tensor in borders.inputs])
    specs = [
        tf.TensorSpec(_first_known(tensor.shape), tensor.dtype, name=name)
        for tensor, name in zip(borders.inputs, names, strict=True)
    ]

    def run(*values: Any) -> dict[str, Any]:
        return dict(zip(borders.output_names, borders.call(model, values), strict=True))

    def write(path: str) -> None:
        module = tf.Module()
        module.held = [variable.value for variable in model.variables]
        module.run = tf.function(run, autograph=False, input_signature=specs)
        folder = f"{path}.saved_model"
        # TensorFlow keeps the names of a signature only through a SavedModel.
        tf.saved_model.save(module, folder, signatures=module.run.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        try:
            content = converter.convert()
        except Exception as error:  # the converter's errors have no common class
            raise _refusal(error) from error
        Path(path).write_bytes(content)

    return publish(Path(out), write)


def _legal(name: str) -> str:
    """A layer's name as TensorFlow lets an argument of a signature be called."""
    legal = re.sub(r"[^A-Za-z0-9_.]", "_", name)
    legal = f"{legal}_" if keyword.iskeyword(legal) else legal
    return legal if re.match(r"[A-Za-z0-9.]", legal) else f"input{legal}"


def _first_known(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (1, *shape[1:]) if shape and shape[0] is None else tuple(shape)


def _refusal(error: Exception) -> ConversionError:
    text = str(error)
    needed = sorted(set(re.findall(r"tf\.\w+(?= ?\(|')", text))) or text.strip().splitlines()[:1]
    return ConversionError(
        "TensorFlow's exporter cannot write the model with LiteRT's built-in operators.",
        received=", ".join(needed)[:300],
        hint='export it with to="savedmodel", and let the LiteRT converter add TensorFlow\'s operators to it',
    )
