"""HDF5 files of the newer layouts, by way of h5py: each dataset is looked at before any of its values is read.

`h5_classic` reads what almost every Keras file is; this is for the others. Their metadata carry checksums, so that
damage does not reach the library's weak spots.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.checkpoints.checkpoint import TensorInfo
from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.h5_refusals import (
    FILTERS,
    LARGEST_RATIO,
    filter_refused,
    link_refused,
    outside_refused,
    size_refused,
)
from modelzoo.checkpoints.tf_types import element_count
from modelzoo.checkpoints.zip_members import ViewStream

__all__ = ["LibraryH5"]

_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError)
_DEEPEST = 64


class LibraryH5:
    """The datasets of numbers of a file.

    Args:
        data: the file.
        path: of the file, for messages.

    Raises:
        Damage: the file is damaged.
        UnsafeFileError: it has links or unknown filters, or claims more than it holds.
    """

    def __init__(self, data: memoryview, path: Path) -> None:
        import h5py

        self.path = path
        self._data = data
        self._found: dict[str, TensorInfo] = {}
        self._counted: set[Any] = set()
        self._stored = 0
        try:
            # Over the map, and not by name: what is read is what was mapped, and no lock is asked for.
            self._file = h5py.File(ViewStream(data), "r")
        except _ERRORS as error:
            raise Damage(f"a damaged HDF5 file ({_reason(error)})") from error
        try:
            self._group("", self._file, 0)
        except _ERRORS as error:
            self.close()
            raise Damage(f"a damaged HDF5 file ({_reason(error)})") from error
        except BaseException:
            self.close()
            raise
        self.entries = dict(sorted(self._found.items()))

    def close(self) -> None:
        try:
            self._file.close()
        except _ERRORS:
            pass  # of a damaged file; nothing was to be written

    def read(self, name: str) -> np.ndarray:
        """The values of a dataset: a view of the file where they lie in one piece.

        Raises:
            Damage: they are damaged.
        """
        try:
            dataset = self._file[name]
            array = self._view(dataset)
            array = np.asarray(dataset[()]) if array is None else array
        except _ERRORS as error:
            raise Damage(f"its values cannot be read ({_reason(error)})") from error
        if array.shape != self.entries[name].shape:
            raise Damage("its values have another shape than it says")
        return array

    def text(self, name: str) -> str | None:
        """An attribute of the root group that is one text.

        Raises:
            Damage: it is damaged.
        """
        try:
            found = self._file.attrs.get(name)
        except _ERRORS as error:
            raise Damage(f"a damaged HDF5 file ({_reason(error)})") from error
        if isinstance(found, bytes):
            return found.decode("utf-8", "replace")
        return found if isinstance(found, str) else None

    def _view(self, dataset: Any) -> np.ndarray | None:
        offset = dataset.id.get_offset()
        if offset is None or dataset.chunks is not None or dataset.dtype.kind not in "iufV" or not dataset.size:
            return None
        size = dataset.size * dataset.dtype.itemsize
        if offset + size > len(self._data):
            raise Damage("too short for its values")
        return np.frombuffer(self._data[offset : offset + size], dataset.dtype).reshape(dataset.shape)

    def _group(self, prefix: str, group: Any, depth: int) -> None:
        import h5py

        identity = _identity(group)
        if depth > _DEEPEST or identity in self._counted:
            raise Damage("a group is nested too deeply, or has two names")
        self._counted.add(identity)
        for child in group:
            name = prefix + child
            self._require_plain_link(group, child, name)
            item = group[child]
            if isinstance(item, h5py.Group):
                self._group(f"{name}/", item, depth + 1)
            elif isinstance(item, h5py.Dataset):
                self._dataset(name, item)

    def _require_plain_link(self, group: Any, child: str, name: str) -> None:
        import h5py

        try:
            kind = type(group.get(child, getlink=True))
        except TypeError:  # a kind of link that h5py does not know, made by a plug-in
            kind = object
        if kind is not h5py.HardLink:
            known = {h5py.SoftLink: "a soft link", h5py.ExternalLink: "a link to another file"}
            raise link_refused(self.path, name, known.get(kind, "a link of an unknown kind"))

    def _dataset(self, name: str, dataset: Any) -> None:
        """Take in a dataset, if it is one of numbers."""
        settings = dataset.id.get_create_plist()
        if settings.get_external_count() or dataset.is_virtual:
            raise outside_refused(self.path, name)
        packed = [settings.get_filter(number)[0] for number in range(settings.get_nfilters())]
        for number in packed:
            if number not in FILTERS:
                raise filter_refused(self.path, name, number)
        dtype = _type(dataset)
        if dtype is None or dataset.shape is None:
            return
        shape = tuple(int(length) for length in dataset.shape)
        stored = int(dataset.id.get_storage_size())
        needed = element_count(shape, dataset.dtype.itemsize) * dataset.dtype.itemsize
        if needed > (stored * LARGEST_RATIO if packed else stored):
            raise size_refused(self.path, name, f"{dtype} {list(shape)}", stored)
        # Datasets that share bytes would let a small file unfold into a large one; one under two names does not.
        if (identity := _identity(dataset)) not in self._counted:
            self._counted.add(identity)
            self._stored += stored
        if self._stored > len(self._data):
            raise Damage(f"its datasets have more bytes than the file of {len(self._data)}")
        self._found[name] = TensorInfo(dtype, shape)


def _identity(item: Any) -> tuple[int, int]:
    import h5py

    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr


def _type(dataset: Any) -> str | None:
    """The name of the type of a dataset of numbers; None of texts, records and all else."""
    dtype = dataset.dtype
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        return dtype.name
    # Keras 3 stores bfloat16 as opaque pairs of bytes, and says so.
    opaque = dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None
    return "bfloat16" if opaque and "dtype" in dataset.attrs else None


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
