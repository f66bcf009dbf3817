"""The table of faults is whole: each number has tests, and each test that it names is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.store.faults import FAULTS, GROUPS, TESTS, Outcomes, covers, group_of, rows


@pytest.fixture(scope="module")
def collected() -> list[str]:
    """The ids of all tests of the store and of registries, below tests/."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-m", ""]
    done = subprocess.run(
        [*command, "tests/store", "tests/registry"], cwd=TESTS.parent, capture_output=True, text=True, check=True
    )
    return [line.removeprefix("tests/") for line in done.stdout.splitlines() if "::" in line]


def test_the_numbers_are_those_from_1_to_64():
    assert list(FAULTS) == list(range(1, 65))
    borders = {number: group_of(number) for number in (1, 10, 11, 18, 19, 30, 31, 37, 38, 48, 49, 59, 60, 64)}
    assert list(borders.values()) == [name for name in GROUPS for _ in ("first", "last")]
    assert all(fault.tests for fault in FAULTS.values())


@pytest.mark.parametrize("number", FAULTS)
def test_a_fault_has_the_tests_that_the_table_names(collected, number):
    for pattern in FAULTS[number].tests:
        assert any(covers(pattern, test) for test in collected), pattern


def test_the_command_tells_failed_missing_and_skipped_faults_apart():
    outcomes = Outcomes()
    for fault in FAULTS.values():
        for pattern in fault.tests:
            outcomes.worst[pattern.replace("[[]", "[").replace("*", "x")] = "passed"
    assert {text.partition(" (")[0] for *_, text in rows(outcomes)} == {"survived"}
    outcomes.worst[FAULTS[9].tests[0]] = "failed"
    outcomes.worst[FAULTS[16].tests[0]] = "skipped"
    del outcomes.worst[FAULTS[33].tests[0]]
    said = {number: text for number, _, _, text in rows(outcomes) if not text.startswith("survived")}
    assert said == {
        9: "FAILED (1 of 1 tests)",
        16: "skipped here",
        33: "MISSING: a test of it was not found",
    }
