"""Keras 3's `.keras` archives: the weights are an HDF5 file inside a zip; nothing else of it is looked at."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from modelzoo.checkpoints.keras_h5 import KerasH5Checkpoint
from modelzoo.errors import CheckpointFormatError

__all__ = ["KerasZipCheckpoint"]

_WEIGHTS = "model.weights.h5"
_LARGEST_RATIO = 1100


class KerasZipCheckpoint(KerasH5Checkpoint):
    """The weights of a `.keras` file, by the names of its `model.weights.h5`."""

    format = "keras-zip"

    def __init__(self, path: Path) -> None:
        import io

        try:
            with zipfile.ZipFile(path) as archive:
                info = archive.getinfo(_WEIGHTS)
                if info.file_size > info.compress_size * _LARGEST_RATIO + (1 << 20):
                    raise CheckpointFormatError(
                        f"{path.name}: {_WEIGHTS} claims to unfold without measure.",
                        received=f"{info.compress_size} bytes to {info.file_size}",
                        hint="get the file again",
                    )
                data = archive.read(info)
        except (zipfile.BadZipFile, zlib.error, KeyError, OSError, EOFError, ValueError, NotImplementedError) as error:
            raise CheckpointFormatError(
                f"{path.name} is a damaged .keras file: {error}.", received=str(path), hint="get it again"
            ) from None
        super().__init__(path, io.BytesIO(data))
