"""L-BFGS on functions whose minimum is known."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import UsageError
from modelzoo.style.lbfgs import LBFGS


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    bend = x[1:] - x[:-1] ** 2
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * bend - 2 * (1 - x[:-1])
    gradient[1:] += 200 * bend
    return float((100 * bend**2 + (1 - x[:-1]) ** 2).sum()), gradient


def start(dtype: str = "float64") -> np.ndarray:
    return np.full(30, -1.2, dtype)


def test_it_finds_the_minimum_of_a_curved_valley() -> None:
    lbfgs = LBFGS(rosenbrock, start(), first_step=0.1)
    while lbfgs.value > 1e-20 and lbfgs.steps < 500 and not lbfgs.converged:
        lbfgs.step()
    assert lbfgs.value <= 1e-20
    np.testing.assert_allclose(lbfgs.x, 1, atol=1e-8)
    assert lbfgs.evaluations < 1.5 * lbfgs.steps


def test_it_needs_no_more_evaluations_than_scipy() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="needs scipy")
    theirs = optimize.minimize(rosenbrock, start(), jac=True, method="L-BFGS-B", options={"maxcor": 10, "ftol": 1e-15})
    lbfgs = LBFGS(rosenbrock, start(), first_step=0.1)
    while lbfgs.value > theirs.fun and lbfgs.evaluations < 1.5 * theirs.nfev:
        lbfgs.step()
    assert lbfgs.value <= theirs.fun


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_quadratic_takes_few_steps_whatever_its_scale(scale: float) -> None:
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    matrix = basis @ np.diag([1, 2, 5, 10, 50, 100]) @ basis.T
    goal = rng.normal(size=(2, 3))

    def quadratic(x: np.ndarray) -> tuple[float, np.ndarray]:
        away = (x - goal).reshape(-1)
        return float(scale * away @ matrix @ away / 2), (scale * matrix @ away).reshape(x.shape)

    lbfgs = LBFGS(quadratic, np.zeros((2, 3)), first_step=0.5)
    for _ in range(40):
        lbfgs.step()
    np.testing.assert_allclose(lbfgs.x, goal, atol=1e-6)


def test_every_step_meets_the_strong_wolfe_conditions() -> None:
    lbfgs = LBFGS(rosenbrock, start(), first_step=0.1)
    for number in range(60):
        x, value, gradient = lbfgs.x, lbfgs.value, lbfgs.gradient
        lbfgs.step()
        move = lbfgs.x - x
        slope, after = move @ gradient, move @ lbfgs.gradient
        assert slope < 0
        assert lbfgs.value <= value + 1e-4 * slope * (1 - 1e-9), number
        assert abs(after) <= 0.9 * abs(slope) * (1 + 1e-9), number


def test_the_first_step_has_the_size_that_was_asked_for() -> None:
    seen = []

    def slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        seen.append(x)
        return float(1e-7 * x.sum()), np.full_like(x, 1e-7)

    LBFGS(slope, np.zeros(8), first_step=2.0).step()
    np.testing.assert_allclose(seen[1], -2.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("after", [0, 1, 7, 25])
def test_put_down_and_taken_up_gives_the_same_bits(dtype: str, after: int) -> None:
    whole = LBFGS(rosenbrock, start(dtype), memory=5)
    for _ in range(40):
        whole.step()
    first = LBFGS(rosenbrock, start(dtype), memory=5)
    for _ in range(after):
        first.step()
    second = LBFGS(rosenbrock, np.zeros(30, dtype), memory=5)
    second.restore({name: array.copy() for name, array in first.state().items()})
    for _ in range(40 - after):
        second.step()
    assert second.x.tobytes() == whole.x.tobytes()
    assert (second.value, second.steps, second.evaluations) == (whole.value, whole.steps, whole.evaluations)
    assert second.x.dtype == dtype


def test_a_step_never_ends_where_the_function_is_not_finite() -> None:
    def wall(x: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return float((x - np.log(x)).sum()), 1 - 1 / x  # NaN left of 0

    lbfgs = LBFGS(wall, np.array([0.01, 5.0]), first_step=30.0)
    values = [lbfgs.value]
    for _ in range(30):
        values.append(lbfgs.step())
    assert np.isfinite(values).all()
    assert values == sorted(values, reverse=True)
    np.testing.assert_allclose(lbfgs.x, 1, atol=1e-6)


def test_at_the_minimum_it_says_that_it_has_converged() -> None:
    lbfgs = LBFGS(lambda x: (float((x**2).sum()), 2 * x), np.zeros(3))
    assert lbfgs.step() == 0
    assert lbfgs.converged
    assert lbfgs.evaluations == 1


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="one pair"):
        LBFGS(rosenbrock, start(), memory=0)
    with pytest.raises(UsageError, match="not finite"):
        LBFGS(lambda x: (float("nan"), x), start())
