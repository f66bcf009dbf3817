"""`open_checkpoint`: which format a path holds is told by its bytes, never by its name alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

from modelzoo.checkpoints.checkpoint import Checkpoint
from modelzoo.checkpoints.table import MAGIC
from modelzoo.errors import CheckpointError, CheckpointFormatError, UnsafeFileError

__all__ = ["open_checkpoint"]

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
_V2_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
_STATE = re.compile(r'^\s*model_checkpoint_path:\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)
_START = 512

_KNOWN = "TensorFlow V1 and V2 checkpoints, Keras .h5 and .weights.h5 and .keras, .npy, .npz, .safetensors"


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a weight file of any format that a reader here knows.

    Args:
        path: a file; a folder that holds one checkpoint (TensorFlow's `checkpoint` file says which, where it is
            there); or the prefix of a TensorFlow checkpoint (`model.ckpt-1000`).

    Returns:
        The checkpoint, to be used in a `with` statement or closed by hand. Arrays stay valid afterwards.

    Raises:
        CheckpointError: there is nothing there, or a folder holds none or several.
        CheckpointFormatError: the bytes are damaged or of a format that no reader knows.
        UnsafeFileError: the file would run code (pickle) or reach for other files.
    """
    place = Path(path)
    if place.is_dir():
        return _open_folder(place)
    if _V2_DATA.search(place.name):
        return _open_v2(place.with_name(_V2_DATA.sub("", place.name)))
    if place.suffix == ".index" and place.is_file() and _tail(place) == MAGIC:
        return _open_v2(place.with_suffix(""))
    if place.is_file():
        shard = _SHARD.search(place.name)
        if shard and _tail(place) == MAGIC:
            return _open_sharded_v1(place.with_name(place.name[: shard.start()]))
        return _open_file(place)
    if place.exists():
        raise CheckpointError(f"{place.name} is not a regular file.", received=str(place))
    if place.with_name(place.name + ".index").is_file():
        return _open_v2(place)
    if any(_SHARD.search(found.name) for found in _beside(place)):
        return _open_sharded_v1(place)
    raise CheckpointError(
        f"There is no weight file {place.name!r}.",
        received=str(place),
        hint="a file, a folder, or the prefix of a TensorFlow checkpoint is needed",
    )


def _beside(prefix: Path) -> list[Path]:
    """Files named like the prefix with shard numbers behind."""
    try:
        names = [entry.name for entry in os.scandir(prefix.parent)]
    except OSError:
        return []
    return sorted(
        prefix.with_name(n) for n in names if n.startswith(prefix.name) and _SHARD.match(n[len(prefix.name) :])
    )


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - len(MAGIC)))
        return file.read()


def _open_v2(prefix: Path) -> Checkpoint:
    from modelzoo.checkpoints.tf_v2 import TensorFlowV2Checkpoint

    return TensorFlowV2Checkpoint(prefix)


def _open_sharded_v1(prefix: Path) -> Checkpoint:
    from modelzoo.checkpoints.tf_v1 import TensorFlowV1Checkpoint

    files = _beside(prefix)
    found = {_numbers(file): file for file in files}
    count = max(count for _, count in found)
    missing = [number for number in range(min(count, 100_000)) if (number, count) not in found]
    if missing:
        raise CheckpointFormatError(
            f"{prefix.name}: of its {count} files, {len(missing)} are missing.",
            received=f"first missing: {prefix.name}-{missing[0]:05d}-of-{count:05d}",
            hint="get all files of the checkpoint into one folder",
        )
    return TensorFlowV1Checkpoint(prefix, [found[number, count] for number in range(count)])


def _numbers(path: Path) -> tuple[int, int]:
    match = _SHARD.search(path.name)
    assert match is not None
    return int(match.group(1)), int(match.group(2))


def _open_folder(folder: Path) -> Checkpoint:
    state = folder / "checkpoint"
    if state.is_file():
        text = state.read_bytes()[: 1 << 20].decode("utf-8", "replace")
        match = _STATE.search(text)
        if match:
            # The path may be from another machine: only its last part counts, beside the state file.
            return open_checkpoint(folder / Path(match.group(1).replace("\\\\", "\\")).name)
    if (folder / "variables" / "variables.index").is_file():  # a SavedModel
        return _open_v2(folder / "variables" / "variables")
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        if not entry.is_file() or entry.name.startswith("."):
            continue
        if _V2_DATA.search(entry.name):
            continue
        if entry.suffix == ".index":
            found[entry.stem] = entry
        elif _SHARD.search(entry.name):
            found.setdefault(_SHARD.sub("", entry.name), entry)
        elif _is_known(entry):
            found[entry.name] = entry
    if len(found) == 1:
        return open_checkpoint(next(iter(found.values())))
    what = "no weight file" if not found else f"{len(found)} weight files"
    raise CheckpointError(
        f"The folder {folder.name!r} holds {what}.",
        received=", ".join(list(found)[:10]) or str(folder),
        hint="give the path of one of them" if found else f"known formats: {_KNOWN}",
    )


def _is_known(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_START)
    return _tail(path) == MAGIC or _kind(start) in ("h5", "zip", "npy", "safetensors")


def _kind(start: bytes) -> str:
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "h5"
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if len(start) >= 10 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32:
        return "safetensors"
    return ""


def _open_file(path: Path) -> Checkpoint:
    try:
        with path.open("rb") as file:
            start = file.read(_START)
        tail = _tail(path)
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror}.", received=str(path)) from error
    if tail == MAGIC:
        from modelzoo.checkpoints.tf_v1 import TensorFlowV1Checkpoint

        return TensorFlowV1Checkpoint(path, [path])
    kind = _kind(start)
    if kind == "h5":
        from modelzoo.checkpoints.keras_h5 import KerasH5Checkpoint

        return KerasH5Checkpoint(path)
    if kind == "zip":
        return _open_zip(path)
    if kind == "npy":
        from modelzoo.checkpoints.numpy_files import open_npy

        return open_npy(path)
    if kind == "safetensors":
        from modelzoo.checkpoints.safetensors_file import SafetensorsCheckpoint

        return SafetensorsCheckpoint(path)
    raise _unknown(path, start)


def _open_zip(path: Path) -> Checkpoint:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointFormatError(f"{path.name} is a damaged zip file: {error}.", received=str(path)) from error
    if "model.weights.h5" in names:
        from modelzoo.checkpoints.keras_zip import KerasZipCheckpoint

        return KerasZipCheckpoint(path)
    if any(name.endswith("data.pkl") for name in names):
        raise UnsafeFileError(
            f"{path.name} is a PyTorch file: it holds a pickle, which can run any code, and is not opened.",
            received=str(path),
            hint="save it as .safetensors where it came from",
        )
    if names and all(name.endswith(".npy") for name in names):
        from modelzoo.checkpoints.numpy_files import NpzCheckpoint

        return NpzCheckpoint(path)
    raise CheckpointFormatError(
        f"{path.name} is a zip file, but neither .npz nor .keras.",
        received=", ".join(sorted(names)[:5]) or "an empty archive",
        hint="unpack it, and give the weight file inside",
    )


def _unknown(path: Path, start: bytes) -> CheckpointError:
    looks = "nothing that a reader here knows"
    hint = f"known formats: {_KNOWN}"
    if not start:
        return CheckpointFormatError(f"{path.name} is empty.", received=str(path), hint="get the file again")
    text = start.lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        looks, hint = "a Git LFS pointer, not the file itself", "run `git lfs pull` where you cloned it"
    elif text.startswith((b"<!doctype", b"<html", b"<?xml")):
        looks, hint = "a web page", "the download gave an error page: get the file again"
    elif start.startswith(b"\x1f\x8b"):
        looks, hint = "a gzip archive", "unpack it first: tar -xzf"
    elif start.startswith(b"\x80") and len(start) > 1 and start[1] <= 5:
        return UnsafeFileError(
            f"{path.name} is a Python pickle, which can run any code, and is not opened.",
            received=str(path),
            hint="save it as .safetensors or .npz where it came from",
        )
    return CheckpointFormatError(f"{path.name} holds {looks}.", received=start[:16].hex(" "), hint=hint)
