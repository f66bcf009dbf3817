"""One registry: a JSON file `{"schema_version": 1, "models": {name: card}}`.

Parsing is put off as long as possible: `list` is served by `modelzoo.registry.index` without it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from modelzoo.errors import RegistryFormatError, RegistryVersionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modelzoo.registry.card import Card
    from modelzoo.registry.index import Summary

SCHEMA_VERSION = 1
"""The major version of registry files that this modelzoo reads."""


class Registry:
    """One registry file.

    Attributes:
        location: path or URL, as a user would name it.
        kind: "builtin", "file" or "url".
        data: its bytes.
        namespace: what stands before its names and aliases, with a `/`; names that have a namespace keep theirs.
        expired: the date up to which it was signed, ISO 8601 in UTC, where that has passed: its cards may be shown,
            not used. None for all others.
    """

    def __init__(
        self, location: str, kind: str, data: bytes, namespace: str | None = None, expired: str | None = None
    ) -> None:
        self.location = location
        self.kind = kind
        self.data = data
        self.namespace = namespace
        self.expired = expired
        self._digest: str | None = None
        self._models: dict[str, Any] | None = None
        self._summaries: dict[str, Summary] | None = None
        self._valid = False
        self._aliases: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"Registry({self.location!r}, kind={self.kind!r})"

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        if self._digest is None:
            import hashlib

            self._digest = hashlib.sha256(self.data).hexdigest()
        return self._digest

    @property
    def models(self) -> dict[str, Any]:
        """The `models` object of the file: {name: card as JSON}.

        Raises:
            RegistryFormatError: not JSON, or no `models` object, or a name twice.
            RegistryVersionError: another major `schema_version`.
        """
        if self._models is None:
            models = _parse(self)
            if self.namespace is not None:
                models = {self.named(name): self.moved(card) for name, card in models.items()}
            self._models = models
        return self._models

    @property
    def valid(self) -> bool:
        """Whether every card is known to be valid; where not, each is validated when it is used."""
        _ = self.summaries  # reading the index says it
        return self._valid

    def named(self, name: str) -> str:
        """The name of a card as it is known outside of this registry."""
        return name if self.namespace is None or "/" in name else f"{self.namespace}/{name}"

    def moved(self, card: Any) -> Any:
        """A card whose references to others of this registry have the namespace too."""
        if self.namespace is None or not isinstance(card, dict):
            return card
        lists = {key: card[key] for key in ("aliases", "variants") if isinstance(card.get(key), list)}
        return card | {
            key: [self.named(name) if isinstance(name, str) else name for name in names] for key, names in lists.items()
        }

    @property
    def summaries(self) -> dict[str, Summary]:
        """What `list` shows of every card, from the index. What is shown is right; the rest of a card may not be yet.

        Raises:
            RegistryFormatError, RegistryVersionError: it is no registry, or one of those cards is none.
        """
        if self._summaries is None:
            from modelzoo.registry.index import read_or_build

            self._summaries, self._valid = read_or_build(self)
        return self._summaries

    def card(self, name: str) -> Card:
        """The card of that very name (no aliases); KeyError where there is none.

        Raises:
            RegistryFormatError: the card of a large registry, whose cards nobody has validated yet, is not valid.
        """
        from modelzoo.registry.card import Card

        span = self.summaries[name].span
        if self._models is None and span is not None:
            text = self.data[span[0] : span[1]]
            raw = self.moved(json.loads(text) if self.valid else _strictly(text, self.location))
        else:
            raw = self.models[name]
        if not self.valid:
            from modelzoo.registry.validate import validate_card

            validate_card(name, raw, where=self.location)
        return Card.from_dict(name, raw)

    def find(self, name: str) -> str | None:
        """The card's name for a name or alias, None where this registry has neither."""
        if name in self.summaries:
            return name
        if self._aliases is None:
            self._aliases = {
                alias: card for card, summary in reversed(self.summaries.items()) for alias in summary.aliases
            }
        return self._aliases.get(name)


def _parse(registry: Registry) -> dict[str, Any]:
    where = registry.location
    # The built-in file is checked for doubled names by the tests; that would triple the time to parse it.
    return models_of(_strictly(registry.data, where, doubles=registry.kind == "builtin"), where)


def models_of(parsed: Any, where: str) -> Any:
    """The `models` object, {name: card}, of parsed JSON.

    Raises:
        RegistryFormatError: it is no registry.
        RegistryVersionError: it is written for another major version.
    """
    if not isinstance(parsed, Mapping):
        raise RegistryFormatError(
            f"{where} is not a registry: a JSON object is needed.", received=type(parsed).__name__
        )
    check_version(parsed.get("schema_version"), where)
    models = parsed.get("models")
    if not isinstance(models, Mapping):
        raise RegistryFormatError(
            f"{where} has no `models` object.",
            received=sorted(map(str, parsed)),
            hint='a registry is {"schema_version": 1, "models": {name: card}}.',
        )
    return models


def _strictly(data: bytes, where: str, *, doubles: bool = False) -> Any:
    """JSON without its extensions, and unless `doubles` without names that occur twice in one object."""
    try:
        hook = None if doubles else refuse_doubles
        return json.loads(data, object_pairs_hook=hook, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RegistryFormatError(f"{where} is not a JSON registry: {error}.") from None


def check_version(version: Any, where: str) -> None:
    """Raise RegistryVersionError unless `version` is 1, or a "1.x" with additions that an old reader can skip."""
    major = version
    if isinstance(version, str) and re.fullmatch(r"\d+(\.\d+)*", version):
        major = int(version.split(".")[0])
    if major == SCHEMA_VERSION and not isinstance(major, bool):
        return
    newer = isinstance(major, int) and not isinstance(major, bool) and major > SCHEMA_VERSION
    raise RegistryVersionError(
        f"{where} is written for another schema version; this modelzoo reads version {SCHEMA_VERSION}.",
        received=f"schema_version {version!r}",
        hint="update modelzoo." if newer else f'put "schema_version": {SCHEMA_VERSION} into the file.',
    )


def refuse_constant(name: str) -> None:
    """For `json`: refuse NaN and Infinity, which are no JSON."""
    raise ValueError(f"{name} is no number in JSON")


def refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json`: refuse an object in which a name occurs twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {double!r} occurs twice in one object")
    return made
