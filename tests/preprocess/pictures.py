"""Pictures that tests draw from a seed: smooth shapes with some noise, so that JPEG and resizing have work to do."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def rgb(seed: int = 0, height: int = 61, width: int = 83) -> np.ndarray:
    """uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (4 + 3 * c) + seed) * np.cos(y / (5 + c)) for c in range(3)]
    smooth = 127 + 100 * np.stack(waves, axis=-1)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a file of this kind."""
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, kind, **options)
    return out.getvalue()
