"""Arithmetic, comparison and activations in the versions and types that ONNX's own suite leaves out."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.converters.function.nodes import agrees, computed, normal, one_node


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Pow"])
def test_axis_says_where_the_second_shape_belongs_before_opset_7(operator: str) -> None:
    a, b = np.abs(normal(0, 2, 3, 4)) + 1, np.abs(normal(1, 3)) + 1
    (got,) = computed(one_node(operator, [a, b], 6, axis=1, broadcast=1), [a, b])
    function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power}[operator]
    np.testing.assert_allclose(got, function(a, b[:, None]), rtol=1e-6)


def test_comparisons_broadcast_from_an_axis_before_opset_7() -> None:
    a, b = normal(0, 2, 3, 4), normal(1, 3)
    (got,) = computed(one_node("Greater", [a, b], 1, axis=1, broadcast=1), [a, b])
    np.testing.assert_array_equal(got, a > b[:, None])


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.uint16])
@pytest.mark.parametrize("fmod", [0, 1])
def test_mod_of_integers_has_the_sign_that_fmod_says(dtype: Any, fmod: int) -> None:
    low = 0 if np.dtype(dtype).kind == "u" else -20
    a = np.random.default_rng(0).integers(low, 20, (4, 5)).astype(dtype)
    b = np.random.default_rng(1).integers(1, 7, (4, 5)).astype(dtype)
    agrees("Mod", [a, b], 13, fmod=fmod)


@pytest.mark.parametrize("base", [np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("exponent", [np.int32, np.float32])
def test_pow_takes_an_exponent_of_another_type(base: Any, exponent: Any) -> None:
    agrees("Pow", [np.array([1, 2, 3, -2], base), np.array([2, 3, 1, 2], exponent)], 13)


def test_clip_had_attributes_before_opset_11_and_inputs_after() -> None:
    x = normal(0, 3, 4)
    agrees("Clip", [x], 6, min=-0.3, max=0.5)
    agrees("Clip", [x, np.float32(-0.2), None], 11)
    agrees("Clip", [x, None, np.float32(0.2)], 13, constant=(2,))
    agrees("Clip", [np.arange(-6, 6), np.int64(-2), np.int64(3)], 12)


@pytest.mark.parametrize("shift", [("LEFT", [2, 4, 0, 0]), ("RIGHT", [0, 0, 0, 0])])
def test_bits_shifted_beyond_the_type_are_gone(shift: tuple[str, list[int]]) -> None:
    direction, expected = shift
    x, y = np.array([1, 1, 1, 1], np.uint8), np.array([1, 2, 8, 200], np.uint8)
    (got,) = computed(one_node("BitShift", [x, y], 11, direction=direction), [x, y])
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(("opset", "axis"), [(1, 0), (1, 2), (11, -2), (12, 1), (13, 1), (13, -1)])
def test_softmax_flattens_from_its_axis_on_before_opset_13(operator: str, opset: int, axis: int) -> None:
    agrees(operator, [normal(0, 2, 3, 4, 5)], opset, axis=axis)


@pytest.mark.parametrize(
    ("operator", "opset", "attributes"),
    [
        ("Celu", 12, {"alpha": 0.7}),
        ("Elu", 6, {"alpha": 0.5}),
        ("Gelu", 20, {"approximate": "tanh"}),
        ("HardSigmoid", 6, {"alpha": 0.3, "beta": 0.4}),
        ("HardSwish", 14, {}),
        ("LeakyRelu", 6, {"alpha": 0.2}),
        ("Mish", 18, {}),
        ("Selu", 6, {}),
        ("Shrink", 9, {"lambd": 0.3, "bias": 0.2}),
        ("Softplus", 1, {}),
        ("ThresholdedRelu", 10, {"alpha": 0.3}),
    ],
)
def test_activations_with_their_parameters(operator: str, opset: int, attributes: dict[str, Any]) -> None:
    agrees(operator, [normal(0, 3, 4) * 3], opset, **attributes)


def test_prelu_has_one_slope_a_channel_before_opset_7() -> None:
    x, slope = normal(0, 2, 3, 4, 5), normal(1, 3)
    (got,) = computed(one_node("PRelu", [x, slope], 6), [x, slope])
    np.testing.assert_allclose(got, np.where(x < 0, slope[:, None, None] * x, x), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("operator", ["Sigmoid", "Erf", "Softmax", "Round", "Gelu"])
def test_every_float_type_keeps_its_type(operator: str, dtype: Any) -> None:
    x = normal(0, 3, 4)
    (wide,) = computed(one_node(operator, [x], 20), [x])
    (got,) = computed(one_node(operator, [x.astype(dtype)], 20), [x.astype(dtype)])
    assert got.dtype == dtype
    np.testing.assert_allclose(got.astype(np.float32), wide, rtol=0.03, atol=0.02)
