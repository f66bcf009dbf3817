"""Graphs that other people trained: equal to a session on the untouched file, trainable, tapped anywhere."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from converters.tensorflow import convert_graph, load
from tests.converters.tensorflow.graphs import saved_model_values, session_values
from tests.data_folder import DATA, needs_data

pytestmark = needs_data

MODELS = DATA / "models" if DATA is not None else None


def wave(seed: int = 0) -> bytes:
    sound = np.random.default_rng(seed).normal(0, 0.1, (16000, 1)).astype(np.float32)
    return tf.audio.encode_wav(sound, 16000).numpy()


def picture() -> np.ndarray:
    with Image.open(MODELS / "mtcnn_pb" / "test.jpg") as image:
        return np.asarray(image.convert("RGB"))[..., ::-1].astype(np.float32)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, np.float32)


#: File -> (its inputs, its outputs, how many weights, how many of them are trained).
FROZEN = {
    "kws_pb/DS_CNN_S.pb": (lambda: {"wav_data": wave()}, ["labels_softmax"], 55, 37),
    "kws_pb/CRNN_S.pb": (lambda: {"wav_data": wave()}, ["labels_softmax"], 13, 13),
    "kws_pb/GRU_S.pb": (lambda: {"wav_data": wave()}, ["labels_softmax"], 5, 5),
    "kws_pb/LSTM_S.pb": (lambda: {"wav_data": wave()}, ["labels_softmax"], 7, 7),
    "fsrcnn/FSRCNN_x3.pb": (lambda: {"IteratorGetNext": numbers(1, 20, 24, 1)}, ["NCHW_output"], 12, 12),
    "samplenet/samplenet.pb": (lambda: {"data": numbers(1, 3, 32, 32)}, ["add_4"], 7, 7),
    "mtcnn_pb/mtcnn.pb": (
        lambda: {
            "input": picture(),
            "min_size": np.float32(40),
            "thresholds": np.array([0.6, 0.7, 0.7], np.float32),
            "factor": np.float32(0.709),
        },
        ["prob", "landmarks", "box"],
        39,
        39,
    ),
}


@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_graph_equals_its_session_and_trains(name):
    make, outputs, weights, trained = FROZEN[name]
    graph = load(MODELS / name)
    feeds = make()
    assert graph.output_names == tuple(outputs)
    assert (len(graph.variables), len(graph.trainable_variables)) == (weights, trained)
    wanted = session_values(MODELS / name, feeds, outputs)
    for output, value in graph(feeds).items():
        largest = np.abs(wanted[output]).max()
        np.testing.assert_allclose(value, wanted[output], rtol=0, atol=1e-5 * largest, err_msg=output)

    def loss():
        return tf.add_n([tf.reduce_sum(tf.square(value)) for value in graph(feeds).values()])

    with tf.GradientTape() as tape:
        before = loss()
    gradients = tape.gradient(before, graph.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    norm = tf.linalg.global_norm(gradients)
    for variable, gradient in zip(graph.trainable_variables, gradients, strict=True):
        variable.assign_sub(1e-4 * tf.convert_to_tensor(gradient) / norm)
    assert loss() < before


@pytest.mark.parametrize("name", ["kws_pb/DS_CNN_S.pb", "kws_pb/LSTM_S.pb", "samplenet/samplenet.pb"])
def test_every_tap_equals_the_session_s(name):
    feeds = FROZEN[name][0]()
    graph = load(MODELS / name)
    kinds = {node.name: node.op for node in graph.program.flat.nodes.values()}
    taps = [
        item.name
        for item in graph.tensors
        if not item.inner
        and item.dtype == "float32"
        and kinds[item.name.split(":")[0]] not in ("Const", "VariableV2", "TensorArrayV3", "TensorArrayScatterV3")
        and ":" not in item.name
    ]
    assert len(taps) > 15
    wanted = session_values(MODELS / name, feeds, taps)
    for tap, value in graph(feeds, outputs=taps).items():
        scale = np.abs(wanted[tap]).max() or 1
        np.testing.assert_allclose(value, wanted[tap], rtol=0, atol=1e-5 * scale, err_msg=tap)


@pytest.mark.parametrize("name", ["mlperf_tiny/kws_ref_model", "samplenet/samplenet_tf2"])
def test_a_saved_model_equals_what_tensorflow_restores(name):
    graph = load(MODELS / name)
    (spec,) = graph.program.inputs.values()
    x = numbers(3, *spec.shape.as_list()[1:])
    wanted = saved_model_values(MODELS / name, {spec.name: x})
    for output, value in graph(x).items():
        np.testing.assert_allclose(value, wanted[output], atol=1e-6)
    model = convert_graph(MODELS / name, verify=True)
    assert model.report.passed
    assert len(model.weights) == len(graph.variables)
    assert len(model.trainable_weights) == len(graph.trainable_variables)


def test_a_training_graph_and_its_checkpoint_equal_the_frozen_graph():
    x = numbers(1, 12, 10, 1)
    trained = load(MODELS / "fsrcnn/fsrcnn_ckpt.meta", inputs=["IteratorGetNext"], outputs=["NHWC_output"])
    frozen = load(MODELS / "fsrcnn/FSRCNN_x3.pb")
    np.testing.assert_array_equal(trained(x)["NHWC_output"], frozen(x, outputs=["NHWC_output"])["NHWC_output"])


def test_one_network_in_two_formats():
    import onnx

    from converters.function import load as load_onnx

    x = numbers(1, 3, 32, 32)
    wanted = next(iter(load_onnx(onnx.load(MODELS / "samplenet/samplenet.onnx"))({"data": x}).values()))
    np.testing.assert_allclose(load(MODELS / "samplenet/samplenet.pb")(x)["add_4"], wanted, rtol=1e-4, atol=1e-4)
