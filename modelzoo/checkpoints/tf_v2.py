"""TensorFlow V2 checkpoints ("tensor bundles"): an index table that says where in which data file each tensor lies.

Messages: tensorflow/core/protobuf/tensor_bundle.proto; strings: tensorflow/core/util/tensor_bundle/tensor_bundle.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modelzoo.checkpoints.checkpoint import Checkpoint, TensorInfo, tensor_info
from modelzoo.checkpoints.crc32c import combine, crc32c, mask, unmask
from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.slices import assemble
from modelzoo.checkpoints.table import Table
from modelzoo.checkpoints.tf_types import (
    STRING,
    DataType,
    Extent,
    data_type,
    element_count,
    parse_shape,
    parse_slice,
    slice_key,
)
from modelzoo.checkpoints.wire import FIXED32, LENGTH, VARINT, fields, read_varint
from modelzoo.errors import CheckpointError

__all__ = ["OBJECT_GRAPH_KEY", "TensorFlowV2Checkpoint", "shard_name"]

OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_MOST_SHARDS = 100_000  # five digits in the file name
_NEIGHBOURS_BYTES = 4 << 20


def shard_name(prefix: str, number: int, count: int) -> str:
    """File name of one data file of a V2 checkpoint."""
    return f"{prefix}.data-{number:05d}-of-{count:05d}"


class _Entry(NamedTuple):
    """A BundleEntryProto."""

    type: DataType
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int  # masked
    slices: tuple[tuple[Extent, ...], ...]


class TensorFlowV2Checkpoint(Checkpoint):
    """A V2 checkpoint.

    Args:
        prefix: path without `.index` and `.data-SSSSS-of-NNNNN`.
    """

    format = "tf-v2"

    def __init__(self, prefix: Path) -> None:
        self.path = prefix
        self._closed = False
        self._shards: dict[int, MappedFile] = {}
        self._verified: set[bytes] = set()
        self._neighbours: dict[bytes, list[bytes]] | None = None
        index = MappedFile(prefix.with_name(prefix.name + ".index"))
        try:
            with damage_in(index.path):
                self._count, self._entries = _parse_index(Table(index))
                names = {_decode(key): entry for key, entry in self._entries.items() if key[0]}
        finally:
            index.close()
        names.pop(OBJECT_GRAPH_KEY, None)
        self.entries: Mapping[str, TensorInfo] = {
            name: tensor_info(entry.type.name, entry.shape) for name, entry in names.items()
        }

    @property
    def object_graph(self) -> bytes | None:
        key = OBJECT_GRAPH_KEY.encode()
        if key not in self._entries:
            return None
        with damage_in(self.path, OBJECT_GRAPH_KEY):
            graph = self._read_entry(key, self._entries[key], OBJECT_GRAPH_KEY).reshape(-1)
            if graph.dtype != object or graph.size != 1:
                raise Damage("the object graph is not one string")
            return graph[0]

    def close(self) -> None:
        self._closed = True
        for shard in self._shards.values():
            shard.close()

    def _read(self, name: str) -> np.ndarray:
        key = name.encode()
        entry = self._entries[key]
        with damage_in(self.path, name):
            if not entry.slices:
                return self._read_entry(key, entry, name)
            if len(set(entry.slices)) != len(entry.slices):
                raise Damage("the same slice is listed twice")
            self._check_total(key, entry)

            def read(extents: tuple[Extent, ...], shape: tuple[int, ...]) -> np.ndarray:
                part_key = slice_key(key, extents)
                part = self._entries[part_key]
                if (part.type, part.shape, part.slices) != (entry.type, shape, ()):
                    raise Damage("a slice differs from its tensor in type or shape")
                return self._read_entry(part_key, part, name)

            return assemble(entry.shape, entry.type.dtype, entry.slices, read)

    def _check_total(self, key: bytes, entry: _Entry) -> None:
        """Refuse slices that share bytes, of which a small file could make an array of any size."""
        total, shards = 0, set()
        for extents in entry.slices:
            part = self._entries.get(slice_key(key, extents))
            if part is None:
                raise Damage("a slice that it lists is not in the index")
            total += part.size
            shards.add(part.shard)
        if total > sum(self._shard(number).size for number in shards):
            raise Damage("too short: its slices together have more bytes than their data files")

    def _read_entry(self, key: bytes, entry: _Entry, name: str) -> np.ndarray:
        """The array of an entry that is stored in one piece; `name` is its tensor's."""
        shard = self._shard(entry.shard)
        with damage_in(shard.path, name):
            stored = shard.window(entry.offset, entry.size, "its values")
            if entry.type.number == STRING:
                return _strings(stored, entry)
            if element_count(entry.shape) * entry.type.itemsize != entry.size:
                raise Damage(f"{entry.size} bytes do not make {entry.type.name} of shape {list(entry.shape)}")
            if key not in self._verified:
                self._verify(key, entry, stored, shard)
            return np.ndarray(entry.shape, entry.type.dtype, stored)

    def _verify(self, key: bytes, entry: _Entry, stored: memoryview, shard: MappedFile) -> None:
        """Check the checksum of an entry's values, and with it those of its small neighbours.

        A checksum of a few bytes costs as much as one of a hundred kilobytes, so values that lie side by side are
        checked at once: their own checksums, combined, are that of all their bytes. Where it is not, each is looked
        at alone.
        """
        if self._neighbours is None:
            self._neighbours = _find_neighbours(self._entries)
        together = self._neighbours.get(key)
        if together and len(together) > 1:
            parts = [self._entries[one] for one in together]
            size = sum(part.size for part in parts)
            if parts[0].offset + size <= shard.size:
                whole = shard.window(parts[0].offset, size, "its values")
                if crc32c(whole) == combine([(unmask(part.checksum), part.size) for part in parts]):
                    self._verified.update(together)
                    return
            for one in together:
                self._neighbours.pop(one, None)
        if mask(crc32c(stored)) != entry.checksum:
            raise Damage("checksum of its values does not match")
        self._verified.add(key)

    def _shard(self, number: int) -> MappedFile:
        if self._closed:
            raise CheckpointError(f"{self.path.name} has been closed.", received=str(self.path))
        if number not in self._shards:
            path = self.path.with_name(shard_name(self.path.name, number, self._count))
            if not path.is_file():
                raise Damage(f"the data file {path.name} is missing")
            self._shards[number] = MappedFile(path)
        return self._shards[number]


def _decode(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise Damage(f"a tensor's name is not UTF-8: {key!r}") from None


def _find_neighbours(entries: Mapping[bytes, _Entry]) -> dict[bytes, list[bytes]]:
    """Entries whose values lie side by side, `_NEIGHBOURS_BYTES` at most: key -> keys of all, in their order."""
    found: dict[bytes, list[bytes]] = {}
    together: list[bytes] = []
    shard = behind = size = 0
    # Strings have other rules, and lie wherever; of entries at one place, none is anybody's neighbour.
    for key in sorted(entries, key=lambda key: (entries[key].shard, entries[key].offset)):
        entry = entries[key]
        if entry.type.number == STRING or entry.slices or not entry.size:
            continue
        adjacent = entry.shard == shard and entry.offset == behind and size + entry.size <= _NEIGHBOURS_BYTES
        if not adjacent:
            together, size = [], 0
        together.append(key)
        found[key] = together
        size += entry.size
        shard, behind = entry.shard, entry.offset + entry.size
    return found


def _parse_index(table: Table) -> tuple[int, dict[bytes, _Entry]]:
    """(number of shards, entries by key)."""
    shards: int | None = None
    entries: dict[bytes, _Entry] = {}
    for key, value in table.items():
        message = bytes(value)
        if key == b"":
            shards = _parse_header(message)
        elif shards is None:
            raise Damage("the table has no bundle header: not the index of a V2 checkpoint")
        else:
            entry = _parse_entry(message)
            if entry.shard >= shards:
                raise Damage(f"a tensor lies in data file {entry.shard} of {shards}")
            entries[key] = entry
    if shards is None:
        raise Damage("the table has no bundle header: not the index of a V2 checkpoint")
    return shards, entries


def _parse_header(message: bytes) -> int:
    shards = 0
    for number, kind, value in fields(message):
        if kind == VARINT:
            assert isinstance(value, int)
            if number == 1:
                shards = value
            elif number == 2 and value:
                raise Damage("its values are big-endian, which no reader here knows")
    if not 0 < shards < _MOST_SHARDS:
        raise Damage(f"the index announces {shards} data files")
    return shards


def _parse_entry(message: bytes) -> _Entry:
    type_number = shard = offset = size = checksum = 0
    shape: tuple[int, ...] = ()
    slices = []
    value: Any
    for number, kind, value in fields(message):
        if kind == VARINT:
            if number == 1:
                type_number = value
            elif number == 3:
                shard = value
            elif number == 4:
                offset = value
            elif number == 5:
                size = value
        elif kind == LENGTH:
            if number == 2:
                shape = parse_shape(value)
            elif number == 7:
                slices.append(parse_slice(value))
        elif kind == FIXED32 and number == 6:
            checksum = int.from_bytes(value, "little")
    return _Entry(data_type(type_number), shape, shard, offset, size, checksum, tuple(slices))


def _strings(stored: memoryview, entry: _Entry) -> np.ndarray:
    """A string tensor: the lengths as varints, a checksum over them, then all bytes back to back."""
    count = element_count(entry.shape)
    if count > len(stored):
        raise Damage(f"{len(stored)} bytes do not make {count} strings")
    lengths = []
    position = 0
    for _ in range(count):
        length, position = read_varint(stored, position)
        lengths.append(length)
    # Checksums run over the lengths at fixed width, not over the varints.
    fixed = b"".join(length.to_bytes(4 if length < 1 << 32 else 8, "little") for length in lengths)
    if position + 4 + sum(lengths) != len(stored):
        raise Damage("the lengths of its strings do not add up to its size")
    if mask(crc32c(fixed)) != int.from_bytes(stored[position : position + 4], "little"):
        raise Damage("checksum of its string lengths does not match")
    if mask(crc32c(fixed + stored[position:])) != entry.checksum:
        raise Damage("checksum of its strings does not match")
    array = np.empty(count, dtype=object)
    position += 4
    for number, length in enumerate(lengths):
        array[number] = bytes(stored[position : position + length])
        position += length
    return array.reshape(entry.shape)
