"""Changing the element type: by value (Cast, CastLike) or by bit pattern (BitCast).

Types without TensorFlow kernels are computed in a wider one that holds each of their values (see `values.Narrow`).
Formats: the "Cast" operator of ONNX opset 28; arXiv:2209.05433 (float8), arXiv:2206.02915 (fnuz), OCP Microscaling
Formats 1.0 (float4, float6, e8m0).
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import tensorflow as tf

from converters.function.table import op
from converters.function.values import NARROW, Narrow, as_tensor, dtype_of, element_dtype, narrow, tf_dtype, widen

__all__ = ["cast_to"]

_INFINITE = np.dtype(ml_dtypes.float8_e5m2)
_POWERS = np.dtype(ml_dtypes.float8_e8m0fnu)
_NARROW_BITS = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4}
#: Narrow floats that hold neither infinities nor NaN: they always saturate.
_FINITE = tuple(np.dtype(item) for item in (ml_dtypes.float4_e2m1fn, ml_dtypes.float6_e2m3fn, ml_dtypes.float6_e3m2fn))


@op("Cast")
def cast_by_name(x: Any, *, to: str) -> Any:
    return cast_to(x, ir.DataType[to.upper()].numpy())


@op("Cast", since=6)
def cast(x: Any, *, to: int) -> Any:
    return cast_to(x, element_dtype(to))


@op("Cast", since=19)
def cast_19(x: Any, *, to: int, saturate: int = 1) -> Any:
    return cast_to(x, element_dtype(to), bool(saturate))


@op("Cast", since=24)
def cast_24(x: Any, *, to: int, saturate: int = 1, round_mode: str = "up") -> Any:
    return cast_to(x, element_dtype(to), bool(saturate), round_mode)


@op("CastLike", since=15)
def cast_like(x: Any, target: Any) -> Any:
    return cast_to(x, dtype_of(target))


@op("CastLike", since=19)
def cast_like_19(x: Any, target: Any, *, saturate: int = 1) -> Any:
    return cast_to(x, dtype_of(target), bool(saturate))


@op("CastLike", since=24)
def cast_like_24(x: Any, target: Any, *, saturate: int = 1, round_mode: str = "up") -> Any:
    return cast_to(x, dtype_of(target), bool(saturate), round_mode)


def cast_to(x: Any, dtype: np.dtype, saturate: bool = True, round_mode: str = "up") -> Any:
    """`x` with elements of type `dtype`, as the Cast operator says.

    Args:
        x: tensor, array or `Narrow`.
        dtype: NumPy type; ml_dtypes for narrow types, object for strings.
        saturate: whether numbers beyond a float8 become its largest one rather than NaN or infinity.
        round_mode: "up", "down" or "nearest", for float8e8m0 only.
    """
    dtype, own = np.dtype(dtype), dtype_of(x)
    tensor = as_tensor(widen(x))
    if own == dtype:
        return x
    if dtype.kind in "OUST":
        return _to_text(tensor, own)
    if tensor.dtype == tf.string:
        wide = tf.float64 if dtype.kind == "f" or dtype in NARROW or dtype == ml_dtypes.bfloat16 else tf.int64
        tensor = tf.strings.to_number(tf.strings.strip(tensor), wide)
    if dtype == bool:
        return tf.not_equal(tensor, tf.zeros((), tensor.dtype))
    if dtype not in NARROW:
        return tf.cast(tensor, tf_dtype(dtype))
    if dtype == _POWERS:
        values = _to_power(tensor, saturate, round_mode)
    elif NARROW[dtype].kind == "f":
        values = _to_narrow_float(tensor, dtype, saturate)
    else:
        values = _to_narrow_integer(tensor, dtype)
    return Narrow(values, dtype)


def _to_text(tensor: tf.Tensor, own: np.dtype) -> tf.Tensor:
    if own == bool:
        return tf.where(tensor, "True", "False")
    if not tensor.dtype.is_floating:
        return tf.as_string(tensor)
    # The shortest text that reads back as the same number.
    digits = {tf.float16: range(3, 6), tf.bfloat16: range(2, 5), tf.float32: range(6, 10)}
    wide = tf.float64 if tensor.dtype == tf.float64 else tf.float32
    number = tf.cast(tensor, wide)
    text = None
    for precision in reversed(digits.get(tensor.dtype, range(15, 18))):
        shorter = tf.as_string(number, precision=precision, shortest=True)
        back = tf.cast(tf.strings.to_number(shorter, wide), tensor.dtype)
        text = shorter if text is None else tf.where(back == tensor, shorter, text)
    # "1" is an integer's text; a float's has a point.
    return tf.where(tf.strings.regex_full_match(text, r"-?\d+"), tf.strings.join([text, ".0"]), text)


def _exponent(wide: tf.Tensor) -> tf.Tensor:
    """floor(log2 |x|) of float64 numbers, -1023 for zero and subnormal ones, 1024 for infinities and NaN."""
    bits = tf.bitcast(wide, tf.int64)
    return tf.bitwise.bitwise_and(tf.bitwise.right_shift(bits, tf.constant(52, tf.int64)), 0x7FF) - 1023


def _two_to(power: tf.Tensor) -> tf.Tensor:
    """2 ** power in float64, exactly, for -1022 <= power <= 1023."""
    return tf.bitcast(tf.bitwise.left_shift(power + 1023, tf.constant(52, tf.int64)), tf.float64)


def _to_narrow_float(tensor: tf.Tensor, dtype: np.dtype, saturate: bool) -> tf.Tensor:
    info = ml_dtypes.finfo(dtype)
    wide = tf.cast(tensor, tf.float64)
    power = tf.clip_by_value(_exponent(wide), int(info.minexp), 1000)
    step = _two_to(power - int(info.nmant))
    # tf.round goes to the even neighbour, and dividing by a power of two is exact.
    rounded = tf.round(wide / step) * step
    highest = float(info.max)
    limited = tf.clip_by_value(rounded, -highest, highest)
    if dtype in _FINITE:
        result = tf.where(tf.math.is_nan(wide), tf.constant(-0.0, tf.float64), limited)
    else:
        beyond = tf.abs(rounded) > highest
        if not saturate:
            lost = tf.sign(wide) * np.inf if dtype == _INFINITE else tf.fill(tf.shape(wide), np.float64(np.nan))
            limited = tf.where(beyond, lost, limited)
        result = tf.where(tf.math.is_nan(wide), wide, limited)
    if "uz" in dtype.name:
        result = tf.where(result == 0, tf.zeros_like(result), result)  # these have no negative zero
    return tf.cast(result, tf.float32)


def _to_power(tensor: tf.Tensor, saturate: bool, round_mode: str) -> tf.Tensor:
    wide = tf.abs(tf.cast(tensor, tf.float64))
    lowest, highest = -127, 127
    floor = tf.clip_by_value(_exponent(wide), -200, 200)
    share = wide / _two_to(floor)
    if round_mode == "up":
        power = floor + tf.cast(share > 1, tf.int64)
    elif round_mode == "nearest":
        power = floor + tf.cast(share >= 1.5, tf.int64)
    elif round_mode == "down":
        power = floor
    else:
        raise ValueError(f"unknown round_mode {round_mode!r}; Cast knows up, down and nearest")
    result = _two_to(tf.clip_by_value(power, lowest, highest))
    lost = tf.math.is_nan(wide)
    if not saturate:
        lost |= (power > highest) | (power < lowest)
    return tf.where(lost, tf.constant(np.nan, tf.float64), result)


def _to_narrow_integer(tensor: tf.Tensor, dtype: np.dtype) -> tf.Tensor:
    info = ml_dtypes.iinfo(dtype)
    bits, signed = int(info.bits), int(info.min) < 0
    if tensor.dtype.is_floating:
        tensor = tf.clip_by_value(tf.cast(tensor, tf.float64), -(2.0**62), 2.0**62)
    # The fraction is cut off and higher bits are discarded.
    whole = tf.math.floormod(tf.cast(tensor, tf.int64) - int(info.min), 1 << bits) + int(info.min)
    return tf.cast(whole, tf.int8 if signed else tf.uint8)


@op("BitCast", since=26)
def bit_cast(x: Any, *, to: int) -> Any:
    dtype = element_dtype(to)
    own = dtype_of(x)
    if own == dtype:
        return x
    if _bits(own) != _bits(dtype):
        raise ValueError(f"BitCast keeps the number of bits: {own} has {_bits(own)}, {dtype} has {_bits(dtype)}")
    if isinstance(x, np.ndarray):
        return narrow(x.view(dtype))
    plain = _patterns(x) if isinstance(x, Narrow) else tf.cast(x, tf.uint8) if own == bool else x
    if dtype not in NARROW:
        return plain != 0 if dtype == bool else tf.bitcast(plain, tf_dtype(dtype))
    table = narrow(np.arange(1 << _bits(dtype), dtype=np.uint8).astype(_pattern_type(dtype)).view(dtype))
    index = tf.cast(tf.bitcast(plain, tf.uint8), tf.int32)
    return Narrow(tf.gather(table.values, tf.bitwise.bitwise_and(index, (1 << _bits(dtype)) - 1)), dtype)


def _pattern_type(dtype: np.dtype) -> np.dtype:
    return np.dtype({2: ml_dtypes.uint2, 4: ml_dtypes.uint4}.get(_bits(dtype), np.uint8))


def _patterns(x: Narrow) -> tf.Tensor:
    """The bit patterns of a narrow type's elements as uint8, found in the list of all of them."""
    count = 1 << _bits(x.dtype)
    every = np.arange(count, dtype=np.uint8)
    values = as_tensor(every.astype(_pattern_type(x.dtype)).view(x.dtype)).numpy().astype(np.float64)
    # Zeros differ by their sign, and any NaN will do.
    keys = np.where(np.isnan(values), 1e300, np.where((values == 0) & np.signbit(values), -1e-300, values))
    order = np.argsort(keys, kind="stable")
    number = tf.cast(x.values, tf.float64)
    negative_zero = (number == 0) & (tf.bitcast(number, tf.int64) < 0)
    number = tf.where(tf.math.is_nan(number), tf.constant(1e300, tf.float64), number)
    number = tf.where(negative_zero, tf.constant(-1e-300, tf.float64), number)
    places = tf.searchsorted(tf.constant(keys[order]), tf.reshape(number, (-1,)))
    return tf.reshape(tf.gather(every[order], places), tf.shape(number))


def _bits(dtype: np.dtype) -> int:
    if dtype.kind in "OUST":
        raise ValueError("BitCast takes no strings")
    return _NARROW_BITS.get(dtype.name, 8 * dtype.itemsize)
