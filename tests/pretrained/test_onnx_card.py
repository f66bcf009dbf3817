"""An ONNX card goes through the same call: verified, converted, preprocessing and labels attached, any node a tap."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnxruntime
import pytest

import modelzoo as mz
from modelzoo import errors
from tests.converters.keras.networks import small_convnet

NAMES = ["ant", "bee", "cat", "dog", "emu"]


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A registry with one ONNX card; gives its path and the model's bytes."""
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    data = small_convnet(batch=1).SerializeToString()
    (tmp_path / "net.onnx").write_bytes(data)
    card = {
        "title": "A small ONNX network",
        "task": "classification",
        "framework": "onnx",
        "licence": "MIT",
        "files": [
            {
                "name": "net.onnx",
                "role": "graph",
                "urls": [{"url": (tmp_path / "net.onnx").as_uri()}],
                "size": len(data),
                "digests": {"sha256": hashlib.sha256(data).hexdigest()},
            }
        ],
        "build": {"converter": "onnx"},
        "inputs": [
            {
                "name": "x",
                "shape": [32, 32, 3],
                "colour": "RGB",
                "layout": "NCHW",
                "preprocess": {"family": "torch", "size": [32, 32]},
            }
        ],
        "outputs": [{"name": "y", "kind": "probabilities", "classes": 5}],
        "labels": {"names": NAMES, "count": 5},
    }
    path = tmp_path / "registry.json"
    path.write_text(json.dumps({"schema_version": 1, "models": {"small": card}}))
    return str(path), data


def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)


def test_it_classifies_as_onnxruntime_does_and_takes_any_batch(zoo):
    path, data = zoo
    model = mz.load_pretrained("small", registries=[path])
    x = model.preprocess([picture(), picture()[::-1]])
    session = onnxruntime.InferenceSession(data)
    wanted = np.concatenate([session.run(None, {"x": row[None].transpose(0, 3, 1, 2)})[0] for row in x])
    out = np.asarray(model(x))
    np.testing.assert_allclose(out, wanted, atol=1e-5)
    best = model.decode(out, top=1)[0][0]
    assert best[0] == NAMES[int(wanted[0].argmax())]
    assert best[1] == pytest.approx(float(wanted[0].max()), abs=1e-5)


def test_any_tensor_or_node_is_a_tap(zoo):
    path, _ = zoo
    fx = mz.load_pretrained("small", registries=[path], features=["a", "Conv_0"], pooling="avg")
    out = fx(picture())
    assert {name: value.shape for name, value in out.items()} == {"a": (1, 8), "Conv_0": (1, 8)}
    with pytest.raises(errors.UnknownTapError):
        mz.load_pretrained("small", registries=[path], features=["nothing"])


def test_a_file_of_the_users_own_goes_the_same_way(zoo, tmp_path):
    path, _ = zoo
    own = tmp_path / "own.onnx"
    own.write_bytes(small_convnet().SerializeToString())
    assert mz.load_pretrained("small", registries=[path], weights=own).output.shape == (None, 5)


@pytest.mark.parametrize("options", [{"weights": None}, {"classes": 3}, {"include_top": False}])
def test_what_a_whole_graph_cannot_do_is_refused(zoo, options):
    path, _ = zoo
    with pytest.raises(errors.UsageError):
        mz.load_pretrained("small", registries=[path], **options)
