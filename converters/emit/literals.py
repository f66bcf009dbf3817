"""Values as Python source: what is written is a literal or a call of NumPy, never text taken as code."""

from __future__ import annotations

import math
import re
import textwrap
from typing import Any

import numpy as np

from modelzoo.errors import ConversionError

__all__ = ["LINE", "Arguments", "Call", "Code", "block", "call", "constant", "identifier", "literal", "quoted"]

LINE = 100
"""The longest line of the written file, in characters."""

_LARGEST = 4096
"""Elements of an array that is written as numbers."""


Arguments = list[tuple[str | None, str]]
"""Keyword (None: positional) and source of each argument."""


class Code(str):
    """Source that is ready: the name of a variable."""


class Call(Code):
    """A call that can be opened where a line is too long for it."""

    arguments: Arguments
    function: str

    @classmethod
    def of(cls, function: str, arguments: Arguments) -> Call:
        made = cls(f"{function}({', '.join(_shown(arguments))})")
        made.function, made.arguments = function, arguments
        return made


def quoted(text: str) -> str:
    """`text` as a string literal in double quotes, or in single ones where it holds double ones."""
    shown = repr(str(text))
    if shown[0] == "'" and '"' not in shown:
        return f'"{shown[1:-1]}"'
    return shown


def identifier(text: str, otherwise: str = "block") -> str:
    """A lower-case Python name made of `text`, or `otherwise` where nothing of it is left."""
    import builtins
    import keyword

    words = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower()
    words = re.sub(r"^[\d_]+", "", words)
    if not words:
        return otherwise
    return f"{words}_" if keyword.iskeyword(words) or hasattr(builtins, words) else words


def literal(value: Any) -> str:
    """A value as source.

    Raises:
        ConversionError: it has no literal form.
    """
    if isinstance(value, Code):
        return value
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool | int) or value is Ellipsis:
        return "..." if value is Ellipsis else repr(value)
    if isinstance(value, np.ndarray | np.generic):
        return _array(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, list):
        return f"[{', '.join(literal(item) for item in value)}]"
    if isinstance(value, tuple):
        inner = ", ".join(literal(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, slice):
        return f"slice({literal(value.start)}, {literal(value.stop)}, {literal(value.step)})"
    raise ConversionError(
        f"A value of type {type(value).__name__} cannot be written as Python source.",
        received=repr(value)[:200],
        hint='convert the model with to="savedmodel"',
    )


def _array(value: np.ndarray | np.generic) -> str:
    kind = value.dtype
    if kind.kind not in "biuf" or value.size > _LARGEST:
        raise ConversionError(
            f"An array of {value.size} elements of {kind} cannot be written as Python source.",
            received=f"shape {value.shape}",
            hint='convert the model with to="savedmodel"',
        )
    numbers = _shortest(np.asarray(value))
    if np.ndim(value) == 0:
        return f"np.{kind.name}({literal(numbers)})"
    if value.size == 0:
        return f"np.zeros({literal(value.shape)}, {quoted(kind.name)})"
    return f"np.array({literal(numbers)}, {quoted(kind.name)})"


def constant(name: str, array: np.ndarray) -> str:
    """The assignment of an array to a name, its numbers wrapped as text is."""
    _array(array)  # refuses what has no literal form
    lines = textwrap.fill(
        literal(_shortest(array.ravel()))[1:-1], LINE, initial_indent="    ", subsequent_indent="    "
    )
    kind = quoted(array.dtype.name)
    return f"{name} = np.array([\n{lines}\n], {kind}).reshape{literal(array.shape)}  # fmt: skip\n"


def _shortest(array: np.ndarray) -> Any:
    """The elements as Python numbers, floats by the fewest digits that give the same element back."""
    if array.ndim:
        return [_shortest(item) for item in array]
    number = array.item()
    if array.dtype.kind == "f" and math.isfinite(number):
        short = float(str(array[()]))
        return short if array.dtype.type(short) == array[()] else number
    return number


def call(function: str, arguments: Arguments, indent: int, *, lead: str = "", tail: str = "") -> str:
    """`lead + function(arguments) + tail` on one line, or, where it is too long, with its arguments on their own.

    Args:
        function: what is called.
        arguments: keyword (None: positional) and source of each.
        indent: columns before the line.
        lead: in front of the call, `x = `.
        tail: behind it, `(x)`.
    """
    inner = ", ".join(_shown(arguments))
    line = f"{lead}{function}({inner}){tail}"
    if indent + len(line) <= LINE:
        return line
    deep = " " * (indent + 4)
    # Where only the tail is too long, formatters would open it and not the call.
    if len(deep) + len(inner) <= LINE and indent + len(line) - len(tail) + 1 > LINE:
        return f"{lead}{function}(\n{deep}{inner}\n{' ' * indent}){tail}"
    opened = [_opened(keyword, source, len(deep)) for keyword, source in arguments]
    return f"{lead}{function}(\n{deep}" + f",\n{deep}".join(opened) + f",\n{' ' * indent}){tail}"


def _shown(arguments: Arguments) -> list[str]:
    return [source if keyword is None else f"{keyword}={source}" for keyword, source in arguments]


def _opened(keyword: str | None, source: str, indent: int) -> str:
    """An argument that is too long for a line: a call, or a tuple of names, with one item a line."""
    (shown,) = _shown([(keyword, source)])
    if indent + len(shown) + 1 <= LINE:
        return shown
    lead = "" if keyword is None else f"{keyword}="
    if isinstance(source, Call):
        return call(source.function, source.arguments, indent, lead=lead)
    # A name that holds a comma itself is not split.
    items = source[1:-1].split(", ") if keyword == "names" else []
    split = items and all(re.fullmatch(r'"[^"]*"', item) for item in items)
    return block(f"{lead}(", items, ")", indent) if split else shown


def block(opening: str, items: list[str], closing: str, indent: int) -> str:
    """A bracket with items: on one line where it fits, else one a line."""
    line = opening + ", ".join(items) + closing
    if indent + len(line) <= LINE:
        return line
    deep = " " * (indent + 4)
    return opening + "\n" + "".join(f"{deep}{item},\n" for item in items) + " " * indent + closing
