"""ONNX's own backend test-suite through `converters.function`: every case, at the suite's own tolerances."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest

from converters.onnx.backend import FunctionBackend
from converters.onnx.cases import KINDS, Case, compare, load_cases
from converters.onnx.scoreboard import Outcome, main, run_case

#: Cases of onnx 1.23 by kind. A newer suite has more: then these numbers are raised.
CASES = {"node": 1884, "simple": 23, "pytorch-converted": 82, "pytorch-operator": 35, "real": 9}
#: Cases whose result ONNX leaves to a random generator; tests of the operators look at their distribution.
RANDOM = 10
#: The sample takes every so many cases.
STEP = 3


@cache
def every_case() -> tuple[Case, ...]:
    return tuple(load_cases())


def failures(outcomes: list[Outcome]) -> list[str]:
    return [f"{item.name}: {item.reason}" for item in outcomes if item.status == "fail"]


def test_the_suite_is_complete():
    assert Counter(case.kind for case in every_case()) == CASES
    assert tuple(CASES) == KINDS


def test_a_sample_of_the_suite_passes():
    sample = [case for case in every_case() if case.kind != "real"][::STEP]
    outcomes = [run_case(case) for case in sample]
    assert failures(outcomes) == []
    assert len(outcomes) >= (sum(CASES.values()) - CASES["real"]) // STEP


@pytest.mark.slow
def test_the_whole_suite_passes():
    outcomes = [run_case(case) for case in every_case()]
    assert failures(outcomes) == []
    assert Counter(item.status for item in outcomes) == {"pass": sum(CASES.values()) - RANDOM, "random": RANDOM}


def test_only_what_draws_random_numbers_is_compared_by_its_form():
    drawn = [case for case in every_case() if "bernoulli" in case.name or case.name.startswith("test_training_dropout")]
    statuses = {case.name: run_case(case).status for case in drawn}
    assert sum(status == "random" for status in statuses.values()) == RANDOM
    assert all(status == "pass" for name, status in statuses.items() if "zero_ratio" in name)


def test_a_wrong_result_fails():
    case = next(case for case in every_case() if case.name == "test_relu")
    inputs, expected = next(case.data())
    computed = FunctionBackend.prepare(case.model).run(inputs)
    compare(expected, computed, case.rtol, case.atol)
    for wrong in (computed[0] + 1e-2, computed[0].astype(np.float64), computed[0][:1], None):
        with pytest.raises(AssertionError):
            compare(expected, [wrong], case.rtol, case.atol)


def test_a_sequence_is_compared_element_by_element():
    wanted = [[np.zeros(2), np.ones(3)]]
    compare(wanted, [[np.zeros(2), np.ones(3)]], 1e-3, 1e-7)
    for wrong in ([np.zeros(2)], [np.zeros(2), np.zeros(3)], np.zeros(2)):
        with pytest.raises(AssertionError):
            compare(wanted, [wrong], 1e-3, 1e-7)


def test_the_scoreboard_prints_a_row_for_each_operator(capsys):
    assert main(["--filter", "^test_(trilu|tril|triu|nonzero_example)$|^test_tril_neg$"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:2]] == [["NonZero", "1", "/", "1"], ["Trilu", "3", "/", "3"]]
    assert lines[-1] == "function: 4 of 4 exact, 0 random (by distribution), 0 fail"
