"""What every reader returns: a read-only mapping from tensor names to arrays."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from modelzoo.errors import CheckpointError, nearest

__all__ = ["Checkpoint", "MissingTensorError", "TensorInfo"]


@dataclass(frozen=True)
class TensorInfo:
    """Type and shape of one tensor, known without reading it.

    Attributes:
        dtype: name as TensorFlow and NumPy know it (`float32`, `bfloat16`, `int64`, `bool`, ...); `string` for bytes.
        shape: sizes of the axes; `()` of a scalar.
    """

    dtype: str
    shape: tuple[int, ...]


tensor_info = functools.lru_cache(maxsize=1024)(TensorInfo)
"""A `TensorInfo`, the same one for the same type and shape: a network has few, each many times."""


class MissingTensorError(CheckpointError, KeyError):
    """A checkpoint has no tensor of this name. Also a KeyError, so that `Mapping.get` works.

    Attributes:
        name: the name that was asked for.
        suggestions: the nearest names in the file, best first.
    """

    def __init__(self, name: str, checkpoint: Checkpoint) -> None:
        self.name = name
        self.suggestions = nearest(name, checkpoint.entries)
        hint = f"the nearest names are {', '.join(map(repr, self.suggestions))}" if self.suggestions else None
        super().__init__(
            f"{checkpoint.path.name} has no tensor {name!r} among its {len(checkpoint.entries)}.", hint=hint
        )


class Checkpoint(Mapping[str, np.ndarray]):
    """Named arrays of a weight file. Nothing is read until it is asked for.

    ``checkpoint[name]`` is a read-only array, in C order, with NumPy's dtype of the same name (`bfloat16` and the
    8-bit floats from `ml_dtypes`; strings as object arrays of `bytes`). Where the format stores values plainly it is
    a view of the file's memory map, possibly unaligned: copying it once is the caller's. Such views outlive `close`;
    they must not outlive the file's bytes (do not truncate or overwrite a file in place while it is in use).

    Checksums, where the format has them, are verified when a tensor is first read.

    Attributes:
        format: `tf-v1`, `tf-v2`, `keras-h5`, `keras-zip`, `caffemodel`, `npy`, `npz` or `safetensors`.
        path: what was opened: a file, or a prefix that is no file.
        entries: type and shape of every tensor.

    Raises:
        MissingTensorError: there is no tensor of this name.
        CheckpointFormatError: the bytes of a tensor are damaged, or its file is missing.
    """

    format: str
    path: Path
    entries: Mapping[str, TensorInfo]

    @property
    def object_graph(self) -> bytes | None:
        """The serialized TrackableObjectGraph of an object-based TensorFlow checkpoint; None of all others."""
        return None

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.entries:
            raise MissingTensorError(name, self)
        array = self._read(name)
        array.flags.writeable = False
        return array

    @abstractmethod
    def _read(self, name: str) -> np.ndarray:
        """The array of a name that is in `entries`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the files. Arrays that were read stay valid."""

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Checkpoint {self.path.name!r}: {self.format}, {len(self)} tensors>"
