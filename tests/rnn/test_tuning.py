"""Heads over sequences: order, masks, features computed once, resumed = uninterrupted, kept as a card."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from modelzoo.errors import ArrayError, CheckpointFormatError, RegistryFormatError, UsageError, WeightsMismatchError
from modelzoo.finetune import Backbone, Head, Hooks, load_folder, write_result
from modelzoo.finetune.loading import build_finetuned
from modelzoo.rnn import Sequences, SequenceTuner, clip_logits, raw_steps, read_clips
from tests.finetune.networks import SIDE, small_network
from tests.rnn.clips import clip_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clips") / "light", count=10, lengths=(4, 3, 5))


@pytest.fixture(scope="module")
def clips(folder):
    return read_clips(folder)


def recurrent(classes=2, **options):
    return Head("sequence", classes, {"units": [6], "norm": "batch", "dropout": 0.2, **options})


def tuner(data, head=None, seed=3, freeze=True, **options):
    backbone = Backbone(small_network(), freeze=freeze)
    return SequenceTuner(backbone, head or recurrent(), steps=data.steps, masked=data.masked, seed=seed, **options)


def state(one):
    return [np.asarray(v) for v in [*one.model.variables, *one.optimizer.variables]]


class Stop(Exception):
    pass


def interrupt(epoch, step):
    seen = {"epoch": -1}

    def after(number, _):
        if (seen["epoch"], number) == (epoch, step):
            raise Stop

    return Hooks(before_epoch=lambda number, _: seen.update(epoch=number), after_step=after)


SCHEDULE = {1: "one", 2: False}


@pytest.fixture(scope="module")
def uninterrupted(clips):
    whole = tuner(clips)
    return whole.fit(*clips.split(0.3, 0), epochs=3, batch_size=5, schedule=SCHEDULE), state(whole)


@pytest.mark.parametrize("stop", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(clips, uninterrupted, tmp_path, stop):
    train, held = clips.split(0.3, 0)
    options = {"epochs": 3, "batch_size": 5, "schedule": SCHEDULE, "folder": tmp_path}
    with pytest.raises(Stop):
        tuner(clips).fit(train, held, callbacks=[interrupt(stop, 1)], **options)
    second = tuner(clips)
    history, wanted = uninterrupted
    assert second.fit(train, held, **options) == history
    for a, b in zip(wanted, state(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradual_unfreezing_reaches_the_backbone(clips):
    one = tuner(clips)
    before = {v.path: np.asarray(v) for v in one.backbone.network.weights}
    one.fit(clips, epochs=1, batch_size=5)
    assert all(np.array_equal(np.asarray(v), before[v.path]) for v in one.backbone.network.weights)
    one.fit(clips, epochs=1, batch_size=5, schedule={0: "one"})
    moved = {v.path for v in one.backbone.network.weights if not np.array_equal(np.asarray(v), before[v.path])}
    assert moved == {"two_conv/kernel", "two_conv/bias", "two_bn/gamma", "two_bn/beta"} | {
        "two_bn/moving_mean",
        "two_bn/moving_variance",
    }


def test_another_setting_does_not_go_on(clips, tmp_path):
    tuner(clips).fit(clips, epochs=1, folder=tmp_path)
    with pytest.raises(CheckpointFormatError, match="another seed"):
        tuner(clips, seed=4).fit(clips, epochs=2, folder=tmp_path)
    with pytest.raises(CheckpointFormatError, match="another head"):
        tuner(clips, recurrent(cell="lstm")).fit(clips, epochs=2, folder=tmp_path)
    with pytest.raises(CheckpointFormatError, match="another set of sequences"):
        tuner(clips).fit(clips.take(range(len(clips) - 1)), epochs=2, folder=tmp_path)


@pytest.mark.slow
def test_a_seed_decides_everything(clips):
    runs = [tuner(clips, seed=seed).fit(clips, epochs=1, batch_size=5) for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
def test_recurrent_kernels_come_from_the_seed(cell):
    def kernels(seed):
        one = SequenceTuner(raw_steps(3), recurrent(cell=cell, units=[4, 4], bidirectional=True), steps=2, seed=seed)
        return [np.asarray(v) for v in one.model.trainable_variables if "recurrent_kernel" in v.path]

    one, again, other = kernels(1), kernels(1), kernels(2)
    assert len(one) == 4
    for a, b, c in zip(one, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    assert len({a.tobytes() for a in one}) == 4
    assert np.allclose(one[0][:, :4] @ one[0][:, :4].T, np.eye(4), atol=1e-5) or cell != "simple"


def test_cached_features_give_the_logits_of_the_whole_model(clips):
    one = tuner(clips, recurrent(units=[5, 4], bidirectional=True))
    one.fit(clips, epochs=1, batch_size=7)
    kept = one.logits(clips)
    # Frames of the same bytes are one.
    assert one._cache.computed == len({path.read_bytes() for item in clips.items for path in item})
    one._cache = None
    np.testing.assert_allclose(one.logits(clips), kept, atol=1e-5)


def test_a_frame_of_several_windows_is_computed_once(folder):
    windows = read_clips(folder, frames=3, hop=1)
    one = tuner(windows)
    one.fit(windows, epochs=1)
    assert one._cache.computed == len({p.read_bytes() for item in windows.items for p in item}) < 2 * len(windows)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"cell": "simple"}, marks=pytest.mark.slow),
        {"cell": "lstm", "units": [5, 4], "bidirectional": True},
    ],
)
def test_padding_does_not_count(clips, options):
    """Of a padded batch each clip has the logits that it has alone, without padding, from another model."""
    one = tuner(clips, recurrent(**options))
    one.fit(clips, epochs=1, batch_size=8)
    found = one.logits(clips)
    for number in (0, 1):
        alone = Sequences.cut([("clip", clips.items[number], 0)], clips.names)
        assert not alone.masked
        other = tuner(alone, recurrent(**options))
        for a, b in zip(other.head_model.weights, one.head_model.weights, strict=True):
            a.assign(b)
        np.testing.assert_allclose(other.logits(alone)[0], found[number], atol=1e-5)


def test_padding_is_not_in_the_statistics_of_the_norm(clips):
    one = tuner(clips, recurrent(dropout=0.0), learning_rate=1e-9)
    one.fit(clips, epochs=20, batch_size=len(clips))
    rows = np.concatenate([one._cache.features(item) for item in clips.items])
    mean, variance = (np.asarray(w) for w in one.head_model.get_layer("head_norm").weights)
    rest = 0.9**20  # of the initial mean 0 and variance 1
    np.testing.assert_allclose(mean, (1 - rest) * rows.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(variance, (1 - rest) * rows.var(axis=0) + rest, atol=1e-4)


def test_order_is_learnt_by_the_recurrent_head_and_not_by_the_mean(clips):
    train, held = clips.split(0.3, 0)
    scores = {}
    for name, head in (("rnn", recurrent(dropout=0.0, units=[12])), ("mean", Head("mean", 2, {"norm": "batch"}))):
        one = tuner(clips, head, learning_rate=0.03)
        history = one.fit(train, held, epochs=25, batch_size=7)
        scores[name] = history["val_accuracy"][-1]
        assert (one.logits(held).argmax(axis=1) == held.labels).mean() == pytest.approx(scores[name])
    assert scores["rnn"] >= 0.8
    assert scores["mean"] <= 0.7


def carded(one, folder):
    from modelzoo.registry import Card

    raw = {
        "title": "small",
        "task": "classification",
        "framework": "keras",
        "licence": "Apache-2.0",
        "inputs": [
            {
                "name": "input",
                "shape": [SIDE, SIDE, 3],
                "dtype": "float32",
                "colour": "RGB",
                "preprocess": {"family": "keras_tf"},
            }
        ],
        "build": {"network": "small"},
    }
    one.backbone.card = Card.from_dict("small", raw)
    return write_result(one, folder, "me/light", classes=["brighter", "darker"])


@pytest.fixture
def small_is_known(monkeypatch):
    from modelzoo import pretrained

    monkeypatch.setattr(pretrained, "builder_of", lambda card: lambda *_, **__: small_network(seed=9))


@pytest.mark.parametrize("frames", [None, 3])
def test_a_result_is_a_card_that_opens_again(folder, tmp_path, small_is_known, frames):
    clips = read_clips(folder, frames=frames)
    one = tuner(clips, recurrent(cell="lstm", units=[5, 4], bidirectional=True))
    one.fit(clips, epochs=1)
    path = carded(one, tmp_path / "result")
    raw = json.loads(path.read_text())["models"]["me/light"]
    assert raw["task"] == "sequence_classification"
    assert raw["build"]["args"]["sequence"] == {"steps": clips.steps, "masked": frames is None}
    assert raw["inputs"][0]["shape"] == [clips.steps, SIDE, SIDE, 3]
    model = load_folder(tmp_path / "result")
    assert model.labels is not None and tuple(model.labels.names) == ("brighter", "darker")
    wanted = one.logits(clips)
    if frames is None:
        found = clip_logits(model, [item[0].parent for item in clips.items])
    else:
        found = np.asarray(model(np.stack([model.preprocess(list(item)) for item in clips.items])))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert model.decode(found)[0][0].label == clips.names[int(wanted[0].argmax())]


@pytest.mark.slow
def test_clips_of_other_lengths(folder, tmp_path, small_is_known):
    windows = read_clips(folder, frames=2)
    one = tuner(windows)
    one.fit(windows, epochs=1)
    carded(one, tmp_path / "result")
    model = load_folder(tmp_path / "result")
    long = folder / "darker" / "clip 2"  # five frames: two whole windows
    by_hand = one.logits(Sequences.cut([("x", read_clips(folder).items[12], 0)], windows.names, size=2)).mean(axis=0)
    np.testing.assert_allclose(clip_logits(model, [long])[0], by_hand, atol=1e-5)
    with pytest.raises(UsageError, match="shorter than the 2 frames"):
        alone = tmp_path / "clip"
        alone.mkdir()
        (alone / "1.png").write_bytes((long / "frame8.png").read_bytes())
        clip_logits(model, [alone])


def test_a_card_that_does_not_fit(clips, tmp_path, small_is_known):
    one = tuner(clips)
    one.fit(clips, epochs=1)
    path = carded(one, tmp_path / "result")
    from modelzoo.registry import Card

    raw = json.loads(path.read_text())["models"]["me/light"]
    raw["build"]["args"]["head"]["args"]["units"] = [7]
    with pytest.raises(WeightsMismatchError, match="head_gru_1"):
        build_finetuned(Card.from_dict("me/light", raw), tmp_path / "result" / "model.safetensors")
    for broken in ({"steps": 5}, [], {"masked": True}, "long"):
        raw["build"]["args"]["sequence"] = broken
        with pytest.raises(RegistryFormatError, match="how long"):
            build_finetuned(Card.from_dict("me/light", raw), None)


def test_the_model_opens_where_only_keras_is(clips, tmp_path):
    one = tuner(clips, recurrent(units=[4, 3], bidirectional=True))
    one.fit(clips, epochs=1)
    one.model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, clips.steps, SIDE, SIDE, 3)).astype(np.float32)
    given = {"steps": x, "lengths": np.asarray([5, 2], np.int32)}
    np.testing.assert_array_equal(np.asarray(again(given)), np.asarray(one.model(given)))
    assert all(type(layer).__module__.startswith("keras.") for layer in again._flatten_layers())


def test_arrays_are_steps_too():
    """A series whose classes only differ in direction, without any network."""
    generator = np.random.default_rng(0)
    rising = [np.sort(generator.normal(size=(9, 1)), axis=0).astype(np.float32) for _ in range(24)]
    sources = [(f"s{n}", s if n % 2 else s[::-1], n % 2) for n, s in enumerate(rising)]
    series = Sequences.cut(sources, ["down", "up"], size=6, hop=3)
    train, held = series.split(0.25, 0)
    one = SequenceTuner(raw_steps(1), recurrent(dropout=0.0), steps=6, learning_rate=0.05)
    history = one.fit(train, held, epochs=25, batch_size=8)
    assert history["val_accuracy"][-1] >= 0.9
    with pytest.raises(ArrayError, match="steps of another shape"):
        SequenceTuner(raw_steps(2), recurrent(), steps=6).fit(train)


@pytest.mark.slow
@pytest.mark.parametrize("cell,precision", [("gru", "mixed_bfloat16"), ("lstm", "mixed_float16")])
def test_mixed_precision(clips, cell, precision):
    one = tuner(clips, recurrent(cell=cell, bidirectional=True), precision=precision)
    history = one.fit(clips, epochs=1, batch_size=8)
    assert np.isfinite(history["loss"]).all()
    assert one.logits(clips).dtype == np.float32


@pytest.mark.slow
def test_augmented_clips_are_computed_from_pixels(clips):
    seen = []

    def darker(batch, generator):
        seen.append(batch.shape[1:])
        return batch * generator.uniform(0.9, 1.0)

    one = tuner(clips)
    one.fit(clips, epochs=2, batch_size=16, augment=darker)
    assert set(seen) == {(clips.steps, SIDE, SIDE, 3)} and one._cache is None


def test_what_makes_no_sense(clips, folder):
    backbone = Backbone(small_network())
    with pytest.raises(UsageError, match="takes no mask"):
        SequenceTuner(backbone, Head("linear", 2), steps=4, masked=True)
    with pytest.raises(UsageError, match="at every step"):
        SequenceTuner(backbone, recurrent(every_step=True), steps=4)
    with pytest.raises(UsageError, match="positive number of steps"):
        SequenceTuner(backbone, recurrent(), steps=0)
    with pytest.raises(UsageError, match="There is no such recurrent cell"):
        SequenceTuner(backbone, recurrent(cell="lsmt"), steps=4)
    with pytest.raises(UsageError, match="positive widths"):
        SequenceTuner(backbone, recurrent(units=[]), steps=4)
    with pytest.raises(UsageError, match="of any size"):
        opened = keras.Input((None, None, 3))
        mean = keras.layers.GlobalAveragePooling2D(name="mean")(opened)
        SequenceTuner(Backbone(keras.Model(opened, mean), tap="mean"), recurrent(), steps=4)
    with pytest.raises(UsageError, match="another length"):
        tuner(clips).fit(read_clips(folder, frames=2))
    with pytest.raises(UsageError, match="number of classes"):
        tuner(clips, recurrent(classes=3)).fit(clips)
    with pytest.raises(UsageError, match="Nobody states"):
        nothing = small_network()
        object.__setattr__(nothing, "preprocess", None)
        SequenceTuner(Backbone(nothing), recurrent(), steps=clips.steps, masked=True).fit(clips)
