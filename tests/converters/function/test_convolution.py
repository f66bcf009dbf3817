"""Convolutions against onnxruntime over a grid of pads, strides, dilations and groups, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from converters.function import load
from tests.converters.function.nodes import agrees, computed, normal, one_node

#: shape of x, shape of w, attributes
_CONVOLUTIONS = [
    ((2, 4, 11), (6, 4, 3), {"pads": [2, 1], "strides": [2], "dilations": [2]}),
    ((2, 4, 11), (4, 1, 3), {"pads": [1, 0], "strides": [2], "group": 4}),
    ((2, 3, 9, 10), (4, 3, 3, 2), {"pads": [0, 1, 2, 3], "strides": [2, 3]}),
    ((2, 3, 9, 10), (4, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((2, 3, 9, 10), (4, 3, 3, 2), {"auto_pad": "SAME_LOWER", "strides": [3, 1]}),
    ((2, 3, 9, 10), (4, 3, 3, 2), {"auto_pad": "VALID", "dilations": [2, 3]}),
    ((2, 3, 9, 10), (4, 3, 3, 2), {"pads": [1, 1, 1, 1], "strides": [2, 2], "dilations": [2, 2]}),
    ((2, 4, 9, 10), (6, 2, 3, 3), {"pads": [1, 1, 1, 1], "group": 2}),
    ((2, 4, 9, 10), (6, 2, 3, 3), {"pads": [2, 2, 2, 2], "group": 2, "dilations": [2, 2]}),
    ((2, 4, 9, 10), (8, 1, 3, 3), {"pads": [1, 0, 2, 1], "group": 4, "strides": [2, 2]}),
    ((2, 4, 9, 10), (4, 1, 3, 3), {"pads": [1, 1, 1, 1], "group": 4, "strides": [1, 2]}),
    ((2, 4, 9, 10), (4, 1, 3, 3), {"pads": [2, 2, 1, 2], "group": 4, "dilations": [2, 2]}),
    ((1, 3, 5, 6, 7), (4, 3, 2, 3, 3), {"pads": [0, 1, 1, 1, 1, 0], "strides": [1, 2, 1]}),
    ((1, 4, 6, 6, 7), (4, 2, 2, 2, 3), {"group": 2, "dilations": [2, 1, 2]}),
    ((1, 2, 6, 7, 9), (4, 2, 2, 2, 3), {"dilations": [1, 2, 3]}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), _CONVOLUTIONS, ids=str)
def test_convolution(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    agrees("Conv", [normal(0, *x), normal(1, *w), normal(2, w[0])], 11, constant=(1, 2), atol=1e-4, **attributes)


@pytest.mark.parametrize(
    ("x", "w", "attributes"),
    [
        ((2, 3, 5), (3, 4, 3), {"strides": [2], "pads": [1, 0], "output_padding": [1]}),
        ((2, 3, 4, 5), (3, 2, 3, 3), {"strides": [2, 3], "pads": [1, 0, 0, 1]}),
        ((2, 3, 4, 5), (3, 2, 3, 3), {"strides": [2, 2], "output_shape": [8, 10]}),
        ((2, 4, 4, 5), (4, 1, 3, 3), {"strides": [2, 2], "group": 4, "pads": [1, 1, 1, 1]}),
        ((2, 4, 4, 5), (4, 3, 2, 3), {"strides": [1, 2], "group": 2}),
        ((2, 3, 4, 5), (3, 2, 3, 2), {"dilations": [2, 3]}),
        ((1, 2, 3, 3, 4), (2, 2, 2, 3, 2), {"strides": [2, 1, 2], "pads": [0, 1, 0, 1, 1, 1]}),
    ],
    ids=str,
)
def test_transposed_convolution(x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]) -> None:
    channels = w[1] * attributes.get("group", 1)
    inputs = [normal(0, *x), normal(1, *w), normal(2, channels)]
    agrees("ConvTranspose", inputs, 11, constant=(1, 2), atol=1e-4, **attributes)


def test_sizes_of_transposed_convolutions_may_follow_the_input() -> None:
    # onnxruntime has another rule for auto_pad here than ONNX: the result is as many times longer as the strides say.
    x, w = normal(0, 1, 2, 4, 5), normal(1, 2, 3, 3, 3)
    (got,) = computed(one_node("ConvTranspose", [x, w], 11, auto_pad="SAME_UPPER", strides=[2, 3]), [x, w])
    assert got.shape == (1, 3, 8, 15)


@pytest.mark.parametrize("group", [1, 2])
def test_integer_convolution_subtracts_the_zero_points(group: int) -> None:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 255, (1, 4, 7, 8)).astype(np.uint8)
    w = generator.integers(0, 255, (4, 4 // group, 3, 3)).astype(np.uint8)
    inputs = [x, w, np.uint8(7), np.uint8(3)]
    agrees("ConvInteger", inputs, 10, constant=(1, 2, 3), pads=[1, 0, 1, 2], group=group, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("operator", "x", "w", "attributes"),
    [
        ("Conv", (1, 2, 5, 4), (2, 2, 3, 2), {"pads": [1, 0, 1, 1], "strides": [2, 1]}),
        ("Conv", (1, 2, 5, 5), (2, 1, 2, 2), {"group": 2, "dilations": [2, 2]}),
        ("Conv", (1, 4, 4, 4), (4, 2, 2, 2), {"group": 2}),
        ("Conv", (1, 2, 4, 3, 3), (2, 2, 2, 2, 2), {"dilations": [2, 1, 1]}),
        ("ConvTranspose", (1, 2, 3, 3), (2, 2, 3, 2), {"strides": [2, 1], "pads": [1, 0, 0, 1]}),
        ("ConvTranspose", (1, 2, 3, 3), (2, 1, 2, 2), {"group": 2, "strides": [2, 2]}),
    ],
    ids=str,
)
def test_gradients_equal_numerical_ones(
    operator: str, x: tuple[int, ...], w: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    inputs = [normal(0, *x, dtype=np.float64), normal(1, *w, dtype=np.float64)]
    function = load(one_node(operator, inputs, 11, **attributes))
    exact, numerical = tf.test.compute_gradient(lambda a, b: function({"i0": a, "i1": b})["o0"], inputs)
    for own, wanted in zip(exact, numerical, strict=True):
        np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attributes", [{"group": 2}, {"group": 2, "dilations": [2, 2]}, {"group": 4, "pads": [1] * 4}])
def test_weights_are_variables_with_the_same_gradient_in_single_precision(attributes: dict[str, Any]) -> None:
    x, w = normal(0, 1, 4, 6, 6), normal(1, 4, 4 // attributes["group"], 3, 3)

    def gradient(dtype: type) -> np.ndarray:
        inputs = [x.astype(dtype), w.astype(dtype)]
        function = load(one_node("Conv", inputs, 11, constant=(1,), **attributes))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(function({"i0": inputs[0]})["o0"]))
        return tape.gradient(loss, function.weights["i1"]).numpy()

    np.testing.assert_allclose(gradient(np.float32), gradient(np.float64), rtol=1e-3, atol=1e-3)
