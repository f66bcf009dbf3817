"""Small Keras networks as tf2onnx writes them: the graphs that TensorFlow users have on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf

__all__ = ["NETWORKS", "export"]

layers = keras.layers


def export(model: keras.Model, *, opset: int = 17) -> onnx.ModelProto:
    """The model through `tf2onnx.convert.from_function`, open sizes left open."""
    import tf2onnx

    specs = [tf.TensorSpec(item.shape, item.dtype, name=item.name.split(":")[0]) for item in model.inputs]
    function = tf.function(lambda *inputs: model(list(inputs) if len(inputs) > 1 else inputs[0], training=False))
    proto, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=opset)
    return proto


def shaken(model: keras.Model, seed: int = 0) -> keras.Model:
    """The model with weights that are no initial ones: biases, scales and moving averages differ from 0 and 1."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        value = np.asarray(weight)
        if np.issubdtype(value.dtype, np.floating):
            noise = generator.standard_normal(value.shape) * 0.1
            weight.assign(np.abs(value + noise) if "variance" in weight.path else value + noise)
    return model


def gelu(x: Any) -> Any:
    """By erf: Keras' own goes by erfc, which tf2onnx 1.17 does not know."""
    return 0.5 * x * (1.0 + keras.ops.erf(x / 2**0.5))


def lstm_classifier() -> keras.Model:
    words = layers.Input((None,), dtype="int32", name="words")
    x = layers.Embedding(50, 16)(words)
    x = layers.LSTM(24, return_sequences=True)(x)
    x = layers.LSTM(12)(x)
    return keras.Model(words, layers.Dense(3, activation="softmax")(x))


def masked_lstm() -> keras.Model:
    """Padding is masked, which makes a loop of what is else one operator."""
    words = layers.Input((12,), dtype="int32", name="words")
    x = layers.Embedding(50, 16, mask_zero=True)(words)
    x = layers.LSTM(8)(x)
    return keras.Model(words, layers.Dense(2)(x))


def bidirectional_gru() -> keras.Model:
    x = series = layers.Input((20, 6), name="series")
    x = layers.Bidirectional(layers.GRU(10, return_sequences=True))(x)
    x = layers.Bidirectional(layers.GRU(7, reset_after=False), merge_mode="sum")(x)
    return keras.Model(series, layers.Dense(4)(x))


def simple_rnn() -> keras.Model:
    x = series = layers.Input((None, 5), name="series")
    x = layers.SimpleRNN(9, return_sequences=True)(x)
    x = layers.TimeDistributed(layers.Dense(4, activation="relu"))(x)
    x = layers.SimpleRNN(6, go_backwards=True)(x)
    return keras.Model(series, x)


def conv_lstm() -> keras.Model:
    x = frames = layers.Input((4, 8, 8, 2), name="frames")
    x = layers.ConvLSTM2D(3, 3, padding="same")(x)
    return keras.Model(frames, layers.GlobalAveragePooling2D()(x))


def transformer_encoder() -> keras.Model:
    tokens = layers.Input((16,), dtype="int32", name="tokens")
    x = layers.Embedding(60, 32)(tokens)
    x = layers.Add()([x, layers.Embedding(16, 32)(keras.ops.cumsum(keras.ops.ones_like(tokens), axis=1) - 1)])
    for _ in range(2):
        attended = layers.MultiHeadAttention(4, 8)(x, x)
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, attended]))
        inner = layers.Dense(32)(layers.Dense(64, activation=gelu)(x))
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, inner]))
    return keras.Model(tokens, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def causal_decoder() -> keras.Model:
    """A block of a language model of any length: a causal mask, positions made of the input's size."""
    tokens = layers.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(60, 24)(tokens)
    attended = layers.MultiHeadAttention(3, 8)(x, x, use_causal_mask=True)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    return keras.Model(tokens, layers.Dense(60)(x))


def unet() -> keras.Model:
    picture = layers.Input((None, None, 3), name="picture")

    def block(x: Any, filters: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        return x

    one = block(picture, 8)
    two = block(layers.MaxPooling2D()(one), 16)
    x = block(layers.MaxPooling2D()(two), 24)
    x = block(layers.Concatenate()([two, layers.Conv2DTranspose(16, 2, strides=2, padding="same")(x)]), 16)
    x = block(layers.Concatenate()([one, layers.UpSampling2D()(x)]), 8)
    return keras.Model(picture, layers.Conv2D(2, 1, activation="sigmoid")(x))


def fixed_unet() -> keras.Model:
    picture = layers.Input((32, 48, 3), name="picture")
    one = layers.Conv2D(8, 3, padding="same", activation="elu")(picture)
    two = layers.Conv2D(16, 3, strides=2, padding="same", activation="swish")(one)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same")(two)
    x = layers.Concatenate()([one, layers.LeakyReLU(negative_slope=0.2)(x)])
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    return keras.Model(picture, layers.Conv2D(1, 3, padding="valid")(x))


def mobilenet() -> keras.Model:
    picture = layers.Input((64, 64, 3), name="picture")
    x = layers.Rescaling(1 / 127.5, offset=-1)(picture)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, use_bias=False)(x)))
    for filters, strides in ((8, 1), (16, 2), (16, 1), (24, 2)):
        entry = x
        x = layers.Conv2D(4 * filters, 1, use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x)
        x = layers.Activation("hard_swish")(layers.BatchNormalization()(x))
        squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
        squeezed = layers.Conv2D(4, 1, activation="relu")(squeezed)
        squeezed = layers.Conv2D(4 * filters, 1, activation="hard_sigmoid")(squeezed)
        x = layers.Multiply()([x, squeezed])
        x = layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(x))
        if x.shape == entry.shape:
            x = layers.Add()([x, entry])
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(picture, layers.Dense(10, activation="softmax")(x))


def separable_1d() -> keras.Model:
    x = sound = layers.Input((64, 4), name="sound")
    x = layers.SeparableConv1D(8, 5, padding="same", activation="relu")(x)
    x = layers.AveragePooling1D(2, padding="same")(layers.Conv1D(8, 3, dilation_rate=2, padding="causal")(x))
    x = layers.GroupNormalization(4)(x)
    x = layers.Flatten()(layers.MaxPooling1D(3, strides=2, padding="same")(x))
    return keras.Model(sound, layers.Dense(3)(x))


def volumes() -> keras.Model:
    x = volume = layers.Input((8, 8, 8, 2), name="volume")
    x = layers.Conv3D(4, 3, padding="same", activation="softplus")(x)
    x = layers.MaxPooling3D()(x)
    x = layers.Conv3DTranspose(3, 2, strides=2)(x)
    return keras.Model(volume, layers.GlobalMaxPooling3D()(x))


def two_towers() -> keras.Model:
    """Two inputs, two outputs, a similarity between them."""
    a, b = layers.Input((10,), name="left"), layers.Input((10,), name="right")
    tower = keras.Sequential([layers.Dense(16, activation="tanh"), layers.Dense(8), layers.UnitNormalization()])
    x, y = tower(a), tower(b)
    return keras.Model([a, b], [layers.Dot(axes=1)([x, y]), layers.Subtract()([x, y])])


def _words(high: int, length: int) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda generator, batch: generator.integers(0, high, (batch, length)).astype(np.int32)


def _floats(*sizes: int, scale: float = 1.0) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda generator, batch: (scale * generator.standard_normal((batch, *sizes))).astype(np.float32)


#: Name -> builder, and for each input how one of a batch size is drawn (a list: of several sizes).
NETWORKS: Mapping[str, tuple[Callable[[], keras.Model], dict[str, list[Any]]]] = {
    "lstm_classifier": (lstm_classifier, {"words": [_words(50, 9), _words(50, 17)]}),
    "masked_lstm": (masked_lstm, {"words": [_words(4, 12)]}),
    "bidirectional_gru": (bidirectional_gru, {"series": [_floats(20, 6)]}),
    "simple_rnn": (simple_rnn, {"series": [_floats(6, 5), _floats(11, 5)]}),
    "conv_lstm": (conv_lstm, {"frames": [_floats(4, 8, 8, 2)]}),
    "transformer_encoder": (transformer_encoder, {"tokens": [_words(60, 16)]}),
    "causal_decoder": (causal_decoder, {"tokens": [_words(60, 7), _words(60, 12)]}),
    "unet": (unet, {"picture": [_floats(32, 48, 3), _floats(16, 20, 3)]}),
    "fixed_unet": (fixed_unet, {"picture": [_floats(32, 48, 3)]}),
    "mobilenet": (mobilenet, {"picture": [_floats(64, 64, 3, scale=127.0)]}),
    "separable_1d": (separable_1d, {"sound": [_floats(64, 4)]}),
    "volumes": (volumes, {"volume": [_floats(8, 8, 8, 2)]}),
    "two_towers": (two_towers, {"left": [_floats(10)], "right": [_floats(10)]}),
}
