"""Keras' HDF5 files: weights and whole models of Keras 1, 2 and 3, as `group/.../dataset` names them.

Only plain datasets inside the file are read. Links, virtual datasets, external storage and filters that are no stock
ones are refused, since they read other files, load plug-ins or unfold without measure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.checkpoints.checkpoint import Checkpoint
from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.h5_tree import H5_ERRORS, read_tree
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.zip_members import ViewStream
from modelzoo.errors import CheckpointError

__all__ = ["KerasH5Checkpoint"]

_WHOLE_MODEL = "model_weights/"


class KerasH5Checkpoint(Checkpoint):
    """An HDF5 file of weights, by the paths of its datasets: `conv1/conv1/kernel:0`, `layers/dense/vars/0`.

    Of the file of a whole model only the weights are listed, without the `model_weights/` in front.

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
        import h5py

        self._data = data
        try:
            # Over the map, and not by name: what is read is what was mapped, and no lock is asked for.
            self._file = h5py.File(ViewStream(data), "r")
        except H5_ERRORS as error:
            raise Damage(f"a damaged HDF5 file ({_reason(error)})") from error
        try:
            tree = read_tree(self._file, self.path, len(data))
            root = _WHOLE_MODEL if any(name.startswith(_WHOLE_MODEL) for name in tree) else ""
            self.entries = {name[len(root) :]: info for name, info in tree.items() if name.startswith(root)}
            self._root = root
        except BaseException:
            self.close()
            raise

    @property
    def model_config(self) -> str | None:
        """The architecture as JSON text, where the file of a whole model holds one."""
        try:
            found = self._file.attrs.get("model_config")
        except H5_ERRORS as error:
            with damage_in(self.path, "model_config"):
                raise Damage(f"it cannot be read ({_reason(error)})") from error
        if isinstance(found, bytes):
            return found.decode("utf-8", "replace")
        return found if isinstance(found, str) else None

    def _read(self, name: str) -> np.ndarray:
        if not self._file:
            raise CheckpointError(f"{self.path.name} has been closed.", received=str(self.path))
        info = self.entries[name]
        with damage_in(self.path, name):
            try:
                dataset = self._file[self._root + name]
                array = self._view(dataset)
                if array is None:
                    array = np.asarray(dataset[()])
            except H5_ERRORS as error:
                raise Damage(f"its values cannot be read ({_reason(error)})") from error
            if array.shape != info.shape:
                raise Damage("its values have another shape than it says")
            if info.dtype == "bfloat16":
                import ml_dtypes

                return array.view(ml_dtypes.bfloat16)
            return np.asarray(array, dtype=array.dtype.newbyteorder("="))

    def _view(self, dataset: Any) -> np.ndarray | None:
        """The values as a view of the file, where HDF5 stores them in one piece and as they are."""
        offset = dataset.id.get_offset()
        if offset is None or dataset.chunks is not None or dataset.dtype.kind not in "iufV" or not dataset.size:
            return None
        size = dataset.size * dataset.dtype.itemsize
        if offset < 0 or offset + size > len(self._data):
            raise Damage("too short for its values")
        return np.frombuffer(self._data[offset : offset + size], dataset.dtype).reshape(dataset.shape)

    def close(self) -> None:
        try:
            self._file.close()
        except H5_ERRORS:
            pass  # of a damaged file; nothing was to be written
        self._map.close()


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
