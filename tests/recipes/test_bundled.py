"""The bundled checkpoint is what its card says: bytes, variables, accuracy, and the picture of the demo."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import modelzoo as mz
from modelzoo.checkpoints import open_checkpoint
from modelzoo.checkpoints.write_v1 import write_v1
from recipes.inception_v1_scenes import ARCHIVE, HELD_OUT_SEED, MEMBER, SAMPLE, Settings, pack, top1
from recipes.scenes import CLASSES, HELD_OUT_STYLE, scene

NAME = "inception_v1_scenes"
BUNDLED = Path(mz.__file__).parent / "bundled"

#: Seeds of which neither the training nor the measuring of the card's accuracy made use.
UNSEEN = range(HELD_OUT_SEED + 500_000, HELD_OUT_SEED + 500_010)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def fetched(cache):
    return mz.fetch(NAME, cache=cache, offline=True, progress=False)


@pytest.fixture(scope="module")
def model(cache):
    return mz.load_pretrained(NAME, cache=cache, offline=True, progress=False)


def test_what_is_bundled_is_small_and_nothing_else() -> None:
    files = [path for path in BUNDLED.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["demo.png", ARCHIVE]
    assert sum(path.stat().st_size for path in files) <= 3e6


def test_the_card_is_complete(model) -> None:
    card = model.card
    assert card.trust == "pinned"
    assert [url.url for url in card.files[0].urls] == [f"package:modelzoo/bundled/{ARCHIVE}"]
    assert [member.path for member in card.files[0].members] == [MEMBER]
    assert card.files[0].members[0].size and card.files[0].members[0].digests["sha256"]
    assert (tuple(card.labels.names), card.labels.offset, card.outputs[0].classes) == (CLASSES, 0, len(CLASSES))
    assert card.build.args == {"width": Settings().width}
    assert tuple(card.inputs[0].shape) == (Settings().size, Settings().size, 3)
    assert card.accuracy.top1 and card.accuracy.protocol and card.accuracy.source == "recipes/inception_v1_scenes.py"
    assert card.licence == "Apache-2.0" and card.paper and card.sources and card.notes
    assert set(card.taps) <= set(model.taps)


def test_every_variable_of_the_file_is_in_the_model(fetched, model) -> None:
    with open_checkpoint(fetched.files["weights"]) as arrays:
        assert set(arrays) == set(model.variable_names.values()) | {"global_step"}
        for layer in model.layers:
            for variable in layer.weights:
                name = model.variable_names[f"{layer.name}/{variable.name}"]
                assert (np.asarray(variable) == arrays[name]).all(), name


def test_the_accuracy_of_the_card_holds_on_pictures_nobody_saw(model) -> None:
    found = top1(model, model.preprocess, UNSEEN, Settings().drawn)
    assert found >= model.card.accuracy.top1 - 3


def test_the_held_out_style_is_beyond_chance_and_as_hard_as_the_card_says(model) -> None:
    (stated,) = (value for name, value in model.card.accuracy.metrics.items() if "style" in name)
    found = top1(model, model.preprocess, UNSEEN, Settings().drawn, HELD_OUT_STYLE)
    assert found == pytest.approx(stated, abs=12)  # 160 pictures: three standard errors
    assert found > 300 / len(CLASSES)


def test_the_picture_of_the_demo_is_drawn_by_the_recipe_and_classified_right(model) -> None:
    path = BUNDLED / "demo.png"
    drawn = scene(*SAMPLE).astype(int)
    assert np.abs(np.asarray(Image.open(path), int) - drawn).mean() < 1  # Pillow may round an edge otherwise one day
    label, probability, index = model.decode(model(model.preprocess(path)))[0][0]
    assert (label, index) == (SAMPLE[0], CLASSES.index(SAMPLE[0]))
    assert probability > 0.5


def test_writing_and_packing_again_gives_the_same_archive(fetched, tmp_path: Path) -> None:
    original = fetched.files["weights"]
    with open_checkpoint(original) as arrays:
        again = write_v1(tmp_path / MEMBER, {name: arrays[name] for name in arrays})
    assert again.read_bytes() == original.read_bytes()
    pack(again, tmp_path / ARCHIVE)
    bundled = (BUNDLED / ARCHIVE).read_bytes()
    # What is inside, since another zlib may compress it otherwise; bytes 4 to 8 are gzip's time.
    assert gzip.decompress((tmp_path / ARCHIVE).read_bytes()) == gzip.decompress(bundled)
    assert bundled[4:8] == bytes(4)
