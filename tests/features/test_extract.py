"""Features of many pictures in a file: formats, order, and nothing half-written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from modelzoo import errors, networks
from modelzoo.features import FeatureExtractor
from modelzoo.features.extract import find_pictures
from modelzoo.preprocess import Preprocess

TAPS = ["Mixed_4b", "Mixed_5c"]


@pytest.fixture(scope="module")
def fx():
    model = networks.build("inception_v1", input_shape=(64, 64, 3), include_top=False, width=0.125)
    preprocess = Preprocess.from_dict({"family": "inception", "size": [64, 64]})
    return FeatureExtractor(model, TAPS, pooling="avg", preprocess=preprocess)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    (root / "b").mkdir(parents=True)
    rng = np.random.default_rng(5)
    for name in ("z.png", "a.png", "b/one.png", "b/two.jpg"):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(root / name)
    (root / "notes.txt").write_text("no picture")
    return root


def test_a_folder_is_searched_in_the_order_of_its_names(folder):
    assert [str(path.relative_to(folder)) for path in find_pictures(folder)] == [
        "a.png",
        "b/one.png",
        "b/two.jpg",
        "z.png",
    ]


def test_npz_has_one_key_a_tap_and_a_row_a_picture(fx, folder, tmp_path):
    shapes = fx.extract(folder, tmp_path / "out.npz", batch_size=3, progress=False)
    with np.load(tmp_path / "out.npz") as out:
        assert sorted(out.files) == TAPS
        assert {tap: out[tap].shape for tap in TAPS} == shapes
        np.testing.assert_allclose(out["Mixed_5c"][0], fx(folder / "a.png")["Mixed_5c"][0], rtol=1e-4, atol=1e-5)
        assert out["Mixed_5c"].dtype == np.float32


def test_parquet_has_a_fixed_size_list_a_tap_with_its_shape(fx, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    fx.extract(folder, tmp_path / "out.parquet", batch_size=3, progress=False)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["path", *TAPS]
    field = table.schema.field("Mixed_5c")
    width = field.type.list_size
    assert json.loads(field.metadata[b"shape"]) == [width]
    assert [path.rsplit("/", 1)[-1] for path in table["path"].to_pylist()] == ["a.png", "one.png", "two.jpg", "z.png"]


def test_npy_holds_one_tap_and_refuses_two(fx, folder, tmp_path):
    with pytest.raises(errors.UsageError):
        fx.extract(folder, tmp_path / "out.npy", progress=False)
    one = FeatureExtractor.__new__(FeatureExtractor)
    one.__dict__.update(fx.__dict__)
    one.taps = {"Mixed_5c": fx.taps["Mixed_5c"]}
    one.extract(folder, tmp_path / "out.npy", progress=False)
    assert np.load(tmp_path / "out.npy", mmap_mode="r").shape[0] == 4


def test_a_broken_picture_leaves_neither_the_file_nor_a_part_of_it(fx, folder, tmp_path):
    (folder / "c.png").write_bytes(b"<html>not found</html>")
    out = tmp_path / "results"
    out.mkdir()
    (out / "out.npz").write_bytes(b"what was there before")
    with pytest.raises(errors.ImageError) as caught:
        fx.extract(folder, out / "out.npz", batch_size=2, progress=False)
    assert "c.png" in str(caught.value)
    assert [path.name for path in out.iterdir()] == ["out.npz"]
    assert (out / "out.npz").read_bytes() == b"what was there before"


@pytest.mark.parametrize("out", ["out.csv", "missing/out.npz"])
def test_an_output_that_cannot_be_is_refused_before_any_work(fx, folder, tmp_path, out):
    with pytest.raises((errors.UsageError, errors.ReadOnlyError)):
        fx.extract(folder, tmp_path / out, progress=False)


@pytest.mark.parametrize("inputs", ["nowhere.jpg", "*.nothing", []])
def test_inputs_that_are_not_there_are_named(fx, tmp_path, inputs):
    with pytest.raises(errors.ImageError):
        fx.extract(inputs, tmp_path / "out.npz", progress=False)
