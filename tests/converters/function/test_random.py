"""Random operators: their distribution, their seeds, and that nothing of them is folded away."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper

from converters.function import load
from tests.converters.function.nodes import computed, one_node


def _source(operator: str, **attributes: Any) -> onnx.ModelProto:
    node = helper.make_node(operator, [], ["o0"], **attributes)
    graph = helper.make_graph([node], "random", [], [onnx.ValueInfoProto(name="o0")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=8)


def test_uniform_numbers_fill_their_interval() -> None:
    drawn = load(_source("RandomUniform", shape=[200, 100], low=-2.0, high=6.0))()["o0"].numpy()
    assert drawn.min() >= -2 and drawn.max() < 6
    assert np.histogram(drawn, 8, (-2, 6))[0] == pytest.approx(2500, rel=0.1)


def test_normal_numbers_have_mean_and_scale() -> None:
    drawn = load(_source("RandomNormal", shape=[200, 100], mean=3.0, scale=0.5, dtype=TensorProto.DOUBLE))()[
        "o0"
    ].numpy()
    assert drawn.dtype == np.float64
    assert drawn.mean() == pytest.approx(3, abs=0.02) and drawn.std() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("operator", ["RandomUniform", "RandomNormal"])
def test_a_seed_gives_the_same_numbers_and_none_gives_new_ones(operator: str) -> None:
    seeded, free = load(_source(operator, shape=[8], seed=3.0)), load(_source(operator, shape=[8]))
    np.testing.assert_array_equal(seeded()["o0"], seeded()["o0"])
    assert not np.array_equal(free()["o0"], free()["o0"])
    other = load(_source(operator, shape=[8], seed=4.0))
    assert not np.array_equal(seeded()["o0"], other()["o0"])


def test_a_traced_graph_draws_at_each_call() -> None:
    graph = tf.function(load(_source("RandomUniform", shape=[8])))
    assert not np.array_equal(graph({})["o0"], graph({})["o0"])


@pytest.mark.parametrize("like", ["RandomUniformLike", "RandomNormalLike"])
def test_like_takes_shape_and_type(like: str) -> None:
    x = np.zeros((3, 5), np.float16)
    (drawn,) = computed(one_node(like, [x], 22), [x])
    assert drawn.shape == (3, 5) and drawn.dtype == np.float16 and np.unique(drawn).size > 5


def test_bernoulli_is_one_as_often_as_its_probability_says() -> None:
    chances = np.repeat(np.array([[0.0], [0.2], [0.7], [1.0]], np.float32), 5000, 1)
    (drawn,) = computed(one_node("Bernoulli", [chances], 15, dtype=TensorProto.INT32), [chances])
    assert drawn.dtype == np.int32 and set(np.unique(drawn)) == {0, 1}
    assert drawn.mean(1) == pytest.approx([0, 0.2, 0.7, 1], abs=0.03)


def test_multinomial_draws_classes_by_their_unnormalised_logarithms() -> None:
    logs = np.log(np.array([[1.0, 2.0, 5.0]], np.float32)) + 4
    (drawn,) = computed(one_node("Multinomial", [logs], 7, sample_size=8000), [logs])
    assert np.bincount(drawn[0], minlength=3) / 8000 == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.03)


def test_dropout_in_training_keeps_the_mean_and_tells_what_it_kept() -> None:
    x, ratio, training = np.full((100, 100), 2.0, np.float32), np.array(0.25, np.float32), np.array(True)
    made, kept = computed(one_node("Dropout", [x, ratio, training], 13, outputs=2), [x, ratio, training])
    assert kept.dtype == np.bool_ and kept.mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(made, np.where(kept, 2 / 0.75, 0), rtol=1e-6)


@pytest.mark.parametrize(("opset", "attributes"), [(6, {"is_test": 1}), (7, {}), (10, {"ratio": 0.9}), (13, {})])
def test_dropout_at_inference_is_the_identity(opset: int, attributes: dict[str, Any]) -> None:
    x = np.arange(6, dtype=np.float32)
    made, kept = computed(one_node("Dropout", [x], opset, outputs=2, **attributes), [x])
    np.testing.assert_array_equal(made, x)
    assert kept.all()


def test_whether_dropout_trains_may_be_known_only_when_it_runs() -> None:
    x, ratio = np.ones(1000, np.float32), np.array(0.5, np.float32)
    function = load(one_node("Dropout", [x, ratio, np.array(True)], 13))
    graph = tf.function(lambda training: function({"i0": x, "i1": ratio, "i2": training})["o0"])
    assert (graph(tf.constant(True)).numpy() == 0).any()
    np.testing.assert_array_equal(graph(tf.constant(False)), x)
