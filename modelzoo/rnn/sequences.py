"""Sequences with classes, whatever their steps are: windows, and a split that divides no source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelzoo.errors import UsageError
from modelzoo.finetune.pictures import ClassFolder

__all__ = ["Sequences", "window_starts"]


@dataclass(frozen=True)
class Sequences:
    """Sequences of steps and their classes.

    Attributes:
        items: of each sequence its steps: the paths of its frames, or an array (T, ...).
        labels: index of the class of each sequence.
        names: of the classes.
        titles: what each sequence is called; no two are the same.
        sources: number of the clip or file that each was cut from.
        steps: the length T that sequences are padded to.
        masked: whether some are shorter than that.
    """

    items: tuple[Sequence[Any], ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    titles: tuple[str, ...]
    sources: tuple[int, ...]
    steps: int
    masked: bool

    def __len__(self) -> int:
        return len(self.items)

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many steps each has."""
        return tuple(len(item) for item in self.items)

    @classmethod
    def cut(
        cls,
        sources: Sequence[tuple[str, Any, int]],
        names: Sequence[str],
        *,
        size: int | None = None,
        hop: int | None = None,
        what: str = "steps",
    ) -> Sequences:
        """Cut windows out of whole sequences.

        Args:
            sources: (title, steps, label) of each clip or file.
            names: of the classes.
            size: steps of a window; None = sequences stay whole, the shorter ones are padded and masked.
            hop: steps from one window to the next; None = `size`. What is left behind the last whole window is
                left out.
            what: the steps are called in messages.

        Raises:
            UsageError: a size or hop that makes no sense, or a sequence shorter than the window.
        """
        if hop is not None and size is None:
            raise UsageError("A hop goes with windows of a size.", received=f"hop={hop}")
        for kind, value in (("size", size), ("hop", hop)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UsageError(f"The {kind} of a window is a positive whole number.", received=repr(value))
        if size is None:
            longest = max((len(item) for _, item, _ in sources), default=0)
            return cls(
                tuple(item for _, item, _ in sources),
                tuple(label for _, _, label in sources),
                tuple(names),
                tuple(title for title, _, _ in sources),
                tuple(range(len(sources))),
                longest,
                any(len(item) < longest for _, item, _ in sources),
            )
        short = [(title, len(item)) for title, item, _ in sources if len(item) < size]
        if short:
            raise UsageError(
                f"{len(short)} of {len(sources)} sequences are shorter than a window of {size} {what}.",
                received=f"{short[0][0]}: {short[0][1]} {what}",
                hint="a smaller window, or whole sequences, which are padded and masked",
            )
        cuts = [
            (number, start, title, item, label)
            for number, (title, item, label) in enumerate(sources)
            for start in window_starts(len(item), size, hop or size)
        ]
        return cls(
            tuple(item[start : start + size] for _, start, _, item, _ in cuts),
            tuple(label for *_, label in cuts),
            tuple(names),
            tuple(f"{title}[{start}:{start + size}]" for _, start, title, _, _ in cuts),
            tuple(number for number, *_ in cuts),
            size,
            False,
        )

    def split(self, share: float, seed: int) -> tuple[Sequences, Sequences]:
        """(training, validation): the same share of the sources of each class, at least one on either side.

        Windows of one clip or file never lie on both sides.

        Args:
            share: of the sources that are validated with, in (0, 1).
            seed: of the choice; the same seed chooses the same sources.

        Raises:
            UsageError: a share out of range, or a class that comes from one source only.
        """
        import numpy as np

        if not 0 < share < 1:
            raise UsageError("The share of validation sequences lies between 0 and 1.", received=share)
        label_of = dict(zip(self.sources, self.labels, strict=True))
        generator = np.random.default_rng([seed, 0x5E9])
        held: set[int] = set()
        for label, name in enumerate(self.names):
            mine = sorted(source for source, own in label_of.items() if own == label)
            if len(mine) < 2:
                raise UsageError(
                    f"The class {name!r} comes from one clip or file, which cannot be both trained and validated with.",
                    received=f"{name}: {len(mine)}",
                    hint="two or more of each class",
                )
            number = min(len(mine) - 1, max(1, round(share * len(mine))))
            held.update(generator.permutation(mine)[:number].tolist())
        inside = [n for n, source in enumerate(self.sources) if source in held]
        outside = [n for n, source in enumerate(self.sources) if source not in held]
        return self.take(outside), self.take(inside)

    def take(self, indices: Iterable[int]) -> Sequences:
        """Some of the sequences; classes, padded length and masking stay."""
        chosen = list(indices)
        return replace(
            self,
            items=tuple(self.items[n] for n in chosen),
            labels=tuple(self.labels[n] for n in chosen),
            titles=tuple(self.titles[n] for n in chosen),
            sources=tuple(self.sources[n] for n in chosen),
        )

    def as_folder(self) -> ClassFolder:
        """One path a sequence, its middle frame where it has frames, for what is written about pictures."""
        middle = [item[len(item) // 2] for item in self.items]
        shown = [
            step if isinstance(step, Path) else Path(title) for step, title in zip(middle, self.titles, strict=True)
        ]
        return ClassFolder(tuple(shown), self.labels, self.names)


def window_starts(length: int, size: int, hop: int) -> range:
    """Where whole windows of `size` steps begin in a sequence of `length`."""
    return range(0, length - size + 1, hop)
