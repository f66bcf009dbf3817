"""Shapes: what is known stays known, what is open stays open, and both give the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import numpy_helper, parser

from converters.function import load
from tests.converters.function.nodes import agrees

RANDOM = np.random.default_rng(7)
A = RANDOM.standard_normal((2, 3, 4)).astype(np.float32)


def graph(text: str, opset: int = 18, **weights: np.ndarray) -> onnx.ModelProto:
    """A model from ONNX's text form: `(inputs) => (outputs) { nodes }`."""
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]> net {text}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def traced(model: onnx.ModelProto, **shapes: Any) -> Callable[..., Any]:
    """The concrete function for inputs of these shapes, float32."""
    function = load(model)
    specs = {name: tf.TensorSpec(shape, tf.float32) for name, shape in shapes.items()}
    return tf.function(lambda feeds: function(feeds), input_signature=[specs], autograph=False).get_concrete_function()


OPERATORS = [
    ("Reshape", [A, np.array([0, -1])], 14, {"constant": [1]}),
    ("Reshape", [A, np.array([4, 0, -1])], 14, {"constant": [1]}),
    ("Reshape", [A, np.array([0, 2, 6])], 14, {}),
    ("Reshape", [A, np.array([-1, 8])], 5, {}),
    ("Reshape", [A[:0], np.array([0, 3, 4])], 14, {"constant": [1]}),
    ("Reshape", [A[:0], np.array([3, 4, 0])], 14, {"constant": [1], "allowzero": 1}),
    ("Flatten", [A], 13, {"axis": 0}),
    ("Flatten", [A], 13, {"axis": 2}),
    ("Flatten", [A], 13, {"axis": -1}),
    ("Squeeze", [A[:1, :, None]], 13, {}),
    ("Squeeze", [A[:1, :, None], np.array([0, -2])], 13, {}),
    ("Squeeze", [A[:1, :, None], np.array([0, -2])], 13, {"constant": [1]}),
    ("Squeeze", [A[:1]], 11, {"axes": [-3]}),
    ("Unsqueeze", [A, np.array([-1, 0, 2])], 13, {}),
    ("Unsqueeze", [A, np.array([-1, 0, 2])], 13, {"constant": [1]}),
    ("Unsqueeze", [A], 11, {"axes": [1, -1]}),
    ("Transpose", [A], 13, {}),
    ("Transpose", [A], 13, {"perm": [1, 0, 2]}),
    ("Expand", [A[:, :1], np.array([3, 1])], 13, {"constant": [1]}),
    ("Expand", [A[:, :1], np.array([5, 1, 3, 4])], 13, {}),
    ("Tile", [A, np.array([2, 1, 3])], 13, {}),
    ("Concat", [A, A[:1]], 13, {"axis": 0}),
    ("Concat", [A, A], 13, {"axis": -1}),
    ("Slice", [A, np.array([1]), np.array([2**63 - 1]), np.array([-1])], 13, {"constant": [1, 2, 3]}),
    ("Slice", [A, np.array([-1]), np.array([-(2**63)]), np.array([1]), np.array([-1])], 13, {"constant": [1, 2, 3, 4]}),
    ("Slice", [A, np.array([-1, 0]), np.array([-9, 9]), np.array([-2, 2]), np.array([-2, 3])], 13, {}),
    ("Slice", [A, np.array([1, 0]), np.array([5, -1])], 10, {}),
    ("Slice", [A], 9, {"starts": [0, 1], "ends": [-1, 1000], "axes": [2, 1]}),
    ("Split", [A], 18, {"outputs": 2, "num_outputs": 2, "axis": 1}),
    ("Split", [A, np.array([1, 3])], 13, {"outputs": 2, "axis": -1}),
    ("Split", [A], 11, {"outputs": 2, "axis": 0}),
    ("Split", [A], 11, {"outputs": 2, "axis": 2, "split": [3, 1]}),
    ("Pad", [A, np.array([0, 1, -1, 2, 0, -1]), np.array(7, np.float32)], 13, {"constant": [1]}),
    ("Pad", [A, np.array([0, 1, -1, 2, 0, -1]), np.array(7, np.float32)], 13, {}),
    ("Pad", [A, np.array([1, 2]), None, np.array([-1])], 18, {"constant": [1, 3]}),
    ("Pad", [A, np.array([1, 2]), None, np.array([-1])], 18, {}),
    ("Pad", [A, np.array([0, 2, 1, 1, 1, 3])], 13, {"constant": [1], "mode": "reflect"}),
    ("Pad", [A, np.array([0, 2, 1, 1, 5, 3])], 13, {"constant": [1], "mode": "edge"}),
    ("Pad", [A, np.array([0, 2, 1, 1, 1, 3])], 19, {"mode": "wrap"}),
    ("Pad", [A], 2, {"pads": [0, 1, 0, 0, 0, 2], "value": 0.5}),
    ("DepthToSpace", [RANDOM.standard_normal((2, 8, 3, 5)).astype(np.float32)], 13, {"blocksize": 2}),
    ("DepthToSpace", [RANDOM.standard_normal((2, 8, 3, 5)).astype(np.float32)], 13, {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", [RANDOM.standard_normal((2, 3, 4, 6)).astype(np.float32)], 13, {"blocksize": 2}),
    ("Gather", [A, np.array([[0, -1], [2, 1]])], 13, {"axis": 1}),
    ("Gather", [A, np.array(-1)], 13, {"axis": 2, "constant": [1]}),
    ("GatherElements", [A, np.array([[[0, -1]], [[2, 1]]])], 13, {"axis": 1}),
    ("GatherND", [A, np.array([[0, -1], [1, 2]])], 13, {}),
    ("GatherND", [A, np.array([[0], [-2]])], 13, {"batch_dims": 1}),
    ("ScatterElements", [A, np.array([[[0, -1]], [[2, 1]]]), A[:, :1, :2]], 18, {"axis": 1}),
    ("ScatterElements", [A, np.zeros((2, 2, 2), np.int64), A[:, :2, :2]], 18, {"axis": 1, "reduction": "mul"}),
    ("ScatterND", [A, np.array([[0, -1], [0, 2]]), A[0, :2]], 18, {"reduction": "add"}),
    ("ScatterND", [A, np.array([[0, 1], [0, 1]]), A[0, :2]], 18, {"reduction": "mul"}),
    ("ScatterND", [A, np.array([[0, 1], [0, 1]]), A[0, :2]], 18, {"reduction": "max"}),
    ("OneHot", [np.array([[1, -1], [7, 0]]), np.array([3]), np.array([5, 2], np.float32)], 11, {"axis": 1}),
    ("TopK", [A, np.array([2])], 11, {"outputs": 2, "axis": 1}),
    ("TopK", [A, np.array([2])], 11, {"outputs": 2, "axis": -1, "largest": 0, "constant": [1]}),
    ("TopK", [A], 1, {"outputs": 2, "axis": 0, "k": 1}),
    ("ArgMax", [np.round(A)], 13, {"axis": 2, "select_last_index": 1}),
    ("ArgMin", [np.round(A)], 13, {"axis": -2, "keepdims": 0}),
    ("Trilu", [A, np.array(1)], 14, {"upper": 1}),
    ("Trilu", [A, np.array(-1)], 14, {"upper": 0, "constant": [1]}),
    ("NonZero", [np.round(A)], 13, {}),
    ("Compress", [A, np.array([True, False, True])], 11, {"axis": 1}),
    ("Where", [A > 0, A, np.float32(3)], 16, {}),
    ("EyeLike", [A[0]], 9, {"k": 1}),
    ("Range", [np.float32(1), np.float32(0), np.float32(-0.3)], 11, {}),
    ("Range", [np.array(7), np.array(-1), np.array(-3)], 11, {}),
    ("ReverseSequence", [A, np.array([1, 2, 2])], 10, {"batch_axis": 1, "time_axis": 0}),
    ("Unique", [np.round(A)], 11, {"outputs": 4}),
    ("Unique", [np.round(A[:, :1] * 0.4)], 11, {"outputs": 4, "axis": 2}),
    ("Unique", [np.round(A)], 11, {"outputs": 4, "sorted": 0}),
]


@pytest.mark.parametrize(
    ("operator", "inputs", "opset", "options"),
    OPERATORS,
    ids=[f"{number}-{row[0]}-{row[2]}" for number, row in enumerate(OPERATORS)],
)
def test_with_every_size_open_it_agrees_with_onnxruntime(operator, inputs, opset, options):
    agrees(operator, [None if item is None else np.asarray(item) for item in inputs], opset, **options)


def test_shape_arithmetic_keeps_the_sizes_that_are_known():
    # What exporters write for x.view(x.size(0), -1, 3): the batch is open, the rest is known.
    function = traced(
        graph(
            """(float["N", 4, 6] x) => (float[] y) {
                s = Shape(x)
                n = Gather(s, zero)
                c = Gather(s, one)
                n1 = Unsqueeze(n, axis)
                c1 = Unsqueeze(c, axis)
                d = Mul(c1, two)
                target = Concat<axis = 0>(n1, d, three)
                y = Reshape(x, target)
            }""",
            zero=np.array(0),
            one=np.array(1),
            axis=np.array([0]),
            two=np.array([2]),
            three=np.array([3]),
        ),
        x=[None, 4, 6],
    )
    assert function.structured_outputs["y"].shape.as_list() == [None, 8, 3]
    assert function({"x": tf.zeros((5, 4, 6))})["y"].shape == (5, 8, 3)
    # The channels' size was computed while tracing: no multiplication is left.
    assert "Mul" not in {operation.type for operation in function.graph.get_operations()}


def test_a_copied_size_and_a_sliced_shape_stay_open():
    function = traced(
        graph(
            """(float["N", "H", "W", 2] x) => (float[] y, float[] z) {
                y = Reshape(x, copy)
                s = Shape(x)
                head = Slice(s, start, end)
                target = Concat<axis = 0>(head, rest)
                z = Reshape(x, target)
            }""",
            copy=np.array([0, -1, 2]),
            start=np.array([0]),
            end=np.array([2]),
            rest=np.array([-1]),
        ),
        x=[None, None, None, 2],
    )
    made = function({"x": tf.zeros((3, 5, 7, 2))})
    assert made["y"].shape == (3, 35, 2)
    assert made["z"].shape == (3, 5, 14)
    assert function.structured_outputs["y"].shape.as_list() == [None, None, 2]


def test_constant_of_shape_follows_an_open_batch():
    model = graph(
        """(float["N", 3] x) => (float[] y) {
            s = Shape(x)
            c = ConstantOfShape(s)
            y = Add(x, c)
        }"""
    )
    function = traced(model, x=[None, 3])
    assert function({"x": tf.ones((4, 3))})["y"].shape == (4, 3)


def test_gradients_pass_through_what_moves_elements():
    model = graph(
        """(float["N", 4] x) => (float[] y) {
            a = Gather<axis = 1>(w, i)
            b = Pad(a, p)
            c = Slice(b, start, end, axis)
            d = Transpose(c)
            y = MatMul(x, d)
        }""",
        w=RANDOM.standard_normal((3, 6)).astype(np.float32),
        i=np.array([0, 2, -1]),
        p=np.array([0, 1, 0, 0]),
        start=np.array([0]),
        end=np.array([4]),
        axis=np.array([1]),
    )
    function = load(model)
    assert [variable.shape for variable in function.trainable_variables] == [(3, 6)]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(function({"x": tf.ones((2, 4))})["y"])
    gradient = tape.gradient(loss, function.weights["w"])
    expected = np.zeros((3, 6), np.float32)
    expected[:, [0, 2, -1]] = 2.0  # each is read once, by two examples
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), expected)
