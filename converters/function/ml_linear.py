"""ai.onnx.ml: linear models."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from converters.function.ml_scores import labelled, transformed, two_classes, with_rows
from converters.function.table import Tensor, op

__all__: list[str] = []

_ML = "ai.onnx.ml"


def _scores(x: tf.Tensor, coefficients: list[float], intercepts: list[float] | None, count: int) -> tf.Tensor:
    rows = with_rows(x)
    taps = np.array(coefficients, rows.dtype.as_numpy_dtype).reshape(count, -1)
    made = tf.matmul(rows, taps, transpose_b=True)
    return made if not intercepts else made + np.array(intercepts, rows.dtype.as_numpy_dtype)


@op("LinearRegressor", domain=_ML)
def linear_regressor(
    x: Tensor,
    *,
    coefficients: list[float] | None = None,
    intercepts: list[float] | None = None,
    post_transform: str = "NONE",
    targets: int = 1,
) -> Tensor:
    return tf.cast(transformed(_scores(x, coefficients or [], intercepts, targets), post_transform), tf.float32)


@op("LinearClassifier", domain=_ML)
def linear_classifier(
    x: Tensor,
    *,
    coefficients: list[float],
    classlabels_ints: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
    intercepts: list[float] | None = None,
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> tuple[Tensor, Tensor]:
    labels = len(classlabels_strings or classlabels_ints or [])
    count = len(intercepts) if intercepts else max(1, len(coefficients) // int(with_rows(x).shape[-1] or 1))
    scores = tf.cast(_scores(x, coefficients, intercepts, count), tf.float32)
    if count > 1:
        index = tf.argmax(scores, -1)
        return labelled(index, classlabels_ints, classlabels_strings), transformed(scores, post_transform)
    index = tf.cast(scores[:, 0] > 0, tf.int64)
    if labels == 2:
        chosen = labelled(index, classlabels_ints, classlabels_strings)
        return chosen, two_classes(scores, post_transform, signed=False)
    # One label only: the answer is whether it holds.
    chosen = labelled(index, None if classlabels_strings else [0, 1], ["0", "1"] if classlabels_strings else None)
    return chosen, transformed(scores, post_transform)
