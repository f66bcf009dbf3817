"""A graph as a Keras model: it trains with fit, saves and loads, and any tensor is a tap of the extractor."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from converters.tensorflow import convert_graph, export_graph, is_tensorflow, keras_graph, load
from modelzoo import errors
from modelzoo.features import FeatureExtractor
from tests.converters.tensorflow.graphs import (
    branches,
    convnet,
    frozen,
    loop,
    random,
    saved_model_values,
    session_values,
    v1,
)
from tests.converters.tensorflow.test_saved import old_model


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return frozen(convnet, tmp_path_factory.mktemp("graphs") / "net.pb")


def test_the_model_gives_what_the_graph_gives(network):
    model = load(network).to_keras("net")
    assert model.input.shape == (None, 8, 8, 3) and model.output.shape == (None, 5)
    assert [weight.name for weight in model.weights] == ["conv.weights", "dense.kernel"]
    x = random(3, 8, 8, 3)
    wanted = session_values(network, {"x": x}, ["probabilities"])["probabilities"]
    np.testing.assert_allclose(model(x), wanted, atol=1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted, atol=1e-6)


def test_fit_lowers_the_loss_and_changes_every_weight(network):
    model = load(network).to_keras()
    x, y = random(32, 8, 8, 3), np.arange(32) % 5
    before = [np.array(weight) for weight in model.weights]
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, batch_size=16, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert all(not np.array_equal(a, b) for a, b in zip(before, model.weights, strict=True))


def test_a_frozen_model_stays(network):
    model = load(network).to_keras()
    model.trainable = False
    x = keras.Input((8, 8, 3))
    whole = keras.Model(x, keras.layers.Dense(2, name="head")(model(x)))
    whole.compile("sgd", "mse")
    before = [np.array(weight) for weight in model.weights]
    head = np.array(whole.get_layer("head").kernel)
    whole.fit(random(8, 8, 8, 3), np.ones((8, 2)), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.weights, strict=True))
    assert not np.array_equal(head, whole.get_layer("head").kernel)


def test_weights_and_models_are_saved_and_restored(network, tmp_path):
    model = load(network).to_keras()
    x = random(2, 8, 8, 3)
    for weight in model.weights:
        weight.assign(weight * 0.5)
    wanted = np.array(model(x))
    model.save_weights(tmp_path / "net.weights.h5")
    fresh = load(network).to_keras()
    assert not np.allclose(fresh(x), wanted)
    fresh.load_weights(tmp_path / "net.weights.h5")
    np.testing.assert_array_equal(fresh(x), wanted)
    model.save(tmp_path / "net.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "net.keras")(x), wanted)


def test_a_saved_model_file_is_as_foreign_as_any(network, tmp_path):
    """The graph in a `.keras` file is checked when it is loaded."""
    layer = load(network).to_keras().layers[-1]
    config = layer.get_config()
    import base64

    graph = v1.GraphDef.FromString(base64.b64decode(config["graph"]))
    next(node for node in graph.node if node.op == "Relu").op = "PyFunc"
    config["graph"] = base64.b64encode(graph.SerializeToString()).decode()
    with pytest.raises(errors.UnsupportedOperatorError):
        type(layer).from_config(config)([keras.Input((8, 8, 3))])
    with pytest.raises(errors.InvalidGraphError):
        type(layer).from_config({**config, "graph": "AAAA"})([keras.Input((8, 8, 3))])


def test_every_tensor_is_a_tap_of_the_extractor(network):
    model = load(network).to_keras()
    assert list(model.taps)[:1] == ["conv/Conv2D"]
    assert not any("weights" in name for name in model.taps)
    x = random(2, 8, 8, 3)
    names = ["conv/Relu", "pool", "logits"]
    fx = FeatureExtractor(model, names)
    wanted = session_values(network, {"x": x}, names)
    got = fx.model(x)
    for name in names:
        np.testing.assert_allclose(got[name], wanted[name], atol=1e-5)
        np.testing.assert_allclose(fx.run(x)[name], wanted[name], atol=1e-5)
    assert fx.taps["conv/Relu"].shape == (None, 4, 4, 4)
    with pytest.raises(errors.UnknownTapError):
        FeatureExtractor(model, ["conv/Rely"])
    assert set(FeatureExtractor(model, "all").taps) <= set(model.taps)


def test_strides_are_walked(network):
    layer = load(network).to_keras().layers[-1]
    node = layer._inbound_nodes[0]
    names = sorted(node.arguments.kwargs["outputs"])
    strides = {name: layer.output_stride(0, number) for number, name in enumerate(names)}
    assert (strides["conv/Conv2D"], strides["conv/Relu"], strides["pool"]) == (2, 2, 4)


def test_loops_train_inside_a_model(tmp_path):
    model = load(frozen(loop, tmp_path / "net.pb"), outputs=["last"]).to_keras()
    x = random(8, 5, 4)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    losses = model.fit(x, np.zeros((8, 5)), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_several_inputs_and_outputs_are_dicts(tmp_path):
    path = frozen(branches, tmp_path / "net.pb")
    with pytest.raises(errors.ConversionError, match="how many axes"):
        load(frozen(lambda: tf.abs(v1.placeholder(tf.float32, None, name="x"), name="y"), tmp_path / "r.pb")).to_keras()
    model = load(path, inputs={"x": (None, 4), "limit": ()}).to_keras()
    feeds = {"x": random(2, 4), "limit": np.float32(1)}
    wanted = session_values(path, feeds, ["y", "z"])
    got = model({"x": tf.constant(feeds["x"]), "limit": tf.constant(1.0)})
    assert set(got) == {"y", "z"}
    np.testing.assert_allclose(got["y"], wanted["y"], atol=1e-6)


def test_tables_go_into_the_model_and_out_again(tmp_path):
    folder = old_model(tmp_path / "old", resources=True, table="constants")
    model = load(folder).to_keras()
    feeds = {"x": tf.constant(random(2, 4)), "words": tf.constant([b"b", b"?"])}
    assert model(feeds)["numbers"].numpy().tolist() == [11, -1]
    model.save(tmp_path / "net.keras")
    assert keras.models.load_model(tmp_path / "net.keras")(feeds)["numbers"].numpy().tolist() == [11, -1]


def test_a_batch_of_one_is_opened_where_the_graph_takes_any(tmp_path):
    def build(baked):
        def run():
            x = v1.placeholder(tf.float32, [1, 4, 4, 2], name="x")
            y = tf.reshape(x, [1, 32] if baked else [-1, 32])
            tf.matmul(y, tf.constant(random(32, 3)), name="y")

        return run

    opened = keras_graph(frozen(build(False), tmp_path / "open.pb"), name="open")
    assert opened.input.shape == (None, 4, 4, 2)
    assert opened(random(3, 4, 4, 2)).shape == (3, 3)
    renamed = keras_graph(
        tmp_path / "open.pb", name="open", inputs={"data": (None, 4, 4, 2)}, outputs=["Reshape", "no"]
    )
    assert renamed.output.shape == (None, 32) and "y" in renamed.taps
    assert keras_graph(frozen(build(True), tmp_path / "baked.pb"), name="baked").input.shape == (1, 4, 4, 2)


@pytest.mark.parametrize("to", ["keras", "function"])
def test_convert_verifies_against_a_session(network, to):
    made = convert_graph(network, to=to, verify=True)
    assert made.report.passed
    assert [row.name for row in made.report.rows] == ["probabilities"]


def test_convert_notices_a_difference(network):
    module = load(network)
    module.variables[0].assign(module.variables[0] + 1)
    from converters.tensorflow.conversion import verify_graph

    with pytest.raises(errors.ParityError):
        verify_graph(module, module, 1e-4).raise_if_failed()


def test_export_writes_a_saved_model_of_the_same_names(network, tmp_path):
    for source, feeds in (
        (network, {"x": random(2, 8, 8, 3)}),
        (old_model(tmp_path / "old", resources=False, table="constants"), None),
    ):
        graph = load(source)
        out = tmp_path / f"out_{len(graph.input_names)}"
        export_graph(graph, str(out))
        feeds = feeds or {"x": random(2, 4), "words": np.array([b"a", b"z"], object)}
        again = load(out)
        got = saved_model_values(out, feeds)
        for name, value in graph(feeds).items():
            np.testing.assert_allclose(got[name], value, atol=1e-6)
            np.testing.assert_allclose(again(feeds)[name], value, atol=1e-6)


def test_a_module_of_the_user_s_own_keeps_the_graph_s_weights(network, tmp_path):
    class Mine(tf.Module):
        def __init__(self):
            super().__init__()
            self.graph = load(network)

        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3])])
        def __call__(self, x):
            return self.graph(x)["probabilities"] * 2

    mine = Mine()
    x = tf.constant(random(2, 8, 8, 3))
    wanted = mine(x)
    assert len(mine.trainable_variables) == 2
    tf.saved_model.save(mine, str(tmp_path / "mine"))
    np.testing.assert_allclose(tf.saved_model.load(str(tmp_path / "mine"))(x), wanted, atol=1e-6)
    tf.train.Checkpoint(mine=mine).write(str(tmp_path / "values"))
    for variable in mine.graph.variables:
        variable.assign(variable * 0)
    tf.train.Checkpoint(mine=mine).read(str(tmp_path / "values")).assert_consumed()
    np.testing.assert_array_equal(mine(x), wanted)


def test_what_is_no_target_and_what_looks_like_tensorflow(network, tmp_path):
    with pytest.raises(errors.UsageError, match="onnx"):
        convert_graph(network, to="onnx")
    assert is_tensorflow(network) and is_tensorflow("a.meta") and not is_tensorflow("a.onnx")
    assert not is_tensorflow(tmp_path)
