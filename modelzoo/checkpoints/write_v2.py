"""Writing TensorFlow V2 checkpoints: an index table and one data file, as `tf.train.Saver` would write them.

Messages: tensorflow/core/protobuf/tensor_bundle.proto; `tf_v2` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.checkpoints.crc32c import crc32c, mask
from modelzoo.checkpoints.table_writing import Entry, table_pieces, write_file
from modelzoo.checkpoints.tf_types import DataType, pack_shape
from modelzoo.checkpoints.tf_v2 import shard_name
from modelzoo.checkpoints.wire import FIXED32, pack_field, pack_varint
from modelzoo.checkpoints.write_v1 import prepared

__all__ = ["write_v2"]


def write_v2(prefix: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write named arrays as a V2 checkpoint of one data file, the same every time.

    Each file appears whole or not at all, the index last: until then there is no checkpoint of this name.

    Args:
        prefix: path of the checkpoint without `.index`.
        arrays: name -> array of any type that TensorFlow has, or of objects that are all `bytes`.

    Returns:
        The prefix.

    Raises:
        ArrayError: a type that TensorFlow does not have, or an empty name.
        DiskError: a file cannot be written.
    """
    out = Path(prefix)
    values: list[Any] = []
    entries: list[Entry] = [(b"", (pack_field(1, 1) + pack_field(3, pack_field(1, 1)),))]
    offset = 0
    for name, (array, type_) in sorted(prepared(arrays, "V2").items(), key=lambda item: item[0].encode()):
        stored: Any
        if type_.name == "string":
            stored, checksum = _strings(array)
        else:
            stored = array.reshape(-1).view(np.uint8).data
            checksum = mask(crc32c(stored))
        entries.append((name.encode(), (_entry(array, type_, offset, len(stored), checksum),)))
        values.append(stored)
        offset += len(stored)
    index = out.with_name(out.name + ".index")
    write_file(out.with_name(shard_name(out.name, 0, 1)), values)
    write_file(index, table_pieces(entries))
    return out


def _entry(array: np.ndarray, type_: DataType, offset: int, size: int, checksum: int) -> bytes:
    """A BundleEntryProto; numbers that are 0 are absent fields."""
    numbers = b"".join(pack_field(number, value) for number, value in ((4, offset), (5, size)) if value)
    return (
        pack_field(1, type_.number)
        + pack_field(2, pack_shape(array.shape))
        + numbers
        + pack_varint(6 << 3 | FIXED32)
        + checksum.to_bytes(4, "little")
    )


def _strings(array: np.ndarray) -> tuple[bytes, int]:
    """(stored bytes, masked checksum): the lengths as varints, a checksum over them, all strings back to back."""
    items: list[bytes] = array.ravel().tolist()
    # Checksums run over the lengths at fixed width, not over the varints.
    fixed = b"".join(len(item).to_bytes(4, "little") for item in items)
    seal = mask(crc32c(fixed)).to_bytes(4, "little")
    joined = b"".join(items)
    return b"".join(pack_varint(len(item)) for item in items) + seal + joined, mask(crc32c(fixed + seal + joined))
