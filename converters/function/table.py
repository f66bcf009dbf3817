"""The operator table: every operator is one function whose signature is its specification.

::

    @op("Reshape", since=14)
    def reshape(data: Tensor, shape: Static, *, allowzero: int = 0) -> Tensor: ...

Inputs are positional, attributes keyword-only with ONNX's defaults; what is left out on the right is optional and
arrives as None. The annotation of an input says in which form it is wanted:

* `Tensor`  a `tf.Tensor`;
* `Static`  a NumPy array where the value is known while tracing, else a `tf.Tensor` (shapes, axes, repeats);
* anything else: as it is (lists for sequences, None, `Narrow`, NumPy arrays, tensors).

A function returns one value or a tuple of them; the node takes as many as it has outputs. `output_count` is filled in
when a function asks for it by that name, `opset` likewise; `inner` is the part of the node's own graph that leads from
the values that the attributes `xs` and `zs` name to the one that `y` names, as a function.
"""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

__all__ = ["Operator", "Static", "Tensor", "find", "known_versions", "op", "operators"]

Tensor: TypeAlias = tf.Tensor
Static: TypeAlias = np.ndarray | tf.Tensor

_SPECIAL = ("output_count", "opset", "inner")


@dataclass(frozen=True)
class Operator:
    """One row of the table.

    Attributes:
        name, domain, since: the operator and the first opset version that this function is right for.
        function: the implementation.
        moves: only moves elements of its first input, so types that TensorFlow lacks pass through their emulation.
        random: gives another result at each call, so it is never folded.
        constant: names of inputs that are never trained (scales of Resize, zero points).
        frozen: names of inputs that are state, not weights to train (moving averages).
        wants: annotation of each positional input; `variadic` is the annotation of `*inputs`, if there is one.
    """

    name: str
    domain: str
    since: int
    function: Callable[..., Any]
    moves: bool = False
    random: bool = False
    constant: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    inputs: tuple[str, ...] = field(default=())
    wants: tuple[str, ...] = field(default=())
    variadic: str | None = None
    special: tuple[str, ...] = ()
    attributes: frozenset[str] = frozenset()

    def form(self, position: int) -> str:
        """In which form the input at `position` is wanted: "Tensor", "Static" or another annotation."""
        if position < len(self.wants):
            return self.wants[position]
        return self.variadic or "Any"

    def input_name(self, position: int) -> str:
        """Name of the input at `position`; the last one's for variadic inputs."""
        return self.inputs[position] if position < len(self.inputs) else "inputs"


_table: dict[tuple[str, str], list[Operator]] = defaultdict(list)


def op(
    *names: str,
    since: int = 1,
    domain: str = "",
    moves: bool = False,
    random: bool = False,
    constant: tuple[str, ...] = (),
    frozen: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the operator(s) `names` from opset `since` on (up to the next one given)."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        inputs: list[str] = []
        wants: list[str] = []
        attributes: list[str] = []
        special: list[str] = []
        variadic = None
        for parameter in inspect.signature(function).parameters.values():
            form = str(parameter.annotation).split("|")[0].strip()
            if parameter.kind is parameter.VAR_POSITIONAL:
                variadic = form
            elif parameter.kind is parameter.KEYWORD_ONLY:
                (special if parameter.name in _SPECIAL else attributes).append(parameter.name)
            else:
                inputs.append(parameter.name)
                wants.append(form)
        for name in names:
            row = Operator(
                name=name,
                domain=domain,
                since=since,
                function=function,
                moves=moves,
                random=random,
                constant=constant,
                frozen=frozen,
                inputs=tuple(inputs),
                wants=tuple(wants),
                variadic=variadic,
                special=tuple(special),
                attributes=frozenset(attributes),
            )
            rows = _table[domain, name]
            rows.append(row)
            rows.sort(key=lambda item: item.since)
        return function

    return register


def find(domain: str, name: str, version: int) -> Operator | None:
    """The row for an operator at an opset version, or None."""
    rows = _table.get((domain, name), [])
    position = bisect_right([row.since for row in rows], version)
    return rows[position - 1] if position else None


def known_versions(domain: str, name: str) -> tuple[int, ...]:
    """Opset versions at which an operator's row begins, oldest first; empty for an unknown one."""
    return tuple(row.since for row in _table.get((domain, name), []))


def operators() -> tuple[tuple[str, str], ...]:
    """(domain, name) of every operator in the table."""
    return tuple(sorted(_table))
