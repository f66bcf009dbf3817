"""Registries behind a URL: a copy lies in the cache, and the server is asked only when there is none or when told to.

Conditional requests (ETag, Last-Modified) as RFC 9110 says. A copy is taken only if it is a registry, and used only
while it is what was taken.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from modelzoo.errors import NetworkError, OfflineError, RegistryError, RegistryFormatError
from modelzoo.registry import cache
from modelzoo.registry.loading import Registry
from modelzoo.store.paths import is_offline

__all__ = ["fetch_registry"]

_log = logging.getLogger("modelzoo")

_LARGEST = 64 << 20
_TIMEOUT = (15.0, 30.0)  # to connect, and without a byte
_LONGEST = 600.0  # for all of it: a server that sends a byte now and then never runs into the other two


def fetch_registry(url: str, *, refresh: bool = False, offline: bool | None = None) -> bytes:
    """The bytes of a registry.

    Args:
        url: http or https.
        refresh: ask the server whether there is something newer; without it a copy in the cache is used unasked.
        offline: never contact the server; None: as `MODELZOO_OFFLINE` says.

    Raises:
        OfflineError: there is no copy, and the server must not be asked.
        NetworkError: there is no copy, and the server does not give one.
        RegistryFormatError, RegistryVersionError: what the server gives is no registry, or none for this version.
        RegistryError: the URL is none.
    """
    shown = _without_password(url)
    key = hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()
    copy, known = _copy(key)
    if copy is not None and not refresh:
        return copy
    if is_offline(offline):
        if copy is not None:
            return copy
        raise OfflineError(
            "A registry is not in the cache, and the network must not be used.",
            received=shown,
            hint="run once without --offline",
        )
    try:
        found = _ask(url, shown, known)
        if found is None and copy is not None:
            return copy
        if found is None:
            raise NetworkError("The server of a registry says that nothing changed, and was not asked.", received=shown)
        data, facts = found
        # What is no registry must never replace a copy; reading its cards validates them all.
        _ = Registry(shown, "url", data).summaries
    except (NetworkError, RegistryError) as error:
        if copy is None:
            raise
        _log.warning("%s; the copy in the cache is used: %s", error.what.rstrip("."), shown)
        return copy
    cache.write(f"url/{key}.json", data)
    cache.write(f"url/{key}.facts", json.dumps({**facts, "sha256": hashlib.sha256(data).hexdigest()}).encode())
    return data


def _ask(url: str, shown: str, known: dict[str, str]) -> tuple[bytes, dict[str, str]] | None:
    """What the server gives and what it says of it; None where it says that the copy is still right."""
    import requests

    headers = {"Accept": "application/json", "Accept-Encoding": "gzip, identity"}
    if "etag" in known:
        headers["If-None-Match"] = known["etag"]
    if "modified" in known:
        headers["If-Modified-Since"] = known["modified"]
    started = time.monotonic()
    try:
        with requests.get(url, headers=headers, timeout=_TIMEOUT, stream=True) as answer:
            way = [url, *(step.url or "" for step in (*answer.history, answer))]
            if any(a.startswith("https:") and not b.startswith("https:") for a, b in pairwise(way)):
                raise NetworkError(
                    "The server of a registry leads from https to http, where anybody could change its digests.",
                    received=f"{shown} -> {_without_password(answer.url)}",
                    hint="use the address that it leads to only if you trust the way there",
                )
            if answer.status_code == 304:
                return None
            if answer.status_code != 200:
                raise NetworkError(
                    "The server of a registry answers with an error.",
                    received=f"{answer.status_code} {answer.reason} for {shown}",
                    hint="check the address; a registry that was fetched once is used without the server",
                )
            facts = {
                name: answer.headers[header]
                for name, header in (("etag", "ETag"), ("modified", "Last-Modified"))
                if header in answer.headers
            }
            return _body(answer, shown, started), facts
    except (requests.RequestException, ValueError) as error:  # ValueError: of urllib3, for hosts that cannot be
        raise NetworkError(
            f"A registry cannot be fetched: {type(error).__name__}.",
            received=shown,
            hint="check the address and your connection (`modelzoo doctor` shows proxies)",
        ) from error


def _body(answer: Any, shown: str, started: float) -> bytes:
    data = bytearray()
    for piece in answer.iter_content(1 << 16):
        data += piece
        if len(data) > _LARGEST:
            raise RegistryFormatError(
                f"A registry has more than {_LARGEST >> 20} MiB.", received=shown, hint="is it one?"
            )
        if time.monotonic() - started > _LONGEST:
            raise NetworkError(f"A registry did not arrive within {_LONGEST / 60:.0f} minutes.", received=shown)
    return bytes(data)


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


def _without_password(url: str) -> str:
    """The URL as messages show it.

    Raises:
        RegistryError: it is none.
    """
    try:
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    except ValueError as error:
        raise RegistryError(f"The address of a registry is malformed: {error}.", received=url) from None
