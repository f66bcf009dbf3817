"""Arithmetic on elements, with broadcasting. Integers that Keras would promote or round otherwise are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from converters.keras.held import Held, channels_last, common_lengths
from converters.keras.node import Node
from converters.keras.stock.activation import same
from converters.keras.stock.logic import together
from converters.keras.stock.table import Result, stock

_FLOATS = ("float16", "bfloat16", "float32", "float64")

#: A constant above this many elements must be a weight, never in a config.
_CONSTANT_LIMIT = 64

_UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": keras.ops.absolute,
    "Ceil": keras.ops.ceil,
    "Cos": keras.ops.cos,
    "Erf": keras.ops.erf,
    "Exp": keras.ops.exp,
    "Floor": keras.ops.floor,
    "Log": keras.ops.log,
    "Neg": keras.ops.negative,
    "Reciprocal": keras.ops.reciprocal,
    "Sin": keras.ops.sin,
    "Sqrt": keras.ops.sqrt,
}


def _register_unary(name: str, function: Callable[[Any], Any]) -> None:
    @stock(name, since=6)
    def unary(at: Node, x: Held) -> Result:
        if x.dtype not in _FLOATS:
            return None
        return same(x, function(x.tensor), nonnegative=name in ("Abs", "Exp", "Sqrt"))


for _name, _function in _UNARY.items():
    _register_unary(_name, _function)


@stock("Identity")
def identity(at: Node, x: Held) -> Result:
    return same(x, at.layer(keras.layers.Identity)(x.tensor), nonnegative=x.nonnegative)


@stock("Dropout")
def dropout_attributes(at: Node, x: Held, *, ratio: float = 0.5, is_test: int = 0) -> Result:
    return _dropout(at, x, ratio)


@stock("Dropout", since=12)
def dropout(at: Node, x: Held, ratio: Any = None, training: Any = None, *, seed: int | None = None) -> Result:
    if isinstance(training, Held) or (training is not None and bool(training)) or isinstance(ratio, Held):
        return None
    return _dropout(at, x, 0.5 if ratio is None else float(ratio))


def _dropout(at: Node, x: Held, ratio: float) -> Result:
    if any(at.used[1:]) or x.dtype not in _FLOATS or not 0 <= ratio < 1:
        return None
    return same(x, at.layer(keras.layers.Dropout, ratio)(x.tensor), nonnegative=x.nonnegative)


def aligned(at: Node, x: Held, y: Held) -> tuple[Held, Any, Any] | None:
    """Two values brought into one order: who lends the result its layout, and the two tensors."""
    if x.rank == y.rank:
        if x.flat is not None and x.flat == y.flat:
            return x, x.tensor, y.tensor
        if x.axes == y.axes and x.flat is None and y.flat is None:
            return x, x.tensor, y.tensor
        if x.rank < 3:
            a, b = at.source(x), at.source(y)
            return Held.of(a), a, b
        last = channels_last(x.rank)
        axes = last if last in (x.axes, y.axes) else x.axes
        a, b = at.to(x, axes), at.to(y, axes)
        return Held(a, axes), a, b
    a, b = at.source(x), at.source(y)
    return Held.of(a if x.rank > y.rank else b), a, b


def misread(x: Any, y: Any) -> bool:
    """Whether `keras.ops.add(x, y)` would take y for a bias of another axis than the one it lies on.

    Keras 3.15 hands whatever squeezes to a vector as long as the first or last axis of x to `tf.nn.bias_add`.
    """
    sizes = [(place - len(y.shape), size) for place, size in enumerate(y.shape) if size is None or size > 1]
    if len(sizes) != 1 or sizes[0][1] is None or len(x.shape) < 2:
        return False
    place, size = sizes[0]
    if x.shape[-1] == size:
        return place != -1
    return x.shape[1] == size and place != 1 - len(x.shape)


def added(at: Node, a: Any, b: Any) -> Any:
    """a + b as a layer where the shapes allow it, kept clear of Keras' shortcut for biases."""
    if misread(a, b):
        a, b = b, a
    if misread(a, b):
        return keras.ops.subtract(a, keras.ops.negative(b))
    return at.layer(keras.layers.Add)([a, b]) if _mergeable(a, b) else keras.ops.add(a, b)


def biased(at: Node, x: Held | None, bias: Held) -> Result:
    """`x` plus one number for each channel, which lies last; None for None."""
    return None if x is None else Held(added(at, x.tensor, at.source(bias)), x.axes, labels=x.labels)


_BINARY: dict[str, tuple[Callable[[Any, Any], Any], type | None]] = {
    "Add": (keras.ops.add, keras.layers.Add),
    "Sub": (keras.ops.subtract, keras.layers.Subtract),
    "Mul": (keras.ops.multiply, keras.layers.Multiply),
    "Div": (keras.ops.divide, None),
    "Pow": (keras.ops.power, None),
    "Max": (keras.ops.maximum, keras.layers.Maximum),
    "Min": (keras.ops.minimum, keras.layers.Minimum),
}


#: Division rounds, and powers are promoted: those of integers are for the operator table.
_INTEGER = {
    # Not keras.ops.add, which may take the second for a bias.
    "Add": lambda a, b: keras.ops.subtract(a, keras.ops.negative(b)),
    "Sub": keras.ops.subtract,
    "Mul": keras.ops.multiply,
}


def _binary(at: Node, name: str, x: Any, y: Any) -> Result:
    if not all(isinstance(item, Held | np.ndarray) for item in (x, y)):
        return None
    if _dtype(x) == _dtype(y) and name in _INTEGER and _dtype(x) in ("int32", "int64"):
        return together(at, _INTEGER[name], x, y)
    if _dtype(x) != _dtype(y) or _dtype(x) not in _FLOATS:
        return None
    function, layer = _BINARY[name]
    if isinstance(x, Held) and isinstance(y, Held):
        found = aligned(at, x, y)
        if found is None:
            return None
        like, a, b = found
        nonnegative = name in ("Add", "Mul", "Div") and x.nonnegative and y.nonnegative
        # The merge layers take one shape or sizes of 1; the first axis must be the batch of both.
        if name == "Add":
            tensor = added(at, a, b)
        elif layer is not None and _mergeable(a, b):
            tensor = at.layer(layer)([a, b])
        else:
            tensor = function(a, b)
        if like.rank != len(tensor.shape):
            return None
        return replace(same(like, tensor, nonnegative=nonnegative), labels=common_lengths(x, y))
    held, constant = (x, y) if isinstance(x, Held) else (y, x)
    return _with_constant(at, name, function, held, constant, first=isinstance(x, Held))


def _with_constant(
    at: Node, name: str, function: Callable[[Any, Any], Any], held: Held, constant: np.ndarray, *, first: bool
) -> Result:
    if constant.ndim > held.rank:
        return None
    if held.flat is not None and constant.size > 1:
        held = Held.of(at.source(held))
    nonnegative = held.nonnegative and name in ("Add", "Mul", "Div") and first and bool((constant >= 0).all())
    if constant.size == 1:
        number = float(constant.ravel()[0])
        if held.dtype == "float64" or (not np.isfinite(number) and name != "Mul"):
            value: Any = constant.ravel()[0]
        else:
            value = number
        tensor = function(held.tensor, value) if first else function(value, held.tensor)
        return same(held, tensor, nonnegative=nonnegative)
    array = held.constant(constant)
    if any(size not in (1, have) for size, have in zip(array.shape, held.tensor.shape, strict=True)):
        # The constant makes the value larger.
        plain = constant.size <= _CONSTANT_LIMIT and array.shape[0] == 1
        order = (held, constant) if first else (constant, held)
        return together(at, _INTEGER.get(name, function), *order) if plain else None
    if constant.size > _CONSTANT_LIMIT:
        return _learned(at, name, held, array, first=first)
    if name == "Add" and misread(held.tensor, array):
        # Addition commutes, and the larger of two is taken for no bias.
        first = False
        if misread(array, held.tensor):
            return None
    tensor = function(held.tensor, array) if first else function(array, held.tensor)
    return same(held, tensor, nonnegative=nonnegative)


def _learned(at: Node, name: str, held: Held, array: np.ndarray, *, first: bool) -> Result:
    """Arithmetic with a large constant: a factor and a summand, weights of an EinsumDense that sums over nothing."""
    if array.shape[0] != 1 or name in ("Pow", "Max", "Min") or (name in ("Sub", "Div") and not first):
        return None
    letters = "abcdefgh"[: held.rank]
    kept = [axis for axis in range(1, held.rank) if array.shape[axis] != 1]
    if any(held.tensor.shape[axis] is None for axis in kept):
        return None
    names = "".join(letters[axis] for axis in kept)
    numbers = array.reshape([array.shape[axis] for axis in kept])
    adds = name in ("Add", "Sub")
    factor = np.ones_like(numbers) if adds else 1 / numbers if name == "Div" else numbers
    summand = None
    if adds:
        # The bias has the sizes of the axes it names, and 1 for those behind the first of them.
        signed = -numbers if name == "Sub" else numbers
        summand = signed.reshape([array.shape[axis] for axis in range(kept[0], held.rank)])
        if misread(held.tensor, summand):
            return None
    layer = at.layer(
        keras.layers.EinsumDense,
        f"{letters},{names}->{letters}",
        output_shape=tuple(held.tensor.shape[1:]),
        bias_axes=names if adds else None,
        dtype=held.dtype,
    )
    return same(held, at.apply(layer, held.tensor, kernel=factor, bias=summand))


def _register_binary(name: str) -> None:
    @stock(name, since=7)
    def binary(at: Node, x: Any, y: Any) -> Result:
        return _binary(at, name, x, y)


for _name in ("Add", "Sub", "Mul", "Div", "Pow"):
    _register_binary(_name)


def _mergeable(a: Any, b: Any) -> bool:
    if len(a.shape) != len(b.shape) or len(a.shape) < 2 or a.shape[0] != b.shape[0]:
        return False
    return all(p == q or 1 in (p, q) for p, q in zip(a.shape[1:], b.shape[1:], strict=True))


def _register_joining(name: str, binary: str) -> None:
    @stock(name, since=8)
    def joining(at: Node, *inputs: Any) -> Result:
        if len(inputs) < 2:
            return None
        result = inputs[0]
        for item in inputs[1:]:
            result = _binary(at, binary, result, item)
            if result is None:
                return None
        return result


for _name, _pair in {"Sum": "Add", "Max": "Max", "Min": "Min"}.items():
    _register_joining(_name, _pair)


def _dtype(item: Any) -> str:
    if not isinstance(item, Held | np.ndarray):
        return "none"
    return item.dtype if isinstance(item, Held) else item.dtype.name
