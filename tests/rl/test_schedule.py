"""Schedules."""

from __future__ import annotations

import math

import pytest

from modelzoo.errors import UsageError
from modelzoo.rl.schedule import Schedule


@pytest.mark.parametrize(
    "schedule,values",
    [
        (Schedule(1.0, 0.1, 10), {0: 1.0, 5: 0.55, 10: 0.1, 99: 0.1}),
        (Schedule(1.0, 0.01, 10, "exponential"), {0: 1.0, 5: 0.1, 10: 0.01, 11: 0.01}),
        (Schedule(0.3, 0.1, 10, "constant"), {0: 0.3, 100: 0.3}),
        (Schedule(1.0, 0.2, 0), {0: 0.2}),
        (Schedule(0.2, 1.0, 4), {0: 0.2, 1: 0.4, 4: 1.0}),
    ],
)
def test_values(schedule, values):
    for step, value in values.items():
        assert math.isclose(schedule(step), value, rel_tol=1e-12)
    assert Schedule.from_dict(schedule.as_dict()) == schedule


@pytest.mark.parametrize(
    "make",
    [
        lambda: Schedule(1, 0, 10, "cosine"),
        lambda: Schedule(math.nan, 0, 10),
        lambda: Schedule(1, 0, -1),
        lambda: Schedule(1, 0, 2.5),
        lambda: Schedule(1, 0, 10, "exponential"),
        lambda: Schedule(True, 0, 10),
        lambda: Schedule.from_dict({"start": 1}),
        lambda: Schedule.from_dict({"start": 1, "end": 0, "steps": 2, "curve": 1}),
        lambda: Schedule.from_dict(None),
    ],
)
def test_what_makes_no_sense(make):
    with pytest.raises(UsageError):
        make()
