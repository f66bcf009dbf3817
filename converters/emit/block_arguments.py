"""The arguments of a block's function: what differs between the places where the block stands."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from converters.emit.common_names import Template, common_names
from converters.emit.function_names import short_name
from converters.emit.statements import Parameter, Statement

__all__ = ["BlockArguments"]

#: Arguments that are given without their names, and in which order.
_POSITIONAL = {"filters": 0, "units": 0, "kernel_size": 1, "pool_size": 1}

_Vector = tuple[Any, ...]


class BlockArguments:
    """What the statements of a block are given in each place.

    Args:
        stretches: for each place the statements there, alike but for numbers, names and tensors.

    Attributes:
        values: argument -> its value in each place.
    """

    def __init__(self, stretches: Sequence[Sequence[Statement]]) -> None:
        self.columns = list(zip(*stretches, strict=True))
        self.values: dict[str, list[Any]] = {}
        self._texts = self._names()
        self._numbers = self._named_numbers()

    def _names(self) -> dict[tuple[int, str, int], Template]:
        """Place, option (empty: the layer's name) and number in it -> the name in pieces."""
        rows: dict[tuple[int, str, int], list[str]] = {}
        for place, column in enumerate(self.columns):
            if column[0].name is not None:
                rows[place, "", 0] = [str(statement.name) for statement in column]
            if column[0].form != "block":
                continue
            for key, value in column[0].options.items():
                column_values = [statement.options[key] for statement in column]
                if isinstance(value, str):
                    rows[place, key, 0] = column_values
                elif _is_count(key) and any(item != value for item in column_values):
                    rows[place, key, 0] = [str(item) for item in column_values]
                elif isinstance(value, tuple) and value and all(isinstance(item, str) for item in value):
                    for number in range(len(value)):
                        rows[place, key, number] = [statement.options[key][number] for statement in column]
        labels = []
        for place, key, _ in rows:
            first = self.columns[place][0]
            own = key not in ("", "name", "names")
            labels.append(key if own else short_name(first) if first.form == "layer" else f"{first.function}_name")
        counted = [number for number, (_, key, _) in enumerate(rows) if _is_count(key)]
        templates, words = common_names(list(rows.values()), labels, counted)
        self.values.update(words)
        return dict(zip(rows, templates, strict=True))

    def _named_numbers(self) -> dict[tuple[int, str], Parameter]:
        """Place and option -> the argument that it is given, of all options that differ and are no names."""
        vectors: dict[tuple[int, str], _Vector] = {}
        for place, column in enumerate(self.columns):
            for key in self._shown(column):
                vector = tuple(statement.options[key] for statement in column)
                if (place, key, 0) not in self._texts and any(item != vector[0] for item in vector):
                    vectors[place, key] = vector
        by_key: dict[str, list[_Vector]] = defaultdict(list)
        for (_, key), vector in vectors.items():
            base = re.sub(r"(_\d+)+$", "", key)
            if vector not in by_key[base]:
                by_key[base].append(vector)
        given: dict[tuple[str, _Vector], Parameter] = {}
        for base, different in by_key.items():
            multiples = {vector: _multiple(vector, different) for vector in different}
            roots = [vector for vector in different if multiples[vector] is None]
            for number, vector in enumerate(roots, 1):
                name = base if len(roots) == 1 else f"{base}_{number}"
                given[base, vector] = Parameter(name)
                self.values[name] = list(vector)
            for vector, found in multiples.items():
                if found is not None:
                    given[base, vector] = Parameter(given[base, found[0]].name, found[1])
        return {(place, key): given[re.sub(r"(_\d+)+$", "", key), vector] for (place, key), vector in vectors.items()}

    @staticmethod
    def _shown(column: Sequence[Statement]) -> list[str]:
        shown = {key for statement in column for key in statement.shown}
        return [key for key in column[0].options if key in shown]

    def statement(self, place: int) -> Statement:
        """The statement at a place in the block's body."""
        column = self.columns[place]
        first = column[0]
        options = {}
        for key, value in first.options.items():
            if (place, key, 0) not in self._texts:
                options[key] = self._numbers.get((place, key), value)
            elif isinstance(value, tuple):
                options[key] = tuple(self._texts[place, key, number] for number in range(len(value)))
            else:
                options[key] = self._texts[place, key, 0]
        return Statement(
            first.form,
            first.function,
            list(first.operands),
            list(first.outputs),
            options,
            self._shown(column),
            first.positional,
            self._texts.get((place, "", 0)),  # type: ignore[arg-type]
            first.gives_list,
        )

    def signature(self) -> tuple[dict[str, Any], int]:
        """Argument -> its default, `...` where it has none; and how many of the first are given without names."""
        defaults = {key: self._default(key, values) for key, values in self.values.items()}
        named = [key for key in defaults if key in ("name", "names") or _is_count(key)]

        def base(key: str) -> str:
            return re.sub(r"_\d+$", "", key)

        first = [key for key in defaults if base(key) in _POSITIONAL and defaults[key] is ...]
        first.sort(key=lambda key: _POSITIONAL[base(key)])
        others = [key for key in defaults if key not in first and key not in named]
        others.sort(key=lambda key: defaults[key] is not ...)
        order = [*first, *others, *named]
        return {key: defaults[key] for key in order}, len(first)

    @staticmethod
    def _default(key: str, values: list[Any]) -> Any:
        """What an argument nearly always is; none for sizes of layers and for the block's own name."""
        if (
            key in ("name", "names")
            or _is_count(key)
            or re.sub(r"_\d+$", "", key) in ("filters", "units", "kernel_size")
        ):
            return ...
        value, count = Counter(values).most_common(1)[0]
        return value if count >= 3 and 2 * count > len(values) else ...


def _is_count(key: str) -> bool:
    """Whether an argument of a block's function numbers its layers."""
    return re.fullmatch(r"number(_\d+)?", key) is not None


def _multiple(vector: _Vector, others: list[_Vector]) -> tuple[_Vector, int] | None:
    """Another vector of which this one is a whole multiple throughout."""
    for other in others:
        if not all(type(item) is int and item > 0 for item in (*vector, *other)):
            continue
        factor = vector[0] // other[0]
        exact = 2 <= factor <= 8 and all(a == factor * b for a, b in zip(vector, other, strict=True))
        if exact and _multiple(other, others) is None:
            return other, factor
    return None
