"""The wire format of protocol buffers, as far as checkpoints need it: fields of one message, varints in bulk.

Specification: https://protobuf.dev/programming-guides/encoding/. Unknown fields are the caller's to skip; groups,
which no checkpoint has, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modelzoo.checkpoints.damage import Damage

__all__ = [
    "FIXED32",
    "FIXED64",
    "LENGTH",
    "VARINT",
    "fields",
    "pack_field",
    "pack_varint",
    "pack_varints",
    "read_varint",
    "signed",
    "unpack_varints",
]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

_Buffer = bytes | memoryview


def read_varint(data: _Buffer, position: int) -> tuple[int, int]:
    """(value, position behind it) of the varint at `position`: at most 10 bytes, 0 .. 2**64 - 1."""
    end = len(data)
    value = shift = 0
    while True:
        if position >= end:
            raise Damage("a varint runs past the end of its message")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift >= 70:
            raise Damage("a varint has more than 10 bytes")


def signed(value: int) -> int:
    """A varint's value as the int32 or int64 it stands for (two's complement in 64 bits)."""
    return value - (1 << 64) if value >> 63 else value


def fields(data: _Buffer) -> Iterator[tuple[int, int, int | _Buffer]]:
    """(field number, wire type, value) of each field, in file order.

    The value is an int for `VARINT`, else the bytes (4 for `FIXED32`, 8 for `FIXED64`), as a slice of `data`.
    """
    position, end = 0, len(data)
    while position < end:
        # Almost all tags and lengths are one byte, for which no function is called.
        tag = data[position]
        position += 1
        if tag >= 0x80:
            tag, position = read_varint(data, position - 1)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise Damage("a message has a field of number 0")
        if kind == VARINT:
            value, position = read_varint(data, position)
            yield number, kind, value
            continue
        if kind == LENGTH:
            if position < end and (size := data[position]) < 0x80:
                position += 1
            else:
                size, position = read_varint(data, position)
        elif kind == FIXED32:
            size = 4
        elif kind == FIXED64:
            size = 8
        else:
            raise Damage(f"a message has a field of wire type {kind}")
        if size > end - position:
            raise Damage("a field is longer than its message")
        yield number, kind, data[position : position + size]
        position += size


def unpack_varints(data: _Buffer) -> np.ndarray:
    """All varints of a packed field, uint64 (N,), decoded one byte position at a time over the whole array."""
    stored = np.frombuffer(data, dtype=np.uint8)
    if stored.size == 0:
        return np.empty(0, dtype=np.uint64)
    if stored[-1] >= 0x80:
        raise Damage("a packed field ends inside a varint")
    ends = np.flatnonzero(stored < 0x80)
    if ends.size == stored.size:
        return stored.astype(np.uint64)
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > 10:
        raise Damage("a varint has more than 10 bytes")
    values = (stored[starts] & 0x7F).astype(np.uint64)
    for byte in range(1, longest):
        reaching = np.flatnonzero(lengths > byte)
        part = (stored[starts[reaching] + byte] & 0x7F).astype(np.uint64)
        values[reaching] |= part << np.uint64(7 * byte)
    return values


def pack_varint(value: int) -> bytes:
    """The varint of an int32 or int64 (negative: ten bytes), or of an unsigned number below 2**64."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def pack_field(number: int, value: bytes | int) -> bytes:
    """One field of a message: a varint, or bytes (a message, a string, packed numbers)."""
    if isinstance(value, int):
        return pack_varint(number << 3 | VARINT) + pack_varint(value)
    return pack_varint(number << 3 | LENGTH) + pack_varint(len(value)) + value


def pack_varints(values: np.ndarray) -> bytes:
    """The varints of integers or booleans (N,) back to back, made one byte position at a time over the whole array."""
    rest = values.astype(np.int64, copy=False).view(np.uint64) if values.dtype.kind == "i" else values.astype(np.uint64)
    lengths = np.ones(rest.size, dtype=np.int64)
    for byte in range(1, 10):
        more = rest >> np.uint64(7 * byte) != 0
        if not more.any():
            break
        lengths += more
    ends = np.cumsum(lengths)
    out = np.empty(int(ends[-1]) if rest.size else 0, dtype=np.uint8)
    starts = ends - lengths
    for byte in range(int(lengths.max(initial=0))):
        reaching = np.flatnonzero(lengths > byte)
        part = (rest[reaching] >> np.uint64(7 * byte)).astype(np.uint8) & np.uint8(0x7F)
        out[starts[reaching] + byte] = part | ((lengths[reaching] > byte + 1).astype(np.uint8) << 7)
    return out.tobytes()
