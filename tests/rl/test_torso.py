"""A pretrained torso: what it sees, features in the replay buffer, unfreezing, and runs that go on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelzoo.errors import CheckpointFormatError, UnknownTapError, UsageError
from modelzoo.preprocess import Preprocess
from modelzoo.rl.dqn import DQN, usual_settings
from modelzoo.rl.environment import EnvironmentSpec, make
from modelzoo.rl.evaluation import evaluate
from modelzoo.rl.folder import load_agent
from modelzoo.rl.torso import Torso
from modelzoo.rl.training import train_dqn
from tests.finetune.networks import SIDE as NETWORK_SIDE
from tests.finetune.networks import small_network
from tests.rl.environments import CATCH, CORRIDOR, PLANES
from tests.rl.test_training import QUICK, Stopped, contents, quick

STACKED = EnvironmentSpec(CATCH, stack=3)


def torso(seed: int = 0, **options) -> Torso:
    return Torso(small_network(seed), **{"tap": "two", "grid": None, **options})


def normed(features: np.ndarray) -> np.ndarray:
    flat = features.reshape(len(features), -1)
    return (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + 1e-6)


@pytest.mark.parametrize(
    "preprocess",
    [
        {"family": "keras_tf"},
        {"family": "keras_caffe"},
        {"family": "keras_torch"},
        {"family": "inception"},
        {"family": "keras_tf", "colour": "BGR"},
    ],
)
def test_frames_are_scaled_as_the_card_says(preprocess):
    network = small_network()
    how = Preprocess(**preprocess, size=(NETWORK_SIDE, NETWORK_SIDE), geometry="warp")
    object.__setattr__(network, "preprocess", how)
    made = Torso(network, tap="two", grid=None)
    environment = make(EnvironmentSpec(CATCH, stack=3, size=(NETWORK_SIDE, NETWORK_SIDE)))
    encode = made.encode(environment)
    frames = np.random.default_rng(0).integers(0, 256, environment.observation_shape, np.uint8)
    # Of the frame's own size, so that nothing is resized: the three frames are the three channels.
    expected = normed(np.asarray(made.backbone.model(how(frames))))[0]
    np.testing.assert_allclose(encode(frames), expected, rtol=1e-3, atol=1e-3)
    assert encode(frames).shape == (made.width,)


def test_what_a_torso_sees():
    made = torso()
    environment = make(EnvironmentSpec(CATCH, stack=1))
    picture = np.asarray(made._picture(environment.reset(0)[None, ..., None], "picture"))
    assert picture.shape == (1, NETWORK_SIDE, NETWORK_SIDE, 3)
    assert (picture[..., 0] == picture[..., 1]).all() and picture.min() >= -1 and picture.max() <= 1
    planes = make(PLANES).reset(0)[None]
    picture = np.asarray(made._picture(planes, "planes"))[0]
    assert len({tuple(np.round(pixel, 3)) for pixel in picture.reshape(-1, 3)}) == 3  # ball, paddle, nothing


def test_features_are_averaged_to_a_grid():
    whole, coarse = torso(grid=None), torso(grid=2)
    channels = whole.backbone.taps["two"].channels
    assert whole.width == 4 * 4 * channels and coarse.width == 2 * 2 * channels
    vector = Torso(small_network(), tap="pool")
    assert vector.width == channels


def test_features_are_kept_in_the_place_of_pixels():
    settings = quick("picture", steps=400, buffer_size=600)
    trained = train_dqn(CATCH, settings=settings, torso=torso())
    replay, width = trained.agent.replay, torso().width
    assert replay.frames.shape == (600, width) and replay.frames.dtype == np.float32
    assert trained.agent.actor.stack.stack == 3  # as many as there are channels
    batch = replay.sample((50,), np.random.default_rng(0))
    environment = make(STACKED)
    first = environment.reset(0)
    expected = torso().encode(environment)(np.repeat(first[..., None], 3, axis=-1))
    first_rows = replay.frames[: len(replay)][replay.ages[: len(replay)] == 0]
    assert min(np.abs(row - expected).max() for row in first_rows) < 1e-4
    assert batch.observations.shape == (50, width)
    frozen = small_network()
    for own, other in zip(trained.agent.torso.backbone.network.weights, frozen.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(own), np.asarray(other))


def test_a_frozen_torso_learns_catch():
    settings = quick("planes", steps=1500, updates=4, train_every=4, learning_rate=1e-3)
    trained = train_dqn(PLANES, settings=settings, torso=torso())
    assert evaluate(trained.best_actor(), PLANES, episodes=20).mean > 0.4


def test_a_schedule_trains_what_lies_behind_a_tap():
    settings = quick("picture", steps=600, evaluate_every=0, checkpoint_every=0)
    made = torso()
    trained = train_dqn(CATCH, settings=settings, torso=made, unfreeze=(400, "one"))
    agent = trained.agent
    assert agent.replay.frames.dtype == np.uint8 and agent.replay.frames.shape[1:] == (20, 20)
    before = {variable.path: np.asarray(variable) for variable in small_network().weights}
    after = {variable.path: np.asarray(variable) for variable in made.backbone.network.weights}
    changed = {path for path in before if (before[path] != after[path]).any()}
    assert changed and all(path.startswith("two_conv") for path in changed)
    assert agent.learner.traces == 2  # once more where the variables become others


@pytest.mark.parametrize("unfreeze", [None, pytest.param((200, "one"), marks=pytest.mark.slow)])
def test_interrupted_and_resumed_is_uninterrupted(tmp_path, monkeypatch, unfreeze):
    from modelzoo.rl import training

    settings = quick("picture", steps=600, buffer_size=400, updates=2, evaluate_every=300)
    options = {"settings": settings, "unfreeze": unfreeze}
    train_dqn(CATCH, tmp_path / "whole", torso=torso(), **options)
    noted = training._Run._note

    def interrupted(run, episode):
        if episode.step > 500:
            raise Stopped
        noted(run, episode)

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_note", interrupted)
        with pytest.raises(Stopped):
            train_dqn(CATCH, tmp_path / "parts", torso=torso(), **options)
    train_dqn(CATCH, tmp_path / "parts", torso=torso(), resume=True, **options)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    # The policy acts without its run, but not on another torso.
    saved = load_agent(tmp_path / "whole", torso=torso())
    assert len(evaluate(saved.actor, saved.spec, episodes=2).returns) == 2
    with pytest.raises(CheckpointFormatError, match="torso"):
        load_agent(tmp_path / "whole", torso=torso(seed=1))
    with pytest.raises(UsageError, match="own"):
        load_agent(tmp_path / "whole")


@pytest.mark.parametrize(
    "spec", ["CartPole-v1", CORRIDOR, EnvironmentSpec(CATCH, stack=4), EnvironmentSpec(PLANES, stack=3)]
)
def test_observations_that_do_not_fit(tmp_path, spec):
    with pytest.raises(UsageError) as caught:
        train_dqn(spec, tmp_path / "run", torso=torso())
    assert "torso" in str(caught.value).lower() and "observations" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_other_mistakes(tmp_path):
    import keras

    settings = quick("picture")
    for options, error in (
        ({"unfreeze": (10, "one")}, UsageError),
        ({"torso": torso(), "unfreeze": (10, "nowhere")}, UnknownTapError),
        ({"torso": torso(), "unfreeze": (-1, "one")}, UsageError),
        ({"torso": torso(), "unfreeze": (10, True)}, UsageError),
    ):
        with pytest.raises(error):
            train_dqn(CATCH, tmp_path / "run", settings=settings, **options)
    plain = small_network()
    object.__setattr__(plain, "preprocess", None)
    inputs = keras.Input((None, None, 3))
    open_size = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="c")(inputs))
    object.__setattr__(open_size, "preprocess", Preprocess("keras_tf", (16, 16)))
    for make_it in (
        lambda: Torso(plain, tap="two"),
        lambda: Torso(open_size, tap="c"),
        lambda: torso(grid=0),
        lambda: torso(side=8),
    ):
        with pytest.raises(UsageError):
            make_it()
    assert not (tmp_path / "run").exists()


def test_the_bundled_network_as_a_torso():
    made = Torso("inception_v1_scenes", tap="Mixed_3b", side=32)
    environment = make(STACKED)
    agent = DQN(environment, replace(quick("picture"), buffer_size=100), torso=made)
    agent.begin(environment.reset(0))
    for step in range(10):
        action = agent.act(step)
        agent.see(action, *(lambda f, r, e, c: (r, f, e, c))(*environment.step(action)))
    assert agent.replay.frames.shape == (100, made.width) and np.isfinite(agent.replay.frames[:11]).all()
    assert made.as_dict()["name"] == "inception_v1_scenes" and QUICK


def test_the_bundled_network_is_trained_on_behind_a_tap():
    made = Torso("inception_v1_scenes", tap="Conv2d_2b_1x1", side=32)
    before = {variable.path: np.asarray(variable) for variable in made.backbone.network.weights}
    settings = quick("picture", steps=160, evaluate_every=0, updates=1)
    train_dqn(CATCH, settings=settings, torso=made, unfreeze=(120, "MaxPool_2a_3x3"))
    after = {variable.path: np.asarray(variable) for variable in made.backbone.network.weights}
    changed = {path for path in before if (before[path] != after[path]).any()}
    assert changed and all(path.startswith("Conv2d_2b_1x1") for path in changed)


def test_a_buffer_of_features_is_no_larger_than_a_gigabyte():
    environment, made = make(PLANES), torso()
    made.width = 2**18
    assert usual_settings(environment, made, None).buffer_size == 5_000
    made.width = 2**13
    assert usual_settings(environment, made, None).buffer_size == 2**15
    assert usual_settings(environment, made, (5, False)).buffer_size == 100_000
    assert usual_settings(environment, made, None, buffer_size=99_999).buffer_size == 99_999


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,package,tap", [("MinAtar/Breakout-v1", "minatar", "Conv2d_2b_1x1"), ("ALE/Pong-v5", "ale_py", "Mixed_3b")]
)
def test_games_on_the_bundled_network_go_on(tmp_path, monkeypatch, name, package, tap):
    pytest.importorskip(package, reason='needs the games: pip install "modelzoo[atari]"')
    from modelzoo.rl import training

    spec = EnvironmentSpec(name, {"max_episode_steps": 40})  # episodes of Pong are long
    settings = quick("planes", steps=160, evaluate_every=0, checkpoint_every=50, updates=1, buffer_size=300)

    def made() -> Torso:
        return Torso("inception_v1_scenes", tap=tap, side=32)

    train_dqn(spec, tmp_path / "whole", settings=settings, torso=made())
    kept = training._Run._keep

    def interrupted(run):
        kept(run)
        if run.runner.step > 100:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_keep", interrupted)
        with pytest.raises(Stopped):
            train_dqn(spec, tmp_path / "parts", settings=settings, torso=made())
    train_dqn(spec, tmp_path / "parts", settings=settings, torso=made(), resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
