"""Pictures on their way in: decoded, scaled, checked, and the one that optimisation begins with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelzoo.errors import ArrayError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

__all__ = ["checked_blend", "enlarged", "fitted", "initial_picture", "read_picture", "scaled_size", "sizes_of_levels"]


def read_picture(source: Any, what: str) -> Picture:
    """A picture as bytes, (H, W, 3) RGB.

    Args:
        source: path or bytes of a file, decoded by the rules of `modelzoo.preprocess.decode` (grey three times, alpha
            dropped, CMYK multiplied out, 16 bit cut to its high byte), or an array: uint8 (H, W, 3), (H, W, 1) or
            (H, W), the last two grey.
        what: what messages call it.

    Raises:
        ImageError: a file that cannot be read.
        ArrayError: an array of another dtype or shape.
    """
    import numpy as np

    from modelzoo.preprocess.decode import decode_image, describe

    if isinstance(source, str | os.PathLike | bytes | bytearray | memoryview):
        return decode_image(source)
    if not hasattr(source, "__array__"):
        raise ArrayError(
            f"The {what} is no picture.", received=describe(source), hint="pass a path, or a uint8 array (H, W, 3)"
        )
    array = np.asarray(source)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ArrayError(f"The {what} holds NaN or infinity.", received=describe(source))
    if array.ndim == 2:
        array = array[:, :, None]
    if array.dtype != np.uint8 or array.ndim != 3 or 0 in array.shape or array.shape[2] not in (1, 3):
        raise ArrayError(
            f"The {what} is no uint8 picture (H, W, 3).",
            received=describe(source),
            hint="bring it to 0..255 and RGB: array.astype(numpy.uint8), array[..., :3]",
        )
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array


def scaled_size(picture: Picture, side: int | None) -> tuple[int, int]:
    """(H, W) with `side` pixels along the longer side, aspect ratio kept; None: the picture's own."""
    height, width = picture.shape[:2]
    if side is None:
        return height, width
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def fitted(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture at (H, W), by Pillow's Lanczos filter."""
    from modelzoo.preprocess.resize import resize_pillow

    return resize_pillow(picture, size, "lanczos")


def enlarged(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Unrounded pixels (H, W, C) at another size, bicubic: how a result goes on at the next resolution."""
    import numpy as np
    from PIL import Image

    if values.shape[:2] == size:
        return values
    planes = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size[::-1], Image.Resampling.BICUBIC))
        for plane in np.moveaxis(np.asarray(values, np.float32), -1, 0)
    ]
    return np.stack(planes, axis=-1)


def sizes_of_levels(side: int, levels: int) -> list[int]:
    """Longer sides from coarse to fine, each about twice the one before: 512 in 3 levels is 128, 256, 512."""
    return [max(1, round(side / 2**level)) for level in reversed(range(levels))]


def checked_blend(blend: Sequence[float] | None, count: int) -> list[float]:
    """The share of each style, summing to 1; None: all alike.

    Raises:
        UsageError: another number of weights than styles, one below zero or not finite, or all zero.
    """
    import math

    weights = [1.0] * count if blend is None else [float(weight) for weight in blend]
    if len(weights) != count:
        raise UsageError(
            f"There are {count} styles and {len(weights)} blend weights.",
            received=", ".join(f"{weight:g}" for weight in weights),
            hint="one weight a style, in their order",
        )
    if any(weight < 0 or not math.isfinite(weight) for weight in weights) or not sum(weights) > 0:
        raise UsageError(
            "Blend weights are zero or more, one of them more than zero.",
            received=", ".join(f"{weight:g}" for weight in weights),
        )
    return [weight / sum(weights) for weight in weights]


def initial_picture(
    init: Any, content: Picture, styles: Sequence[Picture], size: tuple[int, int], seed: int
) -> NDArray[np.float32]:
    """Where optimisation begins.

    Args:
        init: `content`, `style` (the first), `noise` (each value uniform in 0..255, by `seed`), or a picture as for
            `read_picture`; all are scaled to `size`.
        content, styles: the pictures, any size.
        size: (H, W) of the result.
        seed: of the noise.

    Returns:
        float32 (H, W, 3) in 0..255.

    Raises:
        ImageError, ArrayError: see `read_picture`.
    """
    import numpy as np

    if isinstance(init, str) and init == "noise":
        return np.random.default_rng(seed).uniform(0, 255, (*size, 3)).astype(np.float32)
    if isinstance(init, str) and init in ("content", "style"):
        picture = content if init == "content" else styles[0]
    else:
        picture = read_picture(init, "initial picture")
    return fitted(picture, size).astype(np.float32)
