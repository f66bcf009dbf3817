"""Normalisation over a batch, a group, a layer, or neighbouring channels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from converters.keras.held import Held
from converters.keras.node import Node
from converters.keras.powers import divided_by_power
from converters.keras.stock.dense import of_width
from converters.keras.stock.table import Result, stock


@stock("BatchNormalization", since=7)
def batch_normalization(
    at: Node,
    x: Held,
    scale: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
) -> Result:
    arrays = (scale, bias, mean, variance)
    if training_mode or not spatial or any(at.used[1:]) or not all(isinstance(a, np.ndarray) for a in arrays):
        return None
    if x.rank < 2 or x.shape[1] is None or any(a.ndim != 1 or a.dtype.name != x.dtype for a in arrays):
        return None
    tensor = at.last(x) if x.rank >= 3 else at.source(x)
    layer = at.layer(keras.layers.BatchNormalization, epsilon=epsilon, momentum=momentum, dtype=x.dtype)
    made = at.apply(layer, tensor, gamma=scale, beta=bias, moving_mean=mean, moving_variance=variance)
    return at.as_last(made)


@stock("InstanceNormalization", since=6)
def instance_normalization(at: Node, x: Held, scale: Any, bias: Any, *, epsilon: float = 1e-5) -> Result:
    if not isinstance(scale, np.ndarray) or not isinstance(bias, np.ndarray) or x.rank < 3 or x.shape[1] is None:
        return None
    layer = at.layer(keras.layers.GroupNormalization, groups=len(scale), epsilon=epsilon, dtype=x.dtype)
    return at.as_last(at.apply(layer, at.last(x), gamma=scale, beta=bias))


@stock("GroupNormalization", since=18)
def group_normalization_by_group(
    at: Node, x: Held, scale: Any, bias: Any, *, num_groups: int, epsilon: float = 1e-5
) -> Result:
    if not isinstance(scale, np.ndarray) or not isinstance(bias, np.ndarray) or x.rank < 3 or x.shape[1] is None:
        return None
    width = x.shape[1] // num_groups
    return group_normalization(
        at, x, np.repeat(scale, width), np.repeat(bias, width), num_groups=num_groups, epsilon=epsilon
    )


@stock("GroupNormalization", since=21)
def group_normalization(
    at: Node, x: Held, scale: Any, bias: Any, *, num_groups: int, epsilon: float = 1e-5, stash_type: int = 1
) -> Result:
    if not isinstance(scale, np.ndarray) or not isinstance(bias, np.ndarray) or x.rank < 3 or x.shape[1] is None:
        return None
    layer = at.layer(keras.layers.GroupNormalization, groups=num_groups, epsilon=epsilon, dtype=x.dtype)
    return at.as_last(at.apply(layer, at.last(x), gamma=scale, beta=bias))


@stock("LayerNormalization")
def layer_normalization(
    at: Node, x: Held, scale: Any, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Result:
    constant = isinstance(scale, np.ndarray) and (bias is None or isinstance(bias, np.ndarray))
    if not constant or any(at.used[1:]) or axis % x.rank != x.rank - 1 or x.dtype != "float32":
        return None
    known = of_width(at, x, scale.size)
    if known is None or scale.ndim != 1 or (bias is not None and bias.shape != scale.shape):
        return None
    layer = at.layer(keras.layers.LayerNormalization, epsilon=epsilon, center=bias is not None, dtype=x.dtype)
    return Held.of(at.apply(layer, at.source(known), gamma=scale, beta=bias), labels=x.lengths)


@stock("RMSNormalization", since=23)
def rms_normalization(
    at: Node, x: Held, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Result:
    if not isinstance(scale, np.ndarray) or axis % x.rank != x.rank - 1 or x.dtype != "float32":
        return None
    if scale.shape != (x.shape[-1],):
        return None
    layer = at.layer(keras.layers.RMSNormalization, epsilon=epsilon, dtype=x.dtype)
    made = at.apply(layer, at.source(x))
    # The layer has no initialiser to choose; it may be an earlier one that has the same weights.
    made._keras_history.operation.scale.assign(scale)
    return Held.of(made, labels=x.lengths)


@stock("LRN")
def lrn(at: Node, x: Held, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Result:
    """x / (bias + alpha / size * s) ** beta; s sums the squares of `size` channels by a 1x1 convolution with a band."""
    channels = x.shape[1]
    if x.rank != 4 or channels is None or x.dtype != "float32":
        return None
    tensor = at.last(x)
    place = np.arange(channels)
    distance = place[:, None] - place[None, :]  # input channel minus output channel
    inside = (distance >= -((size - 1) // 2)) & (distance <= size - 1 - (size - 1) // 2)
    band = (inside * (alpha / size)).astype(np.float32).reshape(1, 1, channels, channels)
    layer = at.layer(keras.layers.Conv2D, channels, 1, part="window", trainable=False, dtype=x.dtype)
    squares = keras.ops.square(tensor)
    summed = at.apply(layer, squares, kernel=band, bias=np.full(channels, bias, np.float32))
    scaled = divided_by_power(tensor, summed, beta)
    return at.as_last(at.layer(keras.layers.Identity)(scaled), nonnegative=x.nonnegative)
