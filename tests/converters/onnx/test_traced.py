"""The same test-suite under `tf.function`, the first size of every input open: what works eagerly works in a graph."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import tensorflow as tf

from converters.function import load
from converters.function.values import as_numpy, as_tensor
from converters.onnx.cases import Case, compare, load_cases
from converters.onnx.scoreboard import run_case

#: What a graph cannot do, since how many elements a sequence has must be known while tracing.
EAGER_ONLY = {
    "test_if_opt",
    "test_loop13_seq",
    "test_loop16_seq_none",
    "test_sequence_insert_at_front",
    "test_sequence_model7",
    "test_split_to_sequence_1",
}
#: Here the rank follows from a fed size that is open.
RANK_OPEN = {
    "test_affine_grid_2d_align_corners_expanded",
    "test_affine_grid_2d_expanded",
}


def feeds_of(value: Any) -> Any:
    if isinstance(value, list):
        return [feeds_of(item) for item in value]
    return as_tensor(value)


def signature(value: Any) -> Any:
    if isinstance(value, list):
        return [signature(item) for item in value]
    shape = value.shape.as_list()
    # The length of a vector of integers is how many axes or sizes it names.
    keep = len(shape) == 0 or (len(shape) == 1 and value.dtype == tf.int64)
    return tf.TensorSpec(shape if keep else [None, *shape[1:]], value.dtype)


def restored(wanted: Any, got: Any) -> Any:
    if isinstance(wanted, list):
        return [restored(w, g) for w, g in zip(wanted, got, strict=True)]
    got = as_numpy(got)
    # Outside of a graph these are ml_dtypes; inside, wider types hold them.
    return got.astype(wanted.dtype) if wanted is not None and wanted.dtype.kind == "V" else got


def run_traced(case: Case) -> None:
    function = load(case.model)
    names = (*function.input_names, *function.optional_names)
    for inputs, expected in case.data():
        given = zip(names, inputs, strict=False)
        feeds = {name: feeds_of(value) for name, value in given if value is not None}  # left out means None
        signatures = {name: signature(value) for name, value in feeds.items()}
        traced = tf.function(lambda fed: function(fed), input_signature=[signatures], autograph=False)
        outputs = traced(feeds)
        computed = [restored(w, outputs[name]) for w, name in zip(expected, function.output_names, strict=True)]
        compare(expected, computed, case.rtol, case.atol)


@cache
def every_case() -> tuple[Case, ...]:
    drawn = ("bernoulli", "training_dropout")
    return tuple(case for case in load_cases() if not any(word in case.name for word in drawn))


def failures(cases: list[Case]) -> dict[str, str]:
    found = {}
    for case in cases:
        try:
            run_traced(case)
        except Exception as error:
            found[case.name] = f"{type(error).__name__}: {error}"[:300]
    return found


def test_a_sample_runs_traced():
    sample = [case for case in every_case() if case.kind != "real" and case.name not in EAGER_ONLY | RANK_OPEN][::12]
    assert len(sample) > 150
    assert failures(sample) == {}


@pytest.mark.slow
def test_the_whole_suite_runs_traced():
    assert set(failures(list(every_case()))) == EAGER_ONLY | RANK_OPEN


@pytest.mark.parametrize("name", sorted(EAGER_ONLY))
def test_what_no_graph_can_do_is_refused_with_the_reason(name):
    from modelzoo import errors

    case = next(case for case in every_case() if case.name == name)
    with pytest.raises((errors.UnsupportedOperatorError, errors.InvalidGraphError), match="while tracing"):
        run_traced(case)
    assert run_case(case).status == "pass"
