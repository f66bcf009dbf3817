"""Registries in order of precedence: files, folders and URLs of the user first, the built-in one last.

A registry is a JSON file `{"schema_version": 1, "models": {name: card}}`. Order of precedence: the `registries`
argument (first one first), then the environment variable `MODELZOO_REGISTRY`, then those that were added for good
(`modelzoo.registry.configured`), then the registry that ships with modelzoo. A card that hides one of a later registry
is legal and reported (`Registries.hidden`, and a warning).

Parsing is put off as long as possible: `list` is served by `modelzoo.registry.index` without it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Sequence

from modelzoo.errors import (
    RegistryError,
    RegistryFormatError,
    RegistryVersionError,
    SignatureError,
    UnknownModelError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modelzoo.registry.card import Card
    from modelzoo.registry.index import Summary

SCHEMA_VERSION = 1
"""The major version of registry files that this modelzoo reads."""

ENVIRONMENT_VARIABLE = "MODELZOO_REGISTRY"

_NO_COPY = b'{"schema_version": 1, "models": {}}'

_URL = re.compile(r"https?://(?:\[[^\]]*\]|[^/,:\[\]]*)(?::\d+)?(?:/[^,:]*)?", re.IGNORECASE)


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


class Hidden:
    """A card that cannot be reached because an earlier registry has its name."""

    def __init__(self, name: str, by: Registry, of: Registry) -> None:
        self.name = name
        self.by = by
        self.of = of

    def __repr__(self) -> str:
        return f"Hidden({str(self)!r})"

    def __str__(self) -> str:
        what = "the built-in one" if self.of.kind == "builtin" else f"that of {self.of.location}"
        return f"card {self.name!r} of {self.by.location} hides {what}"


class Registries:
    """Several registries, those in front before those behind.

    Attributes:
        registries: in order of precedence, the built-in one last.
        hidden: cards that an earlier registry hides.
    """

    def __init__(self, registries: Sequence[Registry]) -> None:
        self.registries = tuple(registries)
        self.hidden: tuple[Hidden, ...] = tuple(self._find_hidden())

    def _find_hidden(self) -> Iterator[Hidden]:
        # One registry hides nothing, and then nobody needs to look into it.
        for position, registry in enumerate(self.registries[1:], start=1):
            for name in registry.summaries:
                for earlier in self.registries[:position]:
                    if earlier.find(name) is not None:
                        yield Hidden(name, by=earlier, of=registry)
                        break

    def __iter__(self) -> Iterator[tuple[str, Summary, Registry]]:
        """(name, summary, registry) of every card that can be reached."""
        unreachable = {(hidden.name, id(hidden.of)) for hidden in self.hidden}
        for registry in self.registries:
            for name, summary in registry.summaries.items():
                if (name, id(registry)) not in unreachable:
                    yield name, summary, registry

    def names(self) -> list[str]:
        """Names of all cards, sorted, aliases not included."""
        return sorted(name for name, _, _ in self)

    def card(self, name: str) -> Card:
        """The card of a name or alias.

        Raises:
            UnknownModelError: no registry has it; carries the nearest names.
            RegistryFormatError: the card is not what the schema says.
        """
        for registry in self.registries:
            found = registry.find(name)
            if found is not None:
                return registry.card(found)
        raise self._unknown(name)

    def registry_of(self, name: str) -> Registry:
        """The registry whose card a name or alias means; raises UnknownModelError."""
        for registry in self.registries:
            if registry.find(name) is not None:
                return registry
        raise self._unknown(name)

    def _unknown(self, name: str) -> UnknownModelError:
        known = [name for name, _, _ in self]
        known += [alias for _, summary, _ in self for alias in summary.aliases]
        error = UnknownModelError(name, known)
        if not error.suggestions:
            error.hint = "`modelzoo list` shows all names; `--registry FILE|DIR|URL` adds cards of your own."
        return error


def load_registries(
    registries: Sequence[str | os.PathLike[str]] = (),
    *,
    refresh: bool = False,
    offline: bool | None = None,
    environment: bool = True,
    builtin: bool = True,
    use: Collection[str] | None = None,
) -> Registries:
    """Find all registries, in order of precedence.

    Args:
        registries: files, folders (every `*.json` in them, sorted) or http(s) URLs that go first.
        refresh: ask the servers of URL registries whether they have something newer. Without it a server is
            contacted only when nothing of its registry is in the cache yet.
        offline: never contact a server; None: as `MODELZOO_OFFLINE` says.
        environment: put those that `MODELZOO_REGISTRY` names, and those that were added, behind the ones given.
        builtin: put the registry that ships with modelzoo at the end.
        use: the cards that will be used. A signed registry past its date that has one of them is renewed from its
            server or refused; any other stays as it was, with a warning, and its server is left alone. None: each is
            renewed or refused.

    Raises:
        RegistryError: a file or folder cannot be read.
        RegistryFormatError, RegistryVersionError: see `Registry.models`.
        OfflineError, NetworkError: a URL registry is not in the cache and cannot be had.
        ExpiredError: a signed registry is past its date and cannot be renewed.
    """
    expired = use is not None and not refresh
    wanted = [os.fspath(location) for location in registries]
    if environment:
        wanted += split_locations(os.environ.get(ENVIRONMENT_VARIABLE, ""))
    found: list[Registry] = []
    for location in dict.fromkeys(wanted):
        found.extend(_open(location, refresh=refresh, offline=offline, expired=expired))
    if environment:
        found.extend(_added(set(wanted), refresh=refresh, offline=offline, expired=expired))
    if builtin:
        found.append(builtin_registry())
    if any(one.expired for one in found):
        found = _renewed(found, use or (), offline=offline)
    loaded = Registries(found)
    for text in (*(_out_of_date(one) for one in found if one.expired), *map(str, loaded.hidden)):
        import logging

        logging.getLogger("modelzoo").warning("%s", text)
    return loaded


def _renewed(found: Sequence[Registry], use: Collection[str], *, offline: bool | None) -> list[Registry]:
    """`found`, where those past their date are renewed that a name in `use` means, or may mean: nobody knows what is
    in one whose copy is gone."""
    after = list(found)
    for name in use:
        for position, one in enumerate(after):
            if one.expired and (one.data is _NO_COPY or one.find(name) is not None):
                (new,) = _open(one.location, refresh=False, offline=offline)
                new.namespace = one.namespace
                after[position] = one = new
            if one.find(name) is not None:
                break
    return after


def _out_of_date(registry: Registry) -> str:
    from modelzoo.registry.remote import shown

    what = "it has no copy here" if registry.data is _NO_COPY else "its models are shown, and not fetched"
    return (
        f"the signed registry {shown(registry.location)} expired at {registry.expired}: {what} "
        "until `modelzoo list --refresh` renews it"
    )


def _added(seen: set[str], *, refresh: bool, offline: bool | None, expired: bool) -> Iterator[Registry]:
    from modelzoo.registry.configured import configured

    for one in configured():
        if one.location in seen:
            continue
        try:
            opened = _open(one.location, refresh=refresh, offline=offline, expired=expired)
        except SignatureError:
            raise  # it says itself what to do, and that is not to do without signatures at once
        except RegistryError as error:
            import shlex

            error.hint = (
                f"`modelzoo registry remove {shlex.quote(one.location)}` takes it off the list of added registries."
            )
            raise
        for registry in opened:
            registry.namespace = one.namespace
            yield registry


def split_locations(value: str) -> list[str]:
    """The locations in a value of `MODELZOO_REGISTRY`, separated by `os.pathsep` or commas.

    The colons of `http://host:8080/...` are no separators, so URLs and paths mix: `http://host:8080/a.json:/home/b`.
    A colon in the path of a URL is written `%3A`.
    """
    found: list[str] = []
    rest = value
    while rest:
        url = _URL.match(rest)
        end = url.end() if url else _first_of(rest, "," + os.pathsep)
        location = rest[:end].strip()
        if location:
            found.append(location)
        rest = rest[end:].lstrip("," + os.pathsep + " ")
    return found


def _first_of(text: str, separators: str) -> int:
    return min((at for at in map(text.find, separators) if at >= 0), default=len(text))


def builtin_registry() -> Registry:
    """The registry that ships with modelzoo: package data in a wheel, the repository's root in an editable install.

    Raises:
        RegistryError: the installation lacks it.
    """
    looked_at = builtin_locations()
    for path in looked_at:
        if os.path.isfile(path):  # noqa: PTH113 - pathlib costs a tenth of the import budget
            return Registry(path, "builtin", _read(path))
    raise RegistryError(
        "The built-in registry is missing from this installation.",
        received=", ".join(looked_at),
        hint="reinstall modelzoo.",
    )


def builtin_locations() -> tuple[str, str]:
    """Where `registry.json` is looked for, in this order: the package's folder, the folder above it."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    return (
        os.path.join(package, "registry.json"),  # noqa: PTH118
        os.path.join(os.path.dirname(package), "registry.json"),  # noqa: PTH118, PTH120
    )


def is_url(location: str) -> bool:
    return location.lower().startswith(("http://", "https://"))


def _open(location: str, *, refresh: bool, offline: bool | None, expired: bool = False) -> list[Registry]:
    """The registries at a location; `expired`: a signed one past its date as it was."""
    if is_url(location):
        from modelzoo.registry import trusted
        from modelzoo.registry.remote import fetch_registry

        known = trusted.read(location) if expired and trusted.is_signed(location) else None
        if known is not None and trusted.is_expired(known):
            copy = trusted.copy(known)
            return [Registry(location, "url", _NO_COPY if copy is None else copy, expired=known.expires)]
        return [Registry(location, "url", fetch_registry(location, refresh=refresh, offline=offline))]
    path = os.path.expanduser(location)  # noqa: PTH111
    if os.path.isdir(path):  # noqa: PTH112
        try:
            inside = sorted(entry for entry in os.listdir(path) if entry.endswith(".json"))  # noqa: PTH208
        except OSError as error:
            raise RegistryError(f"A registry folder cannot be read: {error.strerror}.", received=location) from None
        if not inside:
            raise RegistryError("A registry folder holds no .json file.", received=location)
        return [Registry(one, "file", _read(one)) for one in (os.path.join(path, name) for name in inside)]  # noqa: PTH118
    return [Registry(path, "file", _read(path))]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()
    except FileNotFoundError:
        raise RegistryError(
            "There is no such registry.", received=path, hint="give a JSON file, a folder of them, or an http(s) URL."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise RegistryError(f"A registry cannot be read: {reason}.", received=path) from None


def _parse(registry: Registry) -> dict[str, Any]:
    where = registry.location
    # The built-in file is checked for doubled names by the tests; that would triple the time to parse it.
    parsed = _strictly(registry.data, where, doubles=registry.kind == "builtin")
    if not isinstance(parsed, dict):
        raise RegistryFormatError(
            f"{where} is not a registry: a JSON object is needed.", received=type(parsed).__name__
        )
    check_version(parsed.get("schema_version"), where)
    models = parsed.get("models")
    if not isinstance(models, dict):
        raise RegistryFormatError(
            f"{where} has no `models` object.",
            received=sorted(parsed),
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
