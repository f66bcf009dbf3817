"""Normalisation: over neighbouring channels or cells, over an image, by the statistics of training or of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.elementwise import affine
from converters.caffe.layers.parameters import choice, refusal


@layer_type("LRN")
def local_response(g: Builder, layer: Layer, x: Value) -> Value:
    """x / (k + alpha / n * sum of n channels' squares) ** beta; within a channel k is 1 and the mean is of n x n cells.

    ImageNet Classification with Deep Convolutional Neural Networks (Krizhevsky et al., 2012), section 3.3
    """
    param = layer.message.lrn_param
    size = int(param.local_size)
    if size % 2 != 1 or x.rank != 4:
        raise refusal(
            layer,
            "needs an odd local_size and an input of 4 axes.",
            received=f"local_size {size}, shape {x.shape}",
        )
    if choice(param, "norm_region") == "ACROSS_CHANNELS":
        return g.LRN(x, size=size, alpha=float(param.alpha), beta=float(param.beta), bias=float(param.k))
    pad = (size - 1) // 2
    mean = g.AveragePool(
        g.Mul(x, x), kernel_shape=[size, size], strides=[1, 1], pads=[pad] * 4, count_include_pad=int(pad > 0)
    )
    return g.Mul(x, g.Pow(affine(g, mean, param.alpha, 1.0), -float(param.beta)))


def _standardised(g: Builder, x: Value, axes: Sequence[int], inside: float, outside: float) -> Value:
    """(x - mean) / (sqrt(variance + inside) + outside), mean and variance over `axes`."""
    centred = g.Sub(x, g.ReduceMean(x, list(axes), keepdims=1))
    variance = g.ReduceMean(g.Mul(centred, centred), list(axes), keepdims=1)
    return g.Div(centred, affine(g, g.Sqrt(affine(g, variance, 1, inside)), 1, outside))


@layer_type("MVN")
def mean_variance(g: Builder, layer: Layer, x: Value) -> Value:
    """Zero mean over an image (or over all its channels), and unit variance; the result has 4 axes."""
    param = layer.message.mvn_param
    if not 1 <= x.rank <= 4:
        raise refusal(layer, "needs an input of at most 4 axes.", received=f"shape {x.shape}")
    image = g.reshape(x, (*x.shape, *[1] * (4 - x.rank)))
    axes = [1, 2, 3] if param.across_channels else [2, 3]
    if param.normalize_variance:
        return _standardised(g, image, axes, 0.0, float(param.eps))
    return g.Sub(image, g.ReduceMean(image, axes, keepdims=1))


@layer_type("BatchNorm")
def batch_norm(g: Builder, layer: Layer, x: Value) -> Value:
    """(x - mean) / sqrt(variance + eps) for each channel (axis 1); scale and shift are a Scale layer's.

    The stored statistics are sums: both are divided by the third array, the weight of what was summed.
    """
    param = layer.message.batch_norm_param
    known = param.use_global_stats if param.HasField("use_global_stats") else layer.phase != "train"
    known = known or layer.phase == "fit"
    if x.rank == 0:
        raise refusal(layer, "needs an input with channels (axis 1).", received="shape ()")
    image = x if x.rank > 1 else g.reshape(x, (*x.shape, 1))
    if not known:
        made = _standardised(g, image, [0, *range(2, image.rank)], float(param.eps), 0.0)
        return g.reshape(made, x.shape)
    (channels,) = image.sizes_from(1, 2)
    (first, mean), (_, variance), (_, weight) = (layer.blob(i, (channels,) if i < 2 else (1,)) for i in range(3))
    stem = first.rpartition("/")[0]  # of the layer that has them, where they are shared
    factor = np.float32(0 if weight[0] == 0 else 1 / weight[0])
    made = g.BatchNormalization(
        image,
        g.weight(f"{stem}/scale", np.ones(channels, np.float32)),
        g.weight(f"{stem}/shift", np.zeros(channels, np.float32)),
        g.weight(f"{stem}/mean", mean * factor),
        g.weight(f"{stem}/variance", variance * factor),
        epsilon=float(param.eps),
        momentum=float(param.moving_average_fraction),
    )
    return g.reshape(made, x.shape)
