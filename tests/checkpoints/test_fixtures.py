"""TensorFlow's own checkpoints, good and damaged, and real ones, read to the bit."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from modelzoo import errors
from modelzoo.checkpoints import open_checkpoint
from tests.data_folder import DATA, needs_data

pytestmark = needs_data

FIXTURES = DATA / "slim" / "fixtures" if DATA else Path()
EXPECTED = json.loads((FIXTURES / "expected.json").read_text()) if DATA else {"variables": {}, "strings_hex": {}}
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@pytest.mark.parametrize("name", EXPECTED["variables"])
def test_a_good_checkpoint_is_read_to_the_bit(name):
    values = np.load(FIXTURES / "expected.npz")
    wanted = {key: value for key, value in EXPECTED["variables"][name].items() if key != GRAPH}
    with open_checkpoint(FIXTURES / name) as checkpoint:
        assert set(checkpoint) == set(wanted)
        for variable, facts in wanted.items():
            array = checkpoint[variable]
            assert list(array.shape) == facts["shape"]
            strings = EXPECTED.get("strings_hex", {}).get(name, {}).get(variable)
            if strings is not None:
                assert [item.hex() for item in array.ravel()] == strings
                continue
            assert checkpoint.entries[variable].dtype == facts["dtype"]
            true = values[f"{name}/{variable}"]
            assert (array.view(np.uint16) if facts["dtype"] == "bfloat16" else array).tobytes() == true.tobytes()


@pytest.mark.parametrize("name,count", [("v1_many.ckpt", 402), ("v2_many.ckpt", 421)])
def test_many_variables(name, count):
    spec = importlib.util.spec_from_file_location("recipe", FIXTURES.parent / "recipe.py")
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    with open_checkpoint(FIXTURES / name) as checkpoint:
        assert len(checkpoint) == count
        for variable, array in checkpoint.items():
            true = recipe.uniforms(variable, 5, array.size).astype(np.float32).reshape(array.shape)
            assert array.tobytes() == true.tobytes()


def test_snappy_tables_hold_what_plain_ones_hold():
    for version in ("v1", "v2"):
        plain, packed = (
            open_checkpoint(FIXTURES / f"{version}_small.ckpt"),
            open_checkpoint(FIXTURES / f"{version}_snappy.ckpt"),
        )
        assert {n: a.tobytes() for n, a in plain.items() if a.dtype != object} == {
            n: a.tobytes() for n, a in packed.items() if a.dtype != object
        }
        assert set(plain) == set(packed)


def test_the_object_graph_is_kept_out_of_the_names_and_can_be_had():
    with open_checkpoint(FIXTURES / "v2_object.ckpt-1") as checkpoint:
        assert GRAPH not in checkpoint
        assert b"VARIABLE_VALUE" in (checkpoint.object_graph or b"")


DAMAGED = {
    # prefix: how many variables cannot be read; None: it does not open
    "data_truncated": 3,
    "data_empty": 9,
    "data_missing": 9,
    "data_flipped": 1,
    "data_flipped_numeric": 1,
    "index_truncated": None,
    "index_tail_cut": None,
    "index_magic": None,
    "index_empty": None,
    "index_html": None,
    "index_flipped": None,
    "shard_missing": 3,
    "v1_truncated.ckpt": None,
    "v1_magic.ckpt": None,
    "v1_flipped.ckpt": None,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_checkpoint_raises_our_error_that_names_the_file(name):
    path = FIXTURES / "bad" / name
    if DAMAGED[name] is None:
        with pytest.raises(errors.CheckpointFormatError) as caught:
            open_checkpoint(path)
        assert name in str(caught.value)
        return
    failed = []
    with open_checkpoint(path) as checkpoint:
        for variable in checkpoint:
            try:
                checkpoint[variable]
            except errors.CheckpointFormatError as error:
                failed.append(variable)
                assert name in str(error)
    assert len(failed) == DAMAGED[name]


def test_a_damaged_second_block_spoils_its_own_variables_only():
    with open_checkpoint(FIXTURES / "bad" / "v1_flipped_second_block.ckpt") as checkpoint:
        assert len(checkpoint) == 402
        good = 0
        for variable in checkpoint:
            try:
                checkpoint[variable]
                good += 1
            except errors.CheckpointFormatError as error:
                assert "checksum" in str(error)
    assert 0 < good < 402


REAL = [
    "fsrcnn/fsrcnn_ckpt",
    "char_rnn_shakespeare/model-85340",
    "fast_style/wave/fns.ckpt",
    "ultraface_slim/slim",
    "samplenet/samplenet_tf2",
    "mlperf_tiny/kws_ref_model",
]


@pytest.mark.parametrize("name", REAL)
def test_a_real_checkpoint_equals_what_tensorflow_reads(name):
    import tensorflow as tf

    path = DATA / "models" / name  # type: ignore[operator]
    prefix = path / "variables" / "variables" if path.is_dir() else path
    reader = tf.train.load_checkpoint(str(prefix))
    with open_checkpoint(path) as checkpoint:
        assert set(checkpoint) == set(reader.get_variable_to_shape_map()) - {GRAPH}
        for variable, array in checkpoint.items():
            true = np.asarray(reader.get_tensor(variable))
            if array.dtype != object:
                assert array.tobytes() == true.tobytes()


def test_real_h5_files_equal_what_h5py_reads():
    import h5py

    files = sorted((DATA / "models").rglob("*.h5"))  # type: ignore[operator]
    compared = 0
    for path in files:
        with open_checkpoint(path) as checkpoint, h5py.File(path) as file:
            root = file.get("model_weights", file)
            for name, array in checkpoint.items():
                np.testing.assert_array_equal(array, root[name][()])
                compared += 1
    assert len(files) >= 9 and compared >= 150


def test_real_caffe_tensorflow_dictionaries_equal_what_numpy_unpickles():
    compared = 0
    for path in sorted((DATA / "models" / "mtcnn_npy").glob("*.npy")):  # type: ignore[operator]
        true = np.load(path, allow_pickle=True, encoding="latin1").item()
        with open_checkpoint(path) as checkpoint:
            assert len(checkpoint) == sum(map(len, true.values()))
            for layer, parameters in true.items():
                for parameter, array in parameters.items():
                    np.testing.assert_array_equal(checkpoint[f"{layer}/{parameter}"], array)
                    compared += 1
    assert compared == 50
