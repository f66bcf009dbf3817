"""Operators of onnxruntime's own domain `com.microsoft` that its quantiser and optimiser write into models.

Specification: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from converters.function.quantization import quantized
from converters.function.table import Tensor, op
from converters.function.values import as_tensor, dtype_of

__all__: list[str] = []

_DOMAIN = "com.microsoft"


def _numbers(x: tf.Tensor, scale: tf.Tensor, zero: tf.Tensor | None) -> tf.Tensor:
    """What quantised values stand for, float32."""
    wide = tf.cast(x, tf.float32)
    if zero is not None:
        wide -= tf.cast(tf.reshape(zero, []), tf.float32)
    return wide * tf.reshape(scale, [])


def _packed(y: tf.Tensor, scale: tf.Tensor, zero: Any, like: Any) -> Any:
    kind = dtype_of(like if zero is None else zero)
    point = None if zero is None else tf.reshape(as_tensor(zero), [])
    return quantized(y / tf.reshape(scale, []), point, kind)


def _register_pair(name: str, function: Callable[[Any, Any], Any]) -> None:
    @op(name, domain=_DOMAIN, constant=("a_scale", "a_zero", "b_scale", "b_zero", "c_scale", "c_zero"))
    def pair(
        a: Tensor,
        a_scale: Tensor,
        a_zero: Tensor | None,
        b: Tensor,
        b_scale: Tensor,
        b_zero: Tensor | None,
        c_scale: Tensor,
        c_zero: Tensor | None = None,
    ) -> Any:
        made = function(_numbers(a, a_scale, a_zero), _numbers(b, b_scale, b_zero))
        return _packed(made, c_scale, c_zero, a)


_register_pair("QLinearAdd", tf.add)
_register_pair("QLinearMul", tf.multiply)

_ONE = ("x_scale", "x_zero", "y_scale", "y_zero")


@op("QLinearSigmoid", domain=_DOMAIN, constant=_ONE)
def qlinear_sigmoid(
    x: Tensor, x_scale: Tensor, x_zero: Tensor | None, y_scale: Tensor, y_zero: Tensor | None = None
) -> Any:
    return _packed(tf.sigmoid(_numbers(x, x_scale, x_zero)), y_scale, y_zero, x)


@op("QLinearLeakyRelu", domain=_DOMAIN, constant=_ONE)
def qlinear_leaky_relu(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
    *,
    alpha: float = 0.01,
) -> Any:
    return _packed(tf.nn.leaky_relu(_numbers(x, x_scale, x_zero), alpha), y_scale, y_zero, x)


@op("QLinearGlobalAveragePool", domain=_DOMAIN, constant=_ONE)
def qlinear_global_average_pool(
    x: Tensor, x_scale: Tensor, x_zero: Tensor, y_scale: Tensor, y_zero: Tensor, *, channels_last: int = 0
) -> Any:
    rank = x.shape.rank or 4
    axes = list(range(1, rank - 1)) if channels_last else list(range(2, rank))
    return _packed(tf.reduce_mean(_numbers(x, x_scale, x_zero), axes, keepdims=True), y_scale, y_zero, x)


@op("QLinearConcat", domain=_DOMAIN)
def qlinear_concat(y_scale: Tensor, y_zero: Tensor, *inputs: Tensor, axis: int) -> Any:
    parts = [_numbers(*inputs[number : number + 3]) for number in range(0, len(inputs), 3)]
    return _packed(tf.concat(parts, axis), y_scale, y_zero, y_zero)


@op("Gelu", domain=_DOMAIN)
def gelu(x: Tensor) -> Tensor:
    return tf.nn.gelu(x, approximate=False)


@op("QuickGelu", domain=_DOMAIN)
def quick_gelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    return x * tf.sigmoid(tf.cast(alpha, x.dtype) * x)


@op("FastGelu", domain=_DOMAIN)
def fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    return tf.nn.gelu(x if bias is None else x + bias, approximate=True)


@op("BiasGelu", domain=_DOMAIN)
def bias_gelu(a: Tensor, b: Tensor) -> Tensor:
    return tf.nn.gelu(a + b, approximate=False)
