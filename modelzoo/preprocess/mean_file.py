"""Mean pictures: Caffe's `mean.binaryproto` (one BlobProto) and `.npy`, read without TensorFlow or protobuf."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from modelzoo.errors import CheckpointFormatError

__all__ = ["read_mean"]

# Field numbers of BlobProto in caffe.proto.
_LEGACY = {1: 0, 2: 1, 3: 2, 4: 3}  # num, channels, height, width -> position in the shape
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_mean(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a mean picture for `Preprocess.with_mean_image`.

    Args:
        path: a `.binaryproto` (channels first, as Caffe's compute_image_mean writes it), or a `.npy` file with
            channels first or last.

    Returns:
        float32 (H, W, C), in the channel order of the file: BGR for Caffe's.

    Raises:
        CheckpointFormatError: the file is missing, damaged, or does not hold one picture of 1 or 3 channels.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointFormatError(f"The mean picture {path} cannot be read: {error.strerror}.") from error
    try:
        if data.startswith(b"\x93NUMPY"):
            array = np.load(path, allow_pickle=False)
        else:
            array = _blob(data)
    except (ValueError, EOFError, OverflowError) as error:
        raise CheckpointFormatError(
            f"{path} is not a mean picture: {error}.",
            received=f"{len(data)} bytes",
            hint="a .binaryproto of Caffe or a .npy file is read",
        ) from error
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    # A blob is channels first by definition; an array may be either, and is what only one reading makes a picture.
    blob = not data.startswith(b"\x93NUMPY")
    if array.ndim == 3 and array.shape[0] in (1, 3) and (blob or array.shape[2] not in (1, 3)):
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.dtype.kind not in "fiu":
        raise CheckpointFormatError(
            f"{path} does not hold one picture of 1 or 3 channels.", received=f"{array.dtype} {array.shape}"
        )
    return np.ascontiguousarray(array, np.float32)


def _blob(data: bytes) -> np.ndarray:
    """The array of a serialised BlobProto; ValueError for anything else."""
    legacy = [0, 0, 0, 0]
    shape: list[int] = []
    floats: list[np.ndarray] = []
    doubles: list[np.ndarray] = []
    at = 0
    while at < len(data):
        number, kind, value, at = _field(data, at)
        if isinstance(value, int):
            if number in _LEGACY:
                legacy[_LEGACY[number]] = value
        elif number == _DATA and kind in (_BYTES, _FIXED32):
            floats.append(np.frombuffer(value, "<f4"))
        elif number == _DOUBLE_DATA and kind in (_BYTES, _FIXED64):
            doubles.append(np.frombuffer(value, "<f8"))
        elif number == _SHAPE and kind == _BYTES:
            shape += _dimensions(value)
    values = np.concatenate(floats or doubles or [np.zeros(0, np.float32)])
    # Caffe takes the four old fields as soon as one of them is there.
    dimensions = [max(side, 0) for side in legacy] if any(legacy) else shape
    if not dimensions or int(np.prod(dimensions, dtype=object)) != values.size or not values.size:
        raise ValueError(f"shape {dimensions} and {values.size} values do not fit")
    return values.reshape(dimensions)


def _dimensions(message: bytes) -> list[int]:
    """`dim` (field 1) of a BlobShape, packed or not."""
    sides: list[int] = []
    at = 0
    while at < len(message):
        number, kind, value, at = _field(message, at)
        if number != 1:
            continue
        if isinstance(value, int):
            sides.append(value)
        elif kind == _BYTES:
            inner = 0
            while inner < len(value):
                side, inner = _varint(value, inner)
                sides.append(side)
    return sides


def _field(data: bytes, at: int) -> tuple[int, int, bytes | int, int]:
    """(field number, wire type, value, next position) of protobuf's wire format."""
    key, at = _varint(data, at)
    kind = key & 7
    if kind == _VARINT:
        value, at = _varint(data, at)
        return key >> 3, kind, value, at
    if kind == _BYTES:
        length, at = _varint(data, at)
    elif kind in (_FIXED32, _FIXED64):
        length = 4 if kind == _FIXED32 else 8
    else:
        raise ValueError(f"wire type {kind} is not used by a blob")
    if at + length > len(data):
        raise ValueError("the file ends in the middle of a field")
    return key >> 3, kind, data[at : at + length], at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("the file ends in the middle of a number")
