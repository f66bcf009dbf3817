"""The folders of the cache, and what may be done to them.

::

    CACHEDIR.TAG                      backup programs pass it over
    blobs/sha256/ab/abcd...           a verified file that no model's folder holds yet
    blobs/sha256/ab/abcd....at        where else the bytes of this digest lie
    models/<key>/                     what the user gets: real, read-only, verified files
    manifests/<key>.json              what they are; its time of change is the time of last use
    partial/                          downloads and folders on their way
    locks/                            they save work, nothing depends on them
    quarantine/                       what turned out to be damaged
    lock.json                         digests of what was trusted at its first use
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from modelzoo.errors import DiskError
from modelzoo.store import disk, posix
from modelzoo.store.names import key_folder

_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This folder holds downloads of modelzoo that can be fetched again; see https://bford.info/cachedir/\n"
)


class Layout:
    """Where everything lies below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.models = root / "models"
        self.manifests = root / "manifests"
        self.partial = root / "partial"
        self.locks = root / "locks"
        self.quarantine = root / "quarantine"
        self.trusted = root / "lock.json"

    def model(self, key: str) -> Path:
        return self.models / key_folder(key)

    def manifest(self, key: str) -> Path:
        return self.manifests / f"{key_folder(key)}.json"

    def blob(self, algorithm: str, digest: str) -> Path:
        """The place of a digest, which `digests.checked` has seen."""
        return self.blobs / algorithm / digest[:2] / digest

    def model_lock(self, key: str) -> Path:
        return self.locks / f"model-{key_folder(key)}.lock"

    def file_lock(self, identifier: str) -> Path:
        return self.locks / f"file-{identifier}.lock"

    def prepare(self) -> None:
        """Makes the root and its tag.

        Raises:
            DiskError: it cannot be written.
        """
        with disk.guard("prepare the cache", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        tag = self.root / "CACHEDIR.TAG"
        if not os.path.lexists(tag):
            disk.write_whole(tag, _TAG, sync=False)

    def isolate(self, path: Path) -> Path | None:
        """Moves something damaged (never what a link points to) into quarantine; None where that cannot be done."""
        target = self.quarantine / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}-{path.name[:150]}"
        try:
            self.quarantine.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        except OSError:
            return None
        return target


def make_folder(path: Path) -> Path:
    with disk.guard("prepare the cache", path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def remove_tree(path: Path) -> int:
    """Removes a folder of ours, or whatever took its place; never follows a link.

    Returns:
        Bytes freed.

    Raises:
        DiskError: something of it cannot be removed.
    """
    freed = 0
    try:
        if path.is_symlink() or not path.is_dir():
            freed = path.lstat().st_size if path.exists() else 0
            posix.remove_file(path)
            return freed
        for inner in path.iterdir():
            freed += remove_tree(inner)
        path.rmdir()
    except FileNotFoundError:
        pass  # somebody else was faster
    except OSError as error:
        raise disk.refusal(error, "remove from the cache", path) from error
    return freed


def remove_quietly(path: Path) -> int:
    """`remove_tree` for what may as well stay until the next prune."""
    try:
        return remove_tree(path)
    except DiskError:
        return 0


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(size_of(inner) for inner in path.iterdir())
    except OSError:
        return 0
