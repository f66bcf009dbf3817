"""Files that appear whole or not at all, and what the file system refuses, in our words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelzoo.errors import DiskError, DiskFullError

__all__ = ["complete_or_nothing", "disk_errors"]


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What the file system refuses, in our words."""
    import errno

    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise DiskFullError(
                "The disk is full; the output was not written.",
                received=str(path),
                hint="free space and run it again: an extraction goes on where it stopped",
            ) from error
        raise DiskError(
            f"The output could not be written: {error.strerror or error}.", received=str(path), hint="check the path"
        ) from error


@contextmanager
def complete_or_nothing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; the file becomes `path` at the end of the block, or vanishes."""
    beside = path.with_name(f".{path.name}.part")  # one name: the next run overwrites what a killed one left
    try:
        yield beside
        with beside.open("r+b") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
