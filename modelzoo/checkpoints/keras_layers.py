"""Which layers a Keras HDF5 file holds, in their order, and which weights each has, in theirs.

Keras 1 and 2, and Keras 3 in the same layout, note this in attributes: `layer_names` of the group that holds the
layers, `weight_names` of each layer's group; a list above 64 kB is split into `layer_names0`, `layer_names1`, ...
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.h5_classic import ClassicH5
from modelzoo.checkpoints.h5_library import LibraryH5
from modelzoo.checkpoints.h5_messages import attribute, dataspace
from modelzoo.checkpoints.keras_h5 import KerasH5Checkpoint
from modelzoo.checkpoints.tf_types import element_count

__all__ = ["saved_layers"]

_ATTRIBUTE = 12  # type of the message in an object's header
_FIXED_TEXT, _FREE_LENGTH = 3, 9  # classes of types
_MOST_PARTS = 4096


def saved_layers(checkpoint: Mapping[str, Any]) -> list[tuple[str, list[str]]] | None:
    """The layers of a file in Keras' layout with names, in the order in which the model had them.

    Args:
        checkpoint: any; only Keras' HDF5 files say it.

    Returns:
        (layer, names of its arrays as the checkpoint lists them) of each layer that has weights; None of a file that
        does not say, Keras 3's `.weights.h5` and `.keras` among them.

    Raises:
        CheckpointFormatError: the attributes are damaged, or name arrays that are not there.
    """
    if not isinstance(checkpoint, KerasH5Checkpoint) or checkpoint.format != "keras-h5":
        return None
    checkpoint._require_open()
    file: Any = checkpoint._file
    root = checkpoint._root
    with damage_in(checkpoint.path, "layer_names"):
        texts = _library_texts(file) if isinstance(file, LibraryH5) else _classic_texts(file)
        names = texts(root, "layer_names")
        if names is None:
            return None
        layers: list[tuple[str, list[str]]] = []
        for name in names:
            arrays = [f"{name}/{weight}" for weight in texts(f"{root}{name}/", "weight_names") or []]
            if missing := [array for array in arrays if array not in checkpoint.entries]:
                raise Damage(f"it names {missing[0]!r}, which is not there")
            if arrays:
                layers.append((name, arrays))
        return layers


class _Groups(ClassicH5):
    """A file whose groups are known by name (`conv1/`, the root's is empty)."""

    def __init__(self, file: ClassicH5) -> None:
        self.headers: dict[str, int] = {}
        self._heaps: dict[int, dict[int, bytes]] = {}
        super().__init__(file._data, file.path)
        self.found: dict[str, dict[bytes, list[str]]] = {}

    def _group(self, prefix: str, address: int, depth: int) -> None:
        self.headers[prefix] = address
        super()._group(prefix, address, depth)

    def _dataset(self, name: str, messages: list[tuple[int, int, memoryview]]) -> None:
        """Of datasets the checkpoint knows already what there is."""

    def texts(self, group: str, name: str) -> list[str] | None:
        """An attribute that is a list of texts, in however many parts; None where there is none."""
        if group not in self.found:
            self.found[group] = self._attributes(group)
        return _joined(name, lambda part: self.found[group].get(part.encode()))

    def _attributes(self, group: str) -> dict[bytes, list[str]]:
        if group not in self.headers:
            raise Damage(f"there is no group {group!r}")
        self._left = self._most_entries
        found: dict[bytes, list[str]] = {}
        try:
            for kind, _, data in self._messages(self.headers[group]):
                if kind == _ATTRIBUTE:
                    one = attribute(data)
                    if one.name.startswith((b"layer_names", b"weight_names")):
                        found[one.name] = self._list(one.type, dataspace(one.space), one.data)
        except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
            raise Damage(f"a damaged HDF5 file ({type(error).__name__})") from error
        return found

    def _list(self, type_: memoryview, shape: tuple[int, ...] | None, data: memoryview) -> list[str]:
        (size,) = struct.unpack_from("<I", type_, 4)
        kind = type_[0] & 15
        # An empty list of Keras 2 is one of numbers, and has no text in it.
        count = 0 if shape is None else element_count(shape)
        if count == 0:
            return []
        if len(shape or ()) != 1 or size * count > len(data) or kind not in (_FIXED_TEXT, _FREE_LENGTH):
            raise Damage("a list of names is none")
        self._spend(count)
        if kind == _FIXED_TEXT:
            return [bytes(data[at : at + size]).rstrip(b"\0").decode() for at in range(0, size * count, size)]
        places = [struct.unpack_from("<IQI", data, 16 * number) for number in range(count)]
        return [self._heap(address)[number].decode() for _, address, number in places]

    def _heap(self, address: int) -> dict[int, bytes]:
        """All objects of a global heap by their numbers: the base class walks it for each."""
        if address not in self._heaps:
            signature, version, size = struct.unpack("<4sB3xQ", self._window(address, 16))
            if signature != b"GCOL" or version != 1:
                raise Damage("a heap of texts is damaged")
            heap = self._window(address, size)
            found = self._heaps[address] = {}
            at = 16
            while at + 16 <= len(heap):
                number, length = struct.unpack_from("<H6xQ", heap, at)
                if number == 0 or length > len(heap) - at - 16:
                    break
                self._spend(1)
                found[number] = bytes(heap[at + 16 : at + 16 + length])
                at += 16 + -(-length // 8) * 8
        return self._heaps[address]


def _joined(name: str, part: Any) -> list[str] | None:
    whole: list[str] | None = part(name)
    if whole is not None:
        return whole
    parts: list[str] = []
    for number in range(_MOST_PARTS):
        found = part(f"{name}{number}")
        if found is None:
            return parts if number else None
        parts += found
    raise Damage(f"{name} comes in too many parts")


def _classic_texts(file: ClassicH5) -> Any:
    return _Groups(file).texts


def _library_texts(file: LibraryH5) -> Any:
    """As `_Groups.texts`, by the library."""

    def texts(group: str, name: str) -> list[str] | None:
        def part(key: str) -> list[str] | None:
            try:
                found = (file._file[group] if group else file._file).attrs.get(key)
            except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
                raise Damage(f"a damaged HDF5 file ({type(error).__name__})") from error
            if found is None:
                return None
            return [text.decode() if isinstance(text, bytes) else str(text) for text in found]

        return _joined(name, part)

    return texts
