"""Features of many pictures into one file: npz (key = tap), npy (one tap) or parquet (column = tap).

The file appears under its name only when it is complete: it is written beside it and renamed.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modelzoo.errors import DiskError, DiskFullError, ImageError, MissingExtraError, ReadOnlyError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from modelzoo.features.extractor import FeatureExtractor

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
"""Endings that count as pictures when a folder is searched."""


def find_pictures(inputs: str | Path | Iterable[str | Path]) -> list[Path]:
    """Files of `inputs`, each a picture, a folder (searched with all below it, by name) or a glob pattern.

    Raises:
        ImageError: an input does not exist, or nothing was found.
    """
    given = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    found: list[Path] = []
    for item in given:
        path = Path(item).expanduser()
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
            found.extend(sorted(inside, key=lambda p: p.relative_to(path).parts))
        elif path.exists():
            found.append(path)
        elif glob.has_magic(str(item)):
            # Path.glob takes no absolute pattern.
            found.extend(sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file()))  # noqa: PTH207
        else:
            raise ImageError("There is no such picture or folder.", received=str(item), hint="check the path")
    if not found:
        raise ImageError(
            "No picture was found.",
            received=", ".join(str(item) for item in given) or "nothing",
            hint=f"pictures end in {' '.join(sorted(PICTURES))}",
        )
    return found


class _Writer(Protocol):
    def add(self, paths: list[Path], features: Mapping[str, np.ndarray]) -> None: ...
    def close(self) -> None: ...


class _NpzWriter:
    """npz: key = tap, rows in the order of the inputs."""

    def __init__(self, target: Path, count: int) -> None:
        self._target = target
        self._parts: dict[str, list[np.ndarray]] = {}

    def add(self, paths: list[Path], features: Mapping[str, np.ndarray]) -> None:
        for tap, rows in features.items():
            self._parts.setdefault(tap, []).append(rows)

    def close(self) -> None:
        import numpy as np

        with self._target.open("wb") as file:
            # Tap names may hold slashes: fine in a zip.
            arrays: dict[str, Any] = {tap: np.concatenate(rows) for tap, rows in self._parts.items()}
            np.savez(file, **arrays)


class _NpyWriter:
    """npy: one tap, written into a memory map as it comes."""

    def __init__(self, target: Path, count: int) -> None:
        self._target, self._count, self._row = target, count, 0
        self._map: Any = None

    def add(self, paths: list[Path], features: Mapping[str, np.ndarray]) -> None:
        import numpy as np

        (rows,) = features.values()
        if self._map is None:
            shape = (self._count, *rows.shape[1:])
            self._map = np.lib.format.open_memmap(self._target, mode="w+", dtype=np.float32, shape=shape)
        self._map[self._row : self._row + len(rows)] = rows
        self._row += len(rows)

    def close(self) -> None:
        self._map.flush()


class _ParquetWriter:
    """parquet: `path`, then one column a tap, a fixed-size list in C order; its shape is in the field's metadata."""

    def __init__(self, target: Path, count: int) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise MissingExtraError("parquet", "pyarrow", "Writing parquet") from error
        self._arrow = pyarrow
        self._target = target
        self._writer: Any = None

    def add(self, paths: list[Path], features: Mapping[str, np.ndarray]) -> None:
        import json

        pa = self._arrow
        columns = [pa.array([str(path) for path in paths])]
        fields = [pa.field("path", pa.string())]
        for tap, rows in features.items():
            width = int(rows[0].size)
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), width))
            fields.append(
                pa.field(tap, pa.list_(pa.float32(), width), metadata={"shape": json.dumps(list(rows.shape[1:]))})
            )
        batch = pa.record_batch(columns, schema=pa.schema(fields))
        if self._writer is None:
            self._writer = pa.parquet.ParquetWriter(str(self._target), batch.schema)
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


WRITERS: dict[str, Callable[[Path, int], _Writer]] = {
    ".npz": _NpzWriter,
    ".npy": _NpyWriter,
    ".parquet": _ParquetWriter,
}
"""File ending -> writer."""


def check_output(out: str | Path, taps: Iterable[str]) -> Path:
    """`out` as a path that can be written; raised before any picture is read.

    Raises:
        UsageError: an ending that no writer knows, or several taps for `.npy`.
        ReadOnlyError: its folder does not exist or may not be written.
    """
    path = Path(out).expanduser()
    if path.suffix not in WRITERS:
        raise UsageError("The output's ending chooses its format.", received=str(out), hint=" | ".join(WRITERS))
    names = list(taps)
    if path.suffix == ".npy" and len(names) != 1:
        raise UsageError(
            "An .npy file holds one tap.", received=", ".join(names), hint="choose one tap, or write .npz or .parquet"
        )
    if not path.parent.is_dir():
        raise ReadOnlyError("The output's folder does not exist.", received=str(path.parent), hint="create it first")
    if not os.access(path.parent, os.W_OK):
        raise ReadOnlyError("The output's folder may not be written.", received=str(path.parent))
    return path


@contextmanager
def _complete_or_nothing(path: Path) -> Iterator[Path]:
    import errno

    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                "The disk is full; nothing was written.", received=str(path), hint="free space or choose another folder"
            ) from error
        raise DiskError(
            f"The output could not be written: {error.strerror or error}.", received=str(path), hint="check the path"
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def extract(
    extractor: FeatureExtractor,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    batch_size: int = 32,
    progress: bool | None = None,
) -> dict[str, tuple[int, ...]]:
    """Write the features of pictures to a file, in the order of the inputs.

    Args:
        extractor: what computes them.
        inputs: pictures, folders and glob patterns.
        out: `.npz`, `.npy` (one tap) or `.parquet`.
        batch_size: how many pictures go through the network at once.
        progress: a bar; None = only on a terminal.

    Returns:
        {tap: shape of what was written}, (N, ...).

    Raises:
        ImageError: a file is no picture; nothing is written.
        UsageError, ReadOnlyError, DiskFullError, DiskError, MissingExtraError: the output cannot be written.
    """
    from tqdm import tqdm

    path = check_output(out, extractor.taps)
    pictures = find_pictures(inputs)
    shapes: dict[str, tuple[int, ...]] = {}
    with _complete_or_nothing(path) as beside:
        writer = WRITERS[path.suffix](beside, len(pictures))
        done = 0
        disable = None if progress is None else not progress
        with tqdm(total=len(pictures), unit="img", disable=disable, desc="features") as bar:
            for features in extractor.batches(pictures, batch_size):
                count = len(next(iter(features.values())))
                writer.add(pictures[done : done + count], features)
                done += count
                bar.update(count)
                shapes = {tap: (len(pictures), *rows.shape[1:]) for tap, rows in features.items()}
        writer.close()
    return shapes
