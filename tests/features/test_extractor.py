"""The feature extractor: names, shapes, strides, pooling, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo import errors, networks
from modelzoo.features import FeatureExtractor, describe_taps
from modelzoo.preprocess import Preprocess


@pytest.fixture(scope="module")
def model():
    return networks.build("inception_v1", input_shape=(64, 96, 3), classes=7, width=0.125)


def extractor(model, features, **options):
    preprocess = Preprocess.from_dict({"family": "inception", "size": [64, 96]})
    return FeatureExtractor(model, features, preprocess=preprocess, **options)


def picture(seed: int = 0, height: int = 50, width: int = 70) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_one_picture_gives_a_batch_axis_and_float32(model):
    fx = extractor(model, ["Mixed_3c", "Mixed_5c"])
    out = fx(picture())
    assert list(out) == ["Mixed_3c", "Mixed_5c"]
    assert out["Mixed_3c"].shape == (1, 8, 12, fx.taps["Mixed_3c"].channels)
    assert out["Mixed_5c"].shape == (1, 2, 3, 128)
    assert all(value.dtype == np.float32 for value in out.values())


def test_pooling_is_the_mean_or_the_maximum_of_the_map(model):
    whole = extractor(model, "Mixed_5c")(picture())["Mixed_5c"]
    mean = extractor(model, "Mixed_5c", pooling="avg")(picture())["Mixed_5c"]
    peak = extractor(model, "Mixed_5c", pooling="max")(picture())["Mixed_5c"]
    np.testing.assert_allclose(mean, whole.mean((1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(peak, whole.max((1, 2)))


def test_all_means_the_end_points_in_the_networks_order(model):
    fx = extractor(model, "all")
    assert len(fx.taps) == 19
    assert list(fx.taps)[:3] == ["Conv2d_1a_7x7", "MaxPool_2a_3x3", "Conv2d_2b_1x1"]
    assert {"Logits", "Predictions"} <= set(fx.taps)


def test_inner_scopes_are_taps_too(model):
    fx = extractor(model, "Mixed_4e/Branch_1/Conv2d_0b_3x3")
    assert fx(picture())["Mixed_4e/Branch_1/Conv2d_0b_3x3"].min() >= 0.0


def test_strides_are_those_of_the_layers_whatever_the_size():
    model = networks.build("inception_v1", input_shape=(None, None, 3), include_top=False, width=0.125)
    infos = describe_taps({name: tap.tensor for name, tap in model.taps.items()})
    strides = [infos[name].stride for name in ("Conv2d_1a_7x7", "Mixed_3c", "Mixed_4e", "Mixed_5c")]
    assert strides == [2, 8, 16, 32]
    assert infos["Mixed_5c"].shape == (None, None, None, 128)


def test_vectors_have_no_stride(model):
    infos = describe_taps({"Logits": model.taps["Logits"].tensor})
    assert infos["Logits"].stride is None
    assert infos["Logits"].channels == 7


def test_the_plain_model_takes_the_networks_own_input(model):
    fx = extractor(model, ["Mixed_4b"])
    own = fx.preprocess(picture())
    np.testing.assert_allclose(np.asarray(fx.model(own)["Mixed_4b"]), fx(picture())["Mixed_4b"], rtol=1e-4, atol=1e-5)


def test_lists_may_mix_sizes_and_keep_their_order(model):
    fx = extractor(model, "all", pooling="avg")
    items = [picture(1, 40, 40), picture(2, 90, 30), picture(3), picture(4, 64, 96), picture(5)]
    alone = [fx(item) for item in items]
    for batch_size in (1, 2, 4, 5):
        for tap, together in fx(items, batch_size=batch_size).items():
            # To the bit: a picture has the same features alone and among others.
            np.testing.assert_array_equal(together, np.concatenate([one[tap] for one in alone]), err_msg=tap)


def test_an_unknown_tap_names_the_nearest(model):
    with pytest.raises(errors.UnknownTapError) as caught:
        extractor(model, ["Mixed_4q"])
    assert "Mixed_4b" in caught.value.suggestions or "Mixed_4e" in caught.value.suggestions
    assert "modelzoo taps" in (caught.value.hint or "")


def test_floats_are_refused_with_a_pointer_to_the_plain_model(model):
    with pytest.raises(errors.ArrayError) as caught:
        extractor(model, "Mixed_5c")(np.zeros((64, 96, 3), np.float32))
    assert "fx.model" in str(caught.value)


@pytest.mark.parametrize("pooling", ["mean", "", 3])
def test_an_unknown_pooling_is_refused(model, pooling):
    with pytest.raises(errors.UsageError):
        extractor(model, "Mixed_5c", pooling=pooling)


def test_no_tap_at_all_is_refused(model):
    with pytest.raises(errors.UsageError):
        extractor(model, [])
