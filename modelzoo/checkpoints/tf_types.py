"""TensorFlow's data types, tensor shapes and tensor slices, as both checkpoint formats write them.

Numbers and field numbers: tensorflow/core/framework/{types,tensor_shape,tensor_slice,tensor}.proto.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.wire import LENGTH, VARINT, fields, pack_field, signed

__all__ = [
    "STRING",
    "DataType",
    "Extent",
    "data_type",
    "element_count",
    "pack_shape",
    "parse_shape",
    "parse_slice",
    "slice_key",
    "type_of",
]

STRING = 7
_LARGEST_RANK = 64  # NumPy's limit; TensorFlow's own is 254, of which no network comes near


@dataclass(frozen=True)
class DataType:
    """A data type: TensorFlow's number and name, NumPy's dtype, and the TensorProto field that carries its values."""

    number: int
    name: str
    dtype: np.dtype[Any]
    proto_field: int

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize


# number: (name, NumPy dtype, field of TensorProto). Quantized types are their storage type.
_TYPES: dict[int, tuple[str, str, int]] = {
    1: ("float32", "<f4", 5),
    2: ("float64", "<f8", 6),
    3: ("int32", "<i4", 7),
    4: ("uint8", "|u1", 7),
    5: ("int16", "<i2", 7),
    6: ("int8", "|i1", 7),
    7: ("string", "|O", 8),
    8: ("complex64", "<c8", 9),
    9: ("int64", "<i8", 10),
    10: ("bool", "|b1", 11),
    11: ("qint8", "|i1", 7),
    12: ("quint8", "|u1", 7),
    13: ("qint32", "<i4", 7),
    14: ("bfloat16", "bfloat16", 13),
    15: ("qint16", "<i2", 7),
    16: ("quint16", "<u2", 7),
    17: ("uint16", "<u2", 7),
    18: ("complex128", "<c16", 12),
    19: ("float16", "<f2", 13),
    22: ("uint32", "<u4", 16),
    23: ("uint64", "<u8", 17),
    24: ("float8_e5m2", "float8_e5m2", 18),
    25: ("float8_e4m3fn", "float8_e4m3fn", 18),
}
_KNOWN: dict[int, DataType] = {}


def data_type(number: int) -> DataType:
    """The type of a DataType number.

    Raises:
        Damage: no checkpoint holds values of this type.
    """
    if number not in _KNOWN:
        if number not in _TYPES:
            raise Damage(f"data type number {number} is unknown")
        name, code, proto_field = _TYPES[number]
        _KNOWN[number] = DataType(number, name, _dtype(code), proto_field)
    return _KNOWN[number]


def type_of(dtype: np.dtype[Any]) -> DataType | None:
    """The type that holds NumPy values of `dtype`, `string` for objects; None where TensorFlow has none."""
    name = "string" if dtype.kind == "O" else dtype.name
    number = next((number for number, (known, _, _) in _TYPES.items() if known == name), None)
    return None if number is None else data_type(number)


def _dtype(code: str) -> np.dtype[Any]:
    if code[0] in "<|":
        return np.dtype(code)
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, code))


@functools.lru_cache(maxsize=1024)  # a network has few shapes, each many times
def parse_shape(data: bytes) -> tuple[int, ...]:
    """The dimensions of a TensorShapeProto.

    Raises:
        Damage: the rank or a dimension is unknown, negative or more than an array can have.
    """
    shape = []
    for number, kind, value in fields(data):
        if number == 2 and kind == LENGTH:
            assert not isinstance(value, int)
            size = 0
            for inner, inner_kind, inner_value in fields(value):
                if inner == 1 and inner_kind == VARINT:
                    assert isinstance(inner_value, int)
                    size = signed(inner_value)
            shape.append(size)
        elif number == 3 and value:
            raise Damage("a tensor's rank is unknown")
    element_count(tuple(shape))
    return tuple(shape)


def pack_shape(shape: tuple[int, ...]) -> bytes:
    """The TensorShapeProto of a shape; a size of 0 is an absent field."""
    return b"".join(pack_field(2, pack_field(1, size) if size else b"") for size in shape)


@functools.lru_cache(maxsize=1024)
def element_count(shape: tuple[int, ...], itemsize: int = 16) -> int:
    """Product of the dimensions.

    Raises:
        Damage: a dimension is negative, or no machine could hold the array.
    """
    if len(shape) > _LARGEST_RANK:
        raise Damage(f"a tensor has {len(shape)} axes")
    if any(size < 0 for size in shape):
        raise Damage(f"a tensor has the shape {list(shape)}")
    # NumPy refuses shapes whose non-zero part overflows, even of empty arrays.
    if math.prod(size for size in shape if size) * itemsize >= 1 << 62:
        raise Damage(f"a tensor has the impossible shape {list(shape)}")
    return math.prod(shape)


class Extent(NamedTuple):
    """Part of one axis: `length` elements from `start`; the whole axis where `length` is None."""

    start: int = 0
    length: int | None = None


@functools.lru_cache(maxsize=1024)
def parse_slice(data: bytes) -> tuple[Extent, ...]:
    """The extents, one for each axis, of a TensorSliceProto."""
    extents = []
    for number, kind, value in fields(data):
        if number != 1 or kind != LENGTH:
            continue
        assert not isinstance(value, int)
        start, length = 0, None
        for inner, inner_kind, inner_value in fields(value):
            if inner_kind == VARINT:
                assert isinstance(inner_value, int)
                if inner == 1:
                    start = signed(inner_value)
                elif inner == 2:
                    length = signed(inner_value)
        extents.append(Extent(start, length))
    return tuple(extents)


def slice_key(name: bytes, extents: tuple[Extent, ...]) -> bytes:
    """The table key of a tensor's slice, in the ordered code of tensorflow/core/lib/strings/ordered_code.cc."""
    if b"\x00" in name or b"\xff" in name:
        name = b"".join(_ESCAPES.get(name[at : at + 1], name[at : at + 1]) for at in range(len(name)))
    return b"\x00" + name + b"\x00\x01" + _extents_key(extents)


@functools.lru_cache(maxsize=1024)
def _extents_key(extents: tuple[Extent, ...]) -> bytes:
    parts = [_ordered_number(len(extents))]
    for extent in extents:
        parts.append(_ordered_signed(extent.start))
        parts.append(_ordered_signed(-1 if extent.length is None else extent.length))
    return b"".join(parts)


_ESCAPES = {b"\x00": b"\x00\xff", b"\xff": b"\xff\x00"}


def _ordered_number(value: int) -> bytes:
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "big")


def _ordered_signed(value: int) -> bytes:
    if value < 0:
        return bytes(byte ^ 0xFF for byte in _ordered_signed(~value))
    size = value.bit_length() // 7 + 1
    header = ((1 << size) - 1) << (7 * size)
    return (header | value).to_bytes(size, "big")
