"""Small pretrained networks and folders of pictures that are quickly told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SIDE = 16


def small_network(seed: int = 0, dropout: float = 0.5) -> Any:
    """conv - bn - relu - conv - bn - relu - dropout - pool - fc, weights from a seed, preprocessing attached."""
    import keras

    from modelzoo.preprocess import Preprocess

    layers = keras.layers
    x = inputs = keras.Input((SIDE, SIDE, 3), name="input")
    for block, width in (("one", 4), ("two", 6)):
        x = layers.Conv2D(width, 3, strides=2, padding="same", name=f"{block}_conv")(x)
        x = layers.BatchNormalization(name=f"{block}_bn")(x)
        x = layers.ReLU(name=block)(x)
    x = layers.Dropout(dropout, name="drop")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(5, name="fc")(x), name="small")
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        numbers = generator.normal(0, 0.5, variable.shape).astype(np.float32)
        variable.assign(np.abs(numbers) + 0.5 if "variance" in variable.name else numbers)
    object.__setattr__(model, "preprocess", Preprocess("keras_tf", (SIDE, SIDE)))
    return model


def picture_folder(root: Path, classes: int = 3, count: int = 8, seed: int = 0) -> Path:
    """A folder a class; class k has more of colour k."""
    from PIL import Image

    generator = np.random.default_rng(seed)
    for label in range(classes):
        folder = root / f"class {label}"
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 140, (20, 24, 3))
            pixels[..., label % 3] += 110
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root
