"""Learning-rate factors: on any optimiser, with weight decay, in files, under schedules."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from modelzoo.errors import UsageError
from modelzoo.finetune import Backbone, LayerwiseOptimizer, discriminative
from tests.finetune.networks import small_network

OPTIMIZERS = [
    lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    lambda rate: keras.optimizers.SGD(rate, weight_decay=0.1),
    lambda rate: keras.optimizers.Adam(rate),
    lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
    lambda rate: keras.optimizers.RMSprop(rate),
    lambda rate: keras.optimizers.Nadam(rate),
    lambda rate: keras.optimizers.Adagrad(rate),
]


def variables():
    return [keras.Variable(np.array([1.0, -2.0], np.float32), name=name) for name in ("a", "b")]


GRADIENTS = [np.array([0.3, -0.1], np.float32), np.array([-0.2, 0.5], np.float32)]


@pytest.mark.parametrize("make", OPTIMIZERS, ids=lambda make: type(make(0.1)).__name__)
def test_a_factor_is_another_learning_rate(make):
    """Each variable moves as it would under an optimiser of its own rate."""
    ours = variables()
    optimizer = LayerwiseOptimizer(make(0.1), {"a": 0.25, "b": 2.0})
    theirs = variables()
    alone = [make(0.025), make(0.2)]
    for _ in range(3):
        optimizer.apply(GRADIENTS, ours)
        for single, variable, gradient in zip(alone, theirs, GRADIENTS, strict=True):
            single.apply([gradient], [variable])
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-6)
    assert int(optimizer.iterations) == 3


def test_a_factor_of_zero_stands_still_and_no_factor_is_the_optimiser_itself():
    ours, theirs = variables(), variables()
    LayerwiseOptimizer(keras.optimizers.Adam(0.1), {"a": 0.0}).apply(GRADIENTS, ours)
    keras.optimizers.Adam(0.1).apply(GRADIENTS, theirs)
    np.testing.assert_array_equal(np.asarray(ours[0]), [1.0, -2.0])
    np.testing.assert_array_equal(np.asarray(ours[1]), np.asarray(theirs[1]))


def test_schedules_and_settable_rates_go_through():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    ours, theirs = variables(), variables()
    a, b = LayerwiseOptimizer(keras.optimizers.SGD(schedule), {}), keras.optimizers.SGD(schedule)
    for _ in range(3):
        a.apply(GRADIENTS, ours)
        b.apply(GRADIENTS, theirs)
    np.testing.assert_array_equal(np.asarray(ours[0]), np.asarray(theirs[0]))
    plain = LayerwiseOptimizer(keras.optimizers.SGD(0.1), {})
    plain.learning_rate = 0.5
    assert float(plain.learning_rate) == 0.5


def test_compiled_models_are_saved_and_go_on_as_they_would_have(tmp_path):
    x = np.random.default_rng(0).normal(size=(12, 16, 16, 3)).astype(np.float32)
    y = np.arange(12) % 5
    model = small_network(dropout=0.0)
    model.compile(
        LayerwiseOptimizer(keras.optimizers.AdamW(0.01), {"one_conv/kernel": 0.1}),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(x, y, batch_size=6, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.optimizer.factors == {"one_conv/kernel": 0.1}
    assert int(again.optimizer.iterations) == 4
    for one in (model, again):
        one.fit(x, y, batch_size=6, epochs=1, shuffle=False, verbose=0)
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_discriminative_rates_fall_towards_the_input():
    backbone = Backbone(small_network())
    factors = discriminative(backbone, decay=0.5, rate=0.8, groups=2)
    assert set(factors.values()) == {0.4, 0.8}
    assert factors["one_conv/kernel"] == 0.4 and factors["two_conv/kernel"] == 0.8
    assert len(factors) == len(backbone.variables)
    one_each = discriminative(backbone, decay=0.5)
    assert sorted(set(one_each.values())) == [0.125, 0.25, 0.5, 1.0]


def test_refusals():
    used = keras.optimizers.SGD(0.1)
    used.build(variables())
    for make in (
        lambda: LayerwiseOptimizer(used, {}),
        lambda: LayerwiseOptimizer(object(), {}),
        lambda: LayerwiseOptimizer("sgd", {"a": -1.0}),
        lambda: discriminative(Backbone(small_network()), decay=0.0),
        lambda: discriminative(Backbone(small_network()), groups=0),
    ):
        with pytest.raises(UsageError):
            make()
