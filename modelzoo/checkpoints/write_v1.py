"""Writing TensorFlow V1 checkpoints: one table, as `tf.compat.v1.train.Saver(write_version=V1)` would write it.

Format: tensorflow/core/util/saved_tensor_slice.proto in LevelDB's table format.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from modelzoo.checkpoints.crc32c import crc32c, mask
from modelzoo.checkpoints.table import FOOTER_BYTES, MAGIC
from modelzoo.checkpoints.tf_types import Extent, slice_key
from modelzoo.errors import ArrayError, DiskError

__all__ = ["write_v1"]

_BLOCK = 256 << 10
_RESTARTS = 16

#: NumPy dtype -> (TensorFlow's number of the type, field of TensorProto).
_TYPES = {"float32": (1, 5), "float64": (2, 6), "int32": (3, 7), "int64": (9, 10), "bool": (10, 11)}


def write_v1(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write named arrays as a V1 checkpoint; the file appears whole or not at all, and is the same every time.

    Args:
        path: of the file.
        arrays: name -> float32, float64, int32, int64 or bool array of any shape.

    Raises:
        ArrayError: a type that the format cannot hold, or an empty name.
        DiskError: the file cannot be written.
    """
    out = Path(path)
    prepared = {name: _checked(name, array) for name, array in sorted(arrays.items())}
    entries = [(b"", _field(1, _meta(prepared)))]
    for name, array in prepared.items():
        whole = tuple(Extent(0, None) for _ in array.shape)
        entries.append((slice_key(name.encode(), whole), _field(2, _saved(name, array))))
    entries.sort()
    partial = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            for piece in _table(entries):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DiskError(f"Cannot write {out.name}: {error.strerror}.", received=str(out)) from error
    return out


def _checked(name: str, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if not name or array.dtype.name not in _TYPES:
        raise ArrayError(
            f"A V1 checkpoint cannot hold {name!r}.",
            received=str(array.dtype),
            hint=f"known types: {', '.join(_TYPES)}",
        )
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).reshape(array.shape)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _shape(shape: tuple[int, ...]) -> bytes:
    return b"".join(_field(2, _field(1, size) if size else b"") for size in shape)


def _whole(rank: int) -> bytes:
    """A TensorSliceProto: an empty extent is a whole axis."""
    return b"".join(_field(1, b"") for _ in range(rank))


def _meta(arrays: Mapping[str, np.ndarray]) -> bytes:
    tensors = (
        _field(1, name.encode())
        + _field(2, _shape(array.shape))
        + _field(3, _TYPES[array.dtype.name][0])
        + _field(4, _whole(array.ndim))
        for name, array in arrays.items()
    )
    return b"".join(_field(1, tensor) for tensor in tensors) + _field(2, _field(1, 1))


def _saved(name: str, array: np.ndarray) -> bytes:
    if array.dtype.kind == "f":
        packed = array.tobytes()
    else:
        packed = b"".join(_varint(int(value)) for value in array.ravel())
    proto = _field(_TYPES[array.dtype.name][1], packed) if array.size else b""
    return _field(1, name.encode()) + _field(2, _whole(array.ndim)) + _field(3, proto)


def _block(entries: Iterable[tuple[bytes, bytes]], interval: int) -> bytes:
    body = bytearray()
    restarts = []
    before = b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % interval == 0:
            restarts.append(len(body))
        else:
            shared = _common(before, key)
        body += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    restarts = restarts or [0]
    return bytes(body) + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))


def _common(before: bytes, key: bytes) -> int:
    """How many bytes two keys share at their start."""
    length = min(len(before), len(key))
    return next((at for at in range(length) if before[at] != key[at]), length)


def _table(entries: list[tuple[bytes, bytes]]) -> Iterable[bytes]:
    """The pieces of the file: data blocks, metaindex, index, footer."""
    index = []
    offset = 0
    waiting: list[tuple[bytes, bytes]] = []
    size = 0

    def stored(block: bytes) -> bytes:
        return block + b"\0" + struct.pack("<I", mask(crc32c(block + b"\0")))

    for number, entry in enumerate(entries):
        waiting.append(entry)
        size += len(entry[0]) + len(entry[1])
        if size >= _BLOCK or number == len(entries) - 1:
            block = _block(waiting, _RESTARTS)
            index.append((waiting[-1][0], _varint(offset) + _varint(len(block))))
            piece = stored(block)
            yield piece
            offset += len(piece)
            waiting, size = [], 0
    handles = b""
    for block in (_block([], 1), _block(index, 1)):
        handles += _varint(offset) + _varint(len(block))
        piece = stored(block)
        yield piece
        offset += len(piece)
    yield handles.ljust(FOOTER_BYTES - len(MAGIC), b"\0") + MAGIC
