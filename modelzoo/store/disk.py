"""What file systems refuse, said in our words."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelzoo.errors import CacheError, DiskError, DiskFullError, ReadOnlyError
from modelzoo.store import posix

_FULL = {errno.ENOSPC, errno.EFBIG} | ({errno.EDQUOT} if hasattr(errno, "EDQUOT") else set())
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
ROOM_HINT = "free some space (`modelzoo cache list`, `modelzoo cache prune`), or set MODELZOO_CACHE to another disk"

_HINTS = {
    errno.EXDEV: "keep the whole cache on one file system: no folder in it may be a mount or link of its own",
    errno.ENAMETOOLONG: "set MODELZOO_CACHE to a folder with a shorter path",
    errno.EIO: "the disk may be failing; set MODELZOO_CACHE to another one",
}


def free_space(folder: Path) -> int | None:
    """Bytes that may still be written below `folder` (its nearest existing parent); None if nobody says."""
    import shutil

    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def refusal(error: OSError, doing: str, path: Path, *, needed: int | None = None, kept: str = "") -> DiskError:
    """Our error for an `OSError` met while `doing` something with `path`."""
    after = f" {kept}" if kept else ""
    if error.errno in _FULL:
        free = free_space(path.parent)
        quota = "the quota is used up" if error.errno == getattr(errno, "EDQUOT", -1) else "no space is left"
        numbers = "" if needed is None else f" ({_bytes(needed)} needed, {_bytes(free)} free)"
        return DiskFullError(f"Cannot {doing}: {quota}{numbers}.{after}", received=path, hint=ROOM_HINT)
    if error.errno in _REFUSED:
        owner = next((posix.owner_of(p) for p in (path, *path.parents) if os.path.lexists(p)), "another user")
        return ReadOnlyError(
            f"Cannot {doing}: {error.strerror or error} (it belongs to {owner}).{after}",
            received=path,
            hint="set MODELZOO_CACHE to a folder that you may write",
        )
    hint = _HINTS.get(error.errno or 0, "set MODELZOO_CACHE to a folder on another disk")
    return DiskError(f"Cannot {doing}: {error.strerror or error}.{after}", received=path, hint=hint)


@contextmanager
def guard(doing: str, path: Path, *, needed: int | None = None, kept: str = "") -> Iterator[None]:
    """Turns an `OSError` of the block into ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise CacheError(
            f"Cannot {doing}: it is gone; was the cache deleted meanwhile?", received=path, hint="run it again"
        ) from error
    except OSError as error:
        raise refusal(error, doing, path, needed=needed, kept=kept) from error


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raises DiskFullError before a byte is written, where it is clear that the bytes will not fit."""
    free = free_space(folder)
    if free is not None and free < needed:
        raise DiskFullError(
            f"Not enough space for {what}: {_bytes(needed)} needed, {_bytes(free)} free.",
            received=folder,
            hint=ROOM_HINT,
        )


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{posix.machine_digest()}.{os.urandom(4).hex()}.tmp")


def strays(folder: Path, stray_age: float) -> list[Path]:
    """Unfinished files of `write_whole` whose process was killed; of other machines only those that are old."""
    found = []
    for path in matching(folder, ".*.tmp"):
        pid, _, machine = path.name.split(".")[-3].partition("-")
        try:
            here = machine == posix.machine_digest() and pid.isdecimal()
            gone = not posix.is_running(int(pid)) if here else clock(folder) - path.lstat().st_mtime > stray_age
        except OSError:
            continue
        if gone:
            found.append(path)
    return found


def matching(folder: Path, pattern: str) -> list[Path]:
    """The paths in `folder` that match; none where it is not there or cannot be read."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def clock(folder: Path) -> float:
    """The time by the clock that stamps the files of `folder`, which a file server's may be; else our own."""
    probe = _temporary(folder / "clock")
    try:
        probe.touch(exist_ok=False)
        try:
            return probe.lstat().st_mtime
        finally:
            probe.unlink(missing_ok=True)
    except OSError:
        return time.time()


def write_whole(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Replaces `path` by a file with `data`, atomically: a reader sees the old content or the new one."""
    temporary = _temporary(path)
    with guard(f"write {path.name}", path, needed=len(data)):
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                if sync:
                    os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _bytes(count: int | None) -> str:
    return "an unknown number of bytes" if count is None else f"{count:,} bytes"
