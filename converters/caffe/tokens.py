"""The tokens of protobuf's text format: names, numbers, strings and brackets, each with its place."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple, NoReturn

from modelzoo.errors import InvalidGraphError

__all__ = ["Scanner", "Token", "integer"]

_TOKEN = re.compile(
    r"""[ \t\r\n\f\v]+ | \#[^\n]*
    | (?P<string>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*')
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>0[xX][0-9a-fA-F]+ | (?:[0-9]+\.?[0-9]* | \.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?)
    | (?P<symbol>[][{}<>:;,-])
    | (?P<end>\Z)""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))")
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_LITERAL = frozenset("\\'\"?")


class Token(NamedTuple):
    """A piece of the text, and its place in it."""

    kind: str  # string, name, number, symbol or end
    text: str
    at: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the file"
        return self.text if len(self.text) <= 40 else self.text[:37] + "..."


class Scanner:
    """Walks over a text, one token ahead.

    Args:
        data: the text. Comments may be of any encoding; strings are UTF-8, and Latin-1 where they are not.
        file: its name, for messages.

    Attributes:
        token: the next one.

    Raises:
        InvalidGraphError: something is no token.
    """

    def __init__(self, data: bytes, file: str) -> None:
        self.file = file
        self.text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")  # one character a byte
        self._scan(0)

    def inside(self) -> str:
        """Words for the part of the text that is being read, to follow line and column."""
        return ""

    def _scan(self, at: int) -> None:
        """Make `token` the next one from `at` on, blanks and comments left out."""
        while True:
            found = _TOKEN.match(self.text, at)
            if found is None:
                self.token = Token("symbol", self.text[at], at)
                if self.text[at] in "\"'":
                    self.fail("A string does not end on its line", self.token)
                self.fail(f"The character {self.text[at]!r} has no meaning here", self.token)
            if found.lastgroup is not None:
                break
            at = found.end()
        self.token = Token(found.lastgroup, found.group(), at)
        self._next = found.end()
        if (
            self.token.kind == "number"
            and (after := self.text[self._next : self._next + 1])
            and (after.isalnum() or after in "_.")
        ):
            self.fail(f"The number {self.token.text!r} runs into {after!r}", self.token)

    def take(self) -> Token:
        """Pass over the next token."""
        taken = self.token
        self._scan(self._next)
        return taken

    def next_is(self, symbol: str) -> bool:
        """Whether the next token is this symbol."""
        return self.token.kind == "symbol" and self.token.text == symbol

    def takes(self, *symbols: str) -> bool:
        """Pass over one of these symbols, if it is next."""
        if self.token.kind == "symbol" and self.token.text in symbols:
            self.take()
            return True
        return False

    def fail(self, what: str, token: Token | None = None, hint: str | None = None) -> NoReturn:
        """Refuse a token, the next one if none is given."""
        token = token or self.token
        line = self.text.count("\n", 0, token.at) + 1
        start = self.text.rfind("\n", 0, token.at) + 1
        before = self.text[start : token.at].encode("latin-1").decode("utf-8", "replace")
        raise InvalidGraphError(
            f"{self.file}, line {line}, column {len(before) + 1}{self.inside()}: {what}.",
            received=str(token).encode("latin-1").decode("utf-8", "replace"),
            hint=hint,
        )

    def string(self) -> str:
        """One string, or several in a row, which are one."""
        parts = []
        while self.token.kind == "string":
            token = self.take()
            parts.append(_ESCAPE.sub(functools.partial(self._unescaped, token), token.text[1:-1]))
        joined = "".join(parts).encode("latin-1")
        try:
            return joined.decode("utf-8")
        except UnicodeDecodeError:
            return joined.decode("latin-1")

    def _unescaped(self, token: Token, found: re.Match[str]) -> str:
        """What an escape stands for, one character a byte."""
        octal, byte, short, long, letter = found.groups()
        if octal or byte:
            value = int(octal, 8) if octal else int(byte, 16)
            if value > 255:
                self.fail(f"{found.group()} is no byte", token)
            return chr(value)
        if short or long:
            point = int(short or long, 16)
            if point > 0x10FFFF or 0xD800 <= point < 0xE000:
                self.fail(f"{found.group()} is no character", token)
            return chr(point).encode("utf-8").decode("latin-1")
        if letter in _LETTERS:
            return _LETTERS[letter]
        if letter in _LITERAL:
            return letter
        self.fail(f"The escape {found.group()!r} in a string is unknown", token)


def integer(text: str) -> int | None:
    """The value of a decimal, hexadecimal (0x1F) or octal (017) number; None where it is none."""
    if text[:2] in ("0x", "0X"):
        return int(text, 16) if len(text) <= 40 else None
    if not text.isdigit() or len(text) > 40:
        return None
    if text[0] == "0" and len(text) > 1:
        return int(text, 8) if not set(text) & {"8", "9"} else None
    return int(text)
