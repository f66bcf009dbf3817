"""Sizes of which some are known only at run time, as products: which axes of a value become which others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

__all__ = ["Size", "group", "rest"]

Groups = list[tuple[list[int], list[int]]]


@dataclass(frozen=True)
class Size:
    """A number times sizes that are open; equal ones are the same at run time, whatever it is.

    Attributes:
        number: the known factor.
        open: what stands for each open factor, sorted.
    """

    number: int
    open: tuple[Hashable, ...] = ()

    @classmethod
    def of(cls, number: int = 1, *open: Hashable) -> Size:
        return cls(number, tuple(sorted(open, key=repr)))

    def __mul__(self, other: Size) -> Size:
        return Size.of(self.number * other.number, *self.open, *other.open)

    def within(self, other: Size) -> bool:
        """Whether it is smaller than a product that has its open factors too."""
        if self.open == other.open:
            return self.number < other.number
        return not Counter(self.open) - Counter(other.open)

    @property
    def known(self) -> int | None:
        return None if self.open else self.number


def rest(have: Sequence[Size], others: Sequence[Size]) -> Size | None:
    """What a value of the sizes `have` leaves for one axis beside `others`; None where that is no whole product."""
    whole, taken = math.prod(have, start=Size(1)), math.prod(others, start=Size(1))
    missing = Counter(taken.open) - Counter(whole.open)
    if missing or not taken.number or whole.number % taken.number:
        return None
    return Size.of(whole.number // taken.number, *(Counter(whole.open) - Counter(taken.open)).elements())


def group(have: Sequence[Size], wanted: Sequence[Size]) -> Groups | None:
    """Which axes merge or split into which, in order; None where open sizes would mix."""
    groups: Groups = []
    i, j = 0, 0
    while i < len(have) or j < len(wanted):
        if i >= len(have) or j >= len(wanted):
            # What is left over are sizes of 1, which belong to the last group.
            if not groups or any(size != Size(1) for size in (*have[i:], *wanted[j:])):
                return None
            groups[-1][0].extend(range(i, len(have)))
            groups[-1][1].extend(range(j, len(wanted)))
            break
        ins, outs = [i], [j]
        left, right = have[i], wanted[j]
        while left != right:
            if left.within(right) and ins[-1] + 1 < len(have):
                ins.append(ins[-1] + 1)
                left = left * have[ins[-1]]
            elif right.within(left) and outs[-1] + 1 < len(wanted):
                outs.append(outs[-1] + 1)
                right = right * wanted[outs[-1]]
            else:
                return None
        groups.append((ins, outs))
        i, j = ins[-1] + 1, outs[-1] + 1
    return groups
