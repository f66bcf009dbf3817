"""The bytes of one download on their way.

A partial file has one writer for its whole life. Its name holds the download's identifier and a random
token, and a journal beside it (one JSON object a line) says who writes it, what the server called it (ETag)
and what the SHA-256 was at certain lengths. Who finds the file of a process that is gone takes it over by
renaming; of a process that may still live, or of another user, it takes a copy. So two writers never meet, locks or
no locks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelzoo.store import disk, posix
from modelzoo.store.digests import Hasher

_CHUNK = 1 << 20
_at_work: set[Path] = set()  # the files that this process is writing now


class Partial:
    """A growing file whose content is always hashed up to its end.

    Attributes:
        path: the file.
        hasher: the digests of everything in it.
        origin: what is known about where its bytes came from: `url`, `etag`.
    """

    def __init__(self, path: Path, digests: Mapping[str, str], mark_every: int) -> None:
        self.path = path
        self._journal = path.with_suffix(".journal")
        self._mark_every = mark_every
        self._algorithms = dict(digests)
        self.hasher = Hasher(self._algorithms)
        self.origin: dict[str, str] = {}
        self._marks: list[tuple[int, str]] = []
        self._handle = -1

    @property
    def length(self) -> int:
        return self.hasher.length

    @classmethod
    def open(
        cls,
        folder: Path,
        identifier: str,
        digests: Mapping[str, str],
        *,
        mark_every: int,
        resume: bool = True,
    ) -> Partial:
        """A partial file of our own, with what an earlier attempt left in it where `resume` says so."""
        with disk.guard("prepare a download", folder):
            folder.mkdir(parents=True, exist_ok=True)
        own = cls(folder / f"{identifier}.{os.urandom(6).hex()}.part", digests, mark_every)
        _at_work.add(own.path)
        try:
            found = own._take_over(folder, identifier) if resume else {}
            if not found:
                own.set_origin({})  # the journal is there before the file: no kill leaves a file without an owner
            with disk.guard("prepare a download", own.path):
                flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
                own._handle = os.open(own.path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
                own._rehash(found)
        except BaseException:
            own.release()
            raise
        return own

    def _take_over(self, folder: Path, identifier: str) -> dict[str, Any]:
        for path in sorted(_parts(folder, identifier), key=_size, reverse=True):
            journal = path.with_suffix(".journal")
            facts = _read_journal(journal)
            state = _writer(path, facts)
            if state == "alive":
                continue
            self._marks = sorted(facts.get("marks", ()))
            self.set_origin(facts.get("origin", {}))
            self._marks = []
            try:
                if state == "gone" and posix.is_own(path):
                    path.rename(self.path)
                    journal.unlink(missing_ok=True)
                elif not posix.clone(path, self.path):
                    _copy(path, self.path)
            except OSError:
                posix.remove_file(self.path)
                continue  # somebody else was faster
            return facts
        return {}

    def _rehash(self, facts: dict[str, Any]) -> None:
        """Hashes what is there, and cuts it off after the last mark that is right if one is wrong."""
        marks: dict[int, str] = dict(facts.get("marks", ()))
        good = self.hasher.copy()
        buffer = memoryview(bytearray(_CHUNK))
        ahead = sorted(marks, reverse=True)
        with open(os.dup(self._handle), "rb", buffering=0) as stream:  # noqa: PTH123
            while True:
                while ahead and ahead[-1] <= self.length:
                    ahead.pop()
                limit = min(_CHUNK, ahead[-1] - self.length) if ahead else _CHUNK
                count = stream.readinto(buffer[:limit])
                if not count:
                    break
                self.hasher.update(buffer[:count])
                if self.length in marks:
                    if self.hasher.sha256 != marks[self.length]:
                        self.hasher = good
                        break
                    good = self.hasher.copy()
                    self._marks.append((self.length, marks[self.length]))
        os.ftruncate(self._handle, self.length)
        os.lseek(self._handle, self.length, os.SEEK_SET)

    def set_origin(self, origin: Mapping[str, str]) -> None:
        """Notes where the bytes that follow come from, and that this process writes them."""
        self.origin = dict(origin)
        self._write_journal(posix.process_identity())

    def _write_journal(self, owner: str) -> None:
        lines = [{"owner": owner, "origin": self.origin}, *({"at": at, "sha256": value} for at, value in self._marks)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        disk.write_whole(self._journal, text.encode(), sync=False)

    def write(self, data: memoryview | bytes, needed: int | None = None) -> None:
        """Appends and hashes; bytes that were written before an error stay."""
        rest = memoryview(data)
        try:
            while rest:
                count = os.write(self._handle, rest)
                self.hasher.update(rest[:count])
                rest = rest[count:]
        except OSError as error:
            missing = None if needed is None else needed - self.length
            raise disk.refusal(
                error, "write a download", self.path, needed=missing, kept=f"{self.length:,} bytes of it are kept."
            ) from error
        if self.length - (self._marks[-1][0] if self._marks else 0) >= self._mark_every:
            self._mark()

    def _mark(self) -> None:
        self._marks.append((self.length, self.hasher.sha256))
        line = json.dumps({"at": self.length, "sha256": self._marks[-1][1]}) + "\n"
        try:
            with self._journal.open("a") as stream:
                stream.write(line)
        except OSError:
            pass  # a mark less costs some bytes after a damage, nothing else

    def restart(self) -> None:
        """Throws everything away."""
        with disk.guard("restart a download", self.path):
            os.ftruncate(self._handle, 0)
            os.lseek(self._handle, 0, os.SEEK_SET)
        self.hasher = Hasher(self._algorithms)
        self._marks = []
        self.set_origin({})

    def sync(self) -> None:
        with disk.guard("write a download to the disk", self.path, kept=f"{self.length:,} bytes of it are kept."):
            os.fsync(self._handle)

    def publish(self, target: Path) -> None:
        """Makes the file, whose digests the caller has compared, appear as `target`: read-only, durable, at once."""
        self.sync()
        with disk.guard("publish a download", target, kept=f"{self.length:,} bytes of it are kept."):
            os.close(self._handle)  # Windows renames no open file; the journal still says that it is ours
            self._handle = -1
            posix.make_read_only(self.path)
            self.path.replace(target)
        posix.sync_folder(target.parent)
        _at_work.discard(self.path)
        self._journal.unlink(missing_ok=True)

    def release(self) -> None:
        """Closes the file and leaves it for whoever resumes; an empty one is removed."""
        self._close()
        try:
            if not os.path.lexists(self.path):
                self._journal.unlink(missing_ok=True)
            elif self.length == 0:
                self.discard()
            else:
                self._write_journal("")
        except Exception:  # the disk may be full, or the path too long: then the process's end releases it
            pass

    def discard(self) -> None:
        """Closes and removes the file."""
        self._close()
        posix.remove_file(self.path)
        self._journal.unlink(missing_ok=True)

    def _close(self) -> None:
        _at_work.discard(self.path)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def kept_bytes(folder: Path, identifier: str) -> int:
    """The length of the longest partial file of this download."""
    return max(map(_size, _parts(folder, identifier)), default=0)


def abandoned(folder: Path, identifier: str, stray_age: float) -> list[Path]:
    """What earlier attempts at this download (`*`: at any) left and nobody writes any more, without the journals."""
    found = []
    now = None
    both = [*disk.matching(folder, f"{identifier}.*.part"), *disk.matching(folder, f"{identifier}.*.journal")]
    for path in sorted({path.with_suffix(".part") for path in both}):
        journal = path.with_suffix(".journal")
        try:
            state = _writer(path, _read_journal(journal))
            if state == "unknown":
                now = disk.clock(folder) if now is None else now
                newest = max((p.lstat().st_mtime for p in (path, journal) if p.exists()), default=now)
                if now - newest > stray_age:
                    state = "gone"
            if state == "gone":
                found.append(path)
        except OSError:
            continue
    return found


def sweep(folder: Path, identifier: str, stray_age: float) -> tuple[int, int]:
    """Removes what `abandoned` finds. Returns how many downloads, and how many bytes of them."""
    count = freed = 0
    for path in abandoned(folder, identifier, stray_age):
        size = _size(path)
        try:
            posix.remove_file(path)
            path.with_suffix(".journal").unlink(missing_ok=True)
        except OSError:
            continue
        count, freed = count + 1, freed + size
    return count, freed


def _writer(path: Path, facts: dict[str, Any]) -> str:
    """Whether the process that writes `path` is gone, alive or unknown."""
    owner = facts.get("owner", "?")
    if owner == posix.process_identity():
        return "alive" if path in _at_work else "gone"
    return posix.process_state(owner)


def _parts(folder: Path, identifier: str) -> list[Path]:
    return [path for path in disk.matching(folder, f"{identifier}.*.part") if _is_plain(path)]


def _is_plain(path: Path) -> bool:
    try:
        return posix.is_regular(path.lstat())
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(_CHUNK):
            writing.write(chunk)


def _read_journal(path: Path) -> dict[str, Any]:
    """{"owner": ..., "origin": {...}, "marks": [(length, sha256), ...]}; whatever of it can be read."""
    facts: dict[str, Any] = {"marks": []}
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return facts
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the last line of a killed process
        if not isinstance(entry, dict):
            continue
        if isinstance(entry.get("at"), int) and isinstance(entry.get("sha256"), str):
            facts["marks"].append((entry["at"], entry["sha256"]))
        elif isinstance(entry.get("owner"), str):
            origin = entry.get("origin")
            facts["owner"] = entry["owner"]
            facts["origin"] = {str(k): str(v) for k, v in origin.items()} if isinstance(origin, dict) else {}
    return facts
