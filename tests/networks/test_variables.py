"""Variables of a network are like any others, however cheaply they were made."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from modelzoo import networks


@pytest.fixture(scope="module")
def model():
    return networks.build("mobilenet_v1", input_shape=(32, 32, 3), classes=3, width=0.25)


def test_shapes_are_known_outside_and_inside_functions(model):
    inside = tf.function(lambda: [weight.value.read_value() for weight in model.weights])
    found = inside.get_concrete_function().structured_outputs
    for weight, read in zip(model.weights, found, strict=True):
        assert weight.value.shape == read.shape == tuple(weight.shape)
        assert weight.value.shape.is_fully_defined()


def test_another_shape_is_refused(model):
    variable = model.weights[0].value
    before = variable.numpy()
    with pytest.raises(ValueError, match="Shape"):
        variable.assign(np.zeros((1, 2), np.float32))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        tf.function(lambda: variable.assign(tf.zeros((1, 2))))()
    assert np.array_equal(variable.numpy(), before)


def test_they_learn_in_steps_and_loops_of_tensorflow(model):
    variables = [weight.value for weight in model.trainable_weights]
    before = [variable.numpy() for variable in variables]
    x = tf.constant(np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32))

    @tf.function
    def steps():
        for _ in tf.range(2):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(x, training=True) ** 2)
            for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
                variable.assign_sub(0.01 * gradient)

    steps()
    moved = [not np.array_equal(a, b.numpy()) for a, b in zip(before, variables, strict=True)]
    assert sum(moved) > 0.9 * len(moved)
