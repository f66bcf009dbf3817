"""Reductions with axes as attribute and as input, known and not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.converters.function.nodes import agrees, computed, normal, one_node

_NAMES = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


@pytest.mark.parametrize("name", _NAMES)
def test_reduction_over_axes_known_and_unknown(name: str) -> None:
    x = np.abs(normal(0, 2, 3, 4)) + 0.1
    agrees(f"Reduce{name}", [x], 11, axes=[0, -1], keepdims=0)
    agrees(f"Reduce{name}", [x, np.array([1, 2])], 18, keepdims=1, constant=(1,))
    agrees(f"Reduce{name}", [x, np.array([1])], 18, keepdims=0)


@pytest.mark.parametrize("name", ["LogSumExp", "Sum", "SumSquare"])
def test_no_axes_are_all_axes_or_none(name: str) -> None:
    x, none = normal(0, 2, 3), np.zeros(0, np.int64)
    (whole,) = computed(one_node(f"Reduce{name}", [x, none], 18), [x, none])
    assert whole.shape == (1, 1)
    (each,) = computed(one_node(f"Reduce{name}", [x, none], 18, noop_with_empty_axes=1), [x, none])
    np.testing.assert_allclose(each, np.square(x) if name == "SumSquare" else x, rtol=1e-5)


def test_mean_of_integers_is_cut_off() -> None:
    agrees("ReduceMean", [np.array([[1, 2, 2], [-1, -2, -2]], np.int32)], 13, axes=[1])


def test_maximum_of_truth_values_is_whether_any_is_true() -> None:
    x, axes = np.array([[True, False], [False, False]]), np.array([1])
    (got,) = computed(one_node("ReduceMax", [x, axes], 20, keepdims=0), [x, axes])
    np.testing.assert_array_equal(got, [True, False])
