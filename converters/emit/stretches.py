"""Stretches of statements: what they take, and what makes two of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converters.emit.literals import literal
from converters.emit.statements import Ref, Statement, refs

__all__ = ["local_numbers", "outside", "renumbered", "token"]


def outside(stretch: Sequence[Statement]) -> list[Ref]:
    """The tensors that a stretch takes, in the order in which it reads them."""
    made = {number for statement in stretch for number in statement.outputs}
    read = [ref for statement in stretch for ref in refs([value for _, value in statement.operands])]
    return list(dict.fromkeys(ref for ref in read if ref.number not in made))


def local_numbers(stretch: Sequence[Statement]) -> dict[int, int]:
    numbers = [ref.number for ref in outside(stretch)]
    numbers += [number for statement in stretch for number in statement.outputs if number is not None]
    return {number: place for place, number in enumerate(dict.fromkeys(numbers))}


def renumbered(value: Any, numbers: dict[int, int]) -> Any:
    if isinstance(value, Ref):
        return Ref(numbers[value.number])
    if isinstance(value, list | tuple):
        return type(value)(renumbered(item, numbers) for item in value)
    if isinstance(value, dict):
        return {key: renumbered(item, numbers) for key, item in value.items()}
    return value


def token(statement: Statement) -> Any:
    """What must be the same in statements that one line of a block stands for: all but numbers, names and tensors."""
    fixed = tuple(
        (key, literal(value)) for key, value in statement.options.items() if not _is_free(value, statement.form)
    )
    operands = tuple((key, _shape(value)) for key, value in statement.operands)
    used = tuple(number is None for number in statement.outputs)
    named = statement.name is None
    keys = tuple(statement.options)
    return (statement.form, str(statement.function), keys, fixed, operands, used, named, statement.gives_list)


def _shape(value: Any) -> Any:
    if isinstance(value, Ref):
        return Ref
    if isinstance(value, list | tuple):
        return (type(value), tuple(_shape(item) for item in value))
    if isinstance(value, dict):
        return tuple((key, _shape(item)) for key, item in value.items())
    return literal(value)


def _is_free(value: Any, form: str) -> bool:
    """Whether a block's function may be given the value: numbers and tuples of them, and names in calls of blocks."""
    if isinstance(value, tuple):
        return all(_is_free(item, form) for item in value)
    if isinstance(value, str):
        return form == "block"
    return isinstance(value, int | float) and not isinstance(value, bool)
