"""The network as a function: equal to the model it is made of, at any size, with any pooling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.errors import ImageError, UnknownTapError, UsageError
from modelzoo.preprocess import FAMILIES, Preprocess
from modelzoo.style.network import TapNetwork, open_network
from modelzoo.style.pixels import network_input
from tests.style.networks import picture, small

TAPS = ("conv1", "conv2", "conv3")


def maps_of(model: Any, x: Any) -> dict[str, np.ndarray]:
    whole = keras.Model(model.input, {tap: model.get_layer(tap).output for tap in TAPS})
    return {tap: np.asarray(value) for tap, value in whole(x).items()}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_pixels_become_what_preprocessing_makes_of_them(family: str) -> None:
    preprocess = Preprocess(family, geometry="keep")
    pixels = picture()
    ours = np.asarray(network_input(preprocess)(tf.constant(pixels[None], tf.float32)))
    theirs = preprocess(pixels)
    # Grey is rounded to whole levels there and not here.
    rounding = 0.51 / 128 if preprocess.colour == "GREY" else 0
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5 * np.abs(theirs).max() + rounding)


def test_a_mean_picture_counts_as_its_mean_colour() -> None:
    mean = np.random.default_rng(0).uniform(90, 130, (32, 40, 3)).astype(np.float32)
    preprocess = Preprocess("caffe", geometry="keep", mean_file="mean.binaryproto").with_mean_image(mean)
    ours = np.asarray(network_input(preprocess)(tf.constant(picture()[None], tf.float32)))
    np.testing.assert_allclose(ours[0], picture()[..., ::-1] - mean.mean(axis=(0, 1)), rtol=1e-5, atol=1e-3)
    with pytest.raises(UsageError, match="mean picture"):
        network_input(Preprocess("caffe", mean_file="mean.binaryproto"))


def test_maps_are_those_of_the_model() -> None:
    model = small()
    network = TapNetwork(model, TAPS, preprocess=model.preprocess)
    pixels = picture(32, 32)[None].astype(np.float32)
    theirs = maps_of(model, pixels / 127.5 - 1)
    for tap, value in network(tf.constant(pixels)).items():
        np.testing.assert_allclose(value, theirs[tap], rtol=1e-5, atol=1e-5)


def test_any_size_goes_through_a_network_of_a_fixed_one() -> None:
    fixed, free = small(size=32), small(size=None)
    pixels = picture(45, 51)[None].astype(np.float32)
    network = TapNetwork(fixed, TAPS, preprocess=fixed.preprocess)
    theirs = maps_of(free, pixels / 127.5 - 1)
    found = network(tf.constant(pixels))
    sizes = network.map_sizes(45, 51)
    for tap in TAPS:
        np.testing.assert_allclose(found[tap], theirs[tap], rtol=1e-5, atol=1e-5)
        assert sizes[tap] == tuple(found[tap].shape[1:3])


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("own", ["avg", "max"])
def test_pooling_is_exchanged(own: str, pooling: str) -> None:
    model = small(pooling=own)
    wanted = maps_of(small(pooling=pooling), picture(32, 32)[None] / np.float32(127.5) - 1)
    network = TapNetwork(model, TAPS, preprocess=model.preprocess, pooling=pooling)
    found = network(tf.constant(picture(32, 32)[None], tf.float32))
    for tap in TAPS:
        np.testing.assert_allclose(found[tap], wanted[tap], rtol=1e-5, atol=1e-5)


def test_the_users_model_stays_as_it_is() -> None:
    model = small()
    model.get_layer("conv2").trainable = False
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    weights = [weight.numpy() for weight in model.weights]
    network = TapNetwork(model, TAPS, preprocess=model.preprocess, pooling="avg")
    tf.function(network.__call__)(tf.constant(picture()[None], tf.float32))
    network.map_sizes(40, 60)
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    assert [layer.name for layer in model.layers if not layer.trainable] == ["conv2"]
    for before, after in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_batch_norm_and_dropout_do_not_train() -> None:
    given = keras.Input((16, 16, 3))
    x = keras.layers.BatchNormalization(name="norm")(given)
    x = keras.layers.Dropout(0.9, name="drop")(x)
    model = keras.Model(given, x)
    network = TapNetwork(model, ["drop"], preprocess=Preprocess("identity", (16, 16)))
    pixels = tf.constant(picture(16, 16)[None], tf.float32)
    (found,) = network(pixels).values()
    np.testing.assert_allclose(found, np.asarray(pixels) / 1.001**0.5, rtol=1e-5)


def test_a_grey_network_sees_luma() -> None:
    model = small(channels=1, colour="GREY")
    network = TapNetwork(model, TAPS, preprocess=model.preprocess)
    pixels = picture(32, 32)
    grey = pixels @ np.array([19595, 38470, 7471]) / 65536
    theirs = maps_of(model, (grey[None, ..., None] / 127.5 - 1).astype(np.float32))
    for tap, value in network(tf.constant(pixels[None], tf.float32)).items():
        np.testing.assert_allclose(value, theirs[tap], rtol=1e-4, atol=1e-4)


def test_digests_tell_networks_apart() -> None:
    def digest(model: Any, **options: Any) -> str:
        return TapNetwork(model, TAPS, preprocess=model.preprocess, **options).digest()

    changed = small()
    kernel = changed.get_layer("conv3").kernel
    kernel.assign(kernel + 1e-3)
    assert digest(small()) == digest(small())
    assert len({digest(small()), digest(small(), pooling="avg"), digest(changed), digest(small(colour="BGR"))}) == 4


def test_what_does_not_fit_is_refused() -> None:
    model = small()

    def make(taps: Any, **options: Any) -> TapNetwork:
        return TapNetwork(model, taps, **{"preprocess": model.preprocess, **options})

    with pytest.raises(UnknownTapError) as error:
        make(["conv9"])
    assert "conv" in str(error.value.suggestions)
    with pytest.raises(UsageError, match="no map"):
        make(["vector"])
    with pytest.raises(UsageError, match="No tap"):
        make([])
    with pytest.raises(UsageError, match="Pooling"):
        make(TAPS, pooling="min")
    with pytest.raises(UsageError, match="no pooling layer"):
        make(["conv1"], pooling="avg")
    with pytest.raises(UsageError, match="prepared"):
        make(TAPS, preprocess=None)
    with pytest.raises(UsageError, match="channels"):
        make(TAPS, preprocess=Preprocess("lenet"))
    for height, width in ((3, 200), (200, 3), (1, 1)):
        with pytest.raises(ImageError, match="conv3") as small_picture:
            make(TAPS).map_sizes(height, width)
        assert f"{width} x {height}" in str(small_picture.value)


def test_what_is_no_backbone_is_refused() -> None:
    with pytest.raises(UsageError, match="backbone"):
        open_network(3)
    with pytest.raises(UsageError, match="go with a name"):
        open_network(small(), {"weights": None})
    channels_first = keras.Model(inputs := keras.Input((3, 16, 16)), keras.layers.ReLU(name="relu")(inputs))
    with pytest.raises(UsageError, match="channels last"):
        TapNetwork(channels_first, ["relu"], preprocess=Preprocess("identity"))


def test_models_inside_the_network_are_walked_through_too() -> None:
    inner = small()
    maps = keras.Model(inner.input, inner.get_layer("conv3").output, name="inner")
    given = keras.Input((32, 32, 3))
    outer = keras.Model(given, keras.layers.ReLU(name="end")(maps(given)))
    pixels = tf.constant(picture(40, 44)[None], tf.float32)
    for pooling in (None, "avg"):
        network = TapNetwork(outer, ["end"], preprocess=inner.preprocess, pooling=pooling)
        plain = TapNetwork(inner, ["conv3"], preprocess=inner.preprocess, pooling=pooling)
        assert network.map_sizes(40, 44) == {"end": (10, 11)}
        np.testing.assert_allclose(network(pixels)["end"], plain(pixels)["conv3"], rtol=1e-5, atol=1e-6)


def test_a_network_that_is_tied_to_its_size_says_so() -> None:
    given = keras.Input((32, 32, 3))
    x = keras.layers.Reshape((8, 8, 48), name="patches")(given)
    network = TapNetwork(keras.Model(given, x), ["patches"], preprocess=Preprocess("identity", (32, 32)))
    assert network.map_sizes(32, 32) == {"patches": (8, 8)}
    with pytest.raises(UsageError, match="cannot take"):
        network.map_sizes(48, 40)


def test_a_graph_of_tensorflow_is_a_network_too(tmp_path: Path) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    import modelzoo as mz

    model = small(size=None)
    run = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((None, None, None, 3), name="picture"))
    frozen = convert_variables_to_constants_v2(run).graph.as_graph_def()
    (tmp_path / "small.pb").write_bytes(frozen.SerializeToString())
    graph = mz.convert(tmp_path / "small.pb", to="keras")
    relus = [name for name in graph.taps if name.endswith("Relu")]
    assert len(relus) == 3
    network = TapNetwork(graph, relus, preprocess=model.preprocess)
    assert [network.taps[name].stride for name in relus] == [1, 2, 4]
    pixels = tf.constant(picture(40, 44)[None], tf.float32)
    theirs = TapNetwork(model, TAPS, preprocess=model.preprocess)(pixels)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        found = network(pixels)
        total = tf.reduce_sum(found[relus[2]])
    for name, tap in zip(relus, TAPS, strict=True):
        np.testing.assert_allclose(found[name], theirs[tap], rtol=1e-4, atol=1e-5)
        assert network.map_sizes(40, 44)[name] == tuple(theirs[tap].shape[1:3])
    assert np.abs(tape.gradient(total, pixels)).max() > 0
    assert not network.has_pooling


def test_maps_of_half_precision_come_in_single() -> None:
    model = small(dtype="mixed_bfloat16")
    network = TapNetwork(model, TAPS, preprocess=model.preprocess)
    found = network(tf.constant(picture()[None], tf.float32))
    theirs = TapNetwork(small(), TAPS, preprocess=model.preprocess)(tf.constant(picture()[None], tf.float32))
    for tap in TAPS:
        assert found[tap].dtype == tf.float32
        np.testing.assert_allclose(found[tap], theirs[tap], atol=0.03 * np.abs(theirs[tap]).max())
