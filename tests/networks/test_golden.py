"""Inception V1 against the original: every end point that TF-slim itself computed, and an independent rewriting."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import modelzoo as mz
from modelzoo.checkpoints.write_v1 import write_v1
from tests.data_folder import DATA, needs_data
from tests.networks.plain_inception import plain_inception_v1, random_variables

NET = "inception_v1"
END_POINTS = 19


def from_data(name: str) -> ModuleType:
    """A module of the data folder, imported where it lies."""
    assert DATA is not None
    spec = importlib.util.spec_from_file_location(f"slim_{name}", DATA / "slim" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Golden:
    """Weights and input by the recipe, and the check against what slim computed from them."""

    def __init__(self) -> None:
        assert DATA is not None
        self.folder = DATA / "slim"
        recipe = from_data("recipe")
        meta = json.loads((self.folder / "dev" / f"{NET}.json").read_text())
        listing = json.loads((self.folder / "variables" / f"{NET}.json").read_text())["variables"]
        self.weights = {v["name"]: recipe.variable(NET, v["name"], v["shape"], meta["seed"]) for v in listing}
        self.x = recipe.image_batch(meta["input_shape"], meta["seed"])
        self.top5 = meta["top5"]

    def rows(self, logits: np.ndarray, end_points: dict[str, np.ndarray]) -> list[tuple[str, float, str]]:
        return from_data("check").check(str(self.folder / "dev"), NET, logits, end_points)


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden()


@pytest.fixture(scope="module")
def v1_file(golden, tmp_path_factory) -> Path:
    return write_v1(tmp_path_factory.mktemp("golden") / "inception_v1.ckpt", golden.weights)


def values_of(fx: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in fx.model(x).items()}


@needs_data
def test_every_end_point_of_a_v1_file_is_slims(golden, v1_file):
    fx = mz.load_pretrained(NET, weights=v1_file, features="all")
    ends = values_of(fx, golden.x)
    rows = golden.rows(ends["Logits"], ends)
    assert len(rows) == END_POINTS + 1, "every end point, and the logits once more in full"
    assert [row for row in rows if row[2] != "ok"] == []


@needs_data
def test_the_model_itself_returns_slims_logits(golden, v1_file):
    model = mz.load_pretrained(NET, weights=v1_file)
    logits = np.asarray(model(golden.x))
    assert logits.shape == (2, 1001)
    ((_, _, status),) = golden.rows(logits, {})
    assert status == "ok"
    assert np.argsort(-logits, axis=1)[:, :5].tolist() == golden.top5


@needs_data
def test_every_end_point_of_a_v2_checkpoint_by_tensorflow_is_slims(golden, tmp_path):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        variables = [
            v1.get_variable(name, initializer=value, use_resource=False) for name, value in golden.weights.items()
        ]
        variables.append(v1.get_variable("global_step", initializer=np.int64(7), use_resource=False))
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver(variables, write_version=v1.train.SaverDef.V2)
        prefix = saver.save(session, str(tmp_path / "model.ckpt"), global_step=7)
    ends = values_of(mz.load_pretrained(NET, weights=prefix, features="all"), golden.x)
    rows = golden.rows(ends["Logits"], ends)
    assert len(rows) == END_POINTS + 1
    assert [row for row in rows if row[2] != "ok"] == []


@needs_data
def test_a_fault_in_one_layer_is_seen_from_there_on(golden, tmp_path):
    """The check itself: a BatchNorm mean that is off in Mixed_4d fails there and not before."""
    weights = dict(golden.weights)
    name = "InceptionV1/Mixed_4d/Branch_1/Conv2d_0b_3x3/BatchNorm/moving_mean"
    weights[name] = weights[name] + 0.05
    fx = mz.load_pretrained(NET, weights=write_v1(tmp_path / "off.ckpt", weights), features="all")
    ends = values_of(fx, golden.x)
    statuses = {row[0]: row[2] for row in golden.rows(ends["Logits"], ends)}
    assert statuses["Mixed_4c"] == "ok"
    assert statuses["Mixed_4d"] == statuses["Mixed_5c"] == statuses["(logits)"] == "FAIL"


@pytest.mark.parametrize(
    ("seed", "shape", "input_shape"),
    [
        pytest.param(1, (2, 224, 224, 3), None, id="224x224"),
        pytest.param(2, (3, 160, 192, 3), (160, 192, 3), id="160x192"),
        pytest.param(3, (1, 75, 101, 3), (None, None, 3), id="75x101-open-sides"),
    ],
)
def test_every_end_point_is_that_of_plain_operations_at_other_seeds_and_sizes(tmp_path, seed, shape, input_shape):
    variable, arrays = random_variables(seed)
    x = np.random.default_rng(seed + 100).uniform(-1, 1, shape).astype(np.float32)
    expected = plain_inception_v1(x, variable)
    assert len(expected) == END_POINTS and len(arrays) == 230
    path = write_v1(tmp_path / "plain.ckpt", arrays)
    found = values_of(mz.load_pretrained(NET, weights=path, features="all", input_shape=input_shape), x)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        error = np.abs(found[name] - value).max() / value.std()
        assert error < 3e-4, f"{name}: {error:.1e} of the standard deviation"
