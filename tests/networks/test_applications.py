"""keras.applications by our readers: equal to Keras' own models to the bit, whatever a file calls its layers."""

from __future__ import annotations

import threading
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import modelzoo as mz
from modelzoo import errors
from modelzoo.attributes import card_labels, card_preprocess
from modelzoo.checkpoints import open_checkpoint
from modelzoo.networks.applications import APPLICATIONS, build_application, check_application
from modelzoo.networks.blank import blank_weights
from modelzoo.networks.model_weights import weights_of_layer

CARDS = [name for name in mz.list_models() if mz.info(name).build.network == "keras_applications"]
SMALL = {  # application -> side of the input
    "MobileNet": 64,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "EfficientNetB0": 64,
    "NASNetMobile": 64,
    "DenseNet121": 64,
    "ResNet50": 64,
    "InceptionV3": 96,
    "Xception": 96,
    "ConvNeXtTiny": 64,
}
HEAVY = ("Xception", "InceptionV3", "ConvNeXtTiny")
LIGHT = ("MobileNet", "MobileNetV2", "NASNetMobile", "InceptionV3")


def write_legacy(model: keras.Model, path: Path, call=lambda number, layer: layer.name, seed: int = 0) -> Path:
    """Random weights for `model` as Keras 2 writes them: a group a layer, its arrays by TensorFlow's names."""
    generator = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        names = []
        for number, layer in enumerate(model.layers):
            name = call(number, layer)
            names.append(name.encode())
            group = file.create_group(name)
            weights = []
            for weight in weights_of_layer(layer):
                inner = "/".join(weight.path.split("/")[1:-1]) + "/" if len(weight.path.split("/")) > 2 else ""
                weights.append(f"{name}/{inner}{weight.name}_{len(weights)}:0".encode() if inner else
                               f"{name}/{weight.name}:0".encode())  # fmt: skip
                value = generator.uniform(0.5, 1.5, weight.shape) if "variance" in weight.name else (
                    generator.normal(0, 0.05, weight.shape)
                )  # fmt: skip
                group.create_dataset(weights[-1].decode(), data=value.astype(weight.dtype))
            group.attrs["weight_names"] = weights
        parts = np.array_split(np.asarray(names), 1 + len(names) * max(map(len, names)) // 60000)
        for number, part in enumerate(parts):  # an attribute holds 64 kB
            file.attrs["layer_names" if len(parts) == 1 else f"layer_names{number}"] = part
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.2.4"
    return path


def theirs(application: str, side: int = 64, **options) -> keras.Model:
    return getattr(keras.applications, application)(input_shape=(side, side, 3), **{"weights": None, **options})


def ours(application: str, path: Path, side: int = 64, **options) -> keras.Model:
    with open_checkpoint(path) as arrays:
        return build_application(application, arrays=arrays, input_shape=(side, side, 3), **options)


def picture(side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (2, side, side, 3)).astype(np.float32)


def out(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(model(x, training=False))


def mostly_light(names, light) -> list:
    return [pytest.param(name, marks=() if name in light else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("application", mostly_light(SMALL, set(SMALL) - set(HEAVY)))
def test_equal_to_keras_to_the_bit(application, tmp_path):
    side = SMALL[application]
    path = write_legacy(theirs(application, side), tmp_path / "w.h5", lambda n, layer: f"layer_{n}_of_theirs")
    first = theirs(application, side, weights=str(path))
    second = ours(application, path, side)
    x = picture(side)
    assert out(second, x).shape == (2, 1000)
    assert np.array_equal(out(first, x), out(second, x))
    # Layer for layer, whatever they are numbered by.
    for one, other in zip(first.layers, second.layers, strict=True):
        assert type(one) is type(other)
        for a, b in zip(one.weights, other.weights, strict=True):
            assert np.array_equal(np.asarray(a), np.asarray(b)), b.path
    assert len(second.variable_names) == len(second.weights)


@pytest.mark.parametrize(
    "application",
    mostly_light(["MobileNet", "MobileNetV3Small", "VGG16", "ConvNeXtTiny"], ["MobileNet", "MobileNetV3Small"]),
)
@pytest.mark.parametrize("file_has_top", [True, False])
def test_without_the_classifier(application, file_has_top, tmp_path):
    options = {"include_top": False, "pooling": "max"}
    path = write_legacy(theirs(application, include_top=file_has_top), tmp_path / "w.h5")
    model = ours(application, path, **options)
    reference = theirs(application, **options)
    for layer, other in zip(model.layers, reference.layers, strict=True):
        own = weights_of_layer(layer)
        with h5py.File(path) as file:
            name = layer.name if layer.name in file else None
            if not own or name is None:
                continue
            stored = [file[name][one] for one in file[name].attrs["weight_names"]]
            for a, b, c in zip(own, stored, weights_of_layer(other), strict=True):
                assert np.array_equal(np.asarray(a), b[()])
                c.assign(b[()])
    if application != "ConvNeXtTiny":  # whose last normalisation has another name without the classifier
        assert np.array_equal(out(model, picture(64)), out(reference, picture(64)))
    assert out(model, picture(64)).ndim == 2


@pytest.mark.parametrize("application", ["MobileNet", "MobileNetV3Small", "MobileNetV2"])
def test_a_new_classifier_is_drawn_and_the_body_exact(application, tmp_path):
    path = write_legacy(theirs(application), tmp_path / "w.h5")
    model, whole = ours(application, path, classes=7), ours(application, path)
    assert out(model, picture(64)).shape == (2, 7)
    *body, head = [layer for layer in model.layers if layer.weights]
    *_, old = [layer for layer in whole.layers if layer.weights]
    assert old.weights[0].shape[-1] == 1000 and head.weights[0].shape[-1] == 7
    assert np.std(np.asarray(head.weights[0])) > 0 and not np.any(np.asarray(head.weights[1]))
    for layer in body:
        for a, b in zip(layer.weights, whole.get_layer(layer.name).weights, strict=True):
            assert np.array_equal(np.asarray(a), np.asarray(b))


def test_files_of_keras_3_and_plain_arrays(tmp_path):
    source = ours("MobileNetV2", write_legacy(theirs("MobileNetV2"), tmp_path / "w.h5"))
    source.save_weights(tmp_path / "w.weights.h5")
    expected = out(source, picture(64))
    assert np.array_equal(out(ours("MobileNetV2", tmp_path / "w.weights.h5"), picture(64)), expected)
    body = ours("MobileNetV2", tmp_path / "w.weights.h5", include_top=False)
    assert np.array_equal(out(body, picture(64)), out(keras.Model(source.input, source.taps["out_relu"].tensor),
                                                      picture(64)))  # fmt: skip
    arrays = {weight.path: np.asarray(weight) for weight in source.weights}
    model = build_application("MobileNetV2", arrays=arrays, input_shape=(64, 64, 3))
    assert np.array_equal(out(model, picture(64)), expected)


@pytest.mark.parametrize("application", mostly_light(["MobileNetV2", "ResNet50", "EfficientNetB0"], ["MobileNetV2"]))
def test_open_sides(application, tmp_path):
    path = write_legacy(theirs(application), tmp_path / "w.h5")
    with open_checkpoint(path) as arrays:
        model = build_application(application, arrays=arrays, input_shape=(None, None, 3))
    assert np.array_equal(out(model, picture(64)), out(ours(application, path), picture(64)))
    assert out(model, picture(96)).shape == (2, 1000)


# -- what does not fit ------------------------------------------------------------------------------------------------


def test_another_networks_file_is_refused_with_names(tmp_path):
    path = write_legacy(theirs("MobileNet"), tmp_path / "w.h5")
    with pytest.raises(errors.WeightsMismatchError) as caught:
        ours("MobileNetV2", path)
    assert "block_1_expand/kernel" in caught.value.missing
    assert any("conv_pw_1/" in name for name in caught.value.unexpected)


def test_another_number_of_classes_is_refused_with_shapes(tmp_path):
    path = write_legacy(theirs("MobileNetV2", classes=5), tmp_path / "w.h5")
    with pytest.raises(errors.WeightsMismatchError) as caught:
        ours("MobileNetV2", path)
    assert caught.value.mismatched == (
        "predictions/kernel: file (1280, 5), network (1280, 1000)",
        "predictions/bias: file (5,), network (1000,)",
    )
    assert "classes=N" in str(caught.value)
    assert out(ours("MobileNetV2", path, card_classes=5), picture(64)).shape == (2, 5)
    assert out(ours("MobileNetV2", path, classes=3), picture(64)).shape == (2, 3)


def test_a_file_without_classifier_does_not_make_a_network_with_one(tmp_path):
    path = write_legacy(theirs("MobileNetV2", include_top=False), tmp_path / "w.h5")
    with pytest.raises(errors.WeightsMismatchError) as caught:
        ours("MobileNetV2", path)
    assert caught.value.missing == ("predictions/kernel", "predictions/bias")


def test_a_layer_that_lacks_a_weight(tmp_path):
    path = write_legacy(theirs("MobileNet"), tmp_path / "w.h5")
    with h5py.File(path, "r+") as file:
        file["conv1"].attrs["weight_names"] = np.asarray([], "S1")
        file["conv1_bn"].attrs["weight_names"] = file["conv1_bn"].attrs["weight_names"][:3]
    with pytest.raises(errors.WeightsMismatchError) as caught:
        ours("MobileNet", path)
    assert "conv1/kernel" in caught.value.missing


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "mean"}, {"pooling": "avg"}, {"classes": 0}, {"classes": True}, {"depth": 2},
        {"classes": 3, "include_top": False}, {"weights": "imagenet"},
    ],
    ids=str,
)  # fmt: skip
def test_arguments_that_make_no_sense_are_refused(options):
    with pytest.raises(errors.UsageError):
        check_application("MobileNet", **options)


@pytest.mark.parametrize(
    ("application", "shape"),
    [
        ("ResNet50", (224, 224)), ("ResNet50", (31, 224, 3)), ("ResNet50", "224"), ("ResNet50", (224, 224, 1)),
        ("Xception", (70, 71, 3)), ("InceptionV3", (74, 75, 3)), ("VGG16", (None, None, 3)),
    ],
)  # fmt: skip
def test_input_shapes_that_cannot_be_are_refused(application, shape):
    with pytest.raises(errors.ArrayError):
        build_application(application, input_shape=shape)


def test_an_unknown_application_names_the_nearest():
    with pytest.raises(errors.UnknownNetworkError) as caught:
        build_application("ResNet51")
    assert "ResNet50" in caught.value.suggestions


# -- no number is drawn, and nothing stays changed ---------------------------------------------------------------------


@pytest.fixture
def drawing(monkeypatch):
    """Counts the random tensors that TensorFlow is asked for."""
    drawn = []
    for name in ("uniform", "normal", "truncated_normal"):
        real = getattr(tf.random, f"stateless_{name}")

        def draw(*args, real=real, **kwargs):
            drawn.append(real.__name__)
            return real(*args, **kwargs)

        monkeypatch.setattr(tf.random, f"stateless_{name}", draw)
    return drawn


def test_no_random_number_is_drawn_for_a_weight(tmp_path, drawing):
    path = write_legacy(theirs("MobileNet"), tmp_path / "w.h5")
    drawing.clear()
    ours("MobileNet", path)
    assert drawing == []
    ours("MobileNet", path, classes=3)
    assert len(drawing) == 1  # the new kernel
    build_application("MobileNet", input_shape=(64, 64, 3))
    assert len(drawing) > 20  # so the trap does catch


def test_initialisers_are_as_before_even_after_a_failure():
    before = keras.initializers.VarianceScaling.__call__
    with pytest.raises(RuntimeError), blank_weights():
        assert keras.initializers.VarianceScaling.__call__ is not before
        assert not np.any(np.asarray(keras.initializers.GlorotUniform()((3, 4))))
        assert not np.any(np.asarray(keras.initializers.Ones()((3, 4))))
        with blank_weights():
            pass
        assert not np.any(np.asarray(keras.initializers.HeNormal()((3, 4))))
        raise RuntimeError
    assert keras.initializers.VarianceScaling.__call__ is before
    assert np.any(np.asarray(keras.initializers.GlorotUniform()((3, 4))))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_blank_weights_are_zeros_of_every_type_and_never_shared(dtype):
    with blank_weights():
        first, second = (keras.Variable(keras.initializers.HeNormal(), shape=(3, 5), dtype=dtype) for _ in range(2))
    assert first.dtype == dtype and not np.any(np.asarray(first))
    first.value.assign_add(tf.ones((3, 5), dtype))
    assert np.all(np.asarray(first) == 1) and not np.any(np.asarray(second))


def test_other_threads_draw_as_ever():
    found = {}

    def work() -> None:
        found["drawn"] = np.asarray(keras.layers.Dense(3).compute_output_shape((1, 2))), np.asarray(
            keras.initializers.RandomNormal()((30, 4))
        )  # fmt: skip

    with blank_weights():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not np.any(np.asarray(keras.initializers.RandomNormal()((30, 4))))
    assert np.all(found["drawn"][1])


def test_a_weight_can_be_trained_and_the_file_stays(tmp_path):
    path = write_legacy(theirs("MobileNet"), tmp_path / "w.h5")
    before = path.read_bytes()
    model = ours("MobileNet", path)
    held = [np.array(np.asarray(weight)) for weight in model.trainable_weights]
    gradients = [tf.ones_like(weight.value) for weight in model.trainable_weights]
    keras.optimizers.SGD(0.1, momentum=0.9).apply_gradients(zip(gradients, model.trainable_weights, strict=True))
    for old, weight in zip(held, model.trainable_weights, strict=True):
        assert np.allclose(np.asarray(weight), old - 0.1, atol=1e-6), weight.path
    assert path.read_bytes() == before
    assert np.array_equal(np.asarray(ours("MobileNet", path).trainable_weights[0]), held[0])


def test_several_threads_load_at_once(tmp_path):
    kinds = {"MobileNet": 1, "MobileNetV2": 2, "MobileNetV3Small": 3}
    paths = {a: write_legacy(theirs(a), tmp_path / f"{a}.h5", seed=seed) for a, seed in kinds.items()}
    expected = {a: out(ours(a, path), picture(64)) for a, path in paths.items()}
    found: dict[tuple[str, int], np.ndarray] = {}
    names: dict[tuple[str, int], list[str]] = {}

    def work(application: str, number: int) -> None:
        model = ours(application, paths[application])
        names[application, number] = list(model.taps)
        found[application, number] = out(model, picture(64))

    threads = [threading.Thread(target=work, args=(a, number)) for a in kinds for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for (application, _), value in found.items():
        assert np.array_equal(value, expected[application])
    assert all(names[a, 0] == names[a, 1] for a in kinds)
    assert np.any(np.asarray(keras.initializers.GlorotUniform()((3, 4))))


# -- taps -------------------------------------------------------------------------------------------------------------


STAGES = {
    "ResNet50": ["conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out",
                 "predictions"],
    "VGG16": ["block1_pool", "block2_pool", "block3_pool", "block4_pool", "block5_pool", "fc1", "fc2", "predictions"],
    "DenseNet121": ["conv1_relu", "conv2_block6_concat", "conv3_block12_concat", "conv4_block24_concat",
                    "conv5_block16_concat", "relu", "predictions"],
    "InceptionV3": [*(f"mixed{n}" for n in range(11)), "predictions"],
    "EfficientNetB0": ["stem_activation", "block1a_project_bn", "block2b_add", "block3b_add", "block4c_add",
                       "block5c_add", "block6d_add", "block7a_project_bn", "top_activation", "predictions"],
}  # fmt: skip


@pytest.mark.parametrize("application", STAGES)
def test_end_points_are_the_papers_stages(application):
    keras.layers.Conv2D(1, 1)  # an automatic name is taken, and changes nothing
    with blank_weights():
        model = build_application(application, name="mine")
    assert model.name == "mine"
    assert [name for name, tap in model.taps.items() if tap.end_point] == STAGES[application]
    assert all(tap.name == name == model.source_names[name] for name, tap in model.taps.items())
    if application == "InceptionV3":
        assert "conv2d" in model.taps and "conv2d_93" in model.taps


def test_the_tap_of_a_convnext_stage_is_the_sum():
    with blank_weights():
        model = build_application("ConvNeXtTiny", input_shape=(64, 64, 3))
    ends = [tap.tensor.shape for tap in model.taps.values() if tap.end_point]
    assert ends == [(None, 16, 16, 96), (None, 16, 16, 96), (None, 8, 8, 192), (None, 4, 4, 384), (None, 2, 2, 768),
                    (None, 1000)]  # fmt: skip
    sums = [name for name, tap in model.taps.items() if tap.end_point][1:5]
    assert all(model.taps[name].tensor is model.get_layer(name).output if name in [x.name for x in model.layers] else
               name.startswith("add") for name in sums)  # fmt: skip


# -- the cards --------------------------------------------------------------------------------------------------------


def test_every_card_names_an_application_that_is_known():
    assert len(CARDS) >= 40
    for name in CARDS:
        card = mz.info(name)
        check_application(**card.build.args, input_shape=tuple(card.inputs[0].shape))
        if list(card.build.args) == ["application"]:
            assert tuple(card.inputs[0].shape) == (*(APPLICATIONS[card.build.args["application"]].size,) * 2, 3)
    assert {mz.info(name).build.args["application"] for name in CARDS} == set(APPLICATIONS)


VARIANTS = {str(mz.info(name).build.args): mz.info(name) for name in CARDS if len(mz.info(name).build.args) > 1}


@pytest.mark.parametrize(
    "variant", [pytest.param(one, marks=() if "0.25" in one else pytest.mark.slow) for one in VARIANTS]
)
def test_variants_build_as_their_cards_say(variant):
    card = VARIANTS[variant]
    with blank_weights():
        model = build_application(**card.build.args, input_shape=tuple(card.inputs[0].shape))
    assert model.output.shape == (None, 1000)
    assert sum(tap.end_point for tap in model.taps.values()) > 5


MODULES = {
    "ConvNeXt": "convnext", "DenseNet": "densenet", "EfficientNetV2": "efficientnet_v2",
    "EfficientNetB": "efficientnet", "InceptionResNetV2": "inception_resnet_v2", "InceptionV3": "inception_v3",
    "MobileNetV3": "mobilenet_v3", "MobileNetV2": "mobilenet_v2", "MobileNet": "mobilenet", "NASNet": "nasnet",
    "ResNet50V2": "resnet_v2", "ResNet101V2": "resnet_v2", "ResNet152V2": "resnet_v2", "ResNet": "resnet",
    "VGG16": "vgg16", "VGG19": "vgg19", "Xception": "xception",
}  # fmt: skip


@pytest.mark.parametrize("name", CARDS)
def test_preprocessing_is_keras_own(name):
    card = mz.info(name)
    application = card.build.args["application"]
    module = next(module for prefix, module in MODULES.items() if application.startswith(prefix))
    preprocess = card_preprocess(card)
    height, width = card.inputs[0].shape[:2]
    pixels = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    expected = getattr(keras.applications, module).preprocess_input(pixels.astype(np.float32))
    assert np.array_equal(np.asarray(preprocess(pixels)), np.asarray(expected))


@pytest.mark.parametrize("name", CARDS)
def test_labels_have_no_background(name):
    labels = card_labels(mz.info(name))
    assert len(labels.names) == 1000
    assert labels.names[0].startswith("tench") and labels.names[999].startswith("toilet tissue")
    scores = np.zeros((1, 1000), np.float32)
    scores[0, 386] = 1
    assert labels.decode(scores, kind="probabilities")[0][0].label.startswith("African elephant")


@pytest.mark.parametrize("application", mostly_light(APPLICATIONS, LIGHT))
def test_every_application_builds_with_its_end_points(application):
    with blank_weights():
        model = build_application(application)
    assert model.output.shape == (None, 1000)
    assert model.input.shape[1] == APPLICATIONS[application].size
    assert 5 <= sum(tap.end_point for tap in model.taps.values()) < 30
    assert {layer.name for layer in model.layers} - set(model.taps) == {model.layers[0].name}
