"""Real file systems for a test: mounted in a mount namespace of a child process, and gone with it.

`run` forks, mounts, calls a function there, and brings its failure back as one of the test. It works for root, and for
others where the system lets them have user namespaces.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.store.killable import warm_up

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_READ_ONLY, _REMOUNT, _PRIVATE, _NO_LINKS = 1, 32, (1 << 18) | (1 << 14), 256


class Mount(NamedTuple):
    """A file system of `kind` at `place`."""

    place: Path
    options: str = ""
    kind: str = "tmpfs"
    flags: int = 0


def run(function: Callable[[], object], mounts: Sequence[Mount], user: int | None = None) -> None:
    """Calls `function` in a process of its own that sees `mounts`, as `user` (a number; the caller must be root)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told, code = "", 1
        try:
            os.close(reading)
            _isolate()
            for one in mounts:
                mount(one)
            if user is not None:
                become(user)
            function()
            code = 0
        except BaseException:
            told = traceback.format_exc()
        finally:
            os.write(writing, told.encode()[-60_000:])
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as stream:
        told = stream.read()
    _, status = os.waitpid(child, 0)
    if status:
        pytest.fail(f"in the child process:\n{told}", pytrace=False)


def become(user: int) -> None:
    """Gives up root for good; what is written from now on may be changed by the group, which is `user`'s too."""
    warm_up()
    os.umask(0o002)
    os.setgroups([])
    os.setgid(60_000)
    os.setuid(user)


def _isolate() -> None:
    user, group = os.getuid(), os.getgid()
    _call("unshare", _NEWNS if user == 0 else _NEWNS | _NEWUSER)
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _call("mount", None, b"/", None, _PRIVATE, None)


def mount(one: Mount) -> None:
    """Mounts a file system; `ext4` lies in a file of `options` bytes beside its place."""
    one.place.mkdir(parents=True, exist_ok=True)
    if one.kind == "ext4":
        image = one.place.with_suffix(".img")
        with image.open("wb") as stream:
            stream.truncate(int(one.options))
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, one.place], check=True, capture_output=True)
        return
    _call("mount", b"none", os.fsencode(one.place), one.kind.encode(), one.flags, one.options.encode() or None)


def remount(place: Path, options: str = "", *, read_only: bool = False) -> None:
    """Changes a mount."""
    flags = _REMOUNT | (_READ_ONLY if read_only else 0)
    _call("mount", b"none", os.fsencode(place), None, flags, options.encode() or None)


def unmount(place: Path) -> None:
    """Takes a mount away."""
    _call("umount2", os.fsencode(place), 2)


def no_symlinks(place: Path) -> Mount:
    """A file system on which no symbolic link leads anywhere."""
    return Mount(place, flags=_NO_LINKS)


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@functools.cache
def _works(kind: str) -> bool:
    if sys.platform != "linux" or (kind == "ext4" and (os.getuid() != 0 or shutil.which("mkfs.ext4") is None)):
        return False
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        mounts = [Mount(place, "8388608" if kind == "ext4" else "", "ext4" if kind == "ext4" else "tmpfs")]
        if kind == "ext4":
            mounts = [mounts[0]._replace(place=place / "disk")]
        if kind == "nosymfollow":
            mounts = [no_symlinks(place)]
        try:
            run(lambda: mount_overlay(place, place / "merged") if kind == "overlay" else None, mounts)
        except pytest.fail.Exception:
            return False
    return True


def mount_overlay(layers: Path, merged: Path) -> None:
    """Mounts an overlay of layers/upper over layers/lower, as containers have it. To be called by a child of `run`."""
    for name in ("lower", "upper", "work"):
        (layers / name).mkdir(exist_ok=True)
    mount(Mount(merged, f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work", "overlay"))


def needs(kind: str) -> pytest.MarkDecorator:
    """Skips a test where `kind` (tmpfs, ext4, overlay, nosymfollow) cannot be mounted."""
    return pytest.mark.skipif(not _works(kind), reason=f"mounts a {kind}: needs Linux and root (or user namespaces)")


needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0, reason="becomes other users: needs Linux and root"
)
