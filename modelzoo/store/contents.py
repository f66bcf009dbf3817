"""What a body turns out to be: an encoding nobody asked for, a page of HTML, a pointer."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from modelzoo.store.policy import Policy
from modelzoo.store.retries import TransferFailed

_PIECE = 1 << 20


def describe(head: bytes) -> str:
    """What the first bytes of a wrong file look like; "" if like nothing known."""
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page (a login, a quota or an error page?)"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer"
    if start.startswith(b"<?xml"):
        return "an XML page (an error message?)"
    return ""


def decoded(
    first: bytes | memoryview, read: Callable[[], bytes | memoryview], encoding: str, policy: Policy
) -> Callable[[], bytes]:
    """A `read` that takes off the Content-Encoding that somebody on the way has added, in bounded pieces.

    Raises:
        TransferFailed: an encoding that is not known, is damaged, or blows up.
    """
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise TransferFailed(f"it was sent as {encoding}, though nobody asked for that", again=False)
    decoder = zlib.decompressobj(47)  # gzip or zlib, whichever it is
    data, taken, given = first, len(first), 0

    def piece() -> bytes:
        nonlocal data, taken, given
        while True:
            if not data:
                data = read()
                taken += len(data)
            if not data:
                if not decoder.eof:
                    raise TransferFailed("the connection was cut before the end", again=True)
                return b""
            if decoder.eof:
                raise TransferFailed(f"data after the end of its {encoding} encoding", again=True, kind="digest")
            try:
                out = decoder.decompress(data, _PIECE)
            except zlib.error as error:
                raise TransferFailed(f"it is not what it says: {error}", again=True, kind="digest") from error
            data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            given += len(out)
            if given > taken * policy.unpacked_ratio + policy.unpacked_slack:
                raise TransferFailed(f"its {encoding} encoding blows up; it may be a bomb", again=False)
            if out:
                return out

    return piece
