"""Schedules: a number that changes with the steps of a run, such as the share of random actions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelzoo.errors import UsageError

__all__ = ["SHAPES", "Schedule"]

SHAPES = ("constant", "linear", "exponential")


@dataclass(frozen=True)
class Schedule:
    """From `start` to `end` in `steps` steps, and `end` from there on.

    Attributes:
        start: value at step 0.
        end: value from `steps` on.
        steps: environment steps in between; 0 = `end` at once.
        shape: `linear`; `exponential`, the same factor a step (both values positive); `constant`, always `start`.

    Raises:
        UsageError: an unknown shape, values that are no finite numbers, a negative number of steps.
    """

    start: float
    end: float
    steps: int
    shape: str = "linear"

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise UsageError("There is no such schedule.", received=repr(self.shape), hint=" | ".join(SHAPES))
        for name in ("start", "end"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise UsageError(f"The {name} of a schedule is a number.", received=repr(value))
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 0:
            raise UsageError("A schedule takes a number of steps from 0.", received=repr(self.steps))
        if self.shape == "exponential" and not (self.start > 0 and self.end > 0):
            raise UsageError("An exponential schedule goes between positive numbers.", received=repr(self))

    def __call__(self, step: int) -> float:
        """The value at a step, counted from 0."""
        if self.shape == "constant":
            return self.start
        if step >= self.steps:
            return self.end
        share = step / self.steps
        if self.shape == "exponential":
            return self.start * (self.end / self.start) ** share
        return self.start + (self.end - self.start) * share

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them."""
        return {"start": self.start, "end": self.end, "steps": self.steps, "shape": self.shape}

    @classmethod
    def from_dict(cls, raw: Any) -> Schedule:
        """A schedule from a description.

        Raises:
            UsageError: it is none.
        """
        if not isinstance(raw, Mapping) or not {"start", "end", "steps"} <= set(raw) <= {*cls.__dataclass_fields__}:
            raise UsageError("A schedule is described by start, end, steps and shape.", received=repr(raw)[:200])
        return cls(**raw)
