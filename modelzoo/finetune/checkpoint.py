"""Checkpoint and resume: weights, optimiser, random states and the epoch in one safetensors file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import CheckpointFormatError, DiskError, WeightsMismatchError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Checkpoint", "read_metadata", "write_arrays"]


class Checkpoint:
    """The state of a training between two epochs.

    Kept are all variables of the model (the states of Dropout's generators among them), all variables of its
    optimiser (slots, iterations, loss scale) and JSON values: the epoch, the history, what the run was asked for.
    The order of examples needs no state: it is a function of seed and epoch (`Batches`).

    Args:
        path: of the `.safetensors` file.
        settings: what must be the same when the run goes on (seed, batch size, head, ...), JSON values.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.settings = json.loads(json.dumps(dict(settings), sort_keys=True, default=str))

    def save(self, model: Any, *, epoch: int, history: Mapping[str, Any]) -> None:
        """Write the state after `epoch` epochs; the file before stays until this one is whole.

        Raises:
            DiskError: it cannot be written.
        """
        import numpy as np

        arrays = {key: np.asarray(variable) for key, variable in _state(model).items()}
        facts = {"epoch": epoch, "history": dict(history), "settings": self.settings}
        write_arrays(self.path, arrays, {"modelzoo": json.dumps(facts, sort_keys=True)})

    def facts(self) -> dict[str, Any] | None:
        """{"epoch", "history", "settings"} of the file; None where there is none.

        Raises:
            CheckpointFormatError: the file is damaged, no checkpoint of a training, or one of other settings.
        """
        if not self.path.is_file():
            return None
        raw = read_metadata(self.path)
        try:
            facts = json.loads(raw["modelzoo"])
            epoch, history, settings = int(facts["epoch"]), facts["history"], facts["settings"]
        except (ValueError, KeyError, TypeError):
            raise CheckpointFormatError("The file is no checkpoint of a training.", received=str(self.path)) from None
        changed = [key for key in {*settings, *self.settings} if settings.get(key) != self.settings.get(key)]
        if changed:
            key = sorted(changed)[0]
            raise CheckpointFormatError(
                f"The training there was started with another {key}.",
                received=f"{key}: {settings.get(key)!r} there, {self.settings.get(key)!r} now",
                hint="go on with the same settings, or choose another -o",
            )
        return {"epoch": epoch, "history": history, "settings": settings}

    def restore(self, model: Any) -> None:
        """Put the file's values into a compiled model whose optimiser is built.

        Raises:
            CheckpointFormatError: the file is damaged.
            WeightsMismatchError: model or optimiser are others than those that were saved.
        """
        import numpy as np

        from modelzoo.checkpoints import open_checkpoint

        state = _state(model)
        with open_checkpoint(self.path) as arrays:
            missing = [key for key in state if key not in arrays]
            unexpected = [key for key in arrays if key not in state]
            mismatched = [
                f"{key}: file {tuple(arrays.entries[key].shape)}, network {tuple(variable.shape)}"
                for key, variable in state.items()
                if key in arrays and tuple(arrays.entries[key].shape) != tuple(variable.shape)
            ]
            if missing or unexpected or mismatched:
                raise WeightsMismatchError(
                    "The checkpoint is of another model or optimiser.",
                    missing=missing,
                    unexpected=unexpected,
                    mismatched=mismatched,
                    hint="choose another -o, or the settings that it was made with",
                )
            for key, variable in state.items():
                variable.assign(np.asarray(arrays[key]))


def _state(model: Any) -> dict[str, Any]:
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    optimizer = list(model.optimizer.variables) if model.optimizer is not None else []
    # Numbers, since names of variables are not unique; the names are there to be read.
    return {
        **{f"model/{n:05d}/{_stable(variable.path)}": variable for n, variable in enumerate(own)},
        **{f"optimizer/{n:05d}/{_stable(variable.path)}": variable for n, variable in enumerate(optimizer)},
    }


def _stable(path: str) -> str:
    """Names of optimisers and generators carry a number that depends on how many were made before."""
    return path.rpartition("/")[2]


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        DiskError: it cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save_file

    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # safetensors writes a scalar's memory only where it is an array of its own.
        save_file({k: np.array(v, order="C", copy=None) for k, v in arrays.items()}, beside, dict(metadata))
        beside.replace(path)
    except OSError as error:
        raise DiskError(f"A file cannot be written: {error.strerror or error}.", received=str(path)) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def read_metadata(path: Path) -> dict[str, str]:
    """What `write_arrays` was given as `metadata`.

    Raises:
        CheckpointFormatError: it is no safetensors file, or a damaged one.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > 100_000_000:
                raise ValueError
            header = json.loads(file.read(length))
        return dict(header.get("__metadata__") or {})
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointFormatError("The checkpoint is damaged.", received=str(path)) from error
