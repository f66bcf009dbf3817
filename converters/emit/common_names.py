"""What the names of repeated layers have in common: `Mixed_3b.Branch_0`, `Mixed_3c.Branch_0` -> `{name}.Branch_0`."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

__all__ = ["Item", "Template", "Word", "common_names", "common_start"]

_MOST = 3
"""More different parts than this make names that nobody would write in pieces."""

#: Characters that are written in an f-string as they are.
_PLAIN = re.compile(r"[A-Za-z0-9_.\-+:/ ]*")


@dataclass(frozen=True)
class Word:
    """The argument of a block's function that holds a part of its layers' names.

    Attributes:
        name: of the argument.
        offset: added to it, where it is a number: layers that are only counted have `r{number + 3}` for a name.
    """

    name: str
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.name} + {self.offset}" if self.offset else self.name


@dataclass(frozen=True)
class Item:
    """One of the names that a block's function is given whole."""

    name: str
    index: int


class Template(tuple["str | Word | Item", ...]):
    """A name in pieces."""


_Vector = tuple[str, ...]
_Row = list["str | _Vector"]


def common_names(
    rows: Sequence[Sequence[str]], labels: Sequence[str], counted: Collection[int] = ()
) -> tuple[list[Template], dict[str, list[object]]]:
    """Say the names of a repeated block by as few words as they need.

    Args:
        rows: for each layer of the block, its name in each occurrence.
        labels: for each layer, the word for its name where it has nothing in common with the others'.
        counted: rows that are numbers, which a number has to say.

    Returns:
        A template for each row, and word -> its value in each occurrence: strings, numbers, or for the one word
        `names` tuples of all names, where they have too little in common.
    """
    plain = all(_PLAIN.fullmatch(name) for row in rows for name in row)
    parts: list[_Row] = [
        _compared(row) if plain or number in counted else [tuple(row)] for number, row in enumerate(rows)
    ]
    while _merge_one(parts):
        pass
    numbers = _numbered(parts, counted)
    words = {vector for vector in _vectors(parts) if vector not in numbers}
    for vector in [vector for vector in _vectors(parts) if vector in words]:
        if sum(vector in row for row in parts) > 1 or vector == _vectors(parts)[0]:
            _absorb(parts, vector)
    for number, row in enumerate(parts):
        own = [part for part in row if isinstance(part, tuple)]
        if own and all(part not in numbers and sum(part in other for other in parts) == 1 for part in own):
            parts[number] = [tuple(rows[number])]
    texts = [vector for vector in _vectors(parts) if vector not in numbers]
    if len(texts) + len({word.name for word in numbers.values()}) > _MOST:
        return _whole(rows, parts, numbers, counted)
    given: dict[str, list[object]] = {}
    said = dict(numbers)
    for vector in texts:
        label = next((label for row, label in zip(parts, labels, strict=True) if row == [vector]), "part")
        wanted = word = label if given or numbers else "name"
        number = 1
        while word in given:
            number += 1
            word = f"{wanted}_{number}"
        said[vector] = Word(word)
        given[word] = list(vector)
    given.update(_counts(numbers))
    return [Template(said[part] if isinstance(part, tuple) else part for part in row) for row in parts], given


def _whole(
    rows: Sequence[Sequence[str]], parts: list[_Row], numbers: dict[_Vector, Word], counted: Collection[int]
) -> tuple[list[Template], dict[str, list[object]]]:
    """All names that differ, whole, in one tuple for each occurrence."""
    kept = {vector: numbers[vector] for number in counted for vector in parts[number] if isinstance(vector, tuple)}
    templates: list[Template] = []
    used: list[Sequence[str]] = []
    for number, row in enumerate(rows):
        if number in counted:
            templates.append(Template(kept[part] if isinstance(part, tuple) else part for part in parts[number]))
        elif len(set(row)) > 1:
            templates.append(Template((Item("names", len(used)),)))
            used.append(row)
        else:
            templates.append(Template((row[0],)))
    given: dict[str, list[object]] = {"names": [tuple(items) for items in zip(*used, strict=True)]} if used else {}
    given.update(_counts(kept))
    return templates, given


def _numbered(parts: list[_Row], counted: Collection[int]) -> dict[_Vector, Word]:
    """Vectors of numbers that go up alike, as one number and what is added to it."""
    must = {part for number in counted for part in parts[number] if isinstance(part, tuple)}
    groups: dict[tuple[int, ...], list[_Vector]] = {}
    for vector in _vectors(parts):
        if all(item.isascii() and item.isdigit() and str(int(item)) == item for item in vector):
            groups.setdefault(tuple(int(item) - int(vector[0]) for item in vector), []).append(vector)
    numbers: dict[_Vector, Word] = {}
    count = 0
    for group in groups.values():
        if len(group) > 1 or group[0] in must:
            count += 1
            first = min(int(vector[0]) for vector in group)
            for vector in group:
                numbers[vector] = Word("number" if count == 1 else f"number_{count}", int(vector[0]) - first)
    return numbers


def _counts(numbers: dict[_Vector, Word]) -> dict[str, list[object]]:
    return {word.name: [int(item) - word.offset for item in vector] for vector, word in numbers.items()}


def _compared(names: Sequence[str]) -> _Row:
    """What is the same in all names as strings, what differs as vectors."""
    if len(set(names)) == 1:
        return [names[0]]
    pieces = [re.findall(r"\d+|[A-Za-z]+|[^A-Za-z\d]", name) for name in names]
    if len({len(item) for item in pieces}) == 1:
        columns = list(zip(*pieces, strict=True))
        return _joined([column[0] if len(set(column)) == 1 else column for column in columns])
    shortest = min(len(item) for item in pieces)
    head = next((i for i in range(shortest) if len({item[i] for item in pieces}) > 1), shortest)
    room = shortest - head
    tail = next((i for i in range(room) if len({item[-1 - i] for item in pieces}) > 1), room)
    middle = tuple("".join(item[head : len(item) - tail]) for item in pieces)
    first = pieces[0]
    return _joined(["".join(first[:head]), middle, "".join(first[len(first) - tail :])])


def _joined(parts: Sequence[str | _Vector]) -> _Row:
    """Neighbours of one kind made one."""
    row: _Row = []
    for part in parts:
        last = row[-1] if row else None
        if part == "":
            continue
        if isinstance(last, str) and isinstance(part, str):
            row[-1] = last + part
        elif isinstance(last, tuple) and isinstance(part, tuple):
            row[-1] = tuple(a + b for a, b in zip(last, part, strict=True))
        else:
            row.append(part)
    return row


def _vectors(rows: list[_Row]) -> list[_Vector]:
    """The different vectors, the most frequent first."""
    found = [part for row in rows for part in row if isinstance(part, tuple)]
    return sorted(dict.fromkeys(found), key=lambda vector: -found.count(vector))


def _merge_one(rows: list[_Row]) -> bool:
    """Make one vector of two that always come one behind the other with the same text between: block `1`, unit `2`."""
    for row in rows:
        for place in range(len(row) - 2):
            first, between, second = row[place : place + 3]
            if not (isinstance(first, tuple) and isinstance(between, str) and isinstance(second, tuple)):
                continue
            if first == second or not _always(rows, first, between, second):
                continue
            merged = tuple(f"{a}{between}{b}" for a, b in zip(first, second, strict=True))
            for number, other in enumerate(rows):
                rows[number] = _replaced(other, first, merged)
            return True
    return False


def _always(rows: list[_Row], first: _Vector, between: str, second: _Vector) -> bool:
    for row in rows:
        for place, part in enumerate(row):
            if part == first and row[place + 1 : place + 3] != [between, second]:
                return False
            if part == second and (place < 2 or row[place - 2 : place] != [first, between]):
                return False
    return True


def _replaced(row: _Row, first: _Vector, merged: _Vector) -> _Row:
    made: _Row = []
    place = 0
    while place < len(row):
        if row[place] == first:
            made.append(merged)
            place += 3
        else:
            made.append(row[place])
            place += 1
    return made


def _absorb(rows: list[_Row], vector: _Vector) -> None:
    """Take into a vector what is the same on both sides of it wherever it comes: `3b` becomes `Mixed_3b`."""
    places = [(row, place) for row in rows for place, part in enumerate(row) if part == vector]
    if len(places) != len({id(row) for row, _ in places}):
        return
    before = {row[0] if place == 1 else None if place else "" for row, place in places}
    left = before.pop() if len(before) == 1 else None
    left = left if isinstance(left, str) else ""
    behind = [
        part if isinstance(part := (row[place + 1] if place + 1 < len(row) else ""), str) else ""
        for row, place in places
    ]
    right = _shared_start(behind)
    if not left and not right:
        return
    wider = tuple(f"{left}{item}{right}" for item in vector)
    for row, place in places:
        after = row[place + 1 :]
        if right and after and isinstance(after[0], str):
            after[0] = after[0][len(right) :]
        row[:] = _joined([*([] if left else row[:place]), wider, *after])


def common_start(texts: Collection[str]) -> str:
    """The longest beginning that all texts have."""
    first, last = min(texts), max(texts)
    return next((first[:place] for place, letter in enumerate(first) if letter != last[place : place + 1]), first)


def _shared_start(texts: list[str]) -> str:
    """The longest common beginning that ends where a word ends in all of them."""
    common = common_start(texts)
    while common and (
        common[-1] in "._-/" or any(len(text) > len(common) and text[len(common)] not in "./" for text in texts)
    ):
        common = common[:-1]
    return common
