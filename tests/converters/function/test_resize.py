"""Resize against onnxruntime over modes and transformations; its older forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.function.nodes import agrees, computed, normal, one_node

_WAYS = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("size", [(3, 11), (9, 2)], ids=str)
def test_sizes(mode: str, way: str, size: tuple[int, int]) -> None:
    inputs = [normal(0, 1, 2, 5, 5), None, None, np.array([1, 2, *size])]
    agrees("Resize", inputs, 13, constant=(3,), mode=mode, coordinate_transformation_mode=way, atol=1e-4)


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("way", _WAYS[:2])
def test_scales_and_roundings(rounding: str, way: str) -> None:
    inputs = [normal(0, 1, 2, 5, 4), None, np.array([1, 1, 2, 0.5], np.float32)]
    agrees("Resize", inputs, 13, constant=(2,), nearest_mode=rounding, coordinate_transformation_mode=way)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias_widens_the_filter(mode: str) -> None:
    inputs = [normal(0, 1, 2, 9, 8), None, None, np.array([1, 2, 4, 10])]
    agrees("Resize", inputs, 18, constant=(3,), mode=mode, antialias=1, exclude_outside=1, atol=1e-4)


def test_cubic_may_leave_out_what_lies_outside() -> None:
    inputs = [normal(0, 1, 2, 5, 5), None, None, np.array([1, 2, 8, 3])]
    agrees("Resize", inputs, 13, constant=(3,), mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1, atol=1e-4)


def test_a_region_is_cropped_and_resized() -> None:
    region = np.array([0, 0, 0.1, -0.2, 1, 1, 0.8, 1.1], np.float32)
    inputs = [normal(0, 1, 2, 7, 5), region, None, np.array([1, 2, 4, 6])]
    options = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    agrees("Resize", inputs, 13, constant=(1, 3), **options)


@pytest.mark.parametrize(("policy", "shape"), [("not_larger", (1, 1, 6, 3)), ("not_smaller", (1, 1, 12, 6))])
def test_the_aspect_ratio_may_be_kept(policy: str, shape: tuple[int, ...]) -> None:
    inputs = [normal(0, 1, 1, 4, 2), None, None, np.array([12, 3])]
    options: dict[str, Any] = {"axes": [2, 3], "keep_aspect_ratio_policy": policy, "mode": "linear"}
    agrees("Resize", inputs, 18, constant=(3,), **options)
    assert computed(one_node("Resize", inputs, 18, **options), inputs)[0].shape == shape


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 1.5, 2.4), (1, 1, 0.6, 0.6)], ids=str)
def test_resize_of_opset_10(mode: str, scales: tuple[float, ...]) -> None:
    agrees("Resize", [normal(0, 1, 2, 4, 5), np.array(scales, np.float32)], 10, constant=(1,), mode=mode)


def test_upsample_had_attributes_and_then_an_input() -> None:
    x = normal(0, 1, 2, 4, 5)
    agrees("Upsample", [x], 7, scales=[1.0, 1.0, 2.0, 3.0], mode="nearest")
    agrees("Upsample", [x, np.array([1, 1, 2, 3], np.float32)], 9, constant=(1,), mode="linear")
    (got,) = computed(one_node("Upsample", [x], 1, height_scale=2.0, width_scale=3.0), [x])
    np.testing.assert_array_equal(got, x.repeat(2, 2).repeat(3, 3))


def test_elements_of_any_type_can_be_repeated() -> None:
    x, scales = np.array([["a", "b"]], dtype=object), np.array([1, 2], np.float32)
    (got,) = computed(one_node("Resize", [x, None, scales], 13, constant=(2,)), [x, None, scales])
    assert got.tolist() == [["a", "a", "b", "b"]]
