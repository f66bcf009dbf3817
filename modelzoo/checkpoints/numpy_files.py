"""NumPy's own files: `.npy` with one array or caffe-tensorflow's dictionary, and `.npz` archives.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. An object array is a pickle, which can
run any code; the one kind that is read, a dictionary of arrays, goes through `pickled_arrays`, which runs none.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.checkpoints.checkpoint import Checkpoint, TensorInfo
from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.pickled_arrays import Refusal, unpickle
from modelzoo.checkpoints.tf_types import element_count
from modelzoo.checkpoints.zip_members import Member, members
from modelzoo.errors import UnsafeFileError

__all__ = ["DictionaryCheckpoint", "NpyCheckpoint", "NpzCheckpoint", "open_npy"]

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000  # NumPy's own limit: longer ones can crash Python's parser
_ONLY_NAME = "array"
_PYTHON_2_LONG = re.compile(r"(\d)L\b")


@dataclass(frozen=True)
class _Header:
    """What an array file says in front of its values, which begin at byte `begin`."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    begin: int

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.begin + element_count(self.shape) * self.dtype.itemsize

    @property
    def info(self) -> TensorInfo:
        return TensorInfo(self.dtype.name, self.shape)


def _header(start: bytes | memoryview) -> _Header:
    """The header of an array file, of which `start` is the beginning."""
    start = bytes(start[: _LONGEST_HEADER + 12])
    if start[:6] != _MAGIC or len(start) < 12:
        raise Damage("not a NumPy array file, or cut short")
    if start[6] not in (1, 2, 3):
        raise Damage(f"version {start[6]} of the array format is unknown")
    begin = 10 if start[6] == 1 else 12
    length = int.from_bytes(start[8:begin], "little")
    if length > _LONGEST_HEADER:
        raise Damage(f"the header of the array claims {length} bytes")
    text = start[begin : begin + length]
    if len(text) < length:
        raise Damage("the header of the array is cut short")
    try:
        # Python 2 wrote sizes as `10L`.
        source = _PYTHON_2_LONG.sub(r"\1", text.decode("utf-8" if start[6] == 3 else "latin-1").strip())
        found = ast.literal_eval(source)
        dtype, shape, fortran = np.dtype(found["descr"]), found["shape"], found["fortran_order"]
    except Exception as error:  # a damaged header can raise anything
        raise Damage(f"the header of the array is damaged ({type(error).__name__})") from None
    proper = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
    if not proper or not isinstance(fortran, bool):
        raise Damage("the header of the array has an impossible shape")
    element_count(shape, max(dtype.itemsize, 1))
    return _Header(dtype, shape, fortran, begin + length)


def _require_numbers(dtype: np.dtype[Any], path: Path, name: str) -> None:
    if dtype.hasobject:
        raise UnsafeFileError(
            f"{path.name}: {name!r} is an array of Python objects, a pickle, which can run any code; it is not read.",
            received=str(path),
            hint="save numbers, not objects: np.savez(path, **arrays)",
        )
    if dtype.kind not in "biufc" or dtype.itemsize == 0:
        raise Damage(f"{name!r} has the type {dtype}, which is no number")


def _values(data: bytes | memoryview, header: _Header) -> np.ndarray:
    """The array of a file's bytes: a view of them, unless it is big-endian or in Fortran order."""
    if len(data) < header.size:
        raise Damage(f"{len(data) - header.begin} bytes do not make {header.dtype.name} of shape {list(header.shape)}")
    flat = np.frombuffer(data[header.begin : header.size], header.dtype)
    return _plain(flat.reshape(header.shape[::-1]).T if header.fortran else flat.reshape(header.shape))


def _plain(array: np.ndarray) -> np.ndarray:
    """In C order and the machine's byte order; the array itself where it is so."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


class NpyCheckpoint(Checkpoint):
    """One array, under the name `array`."""

    format = "npy"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = MappedFile(path)
        with damage_in(path):
            self._header = _header(self._file.window(0, self._file.size, "the array"))
            _require_numbers(self._header.dtype, path, _ONLY_NAME)
        self.entries = {_ONLY_NAME: self._header.info}

    def _read(self, name: str) -> np.ndarray:
        with damage_in(self.path, name):
            return _values(self._file.window(0, self._file.size, "the array"), self._header)

    def close(self) -> None:
        self._file.close()


class NpzCheckpoint(Checkpoint):
    """An archive of arrays: stored ones are views of the file, compressed ones are unpacked when asked for."""

    format = "npz"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = MappedFile(path)
        self._members: dict[str, Member] = {}
        self._headers: dict[str, _Header] = {}
        with damage_in(path):
            for filename, member in members(self._file).items():
                if not filename.endswith(".npy"):
                    raise Damage(f"it holds {filename!r}, which is no array")
                self._add(filename.removesuffix(".npy"), member)
        self.entries = {name: header.info for name, header in self._headers.items()}

    def _add(self, name: str, member: Member) -> None:
        with damage_in(self.path, name):
            header = _header(member.start(_LONGEST_HEADER + 12))
            _require_numbers(header.dtype, self.path, name)
            if header.size > member.size:
                raise Damage(f"its file has {member.size} bytes, its shape {list(header.shape)} needs {header.size}")
        self._members[name] = member
        self._headers[name] = header

    def _read(self, name: str) -> np.ndarray:
        with damage_in(self.path, name):
            return _values(self._members[name].read(), self._headers[name])

    def close(self) -> None:
        self._file.close()


class DictionaryCheckpoint(Checkpoint):
    """caffe-tensorflow's `{layer: {parameter: array}}`, as `layer/parameter`; views of the file.

    A layer's value may also be a list of arrays (`layer/0`, `layer/1`) or an array (`layer`).
    """

    format = "npy"

    def __init__(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        self.path = path
        self._arrays = arrays
        self.entries = {name: TensorInfo(array.dtype.name, array.shape) for name, array in arrays.items()}

    def _read(self, name: str) -> np.ndarray:
        return _plain(self._arrays[name]).view()

    def close(self) -> None:
        """Nothing is held but the arrays."""


def open_npy(path: Path) -> Checkpoint:
    """An `.npy` file: one array, or a pickled dictionary of arrays.

    Raises:
        UnsafeFileError: the pickle names something that no array needs; nothing of it was run.
        CheckpointFormatError: the file is damaged, or holds other objects.
    """
    file = MappedFile(path)
    try:
        with damage_in(path):
            data = file.window(0, file.size, "the array")
            header = _header(data)
            if not header.dtype.hasobject:
                return NpyCheckpoint(path)
            if header.dtype != np.dtype(object) or header.shape != ():
                _require_numbers(header.dtype, path, _ONLY_NAME)
            return DictionaryCheckpoint(path, _flat(unpickle(data[header.begin :])))
    except Refusal as refusal:
        raise UnsafeFileError(
            f"{path.name} is a pickle that asks for {refusal.wanted}; it was refused and nothing was run.",
            received=str(path),
            hint="only a dictionary of NumPy arrays is read from such a file",
        ) from None
    finally:
        file.close()


def _flat(found: Any) -> dict[str, np.ndarray]:
    """The arrays of a dictionary of dictionaries, lists or arrays, by their joined keys."""
    if not isinstance(found, dict):
        raise Damage(f"it holds a pickled {type(found).__name__}, not a dictionary of arrays")
    arrays: dict[str, np.ndarray] = {}
    for layer, parameters in found.items():
        items: Any
        if isinstance(parameters, dict):
            items = parameters.items()
        elif isinstance(parameters, list | tuple):
            items = enumerate(parameters)
        else:
            items = [(None, parameters)]
        for parameter, array in items:
            name = _text(layer) if parameter is None else f"{_text(layer)}/{_text(parameter)}"
            if not isinstance(array, np.ndarray):
                raise Damage(f"{name!r} is a {type(array).__name__}, not an array of numbers")
            if name in arrays:
                raise Damage(f"two arrays have the name {name!r}")
            arrays[name] = array
    return arrays


def _text(key: str | bytes | int) -> str:
    if not isinstance(key, bytes):
        return str(key)
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key.decode("latin-1")
