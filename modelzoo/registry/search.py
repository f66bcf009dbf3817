"""`list_models` and `info`: finding a card by pattern, by facet and by name."""

from __future__ import annotations

import os
from collections.abc import Sequence

from modelzoo.errors import UsageError
from modelzoo.registry.loading import Registries, load_registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modelzoo.registry.card import Card
    from modelzoo.registry.index import Summary


def list_models(
    pattern: str | None = None,
    *,
    task: str | None = None,
    framework: str | None = None,
    licence: str | None = None,
    cached: bool | None = None,
    registries: Sequence[str] | os.PathLike[str] | Registries = (),
    refresh: bool = False,
) -> list[str]:
    """Names of the cards that match everything given, sorted.

    Args:
        pattern: a glob (`"inception*"`) when it holds `*`, `?` or `[`, else a part of the name; aliases match too,
            case does not matter.
        task, framework, licence: the card's field, or a glob for it ("classification", "tf*", "apache*").
        cached: True: only what is complete in the cache; False: only what is not.
        registries: files, folders or URLs that go before the built-in registry, or what `load_registries` gave.
        refresh: ask the servers of URL registries for something newer. Without it no server of a registry that is in
            the cache is asked, also where a signed one is past its date: that is a warning.
    """
    found = summaries(
        pattern,
        task=task,
        framework=framework,
        licence=licence,
        cached=cached,
        registries=registries,
        refresh=refresh,
    )
    return list(found)


def summaries(
    pattern: str | None = None,
    *,
    task: str | None = None,
    framework: str | None = None,
    licence: str | None = None,
    cached: bool | None = None,
    registries: Sequence[str] | os.PathLike[str] | Registries = (),
    refresh: bool = False,
) -> dict[str, Summary]:
    """{name: Summary} for `list_models`' names, sorted by name; same arguments."""
    for name, value in {"pattern": pattern, "task": task, "framework": framework, "licence": licence}.items():
        if value is not None and not isinstance(value, str):
            raise UsageError(f"{name} is a string.", received=repr(value))
    loaded = _loaded(registries, refresh)
    found = {}
    for name, summary, _ in loaded:
        if (
            (pattern is None or any(_matches(known, pattern, part=True) for known in (name, *summary.aliases)))
            and (task is None or _matches(summary.task, task))
            and (framework is None or _matches(summary.framework, framework))
            and (licence is None or _matches(summary.licence, licence))
        ):
            found[name] = summary
    if cached is not None:
        complete = _cached(loaded, found)
        found = {name: summary for name, summary in found.items() if (name in complete) == cached}
    return dict(sorted(found.items()))


def info(name: str, *, registries: Sequence[str] | os.PathLike[str] | Registries = (), refresh: bool = False) -> Card:
    """The card of a model, by its name or an alias. Servers are asked as by `list_models`.

    Raises:
        UnknownModelError: no registry has it; carries the nearest names ("did you mean").
        RegistryFormatError, RegistryVersionError: a registry is not valid.
    """
    _check(name)
    return _loaded(registries, refresh).card(name)


def card_to_use(name: str, *, registries: Sequence[str | os.PathLike[str]] | os.PathLike[str] = ()) -> Card:
    """As `info`, for who goes on to fetch or build: a signed registry past its date that has the card is renewed first.

    Args:
        name: of a card, or an alias.
        registries: files, folders or URLs that are looked at before the built-in registry, or one of them.

    Raises:
        ExpiredError: it cannot be renewed.
        UnknownModelError, RegistryFormatError, RegistryVersionError: see `info`.
    """
    _check(name)
    return load_registries(_several(registries), use=(name,)).card(name)


def _check(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise UsageError("A model is named by a string.", received=repr(name))


def _loaded(registries: Sequence[str | os.PathLike[str]] | os.PathLike[str] | Registries, refresh: bool) -> Registries:
    if isinstance(registries, Registries):
        return registries
    return load_registries(_several(registries), refresh=refresh, use=())


def _several(registries: Sequence[str | os.PathLike[str]] | os.PathLike[str]) -> Sequence[str | os.PathLike[str]]:
    return (registries,) if isinstance(registries, (str, os.PathLike)) else registries


def _matches(text: str, pattern: str, part: bool = False) -> bool:
    text, pattern = text.casefold(), pattern.casefold()
    if not any(sign in pattern for sign in "*?["):
        return pattern in text if part else pattern == text
    import fnmatch

    return fnmatch.fnmatchcase(text, pattern)


def _cached(loaded: Registries, names: dict[str, Summary]) -> set[str]:
    from modelzoo.registry.sources import card_sources
    from modelzoo.store import Store

    store = Store()
    held = {entry.key for entry in store.entries()}
    complete = set()
    for name in held.intersection(names):
        card = loaded.card(name)
        if card.files and store.locate(card.name, card_sources(card)) is not None:
            complete.add(name)
    return complete
