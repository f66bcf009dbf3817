"""Clips as folders of frames: `folder/CLASS/CLIP/frame.jpg`, frames in the natural order of their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from modelzoo.errors import UsageError
from modelzoo.features.inputs import PICTURES
from modelzoo.finetune.pictures import check_pictures
from modelzoo.rnn.sequences import Sequences

__all__ = ["class_folders", "natural_key", "read_clip", "read_clips"]

_DIGITS = re.compile(r"(\d+)")


def natural_key(name: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """A key by which `frame2` comes before `frame10`; names that differ have keys that differ."""
    parts = _DIGITS.split(name)
    key: list[tuple[int, int | str]] = [(0, int(p)) if n % 2 else (1, p) for n, p in enumerate(parts) if p or n % 2]
    return tuple(key), name


def read_clips(
    folder: str | Path, *, frames: int | None = None, hop: int | None = None, check: bool = True
) -> Sequences:
    """Read clips by class.

    Args:
        folder: with one folder a class, each with one folder of frames a clip; hidden names are passed over.
        frames: cut windows of so many frames; None = whole clips, the shorter ones padded and masked.
        hop: frames from one window to the next; None = `frames`.
        check: open the head of every frame, so that a file that is no picture is found before any work.

    Raises:
        UsageError: no such folder, fewer than two classes, a class without clips, a clip without frames or shorter
            than the window, or pictures that lie where a folder is expected.
        ImageError: a frame is no picture.
    """
    root, classes = class_folders(folder, "clips")
    sources: list[tuple[str, Sequence[Path], int]] = []
    for label, one in enumerate(classes):
        clips = _inside_folders(one)
        loose = [path for path in _inside(one) if path.is_file() and path.suffix.lower() in PICTURES]
        if loose:
            raise UsageError(
                f"{len(loose)} pictures lie in the class {one.name!r} beside its clips, so their clip is not known.",
                received=loose[0].relative_to(root).as_posix(),
                hint=f"a clip is a folder of its frames: {root.name}/{one.name}/CLIP/0001.jpg; for single pictures "
                "take another head",
            )
        if not clips:
            raise UsageError(
                f"The class {one.name!r} has no clip.",
                received=str(one),
                hint=f"a clip is a folder of its frames: {root.name}/{one.name}/CLIP/0001.jpg",
            )
        sources += [(clip.relative_to(root).as_posix(), read_clip(clip), label) for clip in clips]
    found = Sequences.cut(sources, [one.name for one in classes], size=frames, hop=hop, what="frames")
    if check:
        check_pictures([path for _, paths, _ in sources for path in paths], "A frame")
    return found


def read_clip(folder: str | Path) -> tuple[Path, ...]:
    """The frames of one clip, in their natural order.

    Raises:
        UsageError: there is no such folder, it has no frames, or folders with pictures of their own.
    """
    clip = Path(folder).expanduser()
    if not clip.is_dir():
        raise UsageError("A clip is a folder of frames.", received=str(folder))
    deeper = [one for one in _inside_folders(clip) if any(p.suffix.lower() in PICTURES for p in one.rglob("*"))]
    if deeper:
        raise UsageError(
            "A clip holds folders with pictures of their own.",
            received=str(deeper[0]),
            hint="FOLDER/CLASS/CLIP/FRAME: three levels, no more",
        )
    frames = [path for path in _inside(clip) if path.is_file() and path.suffix.lower() in PICTURES]
    if not frames:
        raise UsageError("A clip has no frame.", received=str(clip), hint=f"frames end in {' '.join(sorted(PICTURES))}")
    return tuple(sorted(frames, key=lambda path: natural_key(path.name)))


def class_folders(folder: str | Path, what: str) -> tuple[Path, list[Path]]:
    """(the folder, its folders in alphabetical order), of which there are two or more.

    Raises:
        UsageError: there is no such folder, fewer than two classes, or files beside them.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UsageError("There is no such folder.", received=str(folder), hint="FOLDER holds a folder a class")
    classes = _inside_folders(root)
    loose = [path for path in _inside(root) if path.is_file() and path.suffix.lower() in {*PICTURES, *SERIES}]
    if loose:
        raise UsageError(
            f"{len(loose)} files lie beside the classes' folders, so their class is not known.",
            received=loose[0].name,
            hint=f"FOLDER holds a folder a class, and each of them its {what}",
        )
    if len(classes) < 2:
        raise UsageError(
            f"A classifier needs two classes or more: a folder of {what} for each.",
            received=f"{root}: {len(classes)} folders",
            hint=f"FOLDER holds a folder a class, and each of them its {what}",
        )
    return root, sorted(classes, key=lambda path: path.name)


SERIES = frozenset({".npy", ".csv", ".wav"})
"""Endings of files that are a series over time."""


def _inside(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _inside_folders(folder: Path) -> list[Path]:
    return sorted((path for path in _inside(folder) if path.is_dir()), key=lambda path: natural_key(path.name))
