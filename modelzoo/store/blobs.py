"""Finding bytes by their digest, wherever in the cache they lie."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from modelzoo.errors import DiskError
from modelzoo.store import disk, posix
from modelzoo.store.digests import STRONG
from modelzoo.store.layout import Layout, make_folder
from modelzoo.store.names import why_unsafe


def find(layout: Layout, digests: Mapping[str, str]) -> Iterator[Path]:
    """Regular files that are said to have these digests; whoever uses one hashes it."""
    for algorithm in STRONG:
        if algorithm not in digests:
            continue
        place = layout.blob(algorithm, digests[algorithm])
        if is_plain(place):
            yield place
        # Looked up only now: another process notes where the bytes lie before it drops the blob.
        target = _target(layout, place)
        if target is not None and is_plain(target):
            yield target


def publish(layout: Layout, digests: Mapping[str, str]) -> Path:
    """The place for the blob with these computed digests (its folder exists), found under each strong one."""
    place = layout.blob("sha256", digests["sha256"])
    make_folder(place.parent)
    if any(algorithm in digests for algorithm in STRONG if algorithm != "sha256"):
        note(layout, {k: v for k, v in digests.items() if k != "sha256"}, place)
    return place


def note(layout: Layout, digests: Mapping[str, str], path: Path) -> None:
    """Notes that the file `path` of this cache has these digests."""
    text = json.dumps({"at": path.relative_to(layout.root).as_posix()}).encode()
    for algorithm in STRONG:
        if algorithm in digests:
            place = layout.blob(algorithm, digests[algorithm])
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                disk.write_whole(reference(place), text, sync=False)
            except (OSError, DiskError):
                pass  # a reference saves a download of the same file for another model, no more


def forget(layout: Layout, digests: Mapping[str, str], folder: Path) -> None:
    """Removes the references of these digests that lead into `folder`."""
    for algorithm in STRONG:
        if algorithm in digests:
            place = layout.blob(algorithm, digests[algorithm])
            target = _target(layout, place)
            if target is not None and target.is_relative_to(folder):
                _remove(reference(place))


def drop(layout: Layout, sha256: str) -> None:
    """Removes the blob itself: a model's folder holds its bytes now."""
    _remove(layout.blob("sha256", sha256))


def unreferenced(layout: Layout) -> Iterator[Path]:
    """Every blob, and every reference that leads nowhere."""
    for path in disk.matching(layout.blobs, "*/??/*"):
        if path.suffix == ".at":
            target = _target(layout, path.with_suffix(""))
            if target is None or not is_plain(target):
                yield path
        else:
            yield path


def reference(place: Path) -> Path:
    return place.with_name(place.name + ".at")


def is_plain(path: Path) -> bool:
    try:
        return posix.is_regular(path.lstat())
    except OSError:
        return False


def _target(layout: Layout, place: Path) -> Path | None:
    try:
        at = json.loads(reference(place).read_bytes())["at"]
        if not isinstance(at, str) or why_unsafe(at) or at.split("/")[0] not in ("models", "blobs"):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return layout.root / at.replace("/", os.sep)


def _remove(path: Path) -> None:
    try:
        posix.remove_file(path)
    except OSError:
        pass
