"""CRC-32C (Castagnoli), the checksum of TensorFlow's checkpoint files, at memory speed with NumPy alone.

A table loop in Python reads some 10 MB/s, which would dwarf everything else a reader does. Instead the message is
shortened by *sparse multiples* of the generator polynomial P, the idea of Chorba (K. Russell, "Chorba: A novel
CRC32 implementation", 2024). A message is a polynomial over GF(2), and its checksum is the remainder modulo P. Where
``x^k + x^a + x^b + 1`` is a multiple of P, a term ``x^(m+k)`` may be replaced by ``x^(m+a) + x^(m+b) + x^m``, which
is an exclusive or into three later places. Squaring keeps the number of terms over GF(2), so the 64th power of that
multiple moves whole 64-bit words: three vector operations for each part of the message, and no table.

What is left, about two kilobytes, is cut into rows. A row's bytes are looked up in a table that has an entry for each
(distance from the end, byte value) pair, and the entries are combined by exclusive or; then row is added to row, each
time after the sum so far was moved on by a row's length. The table is small because it is computed at first use.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["combine", "crc32c", "mask", "unmask"]

_REFLECTED = 0x82F63B78
_ONES = 0xFFFFFFFF

# For distances d of one row, x^max(d) equals the sum of x^(max(d) - d) over the row (d < max) plus 1, modulo P.
# Found by a search among all products of low degree; a test proves them from P. A first distance that is large beside
# the last lets long runs be moved at once. The first row costs 3 operations a word but leaves 45 kB, the second 5 and
# leaves 2 kB.
_LONG = (4323, 5259, 5685)
_SHORT = (123, 145, 178, 195, 266)

_WORD = 8
_REST_BYTES = _SHORT[-1] * _WORD
_ROW_BYTES = 128
_FEW = 100  # of fewer checksums, NumPy's calls take longer than the work
_SEGMENT_WORDS = 1 << 15  # 256 kB: the working buffer stays in the second-level cache


def crc32c(data: Any) -> int:
    """CRC-32C of bytes.

    Args:
        data: anything with a C-contiguous buffer (bytes, memoryview, ndarray); its bytes are read, none is changed.

    Returns:
        The checksum, 0 .. 2**32 - 1, start value and final exclusive or ``0xffffffff`` (RFC 3720, appendix B.4):
        that of ``b"123456789"`` is ``0xe3069283``.
    """
    message = np.frombuffer(data, dtype=np.uint8) if memoryview(data).nbytes else np.empty(0, dtype=np.uint8)
    if message.size < 64:
        crc = _ONES
        table = _byte_table()
        for byte in message.tobytes():
            crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
        return crc ^ _ONES
    if message.size <= _REST_BYTES:
        rest = message.copy()
        rest[:4] ^= 0xFF  # the start value, moved into the message
    else:
        rest = _shorten(message)
    flat, offsets, (low, second, third, high) = _row_tables()
    # Zero bytes in front change nothing.
    rows = np.zeros((-(-rest.size // _ROW_BYTES), _ROW_BYTES), dtype=np.uint8)
    rows.reshape(-1)[rows.size - rest.size :] = rest
    crc = 0
    for row in np.bitwise_xor.reduce(flat.take(offsets + rows), axis=1).tolist():
        crc = low[crc & 0xFF] ^ second[crc >> 8 & 0xFF] ^ third[crc >> 16 & 0xFF] ^ high[crc >> 24] ^ row
    return crc ^ _ONES


def combine(parts: Sequence[tuple[int, int]]) -> int:
    """The checksum of messages that follow one another, from (checksum, bytes) of each."""
    # Either way, a checksum is moved on by a number of bytes: a linear step for each bit of that number.
    if len(parts) < _FEW:
        crc = 0
        for following, size in parts:
            bit = 0
            while size >> bit:
                if size >> bit & 1:
                    low, second, third, high = _step_tables(bit)
                    crc = low[crc & 0xFF] ^ second[crc >> 8 & 0xFF] ^ third[crc >> 16 & 0xFF] ^ high[crc >> 24]
                bit += 1
            crc ^= following
        return crc
    crcs = np.array([crc for crc, _ in parts], dtype=np.uint32)
    sizes = np.array([size for _, size in parts], dtype=np.int64)
    behind = sizes.sum() - sizes.cumsum()
    for bit in range(int(behind.max(initial=0)).bit_length()):
        moved = np.flatnonzero(behind >> bit & 1)
        crcs[moved] = _apply(_expanded_step(bit), crcs[moved])
    return int(np.bitwise_xor.reduce(crcs))


def mask(crc: int) -> int:
    """The form in which LevelDB and TensorFlow store a checksum: rotated right by 15 bits, plus a constant."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & _ONES


def unmask(masked: int) -> int:
    """The checksum that `mask` made `masked` from."""
    rotated = (masked - 0xA282EAD8) & _ONES
    return ((rotated >> 17) | (rotated << 15)) & _ONES


def _shorten(message: np.ndarray) -> np.ndarray:
    """The at most `_REST_BYTES` bytes whose remainder is that of `message` with the start value applied."""
    # Zero bytes in front change nothing, so every message is padded there to whole words.
    kept = _LONG[-1]
    words = -(-message.size // _WORD)
    capacity = min(words, kept + _SEGMENT_WORDS)
    work = np.zeros(capacity, dtype=np.uint64)
    view = work.view(np.uint8)
    if words <= capacity:
        first = message.size
    else:
        # The first piece is what whole segments leave over, and at least `kept` words of it.
        first = message.size - (words - kept) // _SEGMENT_WORDS * _SEGMENT_WORDS * _WORD
    used = -(-first // _WORD)
    start = used * _WORD - first
    view[start : used * _WORD] = message[:first]
    view[start : start + 4] ^= 0xFF
    position = first
    while True:
        used = _fold(work, used, _LONG, 1)
        if position == message.size:
            break
        view[used * _WORD : (used + _SEGMENT_WORDS) * _WORD] = message[position : position + _SEGMENT_WORDS * _WORD]
        used += _SEGMENT_WORDS
        position += _SEGMENT_WORDS * _WORD
    for scale in (16, 8, 4, 2, 1):
        used = _fold(work, used, _SHORT, scale)
    return view[: used * _WORD]


def _fold(work: np.ndarray, used: int, distances: Sequence[int], scale: int) -> int:
    """Shorten the first `used` words to at most ``distances[-1] * scale``, kept at the front; returns how many."""
    kept = distances[-1] * scale
    surplus = used - kept
    if surplus <= 0:
        return used
    run = distances[0] * scale
    for start in range(0, surplus, run):
        moved = work[start : min(start + run, surplus)]
        for distance in distances:
            target = work[start + distance * scale : start + distance * scale + moved.size]
            np.bitwise_xor(target, moved, out=target)
    work[:kept] = work[surplus:used].copy() if surplus < kept else work[surplus:used]
    return kept


@functools.cache
def _byte_table() -> tuple[int, ...]:
    """Remainders of the 256 byte values, followed by 32 zero bits."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_REFLECTED if value & 1 else 0)
        table.append(value)
    return tuple(table)


@functools.cache
def _row_tables() -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """What the rest of a message is looked up in.

    Returns:
        The flat table of a row's positions, the last of which is the row's last byte; the offset of each position's
        256 entries; and four tables, one for each byte of a remainder, that move it on by a row.
    """
    positions = np.array(_byte_table(), dtype=np.uint32)[np.newaxis]  # positions[i]: a byte with i bytes behind it
    bit = 0
    while len(positions) < _ROW_BYTES:
        positions = np.concatenate([positions, _apply(_expanded_step(bit), positions)])
        bit += 1
    flat = np.ascontiguousarray(positions[::-1]).reshape(-1)
    return flat, np.arange(_ROW_BYTES, dtype=np.int64) * 256, _step_tables(bit)


@functools.cache
def _expanded_step(bit: int) -> np.ndarray:
    """(4, 256) tables of the linear map that moves a remainder on by 2**`bit` zero bytes."""
    single = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if bit:
        before = _expanded_step(bit - 1)
        return _expand(_apply(before, _apply(before, single)))
    return _expand((single >> np.uint32(8)) ^ np.array(_byte_table(), dtype=np.uint32)[single & np.uint32(0xFF)])


@functools.cache
def _step_tables(bit: int) -> list[list[int]]:
    """The tables of `_expanded_step`, for numbers one by one."""
    return _expanded_step(bit).tolist()


def _expand(basis: np.ndarray) -> np.ndarray:
    """(4, 256) tables of the linear map with images `basis` (32,) of the single bits."""
    tables = np.zeros((4, 256), dtype=np.uint32)
    for byte in range(4):
        for bit in range(8):
            half = 1 << bit
            tables[byte, half : 2 * half] = tables[byte, :half] ^ basis[8 * byte + bit]
    return tables


def _apply(tables: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The linear map of `tables` (4, 256), applied to each of `values`."""
    out = tables[0][values & np.uint32(0xFF)]
    for byte in range(1, 4):
        out ^= tables[byte][(values >> np.uint32(8 * byte)) & np.uint32(0xFF)]
    return out
