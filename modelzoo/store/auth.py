"""Headers that tell a host who asks: from a file or the environment, for that host and no other.

::

    # ~/.config/modelzoo/auth.toml, or what MODELZOO_AUTH_FILE names (TOML, or JSON if its name ends so)
    "files.example.org" = "Bearer 0123"                       # short for {Authorization = "Bearer 0123"}
    "http://intranet.example:8080" = {X-Api-Key = "0123"}

`MODELZOO_AUTH` holds the same as JSON, and goes first. A key is a host, with its port where that is not the usual one;
only `http://` before it allows its headers to be sent without encryption.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelzoo.errors import UsageError
from modelzoo.store import paths

_log = logging.getLogger("modelzoo")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2: token
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
_KEY = re.compile(r"(https?://)?([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.IGNORECASE)
_OURS = {"host", "range", "if-range", "accept-encoding", "content-length", "connection", "transfer-encoding"}
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host and port."""


def headers_for(url: str) -> dict[str, str]:
    """What to send to the host of `url` and to no other; {} for hosts that nobody wrote down.

    Raises:
        UsageError: the file or variable cannot be understood; the message holds none of its values.
    """
    own = os.environ.get("MODELZOO_AUTH", "")
    path = auth_file()
    written = os.path.lexists(path)
    if not own and not written:
        return {}
    origin = origin_of(url)
    found: dict[str, str] = {}
    if written:
        found.update(_parsed(_read(path), str(path)).get(origin, {}))
    if own:
        found.update(_parsed(_json(own, "MODELZOO_AUTH"), "MODELZOO_AUTH").get(origin, {}))
    return found


def auth_file() -> Path:
    """The file that is looked into, whether it is there or not."""
    named = os.environ.get("MODELZOO_AUTH_FILE")
    return Path(named).expanduser() if named else paths.config_root() / "auth.toml"


def origin_of(url: str) -> Origin:
    """Scheme, host and port, of which all three have to be the same for two URLs to share credentials.

    Raises:
        ValueError: the port is none.
    """
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").rstrip(".").lower(), parts.port or _PORTS.get(parts.scheme, 0)


def _read(path: Path) -> Any:
    try:
        data = path.read_text()
        loose = os.name == "posix" and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    except (OSError, UnicodeDecodeError) as error:
        raise _unfit(str(path), f"it cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
    if loose:
        _log.warning("%s can be read by other users; chmod 600 keeps its secrets", path)
    if path.suffix == ".json":
        return _json(data, str(path))
    import tomllib

    try:
        return tomllib.loads(data)
    except tomllib.TOMLDecodeError:
        raise _unfit(str(path), "it is not TOML") from None  # the error may quote a secret


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise _unfit(where, "it is not JSON") from None


def _parsed(content: Any, where: str) -> Mapping[Origin, dict[str, str]]:
    if not isinstance(content, dict):
        raise _unfit(where, "it is no table of hosts")
    found: dict[Origin, dict[str, str]] = {}
    for key, value in content.items():
        if not _KEY.fullmatch(key):
            raise _unfit(where, f"{key[:80]!r} is no host")
        headers = {"Authorization": value} if isinstance(value, str) else value
        if not isinstance(headers, dict) or not all(isinstance(text, str) for text in headers.values()):
            raise _unfit(where, f"what it says of {key} are no headers")
        for name, text in headers.items():
            if not _NAME.fullmatch(name) or name.lower() in _OURS or not _VALUE.fullmatch(text):
                raise _unfit(where, f"the header {name[:80]!r} of {key} cannot be sent")
        try:
            origin = origin_of(key if "://" in key else f"https://{key}")
        except ValueError:
            raise _unfit(where, f"{key[:80]!r} has no port that can be") from None
        found.setdefault(origin, {}).update(headers)
    return found


def _unfit(where: str, reason: str) -> UsageError:
    return UsageError(
        f"The headers for hosts cannot be used: {reason}.",
        received=where,
        hint='a line is "files.example.org" = "Bearer 0123", or {"files.example.org": "Bearer 0123"} as JSON',
    )
