"""What Caffe itself computed: every layer case, the SSD fork, whole networks."""

from __future__ import annotations

import pytest

from converters.caffe.scoreboard import load_cases, run_case
from tests.data_folder import DATA, needs_data

COUNTS = {"cases": 237, "fork": 19, "nets": 31}
FOLDER = DATA / "caffe" if DATA is not None else None

#: Networks of more than 50 MB of weights.
BIG = ("full_alexnet", "full_vgg16", "full_resnet50", "full_googlenet", "caffenet_full_conv_s16")


def _cases(suite: str, big: bool = False) -> list:
    return [] if FOLDER is None else [case for case in load_cases(FOLDER, suite) if (case["id"] in BIG) == big]


@needs_data
@pytest.mark.parametrize("suite", COUNTS)
def test_the_suites_are_whole(suite):
    assert len(load_cases(FOLDER, suite)) == COUNTS[suite]


@needs_data
@pytest.mark.parametrize("column", ["function", "onnx"])
@pytest.mark.parametrize("suite", ["cases", "fork"])
def test_every_layer_case_is_caffes(suite, column):
    outcomes = [run_case(case, column) for case in _cases(suite)]
    assert len(outcomes) == COUNTS[suite]
    assert {item.name: item.reason for item in outcomes if item.status != "pass"} == {}


@needs_data
@pytest.mark.parametrize("case", _cases("nets"), ids=lambda case: case["id"])
def test_a_network_is_caffes(case):
    outcome = run_case(case)
    assert (outcome.status, outcome.reason) == ("pass", "")


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("case", _cases("nets", big=True), ids=lambda case: case["id"])
def test_a_network_of_full_size_is_caffes(case):
    outcome = run_case(case)
    assert (outcome.status, outcome.reason) == ("pass", "")
