"""A GET as the store needs it: redirects counted and judged, statuses turned into phrases, headers read with doubt.

Follows RFC 9110 (HTTP semantics): Range and Content-Range in section 14, Retry-After in 10.2.3, redirects in 15.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from modelzoo.store import addresses, auth
from modelzoo.store.policy import Policy
from modelzoo.store.retries import TransferFailed, retry_after
from modelzoo.store.transport import Reply, Transport

_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.IGNORECASE)
_LATER = {408, 425, 429}
_REDIRECTS = {301, 302, 303, 307, 308}
_LOGIN = "write the host's Authorization header into auth.toml (MODELZOO_AUTH_FILE, MODELZOO_AUTH), if you have one"
_CAUSES = {
    401: ("it asks for a login", _LOGIN),
    403: ("it is forbidden", _LOGIN),
    404: ("there is no such file", "the file may have moved: is there a newer registry?"),
    407: ("the proxy asks for a login", "put user and password into HTTPS_PROXY, or the server into NO_PROXY"),
    410: ("the file is gone for good", "is there a newer registry?"),
    429: ("the server has too many requests", None),
    503: ("the server is busy", None),
}


@dataclass(frozen=True)
class Body:
    """An answer that was accepted.

    Attributes:
        status: 200 (from the start), 206 (from `first` on) or 416 (nothing there).
        first: offset of the first byte; -1 if a 206 does not say it.
        length: bytes that the body will have as it is sent, if it says so.
        total: bytes of the whole file, if the server says so.
        delimited: False if only the end of the connection ends it.
        etag: as sent, with its quotes; "" if there is none.
        encoding: a Content-Encoding that the server added unasked; "" if there is none.
        read: some bytes as sent, nothing at the end; a memoryview holds until the next call.
    """

    status: int
    first: int
    length: int | None
    total: int | None
    delimited: bool
    etag: str
    encoding: str
    read: Callable[[], bytes | memoryview]


def is_strong(etag: str) -> bool:
    """True for an entity tag that identifies bytes, not just a meaning."""
    return len(etag) > 2 and etag[0] == etag[-1] == '"' and etag.isprintable()


def shown(url: str) -> str:
    """The URL for messages: without user, password and the values of its query, which may be keys."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "a malformed URL"
    return urlunsplit((parts.scheme, host, parts.path, "..." if parts.query else "", ""))[:300]


def noted(url: str) -> str:
    """The URL for files of the cache: it tells URLs apart, and holds no password or key."""
    import hashlib

    return f"{shown(url)}#{hashlib.sha256(url.encode('utf-8', 'replace')).hexdigest()[:16]}"


@contextmanager
def get(
    transport: Transport, url: str, policy: Policy, *, start: int = 0, validator: str = "", pinned: bool
) -> Iterator[Body]:
    """The file at `url`, from byte `start` on where the server can.

    Args:
        transport: sends the requests.
        url: `http:` or `https:`, credentials allowed.
        policy: its `redirects` and `longest_wait` count.
        start: 0 asks for everything.
        validator: a strong ETag: if the file has another one now, everything is sent.
        pinned: a strong digest follows; without one, no redirect may leave https.

    Raises:
        TransferFailed: any other answer, or none.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "modelzoo"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    reply = _follow(transport, url, headers, policy, pinned)
    try:
        yield _judge(reply, policy)
    finally:
        reply.close()


def _follow(transport: Transport, url: str, headers: Mapping[str, str], policy: Policy, pinned: bool) -> Reply:
    credentials, url = _credentials(url)
    origin, here = _origin(url), url
    for _ in range(policy.redirects + 1):
        same = _origin(here) == origin
        own = {**headers, **auth.headers_for(here)}  # what this very host may see, whoever led to it
        if credentials and same:  # never to another host, port or scheme
            own = {name: value for name, value in own.items() if name.lower() != "authorization"}
            own["Authorization"] = credentials
        reply = transport.get(here, own)
        if reply.status not in _REDIRECTS:
            return reply
        target = reply.headers.get("location", "")
        reply.close()
        here = _redirected(here, target, url, pinned)
    raise TransferFailed(f"it redirects more than {policy.redirects} times", again=False)


def _redirected(here: str, target: str, first: str, pinned: bool) -> str:
    if not target:
        raise TransferFailed("it redirects to nowhere", again=False)
    try:
        there = urljoin(here, target)
        scheme, host = urlsplit(there).scheme, urlsplit(there).hostname or ""
    except ValueError:
        raise TransferFailed("it redirects to a malformed URL", again=False) from None
    if scheme not in ("http", "https") or not host:
        raise TransferFailed(f"it redirects to {shown(there)}, which is not http(s): refused", again=False)
    if scheme == "http" and urlsplit(here).scheme == "https" and not pinned:
        raise TransferFailed(
            f"it redirects from https to {shown(there)}: refused, as no strong digest protects the file", again=False
        )
    start = urlsplit(first).hostname or ""
    if host != start and addresses.is_private(host) and not addresses.is_private(start):
        raise TransferFailed(f"it redirects to the private address {host}: refused", again=False)
    return _credentials(there)[1]


def _judge(reply: Reply, policy: Policy) -> Body:
    status, headers = reply.status, reply.headers
    etag = headers.get("etag", "")
    encoding = headers.get("content-encoding", "").strip().lower()
    encoding = "" if encoding == "identity" else encoding
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    text = headers.get("content-length", "").strip()
    length = int(text) if text.isdecimal() and len(text) < 19 and not chunked else None
    if status == 200:
        total = None if encoding else length
        return Body(200, 0, length, total, chunked or length is not None, etag, encoding, reply.read)
    if status in (206, 416):
        match = _RANGE.fullmatch(headers.get("content-range", "").strip())
        whole = int(match[3]) if match and match[3] != "*" else None
        if status == 416:
            return Body(416, 0, length, whole, True, etag, encoding, reply.read)
        first = int(match[1]) if match and match[1] is not None else -1
        return Body(206, first, length, whole, chunked or length is not None, etag, encoding, reply.read)
    cause, hint = _CAUSES.get(status, ("the server fails" if status >= 500 else "an unexpected answer", None))
    later = status in _LATER or status >= 500
    after = retry_after(headers.get("retry-after"), headers.get("date"), policy.longest_wait) if later else 0.0
    asked = f", and asks to wait {after:g} s" if after else ""
    raise TransferFailed(f"{cause} (HTTP {status}){asked}", again=later, after=after, hint=hint)


def _credentials(url: str) -> tuple[str, str]:
    """A header for the user and password of the URL ("" if it has none), and the URL without them and its fragment."""
    import base64

    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    plain = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    if not at:
        return "", plain
    name, _, password = user.partition(":")
    pair = f"{unquote(name)}:{unquote(password)}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii"), plain


def _origin(url: str) -> auth.Origin:
    try:
        return auth.origin_of(url)
    except ValueError:
        raise TransferFailed("its URL has a malformed port", again=False) from None
