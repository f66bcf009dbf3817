"""Keras 3's `.keras` archives: the weights are an HDF5 file inside a zip; nothing else of it is looked at."""

from __future__ import annotations

from pathlib import Path

from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.keras_h5 import KerasH5Checkpoint
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.zip_members import members

__all__ = ["WEIGHTS_MEMBER", "KerasZipCheckpoint"]

WEIGHTS_MEMBER = "model.weights.h5"


class KerasZipCheckpoint(KerasH5Checkpoint):
    """The weights of a `.keras` file, by the names of its `model.weights.h5`.

    Keras stores the member plainly, so its arrays are views of the file; its checksum is verified at once.
    """

    format = "keras-zip"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = MappedFile(path)
        with damage_in(path):
            found = members(self._map)
            if WEIGHTS_MEMBER not in found:
                raise Damage(f"the archive holds no {WEIGHTS_MEMBER}")
            self._open(found[WEIGHTS_MEMBER].read())
