"""Functional Keras models of the kinds that the writers meet, each built anew by a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
from keras import layers, ops

from converters.keras import to_keras
from modelzoo.networks import build
from tests.converters.keras.networks import small_convnet

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def converted() -> keras.Model:
    return to_keras(small_convnet())


def slim() -> keras.Model:
    return build("inception_v1", input_shape=(64, 64, 3), classes=7)


def light(name: str) -> keras.Model:
    return to_keras(LIGHT / f"light_{name}.onnx")


def residuals() -> keras.Model:
    """Counted names, as exporters without names of their own give them: r0, r1, ..."""
    inputs = keras.Input((8, 8, 3), name="data")
    count = iter(range(100))

    def conv(x, filters):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"r{next(count)}")(x)
        return layers.ReLU(name=f"r{next(count)}")(layers.BatchNormalization(name=f"r{next(count)}")(x))

    x = conv(inputs, 4)
    for _ in range(5):
        y = conv(conv(x, 8), 4)
        x = layers.Add(name=f"r{next(count)}")([x, y])
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x), name="residuals")


def operations() -> keras.Model:
    """Functions of keras.ops: with constants of every kind, indexing, lists in and out, a list of one."""
    inputs = keras.Input((6, 4), name="x")
    scale = np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 1, 4)
    many = np.arange(24, dtype=np.float32).reshape(1, 6, 4) / 7
    x = ops.multiply(ops.add(inputs, 0.1), scale)
    x = ops.where(ops.greater(x, np.float32(0.3)), x, ops.negative(many))
    x, y, z = ops.split(x, [1, 3], axis=1)
    x = ops.concatenate([x, ops.square(y)[:, ::-1], ops.clip(z, -0.5, float("inf"))], axis=1)
    (x,) = ops.split(x, 1, axis=2)
    x = ops.pad(x, ((0, 0), (0, 0), (1, 2)), constant_values=1.5)
    x = ops.take(x, np.array([0, 2, 5], np.int32), axis=2)
    y = ops.einsum("abc,abd->acd", x, ops.erf(x[:, :, 1:]))
    y = ops.expand_dims(ops.max(y, axis=1, keepdims=True), 1)
    y = ops.reshape(ops.transpose(y, (0, 3, 1, 2)), (-1, 2))
    return keras.Model(inputs, ops.log_softmax(1.0 - y, axis=-1), name="operations")


def several() -> keras.Model:
    """Dicts of inputs and outputs by source names, and a layer that is called twice."""
    left, right = keras.Input((5,), name="left"), keras.Input((5,), name="x")
    dense = layers.Dense(3, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.01), name="both")
    a, b = dense(left), dense(right)
    total = layers.Add(name="sum")([a, b])
    return keras.Model({"left": left, "x": right}, {"a/out": a, "sum:0": total, "twice": [total, b]}, name="several")


def recurrent() -> keras.Model:
    inputs = keras.Input((4, 3), name="sequence")
    x, h, c = layers.LSTM(5, return_sequences=True, return_state=True, name="first")(inputs)
    x = layers.LSTM(5, return_sequences=True, name="second")(x, initial_state=[h, c])
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True, name="cell"), name="both")(x)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    return keras.Model(inputs, layers.TimeDistributed(layers.Dense(2, name="inner"), name="each")(x), name="recurrent")


def halves() -> keras.Model:
    inputs = keras.Input((4,), dtype="float16", batch_size=2, name="in")
    x = layers.Dense(3, dtype="float16", trainable=False, name="a")(inputs)
    return keras.Model(inputs, layers.Dense(2, dtype="bfloat16", name="b")(x), name="halves")


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a"), layers.LeakyReLU(0.3, name="b")], name="s")


MODELS: dict[str, Callable[[], keras.Model]] = {
    "converted": converted,
    "halves": halves,
    "operations": operations,
    "recurrent": recurrent,
    "residuals": residuals,
    "sequential": sequential,
    "several": several,
    "shufflenet": lambda: light("shufflenet"),
    "slim": slim,
    "squeezenet": lambda: light("squeezenet"),
}


def drawn(model: keras.Model, seed: int = 0) -> list[np.ndarray]:
    """Normal numbers for each input, in the model's flat order; open sizes are 2."""
    generator = np.random.default_rng(seed)
    return [
        generator.standard_normal([2 if size is None else size for size in tensor.shape]).astype(str(tensor.dtype))
        for tensor in model.inputs
    ]


def run(model: keras.Model, values: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs in the model's flat order."""
    fed = keras.tree.pack_sequence_as(model.input, values) if len(values) > 1 else values[0]
    return [np.asarray(item) for item in keras.tree.flatten(model(fed, training=False))]
