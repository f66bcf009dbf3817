"""The table of stock forms: for each operator a function that says it in Keras' own pieces, or declines.

::

    @stock("Elu")
    def elu(at: Node, x: Held, *, alpha: float = 1.0) -> Result: ...

As in `converters.function.table`, the signature is the specification: inputs are positional, attributes keyword-only
with ONNX's defaults. Inputs come as `Held`, NumPy arrays (constants), `Dims` or None. A function returns a value or a
tuple of them (`Held`, array, `Dims`), or None when Keras has no piece of exactly this meaning: the node then goes
into a `GraphFunction` layer. `opset` is filled in when a function asks for it by that name.
"""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Result", "Row", "find_stock", "stock"]

Result: TypeAlias = Any


@dataclass(frozen=True)
class Row:
    """One stock form: the function, the first opset version it is right for, and what it takes."""

    since: int
    function: Callable[..., Result]
    inputs: int | None
    attributes: frozenset[str]
    wants_opset: bool


_table: dict[str, list[Row]] = {}


def stock(*names: str, since: int = 1) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Register the decorated function as the stock form of `names` from opset `since` on."""

    def register(function: Callable[..., Result]) -> Callable[..., Result]:
        parameters = list(inspect.signature(function).parameters.values())[1:]
        variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        row = Row(
            since=since,
            function=function,
            inputs=None if variadic else len(positional),
            attributes=frozenset(keywords - {"opset"}),
            wants_opset="opset" in keywords,
        )
        for name in names:
            rows = _table.setdefault(name, [])
            rows.append(row)
            rows.sort(key=lambda item: item.since)
        return function

    return register


def find_stock(name: str, version: int) -> Row | None:
    """The row of an operator of ONNX's own domain at an opset version, or None."""
    rows = _table.get(name, [])
    position = bisect_right([row.since for row in rows], version)
    return rows[position - 1] if position else None
