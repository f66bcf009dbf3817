"""A run that was put down: optimiser state and history in one safetensors file, and what the run was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelzoo.errors import CheckpointFormatError

__all__ = ["Saved", "load_run", "save_run"]

_KIND = "modelzoo style transfer 1"


@dataclass(frozen=True)
class Saved:
    """What a file holds.

    Attributes:
        level: of resolution, from 0.
        step: how many steps of that level were made.
        history: of the losses, one mapping a step.
        state: of the optimiser, arrays by name.
    """

    level: int
    step: int
    history: list[dict[str, float]]
    state: dict[str, Any]


def save_run(path: Path, saved: Saved, settings: Mapping[str, Any]) -> None:
    """Write the file; the one before stays until this one is whole.

    Raises:
        DiskError: it cannot be written.
    """
    from modelzoo.features.files import disk_errors
    from modelzoo.finetune.checkpoint import write_arrays

    facts = {"kind": _KIND, "level": saved.level, "step": saved.step, "history": saved.history}
    with disk_errors(path):
        write_arrays(path, saved.state, {"modelzoo": json.dumps({**facts, "settings": settings}, sort_keys=True)})


def load_run(path: Path, settings: Mapping[str, Any]) -> Saved:
    """Read a file of `save_run`.

    Args:
        path: of the file.
        settings: what must be the same when the run goes on, JSON values.

    Raises:
        CheckpointFormatError: there is none, it is damaged, no checkpoint of a style transfer, or of other settings.
    """
    import numpy as np

    from modelzoo.checkpoints import open_checkpoint
    from modelzoo.finetune.checkpoint import read_metadata

    if not path.is_file():
        raise CheckpointFormatError(
            "There is no checkpoint to resume from.", received=str(path), hint="start without resuming"
        )
    try:
        facts = json.loads(read_metadata(path)["modelzoo"])
        if facts["kind"] != _KIND:
            raise ValueError
        level, step, history, theirs = (
            int(facts["level"]),
            int(facts["step"]),
            list(facts["history"]),
            facts["settings"],
        )
        different = [key for key in {**theirs, **settings} if theirs.get(key) != settings.get(key)]
    except (ValueError, KeyError, TypeError):
        raise CheckpointFormatError("The file is no checkpoint of a style transfer.", received=str(path)) from None
    if different:
        key = sorted(different)[0]
        raise CheckpointFormatError(
            f"The run there was started with another {key}.",
            received=f"{key}: {theirs.get(key)!r} there, {settings.get(key)!r} now",
            hint="go on with the same settings, or start without resuming",
        )
    with open_checkpoint(path) as arrays:
        state = {name: np.array(arrays[name]) for name in arrays}
    return Saved(level, step, history, state)
