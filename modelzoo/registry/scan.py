"""Where each card of a registry stands in its file, and what it says, in one pass of the JSON scanner."""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["scan"]

_SPACE = re.compile(r"[ \t\n\r]*").match


def scan(data: bytes) -> dict[str, tuple[Any, int, int]] | None:
    """The cards of a registry with their places.

    Names that occur twice inside of a card are not noticed: whoever uses the card parses it anew.

    Args:
        data: of the file.

    Returns:
        {name: (card as JSON, first byte, byte behind the last)}; None for a file that has to be parsed by the book, as
        it is not UTF-8, not JSON, no registry, or of another version.
    """
    from modelzoo.errors import RegistryVersionError
    from modelzoo.registry.registry_file import check_version, refuse_constant, refuse_doubles

    places: dict[str, tuple[Any, int, int]] = {}
    rest: dict[str, Any] = {}
    card = json.JSONDecoder(parse_constant=refuse_constant).raw_decode
    other = json.JSONDecoder(parse_constant=refuse_constant, object_pairs_hook=refuse_doubles).raw_decode
    try:
        text = data.decode("utf-8")
        offset = _Offsets(text)

        def one_card(name: str, start: int) -> int:
            if name in places:
                raise ValueError
            raw, end = card(text, start)
            places[name] = (raw, offset(start), offset(end))
            return end

        def one_field(key: str, start: int) -> int:
            if key in rest:
                raise ValueError
            if key == "models" and text[start] == "{":
                rest[key] = {}
                return _walk(text, start, one_card)
            rest[key], end = other(text, start)
            return end

        end = _walk(text, _after_space(text, 0), one_field)
        if _after_space(text, end) != len(text) or not isinstance(rest["models"], dict):
            return None
        check_version(rest.get("schema_version"), "")
    except (ValueError, IndexError, KeyError, StopIteration, RecursionError, RegistryVersionError):
        return None
    return places


def _walk(text: str, at: int, member: Callable[[str, int], int]) -> int:
    """Call `member(key, start of its value)` -> its end for all of the JSON object that begins at `at`; its end."""
    from json.decoder import scanstring  # type: ignore[attr-defined]

    if text[at] != "{":
        raise ValueError
    at = _after_space(text, at + 1)
    if text[at] == "}":
        return at + 1
    while True:
        if text[at] != '"':
            raise ValueError
        key, at = scanstring(text, at + 1)
        at = _after_space(text, at)
        if text[at] != ":":
            raise ValueError
        at = _after_space(text, member(key, _after_space(text, at + 1)))
        if text[at] == "}":
            return at + 1
        if text[at] != ",":
            raise ValueError
        at = _after_space(text, at + 1)


def _after_space(text: str, at: int) -> int:
    found = _SPACE(text, at)
    return found.end() if found else at


class _Offsets:
    """Characters of a text to bytes of its UTF-8, for places that are asked for in their order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._plain = text.isascii()
        self._at = self._bytes = 0

    def __call__(self, at: int) -> int:
        if self._plain:
            return at
        self._bytes += len(self._text[self._at : at].encode())
        self._at = at
        return self._bytes
