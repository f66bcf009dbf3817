"""External data: a model may keep big tensors in other files, but only in plain ones inside of its own folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.function import load
from converters.graph import load_graph
from modelzoo import errors

WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3)


def saved(folder: Path, location: str, **details: int) -> Path:
    """y = x @ w with w in the file `location`, which is not written here."""
    weight = numpy_helper.from_array(WEIGHT, "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **details}.items():
        weight.external_data.add(key=key, value=str(value))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [weight],
    )
    path = folder / "net.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    return made


def test_a_plain_file_beside_the_model_is_read(folder):
    (folder / "w.bin").write_bytes(bytes(8) + WEIGHT.tobytes())
    function = load(saved(folder, "w.bin", offset=8, length=WEIGHT.nbytes))
    x = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(function({"x": x})["y"], WEIGHT)


def test_a_file_in_a_folder_below_is_read(folder):
    (folder / "parts").mkdir()
    (folder / "parts" / "w.bin").write_bytes(WEIGHT.tobytes())
    loaded = load_graph(saved(folder, "parts/w.bin"))
    np.testing.assert_array_equal(loaded.graph.initializers["w"].const_value.numpy(), WEIGHT)


@pytest.mark.parametrize(
    "location", ["../secret.bin", "parts/../../secret.bin", "/etc/passwd", "C:\\secret.bin", "..\\s"]
)
def test_a_place_outside_of_the_folder_is_refused(folder, location):
    with pytest.raises(errors.UnsafeFileError, match="outside of the model's folder"):
        load_graph(saved(folder, location))


def test_a_symbolic_link_is_refused(folder):
    (folder / "w.bin").symlink_to(folder.parent / "secret.bin")
    with pytest.raises(errors.UnsafeFileError, match="symbolic link"):
        load_graph(saved(folder, "w.bin"))


def test_a_folder_behind_a_symbolic_link_is_refused(folder):
    (folder / "parts").symlink_to(folder.parent)
    with pytest.raises(errors.UnsafeFileError, match="symbolic link"):
        load_graph(saved(folder, "parts/secret.bin"))


def test_a_hard_link_is_refused(folder):
    os.link(folder.parent / "secret.bin", folder / "w.bin")
    with pytest.raises(errors.UnsafeFileError, match="single link"):
        load_graph(saved(folder, "w.bin"))


def test_something_that_is_no_file_is_refused(folder):
    os.mkfifo(folder / "w.bin")
    with pytest.raises(errors.UnsafeFileError, match="regular file"):
        load_graph(saved(folder, "w.bin"))


def test_a_file_that_is_absent_is_named(folder):
    with pytest.raises(errors.CheckpointFormatError, match=r"w\.bin"):
        load_graph(saved(folder, "w.bin"))


@pytest.mark.parametrize("details", [{}, {"offset": 40}, {"offset": 0, "length": 4}])
def test_a_file_that_is_too_short_is_refused(folder, details):
    (folder / "w.bin").write_bytes(WEIGHT.tobytes()[:-1])
    with pytest.raises(errors.CheckpointFormatError, match="'w' lies outside"):
        load_graph(saved(folder, "w.bin", **details))


def test_a_model_in_memory_has_no_folder(folder):
    (folder / "w.bin").write_bytes(WEIGHT.tobytes())
    proto = onnx.ModelProto.FromString(saved(folder, "w.bin").read_bytes())
    with pytest.raises(errors.UnsafeFileError, match="without a folder"):
        load_graph(proto)


@pytest.mark.slow
def test_a_model_above_two_gibibytes_converts_and_agrees_with_onnxruntime(folder):
    """The file of weights is sparse: it takes no room on the disk, but in memory."""
    import modelzoo as mz

    rows, columns = 4, 2**29 // 4 + 8
    path = saved(folder, "w.bin", offset=4096)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].dims[:] = [rows, columns]
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = columns
    path.write_bytes(model.SerializeToString())
    places = np.linspace(0, columns - 1, 50).astype(int)
    values = np.arange(1, 51, dtype=np.float32)
    with (folder / "w.bin").open("wb") as file:
        file.truncate(4096 + 4 * rows * columns)
        for place, value in zip(places, values, strict=True):
            file.seek(4096 + 4 * ((rows - 1) * columns + int(place)))
            file.write(value.tobytes())
    assert (folder / "w.bin").stat().st_size > 2**31
    converted = mz.convert(path, to="keras", inputs={"x": (1, rows)}, verify=True)
    assert converted.report.passed
    result = np.asarray(converted(np.eye(rows, dtype=np.float32)[-1:]))
    np.testing.assert_array_equal(result[0, places], values)
    assert np.count_nonzero(result) == 50
