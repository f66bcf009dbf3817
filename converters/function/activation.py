"""Activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from converters.function.table import Tensor, op
from converters.function.values import shape_of
from converters.function.wider import HALVES, in_type

__all__ = ["hardmax_last", "softmax_last"]


@op("Relu")
def relu(x: Tensor) -> Tensor:
    return tf.nn.relu(x)


@op("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return tf.nn.leaky_relu(x, alpha)


@op("PRelu")
def prelu_by_channel(x: Tensor, slope: Tensor) -> Tensor:
    # Before opset 7 there is one slope for each channel, or one for all.
    if slope.shape.rank == 1 and slope.shape[0] != 1 and x.shape.rank > 1:
        slope = tf.reshape(slope, (-1, *[1] * (x.shape.rank - 2)))
    return prelu(x, slope)


@op("PRelu", since=7)
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    if x.dtype.is_unsigned:
        return tf.identity(x)
    return tf.nn.relu(x) + slope * tf.minimum(x, tf.zeros((), x.dtype))


@op("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    if alpha == 1.0:
        return tf.nn.elu(x)
    return tf.nn.relu(x) + tf.cast(alpha, x.dtype) * tf.math.expm1(tf.minimum(x, tf.zeros((), x.dtype)))


@op("Celu", since=12)
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    a = tf.cast(alpha, x.dtype)
    # max(0, x) + min(0, alpha * (exp(x / alpha) - 1)); the second is never positive for x < 0
    return tf.nn.relu(x) + a * tf.math.expm1(tf.minimum(x / a, tf.zeros((), x.dtype)))


@op("Selu")
def selu(x: Tensor, *, alpha: float = 1.6732, gamma: float = 1.0507) -> Tensor:
    return tf.cast(gamma, x.dtype) * elu(x, alpha=alpha)


@op("Selu", since=6)
def selu_6(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    return tf.cast(gamma, x.dtype) * elu(x, alpha=alpha)


@op("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return tf.where(x > tf.cast(alpha, x.dtype), x, tf.zeros((), x.dtype))


@op("Shrink", since=9)
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    wide = x if x.dtype.is_floating else tf.cast(x, tf.float64)
    edge, moved = tf.cast(lambd, wide.dtype), tf.cast(bias, wide.dtype)
    shrunk = tf.where(wide < -edge, wide + moved, tf.where(wide > edge, wide - moved, tf.zeros((), wide.dtype)))
    return tf.cast(shrunk, x.dtype)


@op("Sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    return tf.sigmoid(x)


@op("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    zero, one = tf.zeros((), x.dtype), tf.ones((), x.dtype)
    return tf.maximum(zero, tf.minimum(one, tf.cast(alpha, x.dtype) * x + tf.cast(beta, x.dtype)))


@op("HardSwish", since=14)
def hard_swish(x: Tensor) -> Tensor:
    return x * hard_sigmoid(x, alpha=1 / 6)


@op("Tanh")
def tanh(x: Tensor) -> Tensor:
    return tf.tanh(x)


@op("Softplus")
def softplus(x: Tensor) -> Tensor:
    return tf.nn.softplus(x)


@op("Softsign")
def softsign(x: Tensor) -> Tensor:
    return tf.nn.softsign(x)


@op("Mish", since=18)
def mish(x: Tensor) -> Tensor:
    return x * tf.tanh(tf.nn.softplus(x))


@op("Gelu", since=20)
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return tf.nn.gelu(x, approximate=approximate == "tanh")


@op("Swish", since=24)
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return x * tf.sigmoid(x if alpha == 1.0 else tf.cast(alpha, x.dtype) * x)


def softmax_last(x: tf.Tensor) -> tf.Tensor:
    """Softmax along the last axis."""
    if x.dtype not in HALVES:
        return tf.nn.softmax(x)
    # ONNX defines it by steps, each of which rounds; one kernel that rounds once differs in the third digit.
    raised = tf.exp(x - tf.reduce_max(x, -1, keepdims=True))
    total = in_type(tf.float32, HALVES, lambda t: tf.reduce_sum(t, -1, keepdims=True), raised)
    return raised / total


def hardmax_last(x: tf.Tensor) -> tf.Tensor:
    """One where the last axis has its (first) largest value, else zero."""
    return tf.one_hot(tf.argmax(x, -1), tf.cast(shape_of(x)[-1], tf.int32), dtype=x.dtype)


def _flattened(function: Callable[[tf.Tensor], tf.Tensor]) -> Callable[..., Any]:
    """Before opset 13 all axes from `axis` on count as one."""

    def row(x: Tensor, *, axis: int = 1) -> Tensor:
        sizes = shape_of(x)
        first = axis % x.shape.rank if x.shape.rank else 0
        rows, columns = tf.reduce_prod(sizes[:first]), tf.reduce_prod(sizes[first:])
        return tf.ensure_shape(tf.reshape(function(tf.reshape(x, tf.stack([rows, columns]))), sizes), x.shape)

    return row


def _along(function: Callable[[tf.Tensor], tf.Tensor]) -> Callable[..., Any]:
    def row(x: Tensor, *, axis: int = -1) -> Tensor:
        rank = x.shape.rank
        if rank in (None, 0) or axis % rank == rank - 1:
            return function(x) if rank else tf.reshape(function(tf.reshape(x, (1,))), ())
        order = [*(i for i in range(rank) if i != axis % rank), axis % rank]
        back = [order.index(i) for i in range(rank)]
        return tf.transpose(function(tf.transpose(x, order)), back)

    return row


for _name, _function in {"Softmax": softmax_last, "LogSoftmax": tf.nn.log_softmax, "Hardmax": hardmax_last}.items():
    op(_name)(_flattened(_function))
    op(_name, since=13)(_along(_function))
