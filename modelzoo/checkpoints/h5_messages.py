"""The messages in the object headers of an HDF5 file that say what a dataset is: shape, type, layout, filters.

Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, section IV.A.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from modelzoo.checkpoints.damage import Damage

__all__ = ["NOWHERE", "Attribute", "Layout", "attribute", "dataspace", "datatype", "filters", "layout"]

NOWHERE = (1 << 64) - 1
"""The address of what does not exist."""

# (size, exponent's place and size, mantissa's size, bias) of IEEE 754's types
_FLOATS = {(2, 10, 5, 10, 15): "f2", (4, 23, 8, 23, 127): "f4", (8, 52, 11, 52, 1023): "f8"}


@dataclass(frozen=True)
class Layout:
    """Where the values of a dataset lie.

    Attributes:
        kind: `compact` (in the header: `data`), `contiguous`, `chunked` or `virtual` (in other datasets).
        address: of the values, or of the chunks' index.
        size: of the values in bytes; 0 of chunks.
        chunk: shape of a chunk.
        data: the values.
    """

    kind: str
    address: int = NOWHERE
    size: int = 0
    chunk: tuple[int, ...] = ()
    data: bytes | memoryview = b""


@dataclass(frozen=True)
class Attribute:
    """An attribute: its name, the messages of its type and shape, and its bytes."""

    name: bytes
    type: memoryview
    space: memoryview
    data: memoryview


def dataspace(data: memoryview) -> tuple[int, ...] | None:
    """The shape; None of a dataset without values ("null")."""
    version, rank, flags, kind = struct.unpack_from("<4B", data)
    if version not in (1, 2) or rank > 32:
        raise Damage(f"a shape of version {version} with {rank} axes")
    if version == 2 and kind == 2:
        return None
    del flags  # of the largest sizes, which follow the sizes
    return struct.unpack_from(f"<{rank}Q", data, 8 if version == 1 else 4)


def datatype(data: memoryview) -> tuple[str, int]:
    """(NumPy's code of a type of numbers, `opaque`, or "" of all others; bytes of an element)."""
    kind, bits, _, _, size = struct.unpack_from("<4BI", data)
    kind &= 15
    order = ">" if bits & 1 else "<"
    if kind == 0 and size in (1, 2, 4, 8):
        offset, precision = struct.unpack_from("<2H", data, 8)
        if (offset, precision) == (0, 8 * size):
            return f"{order}{'i' if bits & 8 else 'u'}{size}", size
    elif kind == 1 and not bits & 0x40:
        offset, precision, exponent_at, exponent, mantissa_at, mantissa, bias = struct.unpack_from("<2H4BI", data, 8)
        code = _FLOATS.get((size, exponent_at, exponent, mantissa, bias))
        if code and (offset, precision, mantissa_at) == (0, 8 * size, 0):
            return order + code, size
    elif kind == 8 and size == 1 and bits == 2:
        # h5py's bool: an enumeration of two bytes.
        rest = bytes(data[8:])
        if b"FALSE\0" in rest and b"TRUE\0" in rest:
            return "?", size
    elif kind == 5:
        return "opaque", size
    return "", size


def layout(data: memoryview) -> Layout:
    """Where the values lie."""
    version, kind = data[0], data[1]
    if version == 4 and kind == 3:
        return Layout("virtual")
    if version != 3:
        raise Damage(f"values laid out by version {version} of the format, which is not read")
    if kind == 0:
        (size,) = struct.unpack_from("<H", data, 2)
        if size > len(data) - 4:
            raise Damage("values that run past the end of their header")
        return Layout("compact", size=size, data=data[4 : 4 + size])
    if kind == 1:
        address, size = struct.unpack_from("<2Q", data, 2)
        return Layout("contiguous", address, size)
    if kind == 2:
        rank = data[2] - 1
        if not 1 <= rank <= 32:
            raise Damage(f"chunks of {rank} axes")
        (address,) = struct.unpack_from("<Q", data, 3)
        return Layout("chunked", address, chunk=struct.unpack_from(f"<{rank}I", data, 11))
    raise Damage(f"values laid out in the unknown way {kind}")


def filters(data: memoryview) -> list[int]:
    """The numbers of the filters, in the order in which they were applied."""
    version, count = data[0], data[1]
    if version not in (1, 2) or count > 32:
        raise Damage(f"{count} filters of version {version}")
    numbers = []
    at = 8 if version == 1 else 2
    for _ in range(count):
        (number,) = struct.unpack_from("<H", data, at)
        at += 2
        name = 0
        if version == 1 or number >= 256:
            (name,) = struct.unpack_from("<H", data, at)
            at += 2
        _, values = struct.unpack_from("<2H", data, at)
        at += 4 + (-(-name // 8) * 8 if version == 1 else name) + 4 * values
        if version == 1 and values % 2:
            at += 4
        numbers.append(number)
    return numbers


def attribute(data: memoryview) -> Attribute:
    """An attribute, not yet interpreted."""
    version, _, name_size, type_size, space_size = struct.unpack_from("<2B3H", data)
    if version not in (1, 2, 3):
        raise Damage(f"an attribute of version {version}")
    at = 9 if version == 3 else 8
    parts = []
    for size in (name_size, type_size, space_size):
        parts.append(data[at : at + size])
        at += -(-size // 8) * 8 if version == 1 else size
    return Attribute(bytes(parts[0]).rstrip(b"\0"), parts[1], parts[2], data[at:])
