"""The losses of Gatys, Ecker and Bethge (CVPR 2016) on the maps of a network, and the variation of a picture.

Maps are (1, H, W, C), as a network gives them for one picture; a loss is a scalar of their dtype. With F the map as a
matrix of M = H W positions and N = C channels:

* Gram matrix G = F^T F / M, (N, N). The paper leaves out the division; with it, maps of other sizes compare, so that a
  style picture may be of any size.
* content, as published: 1/2 sum (F - P)^2.
* style, as published: sum (G - A)^2 / (4 N^2), which is the paper's E_l where both maps have M positions.
* relative: sum (X - T)^2 / sum T^2 for either of them. Losses of layers differ by orders of magnitude since their
  values and sizes do; relative to their target they do not, whatever the network, and need no weights found by trial.
"""

from __future__ import annotations

from typing import Any

__all__ = ["content_loss", "gram_matrix", "relative_loss", "style_loss", "total_variation"]

_SMALLEST = 1e-12
"""Added to the energy of a target: a layer that is silent for it gives a large loss and no division by zero."""


def gram_matrix(maps: Any) -> Any:
    """Means over all positions of the products of two channels.

    Args:
        maps: (1, H, W, C).

    Returns:
        (C, C), symmetric.
    """
    import tensorflow as tf

    channels = maps.shape[-1]
    flat = tf.reshape(maps, (-1, channels))
    positions = tf.cast(tf.shape(flat)[0], flat.dtype)
    return tf.matmul(flat, flat, transpose_a=True) / positions


def content_loss(maps: Any, target: Any) -> Any:
    """1/2 sum (F - P)^2, equation 1 of the paper, for two maps (1, H, W, C)."""
    import tensorflow as tf

    return 0.5 * tf.reduce_sum(tf.square(maps - target))


def style_loss(gram: Any, target: Any) -> Any:
    """sum (G - A)^2 / (4 N^2), equation 4 of the paper, for two Gram matrices (N, N) that are means over positions."""
    import tensorflow as tf

    channels = float(gram.shape[-1])
    return tf.reduce_sum(tf.square(gram - target)) / (4.0 * channels * channels)


def relative_loss(value: Any, target: Any) -> Any:
    """sum (X - T)^2 / sum T^2: 0 where equal, 1 where the value is zero; of maps or of Gram matrices."""
    import tensorflow as tf

    return tf.reduce_sum(tf.square(value - target)) / (tf.reduce_sum(tf.square(target)) + _SMALLEST)


def total_variation(picture: Any) -> Any:
    """Mean squared difference of neighbouring pixels, down and across, in units of the whole range (255).

    Args:
        picture: (1, H, W, C) in 0..255.

    Returns:
        A scalar: 0 of a uniform picture, about 2 of a chessboard of single black and white pixels.
    """
    import tensorflow as tf

    down = picture[:, 1:] - picture[:, :-1]
    across = picture[:, :, 1:] - picture[:, :, :-1]
    return (tf.reduce_mean(tf.square(down)) + tf.reduce_mean(tf.square(across))) / (255.0 * 255.0)
