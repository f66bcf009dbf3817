"""DTLN, the Dual-signal Transformation LSTM Network that takes noise out of speech (Westhausen & Meyer 2020,
arXiv:2005.07551): a mask over the spectrum, then one over learnt features, LSTMs behind both."""

from __future__ import annotations

from os import PathLike
from typing import Any

__all__ = ["BLOCK", "RATE", "SHIFT", "build_dtln", "dtln", "load_dtln"]

BLOCK, SHIFT, RATE = 512, 128, 16_000
"""Samples of a block, samples from block to block, samples a second."""


def dtln(*, units: int = 128, features: int = 256, layers: int = 2, dropout: float = 0.25, name: str = "dtln") -> Any:
    """The untrained network.

    Args:
        units: width of the LSTMs.
        features: width of the learnt features of a block.
        layers: LSTMs behind each mask.
        dropout: between LSTMs.
        name: of the model.

    Returns:
        keras.Model: samples (N, S) float32 in [-1, 1] at 16 kHz, S >= 512 -> the speech in them, (N, S'), S' the
        whole blocks: (S - 512) // 128 * 128 + 512. Layers are called as in the published weight files.
    """
    import keras
    from keras import ops

    kinds = keras.layers
    samples = keras.Input((None,), name="samples")
    blocks = ops.extract_sequences(samples, BLOCK, SHIFT)
    real, imaginary = ops.rfft(blocks, BLOCK)
    magnitude = ops.sqrt(real * real + imaginary * imaginary)
    mask = _mask(magnitude, BLOCK // 2 + 1, 0, units, layers, dropout)
    # The phase stays, so a mask over magnitudes is one over both parts.
    first = ops.irfft((real * mask, imaginary * mask), BLOCK)

    encoded = kinds.Conv1D(features, 1, use_bias=False, name="conv1d")(first)
    normed = kinds.LayerNormalization(epsilon=1e-7, name="layer_normalization")(encoded)
    mask = _mask(normed, features, 1, units, layers, dropout)
    decoded = kinds.Conv1D(BLOCK, 1, use_bias=False, name="conv1d_1")(kinds.Multiply(name="masked")([encoded, mask]))
    return keras.Model(samples, _overlap_add(decoded), name=name)


def build_dtln(card: Any, path: Any, **_: Any) -> Any:
    """The network of a card whose `build.network` is `dtln`, with the weights of its file; None = untrained."""
    model = dtln(name=card.name.replace("/", "."))
    return model if path is None else _restored(model, path)


def load_dtln(path: str | PathLike[str]) -> Any:
    """The network with the weights of a published file (`model.h5`).

    Raises:
        CheckpointError: it cannot be read.
        WeightsMismatchError: it is of another network.
    """
    return _restored(dtln(), path)


def _restored(model: Any, path: Any) -> Any:
    from modelzoo.networks.restore import restore

    restore(model, path)
    return model


def _mask(x: Any, width: int, part: int, units: int, layers: int, dropout: float) -> Any:
    """(N, T, C) -> (N, T, width) in (0, 1)."""
    import keras

    def name(kind: str, number: int) -> str:
        return f"{kind}_{number}" if number else kind

    for layer in range(layers):
        number = part * layers + layer
        x = keras.layers.LSTM(units, return_sequences=True, name=name("lstm", number))(x)
        if dropout and layer + 1 < layers:
            x = keras.layers.Dropout(dropout, name=name("dropout", number))(x)
    return keras.layers.Dense(width, activation="sigmoid", name=name("dense", part))(x)


def _overlap_add(blocks: Any) -> Any:
    """(N, T, 512) -> (N, (T - 1) * 128 + 512): blocks a shift apart, added where they overlap."""
    import keras
    from keras import ops

    parts = BLOCK // SHIFT
    total: Any = None
    for k in range(parts):
        piece = ops.pad(blocks[:, :, k * SHIFT : (k + 1) * SHIFT], ((0, 0), (k, parts - 1 - k), (0, 0)))
        total = piece if total is None else total + piece
    # Rows of 128 samples, one behind the other.
    return keras.layers.Flatten(name="samples_out")(total)
