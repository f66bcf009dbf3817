"""A path says where, its bytes say what."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from modelzoo.checkpoints import Checkpoint, MissingTensorError, open_checkpoint
from modelzoo.checkpoints.write_v1 import write_v1
from modelzoo.checkpoints.write_v2 import write_v2
from modelzoo.errors import CheckpointError, CheckpointFormatError, UnsafeFileError
from tests.checkpoints.files import ARRAYS, make

FORMATS = ("tf-v1", "tf-v2", "keras-h5", "keras-zip", "npy", "npz", "safetensors")


@pytest.fixture
def made(tmp_path):
    return make(tmp_path)


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_gives_the_arrays_that_were_saved(made, format_):
    with open_checkpoint(made[format_]) as checkpoint:
        assert isinstance(checkpoint, Checkpoint)
        assert checkpoint.format == format_
        names = [name for name in ARRAYS if format_ != "npy" or "/" in name]
        assert set(names) <= set(checkpoint)
        for name in names:
            array = checkpoint[name]
            assert checkpoint.entries[name].dtype == array.dtype.name == ARRAYS[name].dtype.name
            assert checkpoint.entries[name].shape == array.shape == ARRAYS[name].shape
            assert array.tobytes() == ARRAYS[name].tobytes()
            assert array.flags.c_contiguous
            assert not array.flags.writeable


@pytest.mark.parametrize("format_", [format_ for format_ in FORMATS if format_ != "tf-v2"])
def test_the_name_of_a_file_does_not_matter(made, format_, tmp_path):
    other = tmp_path / "weights.bin"
    made[format_].rename(other)
    with open_checkpoint(str(other)) as checkpoint:
        assert checkpoint.format == format_


@pytest.mark.parametrize("format_", FORMATS)
def test_arrays_outlive_the_checkpoint_and_a_closed_one_says_so(made, format_):
    checkpoint = open_checkpoint(made[format_])
    name = next(iter(checkpoint))
    before = checkpoint[name].copy()
    array = checkpoint[name]
    checkpoint.close()
    assert np.array_equal(array, before)
    if format_ != "npy":  # whose dictionary is read at once
        with pytest.raises(CheckpointError, match="has been closed"):
            checkpoint[name]


def test_a_missing_name_lists_the_nearest(made):
    with open_checkpoint(made["tf-v1"]) as checkpoint:
        with pytest.raises(MissingTensorError, match=r"has no tensor 'conv/weight'.*\n.*'conv/weights'"):
            checkpoint["conv/weight"]
        assert checkpoint.get("conv/weight") is None


@pytest.mark.parametrize("given", ["v2.ckpt", "v2.ckpt.index", "v2.ckpt.data-00000-of-00001"])
def test_a_v2_checkpoint_is_found_by_each_of_its_names(made, tmp_path, given):
    with open_checkpoint(tmp_path / given) as checkpoint:
        assert checkpoint.format == "tf-v2"
        assert checkpoint.path == tmp_path / "v2.ckpt"


def test_a_v2_index_of_another_name_is_told_apart_from_v1(made, tmp_path):
    (tmp_path / "v2.ckpt.index").rename(tmp_path / "weights")
    with pytest.raises(CheckpointFormatError, match="index of a V2 checkpoint"):
        open_checkpoint(tmp_path / "weights")
    with pytest.raises(CheckpointError, match=r"index of the checkpoint 'v2.ckpt' is missing"):
        open_checkpoint(tmp_path / "v2.ckpt")


def shards(folder):
    for number, name in enumerate(ARRAYS):
        write_v1(folder / f"model-{number:05d}-of-00003", {name: ARRAYS[name]})


@pytest.mark.parametrize("given", ["model", "model-00001-of-00003"])
def test_a_sharded_v1_checkpoint_is_opened_whole(tmp_path, given):
    shards(tmp_path)
    write_v1(tmp_path / "model-00000-of-00002", {"stray": ARRAYS["step"]})
    with open_checkpoint(tmp_path / given) as checkpoint:
        assert set(checkpoint) == set(ARRAYS)


def test_a_lost_shard_is_named(tmp_path):
    shards(tmp_path)
    (tmp_path / "model-00001-of-00003").unlink()
    with pytest.raises(CheckpointFormatError, match=r"1 are missing.\n.*model-00001-of-00003"):
        open_checkpoint(tmp_path / "model")


class TestFolders:
    @pytest.mark.parametrize("format_", FORMATS)
    def test_a_folder_of_one_checkpoint_is_that_checkpoint(self, made, tmp_path, format_):
        folder = tmp_path / "alone"
        folder.mkdir()
        for path in tmp_path.glob(made[format_].name + "*"):
            shutil.copy(path, folder)
        (folder / "README.md").write_text("Weights of a network.")
        (folder / "code.zip").write_bytes(b"PK\x05\x06" + bytes(18))
        (folder / ".hidden.npy").write_bytes(b"\x93NUMPY")
        with open_checkpoint(folder) as checkpoint:
            assert checkpoint.format == format_

    def test_several_are_listed(self, made, tmp_path):
        with pytest.raises(CheckpointError, match=r"holds 7 weight files.*\n.*model.ckpt.*\n.*one of them"):
            open_checkpoint(tmp_path)

    def test_an_empty_one_says_so(self, tmp_path):
        with pytest.raises(CheckpointError, match="holds no weight file"):
            open_checkpoint(tmp_path)

    def test_the_state_file_says_which(self, made, tmp_path):
        write_v2(tmp_path / "model.ckpt-7", {"only": ARRAYS["step"]})
        for place in ("model.ckpt-7", "/home/someone/run/model.ckpt-7", "C:\\\\\\\\run\\\\\\\\model.ckpt-7"):
            (tmp_path / "checkpoint").write_text(
                f'model_checkpoint_path: "{place}"\nall_model_checkpoint_paths: "model.ckpt-1"\n'
            )
            with open_checkpoint(tmp_path) as checkpoint:
                assert list(checkpoint) == ["only"]

    @pytest.mark.parametrize("place", ["", ".", "..", "/", "checkpoint", "gone", "a\\0b", "../../etc/passwd"])
    def test_a_stale_or_odd_state_file_leads_nowhere(self, tmp_path, place):
        folder = tmp_path / "run"
        folder.mkdir()
        write_v1(folder / "model.ckpt", ARRAYS)
        write_v1(tmp_path / "outside", ARRAYS)
        (folder / "checkpoint").write_text(f'model_checkpoint_path: "{place}"\n')
        with open_checkpoint(folder) as checkpoint:
            assert checkpoint.path == folder / "model.ckpt"

    def test_a_saved_model_holds_its_variables(self, tmp_path):
        (tmp_path / "variables").mkdir()
        write_v2(tmp_path / "variables" / "variables", ARRAYS)
        (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
        with open_checkpoint(tmp_path) as checkpoint:
            assert set(checkpoint) == set(ARRAYS)


def torch_file(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", CheckpointFormatError, "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", CheckpointFormatError, "git lfs pull"),
        (b"\xef\xbb\xbf \n<!DOCTYPE html><html>", CheckpointFormatError, "a web page"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", CheckpointFormatError, "a web page"),
        (gzip.compress(b"weights", mtime=0), CheckpointFormatError, r"a gzip archive.*\n.*\n.*unpack"),
        (b"\x80\x02}q\x00.", UnsafeFileError, "a Python pickle"),
        (b"\x80\x04\x95\x10", UnsafeFileError, "a Python pickle"),
        (bytes(257) + b"ustar\x0000", CheckpointFormatError, "a tar archive"),
        (b"PK\x03\x04" + bytes(40), CheckpointFormatError, "damaged or cut short"),
        (b"\x1c\x00\x00\x00TFL3", CheckpointFormatError, "LiteRT"),
        (b"GGUF\x03", CheckpointFormatError, "GGUF"),
        (b"hello", CheckpointFormatError, r"no weight file that a reader here knows.*\n.*68 65 6c"),
    ],
)
def test_what_is_no_weight_file_is_told_what_it_looks_like(tmp_path, content, error, words):
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    with pytest.raises(error, match=words) as caught:
        open_checkpoint(path)
    assert "weights.h5" in str(caught.value)


def test_a_pytorch_file_is_refused(tmp_path):
    torch_file(tmp_path / "model.pt")
    with pytest.raises(UnsafeFileError, match="PyTorch"):
        open_checkpoint(tmp_path / "model.pt")


def test_a_cut_checkpoint_is_known_by_its_beginning(made):
    data = made["tf-v1"].read_bytes()
    made["tf-v1"].write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointFormatError, match="without its end"):
        open_checkpoint(made["tf-v1"])


@pytest.mark.parametrize("name", ["absent", "absent/deeper", "x" * 300, "nul\0byte"])
def test_nothing_there_is_an_error_of_its_own(tmp_path, name):
    with pytest.raises(CheckpointError):
        open_checkpoint(tmp_path / name)


def test_reading_any_format_imports_no_framework(made):
    code = f"""
import sys
from modelzoo.checkpoints import open_checkpoint
for path in {[str(path) for path in made.values()]!r}:
    with open_checkpoint(path) as checkpoint:
        assert [checkpoint[name].shape for name in checkpoint]
heavy = {{"tensorflow", "keras", "onnx", "safetensors", "h5py", "requests"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_not_even_numpy():
    code = "import sys, modelzoo.checkpoints; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
