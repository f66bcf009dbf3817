"""The default settings solve CartPole-v1 for every seed: the longer suite."""

from __future__ import annotations

import pytest

from modelzoo.rl.evaluation import evaluate
from modelzoo.rl.settings import DQNSettings
from modelzoo.rl.training import train_dqn


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_cartpole_is_solved_within_50000_steps(seed):
    trained = train_dqn("CartPole-v1", settings=DQNSettings.for_kind("vector", steps=50_000, seed=seed))
    assert trained.agent.learner.traces == 1
    # The policy was kept for what it reached in other episodes than these.
    assert evaluate(trained.best_actor(), "CartPole-v1", episodes=100, seed=seed).mean >= 475
