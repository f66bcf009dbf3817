"""An algorithm of one's own on the same pieces: tabular Q-learning as an agent of `Runner`.

pip install "modelzoo[rl]"
python examples/dqn_own_agent.py
"""

from __future__ import annotations

import numpy as np

from modelzoo.rl import EnvironmentSpec, Runner, Schedule, evaluate, make
from modelzoo.rl.frames import FrameStack
from modelzoo.rl.policy import Actor, EpsilonGreedy

LAKE = EnvironmentSpec("FrozenLake-v1", {"is_slippery": False})


class Table:
    """A value for each state and action: a policy whose observations are one-hot."""

    def __init__(self, states: int, actions: int) -> None:
        # Optimistic, so that what was not tried yet is tried (Sutton & Barto, section 2.6).
        self.numbers = np.ones((states, actions), np.float32)

    def values(self, observation: np.ndarray) -> np.ndarray:
        return self.numbers[observation.argmax()]

    def refresh(self) -> None:
        """The numbers are changed in place."""


class QLearning:
    """Watkins 1989: Q(s, a) moves towards r + discount * max Q(s', .)."""

    def __init__(self, states: int, actions: int, *, rate: float = 0.5, discount: float = 0.95) -> None:
        self.table, self.rate, self.discount = Table(states, actions), rate, discount
        self.actor = Actor(self.table, FrameStack((states,), np.float32, 1))
        self.explorer = EpsilonGreedy(self.actor, actions, Schedule(1.0, 0.05, 1000), np.random.default_rng(0))

    def begin(self, frame: np.ndarray) -> None:
        self.actor.begin(frame)

    def act(self, step: int) -> int:
        return self.explorer.act(step)

    def see(self, action: int, reward: float, frame: np.ndarray, terminated: bool, truncated: bool) -> None:
        old = self.table.values(self.actor.observation)
        self.actor.see(frame)
        later = 0.0 if terminated else self.table.values(self.actor.observation).max()
        old[action] += self.rate * (reward + self.discount * later - old[action])

    def learn(self, step: int) -> None:
        """Every step has been learned from already."""


def main() -> None:
    seen = make(LAKE)
    seen.close()
    agent = QLearning(seen.observation_shape[0], seen.actions)
    Runner(lambda: make(LAKE), agent, seed=0).run(6000)
    found = evaluate(agent.actor, LAKE, episodes=5)
    print(f"FrozenLake: mean return {found.mean:g}, in {found.lengths[0]} steps")


if __name__ == "__main__":
    main()
