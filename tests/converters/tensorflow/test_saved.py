"""SavedModels and MetaGraphs: values come from the checkpoint by our own reader, tables from constants and assets."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from converters.tensorflow import load
from modelzoo import errors
from tests.converters.tensorflow.graphs import random, saved_model_values, v1


class Network(tf.Module):
    """Two dense layers, one of them in a function of its own, and an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(random(4, 6), name="kernel")
        self.scale = tf.Variable(2.0, name="scale", trainable=False)
        # Two variables of one name: only their places in the checkpoint tell them apart.
        self.twin = [
            tf.Variable(random(6, 3, seed=5), name="twin", trainable=False),
            tf.Variable(random(3, seed=6), name="twin"),
        ]
        self.rows = tf.Variable(random(10, 6, seed=7), name="rows")

    @tf.function
    def hidden(self, x):
        return tf.nn.relu(x @ self.kernel)

    @tf.function(
        input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x"), tf.TensorSpec([None], tf.int64, name="word")]
    )
    def __call__(self, x, word):
        y = self.hidden(x) + tf.nn.embedding_lookup(self.rows, word)
        for _ in tf.range(2):
            y = tf.tanh(y @ tf.transpose(self.kernel) @ self.kernel) * self.scale
        return {"y": y @ self.twin[0] + self.twin[1], "hidden": y}


@pytest.fixture(scope="module")
def modern(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "modern"
    network = Network()
    tf.saved_model.save(network, str(folder))
    return folder


FEEDS = {"x": random(3, 4, seed=9), "word": np.array([1, 7, 7])}


def test_a_saved_model_of_tensorflow_2(modern):
    graph = load(modern)
    assert set(graph.input_names) == {"x", "word"}
    assert set(graph.output_names) == {"y", "hidden"}
    wanted = saved_model_values(modern, FEEDS)
    for name, value in graph(FEEDS).items():
        np.testing.assert_allclose(value, wanted[name], atol=1e-5)
    assert {name: (weight.shape.rank, weight.trainable) for name, weight in graph.weights.items()} == {
        "kernel": (2, True),
        "rows": (2, True),
        "scale": (0, False),
        "twin": (1, True),
        "twin_1": (2, False),
    }


def test_its_variables_train(modern):
    graph = load(modern)
    with tf.GradientTape() as tape:
        before = tf.reduce_sum(tf.square(graph(FEEDS)["y"]))
    gradients = tape.gradient(before, graph.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    for variable, gradient in zip(graph.trainable_variables, gradients, strict=True):
        variable.assign_sub(1e-5 * tf.convert_to_tensor(gradient))
    assert tf.reduce_sum(tf.square(graph(FEEDS)["y"])) < before


def test_no_operator_that_restores_or_saves_is_in_what_runs(modern):
    graph = load(modern)
    operators = {node.op for node in graph.program.flat.nodes.values()}
    assert not operators & {"SaveV2", "RestoreV2", "AssignVariableOp", "MergeV2Checkpoints"}


def old_model(folder, *, resources: bool, table: str | None = None, partitioned: bool = False):
    """A SavedModel as TensorFlow 1 writes it."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        partitioner = v1.fixed_size_partitioner(3) if partitioned else None
        with v1.variable_scope("dense", use_resource=resources, partitioner=partitioner):
            kernel = (
                v1.get_variable("kernel", initializer=random(4, 6), partitioner=None)
                if not partitioned
                else tf.convert_to_tensor(v1.get_variable("kernel", [7, 6]))[:4]
            )
            bias = v1.get_variable("bias", initializer=np.float32(0.5), trainable=False) if not partitioned else 0.5
        y = tf.add(tf.matmul(x, kernel), bias, name="y")
        inputs, outputs = {"x": x}, {"y": y}
        if table is not None:
            words = v1.placeholder(tf.string, [None], name="words")
            if table == "constants":
                filler = tf.lookup.KeyValueTensorInitializer(["a", "b", "c"], [10, 11, 12], tf.string, tf.int64)
            else:
                filler = tf.lookup.TextFileInitializer(
                    table, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
                )
            inputs["words"] = words
            outputs["numbers"] = tf.lookup.StaticHashTable(filler, -1).lookup(words)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": v1.saved_model.predict_signature_def(inputs, outputs)},
            main_op=v1.tables_initializer(),
        )
        builder.save()
    if table not in (None, "constants"):
        add_asset(folder, table)
    return folder


def add_asset(folder, path):
    """What TensorFlow 1 did with the files of its tables: a copy, and which constant names it."""
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    nodes = {node.name: node for node in model.meta_graphs[0].graph_def.node}
    name = next(node.input[1] for node in nodes.values() if node.op == "InitializeTableFromTextFileV2")
    while nodes[name].op == "Identity":
        name = nodes[name].input[0]
    asset = model.meta_graphs[0].asset_file_def.add(filename="words.txt")
    asset.tensor_info.name = name + ":0"
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    (folder / "assets").mkdir()
    shutil.copy(path, folder / "assets" / "words.txt")


@pytest.mark.parametrize("resources", [True, False], ids=["resources", "references"])
def test_a_saved_model_of_tensorflow_1(tmp_path, resources):
    folder = old_model(tmp_path / "old", resources=resources)
    graph = load(folder)
    feeds = {"x": random(2, 4)}
    np.testing.assert_allclose(graph(feeds)["y"], saved_model_values(folder, feeds)["y"], atol=1e-6)
    assert {name: weight.trainable for name, weight in graph.weights.items()} == {
        "dense/kernel": True,
        "dense/bias": False,
    }


def test_partitioned_variables_are_parts_of_one_tensor(tmp_path):
    folder = old_model(tmp_path / "old", resources=True, partitioned=True)
    graph = load(folder)
    assert [weight.shape.as_list() for weight in graph.variables] == [[3, 6], [2, 6], [2, 6]]
    feeds = {"x": random(2, 4)}
    np.testing.assert_allclose(graph(feeds)["y"], saved_model_values(folder, feeds)["y"], atol=1e-6)


def test_a_table_that_is_filled_from_constants(tmp_path):
    graph = load(old_model(tmp_path / "old", resources=True, table="constants"))
    words = np.array([b"c", b"nobody", b"a"], object)
    assert graph({"x": random(1, 4), "words": words})["numbers"].numpy().tolist() == [12, -1, 10]


def test_a_table_that_is_filled_from_an_asset(tmp_path):
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("zero\none\ntwo\n")
    folder = old_model(tmp_path / "old", resources=True, table=str(vocabulary))
    vocabulary.unlink()
    graph = load(folder)
    words = np.array([b"two", b"three", b"zero"], object)
    assert graph({"x": random(1, 4), "words": words})["numbers"].numpy().tolist() == [2, -1, 0]
    (folder / "assets" / "words.txt").unlink()
    with pytest.raises(errors.CheckpointFormatError, match=r"words\.txt"):
        load(folder)


class Words(tf.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        filler = tf.lookup.TextFileInitializer(path, tf.string, 0, tf.int64, 1, delimiter=",")
        self.table = tf.lookup.StaticHashTable(filler, -5)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def __call__(self, words):
        return {"numbers": self.table.lookup(words), "size": self.table.size()}


def test_a_table_of_tensorflow_2_with_columns(tmp_path):
    vocabulary = tmp_path / "words.csv"
    vocabulary.write_text("a,7\nb,9\n")
    tf.saved_model.save(Words(str(vocabulary)), str(tmp_path / "words"))
    vocabulary.unlink()
    graph = load(tmp_path / "words")
    got = graph(np.array([b"b", b"c"], object))
    assert got["numbers"].numpy().tolist() == [9, -5]
    assert int(got["size"]) == 2


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "link.txt"])
def test_assets_stay_inside_the_folder(tmp_path, name):
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("zero\n")
    folder = old_model(tmp_path / "old", resources=True, table=str(vocabulary))
    (folder / "outside.txt").write_text("secret\n")
    (folder / "assets" / "link.txt").symlink_to("/etc/hostname")
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    model.meta_graphs[0].asset_file_def[0].filename = name
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(errors.UnsafeFileError):
        load(folder)


def test_signatures_and_tags_are_chosen_by_name(tmp_path):
    network = Network()

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def other(x):
        return {"twice": network.hidden(x) * 2.0}

    folder = tmp_path / "two"
    tf.saved_model.save(network, str(folder), signatures={"first": network.__call__, "second": other})
    with pytest.raises(errors.UsageError, match="Which outputs") as caught:
        load(folder)
    assert "first, second" in (caught.value.hint or "")
    graph = load(folder, signature="second")
    assert graph.output_names == ("twice",)
    assert list(graph.weights) == ["kernel"], "what the signature does not need is not read"
    with pytest.raises(errors.UsageError, match="third"):
        load(folder, signature="third")
    with pytest.raises(errors.UsageError, match="tagged"):
        load(folder, tags=("train",), signature="second")


def test_a_damaged_checkpoint_is_an_error_of_the_reader(modern, tmp_path):
    for damage in ("truncate", "remove", "flip"):
        folder = tmp_path / damage
        shutil.copytree(modern, folder)
        data = folder / "variables" / "variables.data-00000-of-00001"
        if damage == "remove":
            data.unlink()
        else:
            content = bytearray(data.read_bytes())
            content = content[:40] if damage == "truncate" else content
            content[10] ^= 255
            data.write_bytes(bytes(content))
        with pytest.raises(errors.CheckpointError):
            load(folder).variables  # noqa: B018


def test_a_checkpoint_of_another_shape_is_refused(modern, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(modern, folder)
    network = Network()
    network.kernel = tf.Variable(random(5, 6), name="kernel")
    tf.train.Checkpoint(root=network).write(str(tmp_path / "values"))
    other = tmp_path / "again"

    class Wider(Network):
        hidden = None

        @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.float32)])
        def __call__(self, x):
            return {"y": x @ self.kernel}

    wider = Wider()
    wider.kernel = tf.Variable(random(5, 6), name="kernel")
    tf.saved_model.save(wider, str(other))
    shutil.rmtree(folder / "variables")
    shutil.copytree(other / "variables", folder / "variables")
    with pytest.raises(errors.WeightsMismatchError) as caught:
        load(folder)
    assert any("kernel" in line for line in caught.value.mismatched)


def test_a_meta_graph_beside_its_checkpoint(tmp_path):
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        kernel = v1.get_variable("kernel", initializer=random(4, 6))
        y = tf.nn.relu(tf.matmul(x, kernel), name="y")
        loss = tf.reduce_mean(tf.square(y))
        v1.train.AdamOptimizer(0.1).minimize(loss)
        v1.summary.scalar("loss", loss)
        tf.numpy_function(lambda value: value, [y], tf.float32, name="python")
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "model.ckpt"), global_step=3)
        wanted = session.run(y, {x: np.ones((2, 4), np.float32)})
    path = tmp_path / "model.ckpt-3.meta"
    graph = load(path, outputs=["y"])
    assert graph.input_names == ("x",)
    assert list(graph.weights) == ["kernel"]
    np.testing.assert_allclose(graph(np.ones((2, 4), np.float32))["y"], wanted, atol=1e-6)
    with pytest.raises(errors.UsageError, match="Which outputs"):
        load(path)
    with pytest.raises(errors.UnsupportedOperatorError, match="PyFunc"):
        load(path, outputs=["python"])


def test_a_saved_keras_model_with_a_recurrent_layer(tmp_path):
    import keras

    model = keras.Sequential(
        [
            keras.Input((6, 4)),
            keras.layers.LSTM(8, return_sequences=True),
            keras.layers.GRU(5),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.export(str(tmp_path / "rnn"), verbose=False)
    graph = load(tmp_path / "rnn")
    x = random(2, 6, 4)
    np.testing.assert_allclose(next(iter(graph(x).values())), model(x), atol=1e-6)
    assert len(graph.trainable_variables) == len(model.trainable_variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(next(iter(graph(x).values()))))
    assert all(gradient is not None for gradient in tape.gradient(loss, graph.trainable_variables))
