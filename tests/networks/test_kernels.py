"""Layers with direct kernels against Keras' own: values, gradients, averages, and what is saved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import modelzoo as mz
from modelzoo import networks
from modelzoo.checkpoints.write_v1 import write_v1
from modelzoo.networks.kernels import use_direct_kernel, uses_direct_kernel
from tests.data_folder import needs_data
from tests.networks.golden import Golden

SHAPES = [(3, 5, 4, 6), (2, 1, 1, 6), (1, 1, 1, 6)]


def maps(shape=SHAPES[0], seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(0.7, 2.0, shape).astype(np.float32))


def pair(**options) -> tuple[keras.Layer, keras.Layer]:
    """A fused layer and a stock one with the same random weights."""
    options = {"momentum": 0.7, "epsilon": 1e-2, **options}
    fused = use_direct_kernel(keras.layers.BatchNormalization(**options))
    stock = keras.layers.BatchNormalization(**options)
    rng = np.random.default_rng(1)
    for layer in (fused, stock):
        layer.build((None, None, None, 6))
    weights = [rng.uniform(0.5, 1.5, weight.shape) for weight in stock.weights]
    for layer in (fused, stock):
        layer.set_weights(weights)
    return fused, stock


def close(a, b) -> bool:
    return bool(np.allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-5))


def kernels(layer, training: bool) -> list[str]:
    function = tf.function(lambda x: layer(x, training=training)).get_concrete_function(maps())
    return [operator.type for operator in function.graph.get_operations()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
def test_values_gradients_and_averages_are_those_of_keras(shape, training, options):
    found = []
    for layer in pair(**options):
        variables = [variable.value for variable in layer.trainable_variables]

        @tf.function
        def step(x, weights, layer=layer, variables=variables):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=training)
                loss = tf.reduce_sum(weights * y * y)
            return y, *tape.gradient(loss, [x, *variables])

        found.append([*step(maps(shape), maps(shape, seed=2)), *layer.weights])
    for fused, stock in zip(*found, strict=True):
        assert close(fused, stock)


def test_one_kernel_computes_it():
    fused, stock = pair()
    for training in (False, True):
        assert kernels(fused, training).count("FusedBatchNormV3") == 1
        assert "FusedBatchNormV3" not in kernels(stock, training)
        assert "Rsqrt" not in kernels(fused, training), "nothing of Keras' way is left"


def test_a_frozen_layer_keeps_its_averages():
    fused, _ = pair()
    fused.trainable = False
    before = fused.get_weights()
    for training in (False, True):
        found = tf.function(fused)(maps(), training=training)
        assert close(found, fused(maps()))
    assert all(np.array_equal(a, b) for a, b in zip(before, fused.get_weights(), strict=True))


def test_unknown_sizes_and_functions_of_tensorflow():
    fused, stock = pair()
    unknown = tf.TensorSpec((None, None, None, 6))
    for jit in (None, True):
        function = tf.function(lambda x: fused(x, training=True), input_signature=[unknown], jit_compile=jit)
        for shape in SHAPES[:2]:
            assert close(function(maps(shape)), stock(maps(shape), training=True))
            assert all(close(a, b) for a, b in zip(fused.weights, stock.weights, strict=True))


def test_masks_and_other_dtypes_go_keras_way():
    fused, stock = pair()
    mask = tf.constant(np.random.default_rng(3).random((3, 5, 4)) < 0.5)
    assert close(tf.function(fused)(maps(), training=True, mask=mask), stock(maps(), training=True, mask=mask))
    assert all(close(a, b) for a, b in zip(fused.weights, stock.weights, strict=True))
    for policy in ("mixed_float16", "float64"):
        fused, stock = pair(dtype=policy)
        x = tf.cast(maps(), fused.compute_dtype)
        y, expected = (tf.function(layer)(x, training=True) for layer in (fused, stock))
        assert y.dtype == fused.compute_dtype
        assert np.array_equal(y, expected)


def test_the_layer_stays_keras_own(tmp_path):
    fused, stock = pair(name="norm")
    assert type(fused) is keras.layers.BatchNormalization
    assert uses_direct_kernel(fused) and not uses_direct_kernel(stock)
    fused_config, stock_config = (keras.saving.serialize_keras_object(layer) for layer in (fused, stock))
    assert fused_config == stock_config
    model = keras.Sequential([keras.Input((5, 4, 6)), fused])
    model.save(tmp_path / "norm.keras")
    loaded = keras.models.load_model(tmp_path / "norm.keras")
    assert np.array_equal(loaded(maps()), model(maps()))
    assert "FusedBatchNormV3" not in kernels(keras.models.clone_model(model), False)


def test_every_norm_of_a_network_is_fused():
    model = networks.build("mobilenet_v2", input_shape=(32, 32, 3), width=0.35)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for training in (False, True):
        function = tf.function(lambda x, training=training: model(x, training=training))
        graph = function.get_concrete_function(tf.TensorSpec((2, 32, 32, 3))).graph
        found = [operator.type for operator in graph.get_operations()]
        assert found.count("FusedBatchNormV3") == len(norms) == 52


def convolutions(**options) -> list[keras.layers.Conv2D]:
    """A Conv2D with the direct kernel and a stock one with the same random weights."""
    layers = [keras.layers.Conv2D(5, 1, **options) for _ in range(2)]
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(1, 1, 6, 5)), rng.normal(size=5)][: 1 + layers[0].use_bias]
    for layer in layers:
        layer.build((None, None, None, 6))
        layer.set_weights(weights)
    use_direct_kernel(layers[0])
    return layers


@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"activation": "relu", "padding": "same", "strides": 2}])
@pytest.mark.parametrize("batch", [3, None])
def test_a_convolution_of_one_cell_is_a_matrix_product(options, batch):
    x = maps((3, 1, 1, 6))
    found = []
    for layer in convolutions(**options):

        @tf.function(input_signature=[tf.TensorSpec((batch, 1, 1, 6))])
        def step(x, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
                loss = tf.reduce_sum(y * y)
            return y, *tape.gradient(loss, [x, *[variable.value for variable in layer.trainable_variables]])

        types = [operator.type for operator in step.get_concrete_function().graph.get_operations()]
        found.append((types, step(x)))
    (direct, ours), (stock, theirs) = found
    assert "MatMul" in direct and not any("Conv2D" in kind for kind in direct)
    assert "Conv2D" in stock
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert close(a, b)


def test_a_convolution_of_more_cells_goes_keras_way():
    layer, stock = convolutions()
    for shape in [(3, 4, 1, 6), (3, 4, 5, 6)]:
        for spec in (shape, (None, None, None, 6)):
            function = tf.function(layer, input_signature=[tf.TensorSpec(spec)])
            assert np.array_equal(function(maps(shape)), tf.function(stock)(maps(shape)))
    assert np.array_equal(layer(maps((3, 1, 1, 6))), stock(maps((3, 1, 1, 6)))), "and so do eager calls"
    wider = use_direct_kernel(keras.layers.Conv2D(5, (1, 3), padding="same"))
    assert not uses_direct_kernel(wider)


@pytest.mark.parametrize("cropping", [((1, 0), (1, 0)), ((0, 2), (1, 1)), ((0, 0), (0, 3))])
@pytest.mark.parametrize("size", [(None, None), (5, 4)])
def test_a_crop_is_a_slice_whose_gradient_is_a_padding(cropping, size):
    x = maps()
    found = []
    for layer in (use_direct_kernel(keras.layers.Cropping2D(cropping)), keras.layers.Cropping2D(cropping)):

        @tf.function(input_signature=[tf.TensorSpec((None, *size, 6))])
        def step(x, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
                loss = tf.reduce_sum(y * y)
            return y, tape.gradient(loss, x)

        types = [operator.type for operator in step.get_concrete_function().graph.get_operations()]
        found.append((types, step(x), layer(x)))
    (direct, ours, eager), (stock, theirs, expected) = found
    assert "Slice" in direct and "StridedSliceGrad" not in direct
    assert "StridedSliceGrad" in stock
    assert all(np.array_equal(a, b) for a, b in zip((*ours, eager), (*theirs, expected), strict=True))


def test_half_precision_takes_the_product_too():
    direct, stock = convolutions(dtype="mixed_bfloat16")
    x = tf.cast(maps((3, 1, 1, 6)), tf.bfloat16)
    y, expected = (tf.function(layer)(x) for layer in (direct, stock))
    assert y.dtype == tf.bfloat16
    assert np.allclose(tf.cast(y, tf.float32), tf.cast(expected, tf.float32), rtol=2e-2, atol=2e-2)


def test_gates_and_classifiers_of_a_network_are_matrix_products():
    model = networks.build("mobilenet_v3_small", input_shape=(64, 64, 3))
    cells = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and tuple(layer.input.shape[1:3]) == (1, 1)
    ]
    assert len(cells) == 2 * 9 + 2, "the gates' two each, Conv_2 and the classifier"
    assert all(uses_direct_kernel(layer) for layer in cells)


@needs_data
@pytest.mark.parametrize("net", ["mobilenet_v2_0.35_96", "mobilenet_v3_small", "inception_v1"])
def test_compiled_networks_give_slims_logits(net, tmp_path):
    golden = Golden(net)
    model = mz.load_pretrained(net, weights=write_v1(tmp_path / f"{net}.ckpt", golden.weights))
    logits = tf.function(model)(golden.x, training=False).numpy()
    ((_, _, status),) = golden.rows(logits, {})
    assert status == "ok"
