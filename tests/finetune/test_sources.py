"""The same script on every source, by changing the name only; what it writes is opened again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modelzoo.errors import RegistryFormatError, UsageError, WeightsMismatchError
from modelzoo.finetune import Backbone, ClassFolder, FineTuner, Head, discriminative, load_folder, write_result
from modelzoo.registry import validate_registry
from tests.data_folder import DATA, needs_data
from tests.finetune.networks import picture_folder, small_network
from tests.finetune.sources import write_sources

MODELS = (DATA or Path()) / "models"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return ClassFolder.read(picture_folder(tmp_path_factory.mktemp("pictures"), count=4))


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path_factory.mktemp("cache")))


def script(name, pictures, out, *, tap=None, unfreeze=None, base_files=(), **options):
    """Probe, unfreeze, write, open again; gives the moved variables."""
    backbone = Backbone(name, tap=tap, pooling="avg", **options)
    before = {variable.path: np.asarray(variable) for variable in backbone.variables}
    tuner = FineTuner(backbone, Head("linear", 3), factors=discriminative(backbone, decay=0.9), seed=1)
    schedule = {1: unfreeze} if unfreeze is not None else None
    history = tuner.fit(pictures, epochs=2, batch_size=6, schedule=schedule, folder=out / "training")
    assert len(history["loss"]) == 2 and np.isfinite(history["loss"]).all()
    card = write_result(tuner, out, "me/own", classes=pictures.names, base_files=base_files, metrics={"top1": 50.0})
    validate_registry(json.loads(card.read_text()))
    again = load_folder(out)
    x = again.preprocess(list(pictures.paths))
    np.testing.assert_allclose(np.asarray(again(x, training=False)), tuner.logits(pictures.paths), atol=1e-5)
    assert again.decode(again(x[:1]), top=1)[0][0].label in pictures.names
    assert again.card.name == "me/own" and "Logits" in again.taps
    moved = {v.path for v in backbone.variables if not np.array_equal(np.asarray(v), before[v.path])}
    return backbone, moved


def test_slim(pictures, tmp_path):
    backbone, moved = script("inception_v1_scenes", pictures, tmp_path / "out", unfreeze="Mixed_5b")
    assert moved and all(path.startswith("Mixed_5c") for path in moved)
    assert list(backbone.taps) == ["global_pool"]


def test_another_size_is_kept(pictures, tmp_path):
    script("inception_v1_scenes", pictures, tmp_path / "out", tap="Mixed_4b", input_shape=(64, 80, 3))
    assert load_folder(tmp_path / "out").preprocess.size == (64, 80)


def test_onnx(pictures, registry, tmp_path):
    backbone, moved = script("small_onnx", pictures, tmp_path / "out", unfreeze=False, registries=[registry])
    assert len(moved) == len(backbone.variables) > 0


def test_a_frozen_graph(pictures, registry, tmp_path):
    from modelzoo import load_pretrained

    known = load_pretrained("small_frozen", registries=[registry]).taps
    relus = [name for name in known if name.endswith("Relu")]
    pooled = next(name for name in known if name.endswith("Mean"))
    assert len(relus) == 2
    backbone, moved = script(
        "small_frozen", pictures, tmp_path / "out", tap=pooled, unfreeze=relus[0], registries=[registry]
    )
    kernels = {v.path for v in backbone.variables if len(v.shape) == 4}
    assert len(kernels) == 2 and len(kernels & moved) == 1


@needs_data
def test_caffe(pictures, tmp_path):
    files = MODELS / "squeezenet_v1.1"
    weights = files / "squeezenet.caffemodel"
    _, moved = script(
        "squeezenet_v1.1",
        pictures,
        tmp_path / "out",
        tap="fire5/concat",
        unfreeze="fire4/concat",
        weights=weights,
        base_files=[weights, files / "deploy.prototxt"],
    )
    assert moved and all("fire5" in path for path in moved)


def test_keras_models_without_a_card_have_no_result(pictures, tmp_path):
    tuner = FineTuner(Backbone(small_network()), Head("linear", 3))
    with pytest.raises(UsageError, match="no card"):
        write_result(tuner, tmp_path / "out", "me/own", classes=pictures.names)


def test_folders_that_are_no_result(pictures, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    backbone = Backbone("inception_v1_scenes", tap="Mixed_3b", pooling="avg")
    tuner = FineTuner(backbone, Head("linear", 3))
    with pytest.raises(UsageError, match="something else"):
        write_result(tuner, tmp_path, "me/own", classes=pictures.names)
    with pytest.raises(UsageError, match="name"):
        write_result(tuner, tmp_path / "out", "Me/Own", classes=pictures.names)
    card = write_result(tuner, tmp_path / "out", "me/own", classes=pictures.names)
    raw = json.loads(card.read_text())
    args = raw["models"]["me/own"]["build"]["args"]
    args["head"]["classes"] = 4
    card.write_text(json.dumps(raw))
    with pytest.raises(WeightsMismatchError, match="head_logits"):
        load_folder(tmp_path / "out")
    del args["tap"]
    card.write_text(json.dumps(raw))
    with pytest.raises(RegistryFormatError, match="does not say"):
        load_folder(tmp_path / "out")


def test_a_registered_result_is_a_name_like_any_other(pictures, registry, tmp_path, monkeypatch):
    from modelzoo import pretrained
    from modelzoo.finetune import register

    if not hasattr(pretrained, "LATE_BUILDERS"):
        pytest.skip("load_pretrained does not know fine-tuned cards yet")
    monkeypatch.setenv("MODELZOO_CONFIG", str(tmp_path / "config"))
    tuner = FineTuner(Backbone("small_onnx", pooling="avg", registries=[registry]), Head("linear", 3))
    register(write_result(tuner, tmp_path / "out", "me/own", classes=pictures.names))
    model = pretrained.load_pretrained("me/own")
    x = model.preprocess(list(pictures.paths))
    np.testing.assert_allclose(np.asarray(model(x)), tuner.logits(pictures.paths), atol=1e-5)
    assert model.labels.names == pictures.names
    fx = pretrained.load_pretrained("me/own", features=["Logits"])
    np.testing.assert_allclose(fx(list(pictures.paths))["Logits"], np.asarray(model(x)), atol=1e-5)
    assert pretrained.load_pretrained("me/own", weights=None).output_shape == (None, 3)
    with pytest.raises(UsageError, match="as a whole"):
        pretrained.load_pretrained("me/own", classes=4)
