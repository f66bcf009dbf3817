"""A static mirror: the files of cards by their digests, and the registry that describes them.

::

    <folder>/registry.json      the cards, pinned, as a registry of its own
    <folder>/sha256/<hex>       a file (sha384, sha512 where the card has no SHA-256)

Any web server can serve it; `--mirror URL` (`MODELZOO_MIRROR`) fetches from it first. What it serves is verified by the
digests of the user's own registry like anything else, so a mirror need not be trusted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import DiskError, DiskFullError, ModelzooError, ReadOnlyError, UsageError
from modelzoo.registry.card import Card, File
from modelzoo.registry.licences import require
from modelzoo.registry.sources import blob_path, card_sources

if TYPE_CHECKING:
    from modelzoo.store import Source, Store

__all__ = ["Mirrored", "write_mirror", "write_whole"]

_STAGING = "mirror-staging"


@dataclass(frozen=True)
class Mirrored:
    """What became of one card.

    Attributes:
        name: the card's.
        files: paths in the mirror, relative to it.
        fetched: how many of them were not there before.
        size: bytes of all.
        error: why it is not in the mirror; None where it is.
    """

    name: str
    files: tuple[str, ...] = ()
    fetched: int = 0
    size: int = 0
    error: ModelzooError | None = None


def write_mirror(
    folder: str | os.PathLike[str],
    cards: Iterable[Card],
    *,
    store: Store | None = None,
    trust_first_use: bool = False,
    report: Callable[[Mirrored], None] | None = None,
) -> list[Mirrored]:
    """Write the files of cards into a mirror, or add them to one that is there.

    A file appears whole under its digest or not at all; what is there and right is not fetched again. Cards that are in
    the mirror's registry already stay in it. A card that fails does not stop the others.

    Args:
        folder: of the mirror; made where it is absent.
        cards: what to mirror; optional files are left out, archives are mirrored whole.
        store: where files are fetched to and taken from; None: the usual cache.
        trust_first_use: mirror files without a strong digest too; the mirror's registry pins them by what came.
        report: called after each card.

    Returns:
        One `Mirrored` a card, in their order.

    Raises:
        UsageError: the folder is none, or holds a registry that this did not write.
        DiskError: the folder cannot be written.
    """
    from modelzoo.store import Store

    root = Path(folder)
    known = _known(root)
    store = store or Store()
    done: list[Mirrored] = []
    for card in cards:
        try:
            made, pinned = _mirror(root, card, store, trust_first_use)
        except DiskError:
            raise
        except ModelzooError as error:
            made = Mirrored(card.name, error=error)
        else:
            known[card.name] = pinned
            _write_registry(root / "registry.json", known)
        done.append(made)
        if report is not None:
            report(made)
    return done


def _write_registry(path: Path, models: dict[str, Any]) -> None:
    text = json.dumps({"schema_version": 1, "models": dict(sorted(models.items()))}, indent=1, ensure_ascii=False)
    write_whole(path, lambda partial: partial.write_text(text + "\n", encoding="utf-8"))


def _known(root: Path) -> dict[str, Any]:
    """The cards that an earlier run has written."""
    path = root / "registry.json"
    if not path.exists():
        if root.exists() and not root.is_dir():
            raise UsageError("A mirror is a folder.", received=str(root))
        return {}
    from modelzoo.registry.registry_file import Registry

    try:
        return dict(Registry(str(path), "file", path.read_bytes()).models)
    except (OSError, ModelzooError) as error:
        raise UsageError(
            "The folder holds a registry.json that is no registry.",
            received=str(path),
            hint="choose an empty folder, or one that `modelzoo registry mirror` has written",
        ) from error


def _mirror(root: Path, card: Card, store: Store, trust_first_use: bool) -> tuple[Mirrored, dict[str, Any]]:
    wanted = [file for file in card.files if not file.optional]
    if not wanted:
        raise UsageError(f"The card {card.name!r} names no files: nobody published weights for it.")
    places: list[str] = []
    pinned: list[File] = []
    total = fetched = 0
    for file in wanted:
        held = _held(root, file)
        if held is None:
            held = _fetch(root, card, file, store, trust_first_use)
            fetched += 1
        pinned.append(held)
        total += held.size or 0
        places.append(blob_path(held) or "")
    written = card.as_dict()
    mended = iter(pinned)
    written["files"] = [file.as_dict() if file.optional else next(mended).as_dict() for file in card.files]
    return Mirrored(card.name, tuple(places), fetched, total), written


def _held(root: Path, file: File) -> File | None:
    """The file with its size, where the mirror has it already and it is right."""
    place = blob_path(file)
    if place is None or not (root / place).is_file():
        return None
    digest, size = _hashed(root / place, place.partition("/")[0])
    if digest != place.partition("/")[2] or file.size not in (None, size):
        return None
    return dataclasses.replace(file, size=size)


def _fetch(root: Path, card: Card, file: File, store: Store, trust_first_use: bool) -> File:
    """Bring one file through the cache, which verifies it, into the mirror."""
    require(card)
    sources: Sequence[Source] = card_sources(dataclasses.replace(card, files=(dataclasses.replace(file, members=()),)))
    key = f"{_STAGING}/{card.name}"
    found = store.fetch(key, sources, trust_first_use=trust_first_use)
    try:
        ((_, _, path),) = found.all
        place = blob_path(file)
        if place is None:
            digest, size = _hashed(path, "sha256")
            file = dataclasses.replace(file, digests={**file.digests, "sha256": digest}, size=size)
            place = f"sha256/{digest}"
        file = dataclasses.replace(file, size=path.stat().st_size)
        write_whole(root / place, lambda target: shutil.copyfile(path, target))
        return file
    finally:
        store.remove(key)


def _hashed(path: Path, algorithm: str) -> tuple[str, int]:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest(), stream.tell()


def write_whole(final: Path, write: Callable[[Path], Any], what: str = "The mirror") -> None:
    """Let `write` make a file beside its place, and put it there when it is whole; readable by a web server.

    Raises:
        DiskError: it cannot be written; what was there stays. `what` begins the message.
    """
    partial = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        partial.chmod(0o644)
        partial.replace(final)
    except OSError as error:
        import errno

        kind = {errno.ENOSPC: DiskFullError, errno.EDQUOT: DiskFullError, errno.EROFS: ReadOnlyError}
        raise kind.get(error.errno or 0, DiskError)(
            f"{what} cannot be written: {error.strerror}.", received=str(final)
        ) from error
    finally:
        partial.unlink(missing_ok=True)
