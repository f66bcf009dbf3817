"""What is trusted of signed registries: for each one file in the configuration folder, replaced whole or not at all.

::

    <configuration>/trusted/<key of the URL>.json
        {"format": 1, "url": "...", "fingerprint": "<hex>",
         "metadata": {"root": "...", "timestamp": "...", "snapshot": "...", "targets": "..."},
         "registry": {"sha256": "<hex>", "size": 123, "version": 7, "expires": "2026-12-27T00:00:00Z"}}

`metadata` is the newest of each role (The Update Framework, 1.0.31, section 5) that was verified, and so the versions
that nothing may be older than. `registry` is the last whole set of them: what the copy in the cache has to be, and
until when. Reading needs no cryptography: `modelzoo.registry.verification` wrote only what it verified.
"""

from __future__ import annotations

import json
import os
import re

from modelzoo.errors import DiskError, DiskFullError, ReadOnlyError, SignatureError
from modelzoo.registry import cache, configured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Trusted", "copy", "forget", "is_expired", "is_signed", "path", "read", "write"]

FORMAT = 1
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
ROLES = ("root", "timestamp", "snapshot", "targets")


class Trusted:
    """What is trusted of one registry.

    Attributes:
        url: of the registry, as it was added.
        fingerprint: of the key that it was added with or that signs its root now, in hex.
        metadata: role -> its newest verified file.
        sha256, size: of the registry itself.
        version: how often it was signed so far.
        expires: ISO 8601 in UTC, the first of the dates of all roles.
    """

    __slots__ = ("expires", "fingerprint", "metadata", "sha256", "size", "url", "version")

    def __init__(
        self,
        url: str,
        fingerprint: str,
        metadata: Mapping[str, str],
        sha256: str = "",
        size: int = 0,
        version: int = 0,
        expires: str = "",
    ) -> None:
        self.url = url
        self.fingerprint = fingerprint
        self.metadata = dict(metadata)
        self.sha256 = sha256
        self.size = size
        self.version = version
        self.expires = expires

    def __repr__(self) -> str:
        return f"Trusted({self.url!r}, version={self.version}, expires={self.expires!r})"


def path(url: str) -> str:
    """The file that says what is trusted of the registry at `url`."""
    import hashlib

    key = hashlib.sha256(_plain(url).encode("utf-8", "replace")).hexdigest()[:40]
    return os.path.join(configured.folder(), "trusted", f"{key}.json")  # noqa: PTH118


def is_signed(url: str) -> bool:
    """Whether the registry at `url` was added as signed: then it is never read without its signatures again."""
    if os.path.lexists(path(url)):
        return True
    plain = _plain(url)
    return any(one.signed and _plain(one.location) == plain for one in configured.added())


def read(url: str) -> Trusted:
    """What is trusted of a registry.

    Raises:
        SignatureError: nothing is, because the file is gone or damaged.
        DiskError: the file cannot be read.
    """
    where = path(url)
    try:
        with open(where, "rb") as file:  # noqa: PTH123
            parsed = json.loads(file.read())
        if parsed["format"] != FORMAT:
            raise ValueError
        whole = parsed["registry"]
        # The digest becomes a path, and the date is compared as text.
        if not re.fullmatch(r"[0-9a-f]{64}", whole["sha256"]) or not _DATE.fullmatch(whole["expires"]):
            raise ValueError
        if not all(isinstance(parsed["metadata"][role], str) for role in ROLES):
            raise TypeError
        return Trusted(
            url,
            str(parsed["fingerprint"]),
            parsed["metadata"],
            str(whole["sha256"]),
            int(whole["size"]),
            int(whole["version"]),
            str(whole["expires"]),
        )
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise SignatureError(
            "A registry was added as signed, and what is trusted of it is gone or damaged.",
            received=where,
            hint="`modelzoo registry remove` it, and add it again with --root or --fingerprint.",
        ) from None
    except OSError as error:
        raise DiskError(f"What is trusted of a registry cannot be read: {error.strerror}.", received=where) from error


def write(trusted: Trusted) -> None:
    """Replace what is trusted of a registry, whole or not at all.

    Raises:
        DiskError: it cannot be written; what was there stays.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "url": _plain(trusted.url),
        "fingerprint": trusted.fingerprint,
        "metadata": trusted.metadata,
        "registry": {
            "sha256": trusted.sha256,
            "size": trusted.size,
            "version": trusted.version,
            "expires": trusted.expires,
        },
    }
    final = path(trusted.url)
    partial = f"{final}.{os.getpid()}.part"
    try:
        os.makedirs(os.path.dirname(final), exist_ok=True)  # noqa: PTH103, PTH120
        with open(partial, "wb") as file:  # noqa: PTH123
            file.write(json.dumps(document, indent=1).encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, final)  # noqa: PTH105
    except OSError as error:
        import errno

        kind = {errno.ENOSPC: DiskFullError, errno.EDQUOT: DiskFullError, errno.EROFS: ReadOnlyError}
        raise kind.get(error.errno or 0, DiskError)(
            f"What is trusted of a registry cannot be written: {error.strerror}.", received=final
        ) from error
    finally:
        try:
            os.unlink(partial)  # noqa: PTH108
        except OSError:
            pass


def forget(url: str) -> None:
    """Trust nothing of a registry any more, and nothing if nothing was trusted.

    Raises:
        DiskError: the file cannot be removed.
    """
    where = path(url)
    try:
        os.unlink(where)  # noqa: PTH108
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DiskError(
            f"What is trusted of a registry cannot be removed: {error.strerror}.", received=where
        ) from error


def copy(trusted: Trusted) -> bytes | None:
    """The registry itself, from the cache; None where it is not there or not what was signed."""
    import hashlib

    data = cache.read(f"signed/{trusted.sha256}.json") if trusted.sha256 else None
    if data is None or len(data) != trusted.size or hashlib.sha256(data).hexdigest() != trusted.sha256:
        return None
    return data


def is_expired(trusted: Trusted) -> bool:
    """Whether the date up to which a registry was signed has passed. Both are UTC in one form, so texts compare."""
    return _now() >= trusted.expires


def _now() -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _plain(url: str) -> str:
    """The URL without user and password, scheme and host in small letters: what tells registries apart."""
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    host = parts.netloc.rpartition("@")[2].lower()
    return urlunsplit((parts.scheme.lower(), host, parts.path, parts.query, ""))
