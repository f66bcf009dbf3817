"""Keras' HDF5 files: weights and whole models of Keras 1, 2 and 3, as `group/.../dataset` names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelzoo.checkpoints.checkpoint import Checkpoint
from modelzoo.checkpoints.damage import damage_in
from modelzoo.checkpoints.h5_classic import ClassicH5, NewerLayout
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.errors import CheckpointError

__all__ = ["KerasH5Checkpoint"]

_WHOLE_MODEL = "model_weights/"


class KerasH5Checkpoint(Checkpoint):
    """An HDF5 file of weights, by the paths of its datasets: `conv1/conv1/kernel:0`, `layers/dense/vars/0`.

    Of the file of a whole model only the weights are listed, without the `model_weights/` in front. Only plain
    datasets are read: links, values in other files, filters that need plug-ins, and shapes beyond what the file can
    hold raise UnsafeFileError.

    Args:
        path: the file.
    """

    format = "keras-h5"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = MappedFile(path)
        with damage_in(path):
            self._open(self._map.window(0, self._map.size, "the file"))

    def _open(self, data: memoryview) -> None:
        """Take in the HDF5 file that `data` holds."""
        self._closed = False
        try:
            self._file = ClassicH5(data, self.path)
        except NewerLayout:
            from modelzoo.checkpoints.h5_library import LibraryH5

            self._file = LibraryH5(data, self.path)  # type: ignore[assignment]
        found = self._file.entries
        self._root = _WHOLE_MODEL if any(name.startswith(_WHOLE_MODEL) for name in found) else ""
        self.entries = {name[len(self._root) :]: info for name, info in found.items() if name.startswith(self._root)}

    @property
    def model_config(self) -> str | None:
        """The architecture as JSON text, where the file of a whole model holds one."""
        self._require_open()
        with damage_in(self.path, "model_config"):
            return self._file.text("model_config")

    def _read(self, name: str) -> np.ndarray:
        self._require_open()
        with damage_in(self.path, name):
            array = self._file.read(self._root + name)
        if self.entries[name].dtype == "bfloat16":
            import ml_dtypes

            return array.view(ml_dtypes.bfloat16)
        return np.asarray(array, dtype=array.dtype.newbyteorder("="))

    def _require_open(self) -> None:
        if self._closed:
            raise CheckpointError(f"{self.path.name} has been closed.", received=str(self.path))

    def close(self) -> None:
        self._closed = True
        self._file.close()
        self._map.close()
