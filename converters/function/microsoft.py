"""Operators of onnxruntime's own domain `com.microsoft` that its quantiser and optimiser write into models.

Specification: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from converters.function.linear import exact_float, matmul_integer
from converters.function.quantization import dynamic_quantize_linear, quantized
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


@op("QGemm", domain=_DOMAIN, constant=("a_scale", "a_zero", "b_scale", "b_zero", "y_scale", "y_zero"))
def qgemm(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    c: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Any:
    turned = tf.transpose(b) if transB else b
    wide = exact_float(turned.shape[0])
    left = tf.cast(tf.transpose(a) if transA else a, wide) - tf.cast(a_zero, wide)
    total = tf.matmul(left, tf.cast(turned, wide) - tf.cast(b_zero, wide))
    if c is not None:
        total += tf.cast(c, wide)
    made = tf.cast(total, tf.float32) * (alpha * a_scale * b_scale)
    return made if y_scale is None else _packed(made, y_scale, y_zero, a)


@op("MatMulIntegerToFloat", domain=_DOMAIN, constant=("a_scale", "a_zero", "b_scale", "b_zero"))
def matmul_integer_to_float(
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    a_zero: Tensor | None = None,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    made = tf.cast(matmul_integer(a, b, a_zero, b_zero), tf.float32) * (a_scale * b_scale)
    return made if bias is None else made + bias


@op("DynamicQuantizeMatMul", domain=_DOMAIN, constant=("b_scale", "b_zero"))
def dynamic_quantize_matmul(
    a: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    whole, a_scale, a_zero = dynamic_quantize_linear(a)
    return matmul_integer_to_float(whole, b, a_scale, b_scale, a_zero, b_zero, bias)


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
