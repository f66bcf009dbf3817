"""Files appear whole or not at all: each is written into a folder beside its place and renamed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelzoo.errors import DiskError, UsageError

__all__ = ["publish"]


def publish(out: Path, write: Callable[[str], Any], *, folder: bool = False) -> Path:
    """Let `write` make `out` beside itself first.

    Args:
        out: where the file or folder goes; `~` is expanded, folders above it are made.
        write: called with the path to write; what else it leaves beside that is thrown away.
        folder: whether `out` is a folder; one that is there must be empty.

    Raises:
        UsageError: the place is taken by a folder that holds something, or by a folder where a file goes.
        DiskError: the file system refuses.
    """
    out = out.expanduser()
    if folder and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("The folder for the SavedModel is not empty.", received=str(out), hint="choose another -o")
    if not folder and out.is_dir():
        raise UsageError("A folder lies where the file goes.", received=str(out), hint="choose another -o")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            made = Path(scratch) / out.name
            write(str(made))
            if folder and out.exists():
                out.rmdir()
            made.replace(out)
    except OSError as error:
        raise DiskError(f"Cannot write the converted model: {error.strerror or error}.", received=str(out)) from error
    return out
