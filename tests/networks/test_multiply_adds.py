"""Multiply-adds: against the papers' own figures, and layer by layer against arithmetic."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from modelzoo import errors, networks
from modelzoo.networks.applications import build_application
from modelzoo.networks.blank import blank_weights
from modelzoo.networks.multiply_adds import count_multiply_adds

layers = keras.layers

PAPERS = {  # network -> (millions of multiply-adds, who says so)
    "ResNet50": (3800, "arXiv:1512.03385 table 1"),
    "VGG19": (19600, "arXiv:1512.03385 figure 3"),
    "MobileNet": (569, "arXiv:1704.04861 table 4"),
    "MobileNetV2": (300, "arXiv:1801.04381 table 4"),
    "MobileNetV3Small": (56, "arXiv:1905.02244 table 3"),
    "EfficientNetB0": (390, "arXiv:1905.11946 table 2"),
    "inception_v1": (1500, "arXiv:1409.4842, introduction"),
}
SLOW_PAPERS = {
    "ResNet152": (11300, "arXiv:1512.03385 table 1"),
    "InceptionV3": (5720, "arXiv:1707.07012 table 2"),
    "InceptionResNetV2": (13200, "arXiv:1707.07012 table 2"),
    "Xception": (8380, "arXiv:1707.07012 table 2"),
    "NASNetMobile": (564, "arXiv:1707.07012 table 3"),
    "MobileNetV3Large": (219, "arXiv:1905.02244 table 3"),
    "ConvNeXtTiny": (4500, "arXiv:2201.03545 table 1"),
}


@pytest.mark.parametrize(
    "name", [*PAPERS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_PAPERS)], ids=str
)
def test_what_papers_say(name):
    millions, _ = (PAPERS | SLOW_PAPERS)[name]
    with blank_weights():
        model = networks.build(name) if name in networks.NETWORKS else build_application(name)
    counted = count_multiply_adds(model)
    assert counted.uncounted == ()
    assert counted.count / 1e6 == pytest.approx(millions, rel=0.03)


IMAGE = (12, 10, 6)
LAYERS = {
    "convolution": (layers.Conv2D(8, (3, 2), strides=2, padding="same"), IMAGE, 6 * 5 * 3 * 2 * 6 * 8),
    "groups": (layers.Conv2D(8, 3, groups=2, padding="same"), IMAGE, 12 * 10 * 3 * 3 * 3 * 8),
    "dilation": (layers.Conv2D(8, 3, dilation_rate=2), IMAGE, 8 * 6 * 3 * 3 * 6 * 8),
    "along a line": (layers.Conv1D(5, 3), (20, 4), 18 * 3 * 4 * 5),
    "in space": (layers.Conv3D(2, 2), (5, 6, 7, 3), 4 * 5 * 6 * 8 * 3 * 2),
    "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=2), IMAGE, 10 * 8 * 9 * 6 * 2),
    "separable": (layers.SeparableConv2D(4, 3), IMAGE, 10 * 8 * (9 * 6 + 6 * 4)),
    "transposed": (layers.Conv2DTranspose(4, 3, strides=2), IMAGE, 12 * 10 * 9 * 6 * 4),
    "dense": (layers.Dense(7), (5,), 35),
    "dense over a map": (layers.Dense(7), IMAGE, 12 * 10 * 6 * 7),
    "einsum dense": (layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (5, 4), 5 * 4 * 2 * 3),
    "LSTM": (layers.LSTM(3), (7, 4), 7 * 4 * (4 * 3 + 3 * 3)),
    "GRU": (layers.GRU(3), (7, 4), 7 * 3 * (4 * 3 + 3 * 3)),
    "simple RNN": (layers.SimpleRNN(3), (7, 4), 7 * (4 * 3 + 3 * 3)),
    "bidirectional": (layers.Bidirectional(layers.LSTM(3)), (7, 4), 2 * 7 * 4 * (4 * 3 + 3 * 3)),
    "normalisation": (layers.BatchNormalization(), IMAGE, 0),
    "pooling": (layers.MaxPooling2D(), IMAGE, 0),
    "PReLU": (layers.PReLU(), IMAGE, 0),
    "embedding": (layers.Embedding(5, 3), (4,), 0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    layer, shape, expected = LAYERS[name]
    model = keras.Sequential([keras.Input(shape), layer])
    assert count_multiply_adds(model).count == expected
    assert count_multiply_adds(model).uncounted == ()


def test_attention():
    query, value = keras.Input((5, 8)), keras.Input((7, 6))
    layer = layers.MultiHeadAttention(2, 3, value_dim=4)
    model = keras.Model([query, value], layer(query, value))
    projections = 5 * 8 * 2 * 3 + 7 * 6 * 2 * 3 + 7 * 6 * 2 * 4 + 5 * 2 * 4 * 8
    assert count_multiply_adds(model).count == projections + 5 * 7 * 2 * (3 + 4)


def test_products_of_tensors():
    a, b = keras.Input((3, 4)), keras.Input((4, 5))
    assert count_multiply_adds(keras.Model([a, b], keras.ops.matmul(a, b))).count == 3 * 4 * 5
    assert count_multiply_adds(keras.Model([a, b], keras.ops.einsum("nij,njk->nik", a, b))).count == 3 * 4 * 5
    assert count_multiply_adds(keras.Model([a, b], layers.Dot((2, 1))([a, b]))).count == 3 * 4 * 5


def test_models_in_models_and_layers_that_are_called_twice():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4)])
    deeper = keras.Sequential([keras.Input((4,)), inner])
    shared = layers.Dense(4)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, shared(shared(deeper(inputs))))
    assert count_multiply_adds(model).count == 4 * 16


def test_what_cannot_be_told_is_named():
    class Own(layers.Layer):
        def build(self, shape):
            self.matrix = self.add_weight(shape=(shape[-1], 3))

        def call(self, x):
            return x @ self.matrix

    model = keras.Sequential([keras.Input((4,)), layers.Dense(4), Own(name="own"), layers.Dense(2)])
    assert count_multiply_adds(model).uncounted == ("own",)
    assert count_multiply_adds(model).count == 16 + 6
    open_sides = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3, name="conv")])
    assert count_multiply_adds(open_sides).uncounted == ("conv",)


def test_a_model_without_a_graph_is_refused():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    model = Subclassed()
    model(np.zeros((1, 2)))
    with pytest.raises(errors.UsageError):
        count_multiply_adds(model)
    with pytest.raises(errors.UsageError):
        count_multiply_adds(keras.Sequential([layers.Dense(2)]))
