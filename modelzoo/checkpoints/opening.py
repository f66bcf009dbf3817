"""`open_checkpoint`: which format a path holds is told by its bytes, never by its name alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

from modelzoo.checkpoints.appearance import READABLE, appearance, unreadable
from modelzoo.checkpoints.checkpoint import Checkpoint
from modelzoo.errors import CheckpointError, CheckpointFormatError

__all__ = ["open_checkpoint"]

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")
_V2_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
_STATE = re.compile(r'^\s*model_checkpoint_path:\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)
_LONGEST_STATE = 1 << 20


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a weight file of any format that a reader here knows.

    Args:
        path: a file; a folder that holds one checkpoint (TensorFlow's `checkpoint` file says which, where it is
            there), or a SavedModel; or the prefix of a TensorFlow checkpoint (`model.ckpt-1000`).

    Returns:
        The checkpoint, to be used in a `with` statement or closed by hand. Arrays stay valid afterwards.

    Raises:
        CheckpointError: there is nothing there, or a folder holds none or several.
        CheckpointFormatError: the bytes are damaged or of a format that no reader knows.
        UnsafeFileError: the file would run code (pickle) or reach for other files.
    """
    place = Path(path)
    try:
        if place.is_dir():
            return _open_folder(place)
        return _open_files(place)
    except OSError as error:
        raise CheckpointError(f"{place.name} cannot be read: {error.strerror}.", received=str(place)) from error


def _open_files(place: Path) -> Checkpoint:
    """A file, or a prefix of several."""
    if _V2_DATA.search(place.name):
        return _open_v2(place.with_name(_V2_DATA.sub("", place.name)))
    if place.is_file():
        looks = appearance(place)
        # A damaged index still belongs to its data files, and is no file of another kind.
        if place.suffix == ".index" and (looks == "table" or _data_files(place.with_suffix(""))):
            return _open_v2(place.with_suffix(""))
        if looks == "table" and (shard := _SHARD.search(place.name)):
            return _open_v1_shards(place.with_name(place.name[: shard.start()]), int(shard[2]))
        return _open_file(place, looks)
    if place.exists():
        raise CheckpointError(f"{place.name} is not a regular file.", received=str(place))
    if place.name and (place.with_name(place.name + ".index").is_file() or _data_files(place)):
        return _open_v2(place)
    if counts := {int(found[2]) for name in _beside(place) if (found := _SHARD.fullmatch(name))}:
        return _open_v1_shards(place, max(counts))
    raise CheckpointError(
        f"There is no weight file {place.name!r}.",
        received=str(place),
        hint="a file, a folder, or the prefix of a TensorFlow checkpoint is needed",
    )


def _beside(prefix: Path) -> list[str]:
    """What is behind the prefix in the names of the files that begin with it."""
    try:
        names = os.listdir(prefix.parent)  # noqa: PTH208 - of a folder of many files, only names are needed
    except OSError:
        return []
    return [name[len(prefix.name) :] for name in names if name.startswith(prefix.name)]


def _data_files(prefix: Path) -> bool:
    return any(_V2_DATA.fullmatch(name) for name in _beside(prefix))


def _open_v2(prefix: Path) -> Checkpoint:
    from modelzoo.checkpoints.tf_v2 import TensorFlowV2Checkpoint

    index = prefix.with_name(prefix.name + ".index")
    if not index.is_file():
        raise CheckpointError(
            f"The index of the checkpoint {prefix.name!r} is missing.",
            received=str(prefix),
            hint=f"get {index.name} into the folder of its data files",
        )
    return TensorFlowV2Checkpoint(prefix)


def _open_v1_shards(prefix: Path, count: int) -> Checkpoint:
    from modelzoo.checkpoints.tf_v1 import TensorFlowV1Checkpoint

    files = [prefix.with_name(f"{prefix.name}-{number:05d}-of-{count:05d}") for number in range(count)]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise CheckpointFormatError(
            f"{prefix.name}: of its {count} files, {len(missing)} are missing.",
            received=f"first missing: {missing[0]}" if missing else None,
            hint="get all files of the checkpoint into one folder",
        )
    return TensorFlowV1Checkpoint(prefix, files)


def _open_folder(folder: Path) -> Checkpoint:
    if (pointed := _pointed_to(folder)) is not None:
        return _open_files(pointed)
    if (folder / "variables" / "variables.index").is_file():  # a SavedModel
        return _open_v2(folder / "variables" / "variables")
    found: dict[str, Path] = {}  # a name for each checkpoint, and one of its files
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or not entry.is_file() or _V2_DATA.search(entry.name):
            continue
        looks = appearance(entry)
        if entry.suffix == ".index" and (looks == "table" or _data_files(entry.with_suffix(""))):
            found[entry.stem] = entry
        elif looks == "table":
            found.setdefault(_SHARD.sub("", entry.name), entry)
        elif looks in READABLE:
            found[entry.name] = entry
    if len(found) == 1:
        return _open_files(next(iter(found.values())))
    what = f"{len(found)} weight files" if found else "no weight file"
    raise CheckpointError(
        f"The folder {folder.name!r} holds {what}.",
        received=", ".join(list(found)[:10]) or str(folder),
        hint="give the path of one of them" if found else "give the path of a weight file",
    )


def _pointed_to(folder: Path) -> Path | None:
    """What the folder's `checkpoint` file names, if that is there: it may be stale, or from another machine."""
    state = folder / "checkpoint"
    if not state.is_file():
        return None
    with state.open("rb") as file:
        match = _STATE.search(file.read(_LONGEST_STATE).decode("utf-8", "replace"))
    if match is None:
        return None
    # Only the last part counts, whichever machine's separators it has: what it names lies in this folder.
    name = re.split(r"[/\\]", match[1])[-1]
    if name in ("", ".", "..", state.name) or "\0" in name:
        return None
    prefix = folder / name
    known = prefix.is_file() or any(
        rest == ".index" or _SHARD.fullmatch(rest) or _V2_DATA.fullmatch(rest) for rest in _beside(prefix)
    )
    return prefix if known else None


def _open_file(path: Path, looks: str) -> Checkpoint:
    """A file of its own, which looks as `appearance` says."""
    if looks == "table":
        from modelzoo.checkpoints.tf_v1 import TensorFlowV1Checkpoint

        return TensorFlowV1Checkpoint(path, [path])
    if looks == "h5":
        from modelzoo.checkpoints.keras_h5 import KerasH5Checkpoint

        return KerasH5Checkpoint(path)
    if looks == "npy":
        from modelzoo.checkpoints.numpy_files import open_npy

        return open_npy(path)
    if looks == "safetensors":
        from modelzoo.checkpoints.safetensors_file import SafetensorsCheckpoint

        return SafetensorsCheckpoint(path)
    if looks == "keras":
        from modelzoo.checkpoints.keras_zip import KerasZipCheckpoint

        return KerasZipCheckpoint(path)
    if looks == "caffemodel":
        from modelzoo.checkpoints.caffemodel import CaffemodelCheckpoint

        return CaffemodelCheckpoint(path)
    if looks == "npz":
        from modelzoo.checkpoints.numpy_files import NpzCheckpoint

        return NpzCheckpoint(path)
    raise unreadable(path, looks)
