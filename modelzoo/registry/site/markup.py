"""HTML of which every part is escaped or written here: elements, links that cannot run anything, whole documents.

A page loads nothing: style and script stand in it, and its Content-Security-Policy allows these two by their digests
and nothing else, so that markup which got through all the same would neither run nor call anybody.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["Markup", "document", "element", "joined", "link", "text"]

# Directions that text can switch to for what follows it, invisible characters, and halves of characters.
_DECEPTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


class Markup(str):
    """Text that is HTML already; everything else is escaped by `text`."""

    __slots__ = ()


def text(value: object) -> Markup:
    """A value as text of an element or attribute."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_DECEPTIVE.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True))


def element(tag: str, /, *content: object, **attributes: object) -> Markup:
    """An element. Attributes that are None or False are left out, True is one without a value.

    `class_` is `class`, and `_` in other names is `-`. The names are ours, never a card's.
    """
    written = [f"<{tag}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        written.append(f" {key}" if value is True else f' {key}="{text(value)}"')
    if tag in ("input", "meta", "br"):
        return Markup("".join(written) + ">")
    return Markup("".join(written) + ">" + "".join(map(text, content)) + f"</{tag}>")


def joined(parts: Iterable[object], separator: object = "") -> Markup:
    """Several pieces with something between them."""
    return Markup(text(separator).join(map(text, parts)))


def link(address: str, shown: object | None = None) -> Markup:
    """A web address as a link that tells its target nothing; whatever is not plain http(s) stays text."""
    label = address if shown is None else shown
    if not _is_web(address):
        return text(label)
    return element("a", label, href=address, rel="noopener noreferrer nofollow")


def _is_web(address: str) -> bool:
    if not re.match(r"https?://[^\s\\]+$", address, re.IGNORECASE):
        return False
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


@cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8").strip() + "\n"


def _digest(asset: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(asset.encode()).digest()).decode("ascii") + "'"


def document(title: str, body: Markup, *, script: str, home: str) -> str:
    """A whole page.

    Args:
        title: of the window.
        body: what stands between header and footer; it has an element `main` with the identifier `main`.
        script: name of the script that it needs.
        home: relative address of the first page.
    """
    style, code = _asset("style.css"), _asset(script)
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(code)}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = joined(
        [
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=policy),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="referrer", content="no-referrer"),
            element("meta", name="color-scheme", content="light dark"),
            element("meta", name="generator", content="modelzoo registry site"),
            element("title", title),
            Markup(f"<style>{style}</style>"),
        ],
        Markup("\n"),
    )
    skip = element("a", "Skip to the content", class_="skip", href="#main")
    top = element("header", element("a", "modelzoo", class_="home", href=home), class_="bar")
    run = Markup(f"<script>{code}</script>")
    page = [f"<head>\n{head}\n</head>\n<body>", skip, top, body, run, "</body>\n</html>\n"]
    return '<!doctype html>\n<html lang="en">\n' + "\n".join(page)
