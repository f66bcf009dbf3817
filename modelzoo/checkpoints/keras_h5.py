"""Keras' HDF5 files: weights and whole models of Keras 1, 2 and 3, as `group/.../dataset` names them.

Only plain datasets inside the file are read. Links to other files, virtual datasets, external storage and filters
that are no stock ones are refused, since they read other files, run plug-ins or unfold without measure.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from modelzoo.checkpoints.checkpoint import Checkpoint, TensorInfo
from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.tf_types import element_count
from modelzoo.errors import CheckpointFormatError, UnsafeFileError

__all__ = ["KerasH5Checkpoint", "read_tree"]

_DEEPEST = 64
_MOST_OBJECTS = 1_000_000
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip"}
_LARGEST_RATIO = 1100  # deflate cannot do better than about 1030 : 1


class KerasH5Checkpoint(Checkpoint):
    """An HDF5 file of weights. `model_weights/` in front of a whole model's names is left out.

    Args:
        path: of the file, for messages.
        source: a file object to read instead of `path`.
    """

    format = "keras-h5"

    def __init__(self, path: Path, source: BinaryIO | None = None) -> None:
        import h5py

        self.path = path
        self._map = MappedFile(path) if source is None else None
        try:
            self._file = h5py.File(source if source is not None else path, "r")
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointFormatError(
                f"{path.name} is a damaged HDF5 file: {error}.", received=str(path), hint="get it again"
            ) from None
        try:
            with damage_in(path):
                size = self._map.size if self._map is not None else _size(source)
                tree = read_tree(self._file, path, size)
                root = "model_weights/" if any(name.startswith("model_weights/") for name in tree) else ""
                self._names = {name[len(root) :]: name for name in tree if name.startswith(root)}
                self.entries = {name: tree[full] for name, full in self._names.items()}
        except BaseException:
            self.close()
            raise

    @property
    def model_config(self) -> str | None:
        """The architecture as JSON text, where the file of a whole model holds one."""
        found = self._file.attrs.get("model_config")
        if isinstance(found, bytes):
            return found.decode("utf-8", "replace")
        return found if isinstance(found, str) else None

    def _read(self, name: str) -> np.ndarray:
        with damage_in(self.path, name):
            try:
                dataset = self._file[self._names[name]]
                view = self._view(dataset)
                return np.asarray(dataset[()]) if view is None else view
            except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
                raise Damage(f"its values cannot be read ({error})") from None

    def _view(self, dataset: Any) -> np.ndarray | None:
        """The values as a view of the map, where HDF5 stores them in one piece and as they are."""
        offset = dataset.id.get_offset()
        if self._map is None or offset is None or dataset.chunks is not None or dataset.dtype.byteorder == ">":
            return None
        if dataset.dtype.kind not in "iuf" or not dataset.size:
            return None
        window = self._map.window(offset, dataset.size * dataset.dtype.itemsize, "its values")
        return np.frombuffer(window, dataset.dtype).reshape(dataset.shape)

    def close(self) -> None:
        self._file.close()
        if self._map is not None:
            self._map.close()


def _size(source: BinaryIO | None) -> int:
    assert source is not None
    place = source.tell()
    size = source.seek(0, io.SEEK_END)
    source.seek(place)
    return size


def read_tree(file: Any, path: Path, size: int) -> dict[str, TensorInfo]:
    """Names, types and shapes of all datasets of numbers in an open file of `size` bytes; nothing is read yet.

    Raises:
        UnsafeFileError: a link out of the file, a virtual or external dataset, a filter that is no stock one.
        Damage: a shape that the file cannot hold, groups without end.
    """
    found: dict[str, TensorInfo] = {}
    seen: set[Any] = set()
    waiting: list[tuple[str, Any, int]] = [("", file, 0)]
    while waiting:
        name, group, depth = waiting.pop()
        if depth > _DEEPEST or len(seen) > _MOST_OBJECTS:
            raise Damage("its groups are nested too deeply, or too many")
        try:
            children = list(group)
        except (OSError, RuntimeError, ValueError) as error:
            raise Damage(f"a group cannot be read ({error})") from None
        for child in children:
            _follow(group, child, f"{name}{child}", depth, path, size, found, seen, waiting)
    return dict(sorted(found.items()))


def _follow(
    group: Any,
    child: str,
    name: str,
    depth: int,
    path: Path,
    size: int,
    found: dict[str, TensorInfo],
    seen: set[Any],
    waiting: list[tuple[str, Any, int]],
) -> None:
    import h5py

    try:
        link = group.get(child, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise UnsafeFileError(
                f"{path.name}: {name!r} is a link to somewhere else, which is not followed.",
                received=type(link).__name__,
                hint="a weight file holds its numbers itself: get it from where it was made",
            )
        item = group[child]
        key = h5py.h5o.get_info(item.id)
        identity = (key.fileno, key.addr)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise Damage(f"{name!r} cannot be opened ({error})") from None
    if identity in seen:
        return  # a second name of the same object, or a circle
    seen.add(identity)
    if isinstance(item, h5py.Group):
        waiting.append((f"{name}/", item, depth + 1))
    elif isinstance(item, h5py.Dataset):
        _check(item, name, path, size)
        if item.dtype.kind in "biuf":
            found[name] = TensorInfo(item.dtype.name, tuple(item.shape))


def _check(dataset: Any, name: str, path: Path, size: int) -> None:
    try:
        plist = dataset.id.get_create_plist()
        outside = plist.get_external_count() or dataset.is_virtual
        filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
        shape, itemsize = dataset.shape, dataset.dtype.itemsize
        stored = dataset.id.get_storage_size()
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise Damage(f"{name!r} cannot be opened ({error})") from None
    if outside:
        raise UnsafeFileError(
            f"{path.name}: {name!r} keeps its numbers in another file, which is not opened.",
            received=str(path),
            hint="a weight file holds its numbers itself: get it from where it was made",
        )
    strange = [number for number in filters if number not in _FILTERS]
    if strange:
        raise UnsafeFileError(
            f"{path.name}: {name!r} is packed by a filter that is no stock one.",
            received=f"HDF5 filter {strange[0]}",
            hint="save it with gzip or without compression",
        )
    if shape is None:
        return
    whole = element_count(tuple(shape)) * itemsize
    room = size * _LARGEST_RATIO if filters else size
    if stored > size or (whole > room and whole > 0):
        raise Damage(f"{name!r} claims the shape {list(shape)}, more than the file of {size} bytes can hold")
