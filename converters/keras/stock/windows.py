"""Windows that slide over spatial axes: how ONNX pads them, and what of that Keras can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Window"]


@dataclass(frozen=True)
class Window:
    """A sliding window; all lists have one item a spatial axis.

    Attributes:
        sizes: of the input, None where dynamic.
        kernel: extent of the window, dilation included.
        strides: steps.
        begin, end: cells of padding.
        exact: False where the padding depends on a dynamic size in a way that only run time can tell.
    """

    sizes: tuple[int | None, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    auto: str = "NOTSET"
    exact: bool = True

    @classmethod
    def of(
        cls,
        sizes: Sequence[int | None],
        kernel: Sequence[int],
        strides: Sequence[int] | None,
        dilations: Sequence[int] | None,
        pads: Sequence[int] | None,
        auto_pad: str,
    ) -> Window:
        """From a node's attributes, with ONNX's defaults."""
        rank = len(kernel)
        steps = tuple(strides or [1] * rank)
        extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations or [1] * rank, strict=True))
        if auto_pad in ("NOTSET", ""):
            both = list(pads or [0] * (2 * rank))
            return cls(tuple(sizes), extent, steps, tuple(both[:rank]), tuple(both[rank:]))
        if auto_pad == "VALID":
            return cls(tuple(sizes), extent, steps, (0,) * rank, (0,) * rank)
        totals = [
            k - 1 if s == 1 else None if size is None else max((-(-size // s) - 1) * s + k - size, 0)
            for size, k, s in zip(sizes, extent, steps, strict=True)
        ]
        lower = [0 if t is None else (t // 2 if auto_pad == "SAME_UPPER" else t - t // 2) for t in totals]
        upper = [0 if t is None else t - low for t, low in zip(totals, lower, strict=True)]
        exact = None not in totals
        return cls(tuple(sizes), extent, steps, tuple(lower), tuple(upper), auto_pad, exact)

    @property
    def plain(self) -> bool:
        """Without any padding."""
        return self.exact and not any(self.begin) and not any(self.end)

    @property
    def same(self) -> bool:
        """Whether this is TensorFlow's padding "same", whatever a dynamic size turns out to be."""
        if self.auto == "SAME_UPPER":
            return True
        for size, k, s, low, high in zip(self.sizes, self.kernel, self.strides, self.begin, self.end, strict=True):
            if s == 1:
                total = k - 1
            elif size is None:
                return False
            else:
                total = max((-(-size // s) - 1) * s + k - size, 0)
            if (low, high) != (total // 2, total - total // 2):
                return False
        return self.exact

    def rounded_up(self) -> Window | None:
        """With enough padding at the end for ONNX's ceil_mode; None where only run time can tell."""
        end = list(self.end)
        for i, (size, k, s) in enumerate(zip(self.sizes, self.kernel, self.strides, strict=True)):
            low, high = self.begin[i], self.end[i]
            if s == 1:
                continue
            if size is None:
                if high or s > k:
                    return None
                end[i] = s - 1
                continue
            count = -(-(size + low + high - k) // s) + 1
            if (count - 1) * s >= size + low:  # a window that would lie in the padding altogether
                count -= 1
            end[i] = max(high, (count - 1) * s + k - size - low)
        return Window(self.sizes, self.kernel, self.strides, self.begin, tuple(end), self.auto, self.exact)
