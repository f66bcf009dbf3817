"""Writing TensorFlow V1 checkpoints: one table, as `tf.compat.v1.train.Saver(write_version=V1)` would write it.

Messages: tensorflow/core/util/saved_tensor_slice.proto; `tf_v1` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.checkpoints.table_writing import Entry, table_pieces, write_file
from modelzoo.checkpoints.tf_types import DataType, Extent, pack_shape, slice_key, type_of
from modelzoo.checkpoints.wire import pack_field, pack_varint, pack_varints
from modelzoo.errors import ArrayError

__all__ = ["prepared", "write_v1"]

_LARGEST_MESSAGE = (1 << 31) - 1  # of protocol buffers, hence of one tensor
# TensorFlow itself writes no others to V1.
_FLOATS = ("float16", "float32", "float64", "complex64", "complex128")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16")
_TYPES = frozenset([*_FLOATS, *_INTEGERS, "bool", "string"])


def write_v1(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write named arrays as a V1 checkpoint; the file appears whole or not at all, and is the same every time.

    Args:
        path: of the file.
        arrays: name -> array of any shape: floats and complex numbers of 16 to 128 bits, integers but uint32 and
            uint64, bool, or objects that are all `bytes`.

    Returns:
        The path.

    Raises:
        ArrayError: a type that the format cannot hold, more than 2 GB in one array, or an empty name.
        DiskError: the file cannot be written.
    """
    out = Path(path)
    ready = prepared(arrays, "V1", _TYPES)
    meta = b"".join(
        pack_field(
            1,
            pack_field(1, name.encode())
            + pack_field(2, pack_shape(array.shape))
            + pack_field(3, type_.number)
            + pack_field(4, _whole(array.ndim)),
        )
        for name, (array, type_) in ready.items()
    )
    producer = pack_field(2, pack_field(1, 1))
    entries: list[Entry] = [(b"", (pack_field(1, meta + producer),))]
    for name, (array, type_) in ready.items():
        key = slice_key(name.encode(), tuple(Extent() for _ in array.shape))
        entries.append((key, _saved(name, array, type_)))
    entries.sort(key=lambda entry: entry[0])
    write_file(out, table_pieces(entries))
    return out


def prepared(
    arrays: Mapping[str, Any], version: str, types: frozenset[str] | None = None
) -> dict[str, tuple[np.ndarray, DataType]]:
    """Arrays in order of their names, little-endian and C-contiguous, with TensorFlow's type of each.

    Raises:
        ArrayError: a type that is not among `types` (None: not TensorFlow's), or an empty name.
    """
    ready = {}
    for name, given in sorted(arrays.items()):
        array = np.asarray(given)
        type_ = type_of(array.dtype)
        if not name or type_ is None or (types is not None and type_.name not in types):
            raise ArrayError(
                f"A {version} checkpoint cannot hold {name!r}." if name else "A tensor needs a name.",
                received=str(array.dtype),
                hint=f"known types: {', '.join(sorted(types))}" if types else None,
            )
        if type_.name == "string" and not all(isinstance(item, bytes) for item in array.ravel()):
            raise ArrayError(f"{name!r} holds objects that are not bytes.", hint="encode strings first")
        array = array.astype(type_.dtype, copy=False)
        ready[name] = (np.ascontiguousarray(array).reshape(array.shape), type_)
    return ready


def _whole(rank: int) -> bytes:
    """A TensorSliceProto: an empty extent is a whole axis."""
    return b"".join(pack_field(1, b"") for _ in range(rank))


def _saved(name: str, array: np.ndarray, type_: DataType) -> tuple[Any, ...]:
    """A SavedTensorSlices message with the values, as buffers to be joined."""
    values: Any
    if type_.name == "string":
        values = b"".join(pack_field(type_.proto_field, item) for item in array.ravel())
        begin = b""
    else:
        if type_.name in ("float32", "float64", "complex64", "complex128"):
            values = array.reshape(-1).view(np.uint8).data
        elif type_.name == "float16":
            values = pack_varints(array.reshape(-1).view(np.uint16))
        else:
            values = pack_varints(array.reshape(-1))
        # Of no values there is no field at all.
        begin = pack_varint(type_.proto_field << 3 | 2) + pack_varint(len(values)) if len(values) else b""
    inner = pack_field(1, name.encode()) + pack_field(2, _whole(array.ndim))
    proto_size = len(begin) + len(values)
    begin = inner + pack_varint(3 << 3 | 2) + pack_varint(proto_size) + begin
    size = len(begin) + len(values)
    if size > _LARGEST_MESSAGE:
        raise ArrayError(
            f"A V1 checkpoint cannot hold {name!r}: it has more than 2 GB.",
            received=f"{array.dtype} {list(array.shape)}",
            hint="write a V2 checkpoint",
        )
    return pack_varint(2 << 3 | 2) + pack_varint(size) + begin, values
