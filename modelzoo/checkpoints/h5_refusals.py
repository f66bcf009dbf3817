"""What an HDF5 file may not ask for, and how it is told so."""

from __future__ import annotations

from pathlib import Path

from modelzoo.errors import UnsafeFileError

__all__ = ["FILTERS", "LARGEST_RATIO", "filter_refused", "link_refused", "outside_refused", "size_refused"]

FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
"""The filters that are read; others need plug-ins or unfold without measure."""

LARGEST_RATIO = 1100
"""Deflate cannot do better than about 1030 : 1."""

_HINT = "a weight file holds its numbers itself: get it from where it was made"


def link_refused(path: Path, name: str, kind: str) -> UnsafeFileError:
    """A link that is no name of an object in this file; `kind` says which (`a soft link`)."""
    return UnsafeFileError(
        f"{path.name}: {name!r} is a link to somewhere else, which is not followed.", received=kind, hint=_HINT
    )


def outside_refused(path: Path, name: str) -> UnsafeFileError:
    """A dataset whose values lie in other files."""
    return UnsafeFileError(f"{path.name}: {name!r} keeps its numbers in another file, which is not opened.", hint=_HINT)


def filter_refused(path: Path, name: str, number: int) -> UnsafeFileError:
    """A dataset that is packed by another filter than `FILTERS`."""
    return UnsafeFileError(
        f"{path.name}: {name!r} is packed by a filter that is no stock one.",
        received=f"HDF5 filter {number}",
        hint="save it with gzip or without compression",
    )


def size_refused(path: Path, name: str, claim: str, stored: int) -> UnsafeFileError:
    """A dataset whose shape, told by `claim`, its `stored` bytes cannot hold."""
    return UnsafeFileError(
        f"{path.name}: {name!r} claims more numbers than the file can hold.",
        received=f"{claim} in {stored} bytes",
        hint="the file is damaged or made to exhaust the memory: get it from where it was made",
    )
