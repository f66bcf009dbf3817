"""Pixels: picture files or uint8 arrays come in, the float32 batch that a network was trained on goes out.

`Preprocess` is the join; `decode_image` reads a file, `resize` has every framework's resize, `FAMILIES` the table of
preprocessing families, `Labels` turns scores into names. Each step equals the framework that the networks come from,
bit for bit where that is possible, and needs only NumPy and Pillow.

This package never imports TensorFlow, draws no random number (there is no augmentation) and writes no file.
"""

from __future__ import annotations

from modelzoo.preprocess.decode import MAX_PIXELS, decode_image
from modelzoo.preprocess.families import FAMILIES, GEOMETRIES, Family
from modelzoo.preprocess.labels import Labels, Prediction
from modelzoo.preprocess.mean_file import read_mean
from modelzoo.preprocess.preprocess import Preprocess
from modelzoo.preprocess.resize import INTERPOLATIONS, resize

__all__ = [
    "FAMILIES",
    "GEOMETRIES",
    "INTERPOLATIONS",
    "MAX_PIXELS",
    "Family",
    "Labels",
    "Prediction",
    "Preprocess",
    "decode_image",
    "read_mean",
    "resize",
]
