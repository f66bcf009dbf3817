"""The replay buffer beside a plain list of transitions made from whole episodes."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import CheckpointFormatError, UsageError
from modelzoo.rl.frames import FrameStack
from modelzoo.rl.replay import ReplayBuffer

DISCOUNT = 0.9


def play(buffer: ReplayBuffer, shape: tuple[int, ...], dtype: str, lengths: list[tuple[int, str]], seed: int = 0):
    """Episodes of random frames; their transitions as tuples, computed with no buffer."""
    generator = np.random.default_rng(seed)
    number = 0

    def frame() -> np.ndarray:
        nonlocal number
        number += 1
        made = generator.integers(0, 100, shape).astype(dtype)
        made.reshape(-1)[0] = number  # frames are told apart
        return made

    transitions = {}
    for length, end in lengths:
        stack = FrameStack(shape, dtype, buffer.stack)
        frames, rewards = [frame()], []
        buffer.begin(frames[0])
        stack.begin(frames[0])
        seen = [stack.observation()]
        actions = []
        for step in range(length):
            last = step == length - 1
            actions.append(int(generator.integers(4)))
            rewards.append(float(generator.normal()))
            frames.append(frame())
            stack.see(frames[-1])
            seen.append(stack.observation())
            buffer.add(actions[-1], rewards[-1], frames[-1], last and end == "terminated", last and end == "truncated")
        for start in range(length):
            stop = min(start + buffer.n_step, length)
            known = stop - start == buffer.n_step or end != "open"
            total = sum(DISCOUNT**k * rewards[start + k] for k in range(stop - start))
            worth = 0.0 if stop == length and end == "terminated" else DISCOUNT ** (stop - start)
            if known:
                transitions[int(frames[start].reshape(-1)[0])] = (seen[start], actions[start], total, worth, seen[stop])
    return transitions


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("n_step", [1, 2, 5])
@pytest.mark.parametrize("shape,dtype", [((4,), "float32"), ((3, 2), "uint8"), ((3, 2, 2), "uint8")])
@pytest.mark.parametrize("capacity", [1000, 37])
def test_transitions_are_those_of_the_episodes(stack, n_step, shape, dtype, capacity):
    buffer = ReplayBuffer(capacity, shape, dtype, stack=stack, n_step=n_step, discount=DISCOUNT)
    ends = ["terminated", "truncated"]
    lengths = [(2 + 3 * k % 7, ends[k % 2]) for k in range(20)] + [(11, "open")]
    expected = play(buffer, shape, dtype, lengths)
    batch = buffer.sample((50, 40), np.random.default_rng(1))
    found = set()
    for n in range(50):
        for k in range(40):
            observation = batch.observations[n, k]
            # The newest frame is last: its first number tells which transition this is.
            key = int(observation[..., -shape[-1] if len(shape) != 2 else -1].reshape(-1)[0])
            seen, action, total, worth, following = expected[key]
            np.testing.assert_array_equal(observation, seen)
            assert batch.actions[n, k] == action
            assert np.isclose(batch.returns[n, k], total, rtol=1e-5, atol=1e-5)
            assert np.isclose(batch.discounts[n, k], worth, rtol=1e-6)
            if worth:
                np.testing.assert_array_equal(batch.next_observations[n, k], following)
            found.add(key)
    rows = [int(frame.reshape(-1)[0]) for frame in buffer.frames[: len(buffer)]]
    assert found <= set(rows)
    if capacity == 1000:
        assert found == set(expected)  # 2000 draws of some hundred: each was met
    else:
        assert len(found) > 15


def test_every_frame_is_stored_once():
    buffer = ReplayBuffer(500, (8, 8), np.uint8, stack=4)
    play(buffer, (8, 8), "uint8", [(50, "terminated")] * 5)
    assert len(buffer) == 5 * 51 and buffer.frames.nbytes == 500 * 64
    assert buffer.frames.dtype == np.uint8


def test_drawing_is_uniform():
    buffer = ReplayBuffer(100, (1,))
    expected = play(buffer, (1,), "float32", [(10, "terminated"), (9, "truncated")])
    batch = buffer.sample((19_000,), np.random.default_rng(0))
    _, counts = np.unique(batch.observations[:, 0], return_counts=True)
    assert len(counts) == len(expected) == 19
    assert np.abs(counts - 1000).max() < 150  # five standard deviations


def test_an_episode_that_nobody_finished_is_cut_off_there():
    buffer = ReplayBuffer(100, (1,), n_step=3, discount=DISCOUNT)
    play(buffer, (1,), "float32", [(2, "open"), (4, "terminated")])
    batch = buffer.sample((300,), np.random.default_rng(0))
    at = batch.observations[:, 0] == 1
    assert at.any() and (batch.next_observations[at, 0] == 3).all()
    assert np.allclose(batch.discounts[at], DISCOUNT**2)


def test_state_goes_on_exactly():
    one, other = (ReplayBuffer(40, (3,), stack=2, n_step=2) for _ in range(2))
    play(one, (3,), "float32", [(7, "terminated")] * 9)
    other.restore({name: array.copy() for name, array in one.state().items()})
    for buffer in (one, other):
        play(buffer, (3,), "float32", [(5, "truncated")] * 3, seed=5)
    a, b = (buffer.sample((64,), np.random.default_rng(3)) for buffer in (one, other))
    for name in ("observations", "actions", "returns", "discounts", "next_observations"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_a_state_of_another_buffer():
    one = ReplayBuffer(40, (3,))
    play(one, (3,), "float32", [(7, "terminated")])
    state = one.state()
    for wrong in (
        {**state, "frames": state["frames"].astype(np.float64)},
        {**state, "frames": state["frames"][:, :2]},
        {**state, "written": np.array(-1)},
        {name: array for name, array in state.items() if name != "ages"},
    ):
        with pytest.raises(CheckpointFormatError):
            ReplayBuffer(40, (3,)).restore(wrong)


def test_what_makes_no_sense():
    for options in ({"capacity": 2}, {"n_step": 0}, {"stack": 0}, {"discount": 1.5}):
        with pytest.raises(UsageError):
            ReplayBuffer(**{"capacity": 40, "shape": (3,), **options})
    buffer = ReplayBuffer(40, (3,))
    with pytest.raises(UsageError):
        buffer.sample((1,), np.random.default_rng(0))
    buffer.begin(np.zeros(3))
    with pytest.raises(UsageError):
        buffer.sample((1,), np.random.default_rng(0))
