"""The small index that `list` reads: what is shown of each card, keyed by the digest of its registry.

It lies in the cache folder, is rebuilt when it is absent or of another format, and is silently done without where the
cache cannot be written. It also says where in the file each card stands, so that one card is read without the others.

What the index says of a card was checked. The rest of a user's card is validated when the index is built if the
registry is of the size that people write (`WHOLE`), so that its author sees every error at once; of a larger one, which
would take seconds, each card when it is used.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from modelzoo.registry.registry_file import Registry

INDEX_FORMAT = 3
"""Changes whenever the content of an index does, so that one written by another version is not read."""

WHOLE = 300
"""A registry of at most so many cards is validated whole before it gets an index."""


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


def read_or_build(registry: Registry) -> tuple[dict[str, Summary], bool]:
    """{name: Summary} of a registry, in the order of its file, and whether all of its cards are known to be valid.

    Raises:
        RegistryFormatError, RegistryVersionError: a registry without an index is not valid.
    """
    from modelzoo.registry import cache

    within = f".{registry.namespace}" if registry.namespace else ""
    name = f"index/{registry.digest}{within}.{INDEX_FORMAT}.json"
    found = _decode(cache.read(name))
    if found is None:
        made, valid = found = _build(registry)
        rows = {name: [*(getattr(summary, field) for field in _ORDER), summary.span] for name, summary in made.items()}
        document = {"format": INDEX_FORMAT, "valid": valid, "models": rows}
        cache.write(name, json.dumps(document, separators=(",", ":")).encode())
    return found


def _build(registry: Registry) -> tuple[dict[str, Summary], bool]:
    from modelzoo.registry.scan import scan
    from modelzoo.registry.validate import refuse_taken_aliases, validate_registry

    places = scan(registry.data)
    if places is None or len(places) <= WHOLE:
        models = registry.models
    else:
        models = {registry.named(name): registry.moved(raw) for name, (raw, _, _) in places.items()}
    valid = registry.kind == "builtin"
    if not valid and len(models) <= WHOLE:
        validate_registry({"schema_version": 1, "models": models}, where=registry.location)
        valid = True
    summary = _summariser(registry.location)
    made = {name: summary(name, raw) for name, raw in models.items()}
    if not valid:
        refuse_taken_aliases({name: {"aliases": one.aliases} for name, one in made.items()}, registry.location)
    for name, (_, first, end) in (places or {}).items():
        made[registry.named(name)].span = (first, end)
    return made, valid


def _summariser(where: str) -> Callable[[str, Any], Summary]:
    """What makes the summary of a card: at once where it is plainly right, else by its validation."""
    import re

    from modelzoo.registry.card import STRONG_DIGESTS
    from modelzoo.registry.validate import schema

    parts = schema()["$defs"]
    is_name, is_line = (re.compile(parts[part]["pattern"]).search for part in ("name", "line"))
    digests = {name: re.compile(one["pattern"]).search for name, one in parts["digests"]["properties"].items()}
    longest = parts["name"]["maxLength"]

    def trust_and_size(files: list[Any]) -> tuple[str, int | None]:
        known, total = [], 0
        every = True
        for file in files:
            for algorithm, digest in (own := file.get("digests", {})).items():
                if not digests[algorithm](digest):
                    raise ValueError
            optional = file.get("optional", False)
            if optional is True:
                continue
            if optional is not False:
                raise TypeError
            size = file.get("size", -1)
            if type(size) is not int or size < -1 or (size == -1 and "size" in file):
                raise TypeError
            every = every and size >= 0
            total += size
            strong = size >= 0 and any(algorithm in own for algorithm in STRONG_DIGESTS)
            known.append(2 if strong else 1 if own else 0)
        trust = ("unpinned", "weak", "pinned")[min(known, default=0)]
        return trust, total if every else None

    def quickly(name: str, raw: Any) -> Summary:
        title, task, framework, licence = raw["title"], raw["task"], raw["framework"], raw.get("licence", "unknown")
        texts = (title, task, framework, licence, *([raw["format"]] if "format" in raw else ()))
        aliases, files, needs = raw.get("aliases", []), raw.get("files", []), raw.get("build", {}).get("needs", [])
        if not all(isinstance(one, list) for one in (aliases, files, needs)):
            raise TypeError
        if not all(is_line(text) for text in texts) or not (title and task and framework and licence):
            raise ValueError
        if not all(is_name(one) and len(one) <= longest for one in (name, *aliases)):
            raise ValueError
        trust, size = trust_and_size(files)
        return Summary(title, task, framework, raw.get("format"), licence, size, trust, not needs, tuple(aliases))

    def summary(name: str, raw: Any) -> Summary:
        try:
            return quickly(name, raw)
        except (TypeError, ValueError, KeyError, AttributeError):
            return _exactly(name, raw, where)

    return summary


def _exactly(name: str, raw: Mapping[str, Any], where: str) -> Summary:
    from modelzoo.registry.card import Card
    from modelzoo.registry.validate import validate_card

    validate_card(name, raw, where=where)
    card = Card.from_dict(name, raw)
    return Summary(
        card.title,
        card.task,
        card.framework,
        card.format,
        card.licence,
        card.size,
        card.trust,
        card.available,
        card.aliases,
    )


def _decode(data: bytes | None) -> tuple[dict[str, Summary], bool] | None:
    """None for an index that is absent, damaged or of another format: it is only a copy, so it is built anew."""
    if data is None:
        return None
    try:
        parsed = json.loads(data)
        if parsed["format"] != INDEX_FORMAT:
            return None
        made = {
            name: Summary(*[*row[:-2], tuple(row[-2]), tuple(row[-1]) if row[-1] else None])
            for name, row in parsed["models"].items()
        }
        return made, parsed["valid"] is True
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None
