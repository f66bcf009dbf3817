"""Decompression of raw Snappy blocks (https://github.com/google/snappy/blob/main/format_description.txt).

TensorFlow 1.1 and older could write index tables with it; no current TensorFlow does, so speed is not the aim.
"""

from __future__ import annotations

from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.wire import read_varint

__all__ = ["decompress"]

# The densest element is a three-byte copy of 64 bytes.
_LARGEST_GAIN = 22


def decompress(block: bytes | memoryview) -> bytes:
    """The original bytes of one raw Snappy block (no framing).

    Raises:
        Damage: the block contradicts itself, or announces more than its length can hold.
    """
    data = bytes(block)
    announced, position = read_varint(data, 0)
    if announced > _LARGEST_GAIN * len(data) + 64:
        raise Damage(f"a Snappy block of {len(data)} bytes announces {announced}, more than it can hold")
    out = bytearray()
    end = len(data)
    while position < end:
        tag = data[position]
        position += 1
        kind = tag & 3
        if kind == 0:
            length = (tag >> 2) + 1
            if length > 60:
                extra = length - 60
                length = int.from_bytes(data[position : position + extra], "little") + 1
                position += extra
            if length > end - position:
                raise Damage("a Snappy literal runs past the end of its block")
            out += data[position : position + length]
            position += length
        else:
            extra = (1, 2, 4)[kind - 1]
            if extra > end - position:
                raise Damage("a Snappy block ends inside a copy")
            offset = int.from_bytes(data[position : position + extra], "little")
            position += extra
            if kind == 1:
                length = ((tag >> 2) & 7) + 4
                offset |= (tag >> 5) << 8
            else:
                length = (tag >> 2) + 1
            if not 0 < offset <= len(out):
                raise Damage("a Snappy copy reaches before the start of its block")
            start = len(out) - offset
            piece = out[start : start + length]
            # A copy may overlap what it writes: the piece then repeats.
            out += (piece * (length // len(piece) + 1))[:length]
        if len(out) > announced:
            raise Damage("a Snappy block holds more than it announces")
    if len(out) != announced:
        raise Damage("a Snappy block holds less than it announces")
    return bytes(out)
