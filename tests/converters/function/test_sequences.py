"""Sequences and optionals: lists and None, eagerly and, as far as their lengths are known, in a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import parser

from converters.function import GraphFunction, load
from modelzoo import errors

X = np.arange(12, dtype=np.float32).reshape(4, 3)


def function(text: str, opset: int = 18) -> GraphFunction:
    return load(parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]> net {text}'))


def in_graph(made: GraphFunction, feeds: dict[str, Any]) -> dict[str, Any]:
    return tf.function(lambda fed: made(fed), autograph=False)({k: tf.constant(v) for k, v in feeds.items()})


def test_a_sequence_comes_out_as_a_list():
    made = function("(float[N, 3] x) => (seq(float[3]) y) { y = SplitToSequence<axis = 0, keepdims = 0>(x) }")
    assert [item.shape for item in made({"x": X})["y"]] == [(3,)] * 4


def test_a_sequence_goes_in_as_a_list():
    made = function("(seq(float[M]) s) => (float[] y) { y = ConcatFromSequence<axis = 0>(s) }")
    np.testing.assert_array_equal(made({"s": [X[0], X[1, :2]]})["y"], [0, 1, 2, 3, 4])
    with pytest.raises(errors.ArrayError, match="'s' is a sequence"):
        made({"s": X})


EDITS = """(float[N, 3] x, int64[] p) => (seq(float[N, 3]) y, int64[] n) {
    e = SequenceEmpty()
    n1 = Neg(x)
    a = SequenceInsert(e, x)
    b = SequenceInsert(a, n1, p)
    c = SequenceInsert(b, x)
    y = SequenceErase(c, p)
    n = SequenceLength(c)
}"""


def test_elements_are_inserted_and_erased_at_negative_places_too():
    made = function(EDITS)({"x": X, "p": np.array(-1)})
    assert made["n"] == 3
    # [x] -> [-x, x] -> [-x, x, x] -> without the last one
    np.testing.assert_array_equal(np.stack(made["y"]), [-X, X])


def test_a_place_that_is_not_known_while_tracing_is_refused():
    with pytest.raises(errors.InvalidGraphError, match=r"SequenceInsert.*known while tracing"):
        in_graph(function(EDITS), {"x": X, "p": np.array(-1)})


def test_a_place_outside_of_the_sequence_is_refused():
    made = function("(float[N, 3] x, int64[] p) => (float[] y) { s = SequenceConstruct(x, x) y = SequenceAt(s, p) }")
    with pytest.raises(errors.InvalidGraphError, match="position 2 of a sequence of 2"):
        made({"x": X, "p": np.array(2)})
    with pytest.raises(tf.errors.InvalidArgumentError, match="outside of the sequence"):
        in_graph(made, {"x": X, "p": np.array(-3)})


def test_an_element_may_be_picked_by_a_place_that_is_computed():
    text = """(float[N, 3] x, int64[] p) => (float[] y) {
        f = Flatten<axis = 0>(x)
        s = SequenceConstruct(x, f)
        y = SequenceAt(s, p)
    }"""
    made = function(text)
    for place, expected in ((0, X), (-1, X.reshape(1, 12))):
        np.testing.assert_array_equal(in_graph(made, {"x": X, "p": np.array(place)})["y"], expected)


def test_a_loop_may_build_a_sequence_when_its_rounds_are_known():
    text = """(float[N, 3] x) => (seq(float[N, 3]) y) {
        n = Constant<value_int = 20>()
        e = SequenceEmpty()
        y = Loop<body = round (int64 i, bool c, seq(float[N, 3]) s) => (bool d, seq(float[N, 3]) t) {
            d = Identity(c)
            f = CastLike(i, x)
            z = Mul(x, f)
            t = SequenceInsert(s, z)
        }>(n, , e)
    }"""
    made = function(text)
    for out in (made({"x": X}), in_graph(made, {"x": X})):
        np.testing.assert_array_equal(np.stack(out["y"]), np.arange(20)[:, None, None] * X)


def test_a_loop_that_builds_a_sequence_of_unknown_length_works_eagerly_only():
    text = """(float[N, 3] x, int64 n) => (seq(float[N, 3]) y) {
        e = SequenceEmpty()
        y = Loop<body = round (int64 i, bool c, seq(float[N, 3]) s) => (bool d, seq(float[N, 3]) t) {
            d = Identity(c)
            t = SequenceInsert(s, x)
        }>(n, , e)
    }"""
    made = function(text)
    assert len(made({"x": X, "n": np.array(3)})["y"]) == 3
    with pytest.raises(errors.UnsupportedOperatorError, match="length of a sequence") as caught:
        in_graph(made, {"x": X, "n": np.array(3)})
    assert "eagerly" in str(caught.value)


def test_a_body_runs_on_each_element_of_a_sequence():
    text = """(seq(float[M]) s, float[] t) => (seq(float[M]) y, seq(float[]) z) {
        y, z = SequenceMap<body = each (float[M] a, float[] b) => (float[M] c, float[] d) {
            c = Add(a, b)
            d = ReduceSum<keepdims = 0>(a)
        }>(s, t)
    }"""
    made = function(text)({"s": [X[0], X[1, :2]], "t": np.float32(10)})
    np.testing.assert_array_equal(made["y"][1], [13, 14])
    np.testing.assert_array_equal(made["z"], [3, 7])


def test_an_optional_may_be_none():
    text = """(optional(float[N]) o) => (bool[] h) { h = OptionalHasElement(o) }"""
    model = onnx.ModelProto.FromString(
        parser.parse_model(f'<ir_version: 9, opset_import: ["" : 18]> net {text}').SerializeToString()
    )
    made = load(model)
    assert not made({"o": None})["h"]
    assert not made({})["h"]
    assert made({"o": np.ones(2, np.float32)})["h"]


def test_an_absent_optional_comes_out_as_none():
    kind = onnx.helper.make_optional_type_proto(onnx.helper.make_tensor_type_proto(1, None))
    node = onnx.helper.make_node("Optional", [], ["o"], type=kind.optional_type.elem_type)
    graph = onnx.helper.make_graph([node], "net", [], [onnx.helper.make_value_info("o", kind)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    assert load(model)({}) == {"o": None}
