"""ai.onnx.ml: support vector machines, as libsvm computes them.

Shapes: x (N, F), support vectors (V, F), kernel values (N, V), K classes, P = K (K - 1) / 2 pairs of them.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import tensorflow as tf

from converters.function.ml_scores import labelled, transformed, two_classes, with_rows
from converters.function.table import Tensor, op

__all__: list[str] = []

_ML = "ai.onnx.ml"


def _kernel(x: tf.Tensor, vectors: np.ndarray, kind: str, params: list[float] | None) -> tf.Tensor:
    """The kernel of each row with each vector, (N, V), float64."""
    gamma, coef0, degree = params or (0.0, 0.0, 0.0)
    wide = tf.cast(x, tf.float64)
    others = tf.constant(vectors, tf.float64)
    products = tf.matmul(wide, others, transpose_b=True)
    match kind:
        case "LINEAR":
            return products
        case "POLY":
            return (products * gamma + coef0) ** degree
        case "SIGMOID":
            return tf.tanh(products * gamma + coef0)
        case "RBF":
            squares = tf.reduce_sum(wide**2, 1, keepdims=True) + tf.reduce_sum(others**2, 1)
            return tf.exp(-gamma * (squares - 2 * products))
    raise ValueError(f"unknown kernel_type {kind!r}; known: LINEAR, POLY, RBF, SIGMOID")


@op("SVMRegressor", domain=_ML)
def svm_regressor(
    x: Tensor,
    *,
    coefficients: list[float],
    rho: list[float],
    kernel_params: list[float] | None = None,
    kernel_type: str = "LINEAR",
    n_supports: int = 0,
    one_class: int = 0,
    post_transform: str = "NONE",
    support_vectors: list[float] | None = None,
) -> Tensor:
    rows = with_rows(x)
    weights = np.array(coefficients, np.float64)
    if n_supports:
        vectors = np.array(support_vectors, np.float64).reshape(n_supports, -1)
        scores = tf.linalg.matvec(_kernel(rows, vectors, kernel_type, kernel_params), weights) + rho[0]
    else:
        scores = tf.linalg.matvec(tf.cast(rows, tf.float64), weights) + rho[0]
    if one_class:
        return tf.where(scores > 0, 1.0, -1.0)[:, None]
    return transformed(tf.cast(scores, tf.float32)[:, None], post_transform)


@op("SVMClassifier", domain=_ML)
def svm_classifier(
    x: Tensor,
    *,
    classlabels_ints: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
    coefficients: list[float],
    kernel_params: list[float] | None = None,
    kernel_type: str = "LINEAR",
    post_transform: str = "NONE",
    prob_a: list[float] | None = None,
    prob_b: list[float] | None = None,
    rho: list[float],
    support_vectors: list[float] | None = None,
    vectors_per_class: list[int] | None = None,
) -> tuple[Tensor, Tensor]:
    rows = with_rows(x)
    classes = len(classlabels_strings or classlabels_ints or [])
    weights = np.array(coefficients, np.float64)
    if not vectors_per_class or not sum(vectors_per_class):
        # liblinear's form: one row of coefficients for each class, one offset for all.
        made = tf.matmul(tf.cast(rows, tf.float64), weights.reshape(classes, -1), transpose_b=True) + rho[0]
        scores = tf.cast(made, tf.float32)
        chosen = labelled(tf.argmax(scores, -1), classlabels_ints, classlabels_strings)
        return chosen, transformed(scores, post_transform)
    total = sum(vectors_per_class)
    vectors = np.array(support_vectors, np.float64).reshape(total, -1)
    pairs = list(combinations(range(classes), 2))
    mixed = _pair_weights(weights.reshape(-1, total), vectors_per_class, pairs)
    duels = tf.matmul(_kernel(rows, vectors, kernel_type, kernel_params), mixed) + np.array(rho[: len(pairs)])
    first, second = np.array(pairs).T
    wins = tf.cast(duels > 0, tf.float64)
    votes = tf.matmul(wins, np.eye(classes)[first]) + tf.matmul(1 - wins, np.eye(classes)[second])
    chosen = labelled(tf.argmax(votes, -1), classlabels_ints, classlabels_strings)
    if prob_a and prob_b:
        # 1 - logistic(a s + b): the chance of the first class of each pair (Platt)
        chances = tf.sigmoid(-(duels * np.array(prob_a[: len(pairs)]) + np.array(prob_b[: len(pairs)])))
        scores = _coupled(tf.clip_by_value(chances, 1e-7, 1 - 1e-7), pairs, classes)
        return chosen, transformed(tf.cast(scores, tf.float32), post_transform)
    scores = tf.cast(duels, tf.float32)
    if classes == 2:
        return chosen, two_classes(scores, post_transform, signed=True)
    return chosen, transformed(scores, post_transform)


def _pair_weights(rows: np.ndarray, sizes: list[int], pairs: list[tuple[int, int]]) -> np.ndarray:
    """The weight of each support vector in the duel of each pair, (V, P), from coefficients (K - 1, V).

    The vectors of class i have their coefficient against class j in row j - 1 for j > i, in row j for j < i.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)])
    mixed = np.zeros((rows.shape[1], len(pairs)))
    for column, (i, j) in enumerate(pairs):
        mixed[starts[i] : starts[i + 1], column] = rows[j - 1, starts[i] : starts[i + 1]]
        mixed[starts[j] : starts[j + 1], column] = rows[i, starts[j] : starts[j + 1]]
    return mixed


def _coupled(chances: tf.Tensor, pairs: list[tuple[int, int]], classes: int) -> tf.Tensor:
    """Probabilities of the classes (N, K) from those of the pairs (N, P).

    Wu, Lin and Weng, "Probability Estimates for Multi-class Classification by Pairwise Coupling" (2004), algorithm 2,
    with libsvm's bound on the error and on the number of rounds.
    """
    first, second = np.array(pairs).T
    upper = np.zeros((len(pairs), classes * classes))
    lower = np.zeros_like(upper)
    upper[np.arange(len(pairs)), first * classes + second] = 1
    lower[np.arange(len(pairs)), second * classes + first] = 1
    r = tf.reshape(tf.matmul(chances, upper) + tf.matmul(1 - chances, lower), (-1, classes, classes))
    flipped = tf.transpose(r, (0, 2, 1))
    q = -flipped * r + tf.linalg.diag(tf.reduce_sum(r**2, 1))
    diagonal = tf.linalg.diag_part(q)

    def parts(p: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        qp = tf.linalg.matvec(q, p)
        pqp = tf.reduce_sum(p * qp, -1, keepdims=True)
        return qp, pqp, tf.reduce_max(tf.abs(qp - pqp), -1, keepdims=True) >= 0.005 / classes

    def round_(p: tf.Tensor) -> tuple[tf.Tensor]:
        qp, pqp, running = parts(p)
        new = p
        for t in range(classes):
            own = diagonal[:, t : t + 1]
            diff = (pqp - qp[:, t : t + 1]) / own
            new = (new + diff * np.eye(classes)[t]) / (1 + diff)
            pqp = (pqp + diff * (diff * own + 2 * qp[:, t : t + 1])) / (1 + diff) ** 2
            qp = (qp + diff * q[:, t]) / (1 + diff)
        return (tf.where(running, new, p),)

    start = tf.ones_like(diagonal) / classes
    return tf.while_loop(lambda p: tf.reduce_any(parts(p)[2]), round_, (start,), maximum_iterations=100)[0]
