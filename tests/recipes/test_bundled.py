"""The bundled checkpoint is what its card says, and what its recipe makes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import modelzoo as mz
from modelzoo.checkpoints import open_checkpoint
from recipes.inception_v1_scenes import HELD_OUT_SEED, NAME, SAMPLE, Settings, accuracy, pack, run
from recipes.scenes import CLASSES, HELD_OUT_STYLE, scene

BUNDLED = Path(mz.__file__).parent / "bundled"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def model(cache):
    return mz.load_pretrained(NAME, cache=cache, offline=True)


def test_the_bundle_is_small():
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) <= 3 * 2**20


def test_the_card_names_the_classes_of_the_recipe():
    card = mz.info(NAME)
    assert card.labels is not None and card.labels.names == CLASSES
    assert card.trust == "pinned" and card.files[0].members[0].digests


def test_every_variable_of_the_file_is_in_the_model(model, cache):
    with open_checkpoint(mz.fetch(NAME, cache=cache).files["weights"]) as checkpoint:
        assert set(checkpoint) - {"global_step"} == set(model.variable_names.values())


def test_it_classifies_about_as_well_as_its_card_says(model):
    stated = mz.info(NAME).accuracy
    assert stated is not None and stated.top1 is not None
    assert accuracy(model, Settings(held_out=10), None) >= stated.top1 - 3
    (other,) = stated.metrics.values()
    assert accuracy(model, Settings(held_out=10), HELD_OUT_STYLE) >= other - 12


def test_it_knows_the_picture_of_the_demo_which_the_recipe_draws(model):
    picture = BUNDLED / "demo.png"
    assert np.array_equal(np.asarray(Image.open(picture)), scene(*SAMPLE))
    label, probability, _ = model.decode(model(model.preprocess(picture)), top=1)[0][0]
    assert label == SAMPLE[0]
    assert probability > 0.5


def test_held_out_seeds_are_none_of_training():
    assert Settings().pictures <= HELD_OUT_SEED


def test_archives_do_not_depend_on_who_packs_them_and_when(tmp_path):
    for folder, mtime in (("a", 1), ("b", 10**9)):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "x.ckpt"
        file.write_bytes(b"numbers" * 100)
        os.utime(file, (mtime, mtime))
        pack(file, tmp_path / f"{folder}.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


@pytest.mark.slow
def test_the_recipe_runs_from_drawing_to_card(tmp_path):
    settings = Settings(pictures=6, held_out=1, drawn=64, size=64, width=0.125, epochs=2, batch=16)
    numbers = run(settings, tmp_path / "out", tmp_path / "work")
    assert json.loads(json.dumps(numbers))["archive"]["size"] == (tmp_path / "out" / f"{NAME}.tar.gz").stat().st_size
    assert 0 <= numbers["top1"] <= 100
