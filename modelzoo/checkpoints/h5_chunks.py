"""The chunks of an HDF5 dataset: finding them in their index, and undoing their filters.

Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, sections III.A.1 (version 1 B-trees) and
IV.A.2.l (filters).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.h5_messages import NOWHERE

__all__ = ["Chunk", "assemble_chunks", "find_chunks"]

Window = Callable[[int, int], memoryview]
"""(address, size) -> bytes of the file; raises Damage where it has none."""


@dataclass(frozen=True)
class Chunk:
    """One chunk: where it lies in the dataset and in the file, and which filters were left out (a bit for each)."""

    origin: tuple[int, ...]
    address: int
    size: int
    left_out: int


def find_chunks(
    window: Window, spend: Callable[[int], None], root: int, shape: tuple[int, ...], chunk: tuple[int, ...]
) -> list[Chunk]:
    """All chunks of a dataset of `shape`; each place has one.

    Args:
        window: gives bytes of the file.
        spend: is told how many entries are about to be looked at, and stops a search without end.
        root: address of the index.
        shape: of the dataset.
        chunk: shape of a chunk.

    Raises:
        Damage: the index is damaged, or there are not as many chunks as the shape needs.
    """
    if len(chunk) != len(shape) or 0 in chunk:
        raise Damage(f"chunks of shape {list(chunk)} in a dataset of shape {list(shape)}")
    expected = math.prod(-(-size // length) for size, length in zip(shape, chunk, strict=True))
    found: dict[tuple[int, ...], Chunk] = {}
    key_size = 8 + 8 * (len(shape) + 1)
    waiting = [(root, 256)] if root != NOWHERE else []
    while waiting:
        address, above = waiting.pop()
        signature, kind, level, count = struct.unpack("<4s2BH", window(address, 8))
        # Levels fall on the way down, so no circle goes on for ever.
        if signature != b"TREE" or kind != 1 or level >= above:
            raise Damage("the index of its chunks is damaged")
        spend(count + 1)
        entries = window(address + 24, count * (key_size + 8))
        for at in range(0, len(entries), key_size + 8):
            size, left_out, *origin = struct.unpack_from(f"<2I{len(shape)}Q", entries, at)
            (child,) = struct.unpack_from("<Q", entries, at + key_size)
            if level:
                waiting.append((child, level))
                continue
            if any(o % c or o >= s for o, c, s in zip(origin, chunk, shape, strict=True)):
                raise Damage("a chunk lies outside its dataset")
            if tuple(origin) in found:
                raise Damage("two chunks lie at the same place")
            found[tuple(origin)] = Chunk(tuple(origin), child, size, left_out)
    if len(found) != expected:
        raise Damage(f"it has {len(found)} of {expected} chunks")
    return list(found.values())


def assemble_chunks(
    window: Window, chunks: Sequence[Chunk], filters: Sequence[int], chunk: tuple[int, ...], whole: np.ndarray
) -> None:
    """Fill `whole`, an array of the dataset's shape and type, from its chunks.

    Raises:
        Damage: a chunk cannot be unpacked, or its checksum does not match.
    """
    size = math.prod(chunk) * whole.dtype.itemsize
    for part in chunks:
        stored = window(part.address, part.size)
        for place in reversed(range(len(filters))):
            if not part.left_out >> place & 1:
                stored = _undone(filters[place], stored, size, whole.dtype.itemsize)
        if len(stored) != size:
            raise Damage(f"a chunk has {len(stored)} bytes where its shape needs {size}")
        values = np.frombuffer(stored, whole.dtype).reshape(chunk)
        lengths = [min(c, s - o) for c, s, o in zip(chunk, whole.shape, part.origin, strict=True)]
        target = tuple(slice(o, o + n) for o, n in zip(part.origin, lengths, strict=True))
        whole[target] = values[tuple(slice(0, n) for n in lengths)]


def _undone(number: int, data: Any, size: int, itemsize: int) -> Any:
    """The bytes that a filter was given, at most a checksum more than `size`."""
    if number == 1:
        try:
            return memoryview(zlib.decompressobj().decompress(data, size + 5))
        except zlib.error as error:
            raise Damage(f"a chunk cannot be unpacked ({error})") from None
    if number == 2:
        whole = len(data) // itemsize * itemsize
        mixed = np.frombuffer(data[:whole], np.uint8).reshape(itemsize, -1)
        return memoryview(np.ascontiguousarray(mixed.T).tobytes() + bytes(data[whole:]))
    if number == 3:
        data, stored = data[:-4], bytes(data[-4:])
        # Early versions of the library wrote the halves with their bytes swapped.
        if len(stored) < 4:
            raise Damage("a chunk is too short for its checksum")
        swapped = bytes(stored[at] for at in (1, 0, 3, 2))
        checksum = _fletcher32(data)
        if all(_modulo(int.from_bytes(known, "little")) != checksum for known in (stored, swapped)):
            raise Damage("checksum of a chunk does not match")
        return data
    raise Damage(f"the filter {number} is unknown")


def _modulo(checksum: int) -> tuple[int, int]:
    """Both halves of a checksum, of which 0 and 65535 are the same."""
    return (checksum >> 16) % 65535, (checksum & 0xFFFF) % 65535


def _fletcher32(data: Any) -> tuple[int, int]:
    """Fletcher's checksum over big-endian 16-bit words, as `H5_checksum_fletcher32` has it: (second sum, first sum)."""
    padded = bytes(data) + b"\0" * (len(data) % 2)
    words = np.frombuffer(padded, ">u2").astype(np.uint64)
    # Of 2**32 words, sums of words times places below 65535 stay far below 2**64.
    places = np.arange(words.size, 0, -1, dtype=np.uint64) % np.uint64(65535)
    return int((words * places).sum(dtype=np.uint64) % np.uint64(65535)), int(words.sum() % np.uint64(65535))
