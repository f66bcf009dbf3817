"""Bringing one file: its URLs in turn, again and again within bounds, until its bytes are the right ones.

What arrives is hashed while it is written. After a cut the rest alone is asked for; bytes that turn out to be wrong
are thrown away, all of them, since nobody knows which they are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

from modelzoo.errors import DigestError, MissingExtraError, ModelzooError, NetworkError, SizeError
from modelzoo.store import cloud, disk, http, local
from modelzoo.store.contents import decoded, describe
from modelzoo.store.digests import is_pinned
from modelzoo.store.partial import Partial
from modelzoo.store.policy import Policy
from modelzoo.store.progress import Note
from modelzoo.store.retries import Stopped, TransferFailed, pause, rest
from modelzoo.store.source import Source
from modelzoo.store.transport import Transport

_log = logging.getLogger("modelzoo")
_PEEK = 512
_LEAP = 1 << 20  # bytes of progress after which the rounds are counted anew
_STRIKES = 2  # wrong bodies after which a URL is not asked again


class Download:
    """One file on its way into `partial`, which the caller opened and releases.

    Args:
        source: with digests that bind, if there are any.
        title: the file, for messages.
        partial: with what an earlier attempt left.
        policy: all bounds.
        transport: a function that gives the network; it is not called before it is needed.
        note: told of every step.
        stop: set when the caller does not want the file any more.
    """

    def __init__(
        self,
        source: Source,
        title: str,
        partial: Partial,
        policy: Policy,
        transport: Callable[[], Transport],
        note: Note,
        stop: threading.Event,
    ) -> None:
        self._source = source
        self._title = title
        self._partial = partial
        self._policy = policy
        self._transport = transport
        self._note = note
        self._stop = stop
        self._pinned = is_pinned(source.digests)
        self._strikes: Counter[str] = Counter()
        self._whole_only: set[str] = set()  # URLs that answer requests for the rest wrongly
        self._otherwise: set[str] = set()  # URLs whose unasked encoding is to be taken the other way
        self._attempts: list[str] = []
        self._failures: dict[str, TransferFailed] = {}

    def run(self, urls: tuple[str, ...]) -> str:
        """Fills the partial file with the right bytes.

        Returns:
            The URL that gave (the last of) them.

        Raises:
            NetworkError: no URL delivered; it lists the attempts.
            DigestError, SizeError: what they delivered is wrong.
            DiskError: it cannot be written.
        """
        if self._is_there_already():
            came_from = self._partial.origin.get("url")
            return next((url for url in urls if http.noted(url) == came_from), urls[0])
        live = list(urls)
        ready = dict.fromkeys(urls, 0.0)
        turn = 0
        while live and turn < self._policy.rounds:
            if turn:
                rest(pause(turn, self._policy.backoff, self._policy.longest_wait), self._stop)
            turn += 1
            before = self._partial.length
            for url in sorted(live, key=ready.__getitem__):
                if (wait := ready[url] - time.monotonic()) > 0:
                    rest(min(wait, self._policy.longest_wait), self._stop)
                try:
                    self._attempt(url)
                    return url
                except TransferFailed as failure:
                    self._attempts.append(f"{http.shown(url)}: {failure.cause}")
                    _log.info("%s: %s: %s", self._title, http.shown(url), failure.cause)
                    self._failures[url] = failure
                    ready[url] = time.monotonic() + failure.after
                    if not failure.again or self._strikes[url] >= _STRIKES:
                        live.remove(url)
            if self._partial.length - before >= _LEAP:
                turn = 1
        raise self._refusal()

    def _is_there_already(self) -> bool:
        """True if what an earlier attempt left is the whole file; it throws away what cannot become it."""
        partial, size = self._partial, self._source.size
        if partial.length and size is not None and partial.length > size:
            partial.restart()
        if not partial.length or not self._pinned or (size is not None and partial.length < size):
            return False
        if partial.hasher.differs_from(self._source.digests) is None:
            return True
        if partial.length == size:
            partial.restart()
        return False

    def _attempt(self, url: str) -> None:
        partial = self._partial
        kept = partial.length if self._may_resume(url) else 0
        opened: AbstractContextManager[http.Body]
        if local.is_local(url):
            opened = local.get(url)
        elif cloud.is_cloud(url):
            opened = cloud.get(url, kept)
        else:
            known = partial.origin.get("etag", "") if partial.origin.get("url") == http.noted(url) else ""
            opened = http.get(
                self._transport(),
                url,
                self._policy,
                start=kept,
                validator=known if http.is_strong(known) else "",
                pinned=self._pinned,
            )
        with opened as body:
            if body.status == 416:
                self._nothing_left(url, body)
            if body.status == 206:
                self._check_rest(url, body, kept)
            try:
                self._receive(url, body, composed=body.status == 206)
            except TransferFailed as failure:
                if body.encoding and failure.kind != "network":
                    self._otherwise ^= {url}
                    failure.cause += f"; it was sent as {body.encoding}, though nobody asked for that"
                raise

    def _may_resume(self, url: str) -> bool:
        if url in self._whole_only or local.is_local(url):
            return False
        origin = self._partial.origin
        return self._pinned or (origin.get("url") == http.noted(url) and http.is_strong(origin.get("etag", "")))

    def _nothing_left(self, url: str, body: http.Body) -> None:
        """416: all that there is we have, and it is wrong; or we have more than there is."""
        length, size = self._partial.length, self._source.size
        if size is not None and body.total not in (None, size):
            raise self._wrong(url, "size", f"{body.total:,} bytes instead of {size:,}", composed=False)
        self._partial.restart()
        if body.total == length:
            difference = "all bytes are there and their digest is wrong"
            raise self._wrong(url, "digest", difference, composed=True)
        self._whole_only.add(url)
        raise TransferFailed(f"it has no more than the {length:,} bytes kept, which were thrown away", again=True)

    def _check_rest(self, url: str, body: http.Body, kept: int) -> None:
        size, total, origin = self._source.size, body.total, self._partial.origin
        if body.first != kept or not kept or body.encoding:
            self._whole_only.add(url)
            cause = "it answers a request for the rest in a way that makes no sense"
            if body.first >= 0 and not body.encoding:
                cause = f"it sent bytes from {body.first:,} on instead of from {kept:,}"
            raise TransferFailed(cause, again=True)
        changed = origin.get("url") == http.noted(url) and body.etag != origin.get("etag", "")
        if changed and http.is_strong(origin.get("etag", "")):
            self._partial.restart()
            raise TransferFailed("the file has changed since the download began", again=True)
        if size is not None and total is not None and total != size:
            raise self._wrong(url, "size", f"{total:,} bytes instead of {size:,}", composed=False)

    def _receive(self, url: str, body: http.Body, *, composed: bool) -> None:
        partial, size = self._partial, self._source.size
        read = body.read
        waiting = b"" if composed else read()
        head = bytes(waiting[:_PEEK])
        if body.encoding:
            raw = urlsplit(url).path.lower().endswith((".gz", ".tgz")) != (url in self._otherwise)
            if raw and not self._pinned and not url.lower().endswith((".gz", ".tgz")):
                raise TransferFailed(f"it was sent as {body.encoding}, unasked", again=False)
            if not raw:
                read = decoded(waiting, read, body.encoding, self._policy)
                waiting = read()
                head = bytes(waiting[:_PEEK])
        elif size is not None and body.total is not None and body.total != size:
            raise self._wrong(url, "size", f"{body.total:,} bytes instead of {size:,}", head=head, composed=False)
        elif not self._pinned and not body.delimited and size is None:
            raise TransferFailed("it does not say how long the file is: a cut could not be told", again=False)
        elif not self._pinned and not composed and (what := describe(head)):
            raise TransferFailed(f"it sent {what} instead of the file", again=False)
        if not composed and partial.length:
            partial.restart()  # the server does not know ranges, the file has changed, or the rest was not asked for
        total = size if size is not None else body.total
        if total is not None and partial.length < total:
            disk.check_room(partial.path.parent, total - partial.length, self._title)
        partial.set_origin({"url": http.noted(url), "etag": body.etag if not body.encoding else ""})
        if body.encoding:
            self._whole_only.add(url)
        received = self._copy(url, waiting, read, total, head=head, composed=composed)
        if not body.encoding and body.length is not None and received < body.length:
            raise TransferFailed("the connection was cut before the end", again=True)
        self._verify(url, body, head, composed=composed)

    def _copy(
        self,
        url: str,
        chunk: bytes | memoryview,
        read: Callable[[], bytes | memoryview],
        total: int | None,
        *,
        head: bytes,
        composed: bool,
    ) -> int:
        """Writes all that comes, as long as it comes fast enough and is not too much. Returns its number of bytes."""
        partial, policy = self._partial, self._policy
        limit = self._source.size if self._source.size is not None else policy.longest_body
        began, period, received = time.monotonic(), 0, 0
        self._note(partial.length, total)
        while chunk or (chunk := read()):
            if partial.length + len(chunk) > limit:
                partial.restart()
                raise self._wrong(url, "size", f"more than {limit:,} bytes", head=head, composed=composed)
            partial.write(chunk, needed=total)
            received += len(chunk)
            period += len(chunk)
            self._note(partial.length, total)
            chunk = b""
            if self._stop.is_set():
                raise Stopped
            if (passed := time.monotonic() - began) >= policy.rate_window:
                if period < policy.minimum_rate * passed:
                    raise TransferFailed(f"only {period:,} bytes came within {passed:.0f} s", again=True)
                began, period = time.monotonic(), 0
        return received

    def _verify(self, url: str, body: http.Body, head: bytes, *, composed: bool) -> None:
        partial, size = self._partial, self._source.size
        short = size is not None and partial.length < size
        difference = partial.hasher.differs_from(self._source.digests)
        if not short and difference is None:
            return
        if not body.encoding:
            if body.total is not None and partial.length < body.total:
                raise TransferFailed("it sent less than there is", again=True)  # what came is kept
            if body.total is None and not body.delimited and (short or (size is None and not composed)):
                raise TransferFailed("the connection ended too early, or this is another file", again=True)
        if short:
            difference = f"{partial.length:,} bytes instead of {size:,}"
        partial.restart()
        raise self._wrong(url, "size" if short else "digest", difference or "", head=head, composed=composed)

    def _wrong(self, url: str, kind: str, difference: str, *, head: bytes = b"", composed: bool) -> TransferFailed:
        """The failure for wrong bytes. Those put together in several attempts are no strike against the last one."""
        if not composed:
            self._strikes[url] += 1
        what = describe(head)
        cause = f"{what} instead of the file ({difference})" if what else f"wrong bytes: {difference}"
        failure = TransferFailed(cause, again=True, kind=kind)
        failure.difference = difference
        return failure

    def _refusal(self) -> ModelzooError:
        """The error for the caller, from what each URL failed with last."""
        last = list(self._failures.values())
        tried = "\n".join(f"  tried {line}" for line in self._attempts)
        for kind, error in (("digest", DigestError), ("size", SizeError)):
            wrong = next(((url, one) for url, one in self._failures.items() if one.kind == kind), None)
            if wrong is not None:
                hint = "nothing of it was kept; if the publisher replaced the file, the registry needs its new digest"
                return error(
                    f"Cannot fetch {self._title}: what was sent is not what the registry says.\n{tried}",
                    received=f"{wrong[1].difference or wrong[1].cause}, from {http.shown(wrong[0])}",
                    hint=hint,
                )
        if all(one.missing for one in last):
            return MissingExtraError(
                "cloud", last[0].missing, f"Fetching {self._title} from {', '.join(map(http.shown, self._failures))}"
            )
        kept = f" {self._partial.length:,} bytes of it are kept." if self._partial.length else ""
        hints = [one.hint for one in last if one.hint]
        return NetworkError(
            f"Cannot fetch {self._title}: no URL delivered it.{kept}",
            attempts=self._attempts,
            received=", ".join(map(http.shown, self._failures)),
            hint=hints[0] if hints else "run it again later, or bring a mirror with --registry",
        )


def identifier(source: Source) -> str:
    """The name of this download among partial files: the same for whoever wants the same bytes."""
    import hashlib

    for algorithm in ("sha256", "sha512", "sha384"):
        if algorithm in source.digests:
            return f"{algorithm}-{source.digests[algorithm]}"
    return "url-" + hashlib.sha256("\n".join(source.urls).encode()).hexdigest()
