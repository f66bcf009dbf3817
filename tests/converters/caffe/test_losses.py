"""Losses and accuracy against their loops over elements."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from modelzoo.errors import ConversionError
from tests.converters.caffe.networks import inputs, model_of, run, tops_of

RNG = np.random.default_rng(7)
TINY = np.finfo(np.float32).tiny


def loss(kind, said="", tops=("loss",), **feeds):
    return tops_of(kind, said, None, tops, **feeds)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def positions(x, axis):
    """Index of each position of x but for the axis of the classes, and the index with a class put in."""
    sizes = [range(size) for index, size in enumerate(x.shape) if index != axis]
    for place in itertools.product(*sizes):
        yield place, lambda label, place=place: (*place[:axis], label, *place[axis:])


CASES = [((6, 5), 1), ((2, 5, 3, 4), 1), ((2, 3, 4), 2), ((3, 4, 5), -1), ((5, 4), 0)]


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("mode", ["", "FULL", "VALID", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("ignored", [None, 2, 255])
def test_softmax_with_loss(shape, axis, mode, ignored):
    x = RNG.normal(size=shape).astype(np.float32)
    axis_at = axis % len(shape)
    rest = [size for index, size in enumerate(shape) if index != axis_at]
    labels = RNG.integers(0, shape[axis_at], rest)
    if ignored == 255:
        labels[..., 0] = 255
    said = f"softmax_param {{ axis: {axis} }} loss_param {{ {f'normalization: {mode}' if mode else ''}"
    said += f" {'' if ignored is None else f'ignore_label: {ignored}'} }}"
    found = loss("SoftmaxWithLoss", said, ("loss", "prob"), x=x, label=labels)
    prob = softmax(x.astype(np.float64), axis_at)
    total, valid = 0.0, 0
    for place, at in positions(x, axis_at):
        if labels[place] != ignored:
            total -= np.log(max(prob[at(labels[place])], TINY))
            valid += 1
    count = {"FULL": labels.size, "BATCH_SIZE": np.prod(shape[:axis_at]), "NONE": 1}.get(mode, valid)
    assert found["loss"].shape == ()
    np.testing.assert_allclose(found["loss"], total / max(count, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["prob"], prob, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("said", "count"), [("normalize: true", 12), ("normalize: false", 4)])
def test_the_older_field_normalize_is_still_read(said, count):
    x, labels = RNG.normal(size=(4, 5, 3)), RNG.integers(0, 5, (4, 3))
    found = loss("SoftmaxWithLoss", f"loss_param {{ {said} }}", x=x, label=labels)
    prob = softmax(x, 1)
    total = -sum(np.log(prob[at(labels[place])]) for place, at in positions(x, 1))
    np.testing.assert_allclose(found["loss"], total / count, rtol=1e-4)


def test_a_probability_of_zero_gives_a_finite_loss():
    found = loss("SoftmaxWithLoss", x=[[200.0, 0.0]], label=[1.0])
    np.testing.assert_allclose(found["loss"], -np.log(np.float32(TINY)), rtol=1e-5)


def test_all_labels_ignored_is_a_loss_of_zero():
    found = loss("SoftmaxWithLoss", "loss_param { ignore_label: 1 }", x=RNG.normal(size=(3, 4)), label=np.ones(3))
    assert found["loss"] == 0


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("ignored", [None, 1])
def test_infogain_loss(shape, axis, ignored):
    x = RNG.normal(size=shape).astype(np.float32)
    axis_at = axis % len(shape)
    classes = shape[axis_at]
    labels = RNG.integers(0, classes, [size for index, size in enumerate(shape) if index != axis_at])
    matrix = RNG.uniform(size=(1, 1, classes, classes)).astype(np.float32)
    said = f"infogain_loss_param {{ axis: {axis} }}" + ("" if ignored is None else " loss_param { ignore_label: 1 }")
    found = loss("InfogainLoss", said, x=x, label=labels, h=matrix)
    prob, total, valid = softmax(x.astype(np.float64), axis_at), 0.0, 0
    for place, at in positions(x, axis_at):
        if labels[place] != ignored:
            valid += 1
            for other in range(classes):
                total -= matrix[0, 0, labels[place], other] * np.log(max(prob[at(other)], 1e-20))
    np.testing.assert_allclose(found["loss"], total / max(valid, 1), rtol=1e-4)


def test_infogain_loss_without_its_matrix_is_refused():
    text = inputs(x=(2, 3), y=(2,))
    text += 'layer { name: "l" type: "InfogainLoss" bottom: "x" bottom: "y" top: "l"'
    with pytest.raises(ConversionError, match="file of its own"):
        model_of(text + ' infogain_loss_param { source: "h.binaryproto" } }')


def test_multinomial_logistic_loss():
    prob = RNG.uniform(0.01, 1, (4, 5, 1, 1)).astype(np.float32)
    prob[2, 3] = 0
    labels = np.array([0, 4, 3, 1])
    found = loss("MultinomialLogisticLoss", x=prob, label=labels)
    expected = -np.mean(np.log(np.maximum(prob[np.arange(4), labels, 0, 0], 1e-20)))
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)


def test_euclidean_loss():
    x, y = RNG.normal(size=(2, 3, 4, 5, 2))[..., :2].transpose(4, 0, 1, 2, 3)
    np.testing.assert_allclose(loss("EuclideanLoss", x=x, y=y)["loss"], ((x - y) ** 2).sum() / 4, rtol=1e-5)


@pytest.mark.parametrize("mode", ["", "FULL", "VALID", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("ignored", [None, -1])
def test_sigmoid_cross_entropy_loss(mode, ignored):
    x = RNG.normal(size=(4, 3, 2)) * 30
    target = RNG.integers(-1 if ignored else 0, 2, x.shape).astype(np.float64)
    said = f"loss_param {{ {f'normalization: {mode}' if mode else ''} {'ignore_label: -1' if ignored else ''} }}"
    found = loss("SigmoidCrossEntropyLoss", said, x=x, target=target)
    valid = target != -1 if ignored else np.ones_like(target, bool)
    x32 = np.float32(x).astype(np.float64)
    each = np.logaddexp(0, x32) - x32 * target
    count = {"": 4, "FULL": x.size, "VALID": valid.sum(), "BATCH_SIZE": 4, "NONE": 1}[mode]
    np.testing.assert_allclose(found["loss"], each[valid].sum() / count, rtol=1e-4)


@pytest.mark.parametrize("norm", ["", "L1", "L2"])
def test_hinge_loss(norm):
    x, labels = RNG.normal(size=(4, 5)), np.array([1, 0, 4, 4])
    signs = np.ones((4, 5))
    signs[np.arange(4), labels] = -1
    margins = np.maximum(0, 1 + signs * x)
    found = loss("HingeLoss", f"hinge_loss_param {{ norm: {norm} }}" if norm else "", x=x, label=labels)
    np.testing.assert_allclose(found["loss"], (margins**2 if norm == "L2" else margins).sum() / 4, rtol=1e-5)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1, 1)])
def test_contrastive_loss(legacy, shape):
    a, b, y = RNG.normal(size=shape), RNG.normal(size=shape), np.array([0, 1, 0, 1, 1, 0])
    said = f"contrastive_loss_param {{ margin: 3 legacy_version: {str(legacy).lower()} }}"
    found = loss("ContrastiveLoss", said, a=a, b=b, y=y)
    square = ((a - b) ** 2).reshape(6, -1).sum(1)
    apart = np.maximum(3 - square, 0) if legacy else np.maximum(3 - np.sqrt(square), 0) ** 2
    np.testing.assert_allclose(found["loss"], np.where(y == 1, square, apart).sum() / 12, rtol=1e-5)


@pytest.mark.parametrize(("shape", "axis"), CASES)
@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("ignored", [None, 1])
def test_accuracy(shape, axis, top_k, ignored):
    x = RNG.integers(0, 4, shape).astype(np.float32)  # many equal scores
    axis_at = axis % len(shape)
    classes = shape[axis_at]
    labels = RNG.integers(0, classes, [size for index, size in enumerate(shape) if index != axis_at])
    said = f"accuracy_param {{ axis: {axis} top_k: {min(top_k, classes)} "
    said += "}" if ignored is None else "ignore_label: 1 }"
    found = loss("Accuracy", said, ("all", "each"), x=x, label=labels)
    hits, counts = np.zeros(classes), np.zeros(classes)
    for place, at in positions(x, axis_at):
        label = labels[place]
        if label != ignored:
            better = sum(x[at(other)] >= x[at(label)] for other in range(classes)) - 1
            counts[label] += 1
            hits[label] += better < min(top_k, classes)
    np.testing.assert_allclose(found["all"], hits.sum() / max(counts.sum(), 1), rtol=1e-6)
    np.testing.assert_allclose(found["each"], hits / np.maximum(counts, 1), rtol=1e-6)


def test_labels_that_do_not_fit_are_refused():
    text = inputs(x=(2, 3, 4), y=(2,))
    with pytest.raises(ConversionError, match="a label for each position"):
        model_of(text + 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "l" }')


def test_any_number_of_pictures_may_come():
    text = inputs(x=(2, 3), y=(2,)) + 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "y" top: "l" }'
    x, labels = RNG.normal(size=(5, 3)), np.array([0, 1, 2, 1, 0])
    found = run(text, {"x": x, "y": labels})
    np.testing.assert_allclose(found["l"], -np.log(softmax(x, 1)[np.arange(5), labels]).mean(), rtol=1e-5)


def test_losses_behind_a_filter():
    """The number of examples is known only when the network runs."""
    text = inputs(x=(4, 3), y=(4,), keep=(4,))
    text += 'layer { name: "f" type: "Filter" bottom: "x" bottom: "y" bottom: "keep" top: "fx" top: "fy" }'
    for kind in ("SoftmaxWithLoss", "HingeLoss", "Accuracy"):
        text += f'layer {{ name: "{kind}" type: "{kind}" bottom: "fx" bottom: "fy" top: "{kind}" }}'
    x, labels = RNG.normal(size=(4, 3)), np.array([0, 1, 2, 1])
    found = run(text, {"x": x, "y": labels, "keep": [1, 0, 1, 1]})
    few = loss("SoftmaxWithLoss", x=x[[0, 2, 3]], y=labels[[0, 2, 3]])["loss"]
    np.testing.assert_allclose(found["SoftmaxWithLoss"], few, rtol=1e-5)
    few = loss("HingeLoss", x=x[[0, 2, 3]], y=labels[[0, 2, 3]])["loss"]
    np.testing.assert_allclose(found["HingeLoss"], few, rtol=1e-5)
