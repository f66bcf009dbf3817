"""Windows that slide over the spatial axes of (N, C, spatial...): where they stand, and how the input is padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

__all__ = ["Window", "first", "last", "sizes_of", "window"]

#: A size: an int where it is known while tracing, else an int32 scalar.
Size = Any


@dataclass(frozen=True)
class Window:
    """A sliding window; every list has one item a spatial axis.

    Attributes:
        sizes: of the input.
        kernel: number of taps.
        strides, dilations: steps between windows, and between the taps of one.
        begin, end: cells of padding; negative ones cut the input.
        beyond: cells behind the padding that the last window of ceil_mode reaches.
        counts: how many windows there are.
    """

    sizes: tuple[Size, ...]
    kernel: tuple[Size, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[Size, ...]
    end: tuple[Size, ...]
    beyond: tuple[Size, ...]
    counts: tuple[Size, ...]
    auto: str = "NOTSET"

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def extent(self) -> tuple[Size, ...]:
        """Cells from the first to the last tap."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def reach(self) -> tuple[Size, ...]:
        """Cells behind the input that windows may cover."""
        return tuple(high + more for high, more in zip(self.end, self.beyond, strict=True))

    @property
    def plain(self) -> bool:
        """Whether no window leaves the input."""
        return all(isinstance(n, int) and n == 0 for n in (*self.begin, *self.reach))

    def padding(self) -> str | list[list[int]] | None:
        """The same padding in TensorFlow's words, spatial axes in the middle; None where only `padded` can tell."""
        if self.plain:
            return "VALID"
        if self.auto == "SAME_UPPER":
            return "SAME"
        if not all(isinstance(n, int) and n >= 0 for n in (*self.begin, *self.reach)):
            return None
        if all(
            isinstance(have, int)
            and isinstance(k, int)
            and low == max((-(-have // s) - 1) * s + k - have, 0) // 2
            and low + high == max((-(-have // s) - 1) * s + k - have, 0)
            for have, k, s, low, high in zip(self.sizes, self.extent, self.strides, self.begin, self.reach, strict=True)
        ):
            return "SAME"
        return [[0, 0], *([low, high] for low, high in zip(self.begin, self.reach, strict=True)), [0, 0]]

    def padded(self, x: tf.Tensor, value: Any = 0) -> tf.Tensor:
        """`x` (N, spatial..., C) with the padding's cells of `value` around it."""
        if self.plain:
            return x
        amounts = [[0, 0], *([low, high] for low, high in zip(self.begin, self.reach, strict=True)), [0, 0]]
        if all(isinstance(n, int) for pair in amounts for n in pair) and min(map(min, amounts)) < 0:
            cut = tuple(slice(max(-low, 0), -max(-high, 0) or None) for low, high in amounts)
            x, amounts = x[cut], [[max(low, 0), max(high, 0)] for low, high in amounts]
        return tf.pad(x, amounts, constant_values=tf.cast(value, x.dtype))


def sizes_of(x: Any, axis: int) -> list[Size]:
    """The sizes of the axes of `x` from `axis` on, numbers where they are known."""
    shape = list(x.shape)[axis:]
    return [int(have) if have is not None else tf.shape(x)[axis + i] for i, have in enumerate(shape)]


def window(
    x: tf.Tensor,
    kernel: Sequence[Size],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str,
    ceil_mode: int = 0,
) -> Window:
    """The window of a node with these attributes over `x` (N, C, spatial...)."""
    rank = len(kernel)
    sizes = sizes_of(x, 2)
    steps, spread = list(strides or [1] * rank), list(dilations or [1] * rank)
    begin: list[Size]
    end: list[Size]
    begin, end, beyond, counts = [], [], [], []
    for i, size in enumerate(sizes):
        extent, step = (kernel[i] - 1) * spread[i] + 1, steps[i]
        low: Size = 0
        high: Size = 0
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            total = _at_least((-(-size // step) - 1) * step + extent - size, 0)
            low = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            high = total - low
        elif auto_pad in ("NOTSET", "") and pads:
            low, high = pads[i], pads[rank + i]
        more: Size = 0
        spare = size + low + high - extent
        count = spare // step + 1
        if ceil_mode and auto_pad in ("NOTSET", ""):
            count = -(-spare // step) + 1
            # A window that would start in the padding behind the input is left out.
            late = (count - 1) * step >= size + low
            count = count - int(late) if isinstance(late, bool) else count - tf.cast(late, count.dtype)
            more = _at_least((count - 1) * step - spare, 0)
        begin.append(low)
        end.append(high)
        beyond.append(more)
        counts.append(count)
    return Window(
        tuple(sizes),
        tuple(kernel),
        tuple(steps),
        tuple(spread),
        tuple(begin),
        tuple(end),
        tuple(beyond),
        tuple(counts),
        auto_pad,
    )


def _at_least(value: Size, least: int) -> Size:
    return max(value, least) if isinstance(value, int) else tf.maximum(value, least)


def last(x: tf.Tensor) -> tf.Tensor:
    """(N, C, spatial...) -> (N, spatial..., C)."""
    rank = x.shape.rank
    return tf.transpose(x, (0, *range(2, rank), 1))


def first(x: tf.Tensor) -> tf.Tensor:
    """(N, spatial..., C) -> (N, C, spatial...)."""
    rank = x.shape.rank
    return tf.transpose(x, (0, rank - 1, *range(1, rank - 1)))
