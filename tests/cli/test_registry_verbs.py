"""`registry add|remove|new-card|mirror`: a registry of one's own, from a file to a mirror of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelzoo.registry import check_registry, validate_registry
from tests.cli import invented
from tests.cli.conftest import NAMES, Run, Tiny
from tests.data_folder import DATA, needs_data
from tests.store.fault_server import fault_server

CARD = {"title": "Mine", "task": "embedding", "framework": "onnx", "licence": "MIT"}


def test_add_and_remove_change_what_every_command_reads(run: Run, tiny: Tiny) -> None:
    added = run("registry", "add", tiny.registry, "--as", "me")
    assert added.code == 0, added.err
    assert "added, 1 card" in added.out
    assert run("info", "me/tiny_v1", "-q").out == "me/tiny_v1\n"
    rows = run("registry", "list", "--json").json["registries"]
    assert [row["namespace"] for row in rows] == ["me", None]
    assert rows[0]["location"] == str(tiny.registry)
    assert run("registry", "remove", "me", "-q").out == f"{tiny.registry}\n"
    assert run("info", "me/tiny_v1").code == 3
    assert run("registry", "remove", "me").code == 2


def test_what_is_no_registry_is_not_added(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"schema_version": 1, "models": {"x": {"title": 3}}}')
    assert run("registry", "add", tmp_path / "bad.json").code == 4
    assert run("registry", "add", tmp_path / "nothing.json").code == 4
    assert run("registry", "add", invented.registry_file(tmp_path / "ok.json", x=CARD), "--as", "A B").code == 2
    assert len(run("registry", "list", "--json").json["registries"]) == 1


def test_adding_a_url_fetches_it_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with fault_server() as server:
        url = server.serve("/registry.json", json.dumps({"schema_version": 1, "models": {"far": CARD}}).encode())
        assert run("registry", "add", url).code == 0
        assert run("info", "far", "-q").out == "far\n"
        assert len(server.gets("/registry.json")) == 1


def test_adding_says_which_cards_hide_others(run: Run, tmp_path: Path) -> None:
    ran = run("registry", "add", invented.registry_file(tmp_path / "own.json", inception_v1=CARD))
    assert ran.code == 0
    assert "hides the built-in one" in ran.err


# -- new-card -------------------------------------------------------------------------------------------------------


def new_card(run: Run, path: Path, *words: str) -> tuple[str, dict[str, Any]]:
    ran = run("registry", "new-card", path, "--json", *words)
    assert ran.code == 0, ran.err
    validate_registry(ran.json)
    assert [str(one) for one in check_registry(ran.json["models"]) if one.level == "error"] == []
    ((name, card),) = ran.json["models"].items()
    return name, card


def test_a_card_for_a_checkpoint_of_ours_is_complete_enough_to_be_used(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "one.json"
    ran = run("registry", "new-card", tiny.checkpoint, "--name", "me/mine", "--licence", "MIT", "-o", out)
    assert ran.code == 0, ran.err
    card = json.loads(out.read_text())["models"]["me/mine"]
    data = tiny.checkpoint.read_bytes()
    (file,) = card["files"]
    assert (file["size"], file["digests"]) == (len(data), {"sha256": hashlib.sha256(data).hexdigest()})
    assert card["build"] == {"network": "inception_v1", "args": {"width": 0.125}}
    assert card["outputs"] == [{"name": "Logits", "kind": "logits", "classes": len(NAMES)}]
    assert card["inputs"][0]["preprocess"]["family"] == "inception"
    assert "labels" not in card  # ImageNet's would be wrong
    assert run("registry", "validate", out).code == 0
    fetched = run("--registry", out, "fetch", "me/mine", "-q")
    assert fetched.code == 0, fetched.err
    assert (Path(fetched.out.strip()) / tiny.checkpoint.name).read_bytes() == data
    again = run("registry", "new-card", tiny.checkpoint, "-o", out)
    assert (again.code, json.loads(out.read_text())["models"]["me/mine"]) == (2, card)


def test_an_onnx_model_tells_its_input_output_and_taps(run: Run, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    weights = np.ones((4, 3, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["conv"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["p"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 10])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path = tmp_path / "My Net.onnx"
    onnx.save(model, path)
    name, card = new_card(run, path, "--url", "https://example.org/a/net.onnx?x=1")
    assert name == "my-net"
    assert card["inputs"] == [{"name": "x", "shape": [8, 10, 3], "dtype": "float32", "layout": "NCHW"}]
    assert card["outputs"] == [{"name": "p", "kind": "probabilities", "classes": 4}]
    assert card["taps"] == ["conv", "pool"]
    assert (card["task"], card["build"]) == ("classification", {"converter": "onnx"})
    (file,) = card["files"]
    assert (file["role"], file["urls"][0]["url"]) == ("graph", "https://example.org/a/net.onnx?x=1")
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    _, card = new_card(run, path, "--url", "https://example.org/a/net.onnx")
    assert [(f["name"], f["role"]) for f in card["files"]] == [("My Net.onnx", "index"), ("net.data", "weights")]
    assert card["files"][1]["urls"][0]["url"] == "https://example.org/a/net.data"


def test_a_caffe_network_finds_its_other_half_by_either_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(
        'name: "n" input: "data" input_dim: 1 input_dim: 3 input_dim: 5 input_dim: 7\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 6 } }\n'
        'layer { name: "r" type: "ReLU" bottom: "ip" top: "ip" }\n'
        'layer { name: "p" type: "Softmax" bottom: "ip" top: "p" }\n'
    )
    name, card = new_card(run, tmp_path / "net.prototxt")
    assert name == "net"
    assert card["inputs"] == [{"name": "data", "shape": [5, 7, 3], "dtype": "float32", "layout": "NCHW"}]
    assert card["outputs"] == [{"name": "p", "kind": "probabilities", "classes": 6}]
    assert card["taps"] == ["ip"]
    assert "No weights lie beside" in card["notes"][1]


def test_a_frozen_graph_and_a_saved_model_tell_their_ends(run: Run, tmp_path: Path) -> None:
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(tf.ones((3, 2)))

        @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
        def __call__(self, x: Any) -> Any:
            return {"y": tf.nn.softmax(x @ self.w)}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.__call__)
    _, card = new_card(run, tmp_path / "saved", "--url", "https://example.org/saved/")
    assert card["inputs"] == [{"name": "x", "shape": [3], "dtype": "float32"}]
    assert [one["name"] for one in card["outputs"]] == ["y"]
    assert {f["name"] for f in card["files"]} == {
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    }
    assert {f["urls"][0]["url"] for f in card["files"]} == {
        "https://example.org/saved/" + f["name"] for f in card["files"]
    }
    frozen = tf.Graph()
    with frozen.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 3), name="image")
        tf.nn.softmax(x @ tf.ones((3, 2)), name="out")
    path = tmp_path / "frozen.pb"
    path.write_bytes(frozen.as_graph_def().SerializeToString())
    _, card = new_card(run, path)
    assert card["inputs"] == [{"name": "image", "shape": [3], "dtype": "float32"}]
    assert card["outputs"] == [{"name": "out", "kind": "probabilities"}]
    assert card["build"] == {"converter": "tensorflow"}


def test_the_files_of_a_v2_checkpoint_belong_together(run: Run, tmp_path: Path) -> None:
    from modelzoo.checkpoints.write_v2 import write_v2

    write_v2(tmp_path / "model.ckpt-7", {"a/w": np.ones((2, 3), np.float32)})
    for given in ("model.ckpt-7", "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001"):
        _, card = new_card(run, tmp_path / given)
        assert [f["role"] for f in card["files"]] == ["index", "weights"]
        assert card["format"] == "tf-checkpoint-v2"
        assert card["build"]["needs"]


def test_a_keras_file_of_a_whole_model_tells_its_ends(run: Run, tmp_path: Path) -> None:
    import h5py

    config = {
        "class_name": "Sequential",
        "config": {
            "layers": [
                {"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [None, 9, 9, 3]}},
                {"class_name": "Dense", "config": {"name": "out", "units": 5, "activation": "softmax"}},
            ]
        },
    }
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file["model_weights/out/out/kernel:0"] = np.ones((3, 5), np.float32)
    _, card = new_card(run, tmp_path / "whole.h5")
    assert card["inputs"] == [{"name": "in", "shape": [9, 9, 3], "dtype": "float32", "layout": "NHWC"}]
    assert card["outputs"] == [{"name": "out", "kind": "probabilities", "classes": 5}]
    assert card["framework"] == "keras"


@pytest.mark.parametrize(
    "name,data,code",
    [
        ("nothing.onnx", None, 2),
        ("empty.onnx", b"", 13),
        ("page.onnx", b"<html>quota</html>", 13),
        ("cut.pb", b"\x0a\xff\xff", 13),
        ("text.prototxt", b"layer { name: ", 17),
        ("pickle.npy", b"\x80\x04\x95", 13),
        ("unknown.bin", b"\x00" * 99, 13),
    ],
)
def test_what_cannot_be_read_is_said_and_writes_nothing(
    run: Run, tmp_path: Path, name: str, data: bytes | None, code: int
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    ran = run("registry", "new-card", tmp_path / name, "-o", tmp_path / "out.json")
    assert ran.code == code, ran.err
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("url", ["ftp://h/x", "x", "https://a b/c", "https://[bad/x"])
def test_what_is_no_url(run: Run, tiny: Tiny, url: str) -> None:
    assert run("registry", "new-card", tiny.checkpoint, "--url", url).code == 2


def test_a_name_that_is_none_is_refused(run: Run, tiny: Tiny) -> None:
    ran = run("registry", "new-card", tiny.checkpoint, "--name", "My Net")
    assert ran.code == 4
    assert "small letters" in ran.err


REAL = {
    "bvlc_googlenet/bvlc_googlenet.caffemodel": ("data", [224, 224, 3], "prob"),
    "lenet_mnist/lenet.prototxt": ("data", [28, 28, 1], "prob"),
    "ultraface_slim/version-slim-320.onnx": ("input", [240, 320, 3], "scores"),
    "samplenet/samplenet_tf2": ("conv2d_9_input", [32, 32, 3], "dense_12"),
    "mlperf_tiny/pretrainedResnet.h5": ("input_1", [32, 32, 3], "dense"),
    "char_rnn_shakespeare/model-85340": (None, None, None),
    "rl_tuner_note_rnn/model.ckpt-1994": (None, None, None),
    "mtcnn_npy/det1.npy": (None, None, None),
}


@needs_data
@pytest.mark.parametrize("path", REAL)
def test_published_files_get_valid_cards(run: Run, path: str) -> None:
    assert DATA is not None
    source, shape, output = REAL[path]
    _, card = new_card(run, DATA / "models" / path)
    if source is not None:
        assert (card["inputs"][0]["name"], card["inputs"][0]["shape"]) == (source, shape)
        assert card["outputs"][0]["name"] == output
    assert all(file["size"] and file["digests"]["sha256"] for file in card["files"])


# -- mirror ---------------------------------------------------------------------------------------------------------


def test_a_mirror_serves_those_who_cannot_reach_the_origin(
    run: Run, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = run("--registry", tiny.registry, "registry", "mirror", tmp_path / "mirror", "tiny", "--json")
    assert made.code == 0, made.err
    (row,) = made.json
    assert (row["name"], row["fetched"], row["size"]) == ("tiny_v1", 1, tiny.archive.stat().st_size)
    gone = json.loads(tiny.registry.read_text())
    gone["models"]["tiny_v1"]["files"][0]["urls"] = [{"url": "http://127.0.0.1:9/gone.tar.gz"}]
    own = tmp_path / "gone.json"
    own.write_text(json.dumps(gone))
    with fault_server() as server:
        for path in (tmp_path / "mirror").rglob("*"):
            if path.is_file():
                server.serve("/" + path.relative_to(tmp_path / "mirror").as_posix(), path.read_bytes())
        dry = run("--registry", own, "--mirror", server.url, "fetch", "--dry-run", "tiny_v1", "--json").json
        assert dry[0]["files"][0]["urls"][0] == f"{server.url}/{row['files'][0]}"
        ran = run("--registry", own, "--mirror", server.url, "fetch", "tiny_v1", "-q")
        assert ran.code == 0, ran.err
        assert (Path(ran.out.strip()) / "tiny.ckpt").read_bytes() == tiny.checkpoint.read_bytes()
    assert run("--mirror", "nowhere", "fetch", "--dry-run", "inception_v1").code == 2


def test_mirroring_again_says_that_it_was_there_and_a_failure_is_counted(run: Run, tiny: Tiny, tmp_path: Path) -> None:
    words = ("--registry", tiny.registry, "registry", "mirror", tmp_path / "mirror")
    assert "1 new" in run(*words, "tiny_v1").out
    assert "were there" in run(*words, "tiny_v1").out
    ran = run(*words, "tiny_v1", "lenet")
    assert ran.code == 2  # nobody published weights of lenet
    assert "tiny_v1" in ran.out
    assert run(*words, "nobody").code == 3
