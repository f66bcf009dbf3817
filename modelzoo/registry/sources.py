"""From a card to what the store fetches: `Source`s with ordered URLs, sizes, digests and archive members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelzoo.registry.card import Card, Url

if TYPE_CHECKING:
    from modelzoo.store import Source

_KINDS = {"package": 0, "original": 1, "mirror": 2}


def card_sources(card: Card, *, optional: bool = False) -> tuple[Source, ...]:
    """What has to be fetched for a card, one `Source` a file, in the card's order.

    URLs are ordered: inside our wheel, then https before http, then originals before mirrors.

    Args:
        card: any card; one without files gives ().
        optional: the card's optional files too.
    """
    from modelzoo.store import Member, Source

    return tuple(
        Source(
            name=file.name,
            role=file.role,
            urls=tuple(url.url for url in ordered(file.urls)),
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


def ordered(urls: tuple[Url, ...]) -> list[Url]:
    """URLs in the order in which they are tried; the card's own order decides between equals."""
    return sorted(urls, key=lambda url: (url.kind != "package", url.url.startswith("http://"), _KINDS[url.kind]))
