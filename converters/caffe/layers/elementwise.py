"""Arithmetic on elements: sums, products and maxima of several blobs; powers, exponentials and logarithms of one."""

from __future__ import annotations

import functools

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import choice, refusal


@layer_type("Eltwise")
def eltwise(g: Builder, layer: Layer, *bottoms: Value) -> Value:
    """PROD, SUM (with one coefficient a blob) or MAX of blobs of one shape; nothing is broadcast."""
    param = layer.message.eltwise_param
    shapes = {x.shape for x in bottoms}
    if len(shapes) != 1:
        raise refusal(
            layer,
            "joins blobs of different shapes.",
            received=", ".join(str(x.shape) for x in bottoms) or "no blob",
            hint="Caffe broadcasts nothing here: check the sizes of the layers before it",
        )
    operation, coefficients = choice(param, "operation"), [float(item) for item in param.coeff]
    if coefficients and (operation == "PROD" or len(coefficients) != len(bottoms)):
        raise refusal(
            layer,
            "has coefficients that do not fit.",
            received=f"{operation} of {len(bottoms)} blobs, coefficients {coefficients}",
            hint="write one coeff a blob, for SUM only",
        )
    if operation == "PROD":
        return functools.reduce(g.Mul, bottoms)
    if operation == "MAX":
        return g.Max(*bottoms)
    total: Value | None = None
    for x, factor in zip(bottoms, coefficients or [1.0] * len(bottoms), strict=True):
        if total is not None and factor == -1:
            total = g.Sub(total, x)
        else:
            term = x if factor == 1 else g.Mul(x, factor)
            total = term if total is None else g.Add(total, term)
    assert total is not None
    return total


def affine(g: Builder, x: Value, scale: float, shift: float) -> Value:
    """scale * x + shift, without what changes nothing."""
    scaled = x if scale == 1 else g.Mul(x, float(scale))
    return scaled if shift == 0 else g.Add(scaled, float(shift))


@layer_type("Power")
def power(g: Builder, layer: Layer, x: Value) -> Value:
    """(shift + scale * x) ** power."""
    param = layer.message.power_param
    if param.power * param.scale == 0:
        with np.errstate(all="ignore"):
            value = float(np.float32(1) if param.power == 0 else np.power(np.float32(param.shift), param.power))
        # The input does not matter, and there may be any number of pictures.
        return g.Mul(x, value) if np.isnan(value) else g.Clip(x, value, value)
    linear = affine(g, x, param.scale, param.shift)
    return linear if param.power == 1 else g.Pow(linear, float(param.power))


@layer_type("Exp")
def exponential(g: Builder, layer: Layer, x: Value) -> Value:
    """base ** (shift + scale * x) as e ** (x * scale * log(base)) * base ** shift; base -1 stands for e."""
    param = layer.message.exp_param
    logarithm = _log_of_base(layer, param.base)
    with np.errstate(all="ignore"):
        inner = float(np.float32(logarithm * param.scale))
        outer = float(np.float32(np.exp(param.shift) if param.base == -1 else np.power(param.base, param.shift)))
    return affine(g, g.Exp(affine(g, x, inner, 0)), outer, 0)


@layer_type("Log")
def logarithm(g: Builder, layer: Layer, x: Value) -> Value:
    """log(shift + scale * x) to the base; base -1 stands for e."""
    param = layer.message.log_param
    base = _log_of_base(layer, param.base)
    if base == 0:
        raise refusal(layer, "takes logarithms to the base 1.", received=param.base, hint="write another base")
    return affine(g, g.Log(affine(g, x, param.scale, param.shift)), float(np.float32(1 / base)), 0)


def _log_of_base(layer: Layer, base: float) -> float:
    if base == -1:
        return 1.0
    if not 0 < base < float("inf"):
        raise refusal(layer, "has a base that is not positive.", received=base, hint="write base: -1 for e")
    return float(np.log(np.float32(base)))
