"""Resizing as the frameworks do it: same sample positions, same order of float32 operations, same bits.

========================  ==========================================================================================
`tf1_bilinear`            `tf.compat.v1.image.resize_bilinear(align_corners=False)`: source = target * in / out, no
                          half-pixel shift, no antialiasing. What TF-slim's networks were evaluated with. float32
`half_pixel_bilinear`     `tf.image.resize` of TensorFlow 2: source = (target + 0.5) * in / out - 0.5, no antialiasing.
                          float32
`opencv_bilinear`         `cv2.resize(INTER_LINEAR)` on bytes, in its 11-bit fixed point; what Caffe's tools resize
                          with. uint8
`nearest`, `bilinear`,    Pillow's filters on bytes; all but `nearest` antialias when they shrink. What
`bicubic`, `lanczos`,     torchvision (`bilinear`, `bicubic`) and `keras.utils.load_img` (`nearest`) resize with. uint8
`box`
========================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelzoo.errors import ArrayError, InputError, nearest

__all__ = ["INTERPOLATIONS", "resize", "resize_bilinear", "resize_opencv", "resize_pillow"]

_PILLOW = {"nearest": "NEAREST", "bilinear": "BILINEAR", "bicubic": "BICUBIC", "lanczos": "LANCZOS", "box": "BOX"}

INTERPOLATIONS: tuple[str, ...] = ("tf1_bilinear", "half_pixel_bilinear", "opencv_bilinear", *_PILLOW)
"""Names that `resize` and cards know."""


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str, *, multiply: float = 1.0) -> np.ndarray:
    """Resizes one image; the aspect ratio follows `size`.

    Args:
        image: uint8 (H, W, C) with C of 1 or 3.
        size: (height, width) of the result.
        interpolation: one of `INTERPOLATIONS`.
        multiply: factor put on the pixels before they are interpolated; only for the two interpolations that
            compute in floating point.

    Returns:
        (height, width, C): float32 for `tf1_bilinear` and `half_pixel_bilinear`, uint8 for all others.

    Raises:
        InputError: no such interpolation.
        ArrayError: `size` is not positive, or the image is not (H, W, C).
    """
    check_interpolation(interpolation)
    if interpolation == "tf1_bilinear":
        return resize_bilinear(image, size, multiply=multiply)
    if interpolation == "half_pixel_bilinear":
        return resize_bilinear(image, size, half_pixel_centers=True, multiply=multiply)
    by_bytes: Callable[[np.ndarray, tuple[int, int]], np.ndarray]
    if interpolation == "opencv_bilinear":
        by_bytes = resize_opencv
    else:
        by_bytes = lambda image, size: resize_pillow(image, size, interpolation)  # noqa: E731
    return by_bytes(image, size)


def check_interpolation(name: str) -> None:
    """Raises InputError, with the nearest names, unless `resize` knows `name`."""
    if name not in INTERPOLATIONS:
        close = nearest(str(name), INTERPOLATIONS)
        raise InputError(
            f"There is no interpolation {name!r}.",
            hint=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(INTERPOLATIONS)}",
        )


def resize_bilinear(
    image: np.ndarray, size: tuple[int, int], *, half_pixel_centers: bool = False, multiply: float = 1.0
) -> np.ndarray:
    """Bilinear interpolation of TensorFlow, without antialiasing, in TensorFlow's order of float32 operations.

    The kernel is `tensorflow/core/kernels/image/resize_bilinear_op.cc`: a row is interpolated along x first, then two
    rows along y, each time as `a + (b - a) * t`. The result equals it bit for bit.

    Args:
        image: (H, W, C) of any real dtype; only the samples that are needed are converted to float32.
        size: (height, width).
        half_pixel_centers: False is TensorFlow 1 (`align_corners=False`), True is TensorFlow 2.
        multiply: factor put on each pixel, in float32, before the interpolation.

    Returns:
        float32 (height, width, C).
    """
    height, width = _checked(image, size)
    top, bottom, down = _samples(image.shape[0], height, half_pixel_centers)
    left, right, across = _samples(image.shape[1], width, half_pixel_centers)
    # Rows that no output row reads are never touched: at strong reduction most of them.
    rows, position = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    lines = image[rows]
    first = np.take(lines, left, axis=1).astype(np.float32)
    second = np.take(lines, right, axis=1).astype(np.float32)
    if multiply != 1.0:
        factor = np.float32(multiply)
        first *= factor
        second *= factor
    second -= first
    second *= across[:, None]
    first += second
    upper, lower = first[position[:height]], first[position[height:]]
    lower -= upper
    lower *= down[:, None, None]
    upper += lower
    return upper


def _samples(old: int, new: int, half_pixel_centers: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each target index the two source indices and the weight of the second, float32 as TensorFlow computes it."""
    scale = np.float32(old) / np.float32(new)
    target = np.arange(new, dtype=np.float32)
    if half_pixel_centers:
        source = (target + np.float32(0.5)) * scale - np.float32(0.5)
    else:
        source = target * scale
    floor = np.floor(source)
    upper = np.minimum(np.ceil(source).astype(np.int64), old - 1)
    lower = np.minimum(np.maximum(floor.astype(np.int64), 0), upper)
    return lower, upper, source - floor


def resize_opencv(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)` on bytes.

    Half-pixel centres, no antialiasing; weights are rounded to 11 bits and the sums truncated as OpenCV's integer
    kernel does (`modules/imgproc/src/resize.cpp`). Halving both sides is the mean of four pixels, as there.

    Args:
        image: uint8 (H, W, C).
        size: (height, width).

    Returns:
        uint8 (height, width, C).
    """
    height, width = _checked(image, size)
    if image.shape[:2] == (height, width):
        return image.copy()
    if image.shape[:2] == (2 * height, 2 * width):
        four = image.reshape(height, 2, width, 2, -1).astype(np.uint16)
        return ((four.sum(axis=(1, 3), dtype=np.uint16) + 2) >> 2).astype(np.uint8)
    y, y_weight = _fixed_point(image.shape[0], height)
    x, x_weight = _fixed_point(image.shape[1], width)
    last_row, last_column = image.shape[0] - 1, image.shape[1] - 1
    # Beyond the left and right border OpenCV takes the border pixel alone, beyond top and bottom twice.
    outside = (x < 0) | (x >= last_column)
    x_weight[outside] = (2048, 0)
    x = np.clip(x, 0, last_column)
    y0, y1 = np.clip(y, 0, last_row), np.clip(y + 1, 0, last_row)
    rows, position = np.unique(np.concatenate([y0, y1]), return_inverse=True)
    lines = image[rows]
    across = np.take(lines, x, axis=1).astype(np.int32) * x_weight[:, :1]
    across += np.take(lines, np.minimum(x + 1, last_column), axis=1).astype(np.int32) * x_weight[:, 1:]
    across >>= 4
    upper, lower = across[position[:height]], across[position[height:]]
    upper *= y_weight[:, None, :1]
    lower *= y_weight[:, None, 1:]
    return (((upper >> 16) + (lower >> 16) + 2) >> 2).astype(np.uint8)


def _fixed_point(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """For each target index the first source index (may lie outside) and int32 weights (new, 2) that sum to 2048."""
    scale = 1.0 / (new / old)
    source = ((np.arange(new) + 0.5) * scale - 0.5).astype(np.float32)
    floor = np.floor(source)
    fraction = source - floor
    weights = np.stack([np.float32(1) - fraction, fraction], axis=1) * np.float32(2048)
    return floor.astype(np.int64), np.rint(weights).astype(np.int32)


def resize_pillow(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """`PIL.Image.resize` with the filter `nearest`, `bilinear`, `bicubic`, `lanczos` or `box`.

    Args:
        image: uint8 (H, W, 1) or (H, W, 3).
        size: (height, width).
        interpolation: name of the filter.

    Returns:
        uint8 (height, width, C).
    """
    from PIL import Image

    height, width = _checked(image, size)
    if image.shape[:2] == (height, width):
        return image.copy()
    grey = image.shape[2] == 1
    picture = Image.fromarray(np.ascontiguousarray(image[:, :, 0] if grey else image))
    resized = np.asarray(picture.resize((width, height), Image.Resampling[_PILLOW[interpolation]]))
    return resized[:, :, None] if grey else resized


def _checked(image: np.ndarray, size: tuple[int, int]) -> tuple[int, int]:
    height, width = (int(side) for side in size)
    if image.ndim != 3 or 0 in image.shape:
        raise ArrayError("An image to resize has the shape (H, W, C).", received=f"shape {image.shape}")
    if height < 1 or width < 1:
        raise ArrayError("An image cannot be resized to less than one pixel.", received=f"size {size}")
    return height, width
