"""Quantised operators against onnxruntime, bit for bit but for one unit where a sum lies between two."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.converters.function.nodes import agrees, computed, normal, one_node


def _f(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def _bytes(seed: int, *shape: int, dtype: type = np.uint8) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape).astype(dtype)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("by_channel", [False, True])
def test_convolution(group: int, by_channel: bool) -> None:
    w = _bytes(1, 4, 4 // group, 3, 3, dtype=np.int8)
    scale = np.abs(normal(2, 4)) * 0.01 + 0.001 if by_channel else _f(0.01)
    zero = np.zeros(4, np.int8) if by_channel else np.int8(3)
    bias = np.array([900, -700, 30, 0], np.int32)
    inputs = [_bytes(0, 1, 4, 7, 8), _f(0.02), np.uint8(100), w, scale, zero, _f(0.5), np.uint8(90), bias]
    options = {"pads": [1, 0, 1, 2], "strides": [1, 2], "group": group}
    agrees("QLinearConv", inputs, 10, constant=range(1, 9), atol=1, **options)


def test_matrix_product() -> None:
    zeros = [np.uint8(100), np.uint8(120), np.uint8(118)]
    inputs = [_bytes(0, 3, 4), _f(0.02), zeros[0], _bytes(1, 4, 5), _f(0.01), zeros[1], _f(0.02), zeros[2]]
    agrees("QLinearMatMul", inputs, 10, atol=1)


@pytest.mark.parametrize("axis", [0, 1])
def test_scales_along_an_axis(axis: int) -> None:
    count = (3, 4)[axis]
    scale, zero = np.abs(normal(1, count)) + 0.1, _bytes(2, count, dtype=np.int8)
    agrees("QuantizeLinear", [normal(0, 3, 4) * 30, scale, zero], 13, axis=axis)
    agrees("DequantizeLinear", [_bytes(3, 3, 4, dtype=np.int8), scale, zero], 13, axis=axis)


def test_scales_of_blocks() -> None:
    x, scale = normal(0, 2, 6) * 10, np.abs(normal(1, 2, 3)) + 0.1
    zero = np.zeros((2, 3), np.int8)
    (got,) = computed(one_node("QuantizeLinear", [x, scale, zero], 21, axis=1, block_size=2), [x, scale, zero])
    wanted = np.clip(np.rint(x / scale.repeat(2, 1)), -128, 127)
    np.testing.assert_array_equal(got, wanted.astype(np.int8))
    back = [got, scale, zero]
    (again,) = computed(one_node("DequantizeLinear", back, 21, axis=1, block_size=2), back)
    np.testing.assert_allclose(again, got * scale.repeat(2, 1), rtol=1e-6)


@pytest.mark.parametrize("kind", ["int4", "uint4", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"])
def test_narrow_types_go_there_and_back(kind: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, kind))
    x, scale, zero = np.array([-9, -1.2, 0, 0.4, 2.5, 3, 900], np.float32), _f(0.5), np.zeros((), dtype)
    (got,) = computed(one_node("QuantizeLinear", [x, scale, zero], 24, constant=(2,)), [x, scale, zero])
    assert got.dtype == dtype
    if dtype.kind == "i" or "int" in kind:
        low, high = ml_dtypes.iinfo(dtype).min, ml_dtypes.iinfo(dtype).max
        wanted = np.clip(np.rint(x / scale), low, high)
    else:
        wanted = np.clip(x / scale, ml_dtypes.finfo(dtype).min, ml_dtypes.finfo(dtype).max).astype(dtype)
    np.testing.assert_array_equal(got.astype(np.float32), wanted.astype(np.float32))


def test_the_range_may_be_found_while_running() -> None:
    agrees("DynamicQuantizeLinear", [normal(0, 3, 4)], 11, outputs=3)
