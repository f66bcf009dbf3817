"""The order of layers and weights that Keras' HDF5 files note, and the names in TensorFlow's object graph."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from modelzoo import errors
from modelzoo.checkpoints import open_checkpoint
from modelzoo.checkpoints.keras_layers import saved_layers
from modelzoo.checkpoints.object_graph import names_in_model
from modelzoo.checkpoints.wire import pack_field

LAYERS = {"zeta": ["zeta/kernel:0", "zeta/bias:0"], "input": [], "a/b": ["a/b_1/kernel:0"], "m": ["one/k:0", "two/k:0"]}


def write(path, layers, *, root="", text=lambda names: np.asarray([name.encode() for name in names]), **options):
    """A file of `layers`: name -> names of weights."""
    with h5py.File(path, "w", **options) as file:
        group = file.create_group(root) if root else file
        group.attrs["layer_names"] = text(layers)
        for name, weights in layers.items():
            one = group.require_group(name)
            one.attrs["weight_names"] = text(weights) if weights else np.zeros(0)
            for weight in weights:
                one[weight] = np.zeros((2,), np.float32)
    return path


@pytest.mark.parametrize("options", [{}, {"libver": "latest"}], ids=["classic", "newer"])
@pytest.mark.parametrize("root", ["", "model_weights"])
@pytest.mark.parametrize("kind", ["fixed", "free"])
def test_layers_come_in_the_order_of_the_model(tmp_path, options, root, kind):
    more = {} if kind == "fixed" else {"text": lambda names: [str(name) for name in names]}
    path = write(tmp_path / "w.h5", LAYERS, root=root, **options, **more)
    with open_checkpoint(path) as checkpoint:
        found = saved_layers(checkpoint)
        assert found == [(name, [f"{name}/{w}" for w in weights]) for name, weights in LAYERS.items() if weights]
        assert {name for _, names in found for name in names} == set(checkpoint)


@pytest.mark.parametrize("options", [{}, {"libver": "latest"}], ids=["classic", "newer"])
def test_long_lists_come_in_parts(tmp_path, options):
    layers = {f"a_layer_of_a_rather_long_name_{n}": [f"w{n}"] for n in range(25)}
    path = write(tmp_path / "w.h5", layers, **options)
    with h5py.File(path, "r+") as file:
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        for number, part in enumerate(np.array_split(names, 12)):
            file.attrs[f"layer_names{number}"] = part
    with open_checkpoint(path) as checkpoint:
        assert [name for name, _ in saved_layers(checkpoint)] == list(layers)


def test_other_files_do_not_say(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(2))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers/dense/vars/0"] = np.zeros(2)
    for name in ("w.npz", "w.h5"):
        with open_checkpoint(tmp_path / name) as checkpoint:
            assert saved_layers(checkpoint) is None
    assert saved_layers({"a": np.zeros(2)}) is None


def test_names_of_what_is_not_there_are_damage(tmp_path):
    path = write(tmp_path / "w.h5", LAYERS)
    with h5py.File(path, "r+") as file:
        file["zeta"].attrs["weight_names"] = np.asarray([b"zeta/kernel:0", b"zeta/nobody:0"])
    with open_checkpoint(path) as checkpoint, pytest.raises(errors.CheckpointFormatError, match="zeta/zeta/nobody:0"):
        saved_layers(checkpoint)
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = np.asarray([b"zeta", b"nobody"])
        file["zeta"].attrs["weight_names"] = np.asarray([b"zeta/kernel:0"])
    with open_checkpoint(path) as checkpoint, pytest.raises(errors.CheckpointFormatError, match="nobody"):
        saved_layers(checkpoint)
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = np.arange(3)
    with open_checkpoint(path) as checkpoint, pytest.raises(errors.CheckpointFormatError):
        saved_layers(checkpoint)


def test_changed_bytes_end_in_an_answer_or_an_error(tmp_path):
    good = write(tmp_path / "good.h5", LAYERS).read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(good)
        for at in generator.integers(0, len(data), 4):
            data[at] = generator.integers(0, 256)
        path = tmp_path / "bad.h5"
        path.write_bytes(data)
        try:
            with open_checkpoint(path) as checkpoint:
                saved_layers(checkpoint)
        except errors.ModelzooError:
            refused += 1
    assert refused > 20


def node(children=(), key=None) -> bytes:
    data = b"".join(pack_field(1, pack_field(1, number) + pack_field(2, name.encode())) for name, number in children)
    return data + (pack_field(2, pack_field(1, b"VARIABLE_VALUE") + pack_field(3, key.encode())) if key else b"")


END = "/.ATTRIBUTES/VARIABLE_VALUE"


class Graph:
    """As much of a checkpoint as has a graph."""

    def __init__(self, path, *nodes: bytes) -> None:
        self.path = path
        self.object_graph = b"".join(pack_field(1, one) for one in nodes)
        self.entries = dict.fromkeys((f"optimizer/v/0{END}", f"model/a{END}"))


def test_names_that_do_not_lead_through_the_optimiser(tmp_path):
    graph = Graph(
        tmp_path,
        node([("optimizer", 1), ("model", 2)]),
        node([("v", 3)]),
        node([("optimizer", 1), ("layer-1", 6), ("layer_with_weights-0", 6), ("a", 5)]),
        node([("0", 4)]),
        node(key=f"optimizer/v/0{END}"),
        node(key=f"model/a{END}"),
        node([("kernel.x/y", 4), ("up", 2)]),
    )
    assert names_in_model(graph) == {
        f"optimizer/v/0{END}": f"model/layer_with_weights-0/kernel..x.Sy{END}",
        f"model/a{END}": f"model/a{END}",
    }


def test_a_graph_that_names_what_is_not_there_is_damage(tmp_path):
    with pytest.raises(errors.CheckpointFormatError):
        names_in_model(Graph(tmp_path, node([("model", 7)])))
    broken = Graph(tmp_path, node([("model", 0)]))
    broken.object_graph += b"\x0a\xff"
    with pytest.raises(errors.CheckpointFormatError):
        names_in_model(broken)
