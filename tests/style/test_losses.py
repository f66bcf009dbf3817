"""Losses against plain NumPy and against numerical gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.style.losses import content_loss, gram_matrix, relative_loss, style_loss, total_variation

RNG = np.random.default_rng(0)
F = RNG.normal(0, 2, (1, 5, 4, 3))
P = RNG.normal(0, 2, (1, 5, 4, 3))


def gram(maps: np.ndarray) -> np.ndarray:
    """Every entry by its definition."""
    _, height, width, channels = maps.shape
    result = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            result[i, j] = sum(maps[0, y, x, i] * maps[0, y, x, j] for y in range(height) for x in range(width))
    return result / (height * width)


def variation(picture: np.ndarray) -> float:
    _, height, width, _ = picture.shape
    down = [(picture[0, y + 1, x] - picture[0, y, x]) ** 2 for y in range(height - 1) for x in range(width)]
    across = [(picture[0, y, x + 1] - picture[0, y, x]) ** 2 for y in range(height) for x in range(width - 1)]
    return float((np.mean(down) + np.mean(across)) / 255**2)


def numerical_gradient(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    result = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[index] += step
        down[index] -= step
        result[index] = (function(up) - function(down)) / (2 * step)
    return result


def test_gram_matrix_is_its_definition() -> None:
    np.testing.assert_allclose(gram_matrix(tf.constant(F)), gram(F), rtol=1e-12)


def test_published_losses_are_the_formulas_of_the_paper() -> None:
    assert float(content_loss(tf.constant(F), tf.constant(P))) == pytest.approx(0.5 * ((F - P) ** 2).sum(), rel=1e-12)
    m, n = 5 * 4, 3
    g, a = gram(F) * m, gram(P) * m  # the paper's Gram matrices are sums
    expected = ((g - a) ** 2).sum() / (4 * n**2 * m**2)
    assert float(style_loss(gram_matrix(tf.constant(F)), gram_matrix(tf.constant(P)))) == pytest.approx(expected)


def test_relative_loss_knows_no_scale() -> None:
    expected = ((F - P) ** 2).sum() / (P**2).sum()
    assert float(relative_loss(tf.constant(F), tf.constant(P))) == pytest.approx(expected, rel=1e-9)
    assert float(relative_loss(tf.constant(1e3 * F), tf.constant(1e3 * P))) == pytest.approx(expected, rel=1e-9)
    assert float(relative_loss(tf.constant(0 * P), tf.constant(P))) == pytest.approx(1, rel=1e-9)
    assert float(relative_loss(tf.constant(P), tf.constant(P))) == 0
    assert np.isfinite(float(relative_loss(tf.constant(P), tf.constant(0 * P))))


def test_a_texture_has_the_same_gram_matrix_at_every_size() -> None:
    tiled = np.tile(F, (1, 3, 2, 1))
    np.testing.assert_allclose(gram_matrix(tf.constant(tiled)), gram_matrix(tf.constant(F)), rtol=1e-12)


def test_variation_of_known_pictures() -> None:
    picture = RNG.uniform(0, 255, (1, 6, 5, 3))
    assert float(total_variation(tf.constant(picture))) == pytest.approx(variation(picture), rel=1e-12)
    assert float(total_variation(tf.fill((1, 4, 4, 3), 77.0))) == 0
    board = 255.0 * (np.indices((4, 4)).sum(axis=0) % 2)[None, ..., None]
    assert float(total_variation(tf.constant(board))) == pytest.approx(2)


@pytest.mark.parametrize(
    ("name", "loss", "plain"),
    [
        ("content", lambda x: content_loss(x, tf.constant(P)), lambda x: 0.5 * ((x - P) ** 2).sum()),
        (
            "style",
            lambda x: style_loss(gram_matrix(x), gram_matrix(tf.constant(P))),
            lambda x: ((gram(x) - gram(P)) ** 2).sum() / 36,
        ),
        (
            "relative style",
            lambda x: relative_loss(gram_matrix(x), gram_matrix(tf.constant(P))),
            lambda x: ((gram(x) - gram(P)) ** 2).sum() / (gram(P) ** 2).sum(),
        ),
        ("variation", total_variation, variation),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_gradients_are_those_of_the_numpy_formulas(name: str, loss: Any, plain: Any) -> None:
    x = tf.constant(F)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
    assert float(value) == pytest.approx(plain(F), rel=1e-10)
    gradient = np.asarray(tape.gradient(value, x))
    expected = numerical_gradient(plain, F)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7 * np.abs(expected).max() + 1e-12)
