"""Whole runs: what they learn and write, and that an interrupted one ends like one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modelzoo.errors import CheckpointFormatError, UsageError, WeightsMismatchError
from modelzoo.rl.architecture import Architecture
from modelzoo.rl.checkpoint import RunCheckpoint
from modelzoo.rl.environment import EnvironmentSpec
from modelzoo.rl.evaluation import evaluate
from modelzoo.rl.folder import load_agent
from modelzoo.rl.log import read_log
from modelzoo.rl.settings import DQNSettings
from modelzoo.rl.training import train_dqn
from tests.rl.environments import CATCH, CORRIDOR, PLANES

SMALL = Architecture((16,))
QUICK = {
    "steps": 1200,
    "learning_starts": 100,
    "train_every": 10,
    "updates": 5,
    "batch_size": 16,
    "target_every": 25,
    "evaluate_every": 400,
    "evaluate_episodes": 3,
    "checkpoint_every": 300,
}


def quick(kind: str = "vector", **changes) -> DQNSettings:
    return DQNSettings.for_kind(kind, **{**QUICK, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    """All bytes that a run left, but those of zip files, which hold times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                found |= {f"{path.relative_to(folder)}/{name}": arrays[name].tobytes() for name in arrays.files}
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def test_a_run_writes_its_folder(tmp_path):
    trained = train_dqn("CartPole-v1", tmp_path / "run", settings=quick(), architecture=SMALL)
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["agent.json", "curve.png", "log.csv", "policy.safetensors", "training"]
    said = json.loads((tmp_path / "run" / "agent.json").read_text())
    assert said["environment"]["id"] == "CartPole-v1" and said["network"]["hidden"] == [16]
    assert said["result"]["steps"] == 1200 and said["result"]["best_step"] == trained.best_step
    assert said["result"]["updates"] == 5 * sum(step % 10 == 0 for step in range(100, 1201))
    rows = read_log(tmp_path / "run" / "log.csv")
    assert tuple(rows) == tuple(trained.rows)
    assert [row.step for row in rows if row.evaluation is not None] == [400, 800, 1200]
    lengths = [row.length for row in rows if row.length is not None]
    assert lengths and sum(lengths) <= 1200 and all(row.total == row.length for row in rows if row.length)
    assert trained.agent.learner.traces == 1
    # The saved policy is the best one: it plays as the run's own does.
    saved = load_agent(tmp_path / "run").actor
    episodes = {"episodes": 4, "seed": 5}
    assert evaluate(saved, "CartPole-v1", **episodes) == evaluate(trained.best_actor(), "CartPole-v1", **episodes)


def test_a_policy_of_dense_layers_plays_without_tensorflow(tmp_path):
    train_dqn(CATCH, tmp_path / "run", settings=quick(steps=200), architecture=Architecture((8,), (), True))
    program = f"""
import sys
from modelzoo.rl import evaluate, load_agent
from tests.rl.environments import register
register()
agent = load_agent({str(tmp_path / "run")!r})
evaluate(agent.actor, agent.spec, episodes=2)
assert not {{"tensorflow", "keras"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=Path(__file__).parents[2])


def test_a_description_of_a_huge_network_allocates_nothing(tmp_path):
    train_dqn(CORRIDOR, tmp_path / "run", settings=quick(steps=200), architecture=SMALL)
    path = tmp_path / "run" / "agent.json"
    said = json.loads(path.read_text())
    for network in (
        {"hidden": [10**9] * 3},
        {"convolutions": [[10**9, 1, 1]]},
        {"dueling": True},
        {"hidden": [16, 16]},
    ):
        path.write_text(json.dumps({**said, "network": {**said["network"], **network}}))
        with pytest.raises((WeightsMismatchError, UsageError)):
            load_agent(tmp_path / "run")
    for key in ("network", "environment"):
        for wrong in (None, [], {"hidden": "abc"}, {**said[key], "hidden": ["a"], "id": 3}):
            path.write_text(json.dumps({**said, key: wrong}))
            with pytest.raises(CheckpointFormatError):
                load_agent(tmp_path / "run")


def test_the_best_policy_is_kept_and_of_equal_ones_the_later(monkeypatch):
    from types import SimpleNamespace

    from modelzoo.rl import training

    scores = iter([5.0, 9.0, 9.0, 1.0])
    monkeypatch.setattr(training, "evaluate", lambda *args, **options: SimpleNamespace(mean=next(scores)))
    trained = train_dqn(CORRIDOR, settings=quick(steps=800, evaluate_every=200), architecture=SMALL)
    assert (trained.best_score, trained.best_step, trained.last_score) == (9.0, 600, 1.0)
    last = trained.agent.weights()
    assert any((trained.best[name] != last[name]).any() for name in last)


def test_the_corridor_is_learned():
    for n_step, dueling in ((1, False), (3, True)):
        settings = quick(steps=1000, n_step=n_step, learning_rate=5e-3)
        trained = train_dqn(CORRIDOR, settings=settings, architecture=Architecture((16,), (), dueling))
        found = evaluate(trained.best_actor(), CORRIDOR, episodes=2)
        assert found.returns == (1.0, 1.0) and found.lengths == (4, 4)


def test_catch_is_learned_from_pixels():
    settings = quick("picture", steps=1500, updates=4, train_every=4, learning_rate=3e-3, buffer_size=1000)
    trained = train_dqn(
        EnvironmentSpec(CATCH, stack=2), settings=settings, architecture=Architecture((32,), ((8, 4, 4),))
    )
    assert trained.agent.replay.frames.dtype == np.uint8
    assert evaluate(trained.best_actor(), EnvironmentSpec(CATCH, stack=2), episodes=20).mean > 0.5


def test_a_seed_determines_a_run():
    runs = [
        train_dqn(PLANES, settings=quick("planes", steps=400, updates=2, seed=seed), architecture=SMALL)
        for seed in (1, 1, 2)
    ]
    assert runs[0].rows == runs[1].rows != runs[2].rows
    assert all((runs[0].best[name] == runs[1].best[name]).all() for name in runs[0].best)


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    "name,kind,changes,architecture",
    [
        ("CartPole-v1", "vector", {"n_step": 3}, Architecture((16,), (), True)),
        (PLANES, "planes", {"updates": 4, "target_every": 0, "target_rate": 0.01}, Architecture((8,), ((4, 3, 1),))),
    ],
)
def test_interrupted_and_resumed_is_uninterrupted(tmp_path, monkeypatch, name, kind, changes, architecture):
    settings = quick(kind, **changes)
    train_dqn(name, tmp_path / "whole", settings=settings, architecture=architecture)
    from modelzoo.rl import training

    for stop in (250, 1000):
        resume = (tmp_path / "parts").exists()

        def interrupted(run, episode, stop=stop, noted=training._Run._note):
            if episode.step > stop:
                raise Stopped
            noted(run, episode)

        with monkeypatch.context() as patch:
            patch.setattr(training._Run, "_note", interrupted)
            with pytest.raises(Stopped):
                train_dqn(name, tmp_path / "parts", settings=settings, architecture=architecture, resume=resume)
    train_dqn(name, tmp_path / "parts", settings=settings, architecture=architecture, resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_killed_process(tmp_path):
    # As many gradient steps in a call as are compiled.
    changes = {**QUICK, "steps": 1000, "train_every": 16, "updates": 8}
    train_dqn("CartPole-v1", tmp_path / "whole", settings=DQNSettings.for_kind("vector", **changes))

    def start(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.rl.run_in_process", str(tmp_path / "parts"), "CartPole-v1", *words]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        settings = ["--settings", json.dumps(changes)]
        return subprocess.Popen([*command, *settings], cwd=Path(__file__).parents[2], env=environment)

    running = start()
    until = time.monotonic() + 120
    while not list((tmp_path / "parts" / "training").glob("step-*")) and time.monotonic() < until:
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    assert running.wait(60) == -signal.SIGKILL
    assert json.loads((tmp_path / "parts" / "agent.json").read_text())["result"] is None
    assert start("--resume").wait(120) == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_more_steps_continue_a_finished_run(tmp_path):
    settings = quick(steps=500)
    train_dqn("CartPole-v1", tmp_path / "parts", settings=settings, architecture=SMALL)
    longer = replace(settings, steps=900)
    train_dqn("CartPole-v1", tmp_path / "parts", settings=longer, architecture=SMALL, resume=True)
    train_dqn("CartPole-v1", tmp_path / "whole", settings=longer, architecture=SMALL)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    train_dqn("CartPole-v1", tmp_path / "parts", settings=longer, architecture=SMALL, resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_runs_that_cannot_go_on(tmp_path):
    folder, settings = tmp_path / "run", quick(steps=700)
    train_dqn("CartPole-v1", folder, settings=settings, architecture=SMALL)
    before = contents(folder)

    def again(name: str = "CartPole-v1", resume: bool = True, architecture: Architecture = SMALL, **changes):
        chosen = replace(settings, **changes)
        return train_dqn(name, folder, settings=chosen, architecture=architecture, resume=resume)

    with pytest.raises(UsageError, match="--resume"):
        again(resume=False)
    for options in (
        {"name": CORRIDOR},
        {"seed": 1},
        {"n_step": 2},
        {"steps": 600},
        {"architecture": Architecture((17,))},
    ):
        with pytest.raises(CheckpointFormatError):
            again(**options)
    assert contents(folder) == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        train_dqn("CartPole-v1", tmp_path / "other", settings=settings)
    with pytest.raises(CheckpointFormatError, match="no agent"):
        train_dqn("CartPole-v1", tmp_path / "nothing", settings=settings, resume=True)
    with pytest.raises(UsageError, match="a file lies there"):
        train_dqn("CartPole-v1", tmp_path / "other" / "notes.txt", settings=settings)


def test_damaged_folders(tmp_path):
    folder, settings = tmp_path / "run", quick(steps=700)
    train_dqn("CartPole-v1", folder, settings=settings, architecture=SMALL)
    (state,) = (folder / "training").iterdir()
    weights = (folder / "policy.safetensors").read_bytes()
    for path in (state / "replay.npz", state / "state.safetensors"):
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", b"x" * 64):
            path.write_bytes(damaged)
            with pytest.raises(CheckpointFormatError):
                train_dqn("CartPole-v1", folder, settings=settings, architecture=SMALL, resume=True)
        path.write_bytes(whole)
    (folder / "policy.safetensors").write_bytes(weights[:50])
    with pytest.raises(CheckpointFormatError):
        load_agent(folder)
    for text in ("{", "[]", '{"algorithm": "dqn"}', '{"algorithm": "a2c"}'):
        (folder / "agent.json").write_text(text)
        with pytest.raises(CheckpointFormatError):
            load_agent(folder)


def test_a_state_that_is_half_written_is_not_one(tmp_path, monkeypatch):
    kept = RunCheckpoint(tmp_path)
    kept.save(10, {"a": np.ones(3, np.float32)}, {}, {"b": np.arange(4)})

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    from modelzoo.errors import DiskError

    with pytest.raises(DiskError):
        kept.save(20, {"a": np.zeros(3, np.float32)}, {}, {"b": np.arange(4)})
    monkeypatch.undo()
    facts, arrays, replay = kept.latest()
    assert facts["step"] == 10 and arrays["a"].tolist() == [1, 1, 1] and replay["b"].tolist() == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000000010"]


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"discount": 1.5},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"seed": -1},
        {"double": 1},
        {"n_step": 100, "buffer_size": 50},
        {"exploration": 0.1},
        {"evaluate_exploration": -1},
        {"target_every": 0, "target_rate": 0},
        {"updates": 1.5},
        {"learning_rat": 1e-3},
    ],
)
def test_settings_that_make_no_sense(change):
    with pytest.raises(UsageError):
        DQNSettings.for_kind("vector", **change)
    assert DQNSettings.from_dict(DQNSettings.for_kind("picture").as_dict()) == DQNSettings.for_kind("picture")
