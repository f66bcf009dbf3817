"""Each format: right values, views where the format allows them, and our own error for what is damaged or unsafe."""

from __future__ import annotations

import json
import os
import pickle
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from modelzoo import errors
from modelzoo.checkpoints import open_checkpoint
from modelzoo.checkpoints.write_v1 import write_v1

ARRAYS = {
    "net/a/weights": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "net/a/biases": np.array([-0.0, np.nan, np.inf], np.float32),
    "net/empty": np.zeros((0, 3), np.float32),
    "net/scalar": np.float32(2.5),
}


def equal(checkpoint, arrays) -> None:
    assert set(checkpoint) == set(arrays)
    for name, array in arrays.items():
        found = checkpoint[name]
        assert found.shape == np.shape(array)
        assert found.dtype == np.asarray(array).dtype
        assert found.tobytes() == np.asarray(array).tobytes()
        assert not found.flags.writeable
        assert checkpoint.entries[name].shape == np.shape(array)


def test_a_v1_checkpoint_that_we_wrote(tmp_path):
    arrays = {**ARRAYS, "global_step": np.int64(-7), "steps": np.arange(-3, 4, dtype=np.int32), "flag": np.array(True)}
    with open_checkpoint(write_v1(tmp_path / "model.ckpt", arrays)) as checkpoint:
        assert checkpoint.format == "tf-v1"
        equal(checkpoint, arrays)


def test_writing_twice_gives_the_same_bytes_and_big_tables_have_several_blocks(tmp_path):
    arrays = {f"layer_{n}/weights": np.random.default_rng(n).random((200, 300), np.float32) for n in range(6)}
    first, second = write_v1(tmp_path / "a", arrays), write_v1(tmp_path / "b", dict(reversed(arrays.items())))
    assert first.read_bytes() == second.read_bytes()
    equal(open_checkpoint(first), arrays)


def test_a_type_that_v1_cannot_hold_is_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(errors.ArrayError):
        write_v1(tmp_path / "x", {"a": np.zeros(2, "datetime64[s]")})
    assert list(tmp_path.iterdir()) == []


def test_tensorflow_reads_what_we_wrote_and_we_what_it_wrote(tmp_path):
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(write_v1(tmp_path / "ours.ckpt", {**ARRAYS, "step": np.int64(3)})))
    for name, array in ARRAYS.items():
        assert reader.get_tensor(name).tobytes() == np.asarray(array).tobytes()
    v1 = tf.compat.v1
    for version in (1, 2):
        with v1.Graph().as_default(), v1.Session() as session:
            variables = [v1.get_variable(n, initializer=a, use_resource=False) for n, a in ARRAYS.items()]
            session.run(v1.global_variables_initializer())
            saver = v1.train.Saver(variables, write_version=version)
            path = saver.save(session, str(tmp_path / f"theirs{version}"), write_meta_graph=False)
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.format == f"tf-v{version}"
            equal(checkpoint, ARRAYS)


def test_safetensors_arrays_are_views(tmp_path):
    arrays = {name: np.asarray(array) for name, array in ARRAYS.items()}
    save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "pt"})
    with open_checkpoint(tmp_path / "x.safetensors") as checkpoint:
        equal(checkpoint, arrays)
        assert not checkpoint["net/a/weights"].flags.owndata


def test_safetensors_holds_narrow_types(tmp_path):
    types = {
        "BF16": ml_dtypes.bfloat16,
        "F8_E4M3": ml_dtypes.float8_e4m3fn,
        "F8_E5M2": ml_dtypes.float8_e5m2,
        "BOOL": bool,
    }
    header, body = {}, b""
    for code, dtype in types.items():
        values = np.array([[1, 0, 1]]).astype(dtype).tobytes()
        header[code] = {"dtype": code, "shape": [1, 3], "data_offsets": [len(body), len(body) + len(values)]}
        body += values
    text = json.dumps(header).encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    with open_checkpoint(tmp_path / "x.safetensors") as checkpoint:
        for code, dtype in types.items():
            assert checkpoint[code].dtype == np.dtype(dtype)
            assert checkpoint.entries[code].dtype == np.dtype(dtype).name
            assert checkpoint[code].astype(float).tolist() == [[1, 0, 1]]


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]},
        {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 1 << 50]},
        [],
    ],
)
def test_a_safetensors_header_that_lies_is_refused(tmp_path, entry):
    header = json.dumps({"a": entry}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(errors.CheckpointFormatError):
        open_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_archives(tmp_path, save):
    arrays = {"a": ARRAYS["net/a/weights"], "b/c": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "d": np.int8([1])}
    save(tmp_path / "x.npz", **arrays)
    with open_checkpoint(tmp_path / "x.npz") as checkpoint:
        assert set(checkpoint) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(checkpoint[name], array)


def test_an_npy_file_is_one_array(tmp_path):
    np.save(tmp_path / "x.npy", ARRAYS["net/a/weights"])
    with open_checkpoint(tmp_path / "x.npy") as checkpoint:
        equal(checkpoint, {"array": ARRAYS["net/a/weights"]})
        assert not checkpoint["array"].flags.owndata


def test_caffe_tensorflows_dictionary_is_read_without_unpickling_anything_else(tmp_path):
    layers = {
        "conv1": {"weights": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)), "biases": np.ones(3)},
        "fc": {"weights": np.zeros((0, 2), np.float32)},
    }
    np.save(tmp_path / "x.npy", np.array(layers, dtype=object), allow_pickle=True)
    with open_checkpoint(tmp_path / "x.npy") as checkpoint:
        assert set(checkpoint) == {"conv1/weights", "conv1/biases", "fc/weights"}
        np.testing.assert_array_equal(checkpoint["conv1/weights"], layers["conv1"]["weights"])
        assert checkpoint["fc/weights"].shape == (0, 2)


class Evil:
    """Unpickled, it would make a folder."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_hostile_pickle_is_refused_and_nothing_of_it_is_run(tmp_path, protocol):
    target = tmp_path / "made"
    body = pickle.dumps(np.array({"conv1": {"weights": Evil(target)}}, dtype=object), protocol)
    path = tmp_path / "x.npy"
    np.save(path, np.array({}, dtype=object), allow_pickle=True)
    head = path.read_bytes()
    path.write_bytes(head[: head.index(b"\n", 10) + 1] + body)
    with pytest.raises(errors.UnsafeFileError) as caught:
        open_checkpoint(path)
    assert "mkdir" in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize(
    "value",
    [[1, 2], {"a": "text"}, {"a": {"b": np.array(["x"])}}, {"a": {"b": np.array([None])}}, 3, {"a": {1: {2: 3}}}],
)
def test_a_pickle_of_something_else_is_refused(tmp_path, value):
    holder = np.empty((), object)
    holder[()] = value
    np.save(tmp_path / "x.npy", holder, allow_pickle=True)
    with pytest.raises(errors.CheckpointError):
        open_checkpoint(tmp_path / "x.npy")


def test_an_array_of_objects_in_an_archive_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([{}], dtype=object))
    with pytest.raises(errors.UnsafeFileError):
        open_checkpoint(tmp_path / "x.npz")


def h5_file(path, root="") -> dict:
    arrays = {"conv/conv/kernel:0": ARRAYS["net/a/weights"], "conv/conv/bias:0": np.arange(4, dtype=np.float32)}
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(root + name, data=array)
        file.attrs["layer_names"] = [b"conv"]
    return arrays


@pytest.mark.parametrize("root", ["", "model_weights/"])
def test_keras_h5_files_of_weights_and_of_whole_models(tmp_path, root):
    arrays = h5_file(tmp_path / "x.h5", root)
    with open_checkpoint(tmp_path / "x.h5") as checkpoint:
        equal(checkpoint, arrays)
        assert not checkpoint["conv/conv/kernel:0"].flags.owndata


def test_a_keras_archive_gives_its_weights(tmp_path):
    arrays = h5_file(tmp_path / "model.weights.h5")
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.write(tmp_path / "model.weights.h5", "model.weights.h5")
        archive.writestr("config.json", "{}")
    with open_checkpoint(tmp_path / "x.keras") as checkpoint:
        assert checkpoint.format == "keras-zip"
        equal(checkpoint, arrays)


def test_compressed_h5_is_read(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", data=ARRAYS["net/a/weights"], compression="gzip", shuffle=True, chunks=(1, 3, 4))
    equal(open_checkpoint(tmp_path / "x.h5"), {"a": ARRAYS["net/a/weights"]})


def external_link(file, folder):
    file["out"] = h5py.ExternalLink(str(folder / "other.h5"), "/conv")


def soft_link(file, folder):
    file["out"] = h5py.SoftLink("/conv/conv/kernel:0")


def external_storage(file, folder):
    (folder / "raw.bin").write_bytes(bytes(16))
    file.create_dataset("out", (4,), "f4", external=[(str(folder / "raw.bin"), 0, 16)])


def virtual(file, folder):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "b", (4,))
    file.create_virtual_dataset("out", layout)


@pytest.mark.parametrize("trick", [external_link, soft_link, external_storage, virtual])
def test_h5_that_reaches_elsewhere_is_refused(tmp_path, trick):
    h5_file(tmp_path / "x.h5")
    h5_file(tmp_path / "other.h5")
    with h5py.File(tmp_path / "x.h5", "a") as file:
        trick(file, tmp_path)
    with pytest.raises(errors.UnsafeFileError):
        open_checkpoint(tmp_path / "x.h5")


def test_an_h5_shape_that_the_file_cannot_hold_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))
    with pytest.raises(errors.CheckpointError):
        open_checkpoint(tmp_path / "x.h5")
