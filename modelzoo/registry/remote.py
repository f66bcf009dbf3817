"""Registries behind a URL: a copy lies in the cache, and the server is asked only when there is none or when told to.

Conditional requests (ETag, Last-Modified) as RFC 9110 says. A copy is taken only if it is a registry.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from modelzoo.errors import NetworkError, OfflineError, RegistryError, RegistryFormatError
from modelzoo.registry import cache
from modelzoo.store.paths import is_offline

__all__ = ["fetch_registry"]

_log = logging.getLogger("modelzoo")

_LARGEST = 64 << 20
_TIMEOUT = (15.0, 30.0)  # to connect, and without a byte


def fetch_registry(url: str, *, refresh: bool = False, offline: bool | None = None) -> bytes:
    """The bytes of a registry.

    Args:
        url: http or https.
        refresh: ask the server whether there is something newer; without it a copy in the cache is used unasked.
        offline: never contact the server; None: as `MODELZOO_OFFLINE` says.

    Raises:
        OfflineError: there is no copy, and the server must not be asked.
        NetworkError: there is no copy, and the server does not give one.
        RegistryFormatError: what the server gives is no registry.
    """
    key = hashlib.sha256(url.encode()).hexdigest()
    copy = cache.read(f"url/{key}.json")
    if copy is not None and not refresh:
        return copy
    if is_offline(offline):
        if copy is not None:
            return copy
        raise OfflineError(
            "A registry is not in the cache, and the network must not be used.",
            received=_shown(url),
            hint="run once without --offline",
        )
    try:
        return _ask(url, key, copy)
    except (NetworkError, RegistryFormatError) as error:
        if copy is None:
            raise
        _log.warning("%s; the copy in the cache is used: %s", error.what.rstrip("."), _shown(url))
        return copy


def _ask(url: str, key: str, copy: bytes | None) -> bytes:
    import requests

    known = _facts(key) if copy is not None else {}
    headers = {"Accept": "application/json", "Accept-Encoding": "gzip, identity"}
    if "etag" in known:
        headers["If-None-Match"] = known["etag"]
    if "modified" in known:
        headers["If-Modified-Since"] = known["modified"]
    try:
        with requests.get(url, headers=headers, timeout=_TIMEOUT, stream=True) as answer:
            if answer.status_code == 304 and copy is not None:
                return copy
            if answer.status_code != 200:
                raise NetworkError(
                    "The server of a registry answers with an error.",
                    received=f"{answer.status_code} {answer.reason} for {_shown(url)}",
                    hint="check the address; a registry that was fetched once is used without the server",
                )
            data = _body(answer)
            facts = {
                name: answer.headers[header]
                for name, header in (("etag", "ETag"), ("modified", "Last-Modified"))
                if header in answer.headers
            }
    except requests.RequestException as error:
        raise NetworkError(
            f"A registry cannot be fetched: {type(error).__name__}.",
            received=_shown(url),
            hint="check the address and your connection (`modelzoo doctor` shows proxies)",
        ) from error
    _check(data, url)
    cache.write(f"url/{key}.json", data)
    cache.write(f"url/{key}.facts", json.dumps({**facts, "sha256": hashlib.sha256(data).hexdigest()}).encode())
    return data


def _body(answer: Any) -> bytes:
    data = bytearray()
    for piece in answer.iter_content(1 << 16):
        data += piece
        if len(data) > _LARGEST:
            raise RegistryFormatError(
                f"A registry has more than {_LARGEST >> 20} MiB.", received=_shown(answer.url), hint="is it one?"
            )
    return bytes(data)


def _check(data: bytes, url: str) -> None:
    """Raise unless the bytes are a registry: what is none must never replace a copy."""
    from modelzoo.registry.loading import Registry
    from modelzoo.registry.validate import validate_registry

    try:
        validate_registry({"schema_version": 1, "models": Registry(_shown(url), "url", data).models}, where=_shown(url))
    except RegistryFormatError:
        raise
    except RegistryError as error:
        raise RegistryFormatError(error.what, received=error.received, hint=error.hint) from error


def _facts(key: str) -> dict[str, str]:
    """What the server said of the copy, if the copy is still the one it said it of."""
    found = cache.read(f"url/{key}.facts")
    try:
        facts = json.loads(found or b"{}")
        copy = cache.read(f"url/{key}.json") or b""
        if facts.get("sha256") != hashlib.sha256(copy).hexdigest():
            return {}
        return {name: value for name, value in facts.items() if name != "sha256" and isinstance(value, str)}
    except (ValueError, AttributeError):
        return {}


def _shown(url: str) -> str:
    """The URL without a password."""
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
