"""`modelzoo dqn train|eval|play`: what they write, what they say, and their exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("gymnasium", reason='needs gymnasium: pip install "modelzoo[rl]"')

from tests.data_folder import DATA, needs_data
from tests.rl.environments import CATCH, CORRIDOR, PLANES, WORDS, register

SHORT = ("--steps", "300", "--evaluate-every", "0", "--checkpoint-every", "100")


@pytest.fixture(autouse=True)
def _environments():
    register()


def test_train_eval_play_and_go_on(run, tmp_path):
    out = tmp_path / "run"
    first = run("dqn", "train", PLANES, "-o", out, *SHORT, "--stack", "1", "--dueling", "--n-step", "2", "--json")
    assert first.code == 0, first.err
    assert first.json["environment"] == PLANES and first.json["best_step"] == 300
    names = {path.name for path in out.iterdir()}
    assert names == {"agent.json", "policy.safetensors", "log.csv", "curve.png", "training"}
    said = json.loads((out / "agent.json").read_text())
    assert said["network"]["dueling"] and said["settings"]["n_step"] == 2 and said["settings"]["double"]
    tried = run("dqn", "eval", out, "--episodes", "7", "--json")
    assert tried.code == 0 and len(tried.json["returns"]) == 7 and -1 <= tried.json["mean"] <= 1
    assert run("dqn", "eval", out, "--episodes", "7", "-q").out.strip() == repr(tried.json["mean"])
    gif = tmp_path / "episode.gif"
    played = run("dqn", "play", out, "--gif", gif)
    assert played.code == 0, played.err
    assert os.environ["SDL_VIDEODRIVER"]  # else SDL complains of a missing screen
    from PIL import Image

    with Image.open(gif) as image:
        assert image.n_frames == 5 and image.size == (20, 20)
    assert run("dqn", "play", out).code == 0 and (out / "episode.gif").exists()
    (out / "episode.gif").unlink()
    # The options of the first call are in the folder.
    more = run("dqn", "train", PLANES, "-o", out, "--resume", "--steps", "400", "--json")
    assert more.code == 0, more.err
    assert more.json["best_step"] == 400
    assert json.loads((out / "agent.json").read_text())["settings"] == {**said["settings"], "steps": 400}


def test_a_pretrained_torso(run, tmp_path):
    out = tmp_path / "run"
    words = ("--torso", "inception_v1_scenes", "--tap", "Mixed_3b", "--side", "32", "--steps", "150")
    first = run("dqn", "train", CATCH, "-o", out, *words, "--evaluate-every", "100", "--json")
    assert first.code == 0, first.err
    said = json.loads((out / "agent.json").read_text())
    assert said["torso"]["name"] == "inception_v1_scenes" and said["environment"]["stack"] == 3
    assert said["unfreeze"] is None and said["network"]["convolutions"] == []
    tried = run("dqn", "eval", out, "--episodes", "10", "--json")
    assert tried.code == 0 and -1 <= tried.json["mean"] <= 1
    # The torso is in the folder's description, not in the second command line.
    more = run("dqn", "train", CATCH, "-o", out, "--resume", "--steps", "200", "--json")
    assert more.code == 0 and more.json["steps"] == 200


def test_a_run_is_not_overwritten_or_gone_on_with_by_mistake(run, tmp_path):
    out = tmp_path / "run"
    assert run("dqn", "train", CORRIDOR, "-o", out, *SHORT).code == 0
    before = (out / "policy.safetensors").read_bytes()
    for words, code, said in (
        ((CORRIDOR, *SHORT), 2, "--resume"),
        ((CATCH, "--resume"), 2, "another environment"),
        ((CORRIDOR, "--resume", "--seed", "4"), 13, "another seed"),
        ((CORRIDOR, "--resume", "--dueling"), 13, "dueling"),
        ((CORRIDOR, "--resume", "--steps", "20"), 13, "more steps"),
    ):
        ran = run("dqn", "train", words[0], "-o", out, *words[1:])
        assert (ran.code, said in ran.err) == (code, True), ran.err
    ran = run("dqn", "eval", out, "--env", CATCH)
    assert ran.code == 2 and "another environment" in ran.err
    assert (out / "policy.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "words,code,said",
    [
        (("CartPole-v9",), 3, "CartPole-v1"),
        (("Pendulum-v1",), 2, "Discrete"),
        ((WORDS,), 2, "no single array"),
        (("CartPole-v1", "--torso", "inception_v1_scenes"), 2, "looks at pictures"),
        ((CATCH, "--torso", "inception_v9"), 3, "inception_v9"),
        ((CATCH, "--torso", "inception_v1_scenes", "--tap", "Mixed_9z"), 3, "Mixed_9z"),
        ((CATCH, "--tap", "Mixed_3b"), 2, "--torso"),
        ((CATCH, "--unfreeze-at", "10"), 2, "--unfreeze"),
        (("CartPole-v1", "--steps", "0"), 2, "--steps"),
        (("CartPole-v1", "--n-step", "9", "--buffer", "8"), 2, "buffer"),
        (("CartPole-v1", "--resume"), 13, "no agent"),
    ],
)
def test_what_makes_no_sense_is_said_before_any_work(run, tmp_path, words, code, said):
    ran = run("dqn", "train", *words, "-o", tmp_path / "run")
    assert (ran.code, said in ran.err) == (code, True), ran.err
    assert not (tmp_path / "run").exists()


def test_gymnasium_is_missing(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    ran = run("dqn", "train", "CartPole-v1", "-o", tmp_path / "run")
    assert ran.code == 16 and 'pip install "modelzoo[rl]"' in ran.err


def test_policies_that_are_none(run, tmp_path):
    (tmp_path / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"x" * 100)
    for words, code in (
        (("eval", tmp_path / "nothing"), 2),
        (("eval", tmp_path), 13),
        (("eval", tmp_path / "net.h5"), 2),
        (("eval", tmp_path / "net.h5", "--env", "CartPole-v1"), 13),
        (("play", tmp_path / "net.h5", "--env", "CartPole-v1"), 2),
        (("eval", tmp_path, "--action", "0"), 2),
    ):
        assert run("dqn", *words).code == code


@needs_data
def test_a_keras_policy(run, tmp_path):
    path = DATA / "models" / "cartpole_rlcode" / "cartpole_reinforce.h5"
    ran = run("dqn", "eval", path, "--env", "CartPole-v1", "--episodes", "3", "--json")
    assert ran.json["mean"] == 500
    ran = run("dqn", "eval", path.with_name("cartpole_critic.h5"), "--env", "CartPole-v1")
    assert ran.code == 14 and "critic" in ran.err


def test_help_imports_nothing_heavy():
    from tests.cli.test_light import HEAVY, PROGRAM

    for words in (["dqn", "--help"], ["dqn", "train", "--help"]):
        command = [sys.executable, "-c", PROGRAM, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout and not {*HEAVY, "gymnasium"} & set(done.stderr.split())


def test_help(run):
    assert run("dqn", "--help").out.count("\n") > 5
    for name in ("train", "eval", "play"):
        assert f"modelzoo dqn {name}" in run("dqn", name, "--help").out
