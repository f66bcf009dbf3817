"""Quicker kernels of TensorFlow inside `tf.function`, in layers that stay Keras' own."""

from __future__ import annotations

from types import MethodType
from typing import Any

__all__ = ["use_direct_kernel", "uses_direct_kernel"]


def use_direct_kernel(layer: Any) -> Any:
    """Let a layer compute by one kernel of TensorFlow inside `tf.function`.

    BatchNormalization: Keras writes it as elementwise operators, each of them a pass over the map. TF-slim's fused
    kernel makes one or two; in inference TensorFlow joins it to the convolution before it and the activation behind it.

    Conv2D of one cell: a map of one cell (behind a mean over the map) is multiplied by the kernel as a matrix, which
    a convolution would rearrange at each call.

    Cropping2D: a slice, whose gradient is a padding. That of Keras' strided slice takes ten times as long.

    Class, config and weights of the layer stay Keras', and so do its numbers, but for rounding: called eagerly it
    computes in Keras' way, to the bit, and so does what Keras makes anew from the config (a saved model, a clone).

    Args:
        layer: a keras.layers.BatchNormalization over the last axis of maps (N, H, W, C), or a keras.layers.Conv2D or
            Cropping2D of such maps.

    Returns:
        The layer. Inputs that the kernel is not made for go Keras' way, too: to BatchNormalization masked ones and
        those of another dtype than float32, to a convolution maps that may have more than one cell.

    References:
        Ioffe and Szegedy, "Batch Normalization" (arXiv:1502.03167), algorithms 1 and 2.
    """
    import keras

    # Not by an attribute that Keras shall see: it would be tracked and looked through when a model is saved.
    if isinstance(layer, keras.layers.BatchNormalization):
        vars(layer)["call"] = MethodType(_normalize, layer)
    elif isinstance(layer, keras.layers.Cropping2D):
        vars(layer)["call"] = MethodType(_crop, layer)
    elif layer.kernel_size == (1, 1) and layer.groups == 1 and layer.data_format == "channels_last":
        vars(layer)["convolution_op"] = MethodType(_multiply, layer)
    return layer


def uses_direct_kernel(layer: Any) -> bool:
    """Whether `use_direct_kernel` changed how a layer computes."""
    return "call" in vars(layer) or "convolution_op" in vars(layer)


def _normalize(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """`call` of a BatchNormalization."""
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
        "mean": value(self.moving_mean),
        "variance": value(self.moving_variance),
        "epsilon": self.epsilon,
    }
    if not (training and self.trainable):
        return tf.raw_ops.FusedBatchNormV3(**given, is_training=False).y
    factor = 1.0 - self.momentum
    result = tf.raw_ops.FusedBatchNormV3(**given, exponential_avg_factor=factor, is_training=True)
    # The kernel averages the variance of the population, n / (n - 1) times the sample's, which Keras averages.
    n = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
    sample = tf.maximum(n - 1.0, 1.0) / n
    self.moving_mean.assign(result.batch_mean)
    self.moving_variance.assign(result.batch_variance * sample + given["variance"] * ((1.0 - sample) * (1.0 - factor)))
    return result.y


def _crop(self: Any, inputs: Any) -> Any:
    """`call` of a Cropping2D."""
    import tensorflow as tf

    if self.data_format != "channels_last" or tf.executing_eagerly():
        return type(self).call(self, inputs)
    (top, bottom), (left, right) = self.cropping
    sides = tf.shape(inputs)
    height = sides[1] - top - bottom if bottom else -1  # -1: all that is left, a size known beforehand
    width = sides[2] - left - right if right else -1
    return tf.slice(inputs, (0, top, left, 0), (-1, height, width, -1))


def _multiply(self: Any, inputs: Any, kernel: Any) -> Any:
    """`convolution_op` of a Conv2D whose window is one cell."""
    import keras
    import tensorflow as tf

    if tuple(inputs.shape[1:3]) != (1, 1) or tf.executing_eagerly():
        return type(self).convolution_op(self, inputs, kernel)
    matrix = tf.reshape(keras.ops.convert_to_tensor(kernel), kernel.shape[2:])
    product = tf.matmul(tf.reshape(inputs, (-1, inputs.shape[-1])), matrix)
    return tf.reshape(product, (-1, 1, 1, product.shape[-1]))
