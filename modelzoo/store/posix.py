"""Calls that exist on some systems only; each has a harmless answer where it does not."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Literal

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_FICLONE = 0x40049409  # linux/fs.h: share all blocks of another file (btrfs, xfs, bcachefs, overlay on these)


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power failure; file systems that cannot are not an error."""
    if os.name != "posix":
        return
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def clone(source: Path, target: Path) -> bool:
    """Makes `target` share the blocks of `source` (reflink). False, and no target, where that is impossible."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        with source.open("rb") as reading, target.open("xb") as writing:
            try:
                fcntl.ioctl(writing.fileno(), _FICLONE, reading.fileno())
            except OSError:
                target.unlink(missing_ok=True)
                return False
    except OSError:
        return False
    return True


def exchange(one: Path, other: Path) -> bool:
    """Swaps two files or folders of one file system in one step (Linux, renameat2); False where that is impossible."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    return call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def open_regular(path: Path) -> int:
    """A file descriptor for reading that never follows a symbolic link in the last part."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.open(path, flags)


def is_regular(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)


def is_link(path: Path) -> bool:
    """True for a symbolic link; False too where that cannot be seen."""
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except OSError:
        return False


def make_read_only(path: Path) -> None:
    """Everybody may read and nobody write, as far as the process's umask lets others read at all."""
    mode = stat.S_IMODE(path.lstat().st_mode)
    wanted = (mode | stat.S_IRUSR) & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH | 0o7111)
    if wanted != mode:  # another user's file may be right, and not ours to change
        path.chmod(wanted)


def remove_file(path: Path) -> None:
    """Removes a file that may be read-only (Windows refuses otherwise) and may be gone already."""
    if os.name == "nt":
        try:
            path.chmod(stat.S_IWRITE)
        except OSError:
            pass
    path.unlink(missing_ok=True)


def is_own(path: Path) -> bool:
    """True if the file belongs to this process's user, who alone may change its mode."""
    return os.name != "posix" or path.lstat().st_uid == os.geteuid()


def owner_of(path: Path) -> str:
    """The name of the user to whom `path` belongs, for messages."""
    try:
        return path.owner()
    except (OSError, KeyError, NotImplementedError):
        return "another user"


def process_identity() -> str:
    """`host|boot|namespace|pid|start`: enough to tell later whether this very process is gone."""
    import platform

    return "|".join([platform.node(), *_machine(), str(os.getpid()), _started(os.getpid())])


def process_state(identity: str) -> Literal["gone", "alive", "unknown"]:
    """What can be proven about the process of this identity; "" is a process that let go on purpose."""
    import platform

    if not identity:
        return "gone"
    if os.name != "posix":  # on Windows, os.kill(pid, 0) would send a signal
        return "alive" if identity == process_identity() else "unknown"
    try:
        host, boot, namespace, pid, started = identity.split("|")
        number = int(pid)
    except ValueError:
        return "unknown"
    if host != platform.node() or number <= 0:
        return "unknown"
    here = _machine()
    if (boot, namespace) != here:
        return "gone" if boot and here[0] and boot != here[0] else "unknown"  # started anew since, or a container
    if not is_running(number):
        return "gone"
    return "gone" if started and _started(number) != started else "alive"  # the number may be in use again


def is_running(pid: int) -> bool:
    """True if a process of this number may be running here; where that cannot be asked, True."""
    if os.name != "posix":  # on Windows, os.kill(pid, 0) would send a signal
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it belongs to somebody else
    return True


def machine_digest() -> str:
    """A short name for this machine since it was started, and the namespace of its process numbers."""
    import platform
    import zlib

    return f"{zlib.crc32('|'.join([platform.node(), *_machine()]).encode()):08x}"


def _machine() -> tuple[str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "", ""


def _started(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" and pid != os.getpid() else fields[19]
