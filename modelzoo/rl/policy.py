"""Policies: from an observation to an action, without the overhead of eager calls.

A call of a small Keras model takes milliseconds, of a traced function some tenths of one, of NumPy on the same
numbers some hundredths: networks of dense layers act in NumPy, all others by one function traced once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from modelzoo.rl.frames import FrameStack
from modelzoo.rl.schedule import Schedule

__all__ = ["Actor", "DensePolicy", "EpsilonGreedy", "Policy", "TracedPolicy", "policy_of"]


class Policy(Protocol):
    """What values actions."""

    def values(self, observation: np.ndarray) -> np.ndarray:
        """float32 (actions,) of one observation; the largest is the greedy action's."""
        ...

    def refresh(self) -> None:
        """Take over the network's weights after they were trained."""
        ...


Weights = Sequence[tuple[np.ndarray, np.ndarray]]


class DensePolicy:
    """Dense layers in NumPy: hidden ones with ReLU, the last one linear, and two such streams of a dueling network.

    Args:
        shared: (kernel (in, out), bias (out,)) of the layers that both streams have, or all layers.
        value, advantage: of the two streams; none without dueling.
        scale: what an observation is multiplied with.
        source: gives (shared, value, advantage) anew for `refresh`.
    """

    def __init__(
        self,
        shared: Weights,
        value: Weights = (),
        advantage: Weights = (),
        *,
        scale: float = 1.0,
        source: Callable[[], tuple[Weights, Weights, Weights]] | None = None,
    ) -> None:
        self.shared, self.value, self.advantage = shared, value, advantage
        self.scale = np.float32(scale)
        self._source = source

    def refresh(self) -> None:
        if self._source is not None:
            self.shared, self.value, self.advantage = self._source()

    def values(self, observation: np.ndarray) -> np.ndarray:
        x = observation.reshape(-1)
        if self.scale != 1 or x.dtype != np.float32:
            x = x.astype(np.float32) * self.scale
        if not self.value:
            return _dense(x, self.shared, last_linear=True)
        x = _dense(x, self.shared, last_linear=False)
        value, advantage = _dense(x, self.value, last_linear=True), _dense(x, self.advantage, last_linear=True)
        return value + advantage - advantage.mean()


def _dense(x: np.ndarray, layers: Weights, *, last_linear: bool) -> np.ndarray:
    for number, (kernel, bias) in enumerate(layers, 1):
        x = x @ kernel + bias
        if not (last_linear and number == len(layers)):
            x = np.maximum(x, 0)
    return x


class TracedPolicy:
    """Any Keras network by one function, traced once for one observation.

    Args:
        network: observation (N, *shape) -> (N, actions).
    """

    def __init__(self, network: Any) -> None:
        import tensorflow as tf

        seen = network.inputs[0]
        spec = tf.TensorSpec([1, *seen.shape[1:]], seen.dtype)
        self._dtype = np.dtype(seen.dtype)
        self._tensor = tf.constant
        traced = tf.function(lambda x: network(x, training=False), input_signature=[spec], autograph=False)
        self._run = traced.get_concrete_function()

    def refresh(self) -> None:
        """The function reads the network's own variables."""

    def values(self, observation: np.ndarray) -> np.ndarray:
        return self._run(self._tensor(observation[None], self._dtype)).numpy()[0]


def policy_of(network: Any) -> Policy:
    """The faster policy for a network that `Architecture` made."""
    import keras

    from modelzoo.rl.architecture import head_layers

    layers = head_layers(network)
    weighted = [layer for layer in network.layers if layer.weights]
    if len(weighted) != len(layers) or not all(isinstance(layer, keras.layers.Dense) for layer in layers):
        return TracedPolicy(network)
    scale = next((layer.scale for layer in network.layers if isinstance(layer, keras.layers.Rescaling)), 1.0)

    def source() -> tuple[Weights, Weights, Weights]:
        def those(*starts: str) -> Weights:
            return [(layer.kernel.numpy(), layer.bias.numpy()) for layer in layers if layer.name.startswith(starts)]

        return those("hidden_", "q_values"), those("value"), those("advantage")

    return DensePolicy(*source(), scale=scale, source=source)


class Actor:
    """A policy that follows an episode: it keeps the newest frames, and the features of them where a torso makes them.

    Args:
        policy: values actions.
        stack: of an empty episode.
        encode: observation -> what the policy takes; None = the observation itself.
    """

    def __init__(
        self, policy: Policy, stack: FrameStack, encode: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> None:
        self.policy, self.stack, self.encode = policy, stack, encode
        self.observation: np.ndarray = np.zeros(0, np.float32)

    def begin(self, frame: np.ndarray) -> None:
        """The first frame of an episode."""
        self.stack.begin(frame)
        self._look()

    def see(self, frame: np.ndarray) -> None:
        """The next frame."""
        self.stack.see(frame)
        self._look()

    def greedy(self) -> int:
        """The best action now; of equal ones the first."""
        return int(self.policy.values(self.observation).argmax())

    def _look(self) -> None:
        observation = self.stack.observation()
        self.observation = observation if self.encode is None else self.encode(observation)


class EpsilonGreedy:
    """Random actions with a share that a schedule gives, else the best one.

    Args:
        actor: whose best actions these are.
        actions: how many there are.
        schedule: share of random actions by step.
        generator: what draws.
    """

    def __init__(self, actor: Actor, actions: int, schedule: Schedule, generator: np.random.Generator) -> None:
        self.actor, self.actions, self.schedule, self.generator = actor, actions, schedule, generator

    def act(self, step: int) -> int:
        """An action at a step of the run, counted from 0."""
        if self.generator.random() < self.schedule(step):
            return int(self.generator.integers(self.actions))
        return self.actor.greedy()
