"""What a user says about names: which are called otherwise (`rename`), which are left out (`exclude`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from modelzoo.errors import UsageError

__all__ = ["Rename", "exclusion", "renaming"]

Rename = Mapping[str, str | None] | Sequence[tuple[str, str]] | Callable[[str], str | None]
"""A table, rules of (regular expression, replacement), or a function; see `restore`."""


def renaming(rename: Rename | None) -> Callable[[str], str | None] | None:
    """A function from a file's name to the model's, or to None; see `restore`.

    Raises:
        UsageError: it is neither a table, rules nor a function, or one of its parts makes no sense.
    """
    if rename is None:
        return None
    if isinstance(rename, Mapping):
        table = dict(rename)
        wrong = [f"{key!r}: {value!r}" for key, value in table.items() if not isinstance(key, str)]
        wrong += [f"{key!r}: {value!r}" for key, value in table.items() if not isinstance(value, str | None)]
        if wrong:
            raise UsageError("rename maps names to names.", received=wrong[0])
        return lambda name: _from_table(table, name)
    if isinstance(rename, Sequence) and not isinstance(rename, str):
        rules: list[tuple[re.Pattern[str], str]] = []
        for rule in rename:
            try:
                pattern, replacement = rule
                rules.append((re.compile(pattern), replacement))
                rules[-1][0].sub(replacement, "")
            except (re.error, TypeError, ValueError, IndexError) as error:
                raise UsageError(
                    f"A rule of rename is no (regular expression, replacement): {error}.", received=repr(rule)
                ) from None
        return lambda name: _by_rules(rules, name)
    if callable(rename):
        return lambda name: _by_function(rename, name)
    raise UsageError("rename is a dictionary, a list of (regular expression, replacement), or a function.",
                     received=type(rename).__name__)  # fmt: skip


def _from_table(table: Mapping[str, str | None], name: str) -> str | None:
    """The longest entry counts: the whole name, else the scopes in front of it."""
    if name in table:
        return table[name]
    plain = re.sub(r":\d+$", "", name)
    if plain in table:
        return table[plain]
    parts = name.split("/")
    for size in range(len(parts) - 1, 0, -1):
        scope = "/".join(parts[:size])
        key = scope if scope in table else scope + "/"
        if key in table:
            new = table[key]
            return None if new is None else "/".join(filter(None, [new.rstrip("/"), *parts[size:]]))
    return name


def _by_rules(rules: Sequence[tuple[re.Pattern[str], str]], name: str) -> str:
    for pattern, replacement in rules:
        name = pattern.sub(replacement, name)
    return name


def _by_function(function: Callable[[str], str | None], name: str) -> str | None:
    new = function(name)
    if not isinstance(new, str | None):
        raise UsageError("rename returns a name, or None.", received=repr(new))
    return new


def exclusion(exclude: str | Iterable[str]) -> Callable[[str], bool]:
    """Whether a name begins with one of `exclude`, or holds what one says as a regular expression.

    Raises:
        UsageError: it is no list of texts.
    """
    given = [exclude] if isinstance(exclude, str) else list(exclude)
    if not all(isinstance(one, str) and one for one in given):
        raise UsageError("exclude is a list of beginnings of names or regular expressions.", received=repr(exclude))
    patterns: list[re.Pattern[str]] = []
    for one in given:
        try:
            patterns.append(re.compile(one))
        except re.error:
            pass  # it can still be the beginning of a name
    return lambda name: any(name.startswith(one) for one in given) or any(p.search(name) for p in patterns)
