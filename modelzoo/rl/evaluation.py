"""Evaluation: whole episodes of a greedy policy, whose starts a seed determines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modelzoo.errors import UsageError
from modelzoo.rl.environment import EVALUATION, Environment, EnvironmentSpec, episode_seed, make
from modelzoo.rl.policy import Actor

__all__ = ["Evaluation", "evaluate", "play"]

_LONGEST = 108_000  # steps of an episode that nothing else ends


@dataclass(frozen=True)
class Evaluation:
    """What a policy reached.

    Attributes:
        returns: the sum of rewards of each episode.
        lengths: its steps.
    """

    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def spread(self) -> float:
        """Standard deviation of the returns."""
        return float(np.std(self.returns))


def evaluate(
    actor: Actor,
    spec: EnvironmentSpec | str,
    *,
    episodes: int = 100,
    seed: int = 0,
    stream: int = EVALUATION,
    exploration: float = 0.0,
    after: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Play whole episodes; nothing is learned from them.

    Args:
        actor: whose best actions are taken.
        spec: of an environment, which is made for this.
        episodes: how many; the start of each depends on `seed`, `stream` and its number.
        seed: of starts and random actions.
        stream: episodes of another stream never start as these do.
        exploration: share of random actions.
        after: called after each episode.

    Raises:
        UsageError: a number that makes no sense, or an environment that cannot be made.
    """
    if type(episodes) is not int or episodes < 1:
        raise UsageError("An evaluation has at least one episode.", received=repr(episodes))
    if not 0 <= exploration <= 1:
        raise UsageError("The share of random actions lies in 0..1.", received=repr(exploration))
    generator = np.random.default_rng([seed, stream])
    environment = make(spec)
    returns, lengths = [], []
    try:
        for number in range(episodes):
            frame = environment.reset(episode_seed(seed, stream, number))
            total, length, ended = 0.0, 0, False
            actor.begin(frame)
            while not ended and length < _LONGEST:
                random = exploration and generator.random() < exploration
                action = int(generator.integers(environment.actions)) if random else actor.greedy()
                frame, reward, terminated, truncated = environment.step(action)
                actor.see(frame)
                total += reward
                length += 1
                ended = terminated or truncated
            returns.append(total)
            lengths.append(length)
            after()
    finally:
        environment.close()
    return Evaluation(tuple(returns), tuple(lengths))


def play(
    actor: Actor, environment: Environment, *, seed: int = 0, longest: int = _LONGEST
) -> tuple[list[np.ndarray], float]:
    """One greedy episode in pictures.

    Args:
        actor: whose best actions are taken.
        environment: made with `draw=True`.
        seed: of its start.
        longest: steps after which it is left.

    Returns:
        uint8 (H, W, 3) of each step, the first before any action; the sum of rewards.

    Raises:
        UsageError: the environment draws nothing.
    """
    frame = environment.reset(episode_seed(seed, EVALUATION))
    actor.begin(frame)
    pictures, total, ended = [environment.picture(frame)], 0.0, False
    while not ended and len(pictures) <= longest:
        frame, reward, terminated, truncated = environment.step(actor.greedy())
        actor.see(frame)
        pictures.append(environment.picture(frame))
        total += reward
        ended = terminated or truncated
    return pictures, total
