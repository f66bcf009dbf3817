"""How the readers speak of damaged bytes: low layers raise `Damage`, the layer that knows the file names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelzoo.errors import CheckpointFormatError

__all__ = ["Damage", "damage_in"]

_HINT = "the file is damaged or incomplete: get it again, and compare its digest with its source's"


class Damage(Exception):
    """Bytes contradict their format. Never leaves this package: `damage_in` turns it into CheckpointFormatError."""


@contextmanager
def damage_in(path: Path, of: str = "") -> Iterator[None]:
    """Within the block, a `Damage` becomes a CheckpointFormatError that names the file (and `of`, a tensor)."""
    try:
        yield
    except Damage as error:
        subject = f"{path.name}, tensor {of!r}" if of else path.name
        raise CheckpointFormatError(f"{subject}: {error}.", received=str(path), hint=_HINT) from error
