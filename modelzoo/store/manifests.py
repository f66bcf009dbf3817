"""What a model's folder holds, and whether that is what somebody asks for.

A manifest notes for each file its size, its time of change and its digests, so that "is it complete?" needs neither
hashing nor the network. A manifest that cannot be read counts as none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelzoo.store import disk, posix
from modelzoo.store.digests import STRONG, hash_file, is_pinned
from modelzoo.store.http import noted
from modelzoo.store.names import why_unsafe
from modelzoo.store.source import Fetched, Source

_VERSION = 1


@dataclass(frozen=True)
class KeptFile:
    """One file of a model's folder.

    Attributes:
        name: relative to the folder.
        role: as in `Source`.
        source: the name of the source it came from.
        member: its path in the archive that the source is; None for the source itself.
        size: bytes.
        changed: its time of change when it was verified, in nanoseconds.
        digests: what was computed of it; always with its SHA-256.
    """

    name: str
    role: str
    source: str
    member: str | None
    size: int
    changed: int
    digests: Mapping[str, str]

    def is_intact(self, folder: Path) -> bool:
        """True if the file is there and has not been touched since it was verified, as far as its status tells."""
        status = _regular(folder / self.name)
        if status is None or status.st_size != self.size:
            return False
        now, then = status.st_mtime_ns, self.changed
        if now == then:
            return True
        whole = 1_000_000_000  # archives and some file systems keep whole seconds only
        return now // whole == then // whole and (now % whole == 0 or then % whole == 0)

    def is_right(self, folder: Path) -> bool:
        """True if the file has the bytes that were verified; reads all of it."""
        path = folder / self.name
        status = _regular(path)
        if status is None or status.st_size != self.size:
            return False
        try:
            return hash_file(path).sha256 == self.digests["sha256"]
        except OSError:
            return False

    def seen_now(self, folder: Path) -> KeptFile:
        return replace(self, changed=(folder / self.name).lstat().st_mtime_ns)


@dataclass(frozen=True)
class KeptSource:
    """What was fetched: number of bytes, computed digests, and the URL that gave it, as `http.noted` writes it."""

    name: str
    size: int
    url: str
    digests: Mapping[str, str]

    def fits(self, source: Source) -> bool:
        """True if this is what `source` asks for."""
        if source.size is not None and source.size != self.size:
            return False
        for algorithm, value in source.digests.items():
            if self.digests.get(algorithm, None if algorithm in STRONG else value) != value:
                return False
        return is_pinned(source.digests) or self.url in map(noted, source.urls)


@dataclass(frozen=True)
class Manifest:
    """The content of one model's folder. Times are seconds since 1970."""

    key: str
    sources: tuple[KeptSource, ...]
    files: tuple[KeptFile, ...]
    verified: float
    used: float = field(default=0.0, compare=False)

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        try:
            with path.open("rb") as stream:
                used = os.fstat(stream.fileno()).st_mtime
                fields = json.load(stream)
            return cls._of(fields, used)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    @classmethod
    def _of(cls, fields: Any, used: float) -> Manifest:
        if fields["version"] != _VERSION or not isinstance(fields["key"], str):
            raise ValueError(fields["version"])
        sources = tuple(KeptSource(**one) for one in fields["sources"])
        files = tuple(KeptFile(**one) for one in fields["files"])
        if any(why_unsafe(file.name) or not isinstance(file.size, int) for file in files):
            raise ValueError("unfit names")
        return cls(fields["key"], sources, files, float(fields["verified"]), used)

    def write(self, path: Path) -> None:
        """Replaces the manifest atomically.

        Raises:
            DiskError: it cannot be written.
        """
        fields = {
            "version": _VERSION,
            "key": self.key,
            "verified": self.verified,
            "sources": [{**vars(one), "digests": dict(one.digests)} for one in self.sources],
            "files": [{**vars(one), "digests": dict(one.digests)} for one in self.files],
        }
        with disk.guard("note what was fetched", path):
            path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_whole(path, (json.dumps(fields, indent=1) + "\n").encode())
        posix.sync_folder(path.parent)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def source(self, name: str) -> KeptSource | None:
        return next((one for one in self.sources if one.name == name), None)

    def files_of(self, source: Source) -> tuple[KeptFile, ...] | None:
        """The files that `source` asks for, in its order; None if they are not (all) noted here."""
        kept = self.source(source.name)
        if kept is None or not kept.fits(source):
            return None
        noted = {(file.member, file.name): file for file in self.files if file.source == source.name}
        if not source.members:
            file = noted.get((None, source.name))
            return None if file is None else (replace(file, role=source.role),)
        found = []
        for member in source.members:
            file = noted.get((member.path, member.target))
            if file is None or (member.size is not None and member.size != file.size):
                return None
            if any(file.digests.get(name, None if name in STRONG else v) != v for name, v in member.digests.items()):
                return None
            found.append(replace(file, role=member.role))
        return tuple(found)

    def files_of_all(self, sources: Sequence[Source] | None) -> tuple[KeptFile, ...] | None:
        """The files of all `sources` (None: everything noted), None if one is not noted."""
        if sources is None:
            return self.files
        found: list[KeptFile] = []
        for source in sources:
            files = self.files_of(source)
            if files is None:
                return None
            found.extend(files)
        return tuple(found)


def fetched(folder: Path, files: Sequence[KeptFile]) -> Fetched:
    """What the caller gets."""
    everything = tuple((file.role, file.name, folder / file.name) for file in files)
    by_role: dict[str, Path] = {}
    for role, _, path in everything:
        by_role.setdefault(role, path)
    return Fetched(folder, by_role, everything)


def _regular(path: Path) -> os.stat_result | None:
    """The status of a real file; None for links, folders and nothing."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if posix.is_regular(status) else None
