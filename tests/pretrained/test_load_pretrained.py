"""From a name to a model: card, fetched files, weights, attributes, and every argument."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import keras
import numpy as np
import pytest

import modelzoo as mz
from modelzoo import errors
from modelzoo.features import FeatureExtractor
from tests.preprocess.pictures import encoded, rgb
from tests.pretrained.zoo import CLASSES, NAMES, SIDE, Zoo


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return Zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def load(zoo, cache):
    return partial(mz.load_pretrained, registries=[zoo.registry], cache=cache, progress=False)


@pytest.fixture(scope="module")
def tiny(load):
    """Loaded once, for tests that only look at it."""
    return load("tiny")


@pytest.fixture(scope="module")
def ends(zoo):
    return zoo.ends(zoo.picture())


def close(a, b) -> bool:
    return bool(np.abs(np.asarray(a) - b).max() <= 3e-4 * np.std(b))


# -- weights from the card --------------------------------------------------------------------------------------------


def test_a_name_becomes_a_model_with_everything_attached(tiny, zoo, ends):
    assert close(tiny(zoo.picture()), ends["Logits"])
    assert tiny.card.name == "tiny"
    assert tiny.preprocess(rgb()).shape == (1, SIDE, SIDE, 3)
    assert list(tiny.labels) == ["background", *NAMES]
    assert {"Mixed_5c", "Logits", "Predictions"} <= set(tiny.taps)


def test_an_alias_is_the_same_model(load, zoo, ends):
    model = load("small")
    assert model.card.name == "tiny"
    assert close(model(zoo.picture()), ends["Logits"])


def test_what_was_fetched_is_used_offline(load, zoo, ends):
    load("tiny")
    assert close(load("tiny", offline=True)(zoo.picture()), ends["Logits"])


def test_fetch_says_where_the_files_are(zoo, cache):
    fetched = mz.fetch("tiny", registries=[zoo.registry], cache=cache, progress=False)
    assert fetched.files["weights"].read_bytes() == zoo.checkpoint.read_bytes()
    assert fetched.files["weights"].parent == fetched.path


def test_a_model_comes_over_http_as_well(zoo, tmp_path, ends):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(zoo.folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            registry = zoo.write_registry("http.json", f"http://127.0.0.1:{server.server_port}")
            options = {"registries": [registry], "cache": tmp_path, "progress": False}
            model = mz.load_pretrained("tiny", **options)
        finally:
            server.shutdown()
            thread.join()
    assert close(model(zoo.picture()), ends["Logits"])
    assert close(mz.load_pretrained("tiny", **options)(zoo.picture()), ends["Logits"]), "the cache has it now"


def test_bytes_of_another_digest_are_refused(load, cache):
    with pytest.raises(errors.DigestError):
        load("tiny-wrong")


def test_several_threads_load_the_same_name_at_once(zoo, tmp_path, ends):
    found: list[np.ndarray] = []

    def work() -> None:
        model = mz.load_pretrained("tiny", registries=[zoo.registry], cache=tmp_path, progress=False)
        found.append(np.asarray(model(zoo.picture())))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(close(logits, ends["Logits"]) for logits in found)


# -- weights from a path ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["file", "text", "folder", "npz", "safetensors"])
def test_weights_may_be_any_file_or_folder(load, zoo, ends, tmp_path, form):
    path = tmp_path / "weights.npz"
    if form == "npz":
        np.savez(path, **zoo.arrays)
    elif form == "safetensors":
        from safetensors.numpy import save_file

        path = tmp_path / "weights.safetensors"
        save_file(zoo.arrays, path)
    else:
        path = tmp_path / "any name.ckpt"
        path.write_bytes(zoo.checkpoint.read_bytes())
    given = {"text": str(path), "folder": tmp_path}.get(form, path)
    assert close(load("tiny", weights=given, offline=True)(zoo.picture()), ends["Logits"])


@pytest.mark.parametrize("form", ["prefix", "index", "folder"])
def test_weights_may_be_a_v2_checkpoint(load, zoo, ends, tmp_path, form):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        made = [v1.get_variable(name, initializer=value, use_resource=False) for name, value in zoo.arrays.items()]
        session.run(v1.global_variables_initializer())
        prefix = v1.train.Saver(made).save(session, str(tmp_path / "model.ckpt"), global_step=100)
    given = {"prefix": prefix, "index": prefix + ".index", "folder": str(tmp_path)}[form]
    assert close(load("tiny", weights=given)(zoo.picture()), ends["Logits"])


def test_no_weights_are_an_untrained_network_and_fetch_nothing(zoo, tmp_path):
    options = {"registries": [zoo.registry], "cache": tmp_path, "weights": None}
    first, second = (mz.load_pretrained("tiny", **options) for _ in range(2))
    assert not close(first(zoo.picture()), np.asarray(second(zoo.picture())))
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_not_there_is_a_checkpoint_error(load, tmp_path):
    with pytest.raises(errors.CheckpointError, match="nowhere"):
        load("tiny", weights=tmp_path / "nowhere.ckpt")


def test_weights_of_another_network_list_what_is_missing(load, tmp_path):
    np.savez(tmp_path / "other.npz", **{"conv1/weights": np.zeros((3, 3, 3, 8), np.float32)})
    with pytest.raises(errors.WeightsMismatchError) as caught:
        load("tiny", weights=tmp_path / "other.npz")
    assert len(caught.value.missing) == 230
    assert caught.value.unexpected == ("conv1/weights",)


# -- classifier and decode --------------------------------------------------------------------------------------------


def test_decode_names_the_best_classes(tiny, zoo, ends):
    rows = tiny.decode(tiny(zoo.picture()), top=3)
    assert [len(row) for row in rows] == [3, 3]
    best = int(ends["Logits"][0].argmax())
    assert rows[0][0].index == best
    assert rows[0][0].label == ["background", *NAMES][best]
    assert rows[0][0].probability == pytest.approx(ends["Predictions"][0, best], rel=1e-3)


def test_decode_honours_what_the_card_says_of_the_output(load, tiny):
    scores = np.linspace(0, 0.3, CLASSES)[None]
    assert load("tiny-probabilities").decode(scores, top=1)[0][0].probability == pytest.approx(0.3)
    assert tiny.decode(scores, top=1)[0][0].probability < 0.25


def test_a_new_head_has_its_own_width_and_neutral_names(load, zoo, ends):
    model = load("tiny", classes=3)
    assert model(zoo.picture()).shape == (2, 3)
    assert model.labels is None
    assert {guess.label for guess in model.decode(np.zeros((1, 3)))[0]} == {"class 0", "class 1", "class 2"}
    assert close(keras.Model(model.input, model.taps["Mixed_5c"].tensor)(zoo.picture()), ends["Mixed_5c"])


def test_without_the_top_there_is_nothing_to_decode(load, zoo, ends):
    model = load("tiny", include_top=False, pooling="avg")
    assert close(model(zoo.picture()), ends["Mixed_5c"].mean((1, 2)))
    assert model.labels is None and model.decode is None


def test_another_input_shape_is_that_of_the_preprocessing_too(load):
    assert load("tiny", input_shape=(96, 128, 3)).preprocess(rgb()).shape == (1, 96, 128, 3)
    open_sides = load("tiny", input_shape=(None, None, 3))
    assert open_sides.preprocess(rgb()).shape == (1, SIDE, SIDE, 3)
    assert open_sides(np.zeros((1, 80, 70, 3), np.float32)).shape == (1, CLASSES)


def test_a_frozen_model_has_nothing_to_train(load, zoo):
    model = load("tiny", trainable=False, include_top=False)
    assert model.trainable_weights == []
    np.testing.assert_array_equal(model(zoo.picture(), training=True), model(zoo.picture(), training=False))
    assert load("tiny", trainable=False, features=["Mixed_4b"]).model.trainable_weights == []


def test_a_card_that_says_little_gives_a_model_that_says_little(load, zoo, ends):
    model = load("tiny-bare")
    assert close(model(zoo.picture()), ends["Logits"])
    assert (model.preprocess, model.labels, model.decode) == (None, None, None)
    fx = load("tiny-bare", features="Mixed_5c")
    with pytest.raises(errors.UsageError, match=r"fx\.model"):
        fx(rgb())


# -- features ---------------------------------------------------------------------------------------------------------


def test_features_come_in_the_order_that_was_asked_for(load, zoo, ends):
    wanted = ["Mixed_5c", "Conv2d_1a_7x7", "Predictions", "Mixed_4e/Branch_1/Conv2d_0b_3x3"]
    fx = load("tiny", features=wanted)
    assert list(fx.taps) == list(fx(rgb())) == wanted
    out = fx.model(zoo.picture())
    for name in wanted[:3]:
        assert close(out[name], ends[name]), name


def test_all_end_points_are_those_of_the_network(load, zoo, ends):
    fx = load("tiny", features="all")
    assert list(fx.taps) == list(ends)
    for name, value in fx.model(zoo.picture()).items():
        assert close(value, ends[name]), name


@pytest.mark.parametrize(("pooling", "reduce"), [("avg", np.mean), ("max", np.max)])
def test_pooled_features_are_vectors(load, zoo, ends, pooling, reduce):
    out = load("tiny", features=["Mixed_4e", "Logits"], pooling=pooling).model(zoo.picture())
    assert close(out["Mixed_4e"], reduce(ends["Mixed_4e"], axis=(1, 2)))
    assert close(out["Logits"], ends["Logits"])


def test_paths_lists_and_arrays_go_in(load, tmp_path):
    fx = load("tiny", features="Mixed_5c", pooling="avg")
    picture = rgb(3)
    (tmp_path / "a.png").write_bytes(encoded(picture))
    expected = fx(picture)["Mixed_5c"]
    assert expected.shape == (1, 128) and expected.dtype == np.float32
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), [tmp_path / "a.png"], picture[None]):
        np.testing.assert_array_equal(fx(given)["Mixed_5c"], expected)
    assert len(fx([picture] * 5, batch_size=2)["Mixed_5c"]) == 5


def test_an_unknown_tap_names_the_nearest(load):
    with pytest.raises(errors.UnknownTapError) as caught:
        load("tiny", features=["Mixed_5d"])
    assert "Mixed_5c" in caught.value.suggestions
    assert "modelzoo taps tiny" in str(caught.value)


@pytest.mark.parametrize("size", [0, 2.5, True], ids=str)
def test_a_batch_size_that_makes_no_sense_is_refused(tiny, size):
    with pytest.raises(errors.UsageError, match="batch_size"):
        FeatureExtractor(tiny, "Mixed_5c", preprocess=tiny.preprocess)(rgb(), batch_size=size)


# -- saved and loaded again -------------------------------------------------------------------------------------------


def test_attach_puts_back_what_a_file_does_not_hold(tiny, zoo, ends, tmp_path):
    tiny.save(tmp_path / "net.keras")
    model = keras.models.load_model(tmp_path / "net.keras")
    assert not hasattr(model, "card")
    assert mz.attach(model, "tiny", registries=[zoo.registry]) is model
    assert model.card == tiny.card
    assert model.preprocess == tiny.preprocess
    assert model.labels == tiny.labels
    assert model.decode(model(zoo.picture())) == tiny.decode(tiny(zoo.picture()))
    assert set(model.taps) == set(tiny.taps)
    end_points = [[name for name, tap in m.taps.items() if tap.end_point] for m in (model, tiny)]
    assert end_points[0] == end_points[1]
    out = FeatureExtractor(model, "all", preprocess=model.preprocess).model(zoo.picture())
    for name, value in out.items():
        assert close(value, ends[name]), name


@pytest.mark.parametrize("options", [{"classes": 4}, {"include_top": False, "pooling": "max"}], ids=str)
def test_attach_knows_a_new_head_and_a_missing_one(load, zoo, tmp_path, options):
    first = load("tiny", **options)
    first.save(tmp_path / "net.keras")
    model = mz.attach(keras.models.load_model(tmp_path / "net.keras"), "tiny", registries=[zoo.registry])
    assert set(model.taps) == set(first.taps)
    assert model.labels is None
    assert (model.decode is None) == (first.decode is None)


def test_attach_takes_models_only(zoo):
    with pytest.raises(errors.UsageError):
        mz.attach("net.keras", "tiny", registries=[zoo.registry])  # type: ignore[arg-type]
    with pytest.raises(errors.UnknownModelError):
        mz.attach(keras.Sequential(), "no such model", registries=[zoo.registry])


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"weights": 3},
        {"weights": ""},
        {"pooling": "mean"},
        {"pooling": "avg"},
        {"features": []},
        {"features": [3]},
        {"features": 3},
        {"include_top": "no"},
        {"classes": -1},
        {"classes": 3, "include_top": False},
    ],
    ids=str,
)
def test_arguments_that_make_no_sense_are_refused(load, options):
    with pytest.raises(errors.UsageError) as caught:
        load("tiny", **options)
    assert caught.value.exit_code == 2


def test_what_is_refused_is_refused_before_anything_is_fetched(zoo, tmp_path):
    with pytest.raises(errors.UsageError):
        mz.load_pretrained("tiny", pooling="mean", registries=[zoo.registry], cache=tmp_path)
    with pytest.raises(errors.UsageError):
        mz.load_pretrained("tiny", pooling="avg", registries=[zoo.registry], cache=tmp_path)
    with pytest.raises(errors.ArrayError):
        mz.load_pretrained("tiny", input_shape=(3, 224, 224), registries=[zoo.registry], cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_names_the_nearest(load):
    with pytest.raises(errors.UnknownModelError) as caught:
        load("tiny-wrongg")
    assert caught.value.suggestions[0] == "tiny-wrong"


def test_a_card_without_files_says_what_else_can_be_done(load, zoo, ends):
    with pytest.raises(errors.UsageError, match="weights=PATH"):
        load("no-files")
    assert close(load("no-files", weights=zoo.checkpoint)(zoo.picture()), ends["Logits"])


def test_a_card_that_needs_a_converter_says_so(load):
    with pytest.raises(errors.UnknownNetworkError, match="darknet"):
        load("by-converter")


def test_a_card_with_an_argument_that_its_network_lacks_is_refused(load):
    with pytest.raises(errors.UsageError, match="wdith"):
        load("tiny-odd")


def test_offline_without_the_files_is_its_own_error(zoo, tmp_path):
    registry = zoo.write_registry("far.json", "https://example.invalid")
    with pytest.raises(errors.OfflineError):
        mz.load_pretrained("tiny", registries=[registry], cache=tmp_path, offline=True)
