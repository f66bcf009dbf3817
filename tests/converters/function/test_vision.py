"""Sampling between cells, regions of interest, suppression of boxes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from converters.function import load
from tests.converters.function.nodes import agrees, normal, one_node


@pytest.mark.parametrize("outside", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("aligned", [0, 1])
def test_grid_sample(mode: str, outside: str, aligned: int) -> None:
    grid = np.random.default_rng(0).uniform(-1.4, 1.4, (2, 3, 4, 2)).astype(np.float32)
    options = {"mode": mode, "padding_mode": outside, "align_corners": aligned}
    agrees("GridSample", [normal(0, 2, 3, 4, 5), grid], 20, atol=1e-4, **options)


def test_grid_sample_in_three_axes() -> None:
    grid = np.random.default_rng(0).uniform(-1.2, 1.2, (1, 2, 3, 4, 3)).astype(np.float32)
    agrees("GridSample", [normal(0, 1, 2, 4, 5, 6), grid], 20, atol=1e-4)


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("way", ["half_pixel", "output_half_pixel"])
def test_regions_are_averaged(samples: int, way: str) -> None:
    regions = np.array([[0, 0, 5, 5], [2, 1, 8, 7.5], [3, 3, 3.2, 9]], np.float32)
    options = {"sampling_ratio": samples, "output_height": 2, "output_width": 3, "spatial_scale": 0.9}
    inputs = [normal(0, 2, 3, 9, 9), regions, np.array([0, 1, 0])]
    agrees("RoiAlign", inputs, 16, coordinate_transformation_mode=way, **options)


def test_largest_of_regions() -> None:
    regions = np.array([[0, 0, 0, 5, 5], [1, 2, 1, 8, 7], [0, 3, 3, 3, 3]], np.float32)
    agrees("MaxRoiPool", [normal(0, 2, 3, 9, 9), regions], 1, pooled_shape=[2, 3], spatial_scale=0.8)


@pytest.mark.parametrize("centre", [0, 1])
def test_boxes_that_overlap_are_suppressed(centre: int) -> None:
    generator = np.random.default_rng(0)
    corner = generator.uniform(0, 1, (2, 20, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + generator.uniform(0.1, 0.5, (2, 20, 2)).astype(np.float32)], -1)
    scores = generator.uniform(0, 1, (2, 3, 20)).astype(np.float32)
    limits = [np.array([4]), np.array([0.3], np.float32), np.array([0.2], np.float32)]
    agrees("NonMaxSuppression", [boxes, scores, *limits], 11, center_point_box=centre)


def test_deformable_convolution_without_offsets_is_a_convolution_and_has_gradients() -> None:
    x, w = normal(0, 1, 2, 4, 3, dtype=np.float64), normal(1, 2, 2, 2, 2, dtype=np.float64)
    offset = np.zeros((1, 8, 3, 2))
    function = load(one_node("DeformConv", [x, w, offset], 19))
    plain = load(one_node("Conv", [x, w], 11))
    fed = {"i0": x, "i1": w}
    np.testing.assert_allclose(function({**fed, "i2": offset})["o0"], plain(fed)["o0"], rtol=1e-5, atol=1e-6)
    moved = offset + 0.3
    traced = tf.function(lambda a: function({**fed, "i2": a})["o0"])
    exact, numerical = tf.test.compute_gradient(traced, [moved], delta=1e-4)
    np.testing.assert_allclose(exact[0], numerical[0], rtol=1e-4, atol=1e-5)
