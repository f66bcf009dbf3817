"""The replay buffer: a ring of frames, each stored once, from which stacked n-step transitions are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelzoo.errors import CheckpointFormatError, UsageError

__all__ = ["Batch", "ReplayBuffer"]

_ROUNDS = 1000  # of drawing again what cannot be used


@dataclass(frozen=True)
class Batch:
    """Transitions; the leading axes are those that were asked for, (N,) or (K, N).

    Attributes:
        observations: (..., *observation).
        actions: int32 (...).
        returns: float32 (...), the discounted sum of the rewards until the next observation.
        discounts: float32 (...), what the value of the next observation counts: discount ** steps, 0 after an end.
        next_observations: (..., *observation).
    """

    observations: np.ndarray
    actions: np.ndarray
    returns: np.ndarray
    discounts: np.ndarray
    next_observations: np.ndarray


class ReplayBuffer:
    """The newest transitions of a run (Lin 1992; Mnih et al. 2015).

    A row is a frame and what was done after it. The last frame of an episode has a row of its own, so that an episode
    that was cut off by a time limit goes on being worth something, while one that has ended does not.

    Args:
        capacity: rows, that is frames.
        shape: of one frame: (n,), (H, W) or (H, W, C).
        dtype: of frames; uint8 for pictures.
        stack: frames in an observation; at the start of an episode its first frame is repeated.
        n_step: rewards in a return (Sutton 1988); fewer where the episode ends before.
        discount: of a reward that comes a step later, 0..1.

    An observation is (n * stack,), or (H, W, C * stack) with the newest frame last.

    Raises:
        UsageError: numbers that make no sense.
    """

    def __init__(
        self,
        capacity: int,
        shape: Sequence[int],
        dtype: Any = np.float32,
        *,
        stack: int = 1,
        n_step: int = 1,
        discount: float = 0.99,
    ) -> None:
        if capacity < stack + n_step + 1:
            raise UsageError(
                "The replay buffer is too small for one transition.",
                received=f"{capacity} rows, {stack} stacked frames, {n_step} steps",
            )
        if stack < 1 or n_step < 1 or not 0 <= discount <= 1:
            raise UsageError(
                "A transition has at least one frame and one step, and a discount in 0..1.",
                received=f"stack {stack}, n_step {n_step}, discount {discount}",
            )
        self.capacity, self.stack, self.n_step, self.discount = capacity, stack, n_step, discount
        try:
            # Memory is touched only where rows are written.
            self.frames = np.zeros((capacity, *shape), dtype)
        except (MemoryError, ValueError) as error:
            raise UsageError(
                "The replay buffer does not fit into memory.", received=f"{capacity} frames {tuple(shape)}"
            ) from error
        self.actions = np.zeros(capacity, np.int32)
        self.rewards = np.zeros(capacity, np.float32)
        self.terminated = np.zeros(capacity, bool)
        self.last = np.zeros(capacity, bool)
        self.ages = np.zeros(capacity, np.int32)
        self.written = 0

    def __len__(self) -> int:
        return min(self.written, self.capacity)

    def begin(self, frame: np.ndarray) -> None:
        """The first frame of an episode."""
        if self.written:
            self.last[(self.written - 1) % self.capacity] = True  # of an episode that nobody finished
        self._append(frame, 0)

    def add(self, action: int, reward: float, frame: np.ndarray, terminated: bool, truncated: bool) -> None:
        """What was done after the newest frame, and the frame that came of it.

        Args:
            action: index of the action.
            reward: that was given for it.
            frame: the next one, also after the end of an episode.
            terminated: the episode has ended there: nothing is worth anything after it.
            truncated: it was cut off, by a time limit for example.
        """
        row = (self.written - 1) % self.capacity
        self.actions[row] = action
        self.rewards[row] = reward
        self.terminated[row] = terminated
        self._append(frame, int(self.ages[row]) + 1)
        self.last[(self.written - 1) % self.capacity] = terminated or truncated

    def _append(self, frame: np.ndarray, age: int) -> None:
        row = self.written % self.capacity
        self.frames[row] = frame
        self.terminated[row] = self.last[row] = False
        self.ages[row] = age
        self.written += 1

    def sample(self, shape: tuple[int, ...], generator: np.random.Generator) -> Batch:
        """Transitions drawn uniformly, with repetition, of those whose frames and rewards are all there.

        Args:
            shape: leading axes of the batch, for example (32,) or (updates, 32).
            generator: what draws.

        Raises:
            UsageError: the buffer holds no transition.
        """
        count = int(np.prod(shape))
        starts, returns, discounts, ends = self._draw(count, generator)
        return Batch(
            self._stacked(starts, shape),
            self.actions[starts % self.capacity].reshape(shape),
            returns.reshape(shape),
            discounts.reshape(shape),
            self._stacked(ends, shape),
        )

    def _draw(self, count: int, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Numbers of rows, counted since the first one ever, with their returns, discounts and next rows."""
        oldest = max(0, self.written - self.capacity)
        found: list[tuple[np.ndarray, ...]] = []
        missing = count
        for _ in range(_ROUNDS):
            if self.written - oldest < 2:
                break
            starts = generator.integers(oldest, self.written - 1, missing)
            returns, discounts, ends, whole = self._ahead(starts)
            whole &= starts - np.minimum(self.ages[starts % self.capacity], self.stack - 1) >= oldest
            found.append((starts[whole], returns[whole], discounts[whole], ends[whole]))
            missing -= len(found[-1][0])
            if not missing:
                return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
        raise UsageError("The replay buffer holds no transition yet.", received=f"{len(self)} rows")

    def _ahead(self, starts: np.ndarray) -> tuple[np.ndarray, ...]:
        """n-step returns of rows, and whether all that they are made of is known."""
        returns = np.zeros(len(starts), np.float32)
        steps = np.zeros(len(starts), np.int64)
        ended = np.zeros(len(starts), bool)
        going = np.ones(len(starts), bool)
        for step in range(self.n_step):
            rows = (starts + step) % self.capacity
            going &= ~self.last[rows] & (starts + step < self.written - 1)
            returns += np.where(going, np.float32(self.discount**step) * self.rewards[rows], np.float32(0))
            steps += going
            ended |= going & self.terminated[rows]
            going &= ~self.terminated[rows]
        ends = starts + steps
        whole = (steps == self.n_step) | ((steps > 0) & (ended | self.last[ends % self.capacity]))
        discounts = np.where(ended, 0.0, self.discount**steps).astype(np.float32)
        return returns, discounts, ends, whole

    def _stacked(self, numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """(*shape, *observation) of rows."""
        if self.stack == 1:
            frames = self.frames[numbers % self.capacity]
            return frames.reshape(*shape, *frames.shape[1:], *((1,) if frames.ndim == 3 else ()))
        back = np.arange(self.stack - 1, -1, -1)
        ages = self.ages[numbers % self.capacity]
        rows = (numbers[:, None] - np.minimum(back[None], ages[:, None])) % self.capacity
        frames = self.frames[rows]  # (N, stack, *frame)
        if frames.ndim == 4:
            frames = np.moveaxis(frames, 1, -1)
        elif frames.ndim == 5:
            frames = np.moveaxis(frames, 1, -2)
            frames = frames.reshape(*frames.shape[:3], -1)
        else:
            frames = frames.reshape(len(frames), -1)
        return np.ascontiguousarray(frames).reshape(*shape, *frames.shape[1:])

    def state(self) -> dict[str, np.ndarray]:
        """All that it holds, as arrays; `restore` takes them."""
        used = len(self)
        return {
            "frames": self.frames[:used],
            "actions": self.actions[:used],
            "rewards": self.rewards[:used],
            "terminated": self.terminated[:used],
            "last": self.last[:used],
            "ages": self.ages[:used],
            "written": np.array(self.written, np.int64),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state` gave.

        Raises:
            CheckpointFormatError: arrays of another buffer, or damaged ones.
        """
        fields = ("frames", "actions", "rewards", "terminated", "last", "ages")
        wrong = [name for name in (*fields, "written") if name not in state]
        if not wrong:
            written = int(state["written"])
            used = min(max(written, 0), self.capacity)
            for name in fields:
                own, saved = getattr(self, name), state[name]
                if saved.dtype != own.dtype or saved.shape != (used, *own.shape[1:]) or written < 0:
                    wrong.append(f"{name} {saved.dtype} {saved.shape}, expected {own.dtype} {(used, *own.shape[1:])}")
        if wrong:
            raise CheckpointFormatError("The replay buffer that was kept is another one.", received=wrong[0])
        for name in fields:
            getattr(self, name)[:used] = state[name]
        self.written = written
