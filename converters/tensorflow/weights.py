"""The numbers of a graph that can be trained: its variables, and its float constants."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from converters.tensorflow.graph import FlatGraph, Node, Ref
from converters.tensorflow.plan import VARIABLES
from modelzoo.errors import InvalidGraphError

__all__ = ["Weight", "find_weights", "static_value"]

#: Float constants above this many elements are weights; smaller ones are arithmetic.
_CONSTANT_LIMIT = 16

_FLOATS = ("float16", "bfloat16", "float32", "float64")

#: Inputs of normalisations that are moving averages: operator -> positions.
_AVERAGES = {
    "FusedBatchNorm": (3, 4),
    "FusedBatchNormV2": (3, 4),
    "FusedBatchNormV3": (3, 4),
    "BatchNormWithGlobalNormalization": (1, 2),
}


@dataclass
class Weight:
    """A variable, or a constant that became one.

    Attributes:
        name: the source's.
        sources: (function, node) of the nodes that are this weight.
        dtype: TensorFlow's name of the type.
        shape: sizes of the axes.
        trainable: whether training changes it; moving averages and whole numbers are not trained.
        read: gives the values, an array of `shape`.
    """

    name: str
    sources: list[tuple[str, str]]
    dtype: str
    shape: tuple[int, ...]
    trainable: bool
    read: Callable[[], np.ndarray] | None = None


def find_weights(flat: FlatGraph, untrained: Set[Any] = frozenset()) -> list[Weight]:
    """The weights of a graph, in its order; constants that are weights become `VariableV2` nodes of `flat`.

    A function that is called twice has one set of weights, and a variable that two handles name is one.

    Args:
        flat: the graph; it is changed.
        untrained: names or (function, node) of variables that the file says are not trained.

    Raises:
        InvalidGraphError: a variable without a shape.
    """
    averages = _moving_averages(flat)
    found: dict[Any, Weight] = {}
    for node in flat.nodes.values():
        if node.op == "Const":
            proto = node.attr["value"].tensor if "value" in node.attr else tensor_pb2.TensorProto()
            shape = tuple(dim.size for dim in proto.tensor_shape.dim)
            dtype = _type_name(proto.dtype)
            if dtype not in _FLOATS or math.prod(shape) <= _CONSTANT_LIMIT:
                continue
            key: Any = node.source
            node.op = "VariableV2"
        elif node.op in VARIABLES:
            key = _variable_key(node)
            proto = None
            dtype = _type_name(node.attr["dtype"].type) if "dtype" in node.attr else ""
            shape = tuple(dim.size for dim in node.attr["shape"].shape.dim) if "shape" in node.attr else ()
            if not dtype or any(size < 0 for size in shape) or node.attr["shape"].shape.unknown_rank:
                shape = (-1,)
        else:
            continue
        if key not in found:
            name = key if isinstance(key, str) else node.name
            trainable = dtype in _FLOATS and node.name not in averages and untrained.isdisjoint((name, node.source))
            trainable = trainable and re.search(r"moving_(mean|var)", name) is None
            read = None if proto is None else _reader(proto, node)
            found[key] = Weight(name, [], dtype, shape, trainable, read)
        if node.source not in found[key].sources:
            found[key].sources.append(node.source)
        if node.name in averages:
            found[key].trainable = False
    return list(found.values())


def _variable_key(node: Node) -> str:
    """Handles of one variable share its name."""
    shared = node.attr["shared_name"].s.decode("utf-8", "replace") if "shared_name" in node.attr else ""
    return shared or node.name


def _moving_averages(flat: FlatGraph) -> set[str]:
    found = set()
    for node in flat.nodes.values():
        for position in _AVERAGES.get(node.op, ()):
            if position < len(node.inputs):
                found.add(flat.origin(node.inputs[position]).node)
    return found


def _type_name(number: int) -> str:
    try:
        return str(tf.as_dtype(number).base_dtype.name)
    except TypeError:
        return ""


def _reader(proto: tensor_pb2.TensorProto, node: Node) -> Callable[[], np.ndarray]:
    return lambda: _constant(proto, node.name)


def _constant(proto: tensor_pb2.TensorProto, owner: str) -> np.ndarray:
    """The array of a constant whose size was checked.

    Raises:
        InvalidGraphError: the constant cannot be read.
    """
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    dtype = tf.as_dtype(proto.dtype).as_numpy_dtype
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    try:
        listed = [field for field in proto.ListFields() if field[0].name.endswith("_val")]
        if not listed and dtype is not object:
            return np.zeros(shape, dtype)
        return np.asarray(tf.make_ndarray(proto))
    except (ValueError, TypeError, IndexError) as error:
        raise InvalidGraphError(
            f"The constant {owner!r} cannot be read: {error}.", received=str(shape), hint="the file is damaged"
        ) from error


def static_value(flat: FlatGraph, ref: Ref) -> np.ndarray | None:
    """The value of `ref` where it is a constant of the file, else None."""
    node = flat.nodes.get(flat.origin(ref).node)
    if node is None or node.op != "Const" or "value" not in node.attr:
        return None
    return _constant(node.attr["value"].tensor, node.name)
