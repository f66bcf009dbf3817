"""How the readers speak of damaged bytes: low layers raise `Damage`, the layer that knows the file names it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from modelzoo.errors import CheckpointFormatError

__all__ = ["Damage", "damage_in"]

_HINT = "the file is damaged or incomplete: get it again, and compare its digest with its source's"


class Damage(Exception):
    """Bytes contradict their format. Never leaves this package: `damage_in` turns it into CheckpointFormatError."""


class damage_in:  # noqa: N801 - used as a function; a class is entered in a third of a generator's time
    """Within the block, a `Damage` becomes a CheckpointFormatError that names the file (and `of`, a tensor)."""

    def __init__(self, path: Path, of: str = "") -> None:
        self.path = path
        self.of = of

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Damage):
            subject = f"{self.path.name}, tensor {self.of!r}" if self.of else self.path.name
            raise CheckpointFormatError(f"{subject}: {error}.", received=str(self.path), hint=_HINT) from error
