"""From a card to what the store fetches: `Source`s with ordered URLs, sizes, digests and archive members."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelzoo.registry.card import STRONG_DIGESTS, Card, File, Url

if TYPE_CHECKING:
    from modelzoo.store import Source

MIRROR_VARIABLE = "MODELZOO_MIRROR"
"""The URL of a mirror that `modelzoo registry mirror` has written; `--mirror` sets it."""

_KINDS = {"package": 0, "original": 1, "mirror": 2}


def card_sources(card: Card, *, optional: bool = False) -> tuple[Source, ...]:
    """What has to be fetched for a card, one `Source` a file, in the card's order.

    URLs are ordered: inside our wheel, then the mirror of `MODELZOO_MIRROR` (of files with a strong digest), then https
    before http, then originals before mirrors.

    Args:
        card: any card; one without files gives ().
        optional: the card's optional files too.

    Raises:
        UsageError: `MODELZOO_MIRROR` is no URL.
    """
    from modelzoo.store import Member, Source

    mirrored = _mirrored()

    return tuple(
        Source(
            name=file.name,
            role=file.role,
            urls=mirrored(file),
            size=file.size,
            digests=dict(file.digests),
            members=tuple(
                Member(
                    path=member.path,
                    role=member.role,
                    name=member.name,
                    size=member.size,
                    digests=dict(member.digests),
                )
                for member in file.members
            ),
        )
        for file in card.files
        if optional or not file.optional
    )


def _mirrored() -> Callable[[File], tuple[str, ...]]:
    """What gives the URLs of a file, in their order."""
    base = os.environ.get(MIRROR_VARIABLE)
    if not base:
        return lambda file: tuple(url.url for url in ordered(file.urls))
    from modelzoo.errors import UsageError

    if not base.lower().startswith(("https://", "http://", "file:///")) or any(sign.isspace() for sign in base):
        raise UsageError("A mirror is an https:, http: or file: URL.", received=base)

    def urls(file: File) -> tuple[str, ...]:
        own = ordered(file.urls)
        place = blob_path(file)
        if place is None:
            return tuple(url.url for url in own)
        packaged = [url.url for url in own if url.kind == "package"]
        return (*packaged, f"{base.rstrip('/')}/{place}", *(url.url for url in own if url.kind != "package"))

    return urls


def blob_path(file: File) -> str | None:
    """Where a mirror has a file, relative to its URL: `sha256/<hex>`; None where nothing strong is known of it."""
    return next((f"{name}/{file.digests[name]}" for name in STRONG_DIGESTS if name in file.digests), None)


def ordered(urls: tuple[Url, ...]) -> list[Url]:
    """URLs in the order in which they are tried; the card's own order decides between equals."""
    return sorted(urls, key=lambda url: (url.kind != "package", url.url.startswith("http://"), _KINDS[url.kind]))
