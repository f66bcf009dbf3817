"""Checking what the store is asked for before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from modelzoo.errors import RegistryFormatError, UsageError
from modelzoo.store import digests, names
from modelzoo.store.cloud import PACKAGES
from modelzoo.store.http import shown
from modelzoo.store.source import Source

_SCHEMES = ("https", "http", "file", "package", *PACKAGES)
_WITH_HOST = ("https", "http", *PACKAGES)


def checked_key(key: str) -> str:
    """The model's name, proven fit to become a folder.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(key, str) or not names.is_key(key):
        raise UsageError(
            "This is no name of a model.",
            received=repr(key)[:200],
            hint="lower-case letters, digits, '.', '_' and '-', with '/' after a namespace",
        )
    return key


def checked(key: str, sources: Sequence[Source]) -> tuple[Source, ...]:
    """`sources`, with names, sizes, digests and URLs proven sane.

    Raises:
        UsageError: a name of a model that is none, or no sources.
        RegistryFormatError: a source that no registry should hold.
    """
    checked_key(key)
    sources = tuple(sources)
    if not sources:
        raise UsageError("There is nothing to fetch.", received=key)
    targets: list[str] = []
    for source in sources:
        what = f"{key}: {str(source.name)[:200]}"
        _check_name(source.name, what)
        _check_size(source.size, what)
        digests.checked(source.digests, what)
        _check_urls(source, what)
        for member in source.members:
            _check_name(member.target, what)
            _check_size(member.size, what)
            digests.checked(member.digests, what)
        paths = [member.path for member in source.members]
        if len(set(paths)) < len(paths):
            raise RegistryFormatError(f"{what}: one member of the archive is named twice.", received=paths[:10])
        targets.extend(target for _, target in source.targets)
    kept = [source.name for source in sources]
    for group in (targets, kept):
        if (pair := names.first_collision(group)) is not None:
            raise RegistryFormatError(f"{key}: two files would be one on some systems.", received=" and ".join(pair))
    return sources


def _check_name(name: str, what: str) -> None:
    reason = names.why_unsafe(name) if isinstance(name, str) else "it is no text"
    if reason:
        raise RegistryFormatError(f"{what}: a file's name is unfit: {reason}.", received=repr(name)[:200])


def _check_size(size: int | None, what: str) -> None:
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise RegistryFormatError(f"{what}: a size is a number of bytes.", received=repr(size)[:80])


def _check_urls(source: Source, what: str) -> None:
    if not source.urls:
        raise RegistryFormatError(f"{what}: it has no URL.", hint="add one to the card")
    for url in source.urls:
        try:
            parts = urlsplit(url)
            fit = parts.scheme in _SCHEMES and (parts.scheme not in _WITH_HOST or bool(parts.hostname))
        except (ValueError, TypeError, AttributeError):
            fit = False
        if not fit:
            raise RegistryFormatError(
                f"{what}: the store cannot use this URL.",
                received=shown(url) if isinstance(url, str) else repr(url)[:80],
                hint=f"URLs begin with one of {', '.join(f'{scheme}:' for scheme in _SCHEMES)}",
            )
