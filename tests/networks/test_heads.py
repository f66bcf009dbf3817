"""What slim networks do beside their published form: sizes, heads, larger maps, training, saving, and refusals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo import errors, networks
from modelzoo.networks.slim import SlimNetwork, find_taps
from modelzoo.networks.weights import ArraySource

# network -> last map without the classifier: its tap, and its height, width and channels for a small input
BODIES = {
    "inception_v2": ((64, 96), "Mixed_5c", (2, 3, 1024)),
    "inception_v3": ((75, 107), "Mixed_7c", (1, 2, 2048)),
    "inception_v4": ((75, 107), "Mixed_7d", (1, 2, 1536)),
    "inception_resnet_v2": ((75, 107), "Conv2d_7b_1x1", (1, 2, 1536)),
    "resnet_v1_50": ((33, 64), "resnet_v1_50/block4", (2, 2, 2048)),
    "resnet_v1_50_beta": ((33, 64), "resnet_v1_50/block4", (2, 2, 2048)),
    "resnet_v2_50": ((33, 64), "resnet_v2_50/postnorm", (2, 2, 2048)),
    "vgg_16": ((32, 64), "vgg_16/pool5", (1, 2, 512)),
    "vgg_19": ((32, 64), "vgg_19/pool5", (1, 2, 512)),
    "alexnet_v2": ((67, 99), "alexnet_v2/pool5", (1, 2, 256)),
    "overfeat": ((71, 104), "overfeat/pool5", (1, 2, 1024)),
    "lenet": ((28, 20), "pool2", (7, 5, 64)),
    "cifarnet": ((32, 40), "pool2", (8, 10, 64)),
}
# network -> a small input for the network with its classifier
WHOLE = {
    **{net: BODIES[net][0] for net in BODIES if not re.match("vgg|alexnet|overfeat", net)},
    "alexnet_v2": (195, 227),
}
LARGE = {"vgg_16": (224, 256), "vgg_19": (256, 224), "overfeat": (231, 263)}
SLOW = ("inception_v4", "inception_resnet_v2", "resnet_v1_50_beta", "vgg_19", "vgg_16", "overfeat")


def each(nets: Iterable[str]) -> list[Any]:
    return [pytest.param(net, marks=pytest.mark.slow) if net in SLOW else net for net in nets]


def shape_of(net: str, sides: tuple[int | None, int | None]) -> tuple[int | None, int | None, int]:
    return (*sides, networks.NETWORKS[net].channels)


def picture(net: str, sides: tuple[int, int], count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, *shape_of(net, sides))).astype(np.float32)


def run(model, x: np.ndarray, **options) -> np.ndarray:
    return np.asarray(model(x, **options))


def close(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-3) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() <= tolerance * np.std(b))


def arrays_of(model: keras.Model) -> dict[str, np.ndarray]:
    """What a checkpoint of this model would hold: moments and shifts as if it had been trained."""
    rng = np.random.default_rng(4)
    arrays = {}
    for weight in model.weights:
        value = np.asarray(weight)
        if not weight.path.endswith("kernel"):
            value = value + rng.uniform(0.0, 0.1, value.shape).astype(np.float32)
        arrays[model.variable_names[weight.path]] = value
    return arrays


# -- sizes and heads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", each(BODIES))
def test_without_the_top_the_output_is_the_last_map(net):
    sides, tap, shape = BODIES[net]
    model = networks.build(net, include_top=False, input_shape=shape_of(net, (None, None)))
    assert model.output is model.taps[tap].tensor
    assert run(model, picture(net, sides)).shape == (2, *shape)
    channels = shape[-1]
    assert networks.build(net, include_top=False, pooling="avg").output.shape == (None, channels)


@pytest.mark.parametrize("net", each([*WHOLE, *LARGE]))
def test_a_new_head_on_another_size_learns(net):
    """Every weight has a finite gradient."""
    sides = {**WHOLE, **LARGE}[net]
    model = networks.build(net, classes=7, input_shape=shape_of(net, sides))
    x = picture(net, sides)
    assert run(model, x).shape == (2, 7)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x, training=True) - 1.0))
    weights = model.trainable_weights
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    assert [w.path for w, g in zip(weights, gradients, strict=True) if g is None] == []
    assert [w.path for w, g in zip(weights, gradients, strict=True) if not np.all(np.isfinite(g))] == []
    alive = sum(bool(np.any(np.asarray(g))) for g in gradients)
    assert alive > 0.9 * len(gradients)  # at random a ReLU, or a 1 x 1 map's BatchNorm, silences some


@pytest.mark.parametrize("net", each(net for net in WHOLE if net not in ("lenet", "cifarnet")))
def test_open_sides_take_any_size(net):
    first = WHOLE[net]
    model = networks.build(net, classes=3, input_shape=shape_of(net, (None, None)))
    for sides in (first, (first[0] + 33, first[1] + 50)):
        assert run(model, picture(net, sides, 1)).shape == (1, 3)


def test_a_classifier_that_covers_its_map_is_the_convolution_of_larger_ones():
    own = arrays_of(networks.build("alexnet_v2", input_shape=(195, 195, 3)))
    kernel = own["alexnet_v2/fc6/weights"]
    slims = {**own, "alexnet_v2/fc6/weights": kernel.reshape(5, 5, 256, 4096)}
    x = picture("alexnet_v2", (195, 195))
    for arrays in (slims, own):
        product = networks.build("alexnet_v2", arrays=arrays, input_shape=(195, 195, 3))
        convolution = networks.build("alexnet_v2", arrays=arrays, input_shape=(None, None, 3))
        assert np.array_equal(product.get_layer("alexnet_v2.fc6.Dense").kernel, kernel)
        assert convolution.get_layer("alexnet_v2.fc6.Conv2D").kernel.shape == (5, 5, 256, 4096)
        assert close(run(convolution, x), run(product, x))


@pytest.mark.parametrize("net", ["inception_v3", "resnet_v2_50", "lenet"])
def test_a_file_without_its_head_serves_body_and_new_head(net):
    sides = WHOLE[net]
    whole = networks.build(net, input_shape=shape_of(net, sides))
    arrays = arrays_of(whole)
    head = networks.NETWORKS[net].head
    headless = {name: array for name, array in arrays.items() if not re.search(head, name)}
    assert len(headless) < len(arrays)
    tap = BODIES[net][1]
    x = picture(net, sides)
    body = run(networks.build(net, arrays=headless, include_top=False, input_shape=shape_of(net, sides)), x)
    for given in (arrays, headless):
        if given is headless and net == "lenet":
            continue  # its first dense layer is no part of a new head
        new = networks.build(net, arrays=given, classes=5, input_shape=shape_of(net, sides))
        assert close(run(keras.Model(new.input, new.taps[tap].tensor), x), body, 1e-6)
    with pytest.raises(errors.WeightsMismatchError) as caught:
        networks.build(net, arrays=headless, input_shape=shape_of(net, sides))
    assert set(caught.value.missing) == set(arrays) - set(headless)


@pytest.mark.parametrize(
    ("net", "window", "size"), [("inception_v2", "AvgPool_1a", 224), ("inception_v3", "AvgPool_1a", 299)]
)
def test_the_average_window_shrinks_to_small_maps_and_gives_way_on_large_ones(net, window, size):
    for side, pool in ((96, window), (size, window), (size + 64, "global_pool"), (None, "global_pool")):
        taps = networks.build(net, classes=2, input_shape=(side, side, 3)).taps
        assert {window, "global_pool"} & set(taps) == {pool}


@pytest.mark.parametrize("net", each(["inception_v3", "inception_v4", "inception_resnet_v2"]))
def test_the_auxiliary_head_is_there_where_its_window_fits(net):
    built = {side: networks.build(net, classes=4, input_shape=(side, side, 3)).taps for side in (267, 299, 331)}
    assert ["AuxLogits" in taps for taps in built.values()] == [False, True, True]
    taps = built[299]
    assert taps["AuxLogits"].tensor.shape == (None, 4) and taps["AuxLogits"].end_point
    assert "AuxLogits" not in networks.build(net, classes=4, aux_logits=False).taps


def test_a_file_without_the_auxiliary_head_serves_too():
    arrays = arrays_of(networks.build("inception_v3", card_classes=5, aux_logits=False))
    assert not any("AuxLogits" in name for name in arrays)
    model = networks.build("inception_v3", arrays=arrays, card_classes=5)
    assert "AuxLogits" not in model.taps


def test_variables_of_the_auxiliary_head_may_stay_unused():
    net, shape = "inception_v3", (75, 75, 3)
    arrays = arrays_of(networks.build(net, input_shape=shape, width=0.25))
    arrays["InceptionV3/AuxLogits/Conv2d_1b_1x1/weights"] = np.zeros((1, 1, 192, 32), np.float32)
    networks.build(net, arrays=arrays, input_shape=shape, width=0.25)
    networks.build(net, arrays=arrays, input_shape=shape, width=0.25, include_top=False)


@pytest.mark.parametrize(("net", "least"), [("inception_v2", 16), ("inception_v3", 16)])
def test_width_has_a_floor(net, least):
    taps = networks.build(net, width=0.01, include_top=False).taps
    assert {tap.tensor.shape[-1] for name, tap in taps.items() if "Conv2d" in name} == {least}


# -- larger maps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("net", each(["resnet_v1_50", "resnet_v2_50", "resnet_v1_50_beta"]))
def test_a_dilated_resnet_holds_the_published_map_at_every_nth_pixel(net, stride):
    """The weights are the same and so are the values, wherever the published network has one."""
    arrays = arrays_of(networks.build(net, input_shape=(65, 97, 3)))
    options = {"arrays": arrays, "include_top": False, "input_shape": (65, 97, 3)}
    x = picture(net, (65, 97))
    published = run(networks.build(net, **options), x)
    dense = run(networks.build(net, output_stride=stride, **options), x)
    assert dense.shape == (2, -(-65 // stride), -(-97 // stride), 2048)
    step = 32 // stride
    assert close(dense[:, ::step, ::step], published)
    assert np.array_equal(run(networks.build(net, output_stride=32, **options), x), published)


@pytest.mark.slow
def test_a_dilated_inception_resnet_holds_the_published_map_at_every_second_pixel():
    net, shape = "inception_resnet_v2", (123, 139, 3)
    options = {"arrays": arrays_of(networks.build(net, include_top=False, input_shape=shape)), "include_top": False}
    published = networks.build(net, input_shape=shape, **options)
    options["arrays"] = {k: v for k, v in options["arrays"].items() if not re.search("Mixed_7a|Repeat_2|Block8|7b", k)}
    dense = networks.build(net, input_shape=shape, output_stride=8, **options)
    x = picture(net, shape[:2], 1)
    expected = run(keras.Model(published.input, published.taps["PreAuxLogits"].tensor), x)
    assert list(dense.taps)[-1] == "PreAuxLogits"
    assert close(run(dense, x)[:, ::2, ::2], expected)


@pytest.mark.parametrize(
    ("net", "options"),
    [
        ("resnet_v1_50", {"output_stride": 5}),
        ("resnet_v2_50", {"output_stride": 64}),
        ("inception_resnet_v2", {"output_stride": 32}),
        ("inception_resnet_v2", {"output_stride": 8}),
        ("resnet_v1_50", {"version": 2}),
        ("vgg_16", {"layers": 19}),
        ("vgg_16", {"output_stride": 16}),
    ],
    ids=str,
)
def test_arguments_that_a_network_does_not_take_are_refused(net, options):
    with pytest.raises(errors.UsageError) as caught:
        networks.build(net, **options)
    assert next(iter(options)) in str(caught.value)


@pytest.mark.parametrize(
    ("net", "shape", "include_top"),
    [
        ("inception_v3", (74, 299, 3), True),
        ("inception_v4", (299, 74, 3), False),
        ("inception_resnet_v2", (74, 74, 3), True),
        ("vgg_16", (223, 224, 3), True),
        ("alexnet_v2", (194, 224, 3), True),
        ("alexnet_v2", (66, 224, 3), False),
        ("overfeat", (231, 230, 3), True),
        ("overfeat", (70, 231, 3), False),
        ("lenet", (28, 28, 3), True),
        ("lenet", (None, 28, 1), True),
        ("cifarnet", (32, None, 3), True),
        ("cifarnet", (32, 32, 1), False),
    ],
)
def test_inputs_that_a_network_cannot_take_are_refused(net, shape, include_top):
    with pytest.raises(errors.ArrayError) as caught:
        networks.build(net, input_shape=shape, include_top=include_top)
    assert "input_shape=" in str(caught.value) and str(shape) in str(caught.value)


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "decay", "epsilon", "gamma", "dropped"),
    [
        ("inception_v2", 0.9997, 1e-3, False, [0.2]),
        ("inception_v3", 0.9997, 1e-3, False, [0.2]),
        pytest.param("inception_v4", 0.9997, 1e-3, False, [0.2], marks=pytest.mark.slow),
        pytest.param("inception_resnet_v2", 0.9997, 1e-3, False, [0.2], marks=pytest.mark.slow),
        ("resnet_v1_50", 0.997, 1e-5, True, []),
        ("resnet_v2_50", 0.997, 1e-5, True, []),
        ("alexnet_v2", None, None, None, [0.5, 0.5]),
        ("lenet", None, None, None, [0.5]),
        ("cifarnet", None, None, None, [0.5]),
    ],
)
def test_training_is_slims(net, decay, epsilon, gamma, dropped):
    model = networks.build(net)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {(n.momentum, n.epsilon, n.scale) for n in norms} == ({(decay, epsilon, gamma)} if decay else set())
    found = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert found == pytest.approx(dropped)


# -- saving -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "net",
    each(["inception_v2", "inception_v4", "inception_resnet_v2", "resnet_v1_50", "resnet_v2_50", "lenet", "cifarnet"]),
)
def test_a_saved_model_gives_the_same_numbers_and_has_its_taps(net, tmp_path):
    sides = WHOLE[net]
    model = networks.build(net, input_shape=shape_of(net, sides))
    x = picture(net, sides)
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras", safe_mode=True)
    assert np.array_equal(run(loaded, x), run(model, x))
    assert all(type(layer).__module__.startswith("keras.") for layer in loaded.layers)
    found = find_taps(loaded)
    assert {name: tap.end_point for name, tap in found.items()} == {n: t.end_point for n, t in model.taps.items()}
    ends = [name for name, tap in model.taps.items() if tap.end_point]
    assert [name for name, tap in found.items() if tap.end_point] == ends
    mine = keras.Model(model.input, {name: model.taps[name].tensor for name in ends})(x)
    theirs = keras.Model(loaded.input, {name: found[name].tensor for name in ends})(x)
    assert all(np.array_equal(np.asarray(mine[name]), np.asarray(theirs[name])) for name in ends)


@pytest.mark.parametrize("net", each(net for net in BODIES if net not in ("resnet_v1_50", "lenet")))
def test_layer_names_are_legal_and_every_tap_is_found_again(net):
    model = networks.build(net, include_top=False)
    assert all(re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.-]*", layer.name) for layer in model.layers)
    assert set(model.taps) <= set(model.source_names.values())
    found = {name: tap.end_point for name, tap in find_taps(model).items()}
    assert found == {name: tap.end_point for name, tap in model.taps.items()}
    assert [n for n in found if found[n]] == [n for n, tap in model.taps.items() if tap.end_point]


# -- the vocabulary ---------------------------------------------------------------------------------------------------


def vocabulary(arrays: dict[str, np.ndarray] | None = None) -> SlimNetwork:
    return SlimNetwork(ArraySource(arrays), "")


@pytest.mark.parametrize(("radius", "alpha", "beta"), [(4, 0.001 / 9, 0.75), (2, 0.3, 0.5), (1, 2.0, 1.0)])
@pytest.mark.parametrize("channels", [1, 3, 16])
def test_local_response_normalization_is_tensorflows(radius, alpha, beta, channels):
    x = np.random.default_rng(1).normal(0, 3, (2, 5, 7, channels)).astype(np.float32)
    inputs = keras.Input((None, None, channels))
    y = vocabulary().local_response_normalization(inputs, radius, alpha, beta)
    expected = tf.nn.lrn(x, radius, bias=1.0, alpha=alpha, beta=beta).numpy()
    assert np.abs(run(keras.Model(inputs, y), x) - expected).max() <= 1e-5


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("side", [8, 9])
def test_strided_conv2d_same_pads_by_the_window_alone(kernel, side):
    x = np.random.default_rng(2).normal(0, 1, (1, side, side, 2)).astype(np.float32)
    inputs = keras.Input((side, side, 2))
    filters = np.random.default_rng(3).normal(0, 1, (kernel, kernel, 2, 4)).astype(np.float32)
    net = vocabulary({"conv/weights": filters, "conv/biases": np.zeros(4, np.float32)})
    y = net.conv2d_same(inputs, 4, kernel, "conv", stride=2, activate=False)
    dense = tf.nn.conv2d(x, filters, 1, "SAME").numpy()
    assert np.abs(run(keras.Model(inputs, y), x) - dense[:, ::2, ::2]).max() <= 1e-5


def test_a_separable_convolution_orders_its_channels_as_tensorflow():
    rng = np.random.default_rng(5)
    depthwise = rng.normal(0, 1, (3, 3, 2, 4)).astype(np.float32)
    pointwise = rng.normal(0, 1, (1, 1, 8, 5)).astype(np.float32)
    biases = rng.normal(0, 1, 5).astype(np.float32)
    arrays = {"c/depthwise_weights": depthwise, "c/pointwise_weights": pointwise, "c/biases": biases}
    x = rng.normal(0, 1, (2, 8, 9, 2)).astype(np.float32)
    inputs = keras.Input((None, None, 2))
    net = vocabulary(arrays)
    model = keras.Model(inputs, net.separable_conv2d(inputs, 5, 3, "c", multiplier=4, stride=2))
    y = tf.nn.depthwise_conv2d(x, depthwise, (1, 2, 2, 1), "SAME")
    expected = tf.nn.relu(tf.nn.conv2d(y, pointwise, 1, "SAME") + biases).numpy()
    assert np.abs(run(model, x) - expected).max() <= 1e-4
    for weight in model.weights:
        assert np.array_equal(np.asarray(weight), arrays[net.variable_names[weight.path]])
