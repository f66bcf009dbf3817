"""BatchNormalization by TensorFlow's fused kernel, in layers that stay Keras' own."""

from __future__ import annotations

from types import MethodType
from typing import Any

__all__ = ["fuse_batch_norm", "is_fused"]


def fuse_batch_norm(layer: Any) -> Any:
    """Let a BatchNormalization compute by TensorFlow's fused kernel inside `tf.function`, as TF-slim does.

    Keras writes it as elementwise operators, each of them a pass over the map; in inference TensorFlow joins the fused
    kernel to the convolution before it and the activation behind it. Class, config and weights of the layer stay
    Keras', and so do its numbers, but for rounding: called eagerly it computes in Keras' way, to the bit, and so does
    what Keras makes anew from the config (a saved model, a clone).

    Args:
        layer: a keras.layers.BatchNormalization over the last axis of maps (N, H, W, C).

    Returns:
        The layer. Inputs of another dtype than float32 and masked ones go Keras' way, too.

    References:
        Ioffe and Szegedy, "Batch Normalization" (arXiv:1502.03167), algorithms 1 and 2.
    """
    # Not an attribute that Keras shall see: it would be tracked and looked through when a model is saved.
    vars(layer)["call"] = MethodType(_call, layer)
    return layer


def is_fused(layer: Any) -> bool:
    """Whether `fuse_batch_norm` was called on a layer."""
    return "call" in vars(layer)


def _call(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    import keras
    import tensorflow as tf

    other = mask is not None or inputs.dtype != tf.float32 or self.compute_dtype != "float32"
    if other or tf.executing_eagerly():
        return type(self).call(self, inputs, training=training, mask=mask)
    value = keras.ops.convert_to_tensor
    channels = inputs.shape[-1:]
    given = {
        "x": inputs,
        "scale": value(self.gamma) if self.scale else tf.ones(channels),
        "offset": value(self.beta) if self.center else tf.zeros(channels),
        "epsilon": self.epsilon,
    }
    mean, variance = value(self.moving_mean), value(self.moving_variance)
    if not (training and self.trainable):
        return tf.raw_ops.FusedBatchNormV3(**given, mean=mean, variance=variance, is_training=False).y
    result = tf.raw_ops.FusedBatchNormV3(**given, mean=[], variance=[], is_training=True)
    # The kernel's variance is that of the population, n / (n - 1) times the sample's, which Keras averages.
    n = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
    sample = result.batch_variance * (tf.maximum(n - 1.0, 1.0) / n)
    momentum = self.momentum
    self.moving_mean.assign(mean * momentum + result.batch_mean * (1.0 - momentum))
    self.moving_variance.assign(variance * momentum + sample * (1.0 - momentum))
    return result.y
