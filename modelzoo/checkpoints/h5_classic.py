"""HDF5 files in the layout that h5py has written by default, hence almost every Keras file: read without libhdf5.

The library trusts what it reads: a few changed bytes make it loop for ever or crash the process. Here every address
is checked, and every walk has an end. What the layout can do and weight files never need is refused.
Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html (version 0 and 1 superblocks, version 1
object headers, symbol tables).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modelzoo.checkpoints.checkpoint import TensorInfo
from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.h5_chunks import Chunk, assemble_chunks, find_chunks
from modelzoo.checkpoints.h5_messages import NOWHERE, Layout, attribute, dataspace, datatype, filters, layout
from modelzoo.checkpoints.h5_refusals import (
    FILTERS,
    LARGEST_RATIO,
    filter_refused,
    link_refused,
    outside_refused,
    size_refused,
)
from modelzoo.checkpoints.tf_types import element_count

__all__ = ["ClassicH5", "NewerLayout"]

_SPACE, _LINK_INFO, _TYPE, _LINK, _EXTERNAL, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUED, _TABLE = (
    (1, 2, 3, 6, 7, 8, 11, 12, 16, 17)
)  # fmt: skip
_SHARED = 2  # flag of a message that lies elsewhere
_DEEPEST = 64


class NewerLayout(Exception):
    """The file is of a newer layout, for which the library is needed. Never leaves this package."""


@dataclass
class _Dataset:
    info: TensorInfo
    dtype: np.dtype
    layout: Layout
    filters: list[int]
    chunks: list[Chunk] = field(default_factory=list)


class ClassicH5:
    """The datasets of numbers of a file.

    Args:
        data: the file.
        path: of the file, for messages.

    Raises:
        NewerLayout: this file is not for this reader.
        Damage: it is damaged.
        UnsafeFileError: it has links or unknown filters, or claims more than it holds.
    """

    def __init__(self, data: memoryview, path: Path) -> None:
        self.path = path
        self._data = data
        self._datasets: dict[str, _Dataset] = {}
        self._at: dict[int, _Dataset | None] = {}  # by the addresses of their headers
        self._groups: set[int] = set()
        self._left = self._most_entries = len(data) // 4 + 1000  # of 8 bytes at least, read twice at most
        try:
            self._root = self._superblock()
            self._group("", self._root, 0)
        except (struct.error, IndexError, UnicodeDecodeError, OverflowError, RecursionError) as error:
            raise Damage(f"a damaged HDF5 file ({type(error).__name__})") from error
        self._require_disjoint()
        self.entries = {name: dataset.info for name, dataset in sorted(self._datasets.items())}

    def close(self) -> None:
        """Nothing is held but the map, which is the caller's."""

    def read(self, name: str) -> np.ndarray:
        """The values of a dataset: a view of the file where they lie in one piece.

        Raises:
            Damage: they are damaged.
        """
        dataset = self._datasets[name]
        place, shape = dataset.layout, dataset.info.shape
        if place.kind == "chunked":
            whole = np.empty(shape, dataset.dtype)
            assemble_chunks(self._window, dataset.chunks, dataset.filters, place.chunk, whole)
            return whole
        size = element_count(shape) * dataset.dtype.itemsize
        data = place.data[:size] if place.kind == "compact" or not size else self._window(place.address, size)
        return np.frombuffer(data, dataset.dtype).reshape(shape)

    def text(self, name: str) -> str | None:
        """An attribute of the root group that is one text, of fixed or free length.

        Raises:
            Damage: it is damaged.
        """
        self._left = self._most_entries
        try:
            for kind, _, data in self._messages(self._root):
                if kind == _ATTRIBUTE and (found := attribute(data)).name == name.encode():
                    if found.type[0] & 15 == 9:  # free length: (length, address of a heap, number in it)
                        _, address, number = struct.unpack_from("<IQI", found.data)
                        return self._from_heap(address, number).decode("utf-8", "replace")
                    if found.type[0] & 15 == 3:
                        (size,) = struct.unpack_from("<I", found.type, 4)
                        return bytes(found.data[:size]).rstrip(b"\0").decode("utf-8", "replace")
        except (struct.error, IndexError) as error:
            raise Damage(f"a damaged HDF5 file ({type(error).__name__})") from error
        return None

    # Places in the file

    def _window(self, address: int, size: int) -> memoryview:
        if address + size > len(self._data):
            raise Damage(f"too short: bytes {address} to {address + size} are needed, the file has {len(self._data)}")
        return self._data[address : address + size]

    def _superblock(self) -> int:
        """The address of the root group's header."""
        version = self._data[8]
        if version in (2, 3):
            raise NewerLayout
        if version > 3:
            raise Damage(f"version {version} of HDF5's superblock is unknown")
        if tuple(self._window(13, 2)) != (8, 8):
            raise Damage("addresses of another size than 8 bytes")
        at = 28 if version else 24
        base, _, end, _, _, root = struct.unpack("<6Q", self._window(at, 48))
        if base:
            raise Damage("another file lies in front of the HDF5 file")
        if end > len(self._data):
            raise Damage(f"cut short: it should have {end} bytes, and has {len(self._data)}")
        return root

    def _messages(self, address: int) -> Iterator[tuple[int, int, memoryview]]:
        """(type, flags, data) of the messages of an object header."""
        if bytes(self._window(address, 4)) == b"OHDR":
            raise NewerLayout
        version, _, count, _, size = struct.unpack("<2BH2I", self._window(address, 12))
        if version != 1:
            raise Damage(f"an object header of version {version}")
        blocks = [(address + 16, size)]
        seen = 0
        while blocks:
            start, size = blocks.pop(0)
            block = self._window(start, size)
            at = 0
            while at + 8 <= size:
                if seen == count:
                    return
                kind, length, flags = struct.unpack_from("<2HB", block, at)
                data = block[at + 8 : at + 8 + length]
                if len(data) < length:
                    raise Damage("a message runs past the end of its header")
                at += 8 + length
                seen += 1
                self._spend(1)
                if kind == _CONTINUED:
                    blocks.append(struct.unpack_from("<2Q", data))
                else:
                    yield kind, flags, data

    def _from_heap(self, address: int, number: int) -> bytes:
        """An object of a global heap."""
        signature, version, size = struct.unpack("<4sB3xQ", self._window(address, 16))
        if signature != b"GCOL" or version != 1:
            raise Damage("a heap of texts is damaged")
        heap = self._window(address, size)
        at = 16
        while at + 16 <= len(heap):
            index, length = struct.unpack_from("<H6xQ", heap, at)
            if index == number:
                if length > len(heap) - at - 16:
                    raise Damage("a text runs past the end of its heap")
                return bytes(heap[at + 16 : at + 16 + length])
            if index == 0:
                break
            at += 16 + -(-length // 8) * 8
        raise Damage("a text is not in its heap")

    # Groups

    def _object(self, name: str, address: int, depth: int) -> None:
        """A dataset or a group, which one its header tells."""
        if address not in self._at:
            messages = list(self._messages(address))
            if any(kind in (_TABLE, _LINK_INFO, _LINK) for kind, _, _ in messages):
                return self._group(f"{name}/", address, depth + 1)
            self._at[address] = self._dataset(name, messages)
        if (dataset := self._at[address]) is not None:
            self._datasets[name] = dataset
        return None

    def _group(self, prefix: str, address: int, depth: int) -> None:
        if depth > _DEEPEST or address in self._groups:
            raise Damage("a group is nested too deeply, or has two names")
        self._groups.add(address)
        for kind, _, data in self._messages(address):
            if kind == _TABLE:
                tree, heap = struct.unpack_from("<2Q", data)
                self._symbol_table(prefix, tree, self._names(heap), depth)
            elif kind == _LINK:
                self._link(prefix, data, depth)
            elif kind == _LINK_INFO:
                flags = data[1]
                (dense,) = struct.unpack_from("<Q", data, 10 if flags & 1 else 2)
                if dense != NOWHERE:
                    raise NewerLayout

    def _names(self, heap: int) -> memoryview:
        signature, size, _, address = struct.unpack("<4s4xQQQ", self._window(heap, 32))
        if signature != b"HEAP":
            raise Damage("the names of a group are damaged")
        return self._window(address, size)

    def _symbol_table(self, prefix: str, root: int, names: memoryview, depth: int) -> None:
        waiting = [(root, 256)]
        while waiting:
            address, above = waiting.pop()
            if above == 0:
                self._symbols(prefix, address, names, depth)
                continue
            signature, kind, level, count = struct.unpack("<4s2BH", self._window(address, 8))
            # Levels fall on the way down, so no circle goes on for ever.
            if signature != b"TREE" or kind != 0 or level >= above:
                raise Damage("the index of a group is damaged")
            self._spend(count + 1)
            entries = self._window(address + 24, count * 16)
            waiting.extend((struct.unpack_from("<Q", entries, at + 8)[0], level) for at in range(0, len(entries), 16))

    def _symbols(self, prefix: str, address: int, names: memoryview, depth: int) -> None:
        signature, _, _, count = struct.unpack("<4s2BH", self._window(address, 8))
        if signature != b"SNOD":
            raise Damage("a group is damaged")
        self._spend(count + 1)
        entries = self._window(address + 8, count * 40)
        for at in range(0, len(entries), 40):
            name_at, header, cache = struct.unpack_from("<2QI", entries, at)
            text = bytes(names[name_at : name_at + 4096])
            end = text.find(b"\0")
            if end <= 0:
                raise Damage("a name of a group is damaged")
            name = prefix + text[:end].decode()
            if cache == 2:
                raise link_refused(self.path, name, "a soft link")
            self._object(name, header, depth)

    def _link(self, prefix: str, data: memoryview, depth: int) -> None:
        """A link message: what groups have whose links are not all plain."""
        version, flags = data[0], data[1]
        if version != 1:
            raise Damage(f"a link of version {version}")
        at = 2
        kind = data[at] if flags & 8 else 0
        at += (1 if flags & 8 else 0) + (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(data[at : at + width], "little")
        at += width
        name = prefix + bytes(data[at : at + size]).decode()
        self._spend(1)
        if kind:
            raise link_refused(
                self.path, name, {1: "a soft link", 64: "a link to another file"}.get(kind, "a link of an unknown kind")
            )
        (header,) = struct.unpack_from("<Q", data, at + size)
        self._object(name, header, depth)

    def _spend(self, entries: int) -> None:
        """Stop a walk over parts of the file that overlap, which could go on for ever."""
        self._left -= entries
        if self._left < 0:
            raise Damage("its groups, headers or indices overlap")

    # Datasets

    def _dataset(self, name: str, messages: list[tuple[int, int, memoryview]]) -> _Dataset | None:
        """What the messages of a header say; None of anything but a dataset of numbers."""
        found = {kind: data for kind, _, data in messages}
        if _EXTERNAL in found:
            raise outside_refused(self.path, name)
        if not {_SPACE, _TYPE, _LAYOUT} <= found.keys():
            return None  # a type with a name of its own
        place = layout(found[_LAYOUT])
        if place.kind == "virtual":
            raise outside_refused(self.path, name)
        packed = filters(found[_FILTERS]) if _FILTERS in found else []
        for number in packed:
            if number not in FILTERS:
                raise filter_refused(self.path, name, number)
        if any(flags & _SHARED for kind, flags, _ in messages if kind in (_SPACE, _TYPE, _LAYOUT, _FILTERS)):
            raise Damage(f"{name!r} has a type that lies elsewhere in the file, which is not read")
        shape = dataspace(found[_SPACE])
        code, itemsize = datatype(found[_TYPE])
        bfloat16 = code == "opaque" and itemsize == 2 and self._says_bfloat16(messages)
        if shape is None or code == "" or (code == "opaque" and not bfloat16):
            return None
        dtype = np.dtype("V2" if bfloat16 else code)
        info = TensorInfo("bfloat16" if bfloat16 else dtype.name, shape)
        dataset = _Dataset(info, dtype, place, packed)
        if place.kind == "chunked":
            dataset.chunks = find_chunks(self._window, self._spend, place.address, shape, place.chunk)
        self._require_room(name, dataset)
        return dataset

    @staticmethod
    def _says_bfloat16(messages: list[tuple[int, int, memoryview]]) -> bool:
        """Keras 3 stores bfloat16 as opaque pairs of bytes, and says so in an attribute, as a text of free length."""
        return any(attribute(data).name == b"dtype" for kind, _, data in messages if kind == _ATTRIBUTE)

    def _require_room(self, name: str, dataset: _Dataset) -> None:
        shape, place = dataset.info.shape, dataset.layout
        needed = element_count(shape, dataset.dtype.itemsize) * dataset.dtype.itemsize
        if place.kind == "chunked":
            stored = sum(chunk.size for chunk in dataset.chunks)
        else:
            stored = place.size if place.kind == "compact" or place.address != NOWHERE else 0
        room = stored * LARGEST_RATIO if place.kind == "chunked" and dataset.filters else stored
        if needed > min(room, len(self._data) * LARGEST_RATIO):
            raise size_refused(self.path, name, f"{dataset.info.dtype} {list(shape)}", stored)

    def _require_disjoint(self) -> None:
        """Datasets that share bytes would let a small file unfold into a large one."""
        spans = []
        for dataset in {id(dataset): dataset for dataset in self._datasets.values()}.values():
            if dataset.layout.kind == "contiguous" and dataset.layout.address != NOWHERE:
                spans.append((dataset.layout.address, dataset.layout.size))
            spans += [(chunk.address, chunk.size) for chunk in dataset.chunks]
        behind = 0
        for address, size in sorted(span for span in spans if span[1]):
            if address < behind:
                raise Damage("its datasets share bytes")
            behind = address + size
        if behind > len(self._data):
            raise Damage(f"too short: its values end at byte {behind}, the file has {len(self._data)}")
