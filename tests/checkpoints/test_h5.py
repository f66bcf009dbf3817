"""HDF5 by our own reader and by the library: the same values, and nothing that a weight file has no need of."""

from __future__ import annotations

import struct

import h5py
import ml_dtypes
import numpy as np
import pytest

from modelzoo.checkpoints import open_checkpoint
from modelzoo.checkpoints.h5_classic import ClassicH5
from modelzoo.checkpoints.h5_library import LibraryH5
from modelzoo.errors import CheckpointError, CheckpointFormatError, UnsafeFileError

PLAIN = {
    f"dt/{code}": np.arange(5).astype(code) for code in ("?", "i1", "<i2", "<i8", "u2", "f2", "<f4", "f8", ">f4", ">i8")
} | {"scalar": np.array(2.5, np.float32), "empty": np.zeros((0, 3), np.float32), "deep/er/and/deeper": np.ones((2, 2))}
PACKED = {
    "gzip": {"compression": "gzip"},
    "shuffle": {"compression": "gzip", "shuffle": True},
    "fletcher32": {"fletcher32": True},
    "all": {"compression": 9, "shuffle": True, "fletcher32": True},
    "none": {},
}


@pytest.mark.parametrize(("libver", "reader"), [("earliest", ClassicH5), ("v108", LibraryH5), ("latest", LibraryH5)])
class TestLayouts:
    @pytest.fixture
    def path(self, tmp_path, libver, reader):
        self.libver, self.reader = (libver, libver) if libver == "v108" else libver, reader
        return tmp_path / "model.h5"

    def read(self, path, arrays):
        with open_checkpoint(path) as checkpoint:
            assert type(checkpoint._file) is self.reader
            assert set(checkpoint) == set(arrays)
            for name, array in arrays.items():
                found = checkpoint[name]
                assert found.dtype == array.dtype.newbyteorder("=")
                assert found.shape == array.shape
                assert np.array_equal(found, array)
                assert checkpoint.entries[name].dtype == array.dtype.name

    def test_every_type_of_numbers_and_nothing_else(self, path):
        with h5py.File(path, "w", libver=self.libver) as file:
            for name, array in PLAIN.items():
                file[name] = array
            file["text"], file["texts"], file["null"] = "text", [b"a", b"bc"], h5py.Empty("f4")
            file["records"], file["complex"] = np.zeros(3, "f4,i4"), np.zeros(3, np.complex64)
            file["named type"] = np.dtype("f4")
            file["alias"] = file["scalar"]
        self.read(path, PLAIN | {"alias": PLAIN["scalar"]})

    def test_more_names_than_one_node_of_an_index_holds(self, path):
        arrays = {f"group {n}/ü{n}": np.full(n % 3 + 1, n) for n in range(300)}
        with h5py.File(path, "w", libver=self.libver) as file:
            for name, array in arrays.items():
                file[name] = array
        self.read(path, arrays)

    @pytest.mark.parametrize("how", PACKED)
    def test_chunks_are_unpacked_and_put_together(self, path, how):
        values = np.random.default_rng(3).integers(-9, 9, (41, 23), np.int32)
        with h5py.File(path, "w", libver=self.libver) as file:
            file.create_dataset("a", data=values, chunks=(7, 5), **PACKED[how])
            file.create_dataset("b", data=np.arange(1001, dtype=np.uint8), chunks=(13,), **PACKED[how])
        self.read(path, {"a": values, "b": np.arange(1001, dtype=np.uint8)})

    @pytest.mark.parametrize("text", ['{"name": "ü"}', b'{"a": 1}', np.bytes_(b"fixed")])
    def test_the_architecture_is_a_text_of_fixed_or_free_length(self, path, text):
        with h5py.File(path, "w", libver=self.libver) as file:
            file["model_weights/dense/kernel"] = np.ones(3)
            file["optimizer_weights/dense/kernel"] = np.ones(3)
            file.attrs["model_config"] = text
        with open_checkpoint(path) as checkpoint:
            assert list(checkpoint) == ["dense/kernel"]
            assert checkpoint.model_config == (text if isinstance(text, str) else text.decode())
            assert checkpoint.model_config == checkpoint.model_config

    def test_bfloat16_as_keras_3_stores_it(self, path):
        values = np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3)
        with h5py.File(path, "w", libver=self.libver) as file:
            file.create_dataset("vars/0", data=values).attrs["dtype"] = "bfloat16"
            file["opaque"] = values  # says nothing, and stays a secret
        self.read(path, {"vars/0": values})

    def test_a_changed_checksum_is_noticed(self, path):
        values = np.random.default_rng(3).integers(0, 255, 5000, np.uint8)
        with h5py.File(path, "w", libver=self.libver) as file:
            file.create_dataset("a", data=values, chunks=(5000,), fletcher32=True)
        data = bytearray(path.read_bytes())
        data[data.index(values[1000:1040].tobytes())] ^= 1
        path.write_bytes(data)
        with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointFormatError, match=r"model.h5, tensor 'a'"):
            checkpoint["a"]

    def test_links_are_refused_by_name(self, path):
        for link, words in ((h5py.SoftLink("/a"), "soft"), (h5py.ExternalLink("other.h5", "/a"), "another file")):
            with h5py.File(path, "w", libver=self.libver) as file:
                file["inner/a"] = np.ones(3)
                file["inner/b"] = link
            with pytest.raises(UnsafeFileError, match=rf"model.h5: 'inner/b' is a link.*\n.*{words}"):
                open_checkpoint(path)

    def test_values_in_other_files_are_refused(self, path, tmp_path):
        (tmp_path / "raw").write_bytes(bytes(16))
        with h5py.File(path, "w", libver=self.libver) as file:
            file.create_dataset("a", (4,), "f4", external=[(str(tmp_path / "raw"), 0, 16)])
        with pytest.raises(UnsafeFileError, match="in another file"):
            open_checkpoint(path)

    @pytest.mark.parametrize("settings", [{"compression": "lzf"}, {"scaleoffset": 4}], ids=str)
    def test_filters_that_are_no_stock_ones_are_refused(self, path, settings):
        with h5py.File(path, "w", libver=self.libver) as file:
            file.create_dataset("a", data=np.arange(100), chunks=(10,), **settings)
        with pytest.raises(UnsafeFileError, match="filter"):
            open_checkpoint(path)

    @pytest.mark.parametrize("settings", [{}, {"chunks": (1024, 1024)}, {"chunks": (9, 9), "compression": "gzip"}])
    def test_a_shape_without_values_is_refused(self, path, settings):
        with h5py.File(path, "w", libver=self.libver) as file:
            file.create_dataset("a", (1 << 20, 1 << 20), "f4", **settings)
        with pytest.raises(CheckpointError):
            open_checkpoint(path)

    def test_groups_in_each_other_end(self, path):
        with h5py.File(path, "w", libver=self.libver) as file:
            file["a/b/values"] = np.ones(3)
            file["a/b/up"] = file["a"]
        with pytest.raises(CheckpointFormatError, match="nested too deeply, or has two names"):
            open_checkpoint(path)

    def test_a_file_cut_short_says_so(self, path):
        with h5py.File(path, "w", libver=self.libver) as file:
            file["a"] = np.ones(3000)
        for kept in (20, 100, 2000, path.stat().st_size - 1):
            cut = path.with_name(f"{kept}.h5")
            cut.write_bytes(path.read_bytes()[:kept])
            with pytest.raises(CheckpointFormatError, match=f"{kept}.h5"):
                open_checkpoint(cut)


def test_datasets_that_share_bytes_are_refused(tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file["a"], file["b"] = np.full(100, 7.0), np.full(100, 9.0)
        first, second = file["a"].id.get_offset(), file["b"].id.get_offset()
    data = path.read_bytes()
    assert data.count(struct.pack("<Q", second)) == 1
    path.write_bytes(data.replace(struct.pack("<Q", second), struct.pack("<Q", first)))
    with pytest.raises(CheckpointFormatError, match="share bytes"):
        open_checkpoint(path)


def test_a_small_file_does_not_unfold_into_a_large_one(tmp_path):
    """One packed chunk, listed by many datasets."""
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        for name in "ab":
            file.create_dataset(name, data=np.zeros(1 << 20, np.uint8), chunks=(1 << 20,), compression="gzip")
        offsets = [file[name].id.get_chunk_info(0).byte_offset for name in "ab"]
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<Q", offsets[1]), struct.pack("<Q", offsets[0])))
    with pytest.raises(CheckpointFormatError, match="share bytes"):
        open_checkpoint(path)
