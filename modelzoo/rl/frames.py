"""Frames: grey and smaller pictures, the stack of the newest ones, and pictures of binary planes."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

__all__ = ["FrameStack", "grey", "palette", "planes_picture", "resized"]


def grey(picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) RGB, or (H, W, 1) -> uint8 (H, W) by ITU-R 601-2 luma, as Pillow's `L`."""
    if picture.shape[-1] == 1:
        return picture[..., 0]
    luma = picture.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
    return ((luma + 0x8000) >> 16).astype(np.uint8)


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) -> the same of another (height, width); each pixel is the mean of those it covers."""
    if picture.shape[:2] == size:
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BOX))


def palette(count: int) -> np.ndarray:
    """float32 (count, 3): a colour a plane, 0..255, hues evenly spaced and bright."""
    colours = [colorsys.hsv_to_rgb(number / count, 0.8, 1.0) for number in range(count)]
    return 255 * np.array(colours, np.float32)


def planes_picture(planes: np.ndarray, scale: int = 16) -> np.ndarray:
    """Planes of numbers 0..1, (H, W, C) -> uint8 (H * scale, W * scale, 3), each plane in a colour of `palette`."""
    colours = np.clip(planes.astype(np.float32) @ palette(planes.shape[-1]), 0, 255).astype(np.uint8)
    return colours.repeat(scale, 0).repeat(scale, 1)


class FrameStack:
    """The newest frames of an episode as one observation, as the replay buffer lays them out.

    Args:
        shape: of one frame: (n,), (H, W) or (H, W, C).
        dtype: of frames.
        stack: how many; the first frame of an episode is repeated.
    """

    def __init__(self, shape: Sequence[int], dtype: object, stack: int) -> None:
        self.stack = stack
        self._frames: list[np.ndarray] = [np.zeros(shape, dtype)] * stack  # type: ignore[call-overload]

    def begin(self, frame: np.ndarray) -> None:
        """The first frame of an episode."""
        self._frames = [frame] * self.stack

    def see(self, frame: np.ndarray) -> None:
        """The next frame."""
        self._frames = [*self._frames[1:], frame]

    def observation(self) -> np.ndarray:
        """(n * stack,), or (H, W, C * stack) with the newest frame last."""
        first = self._frames[0]
        if first.ndim == 2:
            return np.stack(self._frames, axis=-1)
        return first if self.stack == 1 else np.concatenate(self._frames, axis=-1)
