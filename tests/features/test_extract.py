"""Features of many pictures in a file: formats, order, and nothing half-written."""

from __future__ import annotations

import hashlib
import json
import types

import numpy as np
import pytest
from PIL import Image

from modelzoo import errors, networks
from modelzoo.features import FeatureExtractor
from modelzoo.features.extract import find_pictures
from modelzoo.preprocess import Preprocess

TAPS = ["Mixed_4b", "Mixed_5c"]
NAMES = ["a.png", "b/one.png", "b/two.jpg", "z.png"]


@pytest.fixture(scope="module")
def fx():
    model = networks.build("inception_v1", input_shape=(64, 64, 3), include_top=False, width=0.125)
    preprocess = Preprocess.from_dict({"family": "inception", "size": [64, 64]})
    return FeatureExtractor(model, TAPS, pooling="avg", preprocess=preprocess)


@pytest.fixture(scope="module")
def whole(fx):
    """Maps as they are."""
    model = networks.build("inception_v1", input_shape=(64, 64, 3), include_top=False, width=0.125)
    return FeatureExtractor(model, "Mixed_4b", preprocess=fx.preprocess)


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
    assert [str(path.relative_to(folder)) for path in find_pictures(folder)] == NAMES


def test_npz_has_one_key_a_tap_and_a_row_a_picture(fx, folder, tmp_path):
    shapes = fx.extract(folder, tmp_path / "out.npz", batch_size=3, progress=False)
    with np.load(tmp_path / "out.npz") as out:
        assert sorted(out.files) == TAPS
        assert {tap: out[tap].shape for tap in TAPS} == shapes
        for row, name in enumerate(NAMES):
            for tap, values in fx(folder / name).items():
                np.testing.assert_array_equal(out[tap][row], values[0])  # to the bit, alone and in a batch
        assert out["Mixed_5c"].dtype == np.float32


def test_parquet_has_a_fixed_size_list_a_tap_with_its_shape(fx, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    fx.extract(folder, tmp_path / "out.parquet", batch_size=3, progress=False)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["path", *TAPS, "sha256"]
    field = table.schema.field("Mixed_5c")
    width = field.type.list_size
    assert json.loads(field.metadata[b"shape"]) == [width]
    assert table["path"].to_pylist() == [str(folder / name) for name in NAMES]
    assert table["sha256"].to_pylist() == [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES]
    expected = np.concatenate([fx(folder / name)["Mixed_5c"] for name in NAMES])
    np.testing.assert_array_equal(np.stack(table["Mixed_5c"].to_numpy()), expected)


def test_parquet_holds_whole_maps_in_c_order(whole, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    whole.extract(folder, tmp_path / "out.parquet", batch_size=2, progress=False)
    table = parquet.read_table(tmp_path / "out.parquet")
    shape = json.loads(table.schema.field("Mixed_4b").metadata[b"shape"])
    rows = np.stack(table["Mixed_4b"].to_numpy()).reshape(-1, *shape)
    np.testing.assert_array_equal(rows[2], whole(folder / "b/two.jpg")["Mixed_4b"][0])


def test_parquet_of_many_rows_has_groups_that_do_not_follow_the_batches(fx, folder, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("modelzoo.features.writers._GROUP_ROWS", 5)
    pictures = find_pictures(folder) * 3
    fx.extract(pictures, tmp_path / "out.parquet", batch_size=7, progress=False)
    file = parquet.ParquetFile(tmp_path / "out.parquet")
    assert [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)] == [5, 5, 2]
    table = file.read()
    assert table["path"].to_pylist() == [str(path) for path in pictures]
    expected = np.concatenate([fx(path)["Mixed_4b"] for path in pictures])
    np.testing.assert_array_equal(np.stack(table["Mixed_4b"].to_numpy()), expected)


def test_tfrecord_has_an_example_a_picture(whole, folder, tmp_path):
    import tensorflow as tf

    whole.extract(folder, tmp_path / "out.tfrecord", batch_size=3, progress=False)
    records = list(tf.data.TFRecordDataset(str(tmp_path / "out.tfrecord")).as_numpy_iterator())
    assert len(records) == 4
    for name, record in zip(NAMES, records, strict=True):
        shape = list(whole(folder / name)["Mixed_4b"].shape[1:])
        kinds = {
            "path": tf.io.FixedLenFeature([], tf.string),
            "sha256": tf.io.FixedLenFeature([], tf.string),
            "Mixed_4b": tf.io.FixedLenFeature(shape, tf.float32),
            "Mixed_4b/shape": tf.io.FixedLenFeature([3], tf.int64),
        }
        read = tf.io.parse_single_example(record, kinds)
        assert read["path"].numpy().decode() == str(folder / name)
        assert read["sha256"].numpy().decode() == hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert read["Mixed_4b/shape"].numpy().tolist() == shape
        np.testing.assert_array_equal(read["Mixed_4b"].numpy(), whole(folder / name)["Mixed_4b"][0])


def test_npy_holds_one_tap_and_refuses_two(fx, folder, tmp_path):
    with pytest.raises(errors.UsageError):
        fx.extract(folder, tmp_path / "out.npy", progress=False)
    one = FeatureExtractor.__new__(FeatureExtractor)
    one.__dict__.update(fx.__dict__)
    one.taps = {"Mixed_5c": fx.taps["Mixed_5c"]}
    one.extract(folder, tmp_path / "out.npy", progress=False)
    assert np.load(tmp_path / "out.npy", mmap_mode="r").shape[0] == 4


def test_a_broken_picture_is_skipped_and_told(fx, folder, tmp_path):
    (folder / "c.png").write_bytes(b"<html>not found</html>")
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:200])
    inputs = [folder, folder / "z.png"]
    result = fx.extract(inputs, tmp_path / "out.npz", batch_size=2, progress=False)
    assert [path.name for path in result.paths] == ["one.png", "two.jpg", "z.png", "z.png"]
    (first, damaged), (second, page) = result.skipped
    assert (first, second) == (folder / "a.png", folder / "c.png")
    assert str(first) in damaged
    assert str(second) in page
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_array_equal(out["Mixed_5c"][1], fx(folder / "b/two.jpg")["Mixed_5c"][0])
        assert len(out["Mixed_5c"]) == 4


def test_no_readable_picture_at_all_leaves_neither_the_file_nor_a_part_of_it(fx, tmp_path):
    (tmp_path / "c.png").write_bytes(b"<html>not found</html>")
    out = tmp_path / "results"
    out.mkdir()
    (out / "out.npz").write_bytes(b"what was there before")
    with pytest.raises(errors.ImageError) as caught:
        fx.extract(tmp_path / "c.png", out / "out.npz", batch_size=2, progress=False)
    assert "c.png" in str(caught.value)
    assert [path.name for path in out.iterdir()] == ["out.npz"]
    assert (out / "out.npz").read_bytes() == b"what was there before"


def test_pictures_that_keep_their_sizes_go_into_one_array_when_they_are_pooled(folder, tmp_path):
    model = networks.build("inception_v1", input_shape=(None, None, 3), include_top=False, width=0.125)
    keep = Preprocess.from_dict({"family": "inception", "geometry": "keep"})
    Image.new("RGB", (90, 70), (200, 30, 10)).save(folder / "large.png")
    pooled = FeatureExtractor(model, "Mixed_5c", pooling="max", preprocess=keep)
    result = pooled.extract(folder, tmp_path / "out.npy", batch_size=4, progress=False)
    rows = np.load(tmp_path / "out.npy")
    for row, path in zip(rows, result.paths, strict=True):
        np.testing.assert_array_equal(row, pooled(path)["Mixed_5c"][0])
    for batch_size in (1, 4):
        with pytest.raises(errors.InputError) as caught:
            maps = FeatureExtractor(model, "Mixed_5c", preprocess=keep)
            maps.extract(folder, tmp_path / "maps.npy", batch_size=batch_size, progress=False, restart=True)
        assert "pooling" in (caught.value.hint or "")
        assert not (tmp_path / "maps.npy").exists()


def test_a_network_of_one_fixed_batch_size_takes_any_number(folder, tmp_path):
    import keras

    x = keras.Input(batch_shape=(3, 16, 16, 3))
    y = keras.layers.Conv2D(4, 3, name="c")(x)
    model = keras.Model(x, y)
    model.taps = {"c": types.SimpleNamespace(tensor=y, end_point=True)}
    preprocess = Preprocess.from_dict({"family": "inception", "size": [16, 16]})
    fixed = FeatureExtractor(model, "c", preprocess=preprocess)
    fixed.extract(folder, tmp_path / "out.npy", batch_size=4, progress=False)
    expected = np.concatenate([fixed(folder / name)["c"] for name in NAMES])
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def write_list(path, names):
    if path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table({"label": [1] * len(names), "Image": names}), path)
    elif path.suffix in (".csv", ".tsv"):
        mark = "," if path.suffix == ".csv" else "\t"
        lines = [f'"first\nlabel"{mark}Image', *(f'"1"{mark}"{name}"' for name in names)]
        path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8-sig", newline="")
    else:
        path.write_text("\n".join(names) + "\n\n")


@pytest.mark.parametrize("ending", [".txt", ".lst", ".csv", ".tsv", ".parquet"])
def test_a_list_names_pictures_from_its_own_folder(folder, tmp_path, ending):
    elsewhere = tmp_path / "elsewhere.png"
    write_list(folder / f"list{ending}", ["z.png", "b/one.png", str(elsewhere), "z.png"])
    found = find_pictures(folder / f"list{ending}")
    assert found == [folder / "z.png", folder / "b/one.png", elsewhere, folder / "z.png"]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_the_column_of_a_table_can_be_said(folder, ending):
    write_list(folder / f"list{ending}", ["z.png"])
    assert find_pictures(folder / f"list{ending}", column="Image") == [folder / "z.png"]
    with pytest.raises(errors.UsageError) as caught:
        find_pictures(folder / f"list{ending}", column="Imag")
    assert "'Image'" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.csv", b"label,place\n1,z.png\n", errors.UsageError),
        ("a.csv", b"", errors.UsageError),
        ("a.txt", b"\xff\xfe\x00\x80", errors.ImageError),
        ("a.txt", b"\n", errors.ImageError),
        ("a.parquet", b"PAR1 no", errors.ImageError),
    ],
)
def test_lists_that_are_none_are_refused(tmp_path, name, content, error):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error):
        find_pictures(tmp_path / name)


def test_a_missing_picture_of_a_list_is_skipped(fx, folder, tmp_path):
    write_list(folder / "list.txt", ["z.png", "nowhere.png", "b"])
    result = fx.extract(folder / "list.txt", tmp_path / "out.npz", progress=False)
    assert result.paths == [folder / "z.png"]
    assert [path.name for path, _ in result.skipped] == ["nowhere.png", "b"]
    assert "There is no file" in result.skipped[0][1]
    assert "is a folder" in result.skipped[1][1]


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, "3"])
def test_a_batch_size_that_is_none_is_refused(fx, folder, tmp_path, batch_size):
    with pytest.raises(errors.UsageError):
        fx.extract(folder, tmp_path / "out.npz", batch_size=batch_size, progress=False)


def test_a_run_that_computed_nothing_leaves_no_journal(fx, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fx, "run", lambda batch: 1 / 0)
    out = tmp_path / "results"
    out.mkdir()
    with pytest.raises(ZeroDivisionError):
        fx.extract(folder, out / "out.npz", progress=False)
    assert list(out.iterdir()) == []


def test_without_preprocessing_pictures_are_refused(folder, tmp_path):
    model = networks.build("inception_v1", input_shape=(64, 64, 3), include_top=False, width=0.125)
    with pytest.raises(errors.UsageError):
        FeatureExtractor(model, "Mixed_5c").extract(folder, tmp_path / "out.npz", progress=False)


@pytest.mark.parametrize("out", ["out.csv", "missing/out.npz"])
def test_an_output_that_cannot_be_is_refused_before_any_work(fx, folder, tmp_path, out):
    with pytest.raises((errors.UsageError, errors.ReadOnlyError)):
        fx.extract(folder, tmp_path / out, progress=False)


@pytest.mark.parametrize("inputs", ["nowhere.jpg", "*.nothing", []])
def test_inputs_that_are_not_there_are_named(fx, tmp_path, inputs):
    with pytest.raises(errors.ImageError):
        fx.extract(inputs, tmp_path / "out.npz", progress=False)
