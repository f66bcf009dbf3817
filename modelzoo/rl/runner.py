"""The runner: an agent acts in an environment, learns, and is told when an episode ends; for every algorithm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from modelzoo.rl.environment import TRAINING, Environment, episode_seed

__all__ = ["Agent", "Episode", "Runner"]


class Agent(Protocol):
    """What a runner asks of an algorithm; steps are counted from 0 before an action and from 1 after it."""

    def begin(self, frame: np.ndarray) -> None:
        """An episode begins with this frame."""
        ...

    def act(self, step: int) -> int:
        """The action to take now."""
        ...

    def see(self, action: int, reward: float, frame: np.ndarray, terminated: bool, truncated: bool) -> None:
        """What came of the action."""
        ...

    def learn(self, step: int) -> None:
        """Learn from what was seen, if it is time to."""
        ...


@dataclass(frozen=True)
class Episode:
    """An episode of the run that has ended.

    Attributes:
        number: counted from 1.
        step: of the run, at its end.
        total: sum of its rewards.
        length: in steps.
    """

    number: int
    step: int
    total: float
    length: int


class Runner:
    """Steps of one environment.

    A Gymnasium environment cannot be asked for its state. So that a run can be interrupted, it is made anew, with a
    seed of its own, at the first end of an episode after every `renew_every` steps: what follows depends on nothing
    that was before but the agent, and that is where the run's state is kept.

    Args:
        make: makes the environment.
        agent: acts in it.
        seed: of the run.
        renew_every: steps; 0 = never.

    Attributes:
        step, episode: how many there were.
        renewals: how often the environment was made anew.
    """

    def __init__(self, make: Callable[[], Environment], agent: Agent, *, seed: int, renew_every: int = 0) -> None:
        self._make, self.agent, self.seed, self.renew_every = make, agent, seed, renew_every
        self.step = self.episode = self.renewals = 0

    def run(
        self,
        until: int,
        *,
        on_episode: Callable[[Episode], None] = lambda episode: None,
        every: int = 0,
        on_every: Callable[[], None] = lambda: None,
        on_renewal: Callable[[], None] = lambda: None,
    ) -> None:
        """Go on until a step of the run.

        Args:
            until: the number of steps there are then.
            on_episode: called when one has ended.
            every, on_every: called after every so many steps.
            on_renewal: called where the environment is made anew: the state of the run is whole there.
        """
        agent = self.agent
        environment: Environment | None = None
        try:
            while self.step < until:
                if environment is None:
                    environment = self._make()
                    frame = environment.reset(episode_seed(self.seed, TRAINING, self.renewals))
                else:
                    frame = environment.again()
                agent.begin(frame)
                total, length, ended = 0.0, 0, False
                while not ended and self.step < until:
                    action = agent.act(self.step)
                    frame, reward, terminated, truncated = environment.step(action)
                    agent.see(action, reward, frame, terminated, truncated)
                    self.step += 1
                    total += reward
                    length += 1
                    ended = terminated or truncated
                    agent.learn(self.step)
                    if ended:
                        self.episode += 1
                        on_episode(Episode(self.episode, self.step, total, length))
                    if every and self.step % every == 0:
                        on_every()
                if ended and self.renew_every and self.step // self.renew_every > self.renewals:
                    # Several spans may lie in one long episode; the number only has to be another one.
                    self.renewals = self.step // self.renew_every
                    environment.close()
                    environment = None
                    on_renewal()
        finally:
            if environment is not None:
                environment.close()
