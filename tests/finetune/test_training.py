"""Training: resumed = uninterrupted, cached features = the whole model, precision, strategies, hooks."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.errors import CheckpointFormatError, UsageError
from modelzoo.finetune import Backbone, ClassFolder, FineTuner, GradualUnfreezing, Head, Hooks
from tests.finetune.networks import picture_folder, small_network


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return ClassFolder.read(picture_folder(tmp_path_factory.mktemp("pictures")))


def tuner(seed=3, head=None, **options):
    backbone = Backbone(small_network(), freeze=options.pop("freeze", True))
    return FineTuner(backbone, head or Head("mlp", 3, {"hidden": [6], "dropout": 0.3}), seed=seed, **options)


def state(one):
    return [np.asarray(v) for v in [*one.model.variables, *one.optimizer.variables]]


class Stop(Exception):
    pass


def interrupt(after_epochs, steps):
    """A hook that dies in the middle of an epoch."""
    seen = {"epoch": -1}

    def before(epoch, _):
        seen["epoch"] = epoch

    def after(step, _):
        if seen["epoch"] == after_epochs and step == steps:
            raise Stop

    return Hooks(before_epoch=before, after_step=after)


SCHEDULE = {1: "one", 3: False}


@pytest.fixture(scope="module")
def uninterrupted(pictures):
    whole = tuner()
    history = whole.fit(*pictures.split(0.25, 0), epochs=4, batch_size=9, schedule=SCHEDULE)
    return history, state(whole)


@pytest.mark.parametrize("stop", [0, 2, 3])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(pictures, uninterrupted, tmp_path, stop):
    options = {"epochs": 4, "batch_size": 9, "schedule": SCHEDULE, "folder": tmp_path}
    train, held = pictures.split(0.25, 0)
    with pytest.raises(Stop):
        tuner().fit(train, held, callbacks=[interrupt(stop, 1)], **options)
    second = tuner()
    history, wanted = uninterrupted
    assert second.fit(train, held, **options) == history
    assert {len(values) for values in history.values()} == {4}
    for a, b in zip(wanted, state(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_setting_does_not_go_on(pictures, tmp_path):
    tuner().fit(pictures, epochs=1, folder=tmp_path)
    with pytest.raises(CheckpointFormatError, match="another seed"):
        tuner(seed=4).fit(pictures, epochs=2, folder=tmp_path)
    with pytest.raises(CheckpointFormatError, match="another optimizer"):
        tuner(learning_rate=0.5).fit(pictures, epochs=2, folder=tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(CheckpointFormatError):
        tuner().fit(pictures, epochs=2, folder=tmp_path)


def test_a_seed_decides_everything(pictures):
    one, other, third = tuner(), tuner(), tuner(seed=4)
    runs = [t.fit(pictures, epochs=2, batch_size=5, schedule={1: False}) for t in (one, other, third)]
    assert runs[0] == runs[1] != runs[2]


def test_cached_features_train_as_the_whole_model_does(pictures):
    """The head's weights agree with those of Keras' own fit on the whole frozen model."""
    ours, plain = tuner(head=Head("linear", 3)), tuner(head=Head("linear", 3))
    ours.fit(pictures, epochs=3, batch_size=24)
    x = plain.backbone.preprocess(list(pictures.paths))
    plain.model.compile(keras.optimizers.Adam(1e-3), plain.loss, jit_compile=False)
    plain.model.fit(x, np.asarray(pictures.labels), batch_size=24, epochs=3, shuffle=False, verbose=0)
    for a, b in zip(ours.model.weights, plain.model.weights, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-5)


def test_what_is_frozen_does_not_move_and_what_is_not_does(pictures):
    one = tuner(freeze="one")
    before = {v.path: np.asarray(v) for v in one.model.weights}
    one.fit(pictures, epochs=1, batch_size=8)
    moved = {v.path for v in one.model.weights if not np.array_equal(np.asarray(v), before[v.path])}
    assert not any(path.startswith("one") for path in moved)
    assert {"two_conv/kernel", "two_bn/moving_mean", "head_logits/kernel"} <= moved


def test_it_learns(pictures):
    train, held = pictures.split(0.25, 0)
    one = tuner(head=Head("linear", 3, {"norm": "batch"}), learning_rate=0.1)
    history = one.fit(train, held, epochs=15, batch_size=6)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    # By chance a third would be right.
    assert history["val_accuracy"][-1] > 0.8
    right = one.logits(held.paths).argmax(1) == np.asarray(held.labels)
    assert np.isclose(right.mean(), history["val_accuracy"][-1])


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_low_and_keeps_float32(pictures, precision):
    policy = keras.config.dtype_policy().name
    one = tuner(precision=precision, freeze="one")
    assert one.model.get_layer("two_conv").compute_dtype == precision.removeprefix("mixed_")
    assert {str(v.dtype) for v in one.model.trainable_variables} == {"float32"}
    assert isinstance(one.optimizer, keras.optimizers.LossScaleOptimizer) == (precision == "mixed_float16")
    history = one.fit(pictures, epochs=2, batch_size=8)
    assert np.isfinite(history["loss"]).all()
    assert one.logits(pictures.paths[:2]).dtype == np.float32
    assert keras.config.dtype_policy().name == policy


def test_a_mirrored_strategy_trains_the_same(pictures):
    plain = tuner(freeze="one")
    history = plain.fit(pictures, epochs=2, batch_size=12)
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        mirrored = tuner(freeze="one")
        found = mirrored.fit(pictures, epochs=2, batch_size=12)
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=1e-5)


def test_gradual_unfreezing_in_keras_own_fit(pictures):
    one = tuner(head=Head("linear", 3))
    one.model.compile(one.optimizer, one.loss, jit_compile=False)
    seen = []
    hooks = Hooks(
        before_epoch=lambda epoch, _: seen.append(len(one.model.trainable_variables)),
        before_step=lambda step, _: seen.append("step") if step == 0 else None,
        after_epoch=lambda epoch, logs: seen.append(sorted(logs)),
    )
    x = one.backbone.preprocess(list(pictures.paths))
    before = np.asarray(one.model.get_layer("one_conv").kernel)
    two = np.asarray(one.model.get_layer("two_conv").kernel)
    thaw = GradualUnfreezing(one.backbone, {0: True, 1: "one"})
    one.model.fit(x, np.asarray(pictures.labels), epochs=2, verbose=0, callbacks=[thaw, hooks])
    assert seen == [2, "step", ["loss"], 6, "step", ["loss"]]
    np.testing.assert_array_equal(before, np.asarray(one.model.get_layer("one_conv").kernel))
    assert not np.array_equal(two, np.asarray(one.model.get_layer("two_conv").kernel))


def test_augmentation_is_of_the_seed_too(pictures):
    def flipped(batch, generator):
        return batch[:, :, ::-1] if generator.integers(2) else batch

    runs = [tuner().fit(pictures, epochs=2, batch_size=5, augment=flipped) for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    "arguments", [{"epochs": 0}, {"batch_size": 0}, {"schedule": {-1: True}}, {"batch_size": True}]
)
def test_numbers_that_make_no_sense(pictures, arguments):
    with pytest.raises(UsageError):
        tuner().fit(pictures, **arguments)


def test_heads_and_pictures_must_agree(pictures):
    with pytest.raises(UsageError, match="number of classes"):
        tuner(head=Head("linear", 4)).fit(pictures)
    with pytest.raises(UsageError, match="one tap"):
        FineTuner(Backbone(small_network(), tap=["one", "two"]), Head("linear", 3))
