"""The fused BatchNormalization against Keras' own: values, gradients, averages, and what is saved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import modelzoo as mz
from modelzoo import networks
from modelzoo.checkpoints.write_v1 import write_v1
from modelzoo.networks.batch_norm import fuse_batch_norm, is_fused
from tests.data_folder import needs_data
from tests.networks.golden import Golden

SHAPES = [(3, 5, 4, 6), (2, 1, 1, 6), (1, 1, 1, 6)]


def maps(shape=SHAPES[0], seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(0.7, 2.0, shape).astype(np.float32))


def pair(**options) -> tuple[keras.Layer, keras.Layer]:
    """A fused layer and a stock one with the same random weights."""
    options = {"momentum": 0.7, "epsilon": 1e-2, **options}
    fused = fuse_batch_norm(keras.layers.BatchNormalization(**options))
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
    assert is_fused(fused) and not is_fused(stock)
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


@needs_data
@pytest.mark.parametrize("net", ["mobilenet_v2_0.35_96", "mobilenet_v3_small", "inception_v1"])
def test_compiled_networks_give_slims_logits(net, tmp_path):
    golden = Golden(net)
    model = mz.load_pretrained(net, weights=write_v1(tmp_path / f"{net}.ckpt", golden.weights))
    logits = tf.function(model)(golden.x, training=False).numpy()
    ((_, _, status),) = golden.rows(logits, {})
    assert status == "ok"
