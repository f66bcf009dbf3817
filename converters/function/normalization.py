"""Normalisation over batches, channels, groups and neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from converters.function.table import Tensor, op
from converters.function.values import shape_of
from converters.function.wider import HALVES, in_type

__all__: list[str] = []

Tensors = Tensor | tuple[Tensor, ...]


def _by_channel(value: tf.Tensor, rank: int) -> tf.Tensor:
    """`value` (C,) shaped to go with (N, C, spatial...)."""
    return tf.reshape(value, (-1, *[1] * (rank - 2))) if rank > 2 else value


def _scaled(
    x: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, epsilon: float
) -> tf.Tensor:
    """`scale * (x - mean) / sqrt(variance + epsilon) + bias`, all of (C,), as one product and one sum."""
    wide = tf.float32 if mean.dtype in HALVES else mean.dtype
    factor = tf.cast(scale, wide) * tf.math.rsqrt(tf.cast(variance, wide) + tf.cast(epsilon, wide))
    shift = tf.cast(bias, wide) - tf.cast(mean, wide) * factor
    rank = x.shape.rank
    return tf.cast(tf.cast(x, wide) * _by_channel(factor, rank) + _by_channel(shift, rank), x.dtype)


def _moments(x: tf.Tensor, axes: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.nn.moments(tf.cast(x, tf.float32) if x.dtype in HALVES else x, list(axes))


def _trained(
    x: tf.Tensor,
    scale: tf.Tensor,
    bias: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    epsilon: float,
    momentum: float,
) -> tuple[tf.Tensor, ...]:
    """The batch's own statistics used: result, moving mean, moving variance, the batch's mean and variance."""
    own_mean, own_variance = _moments(x, [0, *range(2, x.shape.rank)])
    made = _scaled(x, scale, bias, own_mean, own_variance, epsilon)
    own_mean, own_variance = tf.cast(own_mean, mean.dtype), tf.cast(own_variance, mean.dtype)
    keep = tf.cast(momentum, mean.dtype)
    moved_mean = mean * keep + own_mean * (1 - keep)
    moved_variance = variance * keep + own_variance * (1 - keep)
    return made, moved_mean, moved_variance, own_mean, own_variance


@op("BatchNormalization", frozen=("mean", "var"))
def batch_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    is_test: int = 0,
    momentum: float = 0.9,
    spatial: int = 1,
    output_count: int = 1,
) -> Tensors:
    if output_count == 1:
        return batch_normalization_7(x, scale, bias, mean, var, epsilon=epsilon, spatial=spatial)
    return _trained(x, scale, bias, mean, var, epsilon, momentum)


@op("BatchNormalization", since=7, frozen=("mean", "var"))
def batch_normalization_7(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    output_count: int = 1,
) -> Tensors:
    if output_count > 1:
        return _trained(x, scale, bias, mean, var, epsilon, momentum)
    if spatial or mean.shape.rank != x.shape.rank - 1:
        return _scaled(x, scale, bias, mean, var, epsilon)
    factor = scale * tf.math.rsqrt(var + tf.cast(epsilon, var.dtype))
    return (x - mean) * factor + bias


@op("BatchNormalization", since=14, frozen=("mean", "var"))
def batch_normalization_14(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensors:
    if training_mode:
        return _trained(x, scale, bias, mean, var, epsilon, momentum)[:3]
    return _scaled(x, scale, bias, mean, var, epsilon)


@op("InstanceNormalization")
def instance_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    def normalized(t: tf.Tensor, factor: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(t, list(range(2, t.shape.rank)), keepdims=True)
        rank = t.shape.rank
        factor = _by_channel(factor, rank) * tf.math.rsqrt(variance + tf.cast(epsilon, t.dtype))
        return (t - mean) * factor + _by_channel(shift, rank)

    return in_type(tf.float32, HALVES, normalized, x, scale, bias)


@op("LayerNormalization")  # ONNX has it since opset 17; onnxruntime's optimiser writes it into older models
def layer_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(axis % x.shape.rank, x.shape.rank))
    wide = tf.cast(x, tf.as_dtype(_STASH.get(stash_type, tf.float32)))
    mean, variance = tf.nn.moments(wide, axes, keepdims=True)
    inverse = tf.math.rsqrt(variance + tf.cast(epsilon, wide.dtype))
    made = tf.cast((wide - mean) * inverse, x.dtype) * scale
    return made if bias is None else made + bias, mean, inverse


#: ONNX element types in which sums may be held.
_STASH = {1: tf.float32, 10: tf.float16, 11: tf.float64, 16: tf.bfloat16}


@op("RMSNormalization", since=23)
def rms_normalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    axes = list(range(axis % x.shape.rank, x.shape.rank))
    wide = tf.cast(x, _STASH.get(stash_type, tf.float32))
    mean = tf.reduce_mean(tf.square(wide), axes, True)
    made = wide * tf.math.rsqrt(mean + tf.cast(epsilon, wide.dtype))
    return tf.cast(tf.cast(made, x.dtype) * tf.cast(scale, x.dtype), scale.dtype)


def _grouped(x: tf.Tensor, groups: int, epsilon: float) -> tf.Tensor:
    """`x` with mean 0 and variance 1 in each group of channels; halves are computed in float32."""
    shape = shape_of(x)
    wide = tf.cast(x, tf.float32) if x.dtype in HALVES else x
    rows = tf.reshape(wide, tf.stack([shape[0], groups, -1]))
    mean, variance = tf.nn.moments(rows, [2], keepdims=True)
    made = (rows - mean) * tf.math.rsqrt(variance + tf.cast(epsilon, rows.dtype))
    return tf.ensure_shape(tf.cast(tf.reshape(made, shape), x.dtype), x.shape)


@op("GroupNormalization", since=18)
def group_normalization(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5, num_groups: int) -> Tensor:
    # Until opset 20 there is one scale for each group.
    channels = tf.cast(shape_of(x)[1], tf.int32) // num_groups
    return group_normalization_21(
        x, tf.repeat(scale, channels), tf.repeat(bias, channels), epsilon=epsilon, num_groups=num_groups
    )


@op("GroupNormalization", since=21)
def group_normalization_21(
    x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Tensor:
    rank = x.shape.rank
    return _grouped(x, num_groups, epsilon) * _by_channel(scale, rank) + _by_channel(bias, rank)


@op("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    def normalized(t: tf.Tensor) -> tf.Tensor:
        size = tf.reduce_sum(tf.abs(t), axis, True) if p == 1 else tf.sqrt(tf.reduce_sum(tf.square(t), axis, True))
        return tf.math.divide_no_nan(t, size)

    return in_type(tf.float32, HALVES, normalized, x)


@op("MeanVarianceNormalization", since=9)
def mean_variance_normalization(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    def normalized(t: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(t, [a % t.shape.rank for a in axes], keepdims=True)
        return (t - mean) / (tf.sqrt(variance) + tf.cast(1e-9, t.dtype))

    return in_type(tf.float32, HALVES, normalized, x)


@op("LRN")
def local_response_normalization(
    x: Tensor, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Tensor:
    if x.dtype == tf.float32 and x.shape.rank == 4 and size % 2:
        image = tf.transpose(x, (0, 2, 3, 1))
        made = tf.nn.local_response_normalization(image, size // 2, bias=bias, alpha=alpha / size, beta=beta)
        return tf.transpose(made, (0, 3, 1, 2))

    def normalized(t: tf.Tensor) -> tf.Tensor:
        shape = shape_of(t)
        squares = tf.reshape(tf.square(t), tf.stack([shape[0], shape[1], -1, 1]))
        low = (size - 1) // 2
        wide = tf.pad(squares, [[0, 0], [low, size - 1 - low], [0, 0], [0, 0]])
        total = tf.nn.avg_pool2d(wide, (size, 1), 1, "VALID") * tf.cast(size, t.dtype)
        total = tf.reshape(total, shape)
        return t / tf.pow(tf.cast(bias, t.dtype) + tf.cast(alpha / size, t.dtype) * total, tf.cast(beta, t.dtype))

    return in_type(tf.float32, HALVES, normalized, x)
