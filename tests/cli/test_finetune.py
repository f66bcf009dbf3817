"""`modelzoo finetune` and `modelzoo export`: what they write, what they say, and their exit codes."""

from __future__ import annotations

import json

import pytest

from tests.finetune.networks import picture_folder

WORDS = ("--epochs", "2", "--batch-size", "6", "--tap", "Mixed_3b")


@pytest.fixture
def folder(tmp_path):
    return picture_folder(tmp_path / "flowers", count=4)


def test_a_classifier_of_ones_own(run, folder, tmp_path):
    out = tmp_path / "my result"
    first = run(
        "finetune", "inception_v1_scenes", folder, "-o", out, *WORDS, "--head", "mlp", "--hidden", "8", "--json"
    )
    assert first.code == 0, first.err
    assert first.json["model"] == "me/my_result" and first.json["classes"] == ["class 0", "class 1", "class 2"]
    assert len(first.json["history"]["val_loss"]) == 2
    names = sorted(path.name for path in out.iterdir())
    assert names == ["card.json", "model.safetensors", "report.html", "training"]
    assert "<svg" in (out / "report.html").read_text()
    card = json.loads((out / "card.json").read_text())["models"]["me/my_result"]
    assert card["build"]["args"]["head"] == {"kind": "mlp", "classes": 3, "args": {"norm": "batch", "hidden": [8]}}
    # The card is in the user's registry now; a finished run that is started again trains nothing.
    assert run("info", "me/my_result", "--json").json["title"].endswith("fine-tuned on flowers")
    again = run(
        "finetune", "inception_v1_scenes", folder, "-o", out, *WORDS, "--head", "mlp", "--hidden", "8", "--json"
    )
    assert again.json["history"] == first.json["history"]
    words = ("finetune", "inception_v1_scenes", folder, "-o", out, *WORDS, "--head", "mlp", "--hidden", "8")
    said = run(*words, "--no-register")
    assert f"--registry '{out / 'card.json'}'" in said.out
    assert "Only 4 gradient steps were taken" in said.err


@pytest.mark.parametrize(
    "words,code",
    [
        (("--hidden", "8"), 2),
        (("--unfreeze-at", "1"), 2),
        (("--unfreeze", "Mixed_4b", "--unfreeze-at", "2"), 2),
        (("--name", "Me/X"), 2),
        (("--weights", "nothing.ckpt"), 2),
        (("--tap", "Mixed_9z"), 3),
        (("--head", "forest"), 2),
        (("--validation", "1"), 2),
    ],
)
def test_what_makes_no_sense_is_said_before_any_work(run, folder, tmp_path, words, code):
    out = tmp_path / "result"
    assert run("finetune", "inception_v1_scenes", folder, "-o", out, *WORDS, *words).code == code
    assert not (out / "card.json").exists() and not (out / "training").exists()


def test_folders_that_make_no_sense(run, folder, tmp_path):
    for name, place, code in (("inception_v9", folder, 3), ("inception_v1_scenes", tmp_path / "nothing", 2)):
        assert run("finetune", name, place, "-o", tmp_path / "result").code == code
    (folder / "class 0" / "0.png").write_bytes(b"GIF89a")
    ran = run("finetune", "inception_v1_scenes", folder, "-o", tmp_path / "result")
    assert ran.code == 15 and "0.png" in ran.err
    assert not (tmp_path / "result").exists()


@pytest.mark.parametrize(
    "to,out", [("onnx", "net.onnx"), ("python", "net.py"), ("litert", "net.tflite"), ("savedmodel", "net")]
)
def test_export(run, tiny, to, out):
    ran = run("export", "tiny_v1", "--registry", tiny.registry, "--to", to, "-o", out, "--json")
    assert ran.code == 0, ran.err
    parity = ran.json["parity"]
    assert (parity is None) == (to == "python")
    assert parity is None or (parity["passed"] and parity["rows"][0]["max_rel"] < 1e-4)


def test_batch_normalisation_is_folded_into_onnx(run, tiny):
    import onnx

    assert run("export", "tiny_v1", "--registry", tiny.registry, "-o", "net.onnx", "-q").code == 0
    graph = onnx.load("net.onnx").graph
    assert not [node for node in graph.node if node.op_type == "BatchNormalization"]
    assert [item.name for item in graph.input] == ["input"]


@pytest.mark.parametrize(
    "words,code",
    [
        (("-o", "net.tflite"), 2),
        (("--to", "savedmodel", "-o", "."), 2),
        (("-o", "net.onnx", "--report", "x.txt"), 2),
        (("-o", "net.onnx", "--report", "x.json", "--no-verify"), 2),
        (("-o", "net.onnx", "--rtol", "0"), 1),
    ],
)
def test_exports_that_make_no_sense(run, tiny, tmp_path, words, code):
    (tmp_path / "work" / "something").write_text("here")
    assert run("export", "tiny_v1", "--registry", tiny.registry, *words).code == code
