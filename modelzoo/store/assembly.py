"""Making a model's folder: everything is gathered in a hidden one, which one rename makes visible.

Files come from the folder as it was, from elsewhere in the cache, or from a download. They are linked into the hidden
folder where that is possible; a blob goes only after the manifest is written, so that no kill loses verified bytes.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial as partially
from pathlib import Path

from modelzoo.errors import ArchiveError, ModelzooError, OfflineError
from modelzoo.store import archives, blobs, disk, local, locks, posix
from modelzoo.store.digests import Hasher, hash_file, is_pinned
from modelzoo.store.download import Download, identifier
from modelzoo.store.http import noted, shown
from modelzoo.store.layout import Layout, make_folder, remove_quietly, remove_tree
from modelzoo.store.manifests import KeptFile, KeptSource, Manifest
from modelzoo.store.names import key_folder
from modelzoo.store.parallel import run_all
from modelzoo.store.partial import Partial, kept_bytes, sweep
from modelzoo.store.policy import Policy
from modelzoo.store.progress import Progress, following, one_at_a_time
from modelzoo.store.retries import Stopped
from modelzoo.store.source import Source
from modelzoo.store.transport import Transport

_TRIES = 5


@dataclass
class _Held:
    """A verified file of this cache, or a shared one."""

    path: Path
    size: int
    url: str
    digests: dict[str, str]
    ours: bool  # nobody else's folder holds it: it may be linked


@dataclass
class Assembly:
    """One model's folder on its way. The caller holds the model's lock.

    Args:
        layout: of the cache.
        key: the model.
        sources: with digests that bind, if there are any.
        policy, transport, offline, progress, shared: as in `Store`.
    """

    layout: Layout
    key: str
    sources: Sequence[Source]
    policy: Policy
    transport: Callable[[], Transport]
    offline: bool
    progress: Progress
    shared: Sequence[Layout] = ()
    _files: list[KeptFile] = field(default_factory=list)
    _kept: list[KeptSource] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Manifest:
        """Gathers all files and publishes the folder.

        Raises:
            ModelzooError: as `Store.fetch` says; what was verified is kept for the next time.
        """
        sweep_stages(self.layout, self.key, self.policy.stray_age)
        folder = self.layout.model(self.key)
        if posix.is_link(folder):  # what it leads to is not ours
            with disk.guard("replace a symbolic link in the cache", folder):
                posix.remove_file(folder)
        before = Manifest.read(self.layout.manifest(self.key))
        self.progress = one_at_a_time(self.progress)
        tasks = [partially(self._gather, source, folder, before) for source in self.sources]
        held = run_all(tasks, self.policy.parallel, self._stop)
        with _stage(self.layout, self.key) as stage:
            for source, one in zip(self.sources, held, strict=True):
                if isinstance(one, _Held) and source.members:
                    self._unpack(source, one, stage)
                elif isinstance(one, _Held):
                    self._place(one, stage / source.name)
                    self._note(source, one, ((source.role, None, source.name, one.digests),), stage)
                else:
                    kept, files = one
                    for file in files:
                        self._place(
                            _Held(folder / file.name, file.size, "", dict(file.digests), True), stage / file.name
                        )
                    self._kept.append(kept)
                    self._files.extend(file.seen_now(stage) for file in files)
            manifest = Manifest(self.key, tuple(self._kept), tuple(self._files), time.time())
            _sync_tree(stage)
            _show(self.layout, stage, folder)
        manifest.write(self.layout.manifest(self.key))
        settle(self.layout, manifest, self.sources, self.policy.stray_age)
        return manifest

    # -- where a file comes from ---------------------------------------------------------------------------------

    def _gather(
        self, source: Source, folder: Path, before: Manifest | None
    ) -> _Held | tuple[KeptSource, tuple[KeptFile, ...]]:
        files = before.files_of(source) if before is not None else None
        if before is not None and files is not None:
            right = [file.is_intact(folder) or file.is_right(folder) for file in files]
            kept = before.source(source.name)
            if all(right) and kept is not None:
                return kept, files
            for file, good in zip(files, right, strict=True):
                if not good and os.path.lexists(folder / file.name):
                    self.layout.isolate(folder / file.name)
        found = self._find(source, folder)
        if found is not None:
            return found
        name = identifier(source)

        def pace() -> int:
            if self._stop.is_set():
                raise Stopped
            return kept_bytes(self.layout.partial, name)

        with locks.held(self.layout.file_lock(name), self.policy.lock_wait, pace):
            return self._find(source, folder) or self._download(source, name)

    def _find(self, source: Source, folder: Path) -> _Held | None:
        """A file of this cache, or a shared one, that has the strong digest of `source`; it is hashed again."""
        if not is_pinned(source.digests):
            return None
        own = [] if source.members else [folder / source.name]
        others = (path for layout in self.shared for path in blobs.find(layout, source.digests))
        for path in (*own, *blobs.find(self.layout, source.digests), *others):
            if not blobs.is_plain(path) or (source.size is not None and path.lstat().st_size != source.size):
                continue
            try:
                hasher = hash_file(path, source.digests)
            except OSError:
                continue
            if hasher.differs_from(source.digests) is None:
                ours = path.is_relative_to(self.layout.blobs) or path.is_relative_to(folder)
                return _Held(path, hasher.length, noted(source.urls[0]), hasher.digests, ours)
            if path.is_relative_to(self.layout.blobs):
                self.layout.isolate(path)
        return None

    def _download(self, source: Source, name: str) -> _Held:
        title = f"{source.name} of {self.key}"
        urls = tuple(url for url in source.urls if not self.offline or local.is_local(url))
        if not urls:
            raise OfflineError(
                f"{title} is not in the cache, and the network must not be used.",
                received=", ".join(map(shown, source.urls)),
                hint="fetch it once without --offline (or MODELZOO_OFFLINE)",
            )
        folder = self.layout.partial
        kept = kept_bytes(folder, name)
        if source.size is not None and kept < source.size:
            disk.check_room(folder, source.size - kept, title)
        partial = Partial.open(folder, name, source.digests, mark_every=self.policy.mark_every)
        try:
            with following(self.progress, source.name) as note:
                url = Download(source, title, partial, self.policy, self.transport, note, self._stop).run(urls)
            hasher = partial.hasher
            place = blobs.publish(self.layout, hasher.digests)
            partial.publish(place)
        finally:
            partial.release()
        return _Held(place, hasher.length, noted(url), hasher.digests, True)

    # -- how it gets into the folder -----------------------------------------------------------------------------

    def _unpack(self, source: Source, archive: _Held, stage: Path) -> None:
        targets = [stage / member.target for member in source.members]
        try:
            hashers = archives.extract(archive.path, source.members, targets, self.policy)
        except ArchiveError as error:
            blobs.drop(self.layout, archive.digests["sha256"])
            hint = error.hint or "the bytes are what the registry names: whoever keeps the card has to mend it"
            raise ArchiveError(
                f"{source.name} of {self.key}: {error.what}", received=error.received, hint=hint
            ) from error
        except ModelzooError as error:
            error.what = f"{source.name} of {self.key}: {error.what}"
            raise
        for target in targets:
            posix.make_read_only(target)
        parts = zip(source.members, hashers, strict=True)
        self._note(source, archive, tuple((m.role, m.path, m.target, hasher.digests) for m, hasher in parts), stage)

    def _place(self, held: _Held, target: Path) -> None:
        """Brings a verified file into the hidden folder: its blocks, its name, or a verified copy."""
        make_folder(target.parent)
        with disk.guard(f"write {target.name}", target, needed=held.size):
            if posix.clone(held.path, target):
                posix.make_read_only(target)
                return
            if held.ours and held.path.lstat().st_nlink == 1:  # else the same bytes are in this folder already
                try:
                    os.link(held.path, target)
                    posix.make_read_only(target)
                    return
                except OSError:
                    pass  # no hard links here
            hasher = Hasher()
            with os.fdopen(posix.open_regular(held.path), "rb") as reading, target.open("xb") as writing:
                while chunk := reading.read(1 << 20):
                    hasher.update(chunk)
                    writing.write(chunk)
                writing.flush()
                os.fsync(writing.fileno())
            if hasher.sha256 != held.digests["sha256"]:
                raise FileNotFoundError(f"{held.path} changed while it was copied")
            posix.make_read_only(target)

    def _note(
        self,
        source: Source,
        held: _Held,
        files: tuple[tuple[str, str | None, str, dict[str, str]], ...],
        stage: Path,
    ) -> None:
        self._kept.append(KeptSource(source.name, held.size, held.url, held.digests))
        for role, member, name, digests in files:
            status = (stage / name).lstat()
            self._files.append(KeptFile(name, role, source.name, member, status.st_size, status.st_mtime_ns, digests))


def settle(layout: Layout, manifest: Manifest, sources: Sequence[Source], stray_age: float) -> None:
    """Clears up after a model was published: removes what killed attempts left, and at last the blobs whose bytes the
    model's folder holds, noting where they are instead. So a blob that is still there says that this is to be done.
    """
    for source in sources:
        sweep(layout.partial, identifier(source), stray_age)
    places = {layout.blob(name, digest).parent for kept in manifest.sources for name, digest in kept.digests.items()}
    for place in (layout.root, layout.partial, layout.manifests, *places):
        for path in disk.strays(place, stray_age):
            remove_quietly(path)
    folder = layout.model(manifest.key)
    for kept in manifest.sources:
        plain = next((f for f in manifest.files if f.source == kept.name and f.member is None), None)
        if plain is not None:
            blobs.note(layout, kept.digests, folder / plain.name)
        blobs.drop(layout, kept.digests["sha256"])


def is_settled(layout: Layout, manifest: Manifest) -> bool:
    """False if a kill came between the manifest and the end of `settle`: then blobs are left (a file's second name)."""
    return not any(os.path.lexists(layout.blob("sha256", source.digests["sha256"])) for source in manifest.sources)


def sweep_stages(layout: Layout, key: str, stray_age: float) -> int:
    """Removes a model's hidden folders whose process is gone. Returns bytes freed."""
    freed = 0
    for path in abandoned_stages(layout, stray_age, key):
        freed += remove_quietly(path)
        remove_quietly(path.with_suffix(".owner"))
    return freed


def abandoned_stages(layout: Layout, stray_age: float, key: str | None = None) -> list[Path]:
    """Hidden folders (of one model, or all) whose process is gone, and folders that were replaced."""
    start = "*" if key is None else f"{key_folder(key)}.*"
    both = [*disk.matching(layout.partial, f"{start}.stage"), *disk.matching(layout.partial, f"{start}.owner")]
    found = []
    for path in sorted({path.with_suffix(".stage") for path in both}):
        note = path.with_suffix(".owner")
        try:
            owner, born = note.read_text(), note.lstat().st_mtime
        except OSError:
            owner, born = "", 0.0
        state = posix.process_state(owner)
        if state == "gone" or (state == "unknown" and disk.clock(layout.partial) - born > stray_age):
            found.append(path)
    return found


@contextmanager
def _stage(layout: Layout, key: str):  # type: ignore[no-untyped-def]
    stage = layout.partial / f"{key_folder(key)}.{os.urandom(6).hex()}.stage"
    owner = stage.with_suffix(".owner")
    make_folder(layout.partial)
    disk.write_whole(owner, posix.process_identity().encode(), sync=False)
    try:
        make_folder(stage)
        yield stage
    finally:
        remove_quietly(stage)
        remove_quietly(owner)


def _show(layout: Layout, stage: Path, folder: Path) -> None:
    """Renames the hidden folder to its place; what was there is moved aside, then removed."""
    make_folder(folder.parent)
    for attempt in range(_TRIES):
        aside = None
        if os.path.lexists(folder):
            aside = stage.with_name(f"{folder.name}.{os.urandom(6).hex()}.stage")  # without an owner: abandoned
            with disk.guard("replace a model's folder", folder):
                try:
                    folder.rename(aside)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    remove_tree(folder)  # overlay file systems (containers) rename no folder of a lower layer
                    aside = None
        try:
            stage.rename(folder)
        except OSError as error:
            if attempt + 1 == _TRIES or not os.path.lexists(folder):
                raise disk.refusal(error, "publish a model's folder", folder) from error
            continue  # somebody else published it in between
        finally:
            if aside is not None:
                remove_quietly(aside)
        posix.sync_folder(folder.parent)
        return


def _sync_tree(folder: Path) -> None:
    for inner in folder.iterdir():
        if inner.is_dir() and not inner.is_symlink():
            _sync_tree(inner)
    posix.sync_folder(folder)
