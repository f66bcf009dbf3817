"""Registries behind a URL: a copy lies in the cache, and the server is asked only when there is none or when told to.

Conditional requests (ETag, Last-Modified) as RFC 9110 says. A copy is taken only if it is a registry, and used only
while it is what was taken. What was added as signed goes through `modelzoo.registry.verification` instead, always.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from modelzoo.errors import ExpiredError, NetworkError, OfflineError, RegistryError, RegistryFormatError
from modelzoo.registry import cache, trusted
from modelzoo.registry.registry_file import Registry
from modelzoo.store.paths import is_offline

if TYPE_CHECKING:
    from modelzoo.store.http import Body
    from modelzoo.store.policy import Policy
    from modelzoo.store.transport import Reply, Transport

__all__ = ["Answer", "ask", "fetch_registry", "shown"]

_log = logging.getLogger("modelzoo")

_LARGEST = 64 << 20
_LONGEST = 600.0  # for all of it: a server that sends a byte now and then never runs into the times of the store


def fetch_registry(url: str, *, refresh: bool = False, offline: bool | None = None) -> bytes:
    """The bytes of a registry.

    Args:
        url: http or https. The headers that `modelzoo.store.auth` has for its host are sent to it.
        refresh: ask the server whether there is something newer; without it a copy in the cache is used unasked.
        offline: never contact the server; None: as `MODELZOO_OFFLINE` says.

    Raises:
        OfflineError: there is no copy, and the server must not be asked.
        NetworkError: there is no copy, and the server does not give one.
        RegistryFormatError, RegistryVersionError: what the server gives is no registry, or none for this version.
        RegistryError: the URL is none.
        SignatureError: it was added as signed, and is not what its keys have signed, or no longer.
    """
    text = shown(url)
    if trusted.is_signed(url):
        return _signed(url, text, refresh=refresh, offline=is_offline(offline))
    key = hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()
    copy, known = _copy(key)
    if copy is not None and not refresh:
        return copy
    if is_offline(offline):
        if copy is not None:
            return copy
        raise OfflineError(
            "A registry is not in the cache, and the network must not be used.",
            received=text,
            hint="run once without --offline",
        )
    try:
        found = _newer(url, known)
        if found is None and copy is not None:
            return copy
        if found is None:
            raise NetworkError("The server of a registry says that nothing changed, and was not asked.", received=text)
        data, facts = found
        # What is no registry must never replace a copy; its summaries are what `list` shows of each card.
        _ = Registry(text, "url", data).summaries
    except (NetworkError, RegistryError) as error:
        if copy is None:
            raise
        _log.warning("%s; the copy in the cache is used: %s", error.what.rstrip("."), text)
        return copy
    cache.write(f"url/{key}.json", data)
    cache.write(f"url/{key}.facts", json.dumps({**facts, "sha256": hashlib.sha256(data).hexdigest()}).encode())
    return data


def _signed(url: str, text: str, *, refresh: bool, offline: bool) -> bytes:
    """A signed registry. Up to its date the copy serves, unasked; past it only what the server signs anew."""
    known = trusted.read(url)
    expired = trusted.is_expired(known)
    copy = trusted.copy(known)
    if copy is not None and not expired and (offline or not refresh):
        return copy
    if offline and not expired:
        raise OfflineError(
            "A signed registry is not in the cache, and the network must not be used.",
            received=text,
            hint="run once without --offline",
        )
    cause = "the network must not be used"
    if not offline:
        from modelzoo.registry.verification import renew

        try:
            return renew(url)
        except NetworkError as error:
            if not expired:
                if copy is None:
                    raise
                _log.warning(
                    "%s; the copy in the cache is used up to %s: %s", error.what.rstrip("."), known.expires, text
                )
                return copy
            cause = error.what.rstrip(".")
    raise ExpiredError(
        f"A signed registry was signed up to {known.expires} and cannot be renewed: {cause}.",
        expires=known.expires,
        received=text,
        hint="with the network `modelzoo list --refresh` renews it, if its publisher has signed it again; "
        "`modelzoo registry remove` does without it. Is your clock right?",
    )


def _newer(url: str, known: Mapping[str, str]) -> tuple[bytes, dict[str, str]] | None:
    """What the server gives and what it says of it; None where it says that the copy is still right."""
    conditions = {
        header: known[name]
        for name, header in (("etag", "If-None-Match"), ("modified", "If-Modified-Since"))
        if name in known
    }
    with ask(url, conditions) as answer:
        if answer.status == 304:
            return None
        data = bytearray()
        for piece in answer.pieces:
            data += piece
            if len(data) > _LARGEST:
                raise RegistryFormatError(
                    f"A registry has more than {_LARGEST >> 20} MiB.", received=shown(url), hint="is it one?"
                )
        facts = {
            name: answer.headers[header]
            for name, header in (("etag", "etag"), ("modified", "last-modified"))
            if header in answer.headers
        }
        return bytes(data), facts


class Answer:
    """What a server says: its `status` (200 or 304), `headers` by small names, and the `pieces` of the body."""

    def __init__(self, status: int, headers: Mapping[str, str], pieces: Iterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self.pieces = pieces


@contextmanager
def ask(url: str, headers: Mapping[str, str] | None = None, *, expected: Collection[int] = (304,)) -> Iterator[Answer]:
    """One GET for a small file, redirects, logins and proxies as the store does it.

    A login goes to the host that it was written down for and to no other; no redirect leaves https, or leads from
    outside into a private network.

    Args:
        url: http or https.
        headers: conditions to be sent along.
        expected: statuses besides 200 that are answers too, without a body.

    Raises:
        NetworkError: any other status, or no answer, or one that breaks off while it is read.
    """
    from modelzoo.store import http
    from modelzoo.store.policy import Policy
    from modelzoo.store.retries import TransferFailed
    from modelzoo.store.transport import RequestsTransport

    policy = Policy()
    transport = _Noting(RequestsTransport(policy), headers or {})
    try:
        with http.get(transport, url, policy, pinned=False) as body:
            yield Answer(200, transport.headers, _pieces(body, policy, shown(url)))
    except TransferFailed as failure:
        if transport.status not in expected:
            raise NetworkError(
                f"A registry cannot be fetched: {failure.cause}.",
                received=shown(url),
                hint=failure.hint or "check the address and your connection (`modelzoo doctor` shows proxies)",
            ) from failure
        yield Answer(transport.status, transport.headers, iter(()))


class _Noting:
    """A transport that sends more headers along, and notes what came last."""

    def __init__(self, transport: Transport, headers: Mapping[str, str]) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self._transport = transport
        self._more = headers

    def get(self, url: str, headers: Mapping[str, str]) -> Reply:
        self.status, self.headers = 0, {}
        reply = self._transport.get(url, {**headers, **self._more})
        self.status, self.headers = reply.status, reply.headers
        return reply


def _pieces(body: Body, policy: Policy, text: str) -> Iterator[bytes]:
    from modelzoo.store.contents import decoded
    from modelzoo.store.retries import TransferFailed

    started = time.monotonic()
    received = 0

    def read() -> bytes:
        nonlocal received
        piece = bytes(body.read())
        received += len(piece)
        if time.monotonic() - started > _LONGEST:
            raise NetworkError(f"A registry did not arrive within {_LONGEST / 60:.0f} minutes.", received=text)
        return piece

    source = decoded(b"", read, body.encoding, policy) if body.encoding else read
    while piece := source():
        yield piece
    if body.length is not None and received != body.length:
        raise TransferFailed("the connection was cut before the end", again=True)


def _copy(key: str) -> tuple[bytes | None, dict[str, str]]:
    """The copy and what the server said of it; (None, {}) where there is none or its bytes are others than it sent."""
    copy, found = cache.read(f"url/{key}.json"), cache.read(f"url/{key}.facts")
    try:
        facts = json.loads(found or b"")
        if copy is not None and facts.pop("sha256") == hashlib.sha256(copy).hexdigest():
            return copy, {name: value for name, value in facts.items() if isinstance(value, str)}
    except (ValueError, AttributeError, KeyError):
        pass
    return None, {}


def shown(url: str) -> str:
    """The URL as messages show it: without its password, and without the values of its query.

    Raises:
        RegistryError: it is none.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise RegistryError(f"The address of a registry is malformed: {error}.", received=url) from None
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "..." if parts.query else "", ""))
