"""The safetensors format: a JSON header with offsets, then plain values.

Format: https://github.com/huggingface/safetensors#format. The header is read here, not by the safetensors package,
because arrays are views of the map and every offset is checked first.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from modelzoo.checkpoints.checkpoint import Checkpoint, TensorInfo
from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.tf_types import element_count

__all__ = ["SafetensorsCheckpoint"]

_LONGEST_HEADER = 100_000_000  # the format's own limit

#: Name in the header -> NumPy's (or ml_dtypes') name.
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}


class SafetensorsCheckpoint(Checkpoint):
    """A `.safetensors` file; every array is a view of it."""

    format = "safetensors"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = MappedFile(path)
        self._places: dict[str, tuple[np.dtype, tuple[int, ...], int, int]] = {}
        with damage_in(path):
            self._parse()
        self.entries = {name: TensorInfo(place[0].name, place[1]) for name, place in self._places.items()}

    def _parse(self) -> None:
        length = int.from_bytes(self._file.window(0, 8, "the length of the header"), "little")
        if length > _LONGEST_HEADER:
            raise Damage(f"its header claims {length} bytes")
        text = bytes(self._file.window(8, length, "the header"))
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):
            raise Damage("its header is not JSON") from None
        if not isinstance(header, dict):
            raise Damage("its header is not a JSON object")
        taken = []
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            place = _place(name, entry)
            self._places[name] = (place[0], place[1], 8 + length + place[2], place[3] - place[2])
            taken.append((place[2], place[3]))
        taken.sort()
        behind = 0
        for begin, end in taken:
            # Without gaps and overlaps, as the format demands: a small file cannot unfold into a large one.
            if begin != behind:
                raise Damage("its tensors overlap or leave gaps")
            behind = end
        if 8 + length + behind != self._file.size:
            raise Damage(f"its tensors end at byte {8 + length + behind}, the file at {self._file.size}")

    def _read(self, name: str) -> np.ndarray:
        dtype, shape, offset, size = self._places[name]
        with damage_in(self.path, name):
            return np.frombuffer(self._file.window(offset, size, "its values"), dtype).reshape(shape)

    def close(self) -> None:
        self._file.close()


def _place(name: str, entry: object) -> tuple[np.dtype, tuple[int, ...], int, int]:
    if not isinstance(entry, dict):
        raise Damage(f"the entry of {name!r} is not a JSON object")
    code, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if code not in _DTYPES:
        raise Damage(f"{name!r} has the unknown type {code!r}")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:  # type: ignore[arg-type]
        raise Damage(f"{name!r} has no proper shape or offsets")
    dtype = _dtype(_DTYPES[code])
    assert isinstance(shape, list) and isinstance(offsets, list)
    if len(shape) > 64 or element_count(tuple(shape)) * dtype.itemsize != offsets[1] - offsets[0]:
        raise Damage(f"{name!r}: {offsets[1] - offsets[0]} bytes do not make {code} of shape {shape}")
    return dtype, tuple(shape), offsets[0], offsets[1]


def _dtype(name: str) -> np.dtype:
    if name.startswith(("bfloat", "float8")):
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    # On a machine of the other byte order, this is not the native type.
    return np.dtype(name).newbyteorder("<")


def _naturals(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 62 for item in value)
