"""NumPy's own files: `.npy` with one array or caffe-tensorflow's dictionary, and `.npz` archives.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. An object array is a pickle, which can
run any code; the one kind that is read, a dictionary of arrays, goes through an unpickler that knows stand-ins for
what NumPy's arrays need and nothing else.
"""

from __future__ import annotations

import ast
import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.checkpoints.checkpoint import Checkpoint, TensorInfo
from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.tf_types import element_count
from modelzoo.errors import UnsafeFileError

__all__ = ["DictionaryCheckpoint", "NpyCheckpoint", "NpzCheckpoint", "open_npy"]

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 20
_ONLY_NAME = "array"

Header = tuple[np.dtype, tuple[int, ...], bool, int]


def _header(data: memoryview) -> Header:
    """(dtype, shape, Fortran order, where the values begin) of an array file."""
    if bytes(data[:6]) != _MAGIC or len(data) < 10:
        raise Damage("not a NumPy array file, or cut short")
    width = 2 if data[6] == 1 else 4
    length = int.from_bytes(data[8 : 8 + width], "little")
    begin = 8 + width
    if data[6] not in (1, 2, 3) or length > _LONGEST_HEADER or begin + length > len(data):
        raise Damage("the header of the array is cut short or of an unknown version")
    try:
        text = bytes(data[begin : begin + length]).decode("utf-8" if data[6] == 3 else "latin-1")
        found = ast.literal_eval(text.strip())
        dtype, shape, fortran = np.dtype(found["descr"]), found["shape"], found["fortran_order"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError, UnicodeDecodeError):
        raise Damage("the header of the array is damaged") from None
    proper = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
    if not proper or len(shape) > 64 or not isinstance(fortran, bool):
        raise Damage("the header of the array has an impossible shape")
    return dtype, shape, fortran, begin + length


def _values(data: memoryview, header: Header) -> np.ndarray:
    dtype, shape, fortran, begin = header
    size = element_count(shape) * dtype.itemsize
    if len(data) - begin < size:
        raise Damage(f"{len(data) - begin} bytes do not make {dtype.name} of shape {list(shape)}")
    flat = np.frombuffer(data[begin : begin + size], dtype)
    if not fortran:
        return flat.reshape(shape)
    return np.ascontiguousarray(flat.reshape(shape[::-1]).T)


def _checked(dtype: np.dtype, path: Path, name: str) -> None:
    if dtype.hasobject:
        raise UnsafeFileError(
            f"{path.name}: {name!r} is an array of Python objects, a pickle, which can run any code; it is not read.",
            received=str(path),
            hint="save numbers, not objects: np.savez(path, **arrays)",
        )
    if dtype.kind not in "biufc" or dtype.itemsize == 0:
        raise Damage(f"{name!r} has the type {dtype}, which is no number")


class NpyCheckpoint(Checkpoint):
    """One array, under the name `array`."""

    format = "npy"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = MappedFile(path)
        with damage_in(path):
            self._header = _header(self._file.window(0, self._file.size, "the array"))
            _checked(self._header[0], path, _ONLY_NAME)
        self.entries = {_ONLY_NAME: TensorInfo(self._header[0].name, self._header[1])}

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
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._headers: dict[str, Header] = {}
        with damage_in(path):
            try:
                with zipfile.ZipFile(path) as archive:
                    self._list(archive)
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
                raise Damage(f"the archive is damaged ({error})") from None
        self.entries = {name: TensorInfo(header[0].name, header[1]) for name, header in self._headers.items()}

    def _list(self, archive: zipfile.ZipFile) -> None:
        behind = 0
        for info in sorted(archive.infolist(), key=lambda item: item.header_offset):
            if not info.filename.endswith(".npy") or info.flag_bits & 1:
                raise Damage(f"it holds {info.filename!r}, which is no array or encrypted")
            # Members that lie in each other would let a small file unfold into a large one.
            if info.header_offset < behind:
                raise Damage("its members overlap")
            behind = info.header_offset + 30 + info.compress_size
            name = info.filename[: -len(".npy")]
            if name in self._members:
                raise Damage(f"it holds {name!r} twice")
            with archive.open(info) as stream:
                start = stream.read(_LONGEST_HEADER + 12)
            self._members[name] = info
            self._headers[name] = _header(memoryview(start))
            _checked(self._headers[name][0], self.path, name)
            dtype, shape, _, begin = self._headers[name]
            if element_count(shape) * dtype.itemsize + begin > info.file_size:
                raise Damage(f"{name!r} is shorter than its shape {list(shape)}")

    def _read(self, name: str) -> np.ndarray:
        info = self._members[name]
        with damage_in(self.path, name):
            if info.compress_type == zipfile.ZIP_STORED:
                data = self._stored(info)
                if zlib.crc32(data) != info.CRC:
                    raise Damage("checksum of its values does not match")
                return _values(data, self._headers[name])
            try:
                with zipfile.ZipFile(self.path) as archive:
                    return _values(memoryview(archive.read(info)), self._headers[name])
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
                raise Damage(f"it cannot be unpacked ({error})") from None

    def _stored(self, info: zipfile.ZipInfo) -> memoryview:
        local = self._file.window(info.header_offset, 30, "a member's header")
        begin = 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        return self._file.window(info.header_offset + begin, info.file_size, "a member")

    def close(self) -> None:
        self._file.close()


class DictionaryCheckpoint(Checkpoint):
    """caffe-tensorflow's `{layer: {parameter: array}}` (or a list of arrays), as `layer/parameter`."""

    format = "npy"

    def __init__(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        self.path = path
        self._arrays = arrays
        self.entries = {name: TensorInfo(array.dtype.name, array.shape) for name, array in arrays.items()}

    def _read(self, name: str) -> np.ndarray:
        return self._arrays[name].view()

    def close(self) -> None:
        """Nothing is open: the arrays were unpickled at once."""


def open_npy(path: Path) -> Checkpoint:
    """An `.npy` file: one array, or a pickled dictionary of arrays."""
    file = MappedFile(path)
    try:
        with damage_in(path):
            data = file.window(0, file.size, "the array")
            dtype, shape, _, begin = _header(data)
            if not dtype.hasobject:
                return NpyCheckpoint(path)
            if dtype != np.dtype(object) or shape != ():
                _checked(dtype, path, _ONLY_NAME)
            return DictionaryCheckpoint(path, _flat(_unpickled(bytes(data[begin:]), path)))
    finally:
        file.close()


class _Type:
    """A NumPy type as a pickle describes it; made a real one only after it proved to be a plain number's."""

    def __init__(self, code: Any, *options: Any) -> None:
        text = code.decode("latin-1") if isinstance(code, bytes) else str(code)
        if text.startswith("O"):
            self.dtype = np.dtype(object)
            return
        self.dtype = np.dtype(text)
        if self.dtype.kind not in "biufc":
            raise pickle.UnpicklingError(f"an array of {self.dtype}")

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("latin-1") if isinstance(state[1], bytes) else state[1]
        if order in ("<", ">") and self.dtype.kind != "O":
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """A NumPy array as a pickle describes it: checked before anything of its size is allocated."""

    def __init__(self, *arguments: Any) -> None:
        self.value: Any = None

    def __setstate__(self, state: Any) -> None:
        shape, type_, fortran, raw = state[-4:]
        if not isinstance(type_, _Type) or not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
            raise pickle.UnpicklingError("an array that is none")
        if type_.dtype.kind == "O":
            if shape != () or not isinstance(raw, list) or len(raw) != 1:
                raise pickle.UnpicklingError("an array of objects")
            self.value = raw[0]
            return
        data = raw.encode("latin-1") if isinstance(raw, str) else raw
        if min(shape, default=0) < 0 or not isinstance(data, bytes | bytearray):
            raise pickle.UnpicklingError("an array without values")
        if element_count(shape) * type_.dtype.itemsize != len(data):
            raise pickle.UnpicklingError(f"{len(data)} bytes for an array of shape {list(shape)}")
        flat = np.frombuffer(bytes(data), type_.dtype)
        self.value = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


class _NdArray:
    """What stands for `numpy.ndarray` as an argument; calling it makes nothing."""

    def __init__(self) -> None:
        raise pickle.UnpicklingError("an array without values")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("a text in another encoding")
    return text.encode("latin-1")


#: All that a pickle of NumPy arrays names, by NumPy 1 and 2 and by Python 2 and 3 -> what stands for it here.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NdArray,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


class _Unpickler(pickle.Unpickler):
    """Knows NumPy's arrays; whatever else a pickle names is refused before anything of it is touched."""

    def __init__(self, data: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise UnsafeFileError(
                f"{self._path.name} is a pickle that asks for {module}.{name}; it was refused and nothing was run.",
                received=str(self._path),
                hint="only a dictionary of NumPy arrays is read from such a file",
            )
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a reference to something outside of the file")


def _unpickled(data: bytes, path: Path) -> Any:
    # A few bytes of pickle can ask for gigabytes; what arrays need is in the file, byte for byte.
    try:
        found = _Unpickler(data, path).load()
    except UnsafeFileError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise Damage(f"the pickled dictionary is damaged ({type(error).__name__}: {error})") from None
    return found.value if isinstance(found, _Array) else found


def _flat(found: Any) -> dict[str, np.ndarray]:
    if not isinstance(found, dict):
        raise Damage(f"it holds a pickled {type(found).__name__}, not a dictionary of arrays")
    arrays: dict[str, np.ndarray] = {}
    for layer, parameters in found.items():
        if isinstance(parameters, _Array):
            items: Any = [("", parameters)]
        elif isinstance(parameters, dict):
            items = parameters.items()
        elif isinstance(parameters, list | tuple):
            items = enumerate(parameters)
        else:
            raise Damage(f"{layer!r} holds a {type(parameters).__name__}, not arrays")
        for parameter, given in items:
            array = given.value if isinstance(given, _Array) else given
            if not isinstance(array, np.ndarray):
                raise Damage(f"{layer!r} holds something that is no array of numbers")
            name = "/".join(part for part in (_text(layer), _text(parameter)) if part)
            if name in arrays:
                raise Damage(f"two arrays have the name {name!r}")
            arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    return arrays


def _text(key: Any) -> str:
    if isinstance(key, bytes):
        return key.decode("latin-1")
    return str(key) if isinstance(key, str | int) else repr(key)[:100]
