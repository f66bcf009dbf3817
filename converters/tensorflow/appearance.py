"""Whether a path is TensorFlow's, told without importing TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["is_tensorflow"]

_ENDINGS = (".meta", ".pb", ".pbtxt")


def is_tensorflow(path: str | os.PathLike[str]) -> bool:
    """Whether a path looks like a TensorFlow graph: `.pb`, `.pbtxt`, `.meta`, or the folder of a SavedModel."""
    place = Path(path)
    return place.suffix in _ENDINGS or any((place / f"saved_model{ending}").is_file() for ending in (".pb", ".pbtxt"))
