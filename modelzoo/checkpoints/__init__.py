"""Weight files -> named arrays, without TensorFlow.

In comes a path: a file, a folder, or the prefix of a TensorFlow checkpoint. Out goes a `Checkpoint`, a mapping from
the file's own tensor names to read-only arrays, which are views of the file where its format allows it. Nothing here
imports TensorFlow, runs code that a file brings along, or follows what a file says to other files.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modelzoo.checkpoints.checkpoint import Checkpoint as Checkpoint
    from modelzoo.checkpoints.checkpoint import MissingTensorError as MissingTensorError
    from modelzoo.checkpoints.checkpoint import TensorInfo as TensorInfo
    from modelzoo.checkpoints.opening import open_checkpoint as open_checkpoint

_HOME = {
    "Checkpoint": "checkpoint",
    "MissingTensorError": "checkpoint",
    "TensorInfo": "checkpoint",
    "open_checkpoint": "opening",
}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelzoo.checkpoints' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"modelzoo.checkpoints.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
