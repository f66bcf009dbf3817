"""The state of a run, kept whole between two episodes: variables, generators, counters and the replay buffer."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.errors import CheckpointFormatError, DiskError

__all__ = ["RunCheckpoint", "write_whole"]

_STATE, _REPLAY = "state.safetensors", "replay.npz"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; what a killed process leaves is overwritten by the next one.

    Raises:
        DiskError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DiskError(f"A file cannot be written: {error.strerror or error}.", received=str(path)) from error


class RunCheckpoint:
    """States in a folder, one a subfolder `step-...`, of which the newest counts.

    A state appears by one rename when all of it is written; the one before is removed after that.

    Args:
        folder: where they lie; made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(
        self, step: int, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], replay: Mapping[str, np.ndarray]
    ) -> None:
        """Keep a state.

        Args:
            step: of the run.
            arrays: for the safetensors file.
            facts: JSON values.
            replay: of the replay buffer.

        Raises:
            DiskError: it cannot be written; the state before is still there.
        """
        from modelzoo.finetune.checkpoint import write_arrays

        target = self.folder / f"step-{step:012d}"
        beside = self.folder / f".{target.name}.part"
        try:
            beside.mkdir(parents=True, exist_ok=True)
            write_arrays(beside / _STATE, arrays, {"modelzoo": json.dumps({"step": step, **facts})})
            with (beside / _REPLAY).open("wb") as file:
                np.savez(file, allow_pickle=False, **replay)
            if target.exists():
                shutil.rmtree(target)
            beside.replace(target)
            for other in self.folder.iterdir():
                if other != target and other.name.startswith(("step-", ".step-")):
                    shutil.rmtree(other, ignore_errors=True)
        except OSError as error:
            raise DiskError(f"The state cannot be kept: {error.strerror or error}.", received=str(target)) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def latest(self) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray]] | None:
        """(facts with "step", arrays, replay) of the newest state; None where there is none.

        Raises:
            CheckpointFormatError: it is damaged.
        """
        from modelzoo.checkpoints import open_checkpoint
        from modelzoo.finetune.checkpoint import read_metadata

        found = sorted(self.folder.glob("step-*")) if self.folder.is_dir() else []
        if not found:
            return None
        place = found[-1]
        damage = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
        try:
            facts = json.loads(read_metadata(place / _STATE)["modelzoo"])
            with open_checkpoint(place / _STATE) as opened:
                arrays = {name: np.array(opened[name]) for name in opened}
            with np.load(place / _REPLAY, allow_pickle=False) as stored:
                replay = {name: stored[name] for name in stored.files}
            int(facts["step"])
        except damage as error:
            raise CheckpointFormatError(
                "The state of the run is damaged.",
                received=str(place),
                hint="remove the folder `training` and start again without --resume",
            ) from error
        return facts, arrays, replay
