"""Colours kept: what chroma and statistics are after it."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.style.colour import chroma, luminance, match_colours, match_luminance, with_chroma
from tests.style.networks import picture, stripes


def test_luminance_and_chroma_make_the_picture_again() -> None:
    content = picture()
    np.testing.assert_array_equal(with_chroma(luminance(content), chroma(content)), content)


def test_grey_has_no_chroma() -> None:
    grey = np.repeat(picture()[..., :1], 3, axis=-1)
    np.testing.assert_allclose(chroma(grey), 0, atol=1e-9)
    np.testing.assert_allclose(luminance(grey), grey[..., 0], atol=1e-9)


def test_chroma_stays_whatever_the_luminance() -> None:
    content = picture()
    light = np.random.default_rng(0).uniform(0, 255, content.shape[:2])  # far out of gamut in many places
    result = with_chroma(light, chroma(content))
    assert np.abs(chroma(result) - chroma(content)).max() <= 1.0  # half a level of rounding, in two channels
    inside = np.abs(luminance(result) - light) < 1
    assert 0.2 < inside.mean() < 1  # elsewhere luminance gave way


def test_luminance_takes_the_contents_mean_and_spread() -> None:
    style, content = luminance(stripes()), luminance(picture()) * 0.3 + 90
    matched = match_luminance(style, content)
    assert matched.shape == style.shape
    assert (matched.mean(), matched.std()) == pytest.approx((content.mean(), content.std()), rel=1e-6)


def test_colours_take_the_contents_mean_and_covariance() -> None:
    rng = np.random.default_rng(1)
    style = np.clip(rng.normal(120, 20, (40, 30, 3)), 0, 255).astype(np.uint8)
    content = np.clip(rng.normal((140, 110, 100), (15, 10, 20), (20, 25, 3)), 0, 255).astype(np.uint8)
    matched = match_colours(style, content).reshape(-1, 3)
    flat = content.reshape(-1, 3)
    np.testing.assert_allclose(matched.mean(axis=0), flat.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(np.cov(matched.T), np.cov(flat.T.astype(float)), atol=0.02 * np.cov(flat.T).max())


def test_a_grey_or_uniform_style_is_no_division_by_zero() -> None:
    grey = np.repeat(picture()[..., :1], 3, axis=-1)
    for style in (grey, np.full((8, 8, 3), 77, np.uint8)):
        for content in (picture(), grey, np.full((8, 8, 3), 9, np.uint8)):
            assert np.isfinite(match_colours(style, content)).all()
            assert np.isfinite(match_luminance(luminance(style), luminance(content))).all()
