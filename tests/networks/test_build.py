"""Building a network from arrays: options, weights copied once, names accounted for, and what is refused."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo import errors, networks
from modelzoo.checkpoints import open_checkpoint
from modelzoo.checkpoints.checkpoint import TensorInfo
from modelzoo.checkpoints.write_v1 import write_v1
from tests.networks.plain_inception import plain_inception_v1, random_variables

WIDTH, CLASSES, SHAPE = 0.125, 11, (64, 96, 3)
HEAD = "InceptionV1/Logits/Conv2d_0c_1x1"


def picture(seed: int = 0, count: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, *SHAPE)).astype(np.float32)


def plain(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Arrays, and the end points that plain operations compute from them for `picture()`."""
    variable, arrays = random_variables(seed)
    return arrays, plain_inception_v1(picture(), variable, CLASSES, WIDTH)


@pytest.fixture(scope="module")
def known():
    return plain(5)


@pytest.fixture
def arrays(known):
    return {name: array.copy() for name, array in known[0].items()}


@pytest.fixture(scope="module")
def expected(known):
    return known[1]


def build(arrays, **options) -> keras.Model:
    options = {"input_shape": SHAPE, "width": WIDTH, "card_classes": CLASSES, **options}
    return networks.build("inception_v1", arrays=arrays, **options)


def run(model, x=None, **options) -> np.ndarray:
    return np.asarray(model(picture() if x is None else x, **options))


def close(a, b) -> bool:
    return bool(np.abs(a - b).max() <= 3e-4 * np.std(b))


# -- options ----------------------------------------------------------------------------------------------------------


def test_the_output_is_logits(arrays, expected):
    assert close(run(build(arrays)), expected["Logits"])


def test_without_the_top_the_output_is_the_last_map(arrays, expected):
    model = build(arrays, include_top=False)
    assert close(run(model), expected["Mixed_5c"])
    assert "Logits" not in model.taps


def test_without_the_top_a_file_needs_no_head(arrays, expected):
    del arrays[f"{HEAD}/weights"], arrays[f"{HEAD}/biases"]
    assert close(run(build(arrays, include_top=False)), expected["Mixed_5c"])


@pytest.mark.parametrize(("pooling", "reduce"), [("avg", np.mean), ("max", np.max)])
def test_pooling_reduces_the_last_map(arrays, expected, pooling, reduce):
    found = run(build(arrays, include_top=False, pooling=pooling))
    assert close(found, reduce(expected["Mixed_5c"], axis=(1, 2)))


def test_a_new_head_is_untrained_and_the_body_exact(arrays, expected):
    model = build(arrays, classes=5)
    assert run(model).shape == (2, 5)
    body = keras.Model(model.input, model.taps["Mixed_5c"].tensor)
    assert close(run(body), expected["Mixed_5c"])
    head = model.get_layer("Logits.Conv2d_0c_1x1")
    assert np.all(np.asarray(head.bias) == 0)
    assert np.std(np.asarray(head.kernel)) > 0


def test_a_new_head_is_new_even_where_the_width_is_the_files(arrays):
    head = build(arrays, classes=CLASSES).get_layer("Logits.Conv2d_0c_1x1")
    assert not np.array_equal(np.asarray(head.kernel), arrays[f"{HEAD}/weights"])


def test_open_sides_take_any_size(arrays):
    model = build(arrays, input_shape=(None, None, 3))
    for side in (64, 97, 224):
        assert run(model, np.zeros((1, side, side + 16, 3), np.float32)).shape == (1, CLASSES)


def test_without_arrays_the_network_is_untrained():
    first, second = build(None), build(None)
    kernel = "Conv2d_1a_7x7.Conv2D"
    assert not np.array_equal(first.get_layer(kernel).kernel, second.get_layer(kernel).kernel)


def test_frozen_batch_norm_runs_in_inference_mode(arrays, expected):
    model = build(arrays, include_top=False)
    model.trainable = False
    before = [np.asarray(weight).copy() for weight in model.weights]
    assert close(run(model, training=True), expected["Mixed_5c"])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.weights, strict=True))
    assert model.trainable_weights == []


def test_unfrozen_batch_norm_learns_its_moments(arrays):
    model = build(arrays, include_top=False)
    mean = model.get_layer("Conv2d_1a_7x7.BatchNorm").moving_mean
    before = np.asarray(mean).copy()
    run(model, training=True)
    assert not np.array_equal(before, np.asarray(mean))


# -- training ---------------------------------------------------------------------------------------------------------


def test_gradients_reach_every_weight(arrays):
    model = build(arrays)
    assert len(model.trainable_weights) == 57 * 2 + 2
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(picture(), training=True)))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    dead = [w.path for w, g in zip(model.trainable_weights, gradients, strict=True) if g is None or not np.any(g)]
    assert dead == []


def test_a_training_step_changes_the_weights_and_never_the_arrays(arrays):
    before = {name: array.copy() for name, array in arrays.items()}
    model = build(arrays)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(picture(), training=True)))
    optimizer.apply_gradients(
        zip(tape.gradient(loss, [w.value for w in model.trainable_weights]), model.trainable_weights, strict=True)
    )
    assert all(np.array_equal(arrays[name], before[name]) for name in arrays)
    for weight in model.trainable_weights:
        assert not np.array_equal(np.asarray(weight), before[model.variable_names[weight.path]]), weight.path


# -- weights: copied once, never drawn --------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 4, 64])
def test_changing_an_array_afterwards_does_not_reach_the_model(expected, known, offset):
    """At every alignment: TensorFlow may share memory that is aligned as it likes, and must not here."""
    held = {}
    arrays = {}
    for name, array in known[0].items():
        memory = np.zeros(array.nbytes + 128 + offset, np.uint8)
        start = -memory.ctypes.data % 64 + offset
        arrays[name] = np.frombuffer(memory.data, np.float32, array.size, start).reshape(array.shape)
        arrays[name][...] = array
        held[name] = memory
    model = build(arrays)
    for memory in held.values():
        memory[:] = 255
    assert close(run(model), expected["Logits"])


def test_changing_the_file_afterwards_does_not_reach_the_model(arrays, expected, tmp_path):
    path = write_v1(tmp_path / "net.ckpt", arrays)
    with open_checkpoint(path) as checkpoint:
        model = build(checkpoint)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert close(run(model), expected["Logits"])


def test_no_random_number_is_drawn_for_a_weight(arrays, expected, monkeypatch):
    drawn = []

    def draw(*args, **kwargs):
        drawn.append(args)
        raise AssertionError("a random number was drawn")

    for name in ("uniform", "normal", "truncated_normal"):
        monkeypatch.setattr(tf.random, f"stateless_{name}", draw)
        monkeypatch.setattr(tf.random, name, draw)
    assert close(run(build(arrays)), expected["Logits"])
    assert drawn == []
    with pytest.raises(AssertionError, match="was drawn"):
        build(None)  # so the trap does catch


def test_the_initialisers_are_stock_again(arrays):
    text = json.dumps(build(arrays).get_config())
    assert "modelzoo" not in text
    assert '"class_name": "GlorotUniform"' in text
    for layer in build(arrays).layers:
        for attribute in ("kernel_initializer", "bias_initializer", "beta_initializer", "moving_mean_initializer"):
            assert type(getattr(layer, attribute, None)).__module__.split(".")[0] != "modelzoo"


def test_several_threads_build_at_once(expected):
    others = {seed: plain(seed) for seed in (21, 22, 23)}
    found: dict[int, np.ndarray] = {}

    def work(seed: int) -> None:
        found[seed] = run(build(others[seed][0]))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, (_, ends) in others.items():
        assert close(found[seed], ends["Logits"])


def test_variables_made_elsewhere_keep_their_names(arrays):
    build(arrays)
    assert tf.Variable(1.0, name="mine").name == "mine:0"
    paths = [weight.path for weight in build(arrays).weights]
    assert len(paths) == len(set(paths))


# -- names ------------------------------------------------------------------------------------------------------------


def test_every_weight_knows_its_name_in_the_checkpoint(arrays):
    model = build(arrays)
    names = {model.variable_names[w.path] for w in model.weights if w.path in model.variable_names}
    assert names == set(arrays)
    for weight in model.weights:
        if weight.path in model.variable_names:
            assert np.array_equal(np.asarray(weight), arrays[model.variable_names[weight.path]])


def test_layer_names_are_legal_and_lead_back_to_scopes(arrays):
    model = build(arrays)
    assert all(re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.-]*", layer.name) for layer in model.layers)
    assert model.source_names["Mixed_4e.Branch_1.Conv2d_0b_3x3"] == "Mixed_4e/Branch_1/Conv2d_0b_3x3"
    assert set(model.taps) - {"Predictions"} <= set(model.source_names.values())


def test_taps_are_values_after_the_activation(arrays, expected):
    model = build(arrays)
    branch = model.taps["Mixed_3b/Branch_0/Conv2d_0a_1x1"]
    assert not branch.end_point
    value = run(keras.Model(model.input, branch.tensor))
    assert close(value, expected["Mixed_3b"][..., : value.shape[-1]])


# -- what does not fit ------------------------------------------------------------------------------------------------


def test_every_name_that_does_not_fit_is_listed_at_once(arrays):
    missing = "InceptionV1/Mixed_3b/Branch_0/Conv2d_0a_1x1/BatchNorm/beta"
    wrong = "InceptionV1/Conv2d_2b_1x1/weights"
    del arrays[missing]
    arrays[wrong] = arrays[wrong][..., :3]
    arrays["InceptionV1/AuxLogits/weights"] = np.zeros(3, np.float32)
    with pytest.raises(errors.WeightsMismatchError) as caught:
        build(arrays)
    assert caught.value.missing == (missing,)
    assert caught.value.unexpected == ("InceptionV1/AuxLogits/weights",)
    assert len(caught.value.mismatched) == 1 and wrong in caught.value.mismatched[0]
    for name in (missing, wrong, "InceptionV1/AuxLogits/weights"):
        assert name in str(caught.value)


def test_another_width_is_a_mismatch_that_names_the_shapes(arrays):
    with pytest.raises(errors.WeightsMismatchError) as caught:
        build(arrays, card_classes=CLASSES + 1)
    assert [line.split(":")[0] for line in caught.value.mismatched] == [f"{HEAD}/weights", f"{HEAD}/biases"]
    assert str(CLASSES) in caught.value.mismatched[0]
    assert "classes=N" in str(caught.value)


class Claims(Mapping[str, np.ndarray]):
    """A file that claims shapes, and must not be asked for values of the wrong ones."""

    def __init__(self, arrays: dict[str, np.ndarray], claimed: dict[str, tuple[int, ...]]) -> None:
        self.arrays, self.claimed = arrays, claimed
        self.entries = {name: TensorInfo("float32", claimed.get(name, a.shape)) for name, a in arrays.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self.claimed:
            raise AssertionError(f"{name} was read though its shape cannot fit")
        return self.arrays[name]

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def test_shapes_are_compared_before_a_value_is_read(arrays):
    with pytest.raises(errors.WeightsMismatchError) as caught:
        build(Claims(arrays, {"InceptionV1/Conv2d_1a_7x7/weights": (1 << 20, 1 << 20, 1 << 20)}))
    assert "1048576" in caught.value.mismatched[0]


def test_what_training_leaves_behind_is_passed_over(arrays, expected):
    arrays["global_step"] = np.array(9, np.int64)
    arrays["InceptionV1/Conv2d_2b_1x1/weights/RMSProp_1"] = arrays["InceptionV1/Conv2d_2b_1x1/weights"] * 9
    assert close(run(build(arrays)), expected["Logits"])


def test_moving_averages_are_preferred(arrays, expected):
    name = "InceptionV1/Conv2d_2b_1x1/weights"
    arrays[f"{name}/ExponentialMovingAverage"] = arrays[name].copy()
    arrays[name] = arrays[name] * 9
    assert close(run(build(arrays)), expected["Logits"])


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(errors.UnknownNetworkError) as caught:
        networks.build("inception_v11")
    assert caught.value.suggestions[0] == "inception_v1"


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "mean"},
        {"pooling": "avg"},
        {"classes": 0},
        {"classes": True},
        {"classes": 2.5},
        {"classes": 3, "include_top": False},
        {"depth": 2},
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(options):
    with pytest.raises(errors.UsageError):
        networks.build("inception_v1", **options)


@pytest.mark.parametrize("shape", [(224, 224), (224, 224, 1), (31, 224, 3), (3, 224, 224), "224", 224, (224.5, 224, 3)])
def test_input_shapes_that_cannot_be_are_refused(shape):
    with pytest.raises(errors.ArrayError) as caught:
        networks.build("inception_v1", input_shape=shape)
    assert "input_shape=" in str(caught.value)
