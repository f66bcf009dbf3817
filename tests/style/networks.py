"""Small networks with taps, made in a moment."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from modelzoo.preprocess import Preprocess


def small(
    *, size: int | None = 32, channels: int = 3, pooling: str = "max", dtype: str = "float32", colour: str = "RGB"
) -> Any:
    """conv1 (stride 1), conv2 (2), conv3 (4), a classifier; random weights, always the same ones."""
    rng = np.random.default_rng(3)
    pool = keras.layers.MaxPooling2D if pooling == "max" else keras.layers.AveragePooling2D
    x = given = keras.Input((size, size, channels), dtype="float64" if dtype == "float64" else "float32")
    taps = {}
    for number, width in enumerate((8, 12, 16), start=1):
        if number > 1:
            x = pool(2, dtype=dtype, name=f"pool{number}")(x)
        conv = keras.layers.Conv2D(width, 3, padding="same", activation="relu", dtype=dtype, name=f"conv{number}")
        x = taps[f"conv{number}"] = conv(x)
        shape = (3, 3, int(conv.kernel.shape[2]), width)
        conv.set_weights([rng.normal(0, (2 / (9 * shape[2])) ** 0.5, shape), rng.normal(0, 0.1, width)])
    vector = keras.layers.GlobalAveragePooling2D(dtype=dtype, name="vector")(x)
    model = keras.Model(given, keras.layers.Dense(4, dtype=dtype, name="classes")(vector), name="small")
    object.__setattr__(model, "preprocess", Preprocess("keras_tf", (32, 32), colour=colour))
    return model


def picture(height: int = 32, width: int = 40, seed: int = 0) -> np.ndarray:
    """uint8 (H, W, 3): smooth blobs of colour."""
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def stripes(height: int = 36, width: int = 28) -> np.ndarray:
    """uint8 (H, W, 3): diagonal stripes of orange and blue."""
    rows, columns = np.mgrid[:height, :width]
    colours = np.array([[230, 120, 20], [20, 40, 160]], np.uint8)
    return colours[(rows + columns) // 3 % 2]
