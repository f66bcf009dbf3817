"""A network's own preprocessing as a differentiable function of pixels.

Only the numbers and the order of the channels are taken from the card's `Preprocess`; sizes stay as they are, since
the network runs on whole pictures here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelzoo.errors import UsageError

__all__ = ["LUMA", "network_input"]

LUMA = (19595 / 65536, 38470 / 65536, 7471 / 65536)
"""ITU-R 601-2: the share of red, green and blue in grey, as in `modelzoo.preprocess`."""


def network_input(preprocess: Any) -> Callable[[Any], Any]:
    """What turns pixels into the network's input, `((x * multiply / divide) - mean) / std * scale`.

    Args:
        preprocess: the network's `modelzoo.preprocess.Preprocess`. A mean picture counts as its mean colour: it has
            the size that the network was trained with. Grey is not rounded to bytes.

    Returns:
        A function of (N, H, W, 3) RGB in 0..255, floating point, that gives (N, H, W, C) of the same dtype, C = 1 for
        networks that take grey pictures.

    Raises:
        UsageError: nobody states how the network wants its pictures, or its mean picture was not read.
    """
    import numpy as np

    if preprocess is None or not hasattr(preprocess, "colour"):
        raise UsageError(
            "Nobody states how the network wants its pictures prepared.",
            received=type(preprocess).__name__,
            hint="pass preprocess=modelzoo.preprocess.Preprocess(FAMILY), or use a model of load_pretrained",
        )
    mean = np.array(preprocess.mean, np.float64)
    if preprocess.mean_image is not None:
        mean = np.asarray(preprocess.mean_image, np.float64).mean(axis=(0, 1))
    elif preprocess.mean_file is not None:
        raise UsageError(
            "The preprocessing needs a mean picture, which has not been read.",
            received=preprocess.mean_file,
            hint="preprocess.with_mean_image(read_mean(path)) gives it one",
        )
    # One multiplication and one addition, in float64 until they meet the pixels.
    std = np.array(preprocess.std or (1.0,), np.float64)
    factor = preprocess.multiply / preprocess.divide / std * preprocess.scale
    offset = -(mean if mean.size else np.zeros(1)) / std * preprocess.scale
    colour, standardise, scale = preprocess.colour, preprocess.standardise, preprocess.scale

    def prepared(pixels: Any) -> Any:
        import tensorflow as tf

        if colour == "GREY":
            pixels = tf.reduce_sum(pixels * tf.constant(LUMA, pixels.dtype), axis=-1, keepdims=True)
        elif colour == "BGR":
            pixels = pixels[..., ::-1]
        if standardise:
            # The mean over the picture takes the offset away again; the scale comes last.
            plain = pixels * tf.constant(factor / scale, pixels.dtype) + tf.constant(offset / scale, pixels.dtype)
            return tf.image.per_image_standardization(plain) * tf.constant(scale, pixels.dtype)
        return pixels * tf.constant(factor, pixels.dtype) + tf.constant(offset, pixels.dtype)

    return prepared
