"""Keras models as LiteRT files: the interpreter gives Keras' numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from converters.emit import write_litert
from modelzoo import errors
from tests.converters.emit.models import MODELS, drawn, run, several


@pytest.fixture(autouse=True)
def _quiet(recwarn):
    """tf.lite.Interpreter says that it moves to a package of its own."""


def interpreted(path, names: list[str], values: list[np.ndarray]) -> dict[str, np.ndarray]:
    interpreter = tf.lite.Interpreter(model_path=str(path))
    runner = interpreter.get_signature_runner("serving_default")
    assert sorted(runner.get_input_details()) == sorted(names)
    return runner(**dict(zip(names, values, strict=True)))


@pytest.mark.parametrize("name", ["converted", "residuals", "sequential", "slim", "squeezenet"])
def test_the_interpreter_agrees(tmp_path, name, capfd):
    model = MODELS[name]()
    assert write_litert(model, tmp_path / "net.tflite") == tmp_path / "net.tflite"
    assert capfd.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["net.tflite"]
    (value,) = (value[:1] for value in drawn(model))
    (tensor,) = model.inputs
    (found,) = interpreted(tmp_path / "net.tflite", [tensor._keras_history.operation.name], [value]).values()
    (wanted,) = run(model, [value])
    assert found.shape == wanted.shape and found.dtype == np.float32
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_several_inputs_and_outputs_have_their_names(tmp_path):
    model = several()
    path = write_litert(model, tmp_path / "net.tflite")
    values = [value[:1] for value in drawn(model)]
    found = interpreted(path, ["left", "x"], values)
    wanted = model(dict(zip(("left", "x"), values, strict=True)), training=False)
    assert {"a/out", "sum:0"} < set(found) and len(found) == 4
    for name in ("a/out", "sum:0"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6)


def test_a_known_batch_stays_and_open_sides_stay_open(tmp_path):
    inputs = keras.Input((None, None, 2), batch_size=3, name="in")
    model = keras.Model(inputs, layers.Conv2D(2, 3, name="c")(inputs))
    interpreter = tf.lite.Interpreter(model_path=str(write_litert(model, tmp_path / "net.tflite")))
    (detail,) = interpreter.get_input_details()
    assert detail["shape_signature"].tolist() == [3, -1, -1, 2]


@pytest.mark.parametrize(("name", "legal"), [(".x", ".x"), ("in", "in_"), ("a:0 é", "a_0__"), ("_", "input_")])
def test_names_of_inputs_are_made_legal(tmp_path, name, legal):
    inputs = keras.Input((3,), name=name)
    path = write_litert(keras.Model(inputs, layers.ReLU(name="r")(inputs)), tmp_path / "net.tflite")
    value = np.array([[-1, 0, 2]], np.float32)
    np.testing.assert_array_equal(interpreted(path, [legal], [value])["r"], np.maximum(value, 0))


def test_what_litert_has_no_operator_for_is_refused(tmp_path):
    inputs = keras.Input((4,), name="in")
    model = keras.Model(inputs, ops.digamma(inputs) if hasattr(ops, "digamma") else ops.erfinv(inputs))
    with pytest.raises(errors.ConversionError, match="built-in operators") as caught:
        write_litert(model, tmp_path / "net.tflite")
    assert "tf." in str(caught.value.received)
    assert not any(tmp_path.iterdir())
