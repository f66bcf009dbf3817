"""A file mapped read-only into memory, handed out in windows that cannot reach past its ends."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

from modelzoo.checkpoints.damage import Damage
from modelzoo.errors import CheckpointError

__all__ = ["MappedFile"]


class MappedFile:
    """The bytes of a regular file. Windows are views of the map: they cost nothing and stay valid after `close`.

    Raises:
        CheckpointError: the file cannot be opened or is none (a folder, a device).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise CheckpointError(f"{path.name} is not a regular file.", received=str(path))
                self.size = status.st_size
                # An empty file cannot be mapped.
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else b""
        except OSError as error:
            raise CheckpointError(f"{path.name} cannot be read: {error.strerror}.", received=str(path)) from error
        self._view: memoryview | None = memoryview(mapped)

    def window(self, offset: int, size: int, what: str) -> memoryview:
        """Bytes ``offset .. offset + size``; `what` names them in the message.

        Raises:
            Damage: they are not all inside the file.
        """
        self.require_open()
        assert self._view is not None
        if offset < 0 or size < 0 or offset + size > self.size:
            raise Damage(
                f"too short for {what}: bytes {offset} to {offset + size} are needed, the file has {self.size}"
            )
        return self._view[offset : offset + size]

    def require_open(self) -> None:
        """Raises CheckpointError after `close`."""
        if self._view is None:
            raise CheckpointError(f"{self.path.name} has been closed.", received=str(self.path))

    def close(self) -> None:
        """Let go of the map; it goes away when the last array on it does."""
        self._view = None
