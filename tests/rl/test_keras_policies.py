"""Policies that others trained with Keras 2 play CartPole."""

from __future__ import annotations

import itertools
import subprocess
import sys

import h5py
import numpy as np
import pytest

from modelzoo.errors import CheckpointFormatError, UsageError, WeightsMismatchError
from modelzoo.rl.environment import EnvironmentSpec, make
from modelzoo.rl.evaluation import evaluate
from modelzoo.rl.keras_policies import load_keras_policy
from tests.data_folder import DATA, needs_data
from tests.rl.environments import CATCH, CORRIDOR

POLE = "CartPole-v1"


def keras_file(path, layers):
    """Weights as Keras 2 saved them, of {name: arrays}."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["keras_version"] = b"2.0.6"
        for name, arrays in layers.items():
            group = file.create_group(name)
            names = [f"{name}/{what}:0" for what, _ in zip(("kernel", "bias"), arrays, strict=False)]
            group.attrs["weight_names"] = [item.encode() for item in names]
            for item, array in zip(names, arrays, strict=True):
                group[item] = array
    return path


def dense(generator, *widths):
    pairs = itertools.pairwise(widths)
    return {
        f"dense_{n}": (generator.normal(size=(a, b)).astype("f"), generator.normal(size=b).astype("f"))
        for n, (a, b) in enumerate(pairs, 1)
    }


def test_layers_are_run_in_their_order(tmp_path):
    layers = dense(np.random.default_rng(0), 4, 7, 5, 2)
    actor = load_keras_policy(keras_file(tmp_path / "net.h5", layers), make(POLE))
    x = seen = np.random.default_rng(1).normal(size=4).astype(np.float32)
    for number, (kernel, bias) in enumerate(layers.values(), 1):
        x = x @ kernel + bias
        x = np.maximum(x, 0) if number < 3 else x
    np.testing.assert_allclose(actor.policy.values(seen), x, rtol=1e-5)


def test_files_that_do_not_fit(tmp_path):
    generator = np.random.default_rng(0)
    for layers, words in (
        (dense(generator, 4, 7, 3), "3 outputs, 2 actions"),
        (dense(generator, 4, 7, 1), "a critic"),
        (dense(generator, 5, 7, 2), "expected (4, 7)"),
        ({"dense_1": (np.zeros((4, 2), "f"), np.zeros(3, "f"))}, "bias (3,)"),
        ({**dense(generator, 4, 7), "dense_2": dense(generator, 6, 2)["dense_1"]}, "expected (7, ...)"),
    ):
        with pytest.raises(WeightsMismatchError) as caught:
            load_keras_policy(keras_file(tmp_path / "net.h5", layers), make(POLE))
        assert words in str(caught.value)
    kernel = np.zeros((3, 3, 4, 2), np.float32)
    conv = {"conv": (kernel, np.zeros(2, "f"))}
    for layers in (conv, {**dense(generator, 4, 2), **conv}, {"lstm": (kernel[0], kernel[0, 0])}):
        with pytest.raises(UsageError):
            load_keras_policy(keras_file(tmp_path / "net.h5", layers), make(POLE))
    with pytest.raises(UsageError, match="too small"):
        load_keras_policy(keras_file(tmp_path / "net.h5", {**conv, **dense(generator, 4, 2)}), make(POLE))
    path = keras_file(tmp_path / "net.h5", dense(generator, 4, 2))
    for options in ({"actions": (0, 2)}, {"actions": (1, 1)}, {"actions": ()}, {"newest_first": True}):
        with pytest.raises(UsageError):
            load_keras_policy(path, make(POLE), **options)
    np.savez(tmp_path / "net.npz", a=kernel)
    with pytest.raises(CheckpointFormatError):
        load_keras_policy(tmp_path / "net.npz", make(POLE))
    layers = dense(generator, 4, 7, 2)
    with pytest.raises(WeightsMismatchError, match=CORRIDOR):
        load_keras_policy(keras_file(tmp_path / "net.h5", layers), make(CORRIDOR))


SCORES = {
    "cartpole_keon/cartpole-dqn.h5": (60, 120),
    "cartpole_keon/cartpole-ddqn.h5": (120, 300),
    "cartpole_rlcode/cartpole_dqn.h5": (35, 90),
    "cartpole_rlcode/cartpole_reinforce.h5": (500, 500),
    "cartpole_rlcode/cartpole_actor.h5": (500, 500),
}
"""Bounds of the mean return; those of 100 episodes are in docs/dqn.md."""


@needs_data
@pytest.mark.parametrize("name", SCORES)
def test_real_policies_keep_the_pole_up(name):
    actor = load_keras_policy(DATA / "models" / name, make(POLE))
    low, high = SCORES[name]
    # A policy of random actions reaches about 22.
    assert low <= evaluate(actor, POLE, episodes=20).mean <= high


@needs_data
def test_a_critic_is_no_policy():
    with pytest.raises(WeightsMismatchError, match="critic"):
        load_keras_policy(DATA / "models" / "cartpole_rlcode" / "cartpole_critic.h5", make(POLE))


@pytest.mark.parametrize("newest_first", [False, True])
def test_convolutions_are_run_as_keras_runs_them(tmp_path, newest_first):
    import keras

    network = keras.Sequential(
        [
            keras.Input((20, 20, 3)),
            keras.layers.Conv2D(4, 8, 4, activation="relu"),
            keras.layers.Conv2D(6, 4, 2, activation="relu", padding="valid"),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    arrays = [variable.numpy() for variable in network.weights]
    names = ("conv2d_1", "conv2d_2", "dense_1", "dense_2")
    layers = {name: tuple(arrays[2 * n : 2 * n + 2]) for n, name in enumerate(names)}
    path = keras_file(tmp_path / "net.h5", layers)
    environment = make(EnvironmentSpec(CATCH, stack=3))
    actor = load_keras_policy(path, environment, actions=(2, 0), newest_first=newest_first)
    seen = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    first, second = np.asarray(network((seen[..., ::-1] if newest_first else seen)[None] / np.float32(255)))[0]
    np.testing.assert_allclose(actor.policy.values(seen), [second, -np.inf, first], rtol=1e-4, atol=1e-5)
    with pytest.raises(WeightsMismatchError, match="2 outputs, 3 actions"):
        load_keras_policy(path, environment)
    with pytest.raises(WeightsMismatchError, match="conv2d_1"):
        load_keras_policy(path, make(EnvironmentSpec(CATCH, stack=4)), actions=(2, 0))


@needs_data
def test_a_real_policy_of_pixels():
    pytest.importorskip("ale_py", reason='needs ale-py: pip install "modelzoo[atari]"')
    environment = make("ALE/Breakout-v5")
    path = DATA / "models" / "cartpole_rlcode" / "breakout_a3c_1_actor.h5"
    actor = load_keras_policy(path, environment, actions=(1, 2, 3), newest_first=True)
    actor.begin(environment.reset(0))
    chosen = set()
    for _ in range(30):
        chosen.add(actor.greedy())
        actor.see(environment.step(actor.greedy())[0])
    environment.close()
    assert chosen <= {1, 2, 3}
    with pytest.raises(WeightsMismatchError, match="3 outputs, 4 actions"):
        load_keras_policy(path, make("ALE/Breakout-v5"))


def test_restoring_needs_no_tensorflow(tmp_path):
    path = keras_file(tmp_path / "net.h5", dense(np.random.default_rng(0), 4, 7, 2))
    program = f"""
import sys
from modelzoo.rl.environment import EnvironmentSpec, make
from modelzoo.rl.evaluation import evaluate
from modelzoo.rl.keras_policies import load_keras_policy
evaluate(load_keras_policy({str(path)!r}, make("CartPole-v1")), "CartPole-v1", episodes=1)
assert not {{"tensorflow", "keras"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
