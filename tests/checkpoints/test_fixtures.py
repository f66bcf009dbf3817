"""Checkpoints that TensorFlow's own savers wrote, equal to the bit; damaged ones raise the right error."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from modelzoo.checkpoints import open_checkpoint
from modelzoo.errors import CheckpointFormatError
from tests.data_folder import DATA, needs_data

pytestmark = needs_data

GOOD = [
    f"v{version}_{name}.ckpt" for version in (1, 2) for name in ("mixed", "small", "sharded", "slices", "snappy")
] + ["v2_ema.ckpt", "v2_object.ckpt-1"]
SAME_AS = {"v1_snappy.ckpt": "v1_small.ckpt", "v2_snappy.ckpt": "v2_small.ckpt"}
SHOWN = {"v1_mixed.ckpt": 31, "v2_mixed.ckpt": 32, "v2_object.ckpt-1": 10, "v2_ema.ckpt": 13, "v2_slices.ckpt": 3}
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def fixture(name):
    return DATA / "slim" / "fixtures" / name


@pytest.fixture(scope="module")
def expected():
    with np.load(fixture("expected.npz")) as arrays:
        values = dict(arrays)
    return json.loads(fixture("expected.json").read_text()), values


def assert_as_expected(checkpoint, name, key, expected):
    """One tensor, by the name of its set: type, shape, and every byte."""
    listed, values = expected
    said = listed["variables"][key][name]
    assert checkpoint.entries[name].dtype == said["dtype"]
    assert checkpoint.entries[name].shape == tuple(said["shape"])
    array = checkpoint[name]
    assert array.shape == tuple(said["shape"])
    assert not array.flags.writeable
    if said["dtype"] == "string":
        assert [item.hex() for item in array.ravel()] == listed["strings_hex"][key][name]
        return
    assert array.dtype.name == said["dtype"]
    true = values[f"{key}/{name}"]
    assert array.tobytes() == true.tobytes()


@pytest.mark.parametrize("name", GOOD)
def test_every_tensor_is_read_to_the_bit(name, expected):
    key = SAME_AS.get(name, name)
    with open_checkpoint(fixture(name)) as checkpoint:
        wanted = set(expected[0]["variables"][key]) - {GRAPH}
        assert set(checkpoint) == wanted
        assert len(wanted) == SHOWN.get(name, len(wanted)) > 0
        for tensor in wanted:
            assert_as_expected(checkpoint, tensor, key, expected)


@pytest.mark.parametrize(("name", "count"), [("v1_many.ckpt", 402), ("v2_many.ckpt", 421)])
def test_tables_of_several_blocks_are_read_whole(name, count):
    with open_checkpoint(fixture(name)) as checkpoint:
        assert len(checkpoint) == count
        for tensor, array in checkpoint.items():
            size = int(np.prod(array.shape))
            stream = np.random.Generator(np.random.PCG64(zlib.crc32(tensor.encode()) ^ 5)).random(size)
            assert array.tobytes() == stream.astype(np.float32).tobytes()


def test_the_object_graph_is_kept_out_of_the_list_of_weights():
    with open_checkpoint(fixture("v2_object.ckpt-1")) as checkpoint:
        assert GRAPH not in checkpoint
        assert b"VARIABLE_VALUE" in checkpoint.object_graph
    with open_checkpoint(fixture("v2_small.ckpt")) as checkpoint:
        assert checkpoint.object_graph is None


def test_values_that_lie_plainly_in_the_file_are_views_that_outlive_it():
    with open_checkpoint(fixture("v2_small.ckpt")) as checkpoint:
        array = checkpoint["net/InceptionV1/Conv2d_1a_7x7/weights"]
        assert not array.flags.owndata
        before = array.copy()
    assert np.array_equal(array, before)


@pytest.mark.parametrize(
    "name", ["index_truncated", "index_tail_cut", "index_magic", "index_empty", "index_html", "index_flipped"]
)
def test_a_damaged_index_does_not_open(name):
    words = {"index_flipped": "checksum", "index_empty": "too short"}.get(name, "bad magic number")
    for given in (name, f"{name}.index", f"{name}.data-00000-of-00001"):
        with pytest.raises(CheckpointFormatError, match=words) as caught:
            open_checkpoint(fixture("bad") / given)
        assert f"{name}.index" in str(caught.value)


@pytest.mark.parametrize("name", ["v1_truncated.ckpt", "v1_magic.ckpt", "v1_flipped.ckpt"])
def test_a_damaged_v1_file_does_not_open(name):
    with pytest.raises(CheckpointFormatError, match="checksum" if "flipped" in name else "without its end") as caught:
        open_checkpoint(fixture("bad") / name)
    assert name in str(caught.value)


def test_a_damaged_block_costs_only_its_own_tensors():
    with open_checkpoint(fixture("bad") / "v1_flipped_second_block.ckpt") as checkpoint:
        assert len(checkpoint) == 402
        outcomes = {"read": 0, "refused": 0}
        for name in checkpoint:
            try:
                checkpoint[name]
                outcomes["read"] += 1
            except CheckpointFormatError as error:
                assert "checksum of data block 1" in str(error)
                outcomes["refused"] += 1
    assert outcomes["read"] and outcomes["refused"]


WEIGHTS, OTHERS, THIRD = (
    f"net/InceptionV1/{name}/weights" for name in ("Conv2d_1a_7x7", "Conv2d_1a_7x7x", "Conv2d_2b_1x1")
)


@pytest.mark.parametrize(
    ("name", "words", "failing"),
    [
        ("data_truncated", "too short", {WEIGHTS, OTHERS, THIRD}),
        ("data_flipped", "checksum", {"dt/string"}),
        ("data_flipped_numeric", "checksum", {WEIGHTS}),
        ("data_empty", "too short", None),
        ("data_missing", "data-00000-of-00001 is missing", None),
        (
            "shard_missing",
            "data-00001-of-00003 is missing",
            {"dt/string", "net/InceptionV1/Conv2d_1a_7x7/BatchNorm/beta", OTHERS},
        ),
    ],
)
def test_damaged_data_cost_only_the_tensors_they_hold(name, words, failing, expected):
    good = "v2_sharded.ckpt" if name == "shard_missing" else "v2_small.ckpt"
    with open_checkpoint(fixture("bad") / name) as checkpoint:
        assert set(checkpoint) == set(expected[0]["variables"][good])
        for tensor in checkpoint:
            if failing is None or tensor in failing:
                with pytest.raises(CheckpointFormatError, match=words) as caught:
                    checkpoint[tensor]
                assert name in str(caught.value)
                assert tensor in str(caught.value)
            else:
                assert_as_expected(checkpoint, tensor, good, expected)


def test_every_damaged_set_was_looked_at():
    names = {path.name.split(".")[0] for path in fixture("bad").iterdir()}
    assert names == {
        *("index_truncated", "index_tail_cut", "index_magic", "index_empty", "index_html", "index_flipped"),
        *("v1_truncated", "v1_magic", "v1_flipped", "v1_flipped_second_block"),
        *("data_truncated", "data_flipped", "data_flipped_numeric", "data_empty", "data_missing", "shard_missing"),
    }
