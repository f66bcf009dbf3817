"""What is written is what is read, by our readers and by TensorFlow's."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.checkpoints import open_checkpoint
from modelzoo.checkpoints.wire import pack_varint, pack_varints, unpack_varints
from modelzoo.checkpoints.write_v1 import write_v1
from modelzoo.checkpoints.write_v2 import write_v2
from modelzoo.errors import ArrayError, DiskError

_RANDOM = np.random.default_rng(11)
TYPES = (
    *("float16", "float32", "float64", "complex64", "complex128", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16"),
)
ARRAYS = {
    f"of/{name}": _RANDOM.integers(0, 256, 48, np.uint8).view(name).reshape(-1, 3)
    for name in TYPES
    if name not in ("bool", "complex128")
} | {
    "of/bool": np.array([True, False]),
    "of/complex128": np.array([1 + 2j, -3j]),
    "strings": np.array([b"", b"abc", "hélló".encode(), b"x" * 300], dtype=object).reshape(2, 2),
    "scalar": np.array(-7, dtype=np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "extreme": np.array([-(2**63), 2**63 - 1, 0, -1]),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "big-endian": np.arange(3, dtype=">f4"),
    "a/long/name" * 50: np.ones(3, np.float32),
    "umlaut/ü\x00\xff": np.ones(1, np.float32),
    "large": _RANDOM.random((400, 500), np.float32),
}
WRITERS = {"tf-v1": write_v1, "tf-v2": write_v2}


def assert_same(read, name, array):
    if array.dtype.kind == "O":
        assert read.ravel().tolist() == array.ravel().tolist()
    else:
        assert read.dtype == array.dtype.newbyteorder("=")
        assert read.tobytes() == array.astype(read.dtype).tobytes(), name
    assert read.shape == array.shape


@pytest.mark.parametrize("format_", WRITERS)
def test_arrays_come_back_to_the_bit(tmp_path, format_):
    path = WRITERS[format_](tmp_path / "model.ckpt", ARRAYS)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.format == format_
        assert set(checkpoint) == set(ARRAYS)
        for name, array in ARRAYS.items():
            assert_same(checkpoint[name], name, array)


def test_tensorflow_reads_them_too(tmp_path):
    import tensorflow as tf

    for format_, write in WRITERS.items():
        arrays = {name: array for name, array in ARRAYS.items() if "\x00" not in name}
        if format_ == "tf-v2":
            arrays["of/bfloat16"] = np.arange(5).astype(ml_dtypes.bfloat16)
        path = str(write(tmp_path / format_, arrays))
        reader = tf.train.load_checkpoint(path)
        assert set(reader.get_variable_to_shape_map()) == set(arrays)
        for name, array in arrays.items():
            # The operation, because `reader.get_tensor` knows fewer types of V1 files.
            dtype = tf.string if array.dtype.kind == "O" else tf.as_dtype(array.dtype.newbyteorder("="))
            (value,) = tf.raw_ops.RestoreV2(prefix=path, tensor_names=[name], shape_and_slices=[""], dtypes=[dtype])
            assert_same(value.numpy(), name, array)


def test_a_saver_of_tensorflow_1_restores_them(tmp_path):
    import tensorflow as tf

    path = write_v1(tmp_path / "model.ckpt", {"w": ARRAYS["large"], "global_step": ARRAYS["scalar"]})
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        variables = [
            v1.get_variable("w", shape=(400, 500), use_resource=False),
            v1.get_variable("global_step", shape=(), dtype=tf.int64, use_resource=False),
        ]
        v1.train.Saver(variables).restore(session, str(path))
        values = session.run(variables)
    assert np.array_equal(values[0], ARRAYS["large"])
    assert values[1] == -7


@pytest.mark.parametrize("format_", WRITERS)
def test_the_same_arrays_give_the_same_bytes_and_leave_nothing_else(tmp_path, format_):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    WRITERS[format_](tmp_path / "a" / "m", ARRAYS)
    WRITERS[format_](tmp_path / "b" / "m", dict(reversed(ARRAYS.items())))
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / f).iterdir()} for f in "ab")
    assert first == second
    assert set(first) == ({"m"} if format_ == "tf-v1" else {"m.index", "m.data-00000-of-00001"})


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"": np.ones(1)}, "needs a name"),
        ({"when": np.zeros(2, "datetime64[s]")}, "cannot hold 'when'"),
        ({"text": np.array(["a"])}, "cannot hold 'text'"),
        ({"objects": np.array([b"a", 3], dtype=object)}, "not bytes"),
        ({"unsigned": np.zeros(2, np.uint64)}, "cannot hold 'unsigned'"),
        ({"half": np.zeros(2, ml_dtypes.bfloat16)}, "cannot hold 'half'"),
    ],
)
def test_what_v1_cannot_hold_is_refused_before_anything_is_written(tmp_path, arrays, words):
    with pytest.raises(ArrayError, match=words):
        write_v1(tmp_path / "model.ckpt", {"good": np.ones(3), **arrays})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_", WRITERS)
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, format_, monkeypatch):
    write = WRITERS[format_]
    write(tmp_path / "model.ckpt", {"old": np.ones(3)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        write(tmp_path / "model.ckpt", {"new": np.ones(3)})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_folder_to_write_into_is_an_error_of_the_disk(tmp_path):
    with pytest.raises(DiskError):
        write_v1(tmp_path / "absent" / "model.ckpt", ARRAYS)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_varints_in_bulk_are_varints_one_by_one(numbers):
    packed = pack_varints(np.array(numbers, dtype=np.int64))
    assert packed == b"".join(map(pack_varint, numbers))
    assert unpack_varints(packed).astype(np.int64).tolist() == numbers
