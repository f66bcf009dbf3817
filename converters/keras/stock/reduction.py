"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from converters.keras.held import Held
from converters.keras.node import Node
from converters.keras.stock.table import Result, stock

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _length(x: Any, axis: Any, keepdims: bool) -> Any:
    return keras.ops.sqrt(keras.ops.sum(keras.ops.square(x), axis=axis, keepdims=keepdims))


_REDUCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    # operator: function, first opset whose axes are an input
    "ReduceL2": (_length, 18),
    "ReduceMax": (keras.ops.max, 18),
    "ReduceMean": (keras.ops.mean, 18),
    "ReduceMin": (keras.ops.min, 18),
    "ReduceProd": (keras.ops.prod, 18),
    "ReduceSum": (keras.ops.sum, 13),
}
_GLOBAL = {1: keras.layers.GlobalAveragePooling1D, 2: keras.layers.GlobalAveragePooling2D}


def _reduce(at: Node, name: str, x: Held, axes: list[int] | None, keepdims: int, noop: int = 0) -> Result:
    if x.dtype not in _FLOATS:
        return None
    if not axes:
        if noop:
            return None
        axes = list(range(x.rank))
    wanted = sorted(axis % x.rank for axis in axes)
    if x.flat is not None:
        x = Held.of(at.source(x))
    if 0 in wanted and len(wanted) < x.rank and not keepdims:
        return None  # the batch axis would be another one
    if name == "ReduceMean" and wanted == list(range(2, x.rank)) and x.rank - 2 in _GLOBAL:
        made = at.layer(_GLOBAL[x.rank - 2], keepdims=bool(keepdims))(at.last(x))
        return at.as_last(made) if keepdims else Held.of(made)
    rest = [axis for axis in x.axes if axis not in wanted]
    if not keepdims and rest != sorted(rest):
        x = Held.of(at.source(x))
    place = tuple(sorted(x.axis(axis) for axis in wanted))
    # Halves are added up in float32, as onnxruntime does.
    half = x.dtype in ("float16", "bfloat16")
    tensor = keras.ops.cast(x.tensor, "float32") if half else x.tensor
    made = _REDUCTIONS[name][0](tensor, axis=place, keepdims=bool(keepdims))
    if not len(made.shape):
        return None
    if half:
        made = keras.ops.cast(made, x.dtype)
    return Held(made, x.axes) if keepdims else Held.of(made)


def _register(name: str) -> None:
    @stock(name)
    def by_attribute(at: Node, x: Held, *, axes: list[int] | None = None, keepdims: int = 1) -> Result:
        return _reduce(at, name, x, axes, keepdims)

    @stock(name, since=_REDUCTIONS[name][1])
    def by_input(at: Node, x: Held, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Result:
        if axes is not None and not isinstance(axes, np.ndarray):
            return None
        chosen = None if axes is None else [int(axis) for axis in axes.ravel()]
        return _reduce(at, name, x, chosen, keepdims, noop_with_empty_axes)


for _name in _REDUCTIONS:
    _register(_name)


@stock("ArgMax", since=12)
def arg_max(at: Node, x: Held, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Result:
    size = x.shape[axis % x.rank]
    if x.dtype not in _FLOATS or axis % x.rank == 0 or not keepdims or size is None:
        return None
    if x.flat is not None:
        x = Held.of(at.source(x))
    place = x.axis(axis)
    if select_last_index:
        found = keras.ops.argmax(keras.ops.flip(x.tensor, axis=place), axis=place, keepdims=True)
        found = keras.ops.subtract(size - 1, found)
    else:
        found = keras.ops.argmax(x.tensor, axis=place, keepdims=True)
    return Held(keras.ops.cast(found, "int64"), x.axes, nonnegative=True)
