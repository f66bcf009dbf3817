"""The journal of an extraction: one file beside the output that every computed batch is appended to.

It makes a run resumable: a process that is killed loses the batches that it was computing, and nothing else. Layout,
numbers little-endian::

    frame   := b"MZFJ" length:u32 size:u64 crc32:u32 header[length] body[size]     CRC-32 of header + body
    journal := frame (header: the settings, JSON) frame* (header: a batch, JSON; body: its arrays, float32, C order)

A frame that is cut short or whose CRC-32 differs ends the journal: it was being written when the process or the
machine stopped, and is overwritten.
"""

from __future__ import annotations

import json
import math
import os
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = ["Batch", "Journal", "Outline", "as_frame", "read_settings"]

_HEAD = struct.Struct("<4sIQI")
_MAGIC = b"MZFJ"
_LONGEST_HEADER = 1 << 28
_SYNC_EVERY = 10.0  # seconds; a killed process loses nothing by it, a power cut at most this much


@dataclass(frozen=True)
class Batch:
    """What one batch gave.

    Attributes:
        number: of the batch.
        rows: positions of its pictures among all inputs, ascending.
        digests: SHA-256 of each picture's file, hexadecimal.
        skipped: (position, what is wrong) of inputs that are no pictures.
        features: tap -> float32 (N, ...), N = number of rows; empty when N is 0.
    """

    number: int
    rows: list[int]
    digests: list[str]
    skipped: list[tuple[int, str]]
    features: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Outline:
    """A batch without its features: `shapes` are theirs, {tap: (N, ...)}."""

    rows: list[int]
    skipped: list[tuple[int, str]]
    shapes: dict[str, tuple[int, ...]]


def as_frame(batch: Batch) -> bytes:
    """The bytes of a batch, the same for the same batch."""
    header = {
        "number": batch.number,
        "rows": batch.rows,
        "sha256": batch.digests,
        "skipped": batch.skipped,
        "shapes": {tap: list(values.shape) for tap, values in batch.features.items()},
    }
    arrays = [np.ascontiguousarray(values, "<f4").data.cast("B") for values in batch.features.values() if values.size]
    return _framed(json.dumps(header).encode(), b"".join(arrays))


def _framed(header: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(body, zlib.crc32(header))
    return _HEAD.pack(_MAGIC, len(header), len(body), crc) + header + body


def _read_frame(file: BinaryIO, left: int) -> tuple[bytes, bytes] | None:
    """Header and body of the frame at the file's position, `left` bytes before its end; None where it is not whole."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    magic, length, size, crc = _HEAD.unpack(head)
    if magic != _MAGIC or length > _LONGEST_HEADER or _HEAD.size + length + size > left:
        return None
    header = file.read(length)
    body = file.read(size)
    if len(header) != length or len(body) != size or zlib.crc32(body, zlib.crc32(header)) != crc:
        return None
    return header, body


def read_settings(path: Path) -> dict[str, object] | None:
    """The settings that a journal was begun with; None where there is no journal, or no whole frame in it."""
    try:
        with path.open("rb") as file:
            frame = _read_frame(file, path.stat().st_size)
    except FileNotFoundError:
        return None
    if frame is None:
        return None
    settings = json.loads(frame[0])
    return settings if isinstance(settings, dict) else None


class Journal:
    """An open journal.

    Args:
        path: its file; continued where it is whole, begun where it is absent.
        settings: what the extraction depends on, as JSON values; written at the beginning.

    Attributes:
        path: its file.
        done: number of a batch -> number of inputs it covered, of the batches that the file holds.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self.path = path
        self.done: dict[int, int] = {}
        self._places: dict[int, int] = {}
        self._file = path.open("r+b" if path.exists() else "w+b")
        try:
            self._end = self._scan()
            self._file.seek(self._end)
            self._file.truncate()
            if self._end == 0:
                self._write(_framed(json.dumps(settings).encode(), b""))
            self._synced = time.monotonic()
        except BaseException:
            self._file.close()
            raise

    def _scan(self) -> int:
        """Finds the whole frames; returns where they end."""
        end = 0
        total = os.fstat(self._file.fileno()).st_size
        while (frame := _read_frame(self._file, total - end)) is not None:
            header, body = frame
            if end:
                fields = json.loads(header)
                self.done[fields["number"]] = len(fields["rows"]) + len(fields["skipped"])
                self._places[fields["number"]] = end
            end += _HEAD.size + len(header) + len(body)
        return end

    def _write(self, frame: bytes) -> None:
        self._file.seek(self._end)
        self._file.write(frame)
        self._file.flush()  # to the system: it outlives this process
        self._end += len(frame)

    def append(self, frame: bytes) -> Batch:
        """Adds the frame of a batch, unless the journal has that batch already; returns the batch."""
        batch = _as_batch(*_split(frame))
        if batch.number not in self.done:
            self._places[batch.number] = self._end
            self._write(frame)
            self.done[batch.number] = len(batch.rows) + len(batch.skipped)
            if time.monotonic() - self._synced > _SYNC_EVERY:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        return batch

    def batches(self) -> Iterator[Batch]:
        """The batches by their number, whatever order they came in, each read when it is needed."""
        for number in sorted(self._places):
            self._file.seek(self._places[number])
            frame = _read_frame(self._file, self._end - self._places[number])
            if frame is None:
                raise OSError(f"the journal changed while it was read (batch {number})")
            yield _as_batch(*frame)

    def _header(self, number: int) -> dict[str, Any]:
        """The header of a batch; the file stands at its body afterwards."""
        self._file.seek(self._places[number])
        _, length, _, _ = _HEAD.unpack(self._file.read(_HEAD.size))
        header: dict[str, Any] = json.loads(self._file.read(length))
        return header

    def outlines(self) -> Iterator[Outline]:
        """The batches by their number without their features, which are not read."""
        for number in sorted(self._places):
            header = self._header(number)
            shapes = {tap: tuple(shape) for tap, shape in header["shapes"].items()}
            yield Outline(header["rows"], [(position, what) for position, what in header["skipped"]], shapes)

    def values(self, tap: str) -> Iterator[np.ndarray]:
        """float32 (N, ...) of one tap, batch after batch; nothing else of the bodies is read."""
        for number in sorted(self._places):
            for name, shape in self._header(number)["shapes"].items():
                size = 4 * math.prod(shape)
                if name == tap:
                    yield np.frombuffer(self._file.read(size), "<f4").reshape(shape)
                else:
                    self._file.seek(size, os.SEEK_CUR)

    def close(self) -> None:
        """Closes the file; it stays."""
        self._file.close()


def _split(frame: bytes) -> tuple[bytes, bytes]:
    _, length, _, _ = _HEAD.unpack_from(frame)
    return frame[_HEAD.size : _HEAD.size + length], frame[_HEAD.size + length :]


def _as_batch(header: bytes, body: bytes) -> Batch:
    fields = json.loads(header)
    features: dict[str, np.ndarray] = {}
    offset = 0
    for tap, shape in fields["shapes"].items():
        count = math.prod(shape)
        features[tap] = np.frombuffer(body, "<f4", count, offset).reshape(shape)
        offset += 4 * count
    skipped = [(position, what) for position, what in fields["skipped"]]
    return Batch(fields["number"], fields["rows"], fields["sha256"], skipped, features)
