"""Features on disk: once a file, known by its bytes, forgotten when the backbone changes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from modelzoo.errors import UsageError
from modelzoo.finetune import Backbone, ClassFolder, FeatureCache
from tests.finetune.networks import picture_folder, small_network


@pytest.fixture
def pictures(tmp_path):
    return ClassFolder.read(picture_folder(tmp_path / "p", count=3))


def test_they_are_what_the_backbone_computes_and_are_computed_once(pictures, tmp_path):
    backbone = Backbone(small_network())
    cache = FeatureCache(backbone, tmp_path / "features")
    found = cache.features(pictures.paths, batch_size=4)
    wanted = np.asarray(backbone.model(backbone.preprocess(list(pictures.paths)), training=False))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert cache.computed == 9
    again = FeatureCache(Backbone(small_network()), tmp_path / "features")
    moved = tmp_path / "moved.png"
    shutil.copy(pictures.paths[4], moved)
    np.testing.assert_array_equal(again.features([moved, *pictures.paths]), found[[4, *range(9)]])
    assert again.computed == 0


def test_a_changed_file_is_computed_and_a_damaged_cache_too(pictures, tmp_path):
    backbone = Backbone(small_network())
    FeatureCache(backbone, tmp_path / "features").features(pictures.paths)
    shutil.copy(pictures.paths[0], pictures.paths[5])
    cache = FeatureCache(backbone, tmp_path / "features")
    rows = cache.features(pictures.paths)
    assert cache.computed == 0
    np.testing.assert_array_equal(rows[0], rows[5])
    (part,) = (tmp_path / "features").rglob("part-*.npz")
    part.write_bytes(part.read_bytes()[:-100])
    cache = FeatureCache(backbone, tmp_path / "features")
    np.testing.assert_array_equal(cache.features(pictures.paths), rows)
    assert cache.computed == 8  # two files are the same picture


def test_the_key_is_of_everything_that_features_depend_on():
    keys = {
        FeatureCache(backbone).key
        for backbone in (
            Backbone(small_network()),
            Backbone(small_network(seed=1)),
            Backbone(small_network(), tap="two"),
            Backbone(small_network(), tap="two", pooling="avg"),
            Backbone(small_network(), tap="two", pooling="max"),
        )
    }
    assert len(keys) == 5
    assert FeatureCache(Backbone(small_network())).key in keys


def test_refusals():
    with pytest.raises(UsageError, match="one tap"):
        FeatureCache(Backbone(small_network(), tap=["one", "two"]))
    network = small_network()
    del network.preprocess
    with pytest.raises(UsageError, match="prepared"):
        FeatureCache(Backbone(network))
