"""What a file looks like by its bytes, and what to say of one that no reader here knows."""

from __future__ import annotations

import os
from pathlib import Path

from modelzoo.checkpoints.table import MAGIC
from modelzoo.errors import CheckpointError, CheckpointFormatError, UnsafeFileError

__all__ = ["READABLE", "appearance", "unreadable"]

READABLE = frozenset(["table", "h5", "npy", "npz", "keras", "safetensors", "caffemodel"])
"""What `appearance` says of files that a reader may know."""

_KNOWN = "TensorFlow V1 and V2 checkpoints, Keras .h5 and .weights.h5 and .keras, .caffemodel, .npy, .npz, .safetensors"
_CONVERTERS = "a graph has to be converted: modelzoo convert"
_UNPACK = "unpack it, and give the weight file inside"
_AGAIN = "the download gave an error page or nothing: get the file again"
_START = 512
_LONG_START = 1 << 16

#: (first bytes, what it is)
_STARTS = (
    (b"\x89HDF\r\n\x1a\n", "h5"),
    (b"\x93NUMPY", "npy"),
    (b"version https://git-lfs", "lfs"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"GGUF", "gguf"),
    (b"PK\x05\x06", "zip"),
)

#: what it is -> (how the message says it, what to do)
_OTHERS = {
    "lfs": ("a Git LFS pointer, not the file itself", "run `git lfs pull` where it was cloned"),
    "page": ("a web page", _AGAIN),
    "gzip": ("a gzip archive", _UNPACK),
    "bzip2": ("a bzip2 archive", _UNPACK),
    "xz": ("an xz archive", _UNPACK),
    "zstd": ("a Zstandard archive", _UNPACK),
    "tar": ("a tar archive", _UNPACK),
    "zip": ("a zip archive, but neither .npz nor .keras", _UNPACK),
    "broken zip": ("a zip archive that is damaged or cut short", "get the file again"),
    "cut table": (
        "the beginning of a TensorFlow checkpoint without its end",
        "damaged or cut short: get it again",
    ),
    "gguf": ("a GGUF file of llama.cpp", f"known formats: {_KNOWN}"),
    "tflite": ("a LiteRT model", f"known formats: {_KNOWN}"),
    "onnx": ("an ONNX model", _CONVERTERS),
}

#: Pickles make Python call what they name: these are refused as such.
_PICKLES = {"torch": "a PyTorch file, which holds a Python pickle", "pickle": "a Python pickle"}


def appearance(path: Path) -> str:
    """One word for the format that a file's bytes begin and end like; "" where they say nothing.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_START)
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - len(MAGIC)))
        end = file.read()
    if end == MAGIC:
        return "table"
    if not start:
        return "nothing"
    for first, kind in _STARTS:
        if start.startswith(first):
            return kind
    if start.startswith(b"PK\x03\x04"):
        return _zip(path)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32:
        return "safetensors"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "page"
    if start[257:262] == b"ustar":
        return "tar"
    if start[4:8] == b"TFL3":
        return "tflite"
    if (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or start.startswith(
        (b"(dp", b"(lp", b"ccopy_reg\n", b"cnumpy")
    ):
        return "pickle"
    # A table's first entry has the empty key; its value, a message, begins with field 1.
    if start[:2] == b"\x00\x00" and b"\x0a" in start[3:8]:
        return "cut table"
    if start[:1] == b"\x08" and start[2:3] == b"\x12" and path.suffix == ".onnx":
        return "onnx"
    if path.suffix == ".caffemodel" or _is_caffemodel(path):
        return "caffemodel"
    return ""


def _is_caffemodel(path: Path) -> bool:
    from modelzoo.checkpoints.caffemodel import looks_like_caffemodel

    with path.open("rb") as file:
        return looks_like_caffemodel(file.read(_LONG_START), os.fstat(file.fileno()).st_size)


def _zip(path: Path) -> str:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile meets damage with many kinds of errors
        return "broken zip"
    if "model.weights.h5" in names:
        return "keras"
    if any(name.endswith("data.pkl") for name in names):
        return "torch"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "zip"


def unreadable(path: Path, looks: str) -> CheckpointError:
    """The error for a file that `appearance` does not find `READABLE`."""
    if looks in _PICKLES:
        return UnsafeFileError(
            f"{path.name} is {_PICKLES[looks]}: that can run any code, and is not opened.",
            received=str(path),
            hint="save it as .safetensors or .npz where it came from",
        )
    if looks == "nothing":
        return CheckpointFormatError(f"{path.name} is empty.", received=str(path), hint=_AGAIN)
    if looks in _OTHERS:
        what, hint = _OTHERS[looks]
        return CheckpointFormatError(f"{path.name} is {what}.", received=str(path), hint=hint)
    with path.open("rb") as file:
        first = file.read(16)
    converted = path.suffix in (".pb", ".onnx", ".prototxt", ".meta")
    return CheckpointFormatError(
        f"{path.name} is no weight file that a reader here knows.",
        received=f"first bytes {first.hex(' ')}",
        hint=_CONVERTERS if converted else f"known formats: {_KNOWN}",
    )
