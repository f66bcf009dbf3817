"""`modelzoo finetune NAME CLIPS --head rnn`: what it writes, what it says, and its exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.cli.conftest import _clean_environment, run  # noqa: F401
from tests.rnn.clips import clip_folder

NAME = "inception_v1_scenes"
WORDS = ("--head", "rnn", "--units", "8", "--tap", "Mixed_3b", "--epochs", "2", "--batch-size", "4")


@pytest.fixture
def folder(tmp_path):
    return clip_folder(tmp_path / "light", count=3, lengths=(3, 2))


def test_a_classifier_of_clips(run, folder, tmp_path):  # noqa: F811
    out = tmp_path / "result"
    words = (
        "finetune",
        NAME,
        folder,
        "-o",
        out,
        *WORDS,
        "--cell",
        "lstm",
        "--bidirectional",
        "--layers",
        "2",
        "--json",
    )
    first = run(*words)
    assert first.code == 0, first.err
    assert first.json["model"] == "me/result" and first.json["classes"] == ["brighter", "darker"]
    assert len(first.json["history"]["val_accuracy"]) == 2
    assert sorted(path.name for path in out.iterdir()) == ["card.json", "model.safetensors", "report.html", "training"]
    report = (out / "report.html").read_text()
    assert "<svg" in report and "clips" in report
    args = json.loads((out / "card.json").read_text())["models"]["me/result"]["build"]["args"]
    assert args["sequence"] == {"steps": 3, "masked": True}
    assert args["head"] == {
        "kind": "sequence",
        "classes": 2,
        "args": {"norm": "batch", "cell": "lstm", "units": [8, 8], "bidirectional": True},
    }
    # A finished run that is started again trains nothing, and the card is in the user's registry.
    assert run(*words).json["history"] == first.json["history"]
    from modelzoo import load_pretrained
    from modelzoo.rnn import clip_logits

    model = load_pretrained("me/result")
    logits = clip_logits(model, sorted((folder / "darker").iterdir()))
    assert logits.shape == (3, 2) and np.isfinite(logits).all()
    # Features of frames were computed once: a file for the two epochs and the report.
    assert len(list((out / "training" / "features").glob("*/part-*.npz"))) >= 1


@pytest.mark.slow
def test_windows_and_unfreezing(run, folder, tmp_path):  # noqa: F811
    out = tmp_path / "result"
    ran = run(
        *("finetune", NAME, folder, "-o", out, *WORDS, "--frames", "2", "--hop", "1", "--no-register", "--json"),
        *("--unfreeze", "MaxPool_3a_3x3", "--unfreeze-at", "1"),
    )
    assert ran.code == 0, ran.err
    card = json.loads((out / "card.json").read_text())["models"]["me/result"]
    assert card["build"]["args"]["sequence"] == {"steps": 2, "masked": False}
    assert card["inputs"][0]["shape"] == [2, 96, 96, 3]


@pytest.mark.parametrize(
    "words,says",
    [
        (("--head", "linear", "--cell", "gru"), "--cell is an option of recurrent heads"),
        (("--head", "linear", "--frames", "2"), "--frames is an option of recurrent heads"),
        (("--head", "mlp", "--bidirectional"), "--bidirectional is an option of recurrent heads"),
        (("--head", "rnn", "--hop", "2"), "hop goes with windows"),
        (("--head", "rnn", "--hidden", "8"), "Only an mlp"),
        (("--head", "rnn", "--cell", "lsmt"), "--cell"),
        (("--head", "rnn", "--units", "0"), "--units"),
        (("--head", "rnn", "--frames", "3"), "shorter than a window of 3 frames"),
    ],
)
def test_what_makes_no_sense_is_said_before_any_work(run, folder, tmp_path, words, says):  # noqa: F811
    out = tmp_path / "result"
    ran = run("finetune", NAME, folder, "-o", out, *words)
    assert ran.code == 2 and says in ran.err
    assert not out.exists()


def test_folders_that_make_no_sense(run, folder, tmp_path):  # noqa: F811
    from tests.finetune.networks import picture_folder

    pictures = picture_folder(tmp_path / "pictures", count=2)
    for place in (pictures, tmp_path / "nothing", folder / "darker"):
        ran = run("finetune", NAME, place, "-o", tmp_path / "result", *WORDS)
        assert ran.code == 2, ran.err
    (folder / "darker" / "clip 1" / "frame8.png").write_bytes(b"GIF89a")
    ran = run("finetune", NAME, folder, "-o", tmp_path / "result", *WORDS)
    assert ran.code == 15 and "frame8.png" in ran.err
    assert not (tmp_path / "result").exists()


def test_classify_clips(run, folder, tmp_path):  # noqa: F811
    out = tmp_path / "result"
    assert run("finetune", NAME, folder, "-o", out, *WORDS, "--no-register").code == 0
    clips = sorted((folder / "darker").iterdir())
    ran = run("classify", "me/result", *clips, "--registry", out / "card.json", "--json")
    assert ran.code == 0, ran.err
    assert [item["path"] for item in ran.json["pictures"]] == [str(clip) for clip in clips]
    assert {one["label"] for item in ran.json["pictures"] for one in item["classes"]} == {"brighter", "darker"}
    frame = next(clips[0].iterdir())
    assert run("classify", "me/result", frame, "--registry", out / "card.json").code == 2
    assert run("registry", "validate", out / "card.json").code == 0
    ran = run(
        "export", "me/result", "--to", "savedmodel", "-o", tmp_path / "saved", "--registry", out / "card.json", "--json"
    )
    assert ran.code == 0 and ran.json["parity"]["passed"], ran.err
    ran = run(
        "features", "me/result", frame, "-o", tmp_path / "x.npz", "--tap", "Logits", "--registry", out / "card.json"
    )
    assert ran.code == 2 and "no single pictures" in ran.err
