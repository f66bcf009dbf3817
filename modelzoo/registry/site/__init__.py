"""A catalogue of models as static pages: `index.html` to search in, and a page a card.

::

    <folder>/index.html          all cards, with search and filters
    <folder>/models/<name>.html  one card (`ns/name`: `ns+name.html`)
    <folder>/site.json           what belongs to the site, by SHA-256; it says that the folder may be replaced

The pages load nothing and need no server. What a card says is text on them, never markup. The same cards give the same
bytes. The folder is written beside its place and then takes it, whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelzoo.errors import DiskError, DiskFullError, ReadOnlyError, UsageError
from modelzoo.registry.loading import Registries
from modelzoo.store import disk, posix

__all__ = ["Site", "write_site"]

_LIST = "site.json"
_MAKER = "modelzoo registry site"


@dataclass(frozen=True)
class Site:
    """What was written.

    Attributes:
        folder: where.
        cards: how many have a page.
        files: of the site, `site.json` not counted.
        size: of these files, in bytes.
    """

    folder: Path
    cards: int
    files: int
    size: int


def write_site(
    folder: str | os.PathLike[str],
    registries: Registries,
    names: Iterable[str] = (),
    *,
    title: str = "Pretrained models",
) -> Site:
    """Write the catalogue, whole or not at all.

    Args:
        folder: of the site: absent, empty, or one that this wrote before and nobody has added files to.
        registries: where the cards are; one that is a URL is named in the lines that readers copy.
        names: of cards, or aliases; none: all cards that can be reached.
        title: heading of the first page.

    Raises:
        UnknownModelError: no registry has a name.
        UsageError: there are no cards, or the folder holds something that is not a site of ours.
        DiskError: it cannot be written.
    """
    from modelzoo.registry.site.card_page import card_page
    from modelzoo.registry.site.index_page import index_page, page_name

    found = {card.name: card for card in map(registries.card, list(names) or registries.names())}
    cards = [found[name] for name in sorted(found)]
    if not cards:
        raise UsageError("A catalogue needs at least one card.", hint="`modelzoo list` shows those that there are")
    place = Path(folder).expanduser().resolve()
    _check(place)
    stage = _stage(place)
    listed: dict[str, str] = {}
    size = 0

    def write(name: str, page: str) -> None:
        nonlocal size
        data = page.encode("utf-8")
        (stage / name).write_bytes(data)
        listed[name] = hashlib.sha256(data).hexdigest()
        size += len(data)

    try:
        with _guard("written", place):
            (stage / "models").mkdir(parents=True)
            write("index.html", index_page(cards, title))
            for card in cards:
                write(page_name(card.name), card_page(card, registries.registry_of(card.name), found))
            document = {"made_by": _MAKER, "cards": len(cards), "files": dict(sorted(listed.items()))}
            (stage / _LIST).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        _replace(stage, place)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return Site(place, len(cards), len(listed), size)


@contextmanager
def _guard(what: str, place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = {errno.ENOSPC: DiskFullError, errno.EDQUOT: DiskFullError, errno.EROFS: ReadOnlyError}
        kind |= {errno.EACCES: ReadOnlyError, errno.EPERM: ReadOnlyError}
        raise kind.get(error.errno or 0, DiskError)(
            f"The catalogue cannot be {what}: {error.strerror or error}.",
            received=str(place),
            hint="nothing of what was there has changed; choose another DIR, or make room",
        ) from error


def _check(place: Path) -> None:
    """Refuse a folder that holds anything but a site of ours: replacing it would lose that."""
    if not os.path.lexists(place):
        return
    models = place / "models"
    with _guard("compared with what is there", place):
        if not place.is_dir():
            raise UsageError("A catalogue is a folder.", received=str(place), hint="choose another DIR")
        inside = {
            path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_symlink() or path != models
        }
    if not inside:
        return
    foreign = sorted(inside - _listed(place))
    if foreign:
        raise UsageError(
            "The folder holds something that is not a catalogue which this command wrote; it would be lost.",
            received=f"{place}: {', '.join(foreign[:3])}",
            hint="choose an empty folder, or move these files away",
        )


def _listed(place: Path) -> set[str]:
    try:
        found = json.loads((place / _LIST).read_bytes())
        return {_LIST, *found["files"]} if found["made_by"] == _MAKER else set()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def _stage(place: Path) -> Path:
    """A name beside the place for the folder on its way; what killed runs of this machine left there is removed."""
    machine = posix.machine_digest()
    for left in disk.matching(place.parent, f".{place.name}.{machine}.*.part"):
        pid = left.name.split(".")[-3]
        if pid.isdecimal() and not posix.is_running(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    return place.with_name(f".{place.name}.{machine}.{os.getpid()}.{os.urandom(3).hex()}.part")


def _replace(stage: Path, place: Path) -> None:
    """Let the folder appear; one that was there is exchanged in one step where the system can, else moved aside."""
    with _guard("put into its place", place):
        try:
            stage.rename(place)  # nothing is there, or an empty folder
        except OSError:
            if not place.is_dir():
                raise
            if not posix.exchange(stage, place):
                aside = stage.with_name(stage.name.replace(".part", ".old.part"))
                place.rename(aside)
                try:
                    stage.rename(place)
                except OSError:
                    aside.rename(place)
                    raise
                shutil.rmtree(aside, ignore_errors=True)
    posix.sync_folder(place.parent)
