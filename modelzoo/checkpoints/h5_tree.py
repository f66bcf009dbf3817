"""The datasets of an HDF5 file, each looked at before any of its values is read.

HDF5 has links, storage in other files, plug-ins, and shapes without values: a file that uses them is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelzoo.checkpoints.checkpoint import TensorInfo
from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.tf_types import element_count
from modelzoo.errors import UnsafeFileError

__all__ = ["H5_ERRORS", "read_tree"]

H5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError)
"""What h5py raises when it meets damage."""

_DEEPEST = 64
_MOST_LINKS = 1_000_000
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 32000: "lzf"}  # all compiled into h5py
_LARGEST_RATIO = 1100  # deflate cannot do better than about 1030 : 1


def read_tree(file: Any, path: Path, size: int) -> dict[str, TensorInfo]:
    """Types and shapes of all datasets of numbers by their names, in an open `h5py.File` of `size` bytes.

    Args:
        file: the open file.
        path: of the file, for messages.
        size: of the file, in bytes.

    Raises:
        UnsafeFileError: a link, a virtual or external dataset, a filter that h5py does not bring along.
        Damage: a shape that the file cannot hold, values that are not there, groups nested without end.
    """
    search = _Search(path, size)
    try:
        search.group("", file, 0)
    except H5_ERRORS as error:
        raise Damage(f"a damaged HDF5 file ({type(error).__name__}: {str(error)[:200]})") from error
    return dict(sorted(search.found.items()))


@dataclass
class _Search:
    path: Path
    size: int
    found: dict[str, TensorInfo] = field(default_factory=dict)
    links: int = 0
    counted: set[Any] = field(default_factory=set)
    stored: int = 0  # bytes of the datasets that were counted
    inside: list[Any] = field(default_factory=list)  # the groups around the one that is looked at

    def group(self, prefix: str, group: Any, depth: int) -> None:
        """All children of a group whose path is `prefix`."""
        import h5py

        identity = _identity(group)
        if depth > _DEEPEST or identity in self.inside:
            raise Damage("its groups are nested without end")
        self.inside.append(identity)
        for child in group:
            self.links += 1
            if self.links > _MOST_LINKS:
                raise Damage("it has too many groups and datasets")
            name = prefix + child
            self.require_plain_link(group, child, name)
            item = group[child]
            if isinstance(item, h5py.Group):
                self.group(f"{name}/", item, depth + 1)
            elif isinstance(item, h5py.Dataset):
                self.dataset(name, item)
        self.inside.pop()

    def require_plain_link(self, group: Any, child: str, name: str) -> None:
        import h5py

        try:
            kind = type(group.get(child, getlink=True))
        except TypeError:  # a kind of link that h5py does not know, made by a plug-in
            kind = object
        if kind is not h5py.HardLink:
            raise UnsafeFileError(
                f"{self.path.name}: {name!r} is a link to somewhere else, which is not followed.",
                received={h5py.SoftLink: "a soft link", h5py.ExternalLink: "a link to another file"}.get(
                    kind, "a link of an unknown kind"
                ),
                hint="a weight file holds its numbers itself: get it from where it was made",
            )

    def dataset(self, name: str, dataset: Any) -> None:
        """Take in a dataset, if it is one of numbers."""
        settings = dataset.id.get_create_plist()
        if settings.get_external_count() or dataset.is_virtual:
            raise UnsafeFileError(
                f"{self.path.name}: {name!r} keeps its numbers in another file, which is not opened.",
                hint="a weight file holds its numbers itself: get it from where it was made",
            )
        filters = [settings.get_filter(number)[0] for number in range(settings.get_nfilters())]
        strange = [number for number in filters if number not in _FILTERS]
        if strange:
            raise UnsafeFileError(
                f"{self.path.name}: {name!r} is packed by a filter that is no stock one.",
                received=f"HDF5 filter {strange[0]}",
                hint="save it with gzip or without compression",
            )
        if dataset.shape is None:
            return
        shape = tuple(int(length) for length in dataset.shape)
        dtype = _name(dataset)
        if dtype is None:
            return
        stored = int(dataset.id.get_storage_size())
        needed = element_count(shape, dataset.dtype.itemsize) * dataset.dtype.itemsize
        if needed > (stored * _LARGEST_RATIO if filters else stored):
            raise UnsafeFileError(
                f"{self.path.name}: {name!r} claims more numbers than the file can hold.",
                received=f"{dtype} {list(shape)} in {stored} bytes",
                hint="the file is damaged or made to exhaust the memory: get it from where it was made",
            )
        # Datasets that share bytes would let a small file unfold into a large one; one under two names does not.
        if (identity := _identity(dataset)) not in self.counted:
            self.counted.add(identity)
            self.stored += stored
        if self.stored > self.size:
            raise Damage(f"its datasets have more bytes than the file of {self.size}")
        self.found[name] = TensorInfo(dtype, shape)


def _identity(item: Any) -> tuple[int, int]:
    import h5py

    info = h5py.h5o.get_info(item.id)
    return info.fileno, info.addr


def _name(dataset: Any) -> str | None:
    """The name of the type of a dataset of numbers; None of texts, records and all else."""
    dtype = dataset.dtype
    if dtype.kind in "biufc":
        return dtype.name
    # Keras 3 stores bfloat16 as opaque pairs of bytes, and says so.
    if dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None:
        said = dataset.attrs.get("dtype")
        if said in ("bfloat16", b"bfloat16"):
            return "bfloat16"
    return None
