"""Whatever the bytes: arrays, or our own error. Never another exception, a hang, or memory without measure."""

from __future__ import annotations

import functools
import io
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from modelzoo import errors
from modelzoo.checkpoints import open_checkpoint
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.table import Table
from modelzoo.checkpoints.table_writing import table_pieces
from modelzoo.checkpoints.write_v1 import write_v1
from modelzoo.checkpoints.write_v2 import write_v2

ARRAYS = {"a/weights": np.arange(60, dtype=np.float32).reshape(3, 4, 5), "a/biases": np.ones(5, np.float32)}


def v1() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_v1(Path(folder) / "x", {**ARRAYS, "step": np.int64(3)}).read_bytes()


def keras() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("model.weights.h5", h5())
    return out.getvalue()


def npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, **{name.replace("/", "_"): array for name, array in ARRAYS.items()})
    return out.getvalue()


def packed_npz() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, a=ARRAYS["a/weights"])
    return out.getvalue()


def npy() -> bytes:
    out = io.BytesIO()
    np.save(out, ARRAYS["a/weights"])
    return out.getvalue()


def dictionary() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array({"conv": {"weights": ARRAYS["a/weights"]}}, dtype=object), allow_pickle=True)
    return out.getvalue()


def h5() -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, array in ARRAYS.items():
            file.create_dataset(name, data=array)
        file.create_dataset("packed", data=np.zeros((40, 40), np.float32), compression="gzip")
    return out.getvalue()


SEEDS = {maker.__name__: maker for maker in (v1, npz, packed_npz, npy, dictionary, h5, keras)}
SEEDS["safetensors"] = lambda: save(ARRAYS)


@functools.cache
def seed(name: str) -> bytes:
    return SEEDS[name]()


def read_all(data: bytes, index: bytes | None = None) -> None:
    """Open and read a file, or the data file of an index; only our errors pass unseen."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("x" if index is None else "x.data-00000-of-00001")
        path.write_bytes(data)
        if index is not None:
            (Path(folder) / "x.index").write_bytes(index)
        try:
            with open_checkpoint(path) as checkpoint:
                total = 0
                for name in checkpoint:
                    try:
                        total += checkpoint[name].nbytes
                    except errors.CheckpointError:
                        continue
                assert total < 64 << 20
        except errors.CheckpointError:
            pass


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_file_gives_arrays_or_our_error(name, data):
    read_all(damage(data, seed(name)))


@functools.cache
def table(version: int) -> tuple[dict[bytes, bytes], bytes]:
    """(entries of the table, values beside it) of a small checkpoint."""
    arrays = {**ARRAYS, "strings": np.array([b"abc", b""], dtype=object), "step": np.int64(3), "on": np.array([True])}
    with tempfile.TemporaryDirectory() as folder:
        path = (write_v1 if version == 1 else write_v2)(Path(folder) / "x", arrays)
        values = b"" if version == 1 else (path.parent / "x.data-00000-of-00001").read_bytes()
        entries = Table(MappedFile(path if version == 1 else path.with_name("x.index"))).items()
        return {key: bytes(value) for key, value in entries}, values


@pytest.mark.parametrize("version", [1, 2])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damage_behind_right_checksums_gives_arrays_or_our_error(version, data):
    entries, values = table(version)
    entries = dict(entries)
    for key in data.draw(st.lists(st.sampled_from(sorted(entries)), min_size=1, max_size=2, unique=True)):
        value = entries.pop(key)
        if data.draw(st.integers(0, 4)) == 0:
            key = damage(data, key or b"x")
        entries[key] = damage(data, value)
    whole = b"".join(table_pieces((key, (value,)) for key, value in sorted(entries.items())))
    if version == 1:
        read_all(whole)
    else:
        read_all(values, whole)


def damage(data: st.DataObject, good: bytes) -> bytes:
    """A few bits flipped, bytes lost or added, or numbers made large."""
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "number"]))
        at = data.draw(st.integers(0, max(len(damaged) - 1, 0)))
        if kind == "flip" and damaged:
            damaged[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del damaged[at : at + data.draw(st.integers(1, 64))]
        elif kind == "insert":
            damaged[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        elif damaged:
            value = data.draw(st.sampled_from([b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f"]))
            damaged[at : at + 4] = value
    return bytes(damaged)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        [b"", b"\x93NUMPY\x01\x00", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x10\x00\x00\x00\x00\x00\x00\x00{"]
    ),
    st.binary(max_size=200),
    st.sampled_from([b"", bytes.fromhex("57fb808b247547db")]),
)
def test_any_bytes_give_arrays_or_our_error(head, body, tail):
    read_all(head + body + tail)
