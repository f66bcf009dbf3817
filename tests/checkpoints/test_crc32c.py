"""CRC-32C against the published vectors, a bit-by-bit reference at every kind of length, and its own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.checkpoints.crc32c import _LONG, _SHORT, combine, crc32c, mask, unmask

_P = (1 << 32) | 0x1EDC6F41  # the generator, not reflected


def slowly(data: bytes) -> int:
    """The definition: one bit at a time, reflected, start value and final exclusive or of all ones."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0x00000000),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
    ids=repr,
)
def test_published_vectors(data, crc):
    """RFC 3720, appendix B.4."""
    assert crc32c(data) == crc


@pytest.mark.parametrize(
    "length", [1, 63, 64, 65, 127, 128, 129, 1000, 2127, 2128, 2129, 4321, 45480, 45481, 50_001, 310_003]
)
def test_every_length_equals_the_definition(length):
    data = np.random.default_rng(length).integers(0, 256, length, np.uint8).tobytes()
    assert crc32c(data) == crc32c(memoryview(data)) == slowly(data)


def test_the_data_is_not_changed():
    data = np.arange(3000, dtype=np.uint8)
    before = data.copy()
    crc32c(data)
    assert np.array_equal(data, before)


def test_a_mask_is_undone():
    for crc in (0, 1, 0xE3069283, 0xFFFFFFFF):
        assert unmask(mask(crc)) == crc != mask(crc)


@pytest.mark.parametrize("sizes", [[], [5], [0, 3, 0], [1, 1000, 4, 0, 77, 3000], [9] * 300], ids=str)
def test_checksums_combine_to_that_of_all_bytes(sizes):
    random = np.random.default_rng(len(sizes))
    parts = [random.integers(0, 256, size, np.uint8).tobytes() for size in sizes]
    assert combine([(crc32c(part), len(part)) for part in parts]) == crc32c(b"".join(parts))


def power_of_x(exponent: int) -> int:
    """x^exponent modulo the generator."""
    result, base = 1, 2
    while exponent:
        if exponent & 1:
            result = product(result, base)
        base = product(base, base)
        exponent >>= 1
    return result


def product(a: int, b: int) -> int:
    result = 0
    while b:
        if b & 1:
            result ^= a
        a <<= 1
        if a >> 32:
            a ^= _P
        b >>= 1
    return result


@pytest.mark.parametrize("distances", [_LONG, _SHORT], ids=["long", "short"])
def test_the_distances_are_multiples_of_the_generator(distances):
    last = distances[-1]
    total = 1
    for distance in distances[:-1]:
        total ^= power_of_x(last - distance)
    assert power_of_x(last) == total
