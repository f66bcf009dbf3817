"""MobileNet, NASNet and PNASNet without goldens: sizes, heads, widths, dilation, training, and another's rewriting."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo import errors, networks
from modelzoo.networks.slim import POOLED, find_taps

LIGHT = {
    "mobilenet_v1": {"width": 0.25},
    "mobilenet_v2": {"width": 0.35},
    "mobilenet_v3_small": {"width": 0.75},
    "mobilenet_v3_large_minimalistic": {"width": 0.5},
    "nasnet_mobile": {},
    "pnasnet_mobile": {},
}
LAST = {
    # network -> channels of the last map
    "mobilenet_v1": 256,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 432,
    "mobilenet_v3_large_minimalistic": 480,
    "nasnet_mobile": 1056,
    "pnasnet_mobile": 1080,
}


def light(net: str, **options) -> keras.Model:
    return networks.build(net, **{"input_shape": (96, 96, 3), "card_classes": 7, **LIGHT[net], **options})


def picture(height: int = 96, width: int = 96, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, height, width, 3)).astype(np.float32)


def run(model, x) -> np.ndarray:
    return np.asarray(model(x, training=False))


def arrays_of(model: keras.Model) -> dict[str, np.ndarray]:
    """The model's arrays by their names in a checkpoint, with moments as if it had been trained."""
    rng = np.random.default_rng(1)
    arrays = {}
    for weight in model.weights:
        value = np.asarray(weight)
        if weight.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
        elif weight.name in ("beta", "moving_mean", "bias"):
            value = rng.normal(0, 0.2, value.shape).astype(np.float32)
        arrays[model.variable_names[weight.path]] = value
    return arrays


NETS = [pytest.param(net, marks=pytest.mark.slow) if "nasnet" in net else net for net in LIGHT]


@pytest.fixture(scope="module", params=NETS)
def net(request):
    return request.param


@pytest.fixture(scope="module")
def arrays(net):
    return arrays_of(light(net))


@pytest.fixture(scope="module")
def model(net, arrays):
    return light(net, arrays=arrays)


def test_every_weight_is_one_array_of_the_file(model, arrays):
    assert {weight.path for weight in model.weights} == set(model.variable_names)
    assert sorted(model.variable_names.values()) == sorted(arrays)
    for weight in model.weights:
        assert np.array_equal(np.asarray(weight), arrays[model.variable_names[weight.path]])


def test_open_sides_give_what_fixed_ones_give(net, model, arrays):
    opened = light(net, arrays=arrays, input_shape=(None, None, 3))
    for fixed in (model, light(net, arrays=arrays, input_shape=(75, 101, 3))):
        x = picture(*fixed.input_shape[1:3])
        expected = run(fixed, x)
        assert expected.shape == (2, 7)
        assert np.abs(run(opened, x) - expected).max() <= 1e-4 * expected.std()
    assert run(opened, picture(32, 33)).shape == (2, 7)


def test_without_the_top_the_output_is_the_map_that_the_classifier_pools(net, model, arrays):
    body = light(net, arrays=arrays, include_top=False, pooling="avg")
    assert body.get_layer(POOLED).input.shape == (None, 3, 3, LAST[net])
    pools = [layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)]
    pool = next(layer for layer in pools if "squeeze_excite" not in layer.name)
    expected = run(keras.Model(model.input, pool.output), picture()).reshape(2, -1)
    assert np.allclose(run(body, picture()), expected, rtol=1e-4, atol=1e-6)


def test_a_new_head_stands_on_the_files_body(net, model, arrays):
    new = light(net, arrays=arrays, classes=5)
    assert run(new, picture()).shape == (2, 5)
    before = next(name for name in ("global_pool", "AvgPool_1a") if name in model.taps)
    values = [run(keras.Model(one.input, one.taps[before].tensor), picture()) for one in (model, new)]
    assert np.array_equal(*values)


def test_a_saved_model_has_the_same_taps_and_numbers(model, tmp_path):
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    assert np.array_equal(run(again, picture()), run(model, picture()))
    taps = find_taps(again)
    assert {name: tap.tensor.shape for name, tap in taps.items()} == {n: t.tensor.shape for n, t in model.taps.items()}
    ends, expected = ([name for name, tap in t.items() if tap.end_point] for t in (taps, model.taps))
    assert ends == expected


def test_gradients_reach_every_weight(net, arrays):
    model = light(net, arrays=arrays)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(picture(), training=True)))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert len(gradients) > 80
    dead = [w.path for w, g in zip(model.trainable_weights, gradients, strict=True) if g is None]
    assert dead == []
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


def test_training_is_as_slims(net, model):
    momentum = {layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)}
    dropped = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    expected = {"mobilenet_v1": (0.9997, 0.001), "nasnet_mobile": (0.9997, 0.5), "pnasnet_mobile": (0.9997, 0.5)}
    decay, rate = expected.get(net, (0.997, 0.2))
    assert momentum == {decay}
    assert dropped == [pytest.approx(rate)]


# -- widths and variants ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "application", "width", "tolerance"),
    [
        pytest.param("mobilenet_v3_large_minimalistic", "MobileNetV3Large", 1.0, 1e-4, marks=pytest.mark.slow),
        ("mobilenet_v3_small_minimalistic", "MobileNetV3Small", 1.0, 1e-4),
        pytest.param("mobilenet_v3_large_minimalistic", "MobileNetV3Large", 0.75, 1e-4, marks=pytest.mark.slow),
        # Keras' gate is 1/6 where slim's is 0.16667
        pytest.param("mobilenet_v3_large", "MobileNetV3Large", 0.75, 5e-3, marks=pytest.mark.slow),
        ("mobilenet_v3_small", "MobileNetV3Small", 0.75, 5e-3),
    ],
)
def test_variants_without_a_golden_give_what_keras_applications_gives(net, application, width, tolerance):
    build = getattr(keras.applications, application)
    peer = build(
        alpha=width,
        minimalistic="minimalistic" in net,
        include_preprocessing=False,
        input_shape=(224, 224, 3),
        weights=None,
        classes=7,
        classifier_activation=None,
    )
    model = networks.build(net, width=width, card_classes=7)
    arrays = arrays_of(model)
    for layer in peer.layers:
        for weight in layer.weights:
            weight.assign(arrays[slims_name(layer.name, weight.name)])
    assert len(peer.weights) == len(arrays)
    x = picture(224, 224)
    found = run(networks.build(net, width=width, card_classes=7, arrays=arrays), x)
    expected = run(peer, x)
    assert np.abs(found - expected).max() <= tolerance * expected.std()


def slims_name(layer: str, weight: str) -> str:
    """The name in slim's checkpoints of a weight of keras.applications' MobileNet V3."""
    kinds = {"kernel": "weights", "bias": "biases"}
    if layer == "logits":
        return f"MobilenetV3/Logits/Conv2d_1c_1x1/{kinds[weight]}"
    scope, norm = layer.removesuffix("_bn"), "/BatchNorm" * layer.endswith("_bn")
    block = ""
    if scope.startswith("expanded_conv_"):
        head, number, part = scope.partition("expanded_conv_")[1].rstrip("_"), "", scope.removeprefix("expanded_conv_")
        if part[0].isdigit():
            number, _, part = part.partition("_")
            head = f"{head}_{number}"
        block, scope = f"{head}/", part.replace("squeeze_excite_conv", "squeeze_excite/Conv")
    else:
        scope = scope.capitalize()
    kind = "depthwise_weights" if scope == "depthwise" and weight == "kernel" else kinds.get(weight, weight)
    return f"MobilenetV3/{block}{scope}{norm}/{kind}"


# -- dilation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large_minimalistic"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_denser_map_holds_the_published_one(net, output_stride):
    """At sides of 32 n + 1 strided windows lie symmetrically: the published cells are among those of the denser map."""
    shape = (97, 129, 3)
    published = light(net, input_shape=shape, include_top=False)
    arrays = arrays_of(published)
    published = light(net, input_shape=shape, include_top=False, arrays=arrays)
    dense = light(net, input_shape=shape, include_top=False, arrays=arrays, output_stride=output_stride)
    x = picture(*shape[:2])
    expected, found = run(published, x), run(dense, x)
    step = 32 // output_stride
    assert found.shape[1:3] == tuple((side - 1) // output_stride + 1 for side in shape[:2])
    assert np.abs(found[:, ::step, ::step] - expected).max() <= 1e-4 * expected.std()
    assert np.std(found[:, 1::step]) > 0.5 * expected.std()


def test_an_output_stride_of_32_is_the_published_network():
    stock, named = light("mobilenet_v2"), light("mobilenet_v2", output_stride=32)
    assert [layer.get_config() for layer in stock.layers] == [layer.get_config() for layer in named.layers]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "options"),
    [
        ("mobilenet_v1", {"width": 0}),
        ("mobilenet_v2", {"width": -0.5}),
        ("mobilenet_v3_small", {"width": "wide"}),
        ("mobilenet_v2", {"width": float("nan")}),
        ("mobilenet_v1", {"output_stride": 4}),
        ("mobilenet_v3_large", {"output_stride": "16"}),
        ("mobilenet_v3_large", {"blocks": ()}),
        ("nasnet_mobile", {"cells": 3}),
        ("pnasnet_mobile", {"output_stride": 16}),
        ("mobilenet_v1", {"source": None}),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(net, options):
    with pytest.raises(errors.UsageError) as caught:
        networks.build(net, **options)
    assert next(iter(options)) in str(caught.value)


def test_another_width_is_a_mismatch_that_names_the_shapes():
    with pytest.raises(errors.WeightsMismatchError) as caught:
        light("mobilenet_v2", arrays=arrays_of(light("mobilenet_v2")), width=0.5)
    assert len(caught.value.mismatched) > 50
    assert caught.value.missing == caught.value.unexpected == ()
