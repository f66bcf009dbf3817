"""Reading the sorted string tables of TensorFlow checkpoints (LevelDB's format, with larger blocks).

A table ends in a footer that points at an index block; each index entry points at a data block; a data block holds
sorted (key, value) entries whose keys share prefixes. A V1 checkpoint is one table, a V2 index another.
Format: https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator

from modelzoo.checkpoints.crc32c import crc32c, mask
from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.snappy import decompress
from modelzoo.checkpoints.wire import read_varint

__all__ = ["FOOTER_BYTES", "MAGIC", "TRAILER_BYTES", "Table", "parse_block"]

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER_BYTES = 48
TRAILER_BYTES = 5
"""Behind each block: one byte of compression type, four of masked CRC-32C over block and type."""


class Table:
    """A table over a mapped file. A block is checked and parsed when it is first needed, and only then.

    Raises:
        Damage: the footer or the index contradicts the format; later, from `get` and `items`, a block does.
    """

    def __init__(self, file: MappedFile) -> None:
        self.file = file
        if file.size < FOOTER_BYTES:
            raise Damage(f"too short for a TensorFlow table: {file.size} bytes, the footer alone has {FOOTER_BYTES}")
        footer = bytes(file.window(file.size - FOOTER_BYTES, FOOTER_BYTES, "the table's footer"))
        if footer[-8:] != MAGIC:
            raise Damage("bad magic number at its end: not a TensorFlow table, or cut short")
        position = 0
        numbers = []
        for _ in range(4):
            number, position = read_varint(footer[:40], position)
            numbers.append(number)
        self._separators: list[bytes] = []
        self._handles: list[tuple[int, int]] = []
        behind = 0
        for separator, value in parse_block(self._content(numbers[2], numbers[3], "the index block")).items():
            offset, position = read_varint(value, 0)
            size, position = read_varint(value, position)
            # Blocks that lie in each other would let a small file unfold into a large one.
            if offset < behind:
                raise Damage("data blocks overlap")
            behind = offset + size + TRAILER_BYTES
            self._separators.append(separator)
            self._handles.append((offset, size))
        self._blocks: dict[int, dict[bytes, memoryview]] = {}

    def get(self, key: bytes) -> memoryview | None:
        """The value of a key: a view of the file where its block is stored plainly; None where there is none."""
        number = bisect.bisect_left(self._separators, key)
        if number == len(self._separators):
            return None
        return self._block(number).get(key)

    def items(self) -> Iterator[tuple[bytes, memoryview]]:
        """All entries, in order of their keys."""
        for number in range(len(self._handles)):
            yield from self._block(number).items()

    def _block(self, number: int) -> dict[bytes, memoryview]:
        if number not in self._blocks:
            offset, size = self._handles[number]
            self._blocks[number] = parse_block(self._content(offset, size, f"data block {number}"))
        return self._blocks[number]

    def _content(self, offset: int, size: int, what: str) -> memoryview:
        stored = self.file.window(offset, size + TRAILER_BYTES, what)
        if mask(crc32c(stored[: size + 1])) != int.from_bytes(stored[size + 1 :], "little"):
            raise Damage(f"checksum of {what} does not match")
        if stored[size] == 0:
            return stored[:size]
        if stored[size] == 1:
            return memoryview(decompress(stored[:size]))
        raise Damage(f"{what} has the unknown compression type {stored[size]}")


def parse_block(block: memoryview) -> dict[bytes, memoryview]:
    """The entries of one block's content, in order; values are slices of `block`.

    Raises:
        Damage: an entry reaches outside the block, or keys are not in ascending order.
    """
    if len(block) < 8:
        raise Damage("a block is too short")
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if restarts == 0 or end < 0:
        raise Damage(f"a block of {len(block)} bytes claims {restarts} restart points")
    entries: dict[bytes, memoryview] = {}
    body = block[:end]
    # Every 16th key is stored whole; the allowance is wide, and only stops keys that grow without end.
    allowance = 64 * len(block) + 65536
    key = b""
    position = 0
    while position < end:
        shared, unshared, size = [*body[position : position + 3], 0x80, 0x80][:3]
        if shared | unshared | size < 0x80:
            position += 3
        else:
            shared, position = read_varint(body, position)
            unshared, position = read_varint(body, position)
            size, position = read_varint(body, position)
        if shared > len(key):
            raise Damage("a key shares more bytes than the key before it has")
        if unshared + size > end - position:
            raise Damage("an entry runs past the end of its block")
        following = key[:shared] + bytes(body[position : position + unshared])
        if entries and following <= key:
            raise Damage("keys are out of order")
        key = following
        allowance -= len(key)
        if allowance < 0:
            raise Damage("the keys of a block are longer than prefix compression can explain")
        position += unshared
        entries[key] = body[position : position + size]
        position += size
    return entries
