"""Losses and accuracy: each gives one number, shape (), normalised by the batch; loss_weight does not change it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import axis_of, choice, refusal

_FLOAT, _INT64, _BOOL = 1, 7, 9

#: The smallest probabilities that a logarithm is taken of.
_FLT_MIN = float(np.finfo(np.float32).tiny)
_LOG_THRESHOLD = 1e-20


@layer_type("SoftmaxWithLoss")
def softmax_with_loss(g: Builder, layer: Layer, scores: Value, target: Value) -> tuple[Value, Value]:
    """-log softmax at the label, summed and divided by what `normalization` counts; second top: the softmax."""
    axis = axis_of(layer, scores, layer.message.softmax_param.axis)
    labels = _Labels(g, layer, scores, target, axis, layer.message.loss_param)
    prob = g.Softmax(scores, axis=axis)
    gain = g.Log(g.Max(g.GatherElements(prob, labels.index, axis=axis), _FLT_MIN))
    return g.Div(g.Neg(_sum(g, labels.or_zero(gain))), labels.count(_normalization(layer, "VALID"))), prob


@layer_type("InfogainLoss")
def infogain_loss(
    g: Builder, layer: Layer, scores: Value, target: Value, matrix: Value | None = None
) -> tuple[Value, Value]:
    """-sum over classes of H[label, class] log softmax; H is the third bottom, L * L; second top: the softmax."""
    axis = axis_of(layer, scores, layer.message.infogain_loss_param.axis)
    (classes,) = scores.sizes_from(axis, axis + 1)
    if matrix is None:
        raise refusal(
            layer,
            "has its matrix in a file of its own.",
            received=layer.message.infogain_loss_param.source or "no source",
            hint="give the matrix as a third bottom, (1, 1, L, L)",
        )
    if math.prod(matrix.sizes) != classes**2:
        raise refusal(layer, "has a matrix of a wrong size.", received=matrix.shape, hint=f"{classes} x {classes}")
    g.not_batch(matrix)
    labels = _Labels(g, layer, scores, target, axis, layer.message.loss_param)
    prob = g.Softmax(scores, axis=axis)
    rows = g.Gather(g.Reshape(matrix, [classes, classes]), g.Squeeze(labels.index, [axis]), axis=0)
    last = scores.rank - 1
    rows = g.Transpose(rows, perm=[*range(axis), last, *range(axis, last)])  # the classes to their axis
    gain = g.ReduceSum(g.Mul(rows, g.Log(g.Max(prob, _LOG_THRESHOLD))), [axis], keepdims=1)
    return g.Div(g.Neg(_sum(g, labels.or_zero(gain))), labels.count(_normalization(layer, "VALID"))), prob


@layer_type("MultinomialLogisticLoss")
def multinomial_logistic_loss(g: Builder, layer: Layer, prob: Value, target: Value) -> Value:
    """Mean of -log prob at the label; prob (N, ...) are probabilities already."""
    flat = _rows(g, prob)
    labels = _Labels(g, layer, flat, target, 1)
    gain = g.Log(g.Max(g.GatherElements(flat, labels.index, axis=1), _LOG_THRESHOLD))
    return g.Div(g.Neg(_sum(g, gain)), _length(g, flat))


@layer_type("EuclideanLoss")
def euclidean_loss(g: Builder, layer: Layer, x: Value, y: Value) -> Value:
    """Sum of squared differences / 2N."""
    _same_count(layer, x, y)
    difference = g.Sub(_rows(g, x), _rows(g, y))
    return g.Div(g.ReduceSumSquare(difference, keepdims=0), g.Mul(_length(g, x), 2.0))


@layer_type("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(g: Builder, layer: Layer, x: Value, target: Value) -> Value:
    """Sum of the cross entropies of sigmoid(x) and the targets, / N unless `normalization` says otherwise."""
    _same_count(layer, x, target)
    x, target = _rows(g, x), _rows(g, target)
    # -(x t - max(x, 0) - log(1 + e^-|x|)): no exponential overflows.
    gain = g.Sub(g.Sub(g.Mul(x, target), g.Relu(x)), g.Log(g.Add(g.Exp(g.Neg(g.Abs(x))), 1.0)))
    param = layer.message.loss_param
    valid = None
    if param.HasField("ignore_label"):
        valid = g.Not(g.Equal(g.Cast(target, to=_INT64), param.ignore_label))
        gain = g.Where(valid, gain, _zero(g))
    return g.Div(g.Neg(_sum(g, gain)), _count(g, _normalization(layer, "BATCH_SIZE"), x, 1, valid))


@layer_type("HingeLoss")
def hinge_loss(g: Builder, layer: Layer, x: Value, target: Value) -> Value:
    """One against all: max(0, 1 - x) at the label and max(0, 1 + x) elsewhere, or their squares (L2), summed, / N."""
    flat = _rows(g, x)
    labels = _Labels(g, layer, flat, target, 1)
    own = g.Equal(labels.index, np.arange(flat.sizes_from(1)[0])[None])
    margins = g.Relu(g.Add(g.Where(own, g.Neg(flat), flat), 1.0))
    squared = choice(layer.message.hinge_loss_param, "norm") == "L2"
    return g.Div(g.ReduceSumSquare(margins, keepdims=0) if squared else _sum(g, margins), _length(g, flat))


@layer_type("ContrastiveLoss")
def contrastive_loss(g: Builder, layer: Layer, a: Value, b: Value, similar: Value) -> Value:
    """Sum / 2N of d^2 for similar pairs and max(margin - d, 0)^2 for others; legacy: max(margin - d^2, 0).

    Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping", 2006.
    """
    _same_count(layer, a, b)
    param = layer.message.contrastive_loss_param
    square = g.ReduceSumSquare(g.Sub(_rows(g, a), _rows(g, b)), [1], keepdims=1)
    missing = g.Relu(g.Add(g.Neg(square if param.legacy_version else g.Sqrt(square)), float(param.margin)))
    apart = missing if param.legacy_version else g.Mul(missing, missing)
    pairs = g.Cast(g.Cast(g.reshape(similar, square.shape), to=_INT64), to=_BOOL)
    return g.Div(_sum(g, g.Where(pairs, square, apart)), g.Mul(_length(g, a), 2.0))


@layer_type("Accuracy")
def accuracy(g: Builder, layer: Layer, scores: Value, target: Value) -> tuple[Value, ...]:
    """Share of positions whose label is among the `top_k` largest scores; equal scores count as larger.

    Second top: the share of each class, (L,); 0 for a class that no label names.
    """
    param = layer.message.accuracy_param
    axis = axis_of(layer, scores, param.axis)
    labels = _Labels(g, layer, scores, target, axis, param)
    own = g.GatherElements(scores, labels.index, axis=axis)
    better = g.ReduceSum(g.Cast(g.GreaterOrEqual(scores, own), to=_FLOAT), [axis], keepdims=1)
    right = labels.or_zero(g.Cast(g.LessOrEqual(better, float(param.top_k)), to=_FLOAT))
    share = g.Div(_sum(g, right), labels.count("VALID"))
    if len(layer.tops) < 2:
        return (share,)
    along = [1] * scores.rank
    along[axis] = scores.sizes_from(axis, axis + 1)[0]
    one_hot = g.Equal(labels.index, np.arange(along[axis]).reshape(along))
    of_class = labels.or_zero(g.Cast(one_hot, to=_FLOAT))
    others = [index for index in range(scores.rank) if index != axis]
    hits = g.ReduceSum(g.Mul(of_class, right), others, keepdims=0)
    counts = g.ReduceSum(of_class, others, keepdims=0)
    return share, g.not_batch(g.Div(hits, g.Max(counts, 1.0)))


class _Labels:
    """Labels as integers in the shape of the scores, with one element on the axis of the classes.

    `index` is 0 where the label is to be ignored, and `valid` then is false.
    """

    def __init__(self, g: Builder, layer: Layer, scores: Value, target: Value, axis: int, param: Any = None) -> None:
        self.g, self.axis = g, axis
        shape = (*scores.shape[:axis], 1, *scores.shape[axis + 1 :])
        if _elements(target.shape) != _elements(shape):
            raise refusal(
                layer,
                f"needs a label for each position of {list(scores.shape)} but along axis {axis}.",
                received=list(target.shape),
                hint="check the axis, and the sizes of both inputs",
            )
        self.index = g.Cast(g.reshape(target, shape), to=_INT64)
        self.valid: Value | None = None
        if param is not None and param.HasField("ignore_label"):
            self.valid = g.Not(g.Equal(self.index, param.ignore_label))
            self.index = g.Where(self.valid, self.index, g.constant(0, np.int64))

    def or_zero(self, x: Value) -> Value:
        """x, 0 at ignored labels."""
        return x if self.valid is None else self.g.Where(self.valid, x, _zero(self.g))

    def count(self, mode: str) -> Value:
        return _count(self.g, mode, self.index, self.axis, self.valid)


def _normalization(layer: Layer, default: str) -> str:
    """FULL, VALID, BATCH_SIZE or NONE; the older field `normalize` chooses between VALID and BATCH_SIZE."""
    param = layer.message.loss_param
    if not param.HasField("normalization"):
        return default if not param.HasField("normalize") else "VALID" if param.normalize else "BATCH_SIZE"
    return choice(param, "normalization")


def _count(g: Builder, mode: str, x: Value, axis: int, valid: Value | None) -> Value:
    """What a sum over the elements of x is divided by, at least 1; those before `axis` are the batch."""
    if mode == "NONE":
        return g.constant(1.0, np.float32)
    if mode == "BATCH_SIZE":
        sizes = g.Cast(g.Shape(x, start=0, end=axis), to=_FLOAT)
        return g.Max(g.ReduceProd(sizes, keepdims=0), 1.0)
    if mode == "VALID" and valid is not None:
        return g.Max(_sum(g, g.Cast(valid, to=_FLOAT)), 1.0)
    return g.Max(g.Cast(g.Size(x), to=_FLOAT), 1.0)


def _length(g: Builder, x: Value) -> Value:
    """N, the size of the first axis."""
    return g.ReduceSum(g.Cast(g.Shape(x, start=0, end=1), to=_FLOAT), keepdims=0)


def _rows(g: Builder, x: Value) -> Value:
    """(N, everything else)."""
    return g.Flatten(x, axis=1)


def _sum(g: Builder, x: Value) -> Value:
    return g.ReduceSum(x, keepdims=0)


def _zero(g: Builder) -> Value:
    return g.constant(0.0, np.float32)


def _same_count(layer: Layer, x: Value, y: Value) -> None:
    if _elements(x.shape) != _elements(y.shape) or x.shape[:1] != y.shape[:1]:
        raise refusal(
            layer,
            "compares blobs of different sizes.",
            received=f"{list(x.shape)} and {list(y.shape)}",
            hint="check the sizes of both inputs",
        )


def _elements(shape: tuple[int | None, ...]) -> tuple[bool, int]:
    """Whether the size of some axis is known only when the network runs, and the product of the others."""
    return None in shape, math.prod(size for size in shape if size is not None)
