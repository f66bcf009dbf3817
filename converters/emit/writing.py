"""Statements as lines of Python: names for tensors, one line a layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from converters.emit.common_names import Item, Template
from converters.emit.literals import Code, call, literal
from converters.emit.statements import Parameter, Ref, Statement, refs

__all__ = ["constructor", "lines_of", "source"]

#: Names of tensors, in the order in which they are taken.
_VARIABLES = ("x", "y", "z", "u", "v", "w")


def lines_of(
    statements: Sequence[Statement],
    given: Mapping[int, str],
    *,
    indent: int,
    returns: bool = False,
    kept: Iterable[int] = (),
    taken: Iterable[str] = (),
) -> tuple[list[str], dict[int, str]]:
    """The lines of a function's body.

    Args:
        statements: in order.
        given: tensors that are there before -> name of the variable.
        indent: columns in front of each line.
        returns: the last statement's tensor is what the function returns.
        kept: tensors that are read behind the last line.
        taken: names that no tensor may have.

    Returns:
        The lines, and tensor -> name of the variable that holds it at the end.
    """
    frame = _Variables(statements, given, set(kept), set(taken))
    lines = []
    for place, statement in enumerate(statements):
        operands = [(key, source(value, frame.held)) for key, value in statement.operands]
        targets = frame.assign(place, statement)
        lead = f"{', '.join(targets)} = "
        if statement.gives_list and len(targets) == 1:
            lead = f"({targets[0]},) = "
        if returns and place == len(statements) - 1 and len(targets) == 1 and not statement.gives_list:
            lead = "return "
        lines.append(" " * indent + _line(statement, operands, indent, lead, frame.read))
    if returns and not lines[-1].lstrip().startswith("return "):
        result = next(number for number in statements[-1].outputs if number is not None)
        lines.append(" " * indent + f"return {frame.held[result]}")
    return lines, frame.held


def source(value: Any, held: Mapping[int, str]) -> str:
    """A value as source: tensors by their variables, a block's arguments by their names."""
    return literal(_coded(value, held))


def constructor(statement: Statement, indent: int, *, lead: str, tail: str = "") -> str:
    """The call of a layer's class."""
    return call(f"layers.{statement.function}", _options(statement, {}), indent, lead=lead, tail=tail)


def _line(
    statement: Statement, operands: list[tuple[str | None, str]], indent: int, lead: str, held: Mapping[int, str]
) -> str:
    if statement.form == "layer":
        inner = ", ".join(text if key is None else f"{key}={text}" for key, text in operands)
        return constructor(statement, indent, lead=lead, tail=f"({inner})")
    if statement.form == "block":
        return call(statement.function, [*operands, *_options(statement, held)], indent, lead=lead)
    if statement.form == "index":
        (_, base), (_, _) = operands[:2]
        key = statement.operands[1][1]
        keys = key if isinstance(key, tuple) else (key,)
        return f"{lead}{base}[{', '.join(_subscript(item, held) for item in keys)}]"
    prefix = "ops." if statement.form == "operation" else ""
    return call(f"{prefix}{statement.function}", operands, indent, lead=lead)


def _options(statement: Statement, held: Mapping[int, str]) -> list[tuple[str | None, str]]:
    leading = list(statement.options)[: statement.positional]
    shown = [key for key in statement.options if key in statement.shown]
    options: list[tuple[str | None, str]] = [
        (None if key in leading else key, source(statement.options[key], held)) for key in shown
    ]
    if statement.name is not None:
        options.append(("name", source(statement.name, held)))
    return options


def _subscript(key: Any, held: Mapping[int, str]) -> str:
    if not isinstance(key, slice):
        return source(key, held)
    ends = ["" if end is None else source(end, held) for end in (key.start, key.stop)]
    return ":".join([*ends, source(key.step, held)] if key.step is not None else ends)


def _coded(value: Any, held: Mapping[int, str]) -> Any:
    if isinstance(value, Ref):
        return Code(held[value.number])
    if isinstance(value, Parameter):
        return Code(value.name if value.factor == 1 else f"{value.factor} * {value.name}")
    if isinstance(value, Template):
        return _text(value)
    if isinstance(value, list | tuple):
        return type(value)(_coded(item, held) for item in value)
    if isinstance(value, dict):
        return {key: _coded(item, held) for key, item in value.items()}
    return value


def _text(template: Template) -> Any:
    """A name in pieces: a variable, a string, or an f-string, whose constant parts hold nothing to escape."""
    if all(isinstance(part, str) for part in template):
        return "".join(str(part) for part in template)
    parts = [f"{part.name}[{part.index}]" if isinstance(part, Item) else str(part) for part in template]
    if len(template) == 1:
        return Code(parts[0])
    shown = [text if isinstance(part, str) else f"{{{text}}}" for part, text in zip(template, parts, strict=True)]
    return Code(f'f"{"".join(shown)}"')


class _Variables:
    """Which variable holds which tensor, line after line; a chain of layers goes on in one variable."""

    def __init__(
        self, statements: Sequence[Statement], given: Mapping[int, str], kept: set[int], taken: set[str]
    ) -> None:
        self.held = dict(given)
        self.read: dict[int, str] = {}
        self.taken = taken
        self.uses: Counter[int] = Counter()
        self.last: dict[int, int] = {}
        for place, statement in enumerate(statements):
            numbers = {ref.number for ref in refs([value for _, value in statement.operands])}
            self.uses.update(numbers)
            self.last.update(dict.fromkeys(numbers, place))
        for number in kept:
            self.last[number] = len(statements)
            self.uses[number] += 1

    def assign(self, place: int, statement: Statement) -> list[str]:
        """Names for what a statement gives; `read` keeps the names of what it takes."""
        self.read = dict(self.held)
        operands = list(dict.fromkeys(ref.number for ref in refs([value for _, value in statement.operands])))
        ending = [number for number in operands if self.last[number] <= place]
        free = {number: self.held[number] for number in ending if self.held[number] not in self.taken}
        for number in ending:
            del self.held[number]
        merges = len(operands) > 1
        # A tensor that several lines have read keeps its name to itself, so that branches are told apart.
        reused = [name for number, name in free.items() if merges or self.uses[number] == 1]
        avoided = set() if merges else set(free.values()) - set(reused)
        branches = bool(operands) and not merges and self.uses[operands[0]] > 2
        targets = []
        for made in statement.outputs:
            if made is None:
                targets.append("_")
                continue
            name = self._name([*(["x"] if merges else []), *sorted(reused, key=_rank)], avoided, branches)
            reused = [item for item in reused if item != name]
            self.held[made] = name
            targets.append(name)
        return targets

    def _name(self, reused: list[str], avoided: set[str], branches: bool) -> str:
        live = set(self.held.values()) | self.taken | avoided
        for name in reused:
            if name not in live:
                return name
        if branches:
            return next(name for number in range(10_000) if (name := f"branch_{number}") not in live)
        for name in _VARIABLES:
            if name not in live:
                return name
        return next(name for number in range(1, 10_000) if (name := f"x_{number}") not in live)


def _rank(name: str) -> tuple[int, str]:
    return (_VARIABLES.index(name) if name in _VARIABLES else len(_VARIABLES), name)
