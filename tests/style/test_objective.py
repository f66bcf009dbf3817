"""The whole loss against plain NumPy, its gradient against differences, and its one trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.style.network import TapNetwork
from modelzoo.style.objective import Objective, Weights
from tests.style.networks import picture, small, stripes
from tests.style.test_losses import gram, variation

CONTENT, STYLE, OTHER = picture(16, 20), stripes(18, 14), picture(20, 12, seed=5)


def weights(relative: bool = True, **changed: Any) -> Weights:
    options: dict[str, Any] = {
        "content": 2.0,
        "style": 30.0,
        "variation": 0.5,
        "content_taps": {"conv2": 1.0},
        "style_taps": {"conv1": 0.25, "conv3": 0.75},
        "relative": relative,
    }
    return Weights(**{**options, **changed})


def network(dtype: str = "float32") -> TapNetwork:
    model = small(dtype=dtype)
    return TapNetwork(model, ["conv1", "conv2", "conv3"], preprocess=model.preprocess)


def plain_maps(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The small network by loops over its windows, in float64."""
    model = small()
    x = np.asarray(pixels, np.float64) / 127.5 - 1
    maps = {}
    for number in (1, 2, 3):
        if number > 1:
            height, width = x.shape[0] // 2, x.shape[1] // 2
            x = x[: 2 * height, : 2 * width].reshape(height, 2, width, 2, -1).max(axis=(1, 3))
        kernel, bias = (w.numpy().astype(np.float64) for w in model.get_layer(f"conv{number}").weights)
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        out = np.zeros((*x.shape[:2], kernel.shape[-1])) + bias
        for dy in range(3):
            for dx in range(3):
                out += padded[dy : dy + x.shape[0], dx : dx + x.shape[1]] @ kernel[dy, dx]
        x = np.maximum(out, 0)
        maps[f"conv{number}"] = x[None]
    return maps


def plain_total(pixels: np.ndarray, relative: bool, blend: tuple[float, float]) -> float:
    mine, content = plain_maps(pixels), plain_maps(CONTENT)
    styles = [plain_maps(STYLE), plain_maps(OTHER)]
    difference = ((mine["conv2"] - content["conv2"]) ** 2).sum()
    total = 2.0 * (difference / (content["conv2"] ** 2).sum() if relative else difference / 2)
    for tap, share in (("conv1", 0.25), ("conv3", 0.75)):
        for part, style in zip(blend, styles, strict=True):
            g, a = gram(mine[tap]), gram(style[tap])
            scale = (a**2).sum() if relative else 4 * len(a) ** 2
            total += 30.0 * share * part * ((g - a) ** 2).sum() / scale
    return float(total + 0.5 * variation(pixels[None]))


@pytest.mark.parametrize("relative", [True, False])
def test_the_total_is_that_of_plain_numpy(relative: bool) -> None:
    pixels = picture(16, 20, seed=9).astype(np.float32)
    objective = Objective(network(), CONTENT, [STYLE, OTHER], [0.3, 0.7], weights(relative))
    total, _, terms = objective.value_and_gradient(tf.constant(pixels[None]))
    expected = plain_total(pixels.astype(np.float64), relative, (0.3, 0.7))
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert objective.names == ["content conv2", "style conv1", "style conv3", "variation"]
    assert float(np.dot(terms, objective.factors)) == pytest.approx(float(total), rel=1e-6)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("grey", [False, True])
def test_the_gradient_is_that_of_differences(relative: bool, grey: bool) -> None:
    objective = Objective(network("float64"), CONTENT, [STYLE, OTHER], [0.3, 0.7], weights(relative), grey=grey)
    at = picture(16, 20, seed=9).astype(np.float64)[None] + np.random.default_rng(0).uniform(0, 1, (1, 16, 20, 3))
    at = at[..., :1] if grey else at
    _, gradient, _ = objective.value_and_gradient(tf.constant(at))
    assert gradient.dtype == tf.float64
    rng = np.random.default_rng(1)
    for _ in range(5):
        way = rng.normal(size=at.shape)
        step = 1e-5
        up, _, _ = objective.value_and_gradient(tf.constant(at + step * way))
        down, _, _ = objective.value_and_gradient(tf.constant(at - step * way))
        assert float(np.sum(gradient * way)) == pytest.approx(float(up - down) / (2 * step), rel=1e-5)


def test_terms_are_zero_where_the_targets_are_met() -> None:
    objective = Objective(network(), CONTENT, [CONTENT], [1.0], weights())
    terms = objective.terms(tf.constant(CONTENT[None], tf.float32))
    np.testing.assert_allclose(terms[:-1], 0, atol=1e-8)


def test_it_is_traced_once() -> None:
    objective = Objective(network(), CONTENT, [STYLE], [1.0], weights())
    for seed in range(5):
        objective.value_and_gradient(tf.constant(picture(16, 20, seed=seed)[None], tf.float32))
    assert objective.traces == 1


def test_parts_without_weight_are_not_computed() -> None:
    objective = Objective(network(), CONTENT, [STYLE, OTHER], [0.0, 1.0], weights(content=0.0, variation=0.0))
    assert objective.names == ["style conv1", "style conv3"]
    alone = Objective(network(), CONTENT, [OTHER], [1.0], weights(content=0.0, variation=0.0))
    x = tf.constant(picture(16, 20, seed=9)[None], tf.float32)
    np.testing.assert_array_equal(objective.terms(x), alone.terms(x))
    only = Objective(network(), CONTENT, [STYLE], [1.0], weights(style=0.0))
    assert only.names == ["content conv2", "variation"]


def test_layers_count_alike_relative_to_their_targets_and_not_as_published() -> None:
    """A network whose layers differ in scale by a hundred: the published losses differ by its eighth power."""
    model = small()
    conv = model.get_layer("conv1")
    conv.set_weights([100 * w.numpy() for w in conv.weights])
    scaled = TapNetwork(model, ["conv1", "conv2", "conv3"], preprocess=model.preprocess)
    start = tf.constant(CONTENT[None], tf.float32)
    spread = {}
    for relative in (True, False):
        objective = Objective(scaled, CONTENT, [STYLE], [1.0], weights(relative, content=0.0, variation=0.0))
        usual = Objective(network(), CONTENT, [STYLE], [1.0], weights(relative, content=0.0, variation=0.0))
        spread[relative] = np.asarray(objective.terms(start)) / np.asarray(usual.terms(start))
    np.testing.assert_allclose(spread[True][0], 1, rtol=1e-3)
    np.testing.assert_allclose(spread[False][0], 1e8, rtol=1e-3)
