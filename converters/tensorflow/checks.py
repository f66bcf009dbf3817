"""What a foreign graph may hold: operators of the allow-list, constants of their stated size, shapes that exist."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2, tensor_pb2
from tensorflow.python.framework import op_def_registry

from converters.tensorflow.operators import is_allowed, why_refused
from modelzoo.errors import InvalidGraphError, UnsafeFileError, UnsupportedOperatorError

__all__ = ["check_definitions", "check_operator", "tensor_size"]

#: Bytes that constants may take beyond what the file stores of them: one value can stand for a whole array.
_EXPANDED = 256 << 20
_LARGEST_DIM = 1 << 31

_HINT = (
    "modelzoo runs operators that compute from their inputs alone; cut the graph before it with inputs=[...] or"
    " outputs=[...], or export it for inference"
)


def check_operator(name: str, operator: str, functions: Mapping[str, Any]) -> None:
    """Refuse an operator that is not on the allow-list and not a function of the graph's own.

    Raises:
        UnsupportedOperatorError: it names the node, the operator and why.
    """
    if is_allowed(operator) or (operator in functions and op_def_registry.get(operator) is None):
        return
    known = op_def_registry.get(operator) is not None
    reason = why_refused(operator) if known else "is no operator of TensorFlow"
    raise UnsupportedOperatorError(
        name, operator, what=f"Node {name!r}: operator {operator} is refused, because it {reason}.", hint=_HINT
    )


def check_definitions(graph: graph_pb2.GraphDef) -> None:
    """Check all attributes of all nodes, functions included: constants, shapes, lists.

    Raises:
        InvalidGraphError: a constant that does not hold what its shape says, or a shape that cannot be.
        UnsafeFileError: constants that would take far more memory than the file.
    """
    budget = _EXPANDED
    for node in _all_nodes(graph):
        for key, value in node.attr.items():
            kind = value.WhichOneof("value")
            if kind == "tensor":
                stored, needed = tensor_size(value.tensor, f"{node.name!r} ({node.op})")
                budget -= max(0, needed - stored)
                if budget < 0:
                    raise UnsafeFileError(
                        f"Node {node.name!r} ({node.op}): its constant takes {needed:,} bytes, of which the file holds"
                        f" {stored:,}.",
                        received=f"shape {[dim.size for dim in value.tensor.tensor_shape.dim]}",
                        hint="the file is damaged or means harm",
                    )
            elif kind == "shape":
                _check_shape(value.shape, node, key)
            elif kind == "list":
                for shape in value.list.shape:
                    _check_shape(shape, node, key)
                for tensor in value.list.tensor:
                    tensor_size(tensor, f"{node.name!r} ({node.op})")


def _all_nodes(graph: graph_pb2.GraphDef) -> Iterable[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _check_shape(shape: Any, node: Any, key: str) -> None:
    if any(not -1 <= dim.size < _LARGEST_DIM for dim in shape.dim) or len(shape.dim) > 254:
        raise InvalidGraphError(
            f"Node {node.name!r} ({node.op}): its attribute {key!r} is no shape.",
            received=str([dim.size for dim in shape.dim][:10]),
            hint="the file is damaged",
        )


_FIELDS = {
    "float16": "half_val", "bfloat16": "half_val", "float32": "float_val", "float64": "double_val",
    "int8": "int_val", "int16": "int_val", "int32": "int_val", "uint8": "int_val", "uint16": "int_val",
    "uint32": "uint32_val", "int64": "int64_val", "uint64": "uint64_val", "bool": "bool_val",
    "string": "string_val", "complex64": "scomplex_val", "complex128": "dcomplex_val",
    "qint8": "int_val", "quint8": "int_val", "qint32": "int_val", "qint16": "int_val", "quint16": "int_val",
}  # fmt: skip


def tensor_size(tensor: tensor_pb2.TensorProto, owner: str) -> tuple[int, int]:
    """(bytes that the file stores, bytes of the array) of a constant.

    Raises:
        InvalidGraphError: the two contradict each other, or the type is none a constant can have.
    """
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or any(not 0 <= size < _LARGEST_DIM for size in sizes) or len(sizes) > 254:
        raise _bad(owner, "has no shape", sizes)
    try:
        dtype = tf.dtypes.as_dtype(tensor.dtype)
    except TypeError:
        dtype = None
    if dtype is None or dtype.name not in _FIELDS:
        raise _bad(owner, "is of a type that no constant has", tensor.dtype)
    count = math.prod(sizes)
    width = 1 if dtype == tf.string else dtype.size
    if count * width >= 1 << 40:
        raise _bad(owner, "is larger than any memory", sizes)
    if tensor.tensor_content:
        stored = len(tensor.tensor_content)
        if dtype == tf.string or stored != count * width:
            raise _bad(owner, f"has {stored} bytes for shape {sizes} of {dtype.name}", None)
        return stored, stored
    held = len(getattr(tensor, _FIELDS[dtype.name]))
    if dtype.is_complex:
        held //= 2
    if held > count or (held == 0 and count > 0 and dtype == tf.string and count > 1 << 20):
        raise _bad(owner, f"has {held} values for shape {sizes}", None)
    # An empty string still takes the 24 bytes of a tstring.
    return (held * width, count * width) if dtype != tf.string else (held * 24, count * 24)


def _bad(owner: str, what: str, received: Any) -> InvalidGraphError:
    return InvalidGraphError(f"Node {owner}: its constant {what}.", received=received, hint="the file is damaged")
