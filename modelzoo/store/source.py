"""What the store is asked for, and what it gives back: plain values without any knowledge of cards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Member:
    """One file wanted from an archive; everything that is not named so stays inside.

    Args:
        path: the member's name in the archive, exactly as it stands there (a leading `./` does not count).
        role: weights, graph, index, labels, mean or vocab.
        name: the file name to give it in the model's folder; by default `path`.
        size: its number of bytes, if known.
        digests: as in `Source`; if given they are checked besides the archive's own.
    """

    path: str
    role: str
    name: str | None = None
    size: int | None = None
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The name that the file gets in the model's folder."""
        path = self.path
        while path.startswith("./"):
            path = path[2:]
        return self.name or path


@dataclass(frozen=True)
class Source:
    """One file to fetch.

    Args:
        name: its name in the model's folder, relative, with `/` between folders.
        role: weights, graph, index, labels, mean, archive or vocab.
        urls: where it lies, tried in this order: `https:`, `http:`, `file:`, or `package:` with a path
            relative to the folder that holds the installed package.
        size: its number of bytes, if known.
        digests: lower-case hexadecimal by algorithm. It is *pinned* if there is a sha256, sha384 or sha512.
        members: for an archive, what is taken out of it. An archive without members is kept as a file.
    """

    name: str
    role: str
    urls: tuple[str, ...]
    size: int | None
    digests: Mapping[str, str]
    members: tuple[Member, ...] = ()

    @property
    def targets(self) -> tuple[tuple[str, str], ...]:
        """(role, name) of every file that this source leaves in the model's folder."""
        if self.members:
            return tuple((member.role, member.target) for member in self.members)
        return ((self.role, self.name),)


@dataclass(frozen=True)
class Fetched(os.PathLike[str]):
    """A model's files, complete and verified. It can be used wherever a path is expected: it is its folder.

    Attributes:
        path: the model's folder.
        files: role -> path; the first file of each role.
        all: (role, name, path) of every file, in the order of the sources.
    """

    path: Path
    files: Mapping[str, Path]
    all: tuple[tuple[str, str, Path], ...]

    def __fspath__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class PlannedFile:
    """What fetching one source would do.

    Attributes:
        name: the source's name.
        role: its role.
        size: bytes to download when nothing is kept yet, or None if unknown.
        urls: where it would come from, in order.
        cached: True if nothing has to be done.
        kept: bytes of an interrupted download that would be resumed.
        pinned: True if a strong digest, from the registry or from a trusted first use, verifies it.
    """

    name: str
    role: str
    size: int | None
    urls: tuple[str, ...]
    cached: bool
    kept: int
    pinned: bool
