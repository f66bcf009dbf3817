"""Digests: which are strong, how they are written, and computing several in one pass."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from modelzoo.errors import RegistryFormatError

STRONG = ("sha512", "sha384", "sha256")
"""Algorithms that pin a file, strongest first."""

_LENGTHS = {"sha512": 128, "sha384": 96, "sha256": 64, "sha224": 56, "sha1": 40, "md5": 32, "crc32": 8, "crc32c": 8}
_COMPUTED = ("sha512", "sha384", "sha256", "sha224", "sha1", "md5")
_HEX = re.compile(r"[0-9a-f]+")
_CHUNK = 1 << 20


def checked(digests: Mapping[str, str], of: str) -> dict[str, str]:
    """`digests` with every value proven to be plain hexadecimal of the right length: they become file names.

    Raises:
        RegistryFormatError: an unknown algorithm or a malformed value.
    """
    for algorithm, value in digests.items():
        length = _LENGTHS.get(algorithm)
        if length is None:
            raise RegistryFormatError(
                f"{of}: unknown digest algorithm.", received=algorithm, hint=f"use one of {', '.join(_LENGTHS)}"
            )
        if not isinstance(value, str) or len(value) != length or not _HEX.fullmatch(value):
            raise RegistryFormatError(
                f"{of}: a {algorithm} digest is {length} lower-case hexadecimal digits.", received=repr(value)[:80]
            )
    return dict(digests)


def is_pinned(digests: Mapping[str, str]) -> bool:
    """True if one of the digests is strong enough to be relied on."""
    return any(algorithm in digests for algorithm in STRONG)


class Hasher:
    """SHA-256, and whatever else is asked for, over the same bytes in one pass."""

    def __init__(self, algorithms: Mapping[str, str] | tuple[str, ...] = ()) -> None:
        names = ["sha256", *(name for name in algorithms if name in _COMPUTED and name != "sha256")]
        self._states = {name: hashlib.new(name, usedforsecurity=False) for name in names}
        self.length = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        for state in self._states.values():
            state.update(data)
        self.length += len(data)

    def copy(self) -> Hasher:
        twin = Hasher.__new__(Hasher)
        twin._states = {name: state.copy() for name, state in self._states.items()}
        twin.length = self.length
        return twin

    @property
    def sha256(self) -> str:
        return self._states["sha256"].hexdigest()

    @property
    def digests(self) -> dict[str, str]:
        """All that was computed, by algorithm."""
        return {name: state.hexdigest() for name, state in self._states.items()}

    def differs_from(self, digests: Mapping[str, str]) -> str | None:
        """`sha256 is ..., not ...` for the first digest that is not met; None if all are."""
        for name, state in self._states.items():
            if name in digests and state.hexdigest() != digests[name]:
                return f"{name} is {state.hexdigest()}, expected {digests[name]}"
        return None


def hash_file(path: Path, algorithms: Mapping[str, str] | tuple[str, ...] = ()) -> Hasher:
    """Reads the whole file once."""
    hasher = Hasher(algorithms)
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            hasher.update(buffer[:count])
    return hasher
