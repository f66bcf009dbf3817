"""Gradients and steps of optimisers, of the domain ai.onnx.preview.training.

Inputs of an optimiser are the learning rate, the number of updates so far, and then, for n tensors, all tensors, all
gradients and all states; outputs are the new tensors and the new states in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from converters.function.table import Tensor, op

__all__: list[str] = []

_DOMAIN = "ai.onnx.preview.training"

Tensors = tuple[tf.Tensor, ...]


def _groups(inputs: Tensors, count: int) -> list[Tensors]:
    """Tensor i of each of `count` equally long lists, for each i."""
    length = len(inputs) // count
    return [tuple(inputs[i + length * k] for k in range(count)) for i in range(length)]


def _in_order(results: list[Tensors]) -> Tensors:
    return tuple(item for column in zip(*results, strict=True) for item in column)


@op("Adagrad", domain=_DOMAIN)
def adagrad(
    r: Tensor,
    t: Tensor,
    *inputs: Tensor,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> Tensors:
    results = []
    for x, g, h in _groups(inputs, 3):
        rate = tf.cast(r, x.dtype) / (1 + tf.cast(t, x.dtype) * decay_factor)
        gradient = norm_coefficient * x + g
        squares = h + tf.square(gradient)
        results.append((x - rate * gradient / (tf.sqrt(squares) + epsilon), squares))
    return _in_order(results)


@op("Adam", domain=_DOMAIN)
def adam(
    r: Tensor,
    t: Tensor,
    *inputs: Tensor,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> Tensors:
    results = []
    for x, g, v, h in _groups(inputs, 4):
        gradient = norm_coefficient * x + g
        momentum = alpha * v + (1 - alpha) * gradient
        squares = beta * h + (1 - beta) * tf.square(gradient)
        steps = tf.cast(tf.maximum(t, 1), x.dtype)
        rate = tf.cast(r, x.dtype)
        # The bias of the averages is corrected from the second update on.
        corrected = rate * tf.sqrt(1 - tf.pow(tf.cast(beta, x.dtype), steps))
        corrected /= 1 - tf.pow(tf.cast(alpha, x.dtype), steps)
        rate = tf.where(t > 0, corrected, rate)
        moved = x - rate * (momentum / (tf.sqrt(squares) + epsilon))
        results.append(((1 - norm_coefficient_post) * moved, momentum, squares))
    return _in_order(results)


@op("Momentum", domain=_DOMAIN)
def momentum(
    r: Tensor, t: Tensor, *inputs: Tensor, alpha: float, beta: float, mode: str, norm_coefficient: float
) -> Tensors:
    results = []
    for x, g, v in _groups(inputs, 3):
        gradient = norm_coefficient * x + g
        share = tf.where(t > 0, tf.cast(beta, x.dtype), tf.ones((), x.dtype))
        moved = alpha * v + share * gradient
        step = gradient + alpha * moved if mode == "nesterov" else moved
        results.append((x - tf.cast(r, x.dtype) * step, moved))
    return _in_order(results)


@op("Gradient", domain=_DOMAIN)
def gradient(
    *inputs: Tensor, inner: Callable[..., list[Any]], xs: list[str], y: str, zs: list[str] | None = None
) -> Tensors:
    watched = list(inputs[: len(xs)])
    with tf.GradientTape() as tape:
        tape.watch(watched)
        (value,) = inner(*inputs)
    return tuple(tape.gradient(value, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO))
