"""Frozen graphs give what a session gives, any tensor is a tap, and their constants train."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from converters.tensorflow import load
from modelzoo import errors
from tests.converters.tensorflow.graphs import (
    branches,
    convnet,
    frozen,
    graph_of,
    loop,
    random,
    session_values,
    v1,
    write,
)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return frozen(convnet, tmp_path_factory.mktemp("graphs") / "net.pb")


def test_inputs_outputs_and_values_are_the_session_s(network):
    graph = load(network)
    assert graph.input_names == ("x",)
    assert graph.output_names == ("probabilities",)
    x = random(3, 8, 8, 3)
    wanted = session_values(network, {"x": x}, ["probabilities"])
    np.testing.assert_allclose(graph({"x": x})["probabilities"], wanted["probabilities"], atol=1e-6)
    np.testing.assert_allclose(graph(x)["probabilities"], wanted["probabilities"], atol=1e-6)


def test_every_tensor_is_listed_in_order_and_is_a_tap(network):
    graph = load(network)
    x = random(2, 8, 8, 3)
    names = [item.name for item in graph.tensors]
    definition = v1.GraphDef.FromString(network.read_bytes())
    assert [name for name in names if ":" not in name] == [node.name for node in definition.node]
    # The normalisation's fifth output is its kernels' own affair.
    assert [item.name for item in graph.tensors if item.shape is None] == ["norm/FusedBatchNorm:5"]
    assert all(item.dtype and not item.inner for item in graph.tensors)
    by_name = {item.name: item for item in graph.tensors}
    assert by_name["conv/Relu"].shape == (None, 4, 4, 4)
    names = [name for name in names if not name.startswith("norm/FusedBatchNorm:")]
    wanted = session_values(network, {"x": x}, names)
    got = graph(x, outputs=names)
    assert list(got) == names
    for name in names:
        np.testing.assert_allclose(got[name], wanted[name], atol=1e-4, err_msg=name)


def test_a_tap_may_be_asked_for_with_the_number_of_its_output(network):
    graph = load(network)
    got = graph(random(1, 8, 8, 3), outputs=["conv/Relu:0", "conv/Relu"])
    np.testing.assert_array_equal(got["conv/Relu:0"], got["conv/Relu"])
    with pytest.raises(errors.UnknownTapError, match="conv/Relu"):
        graph(random(1, 8, 8, 3), outputs=["conv/Rely"])
    with pytest.raises(errors.UnknownTapError):
        graph(random(1, 8, 8, 3), outputs=["conv/Relu:1"])


def test_large_float_constants_are_variables_and_averages_are_not_trained(network):
    graph = load(network)
    assert list(graph.weights) == ["conv/weights", "dense/kernel"]
    wide = frozen(lambda: batch_norm(32), network.with_name("wide.pb"))
    weights = load(wide).weights
    assert {name: weight.trainable for name, weight in weights.items()} == {
        "gamma": True,
        "beta": True,
        "mean": False,
        "variance": False,
    }


def batch_norm(width: int) -> None:
    x = v1.placeholder(tf.float32, [None, 2, 2, width], name="x")
    values = {name: tf.constant(np.abs(random(width)) + 1, name=name) for name in ("gamma", "beta", "mean", "variance")}
    v1.nn.fused_batch_norm(
        x,
        values["gamma"],
        values["beta"],
        mean=tf.identity(values["mean"]),
        variance=values["variance"],
        is_training=False,
        name="y",
    )


def step(graph, feeds, rate=0.05):
    """Loss before and after one step of gradient descent, and the gradients."""

    def loss():
        values = [value for value in graph(feeds).values() if value.dtype.is_floating]
        return tf.add_n([tf.reduce_sum(tf.square(value)) for value in values])

    with tf.GradientTape() as tape:
        before = loss()
    gradients = tape.gradient(before, graph.trainable_variables)
    for variable, gradient in zip(graph.trainable_variables, gradients, strict=True):
        variable.assign_sub(rate * gradient)
    return float(before), float(loss()), gradients


@pytest.mark.parametrize(
    ("build", "feeds"),
    [
        (convnet, {"x": random(4, 8, 8, 3)}),
        (loop, {"x": random(3, 5, 4)}),
        (branches, {"x": np.full((2, 4), 0.5, np.float32), "limit": np.float32(1)}),
        (branches, {"x": np.full((2, 4), 0.5, np.float32), "limit": np.float32(3)}),
        (branches, {"x": np.full((2, 4), 0.5, np.float32), "limit": np.float32(5)}),
    ],
    ids=["convnet", "loop", "branch-both", "branch-outer", "branch-none"],
)
def test_control_flow_of_tensorflow_1_gives_the_session_s_values_and_trains(tmp_path, build, feeds):
    path = frozen(build, tmp_path / "net.pb")
    graph = load(path)
    wanted = session_values(path, feeds, list(graph.output_names))
    for name, value in graph(feeds).items():
        np.testing.assert_allclose(value, wanted[name], atol=1e-5, err_msg=name)
    before, after, gradients = step(graph, feeds, rate=1e-3)
    assert all(gradient is not None for gradient in gradients)
    assert after < before


def test_gradients_through_a_loop_are_those_of_finite_differences(tmp_path):
    graph = load(frozen(loop, tmp_path / "net.pb"), outputs=["last"])
    x = random(2, 5, 4)
    kernel = graph.weights["kernel"]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(graph(x)["last"])
    gradient = tape.gradient(loss, kernel).numpy()
    start = kernel.numpy()
    for place in [(0, 0), (3, 4), (1, 2)]:
        values = []
        for sign in (1, -1):
            moved = start.copy()
            moved[place] += sign * 1e-2
            kernel.assign(moved)
            values.append(float(tf.reduce_sum(graph(x)["last"])))
        assert gradient[place] == pytest.approx((values[0] - values[1]) / 2e-2, abs=2e-3)


def test_a_tensor_inside_a_loop_is_no_tap(tmp_path):
    graph = load(frozen(loop, tmp_path / "net.pb"))
    inner = [item.name for item in graph.tensors if item.inner]
    assert any(name.endswith("Tanh") for name in inner)
    with pytest.raises(errors.ConversionError, match="inside a loop"):
        graph(random(1, 5, 4), outputs=[next(name for name in inner if name.endswith("Tanh"))])


def test_any_tensor_can_be_fed_and_cuts_the_graph(network):
    graph = load(network)
    flat = random(2, 16)
    wanted = session_values(network, {"flat": flat}, ["probabilities"])["probabilities"]
    np.testing.assert_allclose(graph({"flat": flat})["probabilities"], wanted, atol=1e-6)
    cut = load(network, inputs=["flat"])
    assert cut.input_names == ("flat",)
    assert list(cut.weights) == ["dense/kernel"]
    np.testing.assert_allclose(cut(flat)["probabilities"], wanted, atol=1e-6)


def test_outputs_cut_the_graph(network):
    graph = load(network, outputs=["conv/Relu", "logits:0"])
    assert graph.output_names == ("conv/Relu", "logits:0")
    assert "probabilities" not in [item.name for item in graph.tensors]


def test_declared_shapes_may_be_changed(network):
    graph = load(network, inputs={"x": (2, 8, 8, 3)})
    assert {item.name: item.shape for item in graph.tensors}["logits"] == (2, 5)
    with pytest.raises(errors.ArrayError, match="shape"):
        graph(random(3, 8, 8, 3))
    with pytest.raises(errors.InvalidGraphError):
        load(network, inputs={"x": (2, 8, 8, 4)})


@pytest.mark.parametrize(
    ("feeds", "error"),
    [
        ({}, errors.UsageError),
        ({"x": random(2, 8, 8, 3).astype(np.float64)}, errors.ArrayError),
        ({"x": random(2, 8, 8)}, errors.ArrayError),
        ({"x": random(2, 9, 8, 3)}, errors.ArrayError),
        ({"y": random(2, 8, 8, 3)}, errors.UnknownTapError),
        ({"x": "text"}, errors.ArrayError),
    ],
    ids=["missing", "dtype", "rank", "size", "name", "text"],
)
def test_wrong_feeds_are_refused(network, feeds, error):
    with pytest.raises(error):
        load(network)(feeds)


def test_text_and_binary_are_one(network, tmp_path):
    text = tmp_path / "net.pbtxt"
    text.write_text(text_format.MessageToString(v1.GraphDef.FromString(network.read_bytes())))
    x = random(2, 8, 8, 3)
    np.testing.assert_array_equal(load(text)(x)["probabilities"], load(network)(x)["probabilities"])
    hidden = tmp_path / "text.pb"
    hidden.write_text(text.read_text())
    assert load(hidden).output_names == ("probabilities",)


def test_a_graph_is_traced_once_for_each_set_of_outputs(network):
    graph = load(network)
    for batch in (1, 2, 3):
        graph(random(batch, 8, 8, 3))
    assert len(graph._traced) == 1


def test_channels_first_runs_and_trains_on_a_cpu(tmp_path):
    def build(first):
        def run():
            x = v1.placeholder(tf.float32, [None, 9, 7, 3], name="x")
            order = {"data_format": "NCHW"} if first else {}
            y = tf.transpose(x, [0, 3, 1, 2]) if first else x
            stride = [1, 1, 2, 1] if first else [1, 2, 1, 1]
            window = [1, 1, 3, 2] if first else [1, 3, 2, 1]
            y = tf.nn.conv2d(y, tf.constant(random(3, 2, 3, 4)), stride, "SAME", **order)
            y = tf.nn.bias_add(y, tf.constant(random(4)), **order)
            y = tf.nn.max_pool(y, window, window, "VALID", **order)
            tf.transpose(y, [0, 2, 3, 1] if first else [0, 1, 2, 3], name="y")

        return run

    first = load(frozen(build(True), tmp_path / "first.pb"))
    last = frozen(build(False), tmp_path / "last.pb")
    x = random(2, 9, 7, 3)
    np.testing.assert_allclose(first(x)["y"], session_values(last, {"x": x}, ["y"])["y"], atol=1e-5)
    before, after, _ = step(first, x, rate=1e-3)
    assert after < before


def test_strings_go_through(tmp_path):
    def build():
        text = v1.placeholder(tf.string, [None], name="text")
        tf.strings.join([text, "!"], name="loud")

    out = load(frozen(build, tmp_path / "net.pb"))(np.array(["a", "bc"], object))
    assert out["loud"].numpy().tolist() == [b"a!", b"bc!"]


def test_a_default_is_used_unless_it_is_fed(tmp_path):
    def build():
        x = v1.placeholder(tf.float32, [2], name="x")
        rate = v1.placeholder_with_default(tf.constant(3.0), [], name="rate")
        tf.multiply(x, rate, name="y")

    graph = load(frozen(build, tmp_path / "net.pb"))
    assert graph.input_names == ("x",)
    x = np.array([1, 2], np.float32)
    assert graph(x)["y"].numpy().tolist() == [3, 6]
    assert graph({"x": x, "rate": np.float32(2)})["y"].numpy().tolist() == [2, 4]


def test_arrays_that_grow_and_are_joined(tmp_path):
    def build():
        count = v1.placeholder(tf.int32, [], name="count")

        def body(step, out):
            return step + 1, out.write(step, tf.fill([step + 1, 2], tf.cast(step, tf.float32)))

        array = tf.TensorArray(tf.float32, 0, dynamic_size=True, infer_shape=False)
        _, out = v1.while_loop(lambda step, _: step < count, body, [0, array])
        tf.identity(out.concat(), name="joined")
        tf.identity(out.size(), name="size")

    path = frozen(build, tmp_path / "net.pb")
    graph = load(path)
    for count in (1, 4):
        wanted = session_values(path, {"count": count}, ["joined", "size"])
        got = graph({"count": np.int32(count)}, outputs=["joined", "size"])
        for name in wanted:
            np.testing.assert_array_equal(got[name], wanted[name])


def test_loops_in_loops_and_in_branches(tmp_path):
    def build():
        x = v1.placeholder(tf.float32, [2, 3], name="x")
        flag = v1.placeholder(tf.bool, [], name="flag")
        weights = tf.constant(random(3, 6) / 4, name="weights")
        back = tf.constant(random(6, 3, seed=1) / 4, name="back")

        def outer(step, y):
            def inner(count, z):
                z = v1.cond(tf.equal(count % 2, 0), lambda: tf.matmul(z, tf.matmul(weights, back)), lambda: z + 1)
                return count + 1, z

            _, y = v1.while_loop(lambda count, _: count < step + 2, inner, [0, y])
            return step + 1, y

        def run():
            return v1.while_loop(lambda step, _: step < 3, outer, [0, x])[1]

        tf.identity(v1.cond(flag, run, lambda: x * 2), name="y")

    path = frozen(build, tmp_path / "net.pb")
    graph = load(path)
    for flag in (True, False):
        feeds = {"x": random(2, 3), "flag": flag}
        wanted = session_values(path, feeds, ["y"])["y"]
        np.testing.assert_allclose(graph({**feeds, "flag": np.bool_(flag)})["y"], wanted, rtol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(graph({"x": random(2, 3), "flag": np.bool_(True)})["y"])
    assert all(gradient is not None for gradient in tape.gradient(loss, graph.trainable_variables))


def test_the_same_condition_twice_in_a_row(tmp_path):
    def build():
        x = v1.placeholder(tf.float32, [], name="x")
        flag = v1.placeholder(tf.bool, [], name="flag")
        first = v1.cond(flag, lambda: x + 1, lambda: x - 1)
        tf.identity(v1.cond(flag, lambda: first * 2, lambda: first * 3), name="y")

    path = frozen(build, tmp_path / "net.pb")
    graph = load(path)
    assert float(graph({"x": np.float32(5), "flag": np.bool_(True)})["y"]) == 12
    assert float(graph({"x": np.float32(5), "flag": np.bool_(False)})["y"]) == 12 - 0
    assert float(graph({"x": np.float32(6), "flag": np.bool_(False)})["y"]) == 15


def test_a_loop_whose_state_grows(tmp_path):
    def build():
        x = v1.placeholder(tf.float32, [1, 2], name="x")
        grown = v1.while_loop(
            lambda step, _: step < 3,
            lambda step, y: (step + 1, tf.concat([y, y], 0)),
            [0, x],
            shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, 2])],
        )
        tf.identity(grown[1], name="y")

    assert load(frozen(build, tmp_path / "net.pb"))(random(1, 2))["y"].shape == (8, 2)


def test_functions_of_the_library_are_inlined_under_the_names_of_freezing(tmp_path):
    weights = tf.constant(random(4, 6))

    @tf.function
    def dense(x):
        return tf.nn.relu(tf.matmul(x, weights), name="activation")

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def network(x):
        y = dense(x)
        for _ in tf.range(3):
            y = y * 1.5 + 0.1
        return y - 1 if tf.reduce_sum(y) > 1 else dense(x) + y

    concrete = network.get_concrete_function()
    path = write(concrete.graph.as_graph_def(), tmp_path / "net.pb")
    graph = load(path, outputs=[concrete.outputs[0].name])
    names = [item.name for item in graph.tensors]
    activations = [name for name in names if name.endswith("/activation")]
    assert len(activations) == 2
    assert len(graph.weights) == 1, "two calls of a function share its weights"
    outer = next(name for name in activations if name.count("/") == 1)
    for x in (random(2, 4), -np.ones((1, 4), np.float32)):
        got = graph(x, outputs=[*graph.output_names, outer])
        np.testing.assert_allclose(got[graph.output_names[0]], network(tf.constant(x)), atol=1e-5)
        np.testing.assert_allclose(got[outer], np.maximum(x @ weights.numpy(), 0), atol=1e-5)
    assert all(gradient is not None for gradient in step(graph, random(2, 4), 1e-4)[2])


def test_case_and_constants_in_bodies(tmp_path):
    large = random(2, 20)

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32), tf.TensorSpec([2, 20], tf.float32)])
    def choose(number, x):
        return tf.switch_case(number, [lambda: x + tf.constant(large), lambda: x * tf.constant(large), lambda: x * 0.0])

    graph = load(write(choose.get_concrete_function().graph.as_graph_def(), tmp_path / "net.pb"))
    x = random(2, 20, seed=1)
    for number, wanted in ((0, x + large), (1, x * large), (2, x * 0), (7, x * 0)):
        given = dict(zip(graph.input_names, (np.int32(number), x), strict=True))
        np.testing.assert_allclose(next(iter(graph(given).values())), wanted, rtol=1e-6)
    assert len(graph.weights) == 2


def test_graph_def_of_a_convolution_in_a_loop_keeps_its_static_shapes(tmp_path):
    def build():
        x = v1.placeholder(tf.float32, [1, 8, 8, 3], name="x")
        kernel = tf.constant(random(3, 3, 3, 3) / 9)
        y = v1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.nn.conv2d(y, kernel, 1, "SAME")), [0, x])[1]
        tf.identity(y, name="y")

    graph = load(frozen(build, tmp_path / "net.pb"))
    assert {item.name: item.shape for item in graph.tensors}["y"] == (1, 8, 8, 3)


def test_graph_of_helper_gives_switches():
    assert "Switch" in {node.op for node in graph_of(branches).node}, "these tests are about TensorFlow 1"
