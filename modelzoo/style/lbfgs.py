"""L-BFGS: quasi-Newton steps from the last few gradients, with a line search for the strong Wolfe conditions.

Nocedal and Wright, "Numerical Optimization", 2nd edition: algorithm 7.4 (two-loop recursion), 7.5 (L-BFGS), 3.5 and 3.6
(line search). The state between two steps is a handful of arrays, so that a run can be put down and taken up again:
from the same state come the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelzoo.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.floating]
    Evaluate = Callable[[Vector], tuple[float, Vector]]

__all__ = ["LBFGS"]

_DECREASE, _CURVATURE = 1e-4, 0.9
"""c1 and c2 of the strong Wolfe conditions; the book's values for quasi-Newton methods."""

_LONGEST_SEARCH = 20


class LBFGS:
    """A minimiser of a smooth function of many variables.

    Args:
        evaluate: x -> (value, gradient); the gradient has the shape and dtype of x.
        start: where to begin, any shape, float32 or float64; copied.
        memory: how many pairs of differences are kept; each takes twice the room of x.
        first_step: root mean square of the first change of x, before curvature is known.

    Attributes:
        x: the best point so far.
        value: of the function there.
        gradient: there.
        steps, evaluations: how many so far; the start counts as one evaluation.
        converged: no step makes the function smaller any more.

    Raises:
        UsageError: `memory` is below 1, or the function is not finite at the start.
    """

    def __init__(self, evaluate: Evaluate, start: Vector, *, memory: int = 10, first_step: float = 1.0) -> None:
        import numpy as np

        if memory < 1:
            raise UsageError("L-BFGS remembers one pair of differences or more.", received=memory)
        self._evaluate_at, self.memory, self.first_step = evaluate, memory, first_step
        self.x: Vector = np.array(start)
        self.steps = self.evaluations = 0
        self.converged = False
        self._moves: list[Vector] = []
        self._changes: list[Vector] = []
        self.value, self.gradient = self._evaluate(self.x)
        if not (np.isfinite(self.value) and np.isfinite(self.gradient).all()):
            raise UsageError("The function is not finite where L-BFGS begins.", received=self.value)

    def step(self) -> float:
        """Go one step, of one evaluation or a few; returns the value at the new point, which is never larger."""
        import numpy as np

        if self.converged:
            return self.value
        direction = self._direction()
        slope = _dot(direction, self.gradient)
        if self._moves and not slope < 0:
            self._forget()
            direction = self._direction()
            slope = _dot(direction, self.gradient)
        if not slope < 0:
            self.converged = True
            return self.value
        length = 1.0
        if not self._moves:
            length = self.first_step / max(float(np.sqrt(_dot(direction, direction) / direction.size)), 1e-30)
        found = self._search(direction, slope, length)
        if found is None:
            # Curvature of another region, or rounding: plain descent is tried before giving up.
            if not self._moves:
                self.converged = True
                return self.value
            self._forget()
            return self.step()
        x, value, gradient = found
        self._remember(x - self.x, gradient - self.gradient)
        self.x, self.value, self.gradient = x, value, gradient
        self.steps += 1
        return self.value

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on, as arrays."""
        import numpy as np

        kept: dict[str, Any] = {
            "x": self.x,
            "gradient": self.gradient,
            "value": np.array(self.value, np.float64),
            "counts": np.array([self.steps, self.evaluations, int(self.converged)], np.int64),
        }
        for number, (move, change) in enumerate(zip(self._moves, self._changes, strict=True)):
            kept[f"move/{number:03d}"], kept[f"change/{number:03d}"] = move, change
        return kept

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state of `state()`; the function is not evaluated."""
        import numpy as np

        # Copies: memory of the same alignment as in a run that was not interrupted, and nobody else's.
        self.x, self.gradient = np.array(state["x"]), np.array(state["gradient"])
        self.value = float(state["value"])
        self.steps, self.evaluations = (int(count) for count in state["counts"][:2])
        self.converged = bool(state["counts"][2])
        names = sorted(key.partition("/")[2] for key in state if key.startswith("move/"))
        self._moves = [np.array(state[f"move/{name}"]) for name in names]
        self._changes = [np.array(state[f"change/{name}"]) for name in names]

    def _evaluate(self, x: Vector) -> tuple[float, Vector]:
        self.evaluations += 1
        value, gradient = self._evaluate_at(x)
        return float(value), gradient

    def _direction(self) -> Vector:
        """Minus the inverse Hessian's estimate times the gradient: algorithm 7.4."""
        direction = -self.gradient
        if not self._moves:
            return direction
        shares = []
        for move, change in zip(reversed(self._moves), reversed(self._changes), strict=True):
            share = _dot(move, direction) / _dot(move, change)
            direction -= direction.dtype.type(share) * change
            shares.append(share)
        move, change = self._moves[-1], self._changes[-1]
        direction *= direction.dtype.type(_dot(move, change) / _dot(change, change))
        for move, change, share in zip(self._moves, self._changes, reversed(shares), strict=True):
            direction += direction.dtype.type(share - _dot(change, direction) / _dot(move, change)) * move
        return direction

    def _remember(self, move: Vector, change: Vector) -> None:
        # Only positive curvature keeps the estimate positive definite; rounding can spoil it.
        if _dot(move, change) > 1e-8 * (_dot(move, move) * _dot(change, change)) ** 0.5:
            self._moves.append(move)
            self._changes.append(change)
            del self._moves[: -self.memory], self._changes[: -self.memory]

    def _forget(self) -> None:
        self._moves, self._changes = [], []

    def _search(self, direction: Vector, slope: float, length: float) -> tuple[Vector, float, Vector] | None:
        """A point along `direction` that meets the strong Wolfe conditions, else the best that makes f smaller."""
        best: tuple[Vector, float, Vector] | None = None
        low = (0.0, self.value, slope)
        high: tuple[float, float, float] | None = None
        for _ in range(_LONGEST_SEARCH):
            x = self.x + self.x.dtype.type(length) * direction
            value, gradient = self._evaluate(x)
            here = (length, value, _dot(gradient, direction) if value == value else float("nan"))
            enough = value <= self.value + _DECREASE * length * slope  # False of NaN
            if enough and (best is None or value < best[1]):
                best = (x, value, gradient)
            if enough and abs(here[2]) <= -_CURVATURE * slope:
                return x, value, gradient
            if not enough or value >= low[1] or here[2] != here[2]:
                high = here  # too far
            else:
                if here[2] * (1.0 if high is None else high[0] - low[0]) >= 0:
                    high = low  # past the minimum
                low = here
            if high is None:
                length *= 4.0  # still going down steeply
                continue
            width = abs(high[0] - low[0])
            if width <= 1e-9 * max(high[0], low[0]):
                break
            length = _between(low, high)
        return best


def _between(low: tuple[float, float, float], high: tuple[float, float, float]) -> float:
    """Minimum of the cubic through two points and slopes (equation 3.59), kept off the ends of the interval."""
    a, value_a, slope_a = low
    b, value_b, slope_b = high
    least, most = min(a, b), max(a, b)
    guess = (a + b) / 2
    if value_b == value_b and slope_b == slope_b and abs(value_b) != float("inf"):
        d1 = slope_a + slope_b - 3 * (value_a - value_b) / (a - b)
        inside = d1 * d1 - slope_a * slope_b
        if inside >= 0:
            d2 = inside**0.5 if b > a else -(inside**0.5)
            bottom = slope_b - slope_a + 2 * d2
            if bottom != 0:
                guess = b - (b - a) * (slope_b + d2 - d1) / bottom
    margin = 0.1 * (most - least)
    return min(max(guess, least + margin), most - margin)


def _dot(one: Vector, other: Vector) -> float:
    import numpy as np

    return float(np.dot(one.reshape(-1), other.reshape(-1)))
