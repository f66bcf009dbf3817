"""Writing sorted string tables, as TensorFlow's `table::TableBuilder` would: `table` reads them.

Format: https://github.com/google/leveldb/blob/main/doc/table_format.md, with TensorFlow's blocks of 256 kB, no
compression, and an empty metaindex. The same entries always give the same bytes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modelzoo.checkpoints.crc32c import crc32c, mask
from modelzoo.checkpoints.table import FOOTER_BYTES, MAGIC
from modelzoo.checkpoints.wire import pack_varint
from modelzoo.errors import DiskError

__all__ = ["Entry", "table_pieces", "write_file"]

_BLOCK_BYTES = 256 << 10
_RESTART_INTERVAL = 16

Entry = tuple[bytes, Sequence[Any]]
"""A key, and a value as buffers that are joined: large arrays are copied once, into their block."""


def write_file(path: Path, pieces: Iterable[Any]) -> None:
    """Write buffers one after the other; the file appears whole, by a rename, or not at all.

    Raises:
        DiskError: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise DiskError(f"Cannot write {path.name}: {error.strerror}.", received=str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def table_pieces(entries: Iterable[Entry]) -> Iterator[bytes | bytearray]:
    """The bytes of the table of `entries`, which are in ascending order of their keys: blocks, index, footer."""
    index: list[Entry] = []
    offset = 0
    waiting: list[Entry] = []
    waiting_bytes = 0

    def closed() -> bytearray:
        nonlocal offset, waiting, waiting_bytes
        block = _block(waiting, _RESTART_INTERVAL)
        index.append((waiting[-1][0], (pack_varint(offset) + pack_varint(len(block)),)))
        waiting, waiting_bytes = [], 0
        return _sealed(block)

    for key, value in entries:
        waiting.append((key, value))
        waiting_bytes += len(key) + sum(memoryview(part).nbytes for part in value)
        if waiting_bytes >= _BLOCK_BYTES:
            piece = closed()
            yield piece
            offset += len(piece)
    if waiting:
        piece = closed()
        yield piece
        offset += len(piece)
    handles = b""
    for block in (_block([], 1), _block(index, 1)):
        handles += pack_varint(offset) + pack_varint(len(block))
        piece = _sealed(block)
        yield piece
        offset += len(piece)
    yield handles.ljust(FOOTER_BYTES - len(MAGIC), b"\0") + MAGIC


def _block(entries: Sequence[Entry], interval: int) -> bytearray:
    body = bytearray()
    restarts = []
    before = b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % interval == 0:
            restarts.append(len(body))
        else:
            shared = _common(before, key)
        size = sum(memoryview(part).nbytes for part in value)
        body += pack_varint(shared) + pack_varint(len(key) - shared) + pack_varint(size) + key[shared:]
        for part in value:
            body += part
        before = key
    restarts = restarts or [0]
    body += b"".join(start.to_bytes(4, "little") for start in [*restarts, len(restarts)])
    return body


def _common(before: bytes, key: bytes) -> int:
    """How many bytes two keys share at their start."""
    length = min(len(before), len(key))
    return next((at for at in range(length) if before[at] != key[at]), length)


def _sealed(block: bytearray) -> bytearray:
    """The block with its trailer: compression type 0 and the checksum over both."""
    block += b"\0"
    block += mask(crc32c(block)).to_bytes(4, "little")
    return block
