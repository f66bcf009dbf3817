"""Checkpoints that others trained and published: read as TensorFlow, h5py and NumPy read them."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.checkpoints import open_checkpoint
from tests.data_folder import DATA, needs_data

pytestmark = needs_data

MODELS = DATA / "models" if DATA else None
TENSORFLOW = {
    "fsrcnn/fsrcnn_ckpt": ("tf-v2", 71),
    "char_rnn_shakespeare/model-85340": ("tf-v2", 27),
    "fast_style/wave/fns.ckpt": ("tf-v2", 48),
    "rl_tuner_note_rnn/model.ckpt-1994": ("tf-v1", 9),
    "mlperf_tiny/kws_ref_model": ("tf-v2", 141),
    "samplenet/samplenet_tf2": ("tf-v2", 45),
    "ultraface_slim/slim": ("tf-v2", 159),
}


@pytest.mark.parametrize("name", TENSORFLOW)
def test_tensorflow_checkpoints_open_with_every_tensor(name):
    with open_checkpoint(MODELS / name) as checkpoint:
        assert (checkpoint.format, len(checkpoint)) == TENSORFLOW[name]
        for tensor, array in checkpoint.items():
            assert array.shape == checkpoint.entries[tensor].shape
            if array.dtype.kind == "f":
                assert np.isfinite(array).all()


@pytest.mark.parametrize("name", TENSORFLOW)
def test_tensorflow_reads_the_same_values(name):
    import tensorflow as tf

    place = MODELS / name
    if place.is_dir():
        place = place / "variables" / "variables"
    reader = tf.train.load_checkpoint(str(place))
    with open_checkpoint(MODELS / name) as checkpoint:
        theirs = reader.get_variable_to_shape_map()
        assert set(checkpoint) == set(theirs) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
        for tensor, array in checkpoint.items():
            value = np.asarray(reader.get_tensor(tensor))
            if array.dtype.kind == "O":
                assert array.ravel().tolist() == value.ravel().tolist()
            else:
                assert array.tobytes() == value.tobytes()


def test_keras_files_hold_what_h5py_finds():
    import h5py

    compared = 0
    files = sorted(MODELS.rglob("*.h5"))
    for path in files:
        with open_checkpoint(path) as checkpoint, h5py.File(path) as file:
            root = file.get("model_weights", file)
            theirs = []
            root.visititems(lambda name, item: theirs.append(name) if isinstance(item, h5py.Dataset) else None)  # noqa: B023
            assert (checkpoint.format, sorted(checkpoint)) == ("keras-h5", sorted(theirs))
            for tensor, array in checkpoint.items():
                assert array.dtype == root[tensor].dtype
                assert np.array_equal(array, root[tensor][()])
                assert not array.flags.owndata, "a copy of values that lie in one piece"
                compared += 1
    assert len(files) >= 9
    assert compared >= 150


def test_the_architecture_of_a_whole_keras_model_is_at_hand():
    import json

    with open_checkpoint(MODELS / "mlperf_tiny/pretrainedResnet.h5") as checkpoint:
        assert json.loads(checkpoint.model_config)["class_name"]


@pytest.mark.parametrize(("name", "count"), [("det1", 13), ("det2", 16), ("det3", 21)])
def test_dictionaries_of_caffe_tensorflow_hold_what_pickle_finds(name, count):
    path = MODELS / "mtcnn_npy" / f"{name}.npy"
    trusted = np.load(path, allow_pickle=True, encoding="latin1").item()
    theirs = {f"{layer}/{part}": array for layer, parts in trusted.items() for part, array in parts.items()}
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.format == "npy"
        assert len(checkpoint) == count
        assert set(checkpoint) == set(theirs)
        for tensor, array in checkpoint.items():
            assert array.dtype == theirs[tensor].dtype
            assert np.array_equal(array, theirs[tensor])


def test_an_archive_of_arrays_holds_what_numpy_finds():
    path = MODELS / "bvlc_googlenet" / "golden_elephant_cv2.npz"
    with open_checkpoint(path) as checkpoint, np.load(path) as theirs:
        assert set(checkpoint) == set(theirs.files)
        for name in theirs.files:
            assert np.array_equal(checkpoint[name], theirs[name])


def test_graphs_are_told_apart_from_weights():
    from modelzoo.errors import CheckpointFormatError

    for name in ("fsrcnn/FSRCNN_x3.pb", "dtln/model_1.onnx"):
        with pytest.raises(CheckpointFormatError, match="modelzoo convert"):
            open_checkpoint(MODELS / name)
