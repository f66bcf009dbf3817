"""The small index that `list` reads: what is shown of each card, keyed by the digest of its registry.

It lies in the cache folder, is rebuilt when it is absent or of another format, and is silently done without where the
cache cannot be written. A registry of the user's is validated before its index is written, so an index also says that
its registry was found valid. It also says where in the file each card stands, so that one card is read without the
others.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from modelzoo.registry.loading import Registry

INDEX_FORMAT = 2
"""Changes whenever the content of an index does, so that one written by another version is not read."""


class Summary:
    """What `list` shows of one card, and what the filters of `list` look at.

    Attributes:
        title, task, framework, format, licence: as on the card.
        size: bytes to be fetched, None where unknown.
        trust: "pinned", "weak" or "unpinned".
        available: this version has the network or converter that the card needs.
        aliases: other names.
        span: first byte of the card in its file, and the one behind its last; None where that is not known.
    """

    __slots__ = ("aliases", "available", "format", "framework", "licence", "size", "span", "task", "title", "trust")

    def __init__(
        self,
        title: str,
        task: str,
        framework: str,
        format: str | None,
        licence: str,
        size: int | None,
        trust: str,
        available: bool,
        aliases: tuple[str, ...],
        span: tuple[int, int] | None = None,
    ) -> None:
        self.title = title
        self.task = task
        self.framework = framework
        self.format = format
        self.licence = licence
        self.size = size
        self.trust = trust
        self.available = available
        self.aliases = aliases
        self.span = span

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {name: list(self.aliases) if name == "aliases" else getattr(self, name) for name in _ORDER}


_ORDER = ("title", "task", "framework", "format", "licence", "size", "trust", "available", "aliases")


def read_or_build(registry: Registry) -> dict[str, Summary]:
    """{name: Summary} of a registry, in the order of its file.

    Raises:
        RegistryFormatError, RegistryVersionError: a registry without an index is not valid.
    """
    from modelzoo.registry import cache

    within = f".{registry.namespace}" if registry.namespace else ""
    name = f"index/{registry.digest}{within}.{INDEX_FORMAT}.json"
    found = _decode(cache.read(name))
    if found is None:
        found = _build(registry)
        rows = {name: [*(getattr(summary, field) for field in _ORDER), summary.span] for name, summary in found.items()}
        cache.write(name, json.dumps({"format": INDEX_FORMAT, "models": rows}, separators=(",", ":")).encode())
    return found


def _build(registry: Registry) -> dict[str, Summary]:
    from modelzoo.registry.card import Card

    models = registry.models
    if registry.kind != "builtin":
        from modelzoo.registry.validate import validate_registry

        validate_registry({"schema_version": 1, "models": models}, where=registry.location)
    spans = _spans(registry)
    made: dict[str, Summary] = {}
    for name, raw in models.items():
        card = Card.from_dict(name, raw)
        made[name] = Summary(
            card.title,
            card.task,
            card.framework,
            card.format,
            card.licence,
            card.size,
            card.trust,
            card.available,
            card.aliases,
            spans.get(name),
        )
    return made


def _spans(registry: Registry) -> dict[str, tuple[int, int]]:
    """Where each card stands, by name as the registry gives it; nothing where the file is not UTF-8."""
    try:
        text = registry.data.decode("utf-8")
        if not text.startswith("{"):
            text = text.lstrip(" \t\r\n")
        before = len(registry.data) - len(text.encode())
        models = {key: (start, end) for key, start, end in _members(text, 0)}["models"]
        spans = {}
        at, count = 0, before  # characters and the bytes that they take
        for name, start, end in _members(text, models[0]):
            first = count + len(text[at:start].encode())
            at, count = end, first + len(text[start:end].encode())
            spans[registry.named(name)] = (first, count)
        return spans
    except (ValueError, KeyError, IndexError):
        return {}


def _members(text: str, at: int) -> Iterator[tuple[str, int, int]]:
    """(key, start, end) of every value of the JSON object that begins at `at`; the text is known to be JSON."""
    from json.decoder import WHITESPACE, scanstring  # type: ignore[attr-defined]

    decode = json.JSONDecoder().raw_decode
    skip = WHITESPACE.match
    at = skip(text, at + 1).end()
    while text[at] == '"':
        key, at = scanstring(text, at + 1)
        start = skip(text, skip(text, at).end() + 1).end()
        _, end = decode(text, start)
        yield key, start, end
        at = skip(text, end).end()
        if text[at] == ",":
            at = skip(text, at + 1).end()


def _decode(data: bytes | None) -> dict[str, Summary] | None:
    """None for an index that is absent, damaged or of another format: it is only a copy, so it is built anew."""
    if data is None:
        return None
    try:
        parsed = json.loads(data)
        if parsed["format"] != INDEX_FORMAT:
            return None
        return {
            name: Summary(*[*row[:-2], tuple(row[-2]), tuple(row[-1]) if row[-1] else None])
            for name, row in parsed["models"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None
