"""Pooling over windows and over everything."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from converters.keras.held import Held
from converters.keras.node import Node
from converters.keras.stock.convolution import zero_padded
from converters.keras.stock.table import Result, stock
from converters.keras.stock.windows import Window

_MAX = {1: keras.layers.MaxPooling1D, 2: keras.layers.MaxPooling2D, 3: keras.layers.MaxPooling3D}
_AVERAGE = {1: keras.layers.AveragePooling1D, 2: keras.layers.AveragePooling2D, 3: keras.layers.AveragePooling3D}
_GLOBAL_MAX = {
    1: keras.layers.GlobalMaxPooling1D,
    2: keras.layers.GlobalMaxPooling2D,
    3: keras.layers.GlobalMaxPooling3D,
}
_GLOBAL_AVERAGE = {
    1: keras.layers.GlobalAveragePooling1D,
    2: keras.layers.GlobalAveragePooling2D,
    3: keras.layers.GlobalAveragePooling3D,
}
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _pool(at: Node, kind: type, tensor: Any, kernel: list[int], window: Window, padding: str) -> Any:
    return at.layer(kind, tuple(kernel), strides=tuple(window.strides), padding=padding)(tensor)


@stock("MaxPool")
def max_pool(
    at: Node,
    x: Held,
    *,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    storage_order: int = 0,
    strides: list[int] | None = None,
) -> Result:
    if any(at.used[1:]) or x.dtype not in _FLOATS or set(dilations or [1]) != {1} or len(kernel_shape) not in _MAX:
        return None
    window: Window | None = Window.of(x.shape[2:], kernel_shape, strides, None, pads, auto_pad)
    if ceil_mode and window is not None:
        window = window.rounded_up()
    if window is None or not (window.exact or window.same):
        return None
    tensor = at.last(x)
    kind = _MAX[len(kernel_shape)]
    if window.plain or window.same:
        padding = "valid" if window.plain else "same"
        return at.as_last(_pool(at, kind, tensor, kernel_shape, window, padding), nonnegative=x.nonnegative)
    if x.nonnegative:
        tensor = zero_padded(at, tensor, window.begin, window.end)
    else:
        amounts = ((0, 0), *zip(window.begin, window.end, strict=True), (0, 0))
        lowest = float(np.finfo("float16" if x.dtype == "float16" else "float32").min)
        tensor = keras.ops.pad(tensor, amounts, constant_values=lowest)
    return at.as_last(_pool(at, kind, tensor, kernel_shape, window, "valid"), nonnegative=x.nonnegative)


@stock("AveragePool")
def average_pool(
    at: Node,
    x: Held,
    *,
    kernel_shape: list[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Result:
    if x.dtype not in _FLOATS or set(dilations or [1]) != {1} or len(kernel_shape) not in _AVERAGE:
        return None
    window: Window | None = Window.of(x.shape[2:], kernel_shape, strides, None, pads, auto_pad)
    if ceil_mode and window is not None:
        rounded = window.rounded_up()
        # What ceil_mode adds is never counted, so it must come to nothing or be TensorFlow's own padding.
        if rounded is None or (rounded != window and not (rounded.same and not any(window.begin + window.end))):
            return None
        window = rounded
    if window is None or not (window.exact or window.same):
        return None
    tensor = at.last(x)
    kind = _AVERAGE[len(kernel_shape)]
    if window.plain or (window.same and not count_include_pad):
        padding = "valid" if window.plain else "same"
        return at.as_last(_pool(at, kind, tensor, kernel_shape, window, padding), nonnegative=x.nonnegative)
    if not window.exact or ceil_mode:
        return None
    tensor = _pool(at, kind, zero_padded(at, tensor, window.begin, window.end), kernel_shape, window, "valid")
    if count_include_pad:
        return at.as_last(tensor, nonnegative=x.nonnegative)
    return _recounted(at, x, tensor, window)


def _recounted(at: Node, x: Held, tensor: Any, window: Window) -> Result:
    """Means that counted the padding, times (cells of the window) / (cells inside): a constant map of its size."""
    factors = []
    for axis, size in enumerate(window.sizes):
        if size is None:
            return None
        starts = np.arange(tensor.shape[axis + 1]) * window.strides[axis] - window.begin[axis]
        inside = np.minimum(starts + window.kernel[axis], size) - np.maximum(starts, 0)
        factors.append(window.kernel[axis] / inside)
    letters = "bcd"[: len(factors)]
    whole = factors[0]
    for factor in factors[1:]:
        whole = np.multiply.outer(whole, factor)
    layer = at.layer(
        keras.layers.EinsumDense,
        f"a{letters}z,{letters}->a{letters}z",
        output_shape=tuple(tensor.shape[1:]),
        trainable=False,
        dtype=x.dtype,
    )
    made = at.apply(layer, tensor, kernel=whole.astype("float32" if x.dtype == "bfloat16" else x.dtype))
    return at.as_last(made, nonnegative=x.nonnegative)


@stock("GlobalAveragePool")
def global_average_pool(at: Node, x: Held) -> Result:
    return _global(at, x, _GLOBAL_AVERAGE)


@stock("GlobalMaxPool")
def global_max_pool(at: Node, x: Held) -> Result:
    return _global(at, x, _GLOBAL_MAX)


def _global(at: Node, x: Held, kinds: dict[int, Any]) -> Result:
    kind = kinds.get(x.rank - 2)
    if kind is None:
        return None
    return at.as_last(at.layer(kind, keepdims=True)(at.last(x)), nonnegative=x.nonnegative)
