"""`modelzoo.lock`: the models that a project uses, with the digests that their files had when it was written.

::

    {"lock_version": 1,
     "models": {"<name>": {"registry": "...", "card": "<sha256>", "files": [
         {"name": "...", "role": "...", "size": 123, "sha256": "<hex>"}]}}}

`card` is the digest of the whole card, so a change of anything on it is noticed; a file has its strongest digest. The
text is the same whatever the order in which models were added, so that it is read well by `git diff`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelzoo.errors import DigestError, DiskError, RegistryFormatError, RegistryVersionError, UnpinnedError, UsageError
from modelzoo.errors import nearest as nearest_names
from modelzoo.registry.card import STRONG_DIGESTS, Card, File
from modelzoo.store.digests import checked

__all__ = ["LOCK_NAME", "LOCK_VERSION", "differences", "locked_card", "read_lock", "write_lock"]

LOCK_NAME = "modelzoo.lock"
LOCK_VERSION = 1

Entry = Mapping[str, Any]


def entry_of(card: Card, registry: str, recorded: Mapping[str, tuple[str, int]] | None = None) -> Entry:
    """What the lock says of a card.

    Args:
        card: any card with files.
        registry: where it was found.
        recorded: file name -> (SHA-256, bytes) of files that were trusted at their first use.

    Raises:
        UnpinnedError: a file has no strong digest, on the card or recorded.
        UsageError: the card names no files.
    """
    wanted = [file for file in card.files if not file.optional]
    if not wanted:
        raise UsageError(f"The card {card.name!r} names no files, so there is nothing to lock.", received=card.name)
    files = []
    for file in wanted:
        size, digests = file.size, dict(file.digests)
        if not file.pinned and file.name in (recorded or {}):
            digests["sha256"], size = (recorded or {})[file.name]
        strong = next(((name, digests[name]) for name in STRONG_DIGESTS if name in digests), None)
        if strong is None:
            raise UnpinnedError(
                f"{card.name}: no strong digest of {file.name} is known, so it cannot be locked.",
                received=file.name,
                hint=f"`modelzoo fetch --trust-first-use {card.name}` records one; then lock it",
            )
        row: dict[str, Any] = {"name": file.name, "role": file.role}
        if size is not None:
            row["size"] = size
        files.append({**row, strong[0]: strong[1]})
    return {"registry": registry, "card": card_digest(card), "files": files}


def card_digest(card: Card) -> str:
    """SHA-256 of a card, whatever the order of its fields."""
    text = json.dumps(card.as_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_lock(path: str | os.PathLike[str]) -> dict[str, Entry]:
    """{name: entry} of a lockfile.

    Raises:
        UsageError: there is none.
        RegistryFormatError, RegistryVersionError: it cannot be understood, or is of another version.
        DiskError: it cannot be read.
    """
    place = Path(path)
    try:
        parsed = json.loads(place.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            "There is no lockfile.", received=str(place), hint="`modelzoo lock NAME...` writes one"
        ) from None
    except OSError as error:
        raise DiskError(f"The lockfile cannot be read: {error.strerror}.", received=str(place)) from error
    except (ValueError, RecursionError) as error:
        raise _malformed(place, f"it is no JSON ({error})") from None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("models"), dict):
        raise _malformed(place, "it has no `models` object")
    version = parsed.get("lock_version")
    if version != LOCK_VERSION or isinstance(version, bool):
        raise RegistryVersionError(
            f"The lockfile is of another version; this modelzoo reads version {LOCK_VERSION}.",
            received=f"lock_version {version!r}",
            hint="update modelzoo, or write it again",
        )
    for name, entry in parsed["models"].items():
        _check(place, name, entry)
    return dict(parsed["models"])


def _check(place: Path, name: str, entry: Any) -> None:
    files = entry.get("files") if isinstance(entry, dict) else None
    if not isinstance(files, list) or not files:
        raise _malformed(place, f"{name!r} lists no files")
    for file in files:
        if not isinstance(file, dict) or not isinstance(file.get("name"), str):
            raise _malformed(place, f"a file of {name!r} has no name")
        digests = {key: file[key] for key in STRONG_DIGESTS if key in file}
        if not digests:
            raise _malformed(place, f"{file['name']!r} of {name!r} has no strong digest")
        checked(digests, f"{place.name}: {file['name']} of {name}")
        size = file.get("size")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            raise _malformed(place, f"{file['name']!r} of {name!r} has a size that is none")


def _malformed(place: Path, what: str) -> RegistryFormatError:
    return RegistryFormatError(
        f"The lockfile cannot be understood: {what}.",
        received=str(place),
        hint="take it from version control again, or delete it and lock anew",
    )


def write_lock(path: str | os.PathLike[str], models: Mapping[str, Entry]) -> None:
    """Write a lockfile whole or not at all.

    Raises:
        DiskError: it cannot be written.
    """
    final = Path(path)
    text = json.dumps({"lock_version": LOCK_VERSION, "models": dict(sorted(models.items()))}, indent=1)
    partial = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(final)
    except OSError as error:
        raise DiskError(f"The lockfile cannot be written: {error.strerror}.", received=str(final)) from error
    finally:
        partial.unlink(missing_ok=True)


def differences(entry: Entry, card: Card) -> list[str]:
    """How the files of a card differ from what was locked, in words; empty where they do not.

    A file whose digest the card does not state, but the lock does, is no difference: the lock decides.
    """
    locked = {file["name"]: file for file in entry["files"]}
    own = {file.name: file for file in card.files if not file.optional}
    found = [f"{name} is not locked" for name in own if name not in locked]
    found += [f"{name} is locked, and the card has no such file" for name in locked if name not in own]
    for name, file in own.items():
        row = locked.get(name, {})
        for key in STRONG_DIGESTS:
            if key in row and key in file.digests and row[key] != file.digests[key]:
                found.append(f"{name}: {key} {row[key][:12]}... is locked, the card says {file.digests[key][:12]}...")
        if row.get("size") is not None and file.size is not None and row["size"] != file.size:
            found.append(f"{name}: {row['size']} bytes are locked, the card says {file.size}")
    return found


def locked_card(card: Card, lock: Mapping[str, Entry]) -> Card:
    """The card as it was locked: each of its files is bound to the lock's digest and size.

    Raises:
        UsageError: the model is not in the lock.
        DigestError: the card's files are others than those that were locked.
    """
    entry = lock.get(card.name)
    if entry is None:
        near = nearest_names(card.name, lock, 1)
        raise UsageError(
            f"{card.name!r} is not in the lockfile.",
            received=card.name,
            hint=f"did you mean {near[0]!r}?" if near else f"`modelzoo lock {card.name}` adds it",
        )
    differ = differences(entry, card)
    if differ:
        raise DigestError(
            f"{card.name} is not what was locked: {'; '.join(differ)}.",
            received=entry.get("registry"),
            hint=f"if the change is wanted: modelzoo lock {card.name}",
        )
    rows = {file["name"]: file for file in entry["files"]}
    return dataclasses.replace(card, files=tuple(_bound(file, rows) for file in card.files))


def _bound(file: File, rows: Mapping[str, Mapping[str, Any]]) -> File:
    row = rows.get(file.name)
    if row is None or file.optional:
        return file
    digests = {**file.digests, **{key: row[key] for key in STRONG_DIGESTS if key in row}}
    return dataclasses.replace(file, digests=digests, size=row.get("size", file.size))
