"""Each single-node case of ONNX's suite once more, traced with every size of its float inputs open."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
import tensorflow as tf

from converters.function import load
from converters.function.values import NARROW, as_numpy
from converters.onnx.cases import Case, compare, load_cases
from converters.onnx.scoreboard import _draws

pytestmark = pytest.mark.slow

#: The expansion of AffineGrid chooses by an If between results of different rank.
_BY_RANK = ("AffineGrid",)


def _opened(model: onnx.ModelProto) -> onnx.ModelProto:
    opened = copy.deepcopy(model)
    del opened.graph.value_info[:]
    for item in [*opened.graph.input, *opened.graph.output]:
        tensor = item.type.tensor_type
        if tensor.elem_type in (onnx.TensorProto.INT32, onnx.TensorProto.INT64) and len(tensor.shape.dim) < 2:
            continue  # a vector of sizes or axes: its length is the rank of something
        for size in tensor.shape.dim:
            size.Clear()
    return opened


def _cases() -> Iterator[Case]:
    for case in load_cases():
        values = [*case.model.graph.input, *case.model.graph.output] if case.kind == "node" else []
        tensors = all(item.type.WhichOneof("value") == "tensor_type" for item in values)
        if values and tensors and case.operator not in _BY_RANK and not _draws(case):
            yield case


def _holds(case: Case) -> bool:
    """Whether the case has only types that a traced graph takes and gives; then it is compared."""
    function = load(_opened(case.model))
    for inputs, expected in case.data():
        arrays = [np.asarray(item) for item in (*inputs, *expected)]
        if any(array.dtype in NARROW or array.dtype.kind in "OUS" for array in arrays):
            return False
        names = (*function.input_names, *function.optional_names)
        fed = {name: tf.constant(item) for name, item in zip(names, inputs, strict=False)}
        signature = {}
        for name, tensor in fed.items():
            sizes = tensor.dtype in (tf.int32, tf.int64) and tensor.shape.rank < 2
            signature[name] = tf.TensorSpec(tensor.shape if sizes else [None] * tensor.shape.rank, tensor.dtype)
        outputs = tf.function(lambda given: function(given), input_signature=[signature])(fed)
        # Sums in another order: what is zero in the suite may be a rounding error here.
        compare(expected, [as_numpy(outputs[n]) for n in function.output_names], case.rtol, max(case.atol, 1e-5))
    return True


def test_no_case_needs_to_know_a_size_before_it_runs() -> None:
    failed, held = {}, 0
    for case in _cases():
        try:
            held += _holds(case)
        except Exception as error:
            failed[case.name] = f"{type(error).__name__}: {error}"[-300:]
    assert failed == {}
    assert held > 1500
