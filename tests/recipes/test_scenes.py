"""The drawn pictures, and the bundled checkpoint that was trained on them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import modelzoo as mz
from recipes.inception_v1_scenes import HELD_OUT_SEED, NAME, SAMPLE, Settings, accuracy, pack, run
from recipes.scenes import CLASSES, HELD_OUT_STYLE, scene

BUNDLED = Path(mz.__file__).parent / "bundled"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return mz.load_pretrained(NAME, cache=tmp_path_factory.mktemp("cache"), offline=True)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_draws_in_every_style(name):
    pictures = [scene(name, 5, 64, style=style) for style in range(HELD_OUT_STYLE + 1)]
    assert all(picture.shape == (64, 64, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_a_seed_draws_the_same_in_every_process():
    code = """
import hashlib
from recipes.scenes import CLASSES, scene
print(hashlib.sha256(b"".join(scene(name, 3, 48).tobytes() for name in CLASSES)).hexdigest())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    here = hashlib.sha256(b"".join(scene(name, 3, 48).tobytes() for name in CLASSES)).hexdigest()
    assert done.stdout.strip() == here


def test_the_bundle_is_small():
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) <= 3 * 2**20


def test_the_card_names_the_classes_of_the_recipe():
    card = mz.info(NAME)
    assert card.labels is not None and card.labels.names == CLASSES
    assert card.trust == "pinned"


def test_it_classifies_about_as_well_as_its_card_says(model):
    stated = mz.info(NAME).accuracy
    assert stated is not None and stated.top1 is not None
    measured = accuracy(model, Settings(held_out=10), None)
    assert measured >= stated.top1 - 3


def test_it_knows_the_picture_of_the_demo(model):
    picture = BUNDLED / "demo.png"
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
