"""A TensorFlow card goes through the same call: a frozen graph in an archive, any tensor of it a tap."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import numpy as np
import pytest

import modelzoo as mz
from modelzoo import errors
from tests.converters.tensorflow.graphs import convnet, graph_of, session_values

NAMES = ["ant", "bee", "cat", "dog", "emu"]


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A registry with one card; gives its path and the frozen graph."""
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    frozen = tmp_path / "net_frozen.pb"
    frozen.write_bytes(graph_of(convnet).SerializeToString())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(frozen, "net_frozen.pb")
    data = packed.getvalue()
    (tmp_path / "net.tgz").write_bytes(data)
    card = {
        "title": "A small frozen graph",
        "task": "classification",
        "framework": "tf-slim",
        "licence": "MIT",
        "files": [
            {
                "name": "net.tgz",
                "role": "archive",
                "urls": [{"url": (tmp_path / "net.tgz").as_uri()}],
                "size": len(data),
                "digests": {"sha256": hashlib.sha256(data).hexdigest()},
                "members": [{"path": "net_frozen.pb", "role": "graph"}],
            }
        ],
        "build": {"converter": "tensorflow"},
        "inputs": [
            {
                "name": "x",
                "shape": [8, 8, 3],
                "colour": "RGB",
                "layout": "NHWC",
                "preprocess": {"family": "inception", "size": [8, 8]},
            }
        ],
        "outputs": [{"name": "probabilities", "kind": "probabilities", "classes": 5}],
        "labels": {"names": NAMES, "count": 5},
    }
    path = tmp_path / "registry.json"
    path.write_text(json.dumps({"schema_version": 1, "models": {"small": card}}))
    return str(path), frozen


def pictures() -> list[np.ndarray]:
    return list(np.random.default_rng(3).integers(0, 256, (3, 20, 30, 3), np.uint8))


def test_it_classifies_as_a_session_does(zoo):
    path, frozen = zoo
    model = mz.load_pretrained("small", registries=[path])
    x = model.preprocess(pictures())
    out = np.asarray(model(x))
    np.testing.assert_allclose(out, session_values(frozen, {"x": x}, ["probabilities"])["probabilities"], atol=1e-6)
    assert model.decode(out, top=1)[0][0][0] == NAMES[int(out[0].argmax())]


def test_any_tensor_is_a_tap_with_its_stride(zoo):
    path, frozen = zoo
    fx = mz.load_pretrained("small", registries=[path], features=["conv/Relu", "pool:0", "logits"])
    assert {name: (tap.shape, tap.stride) for name, tap in fx.taps.items()} == {
        "conv/Relu": ((None, 4, 4, 4), 2),
        "pool": ((None, 2, 2, 4), 4),
        "logits": ((None, 5), None),
    }
    wanted = session_values(frozen, {"x": fx.preprocess(pictures())}, list(fx.taps))
    got = fx(pictures())
    for name in fx.taps:
        np.testing.assert_allclose(got[name], wanted[name], atol=1e-5)
    assert {name: value.shape for name, value in fx.model(fx.preprocess(pictures())).items()} == {
        name: value.shape for name, value in got.items()
    }
    pooled = mz.load_pretrained("small", registries=[path], features=["conv/Relu"], pooling="avg")
    np.testing.assert_allclose(pooled(pictures())["conv/Relu"], wanted["conv/Relu"].mean((1, 2)), atol=1e-5)


def test_the_body_is_fine_tuned_under_a_new_head(zoo):
    import keras

    path, _ = zoo
    fx = mz.load_pretrained("small", registries=[path], features=["pool"], pooling="avg")
    head = keras.layers.Dense(2, activation="softmax")(fx.model.output["pool"])
    model = keras.Model(fx.model.input, head)
    before = [np.asarray(weight).copy() for weight in model.weights]
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.fit(fx.preprocess(pictures()), np.array([0, 1, 0]), verbose=0)
    changed = [not np.array_equal(a, np.asarray(b)) for a, b in zip(before, model.weights, strict=True)]
    assert sum(changed) >= 3, "the convolution and the head"


@pytest.mark.parametrize("options", [{"weights": None}, {"classes": 3}, {"include_top": False}])
def test_what_a_whole_graph_cannot_do_is_refused(zoo, options):
    path, _ = zoo
    with pytest.raises(errors.UsageError):
        mz.load_pretrained("small", registries=[path], **options)


def test_convert_takes_graphs_and_folders(zoo, tmp_path):
    _, frozen = zoo
    model = mz.convert(frozen, out=tmp_path / "net.keras", verify=True)
    assert model.report.passed and (tmp_path / "net.keras").is_file()
    folder = mz.convert(frozen, to="savedmodel", out=tmp_path / "served")
    x = np.ones((2, 8, 8, 3), np.float32)
    function = mz.convert(folder, to="function", verify=True)
    np.testing.assert_allclose(function(x)["probabilities"], model(x), atol=1e-6)
    with pytest.raises(errors.UsageError):
        mz.convert(frozen, to="onnx")
