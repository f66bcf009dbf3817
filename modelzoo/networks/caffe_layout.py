"""Caffe's order of axes: (out, in, height, width) of convolutions, (out, in) of dense layers.

A dense layer behind a flattened map counts its inputs by channel, row and column there; by row, column, channel here.
"""

from __future__ import annotations

import math
from typing import Any

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
        flattened = _flattened_map(weight.layer)
        if flattened is not None:
            height, width, channels = flattened
            array = array.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(blob)
        return np.ascontiguousarray(array.T)
    space = tuple(range(2, len(blob)))
    return np.ascontiguousarray(
        array.transpose((*space, 0, 1) if "depthwise_kernel" in weight.kinds else (*space, 1, 0))
    )


def _flattened_map(layer: Any) -> tuple[int, int, int] | None:
    """(H, W, C) of the map whose flattening a dense layer reads; None if there is none, or it lies as Caffe's does."""
    operation: Any = layer
    while True:
        nodes: Any = getattr(operation, "_inbound_nodes", ())
        if len(nodes) != 1 or len(nodes[0].input_tensors) != 1:
            return None
        inputs = nodes[0].input_tensors[0]
        operation = inputs._keras_history.operation
        kind = type(operation).__name__
        if kind in ("Flatten", "Reshape"):
            break
        if kind not in ("Dropout", "Activation", "ReLU", "Identity"):
            return None
    size = inputs.shape[-1]
    before = operation._inbound_nodes[0].input_tensors[0]
    source = type(before._keras_history.operation).__name__
    if len(before.shape) != 4 or math.prod(item or 0 for item in before.shape[1:]) != size or source == "Permute":
        return None
    height, width, channels = before.shape[1:]
    return (height, width, channels) if height * width > 1 else None
