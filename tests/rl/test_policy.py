"""Policies act as the network that they were made of, whichever way they compute."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.rl.architecture import MNIH_2015, Architecture
from modelzoo.rl.dqn import named_weights
from modelzoo.rl.frames import FrameStack
from modelzoo.rl.policy import Actor, DensePolicy, EpsilonGreedy, TracedPolicy, policy_of
from modelzoo.rl.schedule import Schedule


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("shape,dtype,scale", [((5,), "float32", 1.0), ((4, 3, 2), "uint8", 1 / 255)])
@pytest.mark.parametrize("hidden", [(8,), (8, 6, 7)])
def test_numpy_gives_what_the_dense_network_gives(dueling, shape, dtype, scale, hidden):
    network = Architecture(hidden, (), dueling).build(shape, dtype, scale, 3, seed=1)
    policy = policy_of(network)
    assert isinstance(policy, DensePolicy)
    seen = np.random.default_rng(0).integers(0, 200, (6, *shape)).astype(dtype)
    expected = np.asarray(network(seen))
    np.testing.assert_allclose([policy.values(one) for one in seen], expected, rtol=1e-4, atol=1e-4)
    for variable in network.variables:
        variable.assign(variable * 2 + 0.5)
    policy.refresh()
    np.testing.assert_allclose(policy.values(seen[0]), np.asarray(network(seen[:1]))[0], rtol=1e-4)


def test_convolutions_act_by_one_traced_function():
    network = Architecture((8,), ((4, 3, 2),), True).build((9, 9, 2), "uint8", 1 / 255, 3, seed=1)
    policy = policy_of(network)
    assert isinstance(policy, TracedPolicy)
    seen = np.random.default_rng(0).integers(0, 256, (9, 9, 2), np.uint8)
    np.testing.assert_allclose(policy.values(seen), np.asarray(network(seen[None]))[0], rtol=1e-5, atol=1e-6)
    for variable in network.variables:
        variable.assign(variable * 2)
    policy.refresh()
    np.testing.assert_allclose(policy.values(seen), np.asarray(network(seen[None]))[0], rtol=1e-5, atol=1e-6)


def test_dueling_is_value_and_centred_advantage():
    """Wang et al. 2016, equation 9: the mean of the advantages is taken off."""
    one = np.eye(2, dtype=np.float32)
    zero = np.zeros(2, np.float32)
    policy = DensePolicy([], [(np.array([[1.0], [0]], np.float32), np.array([10.0], np.float32))], [(one, zero)])
    np.testing.assert_allclose(policy.values(np.array([1, 5], np.float32)), [11 + 1 - 3, 11 + 5 - 3])


def test_the_share_of_random_actions_follows_the_schedule():
    class Third:
        def values(self, observation):
            return np.array([0, 0, 1.0])

        def refresh(self):
            raise AssertionError

    actor = Actor(Third(), FrameStack((1,), np.float32, 1))
    explorer = EpsilonGreedy(actor, 3, Schedule(1.0, 0.0, 1000), np.random.default_rng(0))
    early, late = ([explorer.act(step) for _ in range(3000)] for step in (0, 700))
    assert [explorer.act(1000) for _ in range(100)] == [2] * 100
    assert np.allclose(np.bincount(early) / 3000, 1 / 3, atol=0.04)
    assert np.allclose(np.bincount(late) / 3000, [0.1, 0.1, 0.8], atol=0.03)


def test_frames_of_an_observation():
    stack = FrameStack((2, 2), np.uint8, 3)
    frames = [np.full((2, 2), number, np.uint8) for number in range(4)]
    stack.begin(frames[0])
    assert stack.observation()[0, 0].tolist() == [0, 0, 0]
    for frame in frames[1:]:
        stack.see(frame)
    assert stack.observation().shape == (2, 2, 3) and stack.observation()[0, 0].tolist() == [1, 2, 3]
    stack.begin(frames[2])
    assert stack.observation()[0, 0].tolist() == [2, 2, 2]


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize(
    "shape,hidden,convolutions",
    [((5,), (8, 6), ()), ((9, 11, 2), (7,), ((4, 3, 2), (3, 2, 1))), ((4,), (3,), ()), ((84, 84, 4), (16,), MNIH_2015)],
)
def test_shapes_are_those_of_the_network(shape, hidden, convolutions, dueling):
    architecture = Architecture(hidden, convolutions, dueling)
    named = named_weights(architecture.build(shape, "float32", 1.0, 3, seed=1))
    assert architecture.shapes(shape, 3) == {name: tuple(variable.shape) for name, variable in named.items()}
    assert Architecture.from_dict(architecture.as_dict()) == architecture
