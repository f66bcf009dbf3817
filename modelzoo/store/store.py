"""The store: fetch, plan, locate, and the upkeep of what is there."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from modelzoo.errors import CacheError, DiskError, UnpinnedError
from modelzoo.store import asked, disk, paths, posix, upkeep
from modelzoo.store.digests import is_pinned
from modelzoo.store.layout import Layout, size_of
from modelzoo.store.manifests import KeptFile, Manifest, fetched
from modelzoo.store.names import key_folder
from modelzoo.store.policy import Policy
from modelzoo.store.source import Fetched, PlannedFile, Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modelzoo.store.transport import Transport
    from modelzoo.store.upkeep import Entry, Removal, Usage, Verdict

_TRIES = 5
_log = logging.getLogger("modelzoo")


class Store:
    """A cache of verified files, by model.

    Args:
        root: its folder; None = `cache_root()`.
        offline: never open a socket; None = as `MODELZOO_OFFLINE` says.
        progress: True: a bar; None: a bar if standard error is a terminal; a function of file name, bytes done, bytes
            in all (None: unknown); False: nothing.
        policy: limits and times.
        transport: what sends requests; None = requests, imported when the first download begins.
        shared: caches of others that are read, and never written; None = those of `MODELZOO_SHARED_CACHE`.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        offline: bool | None = None,
        progress: bool | Callable[[str, int, int | None], None] | None = None,
        policy: Policy | None = None,
        transport: Transport | None = None,
        shared: Sequence[str | os.PathLike[str]] | None = None,
    ) -> None:
        self.root = paths.cache_root() if root is None else Path(root).expanduser().absolute()
        self.offline = paths.is_offline(offline)
        self._layout = Layout(self.root)
        self._progress = progress
        self._policy = policy or Policy()
        self._transport = transport
        others = paths.shared_roots() if shared is None else [Path(one).expanduser().absolute() for one in shared]
        self._shared = tuple(Layout(one) for one in others if one != self.root)

    def fetch(self, key: str, sources: Sequence[Source], *, trust_first_use: bool = False) -> Fetched:
        """Brings all files of a model into the cache, unless they are there.

        Args:
            key: the model's name.
            sources: its files.
            trust_first_use: take files without a strong digest, and record the one they have in `lock.json`, which
                binds from then on.

        Returns:
            The model's folder and its files, complete and verified.

        Raises:
            UsageError, RegistryFormatError: the request makes no sense.
            UnpinnedError: nothing strong verifies a file, and nobody said to trust its first use.
            OfflineError: it is not there, and the network must not be used.
            NetworkError: no URL delivered a file; it lists the attempts.
            DigestError, SizeError: what was delivered is not what the registry says; nothing of it is kept.
            ArchiveError: an archive is damaged, not safe, or lacks a member.
            DiskError, CacheError, LockTimeoutError: as they say.
        """
        wanted = asked.checked(key, sources)
        found = self._ready(key, wanted) or self._elsewhere(key, wanted)
        if found is not None:
            return found
        from modelzoo.store import locks, partial, trust
        from modelzoo.store.assembly import Assembly
        from modelzoo.store.download import identifier

        bound = self._bound(key, wanted, trust_first_use)
        names = [identifier(source) for source in bound]
        layout = self._layout
        layout.prepare()

        def pace() -> object:
            """Changes as long as whoever holds the lock gets on."""
            stages = [size_of(path) for path in disk.matching(layout.partial, f"{key_folder(key)}.*.stage")]
            return stages, [partial.kept_bytes(layout.partial, name) for name in names]

        with locks.held(layout.model_lock(key), self._policy.lock_wait, pace):
            for left in reversed(range(_TRIES)):
                found = self._ready(key, bound)
                if found is not None:
                    return found
                try:
                    manifest = Assembly(
                        layout, key, bound, self._policy, self._network, self.offline, self._progress, self._shared
                    ).run()
                    break
                except CacheError:  # where locks do nothing, another process may have moved a file before us
                    if not left or not os.path.lexists(self.root):
                        raise
            self._ready(key, bound)  # without locks, folder and manifest may be of two processes: this mends it
            for source, asked_for in zip(bound, wanted, strict=True):
                kept = manifest.source(source.name)
                if not is_pinned(source.digests) and kept is not None:
                    trust.record(
                        layout,
                        key,
                        source.name,
                        sha256=kept.digests["sha256"],
                        size=kept.size,
                        url=kept.url.partition("#")[0],
                        wait=self._policy.lock_wait,
                    )
                    _log.info("%s of %s: trusted, %s recorded", asked_for.name, key, kept.digests["sha256"])
        return fetched(layout.model(key), manifest.files_of_all(bound) or manifest.files)

    def plan(self, key: str, sources: Sequence[Source]) -> tuple[PlannedFile, ...]:
        """What `fetch` would do; it uses no network and writes nothing.

        Raises:
            UsageError, RegistryFormatError: the request makes no sense.
        """
        from modelzoo.store import blobs, partial
        from modelzoo.store.download import identifier

        wanted = asked.checked(key, sources)
        manifest = Manifest.read(self._layout.manifest(key))
        folder = self._layout.model(key)
        elsewhere = self._elsewhere(key, wanted) is not None
        planned = []
        for source, bound in zip(wanted, self._recorded(key, wanted), strict=True):
            files = manifest.files_of(bound) if manifest else None
            cached = elsewhere or (files is not None and all(file.is_intact(folder) for file in files))
            kept = 0
            if not cached:
                places = (blobs.find(layout, bound.digests) for layout in (self._layout, *self._shared))
                held = next(itertools.chain.from_iterable(places), None)
                kept = held.lstat().st_size if held else partial.kept_bytes(self._layout.partial, identifier(bound))
            planned.append(
                PlannedFile(source.name, source.role, bound.size, source.urls, cached, kept, is_pinned(bound.digests))
            )
        return tuple(planned)

    def locate(self, key: str, sources: Sequence[Source] | None = None) -> Fetched | None:
        """The model's files if all are there, as far as their sizes and times tell; None otherwise.

        Args:
            key: the model's name.
            sources: what has to be there; None = what was fetched last.
        """
        wanted = None if sources is None else asked.checked(key, sources)
        files, _ = _files(self._layout, asked.checked_key(key), wanted)
        folder = self._layout.model(key)
        if files is None or not all(file.is_intact(folder) for file in files):
            return None if wanted is None else self._elsewhere(key, wanted)
        return fetched(folder, files)

    def usage(self) -> Usage:
        """What the cache takes on the disk, by what it is for; reads the sizes of all its files."""
        return upkeep.usage(self._layout)

    def entries(self) -> tuple[Entry, ...]:
        """What is in the cache, by name. No file but the manifests is read."""
        return upkeep.entries(self._layout)

    def verify(self, keys: Sequence[str] | None = None) -> tuple[Verdict, ...]:
        """Hashes files again (all, or those of `keys`); damaged ones go to quarantine/, to be fetched anew next time.

        Raises:
            UnknownModelError: a key is not in the cache.
        """
        return upkeep.verify(self._layout, keys, self._policy)

    def remove(self, key: str) -> Removal:
        """Removes a model and what an interrupted download of it left.

        Raises:
            UnknownModelError: it is not in the cache.
            DiskError, LockTimeoutError: it cannot be removed.
        """
        return upkeep.remove(self._layout, asked.checked_key(key), self._policy)

    def prune(self, *, max_size: int | None = None, older_than: float | None = None, dry_run: bool = False) -> Removal:
        """Removes models, least recently used first, and always what nothing refers to.

        Args:
            max_size: bytes that may stay.
            older_than: seconds since the last use after which a model goes.
            dry_run: only say what would go.
        """
        return upkeep.prune(self._layout, self._policy, max_size=max_size, older_than=older_than, dry_run=dry_run)

    # -- what fetch asks itself ----------------------------------------------------------------------------------

    def _elsewhere(self, key: str, wanted: Sequence[Source]) -> Fetched | None:
        """The model in a shared cache: complete, pinned, and untouched since its owner verified it."""
        for layout in self._shared:
            files, _ = _files(layout, key, wanted)
            folder = layout.model(key)
            pinned = all(is_pinned(source.digests) for source in wanted)
            if files is not None and pinned and all(file.is_intact(folder) for file in files):
                return fetched(folder, files)
        return None

    def _ready(self, key: str, wanted: Sequence[Source]) -> Fetched | None:
        """The files if they are there and right. Files that only look touched (a copied cache) are hashed."""
        from modelzoo.store import assembly

        files, manifest = _files(self._layout, key, wanted)
        folder = self._layout.model(key)
        if files is None or manifest is None:
            return None
        touched = [file for file in files if not file.is_intact(folder)]
        if not all(file.is_right(folder) for file in touched):
            return None
        path = self._layout.manifest(key)
        try:
            if touched:
                names = {file.name for file in touched}
                fresh = tuple(file.seen_now(folder) if file.name in names else file for file in manifest.files)
                manifest = replace(manifest, files=fresh)
                manifest.write(path)
            if not assembly.is_settled(self._layout, manifest):
                assembly.settle(self._layout, manifest, wanted, self._policy.stray_age)
            os.utime(path)
        except (OSError, DiskError):
            pass  # a read-only cache serves all the same
        return fetched(folder, files)

    def _recorded(self, key: str, wanted: Sequence[Source]) -> list[Source]:
        """`wanted`, with the digests that an earlier first use has recorded."""
        from modelzoo.store import trust

        bound = []
        for source in wanted:
            known = None
            if not is_pinned(source.digests):
                known = trust.recorded(self._layout.trusted, key, source.name)
            if known is not None:
                digest, size = known
                source = replace(source, digests={**source.digests, "sha256": digest}, size=source.size or size)
            bound.append(source)
        return bound

    def _bound(self, key: str, wanted: Sequence[Source], trust_first_use: bool) -> list[Source]:
        bound = self._recorded(key, wanted)
        loose = [source for source in bound if not is_pinned(source.digests)]
        if loose and not trust_first_use:
            weak = sorted({name for source in loose for name in source.digests})
            raise UnpinnedError(
                f"{key}: nothing strong verifies {', '.join(source.name for source in loose)}"
                + (f" ({', '.join(weak)} can be forged)." if weak else "."),
                received=", ".join(_plain(url) for source in loose for url in source.urls),
                hint="--trust-first-use (trust_first_use=True) takes it, and records its digest for the next time",
            )
        return bound

    def _network(self) -> Transport:
        if self._transport is None:
            from modelzoo.store.transport import RequestsTransport

            self._transport = RequestsTransport(self._policy)
        return self._transport


def _files(
    layout: Layout, key: str, wanted: Sequence[Source] | None
) -> tuple[tuple[KeptFile, ...] | None, Manifest | None]:
    manifest = Manifest.read(layout.manifest(key))
    if manifest is None or manifest.key != key or posix.is_link(layout.model(key)):
        return None, None
    return manifest.files_of_all(wanted), manifest


def _plain(url: str) -> str:
    from modelzoo.store.http import shown

    return shown(url)
