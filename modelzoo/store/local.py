"""`file:` and `package:` URLs: files that need no network, copied and verified like any other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelzoo.store import posix
from modelzoo.store.http import Body
from modelzoo.store.names import why_unsafe
from modelzoo.store.paths import installed_root
from modelzoo.store.retries import TransferFailed

_CHUNK = 1 << 20


def is_local(url: str) -> bool:
    """True for URLs that can be had without opening a socket."""
    return url.partition(":")[0].lower() in ("file", "package")


@contextmanager
def get(url: str) -> Iterator[Body]:
    """The file at a local URL.

    Raises:
        TransferFailed: it is not there, or is no regular file.
    """
    path = _path(url)
    try:
        if not posix.is_regular(path.stat()):  # before it is opened: opening a FIFO waits for a writer
            raise TransferFailed("it is not a regular file", again=False)
        stream = path.open("rb", buffering=0)
    except FileNotFoundError:
        raise TransferFailed("there is no such file", again=False) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TransferFailed(f"it cannot be opened: {reason}", again=False) from error

    def read() -> bytes:
        try:
            return stream.read(_CHUNK) or b""
        except OSError as error:
            raise TransferFailed(f"it cannot be read: {error.strerror}", again=False) from error

    with stream:
        size = os.fstat(stream.fileno()).st_size
        yield Body(200, 0, size, size, True, "", "", read)


def _path(url: str) -> Path:
    if url.lower().startswith("package:"):
        name = url.partition(":")[2]
        reason = why_unsafe(name)
        if reason:
            raise TransferFailed(f"its path is unfit: {reason}", again=False)
        return installed_root() / name
    try:
        parts = urlsplit(url)
    except ValueError:
        raise TransferFailed("its URL is malformed", again=False) from None
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise TransferFailed("a file: URL is file:///absolute/path", again=False)
    if os.name == "nt":
        from urllib.request import url2pathname

        return Path(url2pathname(parts.path))
    return Path(unquote(parts.path))
