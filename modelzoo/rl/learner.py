"""The learner: gradient steps on batches of transitions as one traced function, and the target network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelzoo.errors import ModelzooError

if TYPE_CHECKING:
    from modelzoo.rl.replay import Batch
    from modelzoo.rl.settings import DQNSettings

__all__ = ["DivergedError", "QLearner"]


class DivergedError(ModelzooError):
    """The loss is no finite number any more."""


class QLearner:
    """Q-learning with a target network (Mnih et al. 2015), Double or not (van Hasselt et al. 2016).

    Args:
        network: keras.Model, observation (N, ...) -> (N, actions); it is trained.
        target: one of the same shape; it becomes a copy.
        settings: of the run.
        compiled: let XLA compile the steps, which pays for small dense networks.

    Attributes:
        optimizer: Adam; it is built for every variable that may ever be trained.
        updates: gradient steps so far, a variable.
        traces: how often the function of the gradient steps was traced.
    """

    def __init__(
        self,
        network: Any,
        target: Any,
        settings: DQNSettings,
        *,
        trainable: Sequence[Any] | None = None,
        compiled: bool = False,
    ) -> None:
        import keras
        import tensorflow as tf

        self.network, self.target, self.settings, self.compiled = network, target, settings, compiled
        self.optimizer = keras.optimizers.Adam(settings.learning_rate, epsilon=settings.adam_epsilon)
        self.optimizer.build(list(trainable if trainable is not None else network.trainable_variables))
        self.updates = tf.Variable(0, dtype=tf.int64, trainable=False, name="updates")
        self.traces = 0
        for own, other in zip(target.weights, network.weights, strict=True):
            own.assign(other)
        self.retrace()

    def retrace(self) -> None:
        """Make the function anew, which is needed after other variables became trainable."""
        import tensorflow as tf

        settings = self.settings
        lead = [settings.updates, settings.batch_size]
        seen = self.network.inputs[0]
        observations = tf.TensorSpec([*lead, *seen.shape[1:]], seen.dtype)
        numbers = tf.TensorSpec(lead, tf.float32)
        self._run = tf.function(
            self._steps,
            input_signature=[observations, tf.TensorSpec(lead, tf.int32), numbers, numbers, observations],
            jit_compile=self.compiled or None,
            autograph=False,
        )

    def update(self, batch: Batch) -> float:
        """`settings.updates` gradient steps, one on each (batch_size, ...) of a batch (updates, batch_size, ...).

        Returns:
            The mean loss.

        Raises:
            DivergedError: it is no finite number.
        """
        loss = float(
            self._run(batch.observations, batch.actions, batch.returns, batch.discounts, batch.next_observations)
        )
        if loss - loss != 0:
            raise DivergedError(
                "The Q-network diverged: its loss is no finite number.",
                received=f"loss {loss} after {int(self.updates.numpy())} gradient steps",
                hint="a smaller learning rate, clipped rewards, or a smaller clip_norm",
            )
        return loss

    def _steps(self, observations: Any, actions: Any, returns: Any, discounts: Any, next_observations: Any) -> Any:
        import tensorflow as tf

        self.traces += 1
        if self.settings.updates == 1:
            return self._step(observations[0], actions[0], returns[0], discounts[0], next_observations[0])
        batch = (observations, actions, returns, discounts, next_observations)

        def body(n: Any, total: Any) -> tuple[Any, Any]:
            return n + 1, total + self._step(*(part[n] for part in batch))

        count = self.settings.updates
        _, total = tf.while_loop(
            lambda n, _: n < count, body, (tf.constant(0), tf.constant(0.0)), parallel_iterations=1
        )
        return total / count

    def _step(self, observations: Any, actions: Any, returns: Any, discounts: Any, next_observations: Any) -> Any:
        import tensorflow as tf

        following = self.target(next_observations, training=False)
        if self.settings.double:
            chosen = tf.argmax(self.network(next_observations, training=False), axis=1, output_type=tf.int32)
            # A product with one-hot rows: the gradient of a gather adds up in no fixed order on a GPU.
            worth = tf.reduce_sum(following * tf.one_hot(chosen, following.shape[-1]), axis=1)
        else:
            worth = tf.reduce_max(following, axis=1)
        wanted = tf.stop_gradient(returns + discounts * worth)
        variables = self.network.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable.value)
            values = self.network(observations, training=False)
            own = tf.reduce_sum(values * tf.one_hot(actions, values.shape[-1]), axis=1)
            loss = tf.reduce_mean(huber(wanted - own))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        gradients, _ = tf.clip_by_global_norm(gradients, self.settings.clip_norm)
        self.optimizer.apply(gradients, variables)
        self.updates.assign_add(1)
        self._follow()
        return loss

    def _follow(self) -> None:
        """Let the target network follow: a copy now and then, or a little at every step."""
        import tensorflow as tf

        pairs = list(zip(self.target.weights, self.network.weights, strict=True))
        rate, every = self.settings.target_rate, self.settings.target_every
        if not every:
            for own, other in pairs:
                own.assign(own + rate * (other - own))
            return

        def copy() -> Any:
            for own, other in pairs:
                own.assign(other if rate == 1 else own + rate * (other - own))
            return tf.constant(0)

        tf.cond(self.updates % every == 0, copy, lambda: tf.constant(0))

    def variables(self) -> dict[str, Any]:
        """All that training changes, under names that are the same in every process.

        States of generators (Dropout) are not among them: a network that only infers draws nothing.
        """
        groups = {
            "network": self.network.weights,
            "target": self.target.weights,
            "optimizer": self.optimizer.variables,
            "updates": [self.updates],
        }
        return {
            f"{group}/{number:05d}": variable
            for group, members in groups.items()
            for number, variable in enumerate(members)
        }


def huber(error: Any) -> Any:
    """Huber's loss: half the square up to 1, linear beyond (Mnih et al. 2015 clip the error, which is the same)."""
    import tensorflow as tf

    size = tf.abs(error)
    return tf.where(size <= 1, 0.5 * error * error, size - 0.5)
