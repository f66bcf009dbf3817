"""The formats of the output, each written from a complete journal in the order of the inputs, a batch at a time.

========== =================================================================================================
`.npz`     an array (N, ...) for each tap, its key the tap's name
`.npy`     one array (N, ...), of one tap; `numpy.load(path, mmap_mode="r")` maps it
`.parquet` `path`, a column for each tap (fixed-size list, C order; shape in the field's metadata), `sha256`
`.tfrecord` a `tf.train.Example` for each picture: `path`, `sha256`, floats for each tap, int64 `TAP/shape`
========== =================================================================================================

No format holds a time or anything else that differs between two runs.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from modelzoo.features.journal import Journal

__all__ = ["WRITERS", "check_taps"]

_GROUP_BYTES = 64 << 20
_GROUP_ROWS = 8192

Shapes = Mapping[str, tuple[int, ...]]
Writer = Callable[[Path, "Journal", Sequence[Path], Shapes], None]


def write_npz(target: Path, journal: Journal, paths: Sequence[Path], shapes: Shapes) -> None:
    """Each tap streams into its member of the archive: no array is in memory as a whole."""
    import zipfile

    import numpy as np

    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for tap, shape in shapes.items():
            # A member of a ZipInfo made from a name alone carries the year 1980, not the clock.
            with archive.open(zipfile.ZipInfo(f"{tap}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, _npy_header(shape))
                for rows in journal.values(tap):
                    member.write(rows.tobytes())


def write_npy(target: Path, journal: Journal, paths: Sequence[Path], shapes: Shapes) -> None:
    """The header says how many rows follow; they are appended."""
    import numpy as np

    ((tap, shape),) = shapes.items()
    with target.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, _npy_header(shape))
        for rows in journal.values(tap):
            file.write(rows.tobytes())


def _npy_header(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"descr": "<f4", "fortran_order": False, "shape": shape}


def write_parquet(target: Path, journal: Journal, paths: Sequence[Path], shapes: Shapes) -> None:
    """Row groups of about 64 MiB, whatever the batches were."""
    import numpy as np

    pa = _pyarrow()
    fields = [pa.field("path", pa.string())]
    widths = {tap: math.prod(shape[1:]) for tap, shape in shapes.items()}
    for tap, shape in shapes.items():
        kind = pa.list_(pa.float32(), widths[tap])
        fields.append(pa.field(tap, kind, metadata={"shape": json.dumps(list(shape[1:]))}))
    schema = pa.schema([*fields, pa.field("sha256", pa.string())])
    rows_a_group = min(_GROUP_ROWS, max(1, _GROUP_BYTES // (4 * sum(widths.values()))))

    def columns(names: list[str], taps: Mapping[str, np.ndarray], digests: list[str]) -> Any:
        arrays = [
            pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(taps[tap]).reshape(-1)), width)
            for tap, width in widths.items()
        ]
        return pa.Table.from_arrays([pa.array(names, pa.string()), *arrays, pa.array(digests)], schema=schema)

    names: list[str] = []
    digests: list[str] = []
    held: dict[str, list[np.ndarray]] = {tap: [] for tap in shapes}

    def flush(count: int) -> None:
        taps = {tap: np.concatenate(parts) for tap, parts in held.items()}
        table = columns(names[:count], {tap: values[:count] for tap, values in taps.items()}, digests[:count])
        writer.write_table(table, row_group_size=count)
        del names[:count], digests[:count]
        for tap, values in taps.items():
            held[tap] = [values[count:]]

    with pa.parquet.ParquetWriter(str(target), schema) as writer:
        for batch in journal.batches():
            if not batch.rows:
                continue
            names += [_text(paths[position]) for position in batch.rows]
            digests += batch.digests
            for tap, values in batch.features.items():
                held[tap].append(values)
            while len(names) >= rows_a_group:
                flush(rows_a_group)
        if names:
            flush(len(names))


def write_tfrecord(target: Path, journal: Journal, paths: Sequence[Path], shapes: Shapes) -> None:
    """One record a picture; `tf.io.parse_single_example` with `FixedLenFeature(shape, tf.float32)` reads a tap."""
    import tensorflow as tf

    train = tf.train

    def text(value: str) -> Any:
        # A path need not be UTF-8: it is written as the bytes that the system knows.
        return train.Feature(bytes_list=train.BytesList(value=[value.encode("utf-8", "surrogateescape")]))

    sides = {f"{tap}/shape": shape[1:] for tap, shape in shapes.items()}
    fixed = {name: train.Feature(int64_list=train.Int64List(value=value)) for name, value in sides.items()}
    with tf.io.TFRecordWriter(str(target)) as writer:
        for batch in journal.batches():
            for place, position in enumerate(batch.rows):
                record = {"path": text(str(paths[position])), "sha256": text(batch.digests[place]), **fixed}
                for tap, values in batch.features.items():
                    record[tap] = train.Feature(float_list=train.FloatList(value=values[place].reshape(-1)))
                example = train.Example(features=train.Features(feature=record))
                # Maps have no order of their own in protobuf.
                writer.write(example.SerializeToString(deterministic=True))


def _text(path: Path) -> str:
    """A path as Unicode: file systems allow names that are none, parquet does not."""
    return os.fsencode(path).decode("utf-8", "replace")


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("parquet", "pyarrow", "Writing parquet") from error
    return pyarrow


WRITERS: dict[str, Writer] = {
    ".npz": write_npz,
    ".npy": write_npy,
    ".parquet": write_parquet,
    ".tfrecord": write_tfrecord,
}
"""File ending -> writer."""


def check_taps(ending: str, taps: Sequence[str]) -> None:
    """Whether a format can hold these taps, and its package is installed.

    Raises:
        UsageError: several taps for `.npy`, or a tap that is called as a column that the format has already.
        MissingExtraError: parquet without pyarrow.
    """
    if ending == ".npy" and len(taps) != 1:
        raise UsageError(
            "An .npy file holds one tap.", received=", ".join(taps), hint="choose one tap, or write .npz or .parquet"
        )
    if ending == ".parquet":
        _pyarrow()
    if ending in (".parquet", ".tfrecord"):
        taken = {"path", "sha256", *(f"{tap}/shape" for tap in taps if ending == ".tfrecord")} & set(taps)
        if taken:
            raise UsageError(
                f"A {ending} file has a column of its own of that name.",
                received=", ".join(sorted(taken)),
                hint="write .npz",
            )
