"""Gradients of whole converted networks are the slopes that finite differences find.

A loss that weighs every output is followed along the gradient of all weights, and along a mixture of it and a random
direction; what floating point leaves of a central difference is compared with the dot product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from converters.keras import to_keras
from converters.parity import sample_inputs
from tests.converters.onnx.keras_exports import NETWORKS, export, shaken
from tests.data_folder import DATA, needs_data

QUICK = ("lstm_classifier", "transformer_encoder", "two_towers")
SLOPE = 2e-2  # relative: float32 losses, steps of about 1e-3


def assert_slopes(proto: onnx.ModelProto, feed: dict[str, np.ndarray]) -> None:
    """Compare derivatives by directions; of three steps the one that says it best counts, a wrong one fits none."""
    import keras
    import tensorflow as tf

    model: Any = to_keras(proto, data_format="source")
    assert model.trainable_variables
    given: Any = {name: tf.constant(value) for name, value in feed.items()}
    given = given if len(given) > 1 else next(iter(given.values()))
    generator = np.random.default_rng(0)
    results = keras.tree.flatten(model(given, training=False))
    weights = [tf.constant(generator.standard_normal(value.shape), tf.float64) for value in results]
    size = sum(float(np.abs(w * np.asarray(v)).sum()) for w, v in zip(weights, results, strict=True))

    def loss() -> Any:
        values = keras.tree.flatten(model(given, training=False))
        return tf.add_n([tf.reduce_sum(w * tf.cast(v, tf.float64)) for w, v in zip(weights, values, strict=True)])

    variables = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        total = loss()
    found = tape.gradient(total, variables)
    assert all(gradient is not None for gradient in found), "every weight is reached"
    gradients = [np.asarray(tf.convert_to_tensor(gradient), float) for gradient in found]
    drawn = unit([generator.standard_normal(gradient.shape) for gradient in gradients])
    # A random direction is almost orthogonal to the gradient; the mixture is steep enough to be measured.
    mixture = unit([g + d for g, d in zip(unit(gradients), drawn, strict=True)])
    before = [variable.numpy() for variable in variables]
    for direction in (unit(gradients), mixture):
        wanted = sum(float(np.sum(g * d)) for g, d in zip(gradients, direction, strict=True))
        misses = {}
        for step in (4e-3, 1e-3, 2.5e-4):
            ends = []
            for sign in (1, -1):
                for variable, value, along in zip(variables, before, direction, strict=True):
                    variable.assign(value + sign * step * along)
                ends.append(float(loss()))
            noise = 4 * np.finfo(np.float32).eps * size / step
            misses[step] = abs((ends[0] - ends[1]) / (2 * step) - wanted) - noise
        assert wanted > 100 * 4 * np.finfo(np.float32).eps * size, "steep enough to be measured at all"
        assert min(misses.values()) <= SLOPE * wanted, (misses, wanted)
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)


def unit(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The same direction, of length 1 over all arrays."""
    length = np.sqrt(sum(float(np.sum(array**2)) for array in arrays))
    return [array / length for array in arrays]


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_networks_of_tf2onnx(name):
    build, draws = NETWORKS[name]
    generator = np.random.default_rng(3)
    feed = {key: options[0](generator, 3) for key, options in draws.items()}
    assert_slopes(export(shaken(build())), feed)


@needs_data
@pytest.mark.parametrize(
    ("file", "shape"), [("onnx_small/super_resolution.onnx", (1, 1, 224, 224)), ("dtln/model_2.onnx", None)]
)
def test_real_networks(file, shape):
    assert DATA is not None
    proto = onnx.load(DATA / "models" / file)
    assert_slopes(proto, sample_inputs(proto, {proto.graph.input[0].name: shape} if shape else None))
