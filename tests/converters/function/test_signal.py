"""Fourier transforms and losses against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from tests.converters.function.nodes import agrees, computed, normal, one_node


@pytest.mark.parametrize(
    ("shape", "length", "attributes"),
    [
        ((2, 7, 3, 1), 9, {"axis": 1}),
        ((2, 8, 2), None, {"axis": 1, "inverse": 1}),
        ((2, 8, 1), None, {"axis": 1, "onesided": 1}),
        ((2, 8, 2), 5, {"axis": 1}),
    ],
)
def test_transform_of_any_length_along_any_axis(
    shape: tuple[int, ...], length: int | None, attributes: dict[str, int]
) -> None:
    agrees("DFT", [normal(0, *shape), None if length is None else np.array(length)], 17, **attributes)


@pytest.mark.parametrize("length", [8, 9])
def test_half_a_spectrum_gives_the_signal_back(length: int) -> None:
    x = normal(0, 2, length, 1)
    (half,) = computed(one_node("DFT", [x], 20, onesided=1), [x])
    inputs = [half, np.array(length)]
    (back,) = computed(one_node("DFT", inputs, 20, onesided=1, inverse=1), inputs)
    np.testing.assert_allclose(back, x, rtol=1e-4, atol=1e-5)


def test_short_time_transform() -> None:
    agrees("STFT", [normal(0, 2, 64, 1), np.array(8), np.hanning(16).astype(np.float32)], 17, constant=(1,))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignored", [None, 1])
def test_cross_entropy(reduction: str, ignored: int | None) -> None:
    labels = np.random.default_rng(0).integers(0, 5, (4, 2))
    options = {"reduction": reduction} if ignored is None else {"reduction": reduction, "ignore_index": ignored}
    inputs = [normal(0, 4, 5, 2), labels, np.abs(normal(1, 5))]
    agrees("SoftmaxCrossEntropyLoss", inputs, 13, outputs=2, **options)
    agrees("NegativeLogLikelihoodLoss", [normal(0, 4, 5), labels[:, 0]], 13, **options)
