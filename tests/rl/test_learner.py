"""Gradient steps: the loss beside plain NumPy, the target network, and how often the step is traced."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.rl.architecture import Architecture
from modelzoo.rl.learner import DivergedError, QLearner
from modelzoo.rl.replay import Batch
from modelzoo.rl.settings import DQNSettings

WIDTH, ACTIONS = 4, 3


def made(compiled: bool = False, **changes) -> QLearner:
    settings = DQNSettings(**{"batch_size": 16, "updates": 3, "target_every": 2, "learning_rate": 0.01, **changes})
    online, target = (Architecture((6,)).build((WIDTH,), "float32", 1.0, ACTIONS, seed) for seed in (0, 1))
    return QLearner(online, target, settings, compiled=compiled)


def batch(learner: QLearner, seed: int = 0, scale: float = 1.0) -> Batch:
    generator = np.random.default_rng(seed)
    lead = (learner.settings.updates, learner.settings.batch_size)
    return Batch(
        generator.normal(size=(*lead, WIDTH)).astype(np.float32),
        generator.integers(ACTIONS, size=lead).astype(np.int32),
        (scale * generator.normal(size=lead)).astype(np.float32),
        (0.9 * generator.integers(2, size=lead)).astype(np.float32),
        generator.normal(size=(*lead, WIDTH)).astype(np.float32),
    )


def weights(network) -> list[np.ndarray]:
    return [variable.numpy() for variable in network.variables]


class Plain:
    """The same in float64 NumPy: forward, backward, Adam."""

    def __init__(self, learner: QLearner) -> None:
        self.own = [array.astype(np.float64) for array in weights(learner.network)]
        self.target = [array.copy() for array in self.own]
        self.first = [np.zeros_like(array) for array in self.own]
        self.second = [np.zeros_like(array) for array in self.own]
        self.settings, self.count = learner.settings, 0

    @staticmethod
    def forward(w, x):
        hidden = np.maximum(x @ w[0] + w[1], 0)
        return hidden, hidden @ w[2] + w[3]

    def step(self, observations, actions, returns, discounts, following) -> float:
        rows = np.arange(len(actions))
        _, later = self.forward(self.target, following)
        chosen = (self.forward(self.own, following)[1] if self.settings.double else later).argmax(1)
        wanted = returns + discounts * later[rows, chosen]
        hidden, values = self.forward(self.own, observations)
        error = values[rows, actions] - wanted
        loss = np.where(np.abs(error) <= 1, error**2 / 2, np.abs(error) - 0.5).mean()
        slope = np.zeros_like(values)
        slope[rows, actions] = np.clip(error, -1, 1) / len(rows)
        back = (slope @ self.own[2].T) * (hidden > 0)
        gradients = [observations.T @ back, back.sum(0), hidden.T @ slope, slope.sum(0)]
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
        gradients = [gradient * min(1, self.settings.clip_norm / norm) for gradient in gradients]
        self.count += 1
        rate = self.settings.learning_rate * np.sqrt(1 - 0.999**self.count) / (1 - 0.9**self.count)
        for n, gradient in enumerate(gradients):
            self.first[n] = 0.9 * self.first[n] + 0.1 * gradient
            self.second[n] = 0.999 * self.second[n] + 0.001 * gradient**2
            self.own[n] -= rate * self.first[n] / (np.sqrt(self.second[n]) + self.settings.adam_epsilon)
        every, share = self.settings.target_every, self.settings.target_rate
        if not every or self.count % every == 0:
            self.target = [old + share * (new - old) for old, new in zip(self.target, self.own, strict=True)]
        return loss

    def update(self, b: Batch) -> float:
        parts = zip(b.observations, b.actions, b.returns, b.discounts, b.next_observations, strict=True)
        return float(np.mean([self.step(*part) for part in parts]))


@pytest.mark.parametrize(
    "compiled,double,target",
    [
        (False, False, (2, 1.0)),
        (False, True, (2, 1.0)),
        (False, True, (0, 0.1)),
        (False, True, (3, 0.5)),
        (True, False, (0, 0.1)),
        (True, True, (2, 1.0)),
    ],
)
def test_steps_beside_plain_numpy(compiled, double, target):
    every, rate = target
    learner = made(compiled, double=double, target_every=every, target_rate=rate, clip_norm=0.5)
    plain = Plain(learner)
    for seed in range(4):
        values = batch(learner, seed, scale=3.0)
        assert np.isclose(learner.update(values), plain.update(values), rtol=1e-4)
    for own, other in ((learner.network, plain.own), (learner.target, plain.target)):
        for found, expected in zip(weights(own), other, strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-5)
    assert learner.traces == 1 and int(learner.updates.numpy()) == 12


def test_double_and_single_differ():
    losses = []
    for double in (False, True):
        learner = made(double=double, target_every=1000)
        losses.append([learner.update(batch(learner, seed)) for seed in range(5)])
    assert losses[0] != losses[1]


def test_a_hard_target_is_a_copy_now_and_then():
    learner = made(updates=1, target_every=3)
    before = weights(learner.target)
    for count in range(1, 7):
        learner.update(batch(learner, count))
        same = all((a == b).all() for a, b in zip(weights(learner.target), weights(learner.network), strict=True))
        assert same == (count % 3 == 0)
        if count < 3:
            assert all((a == b).all() for a, b in zip(weights(learner.target), before, strict=True))


def test_the_target_has_no_gradient_and_learning_lowers_the_loss():
    learner = made(updates=1, target_every=10**6)
    before = weights(learner.target)
    losses = [learner.update(batch(learner)) for _ in range(200)]
    assert losses[-1] < 0.3 * losses[0]
    assert all((a == b).all() for a, b in zip(weights(learner.target), before, strict=True))


def test_a_loss_that_is_no_number():
    learner = made()
    values = batch(learner)
    values.returns[0, 0] = np.inf
    with pytest.raises(DivergedError, match="gradient steps"):
        learner.update(values)
