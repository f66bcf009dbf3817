"""Truncated backpropagation through time: windows over a long sequence, the state carried, the gradient not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelzoo.errors import ArrayError, UsageError
from modelzoo.rnn.carried import Carried

__all__ = ["TruncatedBPTT"]


class TruncatedBPTT:
    """BPTT(k2; k1) of Williams & Peng (1990, Neural Computation 2): every k1 steps, back through k2 steps.

    After each `every` steps the errors of these steps are propagated back through the last `back` steps, and the
    weights are updated. The state at the far edge of those is the one that was computed when it was passed, a
    constant: the gradient stops there. `every == back` is the usual training on windows; with both the length of the
    sequence it is full backpropagation through time.

    Args:
        network: whose state is carried.
        loss: (targets (N, T, ...), outputs (N, T, K)) -> losses (N, T).
        optimizer: a Keras optimiser; it is built for the network's variables.
        every: k1, steps between two updates.
        back: k2 >= k1, steps that a gradient goes back; None = k1.
        clip_norm: the gradient's global norm is cut to it; None = as it is.

    Raises:
        UsageError: steps that make no sense.
    """

    def __init__(
        self,
        network: Carried,
        loss: Callable[[Any, Any], Any],
        optimizer: Any,
        *,
        every: int,
        back: int | None = None,
        clip_norm: float | None = None,
    ) -> None:
        back = every if back is None else back
        for what, value in (("every", every), ("back", back)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{what!r} is a positive number of steps.", received=repr(value))
        if back < every:
            raise UsageError(
                "Errors of all steps since the last update are propagated, so a gradient goes back as far at least.",
                received=f"every={every}, back={back}",
                hint="back >= every",
            )
        if clip_norm is not None and not clip_norm > 0:
            raise UsageError("A norm is cut to a positive number.", received=clip_norm)
        import tensorflow as tf

        self.network, self.loss, self.optimizer = network, loss, optimizer
        self.every, self.back, self.clip_norm = every, back, clip_norm
        if not optimizer.built:
            optimizer.build(network.model.trainable_variables)
        self._step = tf.function(self._update)

    def gradients(
        self, inputs: Any, targets: Any, state: Mapping[str, Any], *, advance: int, counted: int, training: bool = False
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """Of the mean loss of the last steps of one window.

        Args:
            inputs, targets: (N, W, ...).
            state: before the window; no gradient goes into it.
            advance: steps after which the next window begins.
            counted: how many of the last steps have a loss.
            training: whether dropout drops.

        Returns:
            (mean loss, gradients of the network's trainable variables, the state after `advance` steps).
        """
        import tensorflow as tf

        variables = [variable.value for variable in self.network.model.trainable_variables]
        width = inputs.shape[1]
        state = {name: tf.stop_gradient(value) for name, value in state.items()}
        with tf.GradientTape() as tape:
            outputs, after = self.network(inputs[:, : advance or width], state, training=training)
            middle = after if advance else state
            if 0 < advance < width:
                rest, _ = self.network(inputs[:, advance:], after, training=training)
                outputs = tf.concat([outputs, rest], axis=1)
            loss = tf.reduce_mean(self.loss(targets[:, width - counted :], outputs[:, width - counted :]))
        return loss, tape.gradient(loss, variables), {name: tf.stop_gradient(value) for name, value in middle.items()}

    def _update(
        self, inputs: Any, targets: Any, state: Mapping[str, Any], advance: int, counted: int
    ) -> tuple[Any, dict[str, Any]]:
        import tensorflow as tf

        loss, gradients, middle = self.gradients(
            inputs, targets, state, advance=advance, counted=counted, training=True
        )
        if self.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
        self.optimizer.apply(gradients, self.network.model.trainable_variables)
        return loss, middle

    def epoch(
        self,
        inputs: Any,
        targets: Any,
        *,
        state: Mapping[str, Any] | None = None,
        after_update: Callable[[int], None] | None = None,
    ) -> float:
        """Train once over long sequences.

        Args:
            inputs: (N, L, ...), N sequences side by side.
            targets: (N, L, ...), one a step.
            state: before the first step; None = zeros.
            after_update: called with the number of steps that are done.

        Returns:
            The mean loss of all steps, each with the weights of its time.

        Raises:
            ArrayError: other numbers of sequences or steps, or none.
        """
        if len(inputs.shape) < 2 or inputs.shape[:2] != targets.shape[:2] or 0 in inputs.shape[:2]:
            raise ArrayError(
                "Inputs and targets are sequences side by side, with a target for every step.",
                received=f"{tuple(inputs.shape)} and {tuple(targets.shape)}",
            )
        import tensorflow as tf

        inputs, targets = tf.convert_to_tensor(inputs), tf.convert_to_tensor(targets)
        length = int(inputs.shape[1])
        current = dict(state) if state is not None else self.network.zeros(int(inputs.shape[0]))
        start = done = 0
        total = 0.0
        while done < length:
            end = min(done + self.every, length)
            following = max(0, end + self.every - self.back)
            loss, current = self._step(
                inputs[:, start:end], targets[:, start:end], current, advance=following - start, counted=end - done
            )
            total += float(loss) * (end - done)
            start, done = following, end
            if after_update is not None:
                after_update(done)
        return total / length
