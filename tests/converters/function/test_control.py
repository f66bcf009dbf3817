"""If, Loop and Scan: decided in Python where that is possible, else by the graph; trainable in both."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf

from converters.function import GraphFunction, load
from converters.function.values import as_numpy


def function_of(text: str) -> GraphFunction:
    """The function of a model in ONNX's text form."""
    return load(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}'))


def traced(function: GraphFunction, **signature: tf.TensorSpec) -> Any:
    """The function under `tf.function` with this signature; the traced callable takes and gives dictionaries."""
    return tf.function(lambda fed: function(fed), input_signature=[signature])


NESTED_IF = """
nested (bool a, bool b, float[N] x) => (float[M] y) {
    double = Add (x, x)
    y = If (a) <
        then_branch = one () => (float[M] r) {
            r = If (b) <
                then_branch = two () => (float[M] s) { s = Add (double, x) },
                else_branch = three () => (float[M] t) { t = Concat <axis = 0> (double, x) }
            >
        },
        else_branch = four () => (float[M] u) { u = Neg (double) }
    >
}
"""


def test_a_nested_if_sees_the_values_outside() -> None:
    x = np.array([1.0, -2.0], np.float32)
    function = function_of(NESTED_IF)
    spec = tf.TensorSpec([], tf.bool)
    graph = traced(function, a=spec, b=spec, x=tf.TensorSpec([None], tf.float32))
    for a, b in ((True, True), (True, False), (False, True)):
        expected = np.concatenate([2 * x, x]) if a and not b else 3 * x if a else -2 * x
        fed = {"a": np.array(a), "b": np.array(b), "x": x}
        np.testing.assert_array_equal(function(fed)["y"], expected)
        np.testing.assert_array_equal(graph({name: tf.constant(v) for name, v in fed.items()})["y"], expected)


def test_branches_of_different_types_are_refused_where_the_condition_is_open() -> None:
    function = function_of("""
        kinds (bool a, seq(float[N]) x) => (seq(float[N]) y) {
            y = If (a) <
                then_branch = one () => (seq(float[N]) r) { r = Identity (x) },
                else_branch = two () => (seq(float[N]) s) { s = SequenceErase (x) }
            >
        }
    """)
    x = [np.ones(2, np.float32), np.zeros(2, np.float32)]
    assert len(function({"a": np.array(False), "x": x})["y"]) == 1
    graph = tf.function(lambda a: function({"a": a, "x": [tf.constant(item) for item in x]}))
    with pytest.raises(Exception, match=r"(?i)branch"):
        graph(tf.constant(True))


#: Doubles x and remembers it, until the trip count or a value above 100 ends it.
DOUBLING = """
doubling (int64 count, float[N] x) => (float[N] last, float[T, N] all) {
    true = Constant <value = bool {1}> ()
    bound = Constant <value = float {100.0}> ()
    last, all = Loop (count, true, x) <
        body = round (int64 i, bool go_in, float[N] v_in) => (bool go, float[N] v, float[N] seen) {
            v = Add (v_in, v_in)
            seen = Identity (v_in)
            top = ReduceMax <keepdims = 0> (v)
            go = Less (top, bound)
        }
    >
}
"""


def test_a_loop_ends_by_its_trip_count_or_its_condition() -> None:
    x = np.array([3.0, 1.0], np.float32)
    function = function_of(DOUBLING)
    graph = traced(function, count=tf.TensorSpec([], tf.int64), x=tf.TensorSpec([2], tf.float32))
    for count in (0, 1, 3, 20):
        rounds = min(count, 6)  # 3 * 2 ** 6 is the first above 100
        expected = np.array([x * 2**i for i in range(rounds)], np.float32).reshape(rounds, 2)
        for made in (
            function({"count": np.array(count), "x": x}),
            graph({"count": tf.constant(count, tf.int64), "x": tf.constant(x)}),
        ):
            np.testing.assert_array_equal(made["last"], x * 2**rounds)
            np.testing.assert_array_equal(made["all"], expected)


GROWING = """
growing (int64 count, float[N] x) => (float[M] y) {
    true = Constant <value = bool {1}> ()
    y = Loop (count, true, x) <
        body = round (int64 i, bool go_in, float[A] v_in) => (bool go, float[B] v) {
            go = Identity (go_in)
            v = Concat <axis = 0> (v_in, x)
        }
    >
}
"""


def test_a_state_may_change_its_shape_from_round_to_round() -> None:
    x = np.array([1.0, 2.0], np.float32)
    function = function_of(GROWING)
    graph = traced(function, count=tf.TensorSpec([], tf.int64), x=tf.TensorSpec([2], tf.float32))
    for count in (0, 4):
        expected = np.tile(x, count + 1)
        np.testing.assert_array_equal(function({"count": np.array(count), "x": x})["y"], expected)
        np.testing.assert_array_equal(
            graph({"count": tf.constant(count, tf.int64), "x": tf.constant(x)})["y"], expected
        )


SEQUENCES = """
sequences (float[N] x) => (float[M] y) {
    count = Constant <value = int64 {3}> ()
    true = Constant <value = bool {1}> ()
    none = SequenceEmpty <dtype = 1> ()
    filled = Loop (count, true, none) <
        body = round (int64 i, bool go_in, seq(float[N]) s_in) => (bool go, seq(float[N]) s) {
            go = Identity (go_in)
            factor = Cast <to = 1> (i)
            item = Mul (x, factor)
            s = SequenceInsert (s_in, item)
        }
    >
    y = ConcatFromSequence <axis = 0> (filled)
}
"""


def test_a_sequence_grows_in_a_loop_of_known_length() -> None:
    x = np.array([1.0, 2.0], np.float32)
    function = function_of(SEQUENCES)
    graph = traced(function, x=tf.TensorSpec([None], tf.float32))
    for made in (function({"x": x}), graph({"x": tf.constant(x)})):
        np.testing.assert_array_equal(made["y"], np.concatenate([0 * x, x, 2 * x]))


#: h = tanh(h w + x_t) along the second axis of x, backwards; the states come out along the last axis.
SCAN = """
rnn (float[H] h, float[H, T] x) => (float[H] last, float[H, T] all)
<float[3, 3] w = {0.1, -0.2, 0.3, 0.4, 0.5, -0.6, 0.7, 0.8, 0.9}> {
    last, all = Scan (h, x) <
        num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
        scan_output_axes = [-1], scan_output_directions = [1],
        body = round (float[H] h_in, float[H] x_t) => (float[H] h_out, float[H] seen) {
            p = MatMul (h_in, w)
            s = Add (p, x_t)
            h_out = Tanh (s)
            seen = Identity (h_out)
        }
    >
}
"""


@pytest.mark.parametrize("steps", [2, 30])
def test_a_scan_goes_along_any_axis_in_both_directions(steps: int) -> None:
    rng = np.random.default_rng(0)
    h, x = rng.normal(size=3).astype(np.float32), rng.normal(size=(3, steps)).astype(np.float32)
    w = np.array([[0.1, -0.2, 0.3], [0.4, 0.5, -0.6], [0.7, 0.8, 0.9]], np.float32)
    state, rows = h, []
    for step in reversed(range(steps)):
        state = np.tanh(state @ w + x[:, step])
        rows.append(state)
    function = function_of(SCAN)
    graph = traced(function, h=tf.TensorSpec([3], tf.float32), x=tf.TensorSpec([3, None], tf.float32))
    for made in (function({"h": h, "x": x}), graph({"h": tf.constant(h), "x": tf.constant(x)})):
        np.testing.assert_allclose(made["last"], state, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(made["all"], np.stack(rows[::-1], -1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("open_length", [False, True])
def test_a_weight_inside_a_scan_gets_its_gradient(open_length: bool) -> None:
    rng = np.random.default_rng(1)
    steps = 12
    h, x = (tf.constant(rng.normal(size=shape).astype(np.float32)) for shape in ((3,), (3, steps)))
    function = function_of(SCAN)
    (weight,) = function.trainable_variables

    def loss(h: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(function({"h": h, "x": x})["all"] ** 2)

    def gradient(h: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(h, x)
        return tape.gradient(value, weight)

    specs = [tf.TensorSpec([3], tf.float32), tf.TensorSpec([3, None if open_length else steps], tf.float32)]
    found = tf.function(gradient, input_signature=specs)(h, x).numpy()
    np.testing.assert_allclose(found, gradient(h, x), rtol=1e-4, atol=1e-5)
    start, step = weight.numpy(), 1e-2
    for place in ((0, 0), (1, 2)):
        values = []
        for sign in (1, -1):
            moved = start.copy()
            moved[place] += sign * step
            weight.assign(moved)
            values.append(float(loss(h, x)))
        np.testing.assert_allclose(found[place], (values[0] - values[1]) / (2 * step), rtol=2e-2, atol=1e-3)


def test_a_weight_inside_a_loop_of_open_length_gets_its_gradient() -> None:
    function = function_of("""
        power (int64 count, float[N] x) => (float[N] y) <float[2] w = {2.0, 3.0}> {
            true = Constant <value = bool {1}> ()
            y = Loop (count, true, x) <
                body = round (int64 i, bool go_in, float[N] v_in) => (bool go, float[N] v) {
                    go = Identity (go_in)
                    v = Mul (v_in, w)
                }
            >
        }
    """)
    (weight,) = function.trainable_variables

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)])
    def gradient(count: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(function({"count": count, "x": tf.constant([1.0, 1.0])})["y"])
        return tape.gradient(value, weight)

    # y = w ** n, its gradient n w ** (n - 1)
    np.testing.assert_allclose(gradient(tf.constant(3, tf.int64)), [12.0, 27.0], rtol=1e-6)


def test_the_members_of_a_batch_are_scanned_to_their_own_length() -> None:
    # Scan of opset 8: x (B, T, N), states (B, N); beyond a member's length stands zero.
    body = onnx.parser.parse_graph("""
        round (float[2] s_in, float[2] x_t) => (float[2] s, float[2] seen) {
            s = Add (s_in, x_t)
            seen = Identity (s)
        }
    """)
    node = onnx.helper.make_node("Scan", ["n", "s", "x"], ["last", "all"], num_scan_inputs=1, body=body)
    infos = [
        onnx.helper.make_tensor_value_info("n", onnx.TensorProto.INT64, ["B"]),
        onnx.helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, ["B", 2]),
        onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["B", "T", 2]),
    ]
    outs = [onnx.ValueInfoProto(name="last"), onnx.ValueInfoProto(name="all")]
    graph = onnx.helper.make_graph([node], "g", infos, outs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 8)], ir_version=3)
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    made = load(model)({"n": np.array([3, 1]), "s": np.zeros((2, 2), np.float32), "x": x})
    sums = np.cumsum(x, 1)
    np.testing.assert_array_equal(made["last"], [sums[0, 2], sums[1, 0]])
    np.testing.assert_array_equal(as_numpy(made["all"]), [sums[0], [sums[1, 0], [0, 0], [0, 0]]])
