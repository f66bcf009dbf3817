"""Casts: to types that TensorFlow has no kernels for, to and from strings, and bit by bit."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
import tensorflow as tf

from converters.function.casting import bit_cast, cast_to
from converters.function.values import NARROW, Narrow, as_numpy, as_tensor, narrow

FLOAT8 = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz]
NARROW_FLOATS = [*FLOAT8, ml_dtypes.float4_e2m1fn, ml_dtypes.float6_e2m3fn, ml_dtypes.float6_e3m2fn]


def cast(array: Any, dtype: Any, *options: Any) -> np.ndarray:
    """Cast eagerly and under `tf.function`; both must agree to the bit."""
    eager = cast_to(array, np.dtype(dtype), *options)
    kept: list[Any] = []

    def body(tensor: tf.Tensor) -> tf.Tensor:
        given = Narrow(tensor, array.dtype) if array.dtype in NARROW else tensor
        made = cast_to(given, np.dtype(dtype), *options)
        kept.append(made.dtype if isinstance(made, Narrow) else None)
        return as_tensor(made)

    traced = tf.function(body, autograph=False)(as_tensor(array))
    result = as_numpy(eager)
    again = as_numpy(Narrow(traced, kept[-1]) if kept[-1] else traced)
    plain = np.float64 if again.dtype in NARROW else again.dtype  # NumPy cannot compare NaN of narrow types
    np.testing.assert_array_equal(again.astype(plain), result.astype(plain))
    return result


def every_half() -> np.ndarray:
    """All float16 numbers but NaN, as float32, and the middles between neighbours."""
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    numbers = np.unique(numbers[np.isfinite(numbers)])
    return np.concatenate([numbers, (numbers[1:] + numbers[:-1]) / 2])


@pytest.mark.parametrize("dtype", NARROW_FLOATS, ids=lambda dtype: dtype.__name__)
def test_narrow_floats_round_as_ml_dtypes_within_their_range(dtype):
    numbers = every_half()
    numbers = numbers[np.abs(numbers) <= float(ml_dtypes.finfo(dtype).max)]
    expected = numbers.astype(dtype)
    made = cast(numbers, dtype)
    assert made.dtype == expected.dtype
    np.testing.assert_array_equal(made.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize("dtype", FLOAT8, ids=lambda dtype: dtype.__name__)
def test_float8_saturates_or_not_as_onnx_tabulates(dtype):
    highest = float(ml_dtypes.finfo(dtype).max)
    beyond = np.array([np.inf, -np.inf, 1e6, -1e6, np.nan], np.float32)
    saturated = cast(beyond, dtype, True).astype(np.float32)
    np.testing.assert_array_equal(saturated, np.array([highest, -highest, highest, -highest, np.nan], np.float32))
    open_ended = cast(beyond, dtype, False).astype(np.float32)
    lost = np.inf if dtype is ml_dtypes.float8_e5m2 else np.nan
    np.testing.assert_array_equal(open_ended, np.array([lost, -lost, lost, -lost, np.nan], np.float32))


def test_formats_without_a_negative_zero_have_none():
    made = cast(np.array([-0.0, -1e-9], np.float32), ml_dtypes.float8_e4m3fnuz)
    np.testing.assert_array_equal(made.view(np.uint8), [0, 0])


def test_doubles_are_rounded_once():
    # Rounded to float32 first, this would be a tie, and go to the even neighbour below.
    above = np.array([1.0625 + 2.0**-40])
    assert float(cast(above, ml_dtypes.float8_e4m3fn)[0]) == 1.125


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("up", [1, 2, 2, 4, 4, 2.0**-127]), ("down", [1, 1, 1, 2, 2, 2.0**-127]), ("nearest", [1, 1, 2, 2, 4, 2.0**-127])],
)
def test_powers_of_two_round_by_their_mode(mode, expected):
    numbers = np.array([1.0, 1.25, 1.5, 2.5, 3.0, 0.0], np.float32)
    np.testing.assert_array_equal(cast(numbers, ml_dtypes.float8_e8m0fnu, True, mode).astype(np.float64), expected)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (ml_dtypes.int4, [7, -8, -1, 1, -1, 1]),
        (ml_dtypes.uint4, [7, 8, 15, 1, 15, 1]),
        (ml_dtypes.int2, [-1, 0, -1, 1, -1, 1]),
        (ml_dtypes.uint2, [3, 0, 3, 1, 3, 1]),
    ],
)
def test_small_integers_discard_higher_bits(dtype, expected):
    for source in (np.int32, np.int64, np.float32, np.float64):
        made = cast(np.array([7, 8, -1, 17, 255, 1], source), dtype)
        np.testing.assert_array_equal(made.astype(np.int32), expected)


@pytest.mark.parametrize("to", [np.float32, np.float16, np.int32, bool])
def test_narrow_types_cast_back(to):
    numbers = np.array([0, 1, -2, 3], np.float32)
    for dtype in (ml_dtypes.int4, ml_dtypes.float8_e4m3fn, ml_dtypes.float4_e2m1fn):
        np.testing.assert_array_equal(cast(numbers.astype(dtype), to), numbers.astype(to))


def test_integers_wrap():
    np.testing.assert_array_equal(cast(np.array([200, 70000], np.int32), np.int8), [-56, 112])


def test_truth_is_what_is_not_zero():
    numbers = np.array([0.0, -0.0, 0.5, np.nan, np.inf], np.float32)
    np.testing.assert_array_equal(cast(numbers, bool), [False, False, True, True, True])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_numbers_as_text_read_back_the_same(dtype):
    numbers = np.array([0.1, 1.0, -2.5, 3.14159265358979, 1e-7, 1e20, 65504.0, 1 / 3], np.float64).astype(dtype)
    numbers = numbers[np.isfinite(numbers.astype(np.float64))]
    text = cast(numbers, object)
    assert all(isinstance(item, str) for item in text)
    np.testing.assert_array_equal(np.array([float(item) for item in text]).astype(dtype), numbers)
    assert text[1] == "1.0"


def test_text_becomes_numbers():
    words = np.array(["3.5", " -1e-3", "+INF", "-inf", "NaN", "1E8"], dtype=object)
    np.testing.assert_allclose(cast(words, np.float32), [3.5, -1e-3, np.inf, -np.inf, np.nan, 1e8])
    np.testing.assert_array_equal(cast(np.array(["12", "-7"], dtype=object), np.int64), [12, -7])
    np.testing.assert_array_equal(cast(np.array([1, -7]), object), ["1", "-7"])


@pytest.mark.parametrize("dtype", [dtype for dtype in sorted(NARROW, key=str) if "float6" not in dtype.name], ids=str)
def test_bit_patterns_of_every_narrow_type_survive(dtype):
    kind = {2: ml_dtypes.uint2, 4: ml_dtypes.uint4}.get(ir.DataType.from_numpy(dtype).bitwidth, np.uint8)
    bits = np.arange(1 << ir.DataType.from_numpy(dtype).bitwidth, dtype=np.uint8).astype(kind)
    there = bit_cast(narrow(bits), to=int(ir.DataType.from_numpy(dtype)))
    assert as_numpy(there).dtype == dtype
    back = as_numpy(bit_cast(there, to=int(ir.DataType.from_numpy(np.dtype(kind)))))
    numbers = as_numpy(there).astype(np.float64)
    known = ~np.isnan(numbers)  # formats have several NaN; any one of them comes back
    np.testing.assert_array_equal(back[known].astype(np.int32), bits[known].astype(np.int32))


def test_bit_patterns_of_plain_types_are_numpy_s():
    numbers = np.array([1.5, -0.0, np.inf], np.float32)
    bits = as_numpy(bit_cast(tf.constant(numbers), to=int(ir.DataType.INT32)))
    np.testing.assert_array_equal(bits, numbers.view(np.int32))


def test_a_bit_cast_to_another_width_is_refused():
    with pytest.raises(ValueError, match="float32 has 32, int64 has 64"):
        bit_cast(tf.ones(2), to=int(ir.DataType.INT64))
