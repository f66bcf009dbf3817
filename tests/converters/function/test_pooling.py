"""Pools against onnxruntime over a grid of kernels, pads, strides, dilations and ceil_mode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.function.nodes import agrees, computed, normal, one_node

_WINDOWS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 10), {"kernel_shape": [3], "strides": [2], "pads": [1, 0], "ceil_mode": 1}),
    ((2, 3, 9, 10), {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [0, 1, 1, 2], "ceil_mode": 1}),
    ((2, 3, 9, 10), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((2, 3, 9, 10), {"kernel_shape": [3, 3], "strides": [3, 3], "ceil_mode": 1}),
    ((2, 3, 10, 11), {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [2, 3]}),
    ((1, 2, 7, 8, 9), {"kernel_shape": [2, 3, 2], "strides": [2, 1, 2], "pads": [1, 1, 0, 0, 2, 1], "ceil_mode": 1}),
]
_SAME: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9, 10), {"kernel_shape": [3, 2], "strides": [2, 1], "auto_pad": "SAME_UPPER"}),
    ((2, 3, 9, 10), {"kernel_shape": [2, 3], "strides": [1, 2], "auto_pad": "SAME_LOWER"}),
    ((2, 3, 9, 10), {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "VALID"}),
]


@pytest.mark.parametrize(("x", "window"), [*_WINDOWS, *_SAME], ids=str)
def test_largest_and_where_it_was(x: tuple[int, ...], window: dict[str, Any]) -> None:
    agrees("MaxPool", [normal(0, *x)], 12, **window)
    order = int(len(x) > 3)  # of one axis onnxruntime takes only rows
    agrees("MaxPool", [normal(0, *x)], 12, outputs=2, storage_order=order, **window)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize(("x", "window"), [*_WINDOWS, *_SAME], ids=str)
def test_average_with_and_without_the_padding(x: tuple[int, ...], window: dict[str, Any], include: int) -> None:
    agrees("AveragePool", [normal(0, *x)], 19, count_include_pad=include, **window)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize(("x", "window"), _WINDOWS[1::3], ids=str)
def test_p_norm(x: tuple[int, ...], window: dict[str, Any], p: int) -> None:
    agrees("LpPool", [normal(0, *x)], 18, p=p, **window)


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_whole_images(operator: str) -> None:
    agrees(operator, [normal(0, 2, 3, 4, 5)], 2)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.float16, np.float64])
def test_largest_of_every_type(dtype: type) -> None:
    x = np.random.default_rng(0).integers(0, 99, (1, 2, 6, 6)).astype(dtype)
    (got,) = computed(one_node("MaxPool", [x], 22, kernel_shape=[2, 2], strides=[2, 2]), [x])
    np.testing.assert_array_equal(got, x.reshape(1, 2, 3, 2, 3, 2).max((3, 5)))
    assert got.dtype == dtype


def test_unpooling_puts_the_largest_back() -> None:
    x = normal(0, 1, 2, 6, 6)
    values, places = computed(one_node("MaxPool", [x], 12, outputs=2, kernel_shape=[2, 2], strides=[2, 2]), [x])
    agrees("MaxUnpool", [values, places], 11, kernel_shape=[2, 2], strides=[2, 2])
