"""Registries in order of precedence: files, folders and URLs of the user first, the built-in one last.

Order of precedence: the `registries` argument (first one first), then the environment variable `MODELZOO_REGISTRY`,
then those that were added for good (`modelzoo.registry.configured`), then the registry that ships with modelzoo. A card
that hides one of a later registry is legal and reported (`Registries.hidden`, and a warning).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence

from modelzoo.errors import RegistryError, SignatureError, UnknownModelError
from modelzoo.registry.registry_file import Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modelzoo.registry.card import Card
    from modelzoo.registry.index import Summary

ENVIRONMENT_VARIABLE = "MODELZOO_REGISTRY"

_NO_COPY = b'{"schema_version": 1, "models": {}}'

_URL = re.compile(r"https?://(?:\[[^\]]*\]|[^/,:\[\]]*)(?::\d+)?(?:/[^,:]*)?", re.IGNORECASE)


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
