"""Activations: a Keras layer each where one has exactly ONNX's formula."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from converters.keras.held import Held
from converters.keras.node import Node
from converters.keras.stock.table import Result, stock

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def same(x: Held, tensor: Any, *, nonnegative: bool = False) -> Held:
    """The result of an operation that works on each element alone."""
    return Held(tensor, x.axes, x.flat, nonnegative, labels=x.lengths)


def _activation(at: Node, x: Held, name: str, *, nonnegative: bool = False) -> Result:
    if x.dtype not in _FLOATS:
        return None
    return same(x, at.layer(keras.layers.Activation, name)(x.tensor), nonnegative=nonnegative)


@stock("Relu")
def relu(at: Node, x: Held) -> Result:
    if x.dtype not in _FLOATS:
        return None
    return same(x, at.layer(keras.layers.ReLU)(x.tensor), nonnegative=True)


@stock("LeakyRelu")
def leaky_relu(at: Node, x: Held, *, alpha: float = 0.01) -> Result:
    if alpha < 0:  # the layer refuses it
        return None
    return same(x, at.layer(keras.layers.LeakyReLU, negative_slope=alpha)(x.tensor))


@stock("Elu")
def elu(at: Node, x: Held, *, alpha: float = 1.0) -> Result:
    return same(x, at.layer(keras.layers.ELU, alpha=alpha)(x.tensor))


@stock("Sigmoid")
def sigmoid(at: Node, x: Held) -> Result:
    return _activation(at, x, "sigmoid", nonnegative=True)


@stock("Tanh")
def tanh(at: Node, x: Held) -> Result:
    return _activation(at, x, "tanh")


@stock("Softplus")
def softplus(at: Node, x: Held) -> Result:
    return _activation(at, x, "softplus", nonnegative=True)


@stock("Softsign")
def softsign(at: Node, x: Held) -> Result:
    return _activation(at, x, "softsign")


@stock("Mish")
def mish(at: Node, x: Held) -> Result:
    return _activation(at, x, "mish")


@stock("Selu")
def selu(at: Node, x: Held, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232) -> Result:
    if abs(alpha - 1.6732632423543772) > 1e-6 or abs(gamma - 1.0507009873554805) > 1e-6:
        return None
    return _activation(at, x, "selu")


@stock("HardSigmoid")
def hard_sigmoid(at: Node, x: Held, *, alpha: float = 0.2, beta: float = 0.5) -> Result:
    if abs(alpha - 1 / 6) <= 1e-7 and beta == 0.5:
        return _activation(at, x, "hard_sigmoid", nonnegative=True)
    if x.dtype != "float32":
        return None
    line = at.layer(keras.layers.Rescaling, alpha, offset=beta, part="line")(x.tensor)
    return same(x, at.layer(keras.layers.ReLU, max_value=1.0)(line), nonnegative=True)


@stock("HardSwish")
def hard_swish(at: Node, x: Held) -> Result:
    return _activation(at, x, "hard_silu")


@stock("Gelu")
def gelu(at: Node, x: Held, *, approximate: str = "none") -> Result:
    if x.dtype not in _FLOATS:
        return None
    if approximate == "none":
        return _activation(at, x, "gelu")
    return same(x, keras.ops.gelu(x.tensor, approximate=True))


@stock("Softmax")
def softmax_old(at: Node, x: Held, *, axis: int = 1) -> Result:
    # Flattened from `axis` on: the same as along one axis when nothing but sizes of 1 comes behind it.
    if any(size != 1 for size in x.shape[axis % x.rank + 1 :]):
        return None
    return softmax(at, x, axis=axis)


@stock("Softmax", since=13)
def softmax(at: Node, x: Held, *, axis: int = -1) -> Result:
    if x.flat is not None:
        x = Held.of(at.source(x))
    if x.dtype in ("float16", "bfloat16"):
        # ONNX defines it by steps, each of which rounds; one layer that rounds once differs in the third digit.
        place = x.axis(axis)
        raised = keras.ops.exp(keras.ops.subtract(x.tensor, keras.ops.max(x.tensor, axis=place, keepdims=True)))
        total = keras.ops.sum(keras.ops.cast(raised, "float32"), axis=place, keepdims=True)
        return same(x, keras.ops.divide(raised, keras.ops.cast(total, x.dtype)), nonnegative=True)
    return same(x, at.layer(keras.layers.Softmax, axis=x.axis(axis))(x.tensor), nonnegative=True)


@stock("LogSoftmax", since=13)
def log_softmax(at: Node, x: Held, *, axis: int = -1) -> Result:
    if x.flat is not None:
        x = Held.of(at.source(x))
    return same(x, keras.ops.log_softmax(x.tensor, axis=x.axis(axis)))


@stock("PRelu", since=7)
def prelu(at: Node, x: Held, slope: Any) -> Result:
    if not isinstance(slope, np.ndarray) or slope.ndim > x.rank or x.flat is not None:
        return None
    array = slope.reshape((1,) * (x.rank - slope.ndim) + slope.shape)
    tensor = at.last(x) if x.rank >= 3 else x.tensor
    held = at.as_last(tensor) if x.rank >= 3 else x
    array = held.constant(array)
    if array.shape[0] != 1:
        return None
    shared = [axis for axis in range(1, held.rank) if array.shape[axis] == 1]
    if any(held.tensor.shape[axis] is None for axis in range(1, held.rank) if axis not in shared):
        return None
    layer = at.layer(keras.layers.PReLU, shared_axes=shared or None)
    return same(held, at.apply(layer, held.tensor, alpha=array[0]))


def _bound(value: Any) -> float | None:
    return float(value) if isinstance(value, np.ndarray) and value.size == 1 else None


@stock("Clip")
def clip_attributes(at: Node, x: Held, *, min: float | None = None, max: float | None = None) -> Result:
    return _clip(at, x, min, max)


@stock("Clip", since=11)
def clip(at: Node, x: Held, low: Any = None, high: Any = None) -> Result:
    if any(item is not None and _bound(item) is None for item in (low, high)):
        return None
    return _clip(at, x, _bound(low), _bound(high))


def _clip(at: Node, x: Held, low: float | None, high: float | None) -> Result:
    if x.dtype not in _FLOATS:
        return None
    if low is None and high is None:
        return same(x, at.layer(keras.layers.Identity)(x.tensor), nonnegative=x.nonnegative)
    if low == 0.0 and (high is None or high >= 0):
        ceiling = None if high is None or high > 3.4e38 else high
        return same(x, at.layer(keras.layers.ReLU, max_value=ceiling)(x.tensor), nonnegative=True)
    if low is not None and high is not None and low > high:
        return None
    bottom = -np.inf if low is None else low
    top = np.inf if high is None else high
    return same(x, keras.ops.clip(x.tensor, float(bottom), float(top)), nonnegative=bottom >= 0)
