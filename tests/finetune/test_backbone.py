"""Backbones: taps, what is frozen, BatchNorm and Dropout, parts."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from modelzoo.errors import UnknownTapError, UsageError
from modelzoo.finetune import Backbone
from tests.finetune.networks import SIDE, small_network


def trained(backbone):
    return sorted({variable.path.split("/")[0] for variable in backbone.model.trainable_variables})


def test_the_default_tap_is_what_enters_the_classifier():
    backbone = Backbone(small_network())
    assert list(backbone.taps) == ["pool"]
    assert backbone.model.output_shape == (None, 6)
    assert backbone.frozen and trained(backbone) == []


def test_taps_strides_and_pooling():
    backbone = Backbone(small_network(), tap=["one", "two"], pooling="avg")
    assert backbone.strides == {"one": 2, "two": 4}
    found = backbone.model(np.zeros((2, SIDE, SIDE, 3), np.float32))
    assert {name: tuple(value.shape) for name, value in found.items()} == {"one": (2, 4), "two": (2, 6)}


def test_freezing_until_a_tap_trains_what_lies_behind():
    backbone = Backbone(small_network(), freeze="one")
    assert trained(backbone) == ["two_bn", "two_conv"]
    backbone.unfreeze()
    assert trained(backbone) == ["one_bn", "one_conv", "two_bn", "two_conv"]
    backbone.unfreeze(after="one_conv")
    assert trained(backbone) == ["one_bn", "two_bn", "two_conv"]
    backbone.freeze()
    assert trained(backbone) == []


def test_frozen_layers_run_in_inference_mode_and_trained_ones_do_not():
    network = small_network()
    x = np.random.default_rng(0).normal(size=(8, SIDE, SIDE, 3)).astype(np.float32)
    backbone = Backbone(network)
    still = np.asarray(backbone.model(x, training=False))
    np.testing.assert_array_equal(np.asarray(backbone.model(x, training=True)), still)
    backbone.unfreeze()
    assert network.get_layer("drop").rate == 0.5
    assert not np.allclose(np.asarray(backbone.model(x, training=True)), still)


def test_statistics_stay_with_the_policy_inference():
    network = small_network(dropout=0.0)
    x = np.random.default_rng(0).normal(size=(8, SIDE, SIDE, 3)).astype(np.float32)
    backbone = Backbone(network, freeze=False, batch_norm="inference")
    before = [np.asarray(v) for v in network.get_layer("one_bn").variables]
    still = np.asarray(backbone.model(x, training=False))
    np.testing.assert_array_equal(np.asarray(backbone.model(x, training=True)), still)
    for a, b in zip(before, network.get_layer("one_bn").variables, strict=True):
        np.testing.assert_array_equal(a, np.asarray(b))
    assert trained(backbone) == ["one_conv", "two_conv"]


def test_every_trainable_variable_is_in_one_stage():
    backbone = Backbone(small_network())
    variables = backbone.variables
    assert len(variables) == len({id(v) for v in variables}) == 8
    assert [variable.path for variable in backbone.stages[0].variables] == ["one_conv/kernel", "one_conv/bias"]


def test_a_name_gives_taps_card_and_preprocessing():
    backbone = Backbone("inception_v1_scenes", tap="Mixed_4f", freeze="Mixed_4e")
    assert backbone.card.name == "inception_v1_scenes" and backbone.preprocess is not None
    assert backbone.strides == {"Mixed_4f": 16}
    assert all(path.startswith("Mixed_4f") for path in trained(backbone))
    assert len(trained(backbone)) == 12
    assert not backbone.frozen


@pytest.mark.parametrize(
    "arguments,error",
    [
        ({"tap": "three"}, UnknownTapError),
        ({"freeze": "three"}, UnknownTapError),
        ({"pooling": "sum"}, UsageError),
        ({"batch_norm": "none"}, UsageError),
        ({"tap": []}, UsageError),
        ({"input_shape": (8, 8, 3)}, UsageError),
    ],
)
def test_arguments_that_make_no_sense(arguments, error):
    with pytest.raises(error):
        Backbone(small_network(), **arguments)


def test_what_is_no_network():
    with pytest.raises(UsageError, match="functional"):
        Backbone(keras.Sequential([]))
    inputs = keras.Input((4,))
    with pytest.raises(UsageError, match="begins is not known"):
        Backbone(keras.Model(inputs, keras.layers.ReLU()(inputs)))


def test_a_sequential_model_is_a_backbone_too():
    import keras

    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()], name="plain")
    backbone = Backbone(model, tap=model.layers[0].name, pooling="avg")
    assert (backbone.name, tuple(backbone.output.shape)) == ("plain", (None, 4))
    assert backbone.variables[0] is model.layers[0].kernel, "shared, not copied"
