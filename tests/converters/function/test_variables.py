"""A function's weights are variables as TensorFlow's own modules have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import tensorflow as tf

from converters.function import GraphFunction, load

TEXT = """
    <ir_version: 10, opset_import: ["" : 21]>
    affine (float[N, 2] x) => (float[N, 2] y) <float[2] scale = {2.0, 3.0}, float[2] shift = {0.5, -1.0}> {
        scaled = Mul (x, scale)
        y = Add (scaled, shift)
    }
"""


def affine() -> GraphFunction:
    return load(onnx.parser.parse_model(TEXT))


def test_all_weights_are_found_trained_and_restored(tmp_path: Path) -> None:
    function = affine()
    assert {v.ref() for v in function.trainable_variables} == {v.ref() for v in function.weights.values()}
    x = tf.constant([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(function({"x": x})["y"] ** 2)
    for variable, gradient in zip(
        function.trainable_variables, tape.gradient(loss, function.trainable_variables), strict=True
    ):
        variable.assign_sub(0.01 * gradient)
    path = tf.train.Checkpoint(model=function).save(str(tmp_path / "trained"))
    other = affine()
    tf.train.Checkpoint(model=other).restore(path).assert_consumed()
    np.testing.assert_array_equal(other({"x": x})["y"], function({"x": x})["y"])
    assert not np.array_equal(other({"x": x})["y"], affine()({"x": x})["y"])
