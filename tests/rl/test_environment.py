"""Environments: what they show becomes frames, and what does not fit is said."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from modelzoo.errors import MissingExtraError, NotFoundError, UsageError
from modelzoo.rl.environment import EVALUATION, SELECTION, TRAINING, EnvironmentSpec, episode_seed, make
from modelzoo.rl.frames import grey, planes_picture, resized
from tests.rl.environments import CATCH, CORRIDOR, PLANES, SIDE, WORDS


@pytest.mark.parametrize(
    "name,kind,frame,observation,actions",
    [
        ("CartPole-v1", "vector", (4,), (4,), 2),
        (CATCH, "picture", (SIDE, SIDE), (SIDE, SIDE, 4), 3),
        (PLANES, "planes", (5, 5, 2), (5, 5, 2), 3),
        (CORRIDOR, "one-hot", (5,), (5,), 2),
    ],
)
def test_kinds(name, kind, frame, observation, actions):
    environment = make(name)
    assert (environment.kind, environment.frame_shape) == (kind, frame)
    assert (environment.observation_shape, environment.actions) == (observation, actions)
    first = environment.reset(3)
    assert first.shape == frame and first.dtype == environment.frame_dtype
    following, reward, terminated, truncated = environment.step(actions - 1)
    assert following.shape == frame and following.dtype == environment.frame_dtype
    assert type(reward) is float and type(terminated) is bool and type(truncated) is bool
    np.testing.assert_array_equal(environment.reset(3), first)
    environment.close()


def test_spaces_that_do_not_start_at_nought():
    environment = make(CORRIDOR)
    assert environment.reset(0).tolist() == [1, 0, 0, 0, 0]
    assert environment.step(0)[0].tolist() == [1, 0, 0, 0, 0]  # its action -1: to the left
    assert environment.step(1)[0].tolist() == [0, 1, 0, 0, 0]


def test_size_and_stack():
    environment = make(EnvironmentSpec(CATCH, stack=2, size=(10, 8)))
    assert environment.observation_shape == (10, 8, 2) and environment.reset(0).shape == (10, 8)
    spec = EnvironmentSpec.from_dict(environment.as_dict())
    assert spec == environment.spec


def test_pictures_are_grey_and_smaller():
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    np.testing.assert_array_equal(grey(picture), np.asarray(Image.fromarray(picture).convert("L")))
    small = resized(grey(picture), (20, 15))
    means = grey(picture).reshape(20, 2, 15, 2).mean((1, 3))
    assert small.shape == (20, 15) and np.abs(small - means).max() <= 1


def test_planes_have_colours_of_their_own():
    planes = np.zeros((2, 2, 4), np.uint8)
    planes[0, 0, 0] = planes[0, 1, 1] = planes[1, 0, 2] = 1
    picture = planes_picture(planes, 3)
    assert picture.shape == (6, 6, 3)
    assert len({tuple(picture[y, x]) for y, x in ((0, 0), (0, 3), (3, 0), (3, 3))}) == 4


@pytest.mark.parametrize(
    "name,error,words",
    [
        ("CartPole-v9", NotFoundError, "CartPole-v1"),
        ("CartPol-v1", NotFoundError, "CartPole-v1"),
        ("Pendulum-v1", UsageError, "Discrete"),
        (WORDS, UsageError, "no single array"),
        ("os:system", UsageError, "registered"),
        ("", UsageError, "registered"),
    ],
)
def test_what_does_not_fit(name, error, words):
    with pytest.raises(error) as caught:
        make(name)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"stack": 0}, {"stack": True}, {"stack": 2.0}, {"size": (84,)}, {"size": (0, 84)}, {"size": (8.0, 8)}]
)
def test_specs_that_make_no_sense(change):
    with pytest.raises(UsageError):
        EnvironmentSpec(CATCH, **change)


def test_other_mistakes():
    for spec in (EnvironmentSpec("CartPole-v1", size=(8, 8)), EnvironmentSpec("CartPole-v1", {"gravity": 3})):
        with pytest.raises(UsageError):
            make(spec)
    for raw in (None, {}, {"id": "CartPole-v1"}, {"id": 3, "options": {}, "stack": None, "size": None}):
        with pytest.raises(UsageError):
            EnvironmentSpec.from_dict(raw)


@pytest.mark.parametrize("name,module,extra", [("CartPole-v1", "gymnasium", "rl"), ("ALE/Pong-v5", "ale_py", "atari")])
def test_a_package_that_is_missing(monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        make(name)
    assert f'pip install "modelzoo[{extra}]"' in str(caught.value)


def test_seeds_of_different_streams_never_meet():
    seeds = {episode_seed(0, stream, n) for stream in (TRAINING, SELECTION, EVALUATION) for n in range(500)}
    assert len(seeds) == 1500 and all(0 <= seed < 2**31 for seed in seeds)
    assert episode_seed(7, TRAINING, 2) == episode_seed(7, TRAINING, 2) != episode_seed(8, TRAINING, 2)


def test_atari_frames():
    pytest.importorskip("ale_py", reason='needs ale-py: pip install "modelzoo[atari]"')
    environment = make("ALE/Pong-v5")
    assert environment.observation_shape == (84, 84, 4) and environment.actions == 6
    one = [environment.reset(5), *(environment.step(action % 6)[0] for action in range(30))]
    environment.close()
    other = make("ALE/Pong-v5")
    two = [other.reset(5), *(other.step(action % 6)[0] for action in range(30))]
    assert one[0].dtype == np.uint8 and one[0].std() > 0
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    other.close()


def test_minatar_planes():
    pytest.importorskip("minatar", reason='needs minatar: pip install "modelzoo[atari]"')
    import logging

    before = list(logging.getLogger().handlers)
    environment = make("MinAtar/Breakout-v1", draw=True)
    assert logging.getLogger().handlers == before
    assert environment.kind == "planes" and environment.observation_shape == (10, 10, 4) and environment.actions == 3
    frame = environment.reset(0)
    assert frame.dtype == np.uint8 and set(np.unique(frame)) == {0, 1}
    assert environment.picture(frame).shape == (160, 160, 3)
