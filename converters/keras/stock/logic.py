"""Comparisons and what is decided by them; arithmetic on integers, which Keras does as ONNX where types agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from converters.keras.held import Held, common_lengths
from converters.keras.node import Node
from converters.keras.stock.activation import same
from converters.keras.stock.table import Result, stock

__all__ = ["together"]

_NUMBERS = ("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")

#: Constants above this many elements would fill a config.
_SMALL = 64


def together(at: Node, function: Callable[..., Any], *inputs: Any) -> Result:
    """An operation on elements, with broadcasting, of two or three values: `Held`, or small constants."""
    held = [item for item in inputs if isinstance(item, Held)]
    constants = [item for item in inputs if isinstance(item, np.ndarray)]
    if not held or len(held) + len(constants) < len(inputs) or any(item.size > _SMALL for item in constants):
        return None
    rank = max(item.rank for item in held)
    if any(item.ndim > rank for item in constants):
        return None
    like = max(held, key=lambda item: item.rank)
    alone = len(held) == 1 and all(item.size == 1 for item in constants)
    if not alone and (len({item.axes for item in held}) > 1 or any(item.flat is not None for item in held)):
        # Each as it lies in the source, where ONNX and Keras broadcast alike.
        tensors = [at.source(item) if isinstance(item, Held) else item for item in inputs]
        like = Held.of(at.source(like))
    else:
        tensors = [item.tensor if isinstance(item, Held) else item for item in inputs]
    arguments = [
        # A scalar as an array without axes: a number of Python would be promoted.
        item if not isinstance(item, np.ndarray) else item.reshape(()) if item.size == 1 else like.constant(item)
        for item in tensors
    ]
    made = function(*arguments)
    return None if len(made.shape) != like.rank else replace(same(like, made), labels=common_lengths(*held))


def _register(name: str, since: int, function: Callable[..., Any], types: tuple[str, ...]) -> None:
    @stock(name, since=since)
    def binary(at: Node, x: Any, y: Any) -> Result:
        if not all(isinstance(item, Held | np.ndarray) for item in (x, y)):
            return None
        kinds = {item.dtype if isinstance(item, Held) else item.dtype.name for item in (x, y)}
        if len(kinds) != 1 or kinds.pop() not in types:
            return None
        return together(at, function, x, y)


_register("Less", 9, keras.ops.less, _NUMBERS)
_register("Greater", 9, keras.ops.greater, _NUMBERS)
_register("LessOrEqual", 12, keras.ops.less_equal, _NUMBERS)
_register("GreaterOrEqual", 12, keras.ops.greater_equal, _NUMBERS)
_register("Equal", 11, keras.ops.equal, (*_NUMBERS, "bool"))
_register("And", 7, keras.ops.logical_and, ("bool",))
_register("Or", 7, keras.ops.logical_or, ("bool",))
_register("Xor", 7, keras.ops.logical_xor, ("bool",))


@stock("Not")
def invert(at: Node, x: Held) -> Result:
    return same(x, keras.ops.logical_not(x.tensor)) if x.dtype == "bool" else None


@stock("Where", since=9)
def where(at: Node, condition: Any, x: Any, y: Any) -> Result:
    if not all(isinstance(item, Held | np.ndarray) for item in (x, y)):
        return None
    kinds = {item.dtype if isinstance(item, Held) else item.dtype.name for item in (x, y)}
    kind = kinds.pop()
    if kinds or kind not in (*_NUMBERS, "bool") or not isinstance(condition, Held):
        return None
    if isinstance(x, Held) or isinstance(y, Held) or kind in ("float32", "bool"):
        return together(at, keras.ops.where, condition, x, y)
    # Of two constants a saved model keeps the numbers and not their type.
    return together(at, lambda *given: keras.ops.cast(keras.ops.where(*given), kind), condition, x, y)
