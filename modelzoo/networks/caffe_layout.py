"""Caffe's order of axes: (out, in, height, width) of convolutions, (out, in) of dense layers."""

from __future__ import annotations

import math

import numpy as np

from modelzoo.networks.model_weights import ModelWeight

__all__ = ["blob_shape", "turned_blob"]


def blob_shape(weight: ModelWeight, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape in which Caffe's blob is read before its axes are turned; None where it cannot fit."""
    own = weight.shape
    blob: tuple[int, ...]
    if weight.kinds[-1] != "kernel" or len(own) < 2:
        blob = own
        plain = tuple(size for size in shape if size != 1) == tuple(size for size in own if size != 1)
        return blob if plain and math.prod(shape) == math.prod(own) else None
    if len(own) == 2:
        blob = own[::-1]
    elif "depthwise_kernel" in weight.kinds:
        *space, channels, times = own
        return (channels, times, *space) if shape == (channels * times, 1, *space) else None
    else:
        *space, inner, outer = own
        blob = (outer, inner, *space)
    # Blobs of old files always have four axes.
    padded = (1,) * (len(shape) - len(blob)) + blob
    return blob if padded == shape else None


def turned_blob(weight: ModelWeight, array: np.ndarray, blob: tuple[int, ...]) -> np.ndarray:
    """A blob, of which `blob_shape` gave the shape, with its axes in TensorFlow's order."""
    array = array.reshape(blob)
    if weight.kinds[-1] != "kernel" or len(blob) < 2:
        return array
    if len(blob) == 2:
        return np.ascontiguousarray(array.T)
    space = tuple(range(2, len(blob)))
    return np.ascontiguousarray(
        array.transpose((*space, 0, 1) if "depthwise_kernel" in weight.kinds else (*space, 1, 0))
    )
