"""`style`: the verb from pictures to a picture, what it refuses before long work, Ctrl-C and --resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Run, Tiny
from tests.cli.test_light import HEAVY, PROGRAM
from tests.style.networks import picture as drawn
from tests.style.networks import stripes

FEW = ("--size", "48", "--steps", "3")


@pytest.fixture
def content(tmp_path: Path) -> Path:
    Image.fromarray(drawn(60, 80)).save(tmp_path / "content.png")
    return tmp_path / "content.png"


@pytest.fixture
def look(tmp_path: Path) -> Path:
    Image.fromarray(stripes(70, 50)).save(tmp_path / "style.png")
    return tmp_path / "style.png"


def test_the_model_of_the_package_needs_no_network(run: Run, content: Path, look: Path) -> None:
    ran = run("style", content, look, "-o", "out.png", *FEW, "--offline", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "out.png\n", "")
    with Image.open("out.png") as made:
        assert (made.format, made.mode, made.size) == ("PNG", "RGB", (48, 36))
    assert [path.name for path in Path().iterdir()] == ["out.png"]


def test_everything_at_once(run: Run, tiny: Tiny, content: Path, look: Path) -> None:
    ran = run(
        *("style", content, look, content, "-o", "out.jpg", "--backbone", "tiny_v1", "--registry", tiny.registry),
        *("--blend", "1,3", "--optimizer", "adam", "--steps", "4", "--size", "64", "--levels", "2", "--init", "noise"),
        *("--seed", "3", "--preserve-colours", "--pooling", "avg", "--every", "3", "--style-size", "40", "--json"),
        *("--content-tap", "Mixed_3b", "--style-tap", "Conv2d_2c_3x3", "--style-tap", "Mixed_3b"),
        *("--content-weight", "2", "--style-weight", "50", "--variation-weight", "0", "--learning-rate", "3"),
    )
    assert ran.code == 0, ran.err
    assert ran.json["blend"] == [0.25, 0.75]
    assert ran.json["size"] == [64, 48]
    assert ran.json["pictures"] == ["out-000003.jpg", "out-000006.jpg"]
    assert ran.json["style_taps"] == {"Conv2d_2c_3x3": 0.5, "Mixed_3b": 0.5}
    history = ran.json["history"]
    assert [(entry["level"], entry["step"]) for entry in history] == [(m, n) for m in (0, 1) for n in range(4)]
    terms = ["content Mixed_3b", "style Conv2d_2c_3x3", "style Mixed_3b"]  # variation counts nothing
    assert list(history[0]) == ["level", "step", "total", *terms]
    sizes = {path.name: Image.open(path).size for path in Path().iterdir()}
    assert sizes == {"out.jpg": (64, 48), "out-000003.jpg": (32, 24), "out-000006.jpg": (64, 48)}


def test_a_person_reads_where_it_is_and_how_the_loss_fell(run: Run, content: Path, look: Path) -> None:
    ran = run("style", content, look, "-o", "out.png", *FEW)
    assert ran.code == 0
    assert ran.out.startswith("out.png  48 x 36\n  loss ")
    assert "by inception_v1_scenes" in ran.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["-o", "out.gif"], 2, ".png"),
        (["-o", "out"], 2, ".png"),
        (["-o", "nowhere/out.png"], 10, "folder does not exist"),
        (["--blend", "1,2"], 2, "1 styles and 2"),
        (["--blend", "one"], 2, "commas"),
        (["--optimizer", "sgd"], 2, "sgd"),
        (["--steps", "0"], 2, "--steps"),
        (["--backbone", "inception_v9"], 3, "inception_v"),
        (["--style-tap", "Mixed_9z"], 3, "Mixed_"),
        (["--content-tap", "global_pool"], 2, "no map"),
        (["--init", "missing.png"], 15, "missing.png"),
        (["--content-weight", "0", "--style-weight", "0"], 2, "Neither"),
        (["--resume"], 2, "No run"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run: Run, content: Path, look: Path, words: list[str], code: int, says: str
) -> None:
    words = words if "-o" in words else ["-o", "out.png", *words]
    ran = run("style", content, look, *words)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert says in ran.err
    assert list(Path().iterdir()) == []


def test_a_picture_of_three_pixels_and_one_that_is_none(run: Run, content: Path, look: Path, tmp_path: Path) -> None:
    narrow = tmp_path / "narrow.png"
    Image.fromarray(drawn(60, 3)).save(narrow)
    ran = run("style", content, narrow, "-o", "out.png")
    assert ran.code == 15
    assert "3 x 60 pixels" in ran.err
    narrow.write_bytes(b"GIF89a")
    assert run("style", content, narrow, "-o", "out.png").code == 15
    assert run("style", tmp_path / "missing.png", look, "-o", "out.png").code == 15
    assert list(Path().iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(run: Run, content: Path, look: Path) -> None:
    Path("closed").mkdir(mode=0o500)
    assert run("style", content, look, "-o", "closed/out.png").code == 10


def test_a_folder_is_no_output(run: Run, content: Path, look: Path) -> None:
    Path("out.png").mkdir()
    ran = run("style", content, look, "-o", "out.png")
    assert (ran.code, ran.out) == (10, "")


def test_ctrl_c_keeps_the_picture_and_resume_goes_on(
    run: Run, content: Path, look: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: tuple[Any, ...] = ("style", content, look, "--size", "48", "--steps", "6")
    assert run(*words, "-o", "whole.png").code == 0
    from modelzoo.style.optimizers import LBFGSRun

    step, made = LBFGSRun.step, 0

    def interrupted(self: LBFGSRun) -> Any:
        nonlocal made
        made += 1
        if made == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(LBFGSRun, "step", interrupted)
        ran = run(*words, "-o", "out.png")
    assert ran.code == 130
    assert "--resume" in ran.err
    assert sorted(path.name for path in Path().iterdir()) == ["out.png", "out.png.safetensors", "whole.png"]
    whole = np.asarray(Image.open("whole.png"))
    assert not np.array_equal(np.asarray(Image.open("out.png")), whole)
    assert run(*words, "-o", "out.png", "--steps", "6", "--style-weight", "3", "--resume").code == 13
    assert run(*words, "-o", "out.png", "--resume").code == 0
    np.testing.assert_array_equal(np.asarray(Image.open("out.png")), whole)
    assert sorted(path.name for path in Path().iterdir()) == ["out.png", "whole.png"]


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "style", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "--preserve-colours" in done.stdout
    assert not HEAVY & set(done.stderr.split())
