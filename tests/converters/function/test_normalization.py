"""Normalisation in all its versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.function import load
from tests.converters.function.nodes import agrees, computed, normal, one_node


def _statistics(channels: int = 3) -> list[np.ndarray]:
    return [normal(1, channels), normal(2, channels), normal(3, channels), np.abs(normal(4, channels)) + 0.1]


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5)], ids=str)
def test_batch_normalisation_at_inference(opset: int, shape: tuple[int, ...]) -> None:
    agrees("BatchNormalization", [normal(0, *shape), *_statistics()], opset, epsilon=1e-3)


def test_batch_normalisation_in_training_moves_the_averages() -> None:
    inputs = [normal(0, 2, 3, 4, 5), *_statistics()]
    agrees("BatchNormalization", inputs, 15, outputs=3, training_mode=1, momentum=0.7)


@pytest.mark.parametrize("opset", [1, 6])
def test_batch_normalisation_trained_where_five_outputs_were_asked_for(opset: int) -> None:
    inputs = [normal(0, 2, 3, 4, 5), *_statistics()]
    made = computed(one_node("BatchNormalization", inputs, opset, outputs=5, momentum=0.7), inputs)
    x, scale, bias, mean, variance = inputs
    own_mean, own_variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    spread = np.sqrt(own_variance + 1e-5)[:, None, None]
    wanted = (x - own_mean[:, None, None]) / spread * scale[:, None, None] + bias[:, None, None]
    np.testing.assert_allclose(made[0], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made[1], 0.7 * mean + 0.3 * own_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made[2], 0.7 * variance + 0.3 * own_variance, rtol=1e-5, atol=1e-6)


def test_each_place_has_its_own_statistics_where_not_spatial() -> None:
    x = normal(0, 2, 3, 4)
    inputs = [x, *(np.abs(normal(n, 3, 4)) + 0.1 for n in range(1, 5))]
    (got,) = computed(one_node("BatchNormalization", inputs, 7, spatial=0), inputs)
    _, scale, bias, mean, variance = inputs
    np.testing.assert_allclose(got, (x - mean) / np.sqrt(variance + 1e-5) * scale + bias, rtol=1e-4, atol=1e-5)


def test_moving_averages_are_variables_that_are_not_trained() -> None:
    inputs = [normal(0, 2, 3, 4, 5), *_statistics()]
    function = load(one_node("BatchNormalization", inputs, 15, constant=(1, 2, 3, 4)))
    assert {name: variable.trainable for name, variable in function.weights.items()} == {
        "i1": True,
        "i2": True,
        "i3": False,
        "i4": False,
    }


@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_normalisation_from_an_axis_on(axis: int) -> None:
    behind = (2, 3, 4)[axis:]
    agrees("LayerNormalization", [normal(0, 2, 3, 4), normal(1, *behind), normal(2, *behind)], 17, axis=axis, outputs=3)
    agrees("LayerNormalization", [normal(0, 2, 3, 4), normal(1, *behind), normal(2, *behind)], 17, axis=axis)


@pytest.mark.parametrize(("opset", "count", "shape"), [(18, 3, (2, 6, 4)), (21, 6, (2, 6, 4, 5))])
def test_group_normalisation_has_a_scale_each_group_and_later_each_channel(
    opset: int, count: int, shape: tuple[int, ...]
) -> None:
    agrees("GroupNormalization", [normal(0, *shape), normal(1, count), normal(2, count)], opset, num_groups=3)


@pytest.mark.parametrize(
    ("operator", "opset", "inputs", "attributes"),
    [
        ("InstanceNormalization", 6, [(2, 3, 4), (3,), (3,)], {}),
        ("LRN", 13, [(2, 6, 4, 5)], {"size": 5, "alpha": 0.1, "beta": 0.6, "bias": 1.5}),
        ("LpNormalization", 1, [(2, 3, 4)], {"p": 1, "axis": 1}),
        ("MeanVarianceNormalization", 13, [(2, 3, 4, 5)], {}),
    ],
)
def test_others(operator: str, opset: int, inputs: list[tuple[int, ...]], attributes: dict[str, Any]) -> None:
    agrees(operator, [normal(n, *shape) for n, shape in enumerate(inputs)], opset, **attributes)


@pytest.mark.parametrize("size", [2, 4])
def test_an_even_neighbourhood_reaches_one_channel_further_up(size: int) -> None:
    x = normal(0, 2, 6, 4, 5)
    (got,) = computed(one_node("LRN", [x], 13, size=size, alpha=0.1, beta=0.6, bias=1.5), [x])
    low, high = (size - 1) // 2, size // 2
    squares = [np.square(x[:, max(0, c - low) : c + high + 1]).sum(1) for c in range(6)]
    np.testing.assert_allclose(got, x / (1.5 + 0.1 / size * np.stack(squares, 1)) ** 0.6, rtol=1e-4)
