"""Looking after what is in the cache: listing, hashing again, removing."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from modelzoo.errors import DiskError, LockTimeoutError, UnknownModelError
from modelzoo.store import disk, posix
from modelzoo.store.layout import Layout, remove_quietly, remove_tree, size_of
from modelzoo.store.manifests import KeptFile, Manifest
from modelzoo.store.policy import Policy


@dataclass(frozen=True)
class Entry:
    """One model in the cache.

    Attributes:
        key: its name.
        path: its folder.
        size: bytes of its files.
        files: their names.
        used: when it was used last, in seconds since 1970.
        verified: when its files were last proven right, likewise.
    """

    key: str
    path: Path
    size: int
    files: tuple[str, ...]
    used: float
    verified: float


@dataclass(frozen=True)
class Verdict:
    """What hashing one file again found.

    Attributes:
        key, name: the model and its file.
        path: where it is, or was.
        status: damaged files have been moved to quarantine/.
        detail: what is wrong.
    """

    key: str
    name: str
    path: Path
    status: Literal["ok", "damaged", "missing"]
    detail: str = ""


@dataclass(frozen=True)
class Removal:
    """What was removed.

    Attributes:
        keys: models.
        size: bytes freed in all.
        partials: abandoned downloads.
    """

    keys: tuple[str, ...]
    size: int
    partials: int


@dataclass(frozen=True)
class Usage:
    """Bytes on the disk; a file with two names counts once.

    Attributes:
        models: files of models.
        blobs: verified files that no model's folder holds (yet, or any more); `prune` removes them.
        partial: downloads and folders on their way, or abandoned; `prune` removes the abandoned ones.
        quarantine: what turned out to be damaged; `prune` removes it.
        other: manifests, references, locks, recorded digests, registries.
        free: what the disk has left; None if nobody says.
    """

    models: int
    blobs: int
    partial: int
    quarantine: int
    other: int
    free: int | None

    @property
    def total(self) -> int:
        return self.models + self.blobs + self.partial + self.quarantine + self.other


def usage(layout: Layout) -> Usage:
    """See `Store.usage`."""
    seen: set[tuple[int, int]] = set()
    places = (layout.models, layout.blobs, layout.partial, layout.quarantine)
    models, loose, partial, quarantine = (_bytes_in(path, seen) for path in places)
    other = sum(_bytes_in(path, seen) for path in disk.matching(layout.root, "*") if path not in places)
    references = sum(size_of(path) for path in disk.matching(layout.blobs, "*/??/*.at"))
    return Usage(models, loose - references, partial, quarantine, other + references, disk.free_space(layout.root))


def _bytes_in(path: Path, seen: set[tuple[int, int]]) -> int:
    try:
        status = path.lstat()
    except OSError:
        return 0
    if stat.S_ISDIR(status.st_mode):
        return sum(_bytes_in(inner, seen) for inner in disk.matching(path, "*"))
    name = (status.st_dev, status.st_ino)
    if status.st_nlink > 1 and name in seen:
        return 0
    seen.add(name)
    return status.st_size


def entries(layout: Layout) -> tuple[Entry, ...]:
    """By name; see `Store.entries`."""
    return tuple(
        Entry(one.key, layout.model(one.key), one.size, tuple(f.name for f in one.files), one.used, one.verified)
        for one in _manifests(layout)
    )


def verify(layout: Layout, keys: Sequence[str] | None, policy: Policy) -> tuple[Verdict, ...]:
    """See `Store.verify`."""
    known = {manifest.key: manifest for manifest in _manifests(layout)}
    chosen = list(known) if keys is None else list(dict.fromkeys(keys))
    for key in chosen:
        if key not in known:
            raise _unknown(key, list(known))
    verdicts: list[Verdict] = []
    for key in chosen:
        verdicts.extend(_verify_one(layout, known[key]))
    return tuple(verdicts)


def _verify_one(layout: Layout, manifest: Manifest) -> list[Verdict]:
    folder = layout.model(manifest.key)
    verdicts = [_verdict(layout, manifest.key, folder, file) for file in manifest.files]
    if all(one.status == "ok" for one in verdicts):
        used = manifest.used
        fresh = replace(manifest, verified=time.time(), files=tuple(f.seen_now(folder) for f in manifest.files))
        path = layout.manifest(manifest.key)
        try:
            if Manifest.read(path) == manifest:  # it may have been fetched anew, or removed, meanwhile
                fresh.write(path)
                os.utime(path, (used, used))  # looking after is no use
        except (OSError, DiskError):
            pass  # a read-only cache can be verified too
    return verdicts


def _verdict(layout: Layout, key: str, folder: Path, file: KeptFile) -> Verdict:
    from modelzoo.store.digests import hash_file

    path = folder / file.name
    detail = ""
    try:
        if folder.is_symlink() or path.is_symlink():
            detail = "it is a symbolic link"
        elif not path.exists():
            return Verdict(key, file.name, path, "missing", "it is gone")
        elif not path.is_file():
            detail = "it is no regular file"
        elif (size := path.lstat().st_size) != file.size:
            detail = f"it has {size:,} bytes instead of {file.size:,}"
        else:
            detail = hash_file(path, file.digests).differs_from(file.digests) or ""
    except OSError as error:
        return Verdict(key, file.name, path, "damaged", f"it cannot be read: {error.strerror}")
    if not detail:
        return Verdict(key, file.name, path, "ok")
    moved = layout.isolate(folder if posix.is_link(folder) else path)
    detail += f"; moved to {moved}" if moved else "; it could not be moved to quarantine"
    return Verdict(key, file.name, path, "damaged", detail)


def remove(layout: Layout, key: str, policy: Policy) -> Removal:
    """See `Store.remove`."""
    from modelzoo.store import locks
    from modelzoo.store.assembly import sweep_stages
    from modelzoo.store.partial import sweep

    path, folder = layout.manifest(key), layout.model(key)
    if not os.path.lexists(path) and not os.path.lexists(folder):
        raise _unknown(key, [manifest.key for manifest in _manifests(layout)])
    with locks.held(layout.model_lock(key), policy.lock_wait):
        manifest = Manifest.read(path)
        freed, partials = _remove_one(layout, key), 0
        freed += sweep_stages(layout, key, policy.stray_age)
        for source in manifest.sources if manifest is not None else ():
            for algorithm, digest in source.digests.items():
                count, size = sweep(layout.partial, f"{algorithm}-{digest}", policy.stray_age)
                partials, freed = partials + count, freed + size
    return Removal((key,), freed, partials)


def _remove_one(layout: Layout, key: str) -> int:
    from modelzoo.store import blobs

    path, folder = layout.manifest(key), layout.model(key)
    manifest = Manifest.read(path)
    with disk.guard(f"remove {key}", path):
        path.unlink(missing_ok=True)  # first: from here on the model is not there
    freed = 0
    if manifest is not None:
        for source in manifest.sources:
            blobs.forget(layout, source.digests, folder)
    freed += remove_tree(folder)
    return freed


def prune(layout: Layout, policy: Policy, *, max_size: int | None, older_than: float | None, dry_run: bool) -> Removal:
    """See `Store.prune`."""
    chosen = _least_used(entries(layout), max_size, older_than, disk.clock(layout.root))
    keys, freed = [], 0
    for entry in chosen:
        if dry_run:
            keys.append(entry.key)
            freed += entry.size
            continue
        from modelzoo.store import locks

        try:
            with locks.held(layout.model_lock(entry.key), 0.0):
                freed += _remove_one(layout, entry.key)
        except LockTimeoutError:
            continue  # it is being fetched: so it is in use
        keys.append(entry.key)
    partials, swept = _sweep(layout, policy, dry_run)
    return Removal(tuple(keys), freed + swept, partials)


def _least_used(held: Sequence[Entry], max_size: int | None, older_than: float | None, now: float) -> list[Entry]:
    """What has to go, in the order of going."""
    left = sum(entry.size for entry in held)
    chosen = []
    for entry in sorted(held, key=lambda one: (one.used, one.key)):
        if (older_than is not None and now - entry.used > older_than) or (max_size is not None and left > max_size):
            chosen.append(entry)
            left -= entry.size
    return chosen


def _sweep(layout: Layout, policy: Policy, dry_run: bool) -> tuple[int, int]:
    """Removes what nothing refers to: (downloads, bytes of everything)."""
    from modelzoo.store import blobs, partial
    from modelzoo.store.assembly import abandoned_stages

    downloads = partial.abandoned(layout.partial, "*", policy.stray_age)
    others = list(abandoned_stages(layout, policy.stray_age))
    if not _is_busy(layout):  # what is fetched now may need them in a moment
        others.extend(blobs.unreferenced(layout))
        others.extend(_orphans(layout))
        for place in (layout.root, layout.partial, layout.manifests):
            others.extend(disk.strays(place, policy.stray_age))
    others.extend(disk.matching(layout.quarantine, "*"))
    if dry_run:
        return len(downloads), sum(map(size_of, [*downloads, *others]))
    count, freed = partial.sweep(layout.partial, "*", policy.stray_age)
    for path in others:
        freed += remove_quietly(path)
        if path.suffix == ".stage":
            remove_quietly(path.with_suffix(".owner"))
    return count, freed


def _is_busy(layout: Layout) -> bool:
    """True while some process fetches a model."""
    from modelzoo.store import locks

    for path in disk.matching(layout.locks, "model-*.lock"):
        try:
            with locks.held(path, 0.0):
                pass
        except (LockTimeoutError, DiskError):
            return True
    return False


def _orphans(layout: Layout) -> list[Path]:
    """Folders of models that no manifest describes: left by a kill, and fetched again from their blobs."""
    described = {layout.model(manifest.key) for manifest in _manifests(layout)}
    return [path for path in disk.matching(layout.models, "*") if path not in described]


def _manifests(layout: Layout) -> list[Manifest]:
    """All that can be read, by key."""
    paths = disk.matching(layout.manifests, "*.json")
    found = (Manifest.read(path) for path in paths if not path.name.startswith("."))
    return sorted((one for one in found if one is not None), key=lambda one: one.key)


def _unknown(key: str, known: Sequence[str]) -> UnknownModelError:
    error = UnknownModelError(key, known, what=f"The model {key!r} is not in the cache.")
    error.hint = error.hint or "`modelzoo cache list` shows what is"
    return error
