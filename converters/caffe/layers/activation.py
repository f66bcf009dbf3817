"""Activations, and what else works on each element alone without a parameter of its own shape."""

from __future__ import annotations

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import axis_of, constant_filler, refusal


@layer_type("ReLU")
def relu(g: Builder, layer: Layer, x: Value) -> Value:
    """max(x, 0) + slope * min(x, 0)."""
    slope = layer.message.relu_param.negative_slope
    return g.LeakyRelu(x, alpha=float(slope)) if slope else g.Relu(x)


@layer_type("PReLU")
def prelu(g: Builder, layer: Layer, x: Value) -> Value:
    """max(x, 0) + slope * min(x, 0) with one slope a channel (axis 1), or one for all."""
    param = layer.message.prelu_param
    if x.rank < 2:
        raise refusal(layer, "needs an input with channels (axis 1).", received=f"shape {x.shape}")
    filler = param.filler if param.HasField("filler") else constant_filler(param.filler, 0.25)
    ones = (1,) * (x.rank - 2)
    if param.channel_shared:
        return g.PRelu(x, g.blob(layer, 0, (), filler, view=(1, *ones)))
    (channels,) = x.sizes_from(1, 2)
    return g.PRelu(x, g.blob(layer, 0, (channels,), filler, view=(channels, *ones)))


@layer_type("ELU")
def elu(g: Builder, layer: Layer, x: Value) -> Value:
    return g.Elu(x, alpha=float(layer.message.elu_param.alpha))


@layer_type("Swish")
def swish(g: Builder, layer: Layer, x: Value) -> Value:
    beta = layer.message.swish_param.beta
    return g.Mul(x, g.Sigmoid(x if beta == 1 else g.Mul(x, float(beta))))


@layer_type("Clip")
def clip(g: Builder, layer: Layer, x: Value) -> Value:
    """max(low, min(x, high)): where the limits cross, low."""
    param = layer.message.clip_param
    return g.Clip(x, float(param.min), float(max(param.min, param.max)))


@layer_type("Threshold")
def threshold(g: Builder, layer: Layer, x: Value) -> Value:
    """1 where x > threshold, else 0."""
    return g.Cast(g.Greater(x, float(layer.message.threshold_param.threshold)), to=1)


@layer_type("BNLL")
def bnll(g: Builder, layer: Layer, x: Value) -> Value:
    """log(1 + e^x), without overflow."""
    return g.Softplus(x)


@layer_type("TanH")
def tanh(g: Builder, layer: Layer, x: Value) -> Value:
    return g.Tanh(x)


@layer_type("Sigmoid")
def sigmoid(g: Builder, layer: Layer, x: Value) -> Value:
    return g.Sigmoid(x)


@layer_type("AbsVal")
def absolute(g: Builder, layer: Layer, x: Value) -> Value:
    return g.Abs(x)


@layer_type("Softmax")
def softmax(g: Builder, layer: Layer, x: Value) -> Value:
    return g.Softmax(x, axis=axis_of(layer, x, layer.message.softmax_param.axis))


@layer_type("Dropout")
def dropout(g: Builder, layer: Layer, x: Value) -> Value:
    """Random only in phase train, where what is kept is scaled by 1 / (1 - ratio)."""
    ratio = float(layer.message.dropout_param.dropout_ratio)
    if not 0 <= ratio < 1:
        raise refusal(layer, "has a ratio outside [0, 1).", received=ratio, hint="write dropout_ratio between 0 and 1")
    training = g.constant(True, np.bool_) if layer.phase == "train" else None
    return g.Dropout(x, ratio, training)
