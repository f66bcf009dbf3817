"""Attributes of a node as plain Python values: numbers, strings, NumPy arrays, lists of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from modelzoo.errors import InvalidGraphError

__all__ = ["constant_value", "plain", "resolve"]


def resolve(node: ir.Node, bound: Mapping[str, ir.Attr]) -> dict[str, ir.Attr]:
    """The attributes of `node`; one that refers to an attribute of the enclosing function is looked up in `bound`.

    An attribute whose reference the caller left out is left out too, so the operator's default holds.
    """
    found = {}
    for name, attribute in node.attributes.items():
        if not attribute.is_ref():
            found[name] = attribute
        elif attribute.ref_attr_name in bound:
            found[name] = bound[attribute.ref_attr_name]
    return found


def plain(attribute: ir.Attr) -> Any:
    """The value of an attribute that is no graph: int, float, str, np.ndarray, or a list of these."""
    kind, value = attribute.type, attribute.value
    if kind == ir.AttributeType.TENSOR:
        return tensor_value(value)
    if kind == ir.AttributeType.TENSORS:
        return [tensor_value(item) for item in value]
    if kind == ir.AttributeType.STRING:
        return text(value)
    if kind == ir.AttributeType.STRINGS:
        return [text(item) for item in value]
    if kind in (ir.AttributeType.INTS, ir.AttributeType.FLOATS):
        return list(value)
    return value


def text(value: str | bytes) -> str:
    """An attribute's string; bytes that are no UTF-8 are kept by surrogates."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def tensor_value(tensor: ir.TensorProtocol) -> np.ndarray:
    """A tensor as an array: a view where the format stores the numbers plainly; object array of str for strings.

    Raises:
        InvalidGraphError: the tensor holds another number of elements than its shape says, or no known type.
    """
    try:
        array = np.asarray(tensor.numpy())
    except (TypeError, ValueError) as error:
        raise InvalidGraphError(
            f"Tensor {tensor.name!r} does not hold what its type and shape say: {error}",
            received=f"{tensor.dtype} {tensor.shape}",
            hint="the model is damaged; fetch or export it again",
        ) from error
    if array.dtype == object:
        result = np.empty(array.shape, dtype=object)
        result.ravel()[...] = [text(item) for item in array.ravel().tolist()]
        return result
    return array


def constant_value(attributes: Mapping[str, ir.Attr]) -> np.ndarray:
    """The value of a Constant node, whichever of its attributes holds it."""
    (name, attribute), *_ = [(name, item) for name, item in attributes.items() if name.startswith(("value", "sparse"))]
    if name == "sparse_value":
        return _dense(attribute.value)
    value = plain(attribute)
    if name in ("value_float", "value_floats"):
        return np.array(value, np.float32)
    if name in ("value_int", "value_ints"):
        return np.array(value, np.int64)
    if name in ("value_string", "value_strings"):
        return np.array(value, dtype=object)
    return value


def _dense(sparse: onnx.SparseTensorProto) -> np.ndarray:
    values = onnx.numpy_helper.to_array(sparse.values)
    indices = onnx.numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    if indices.ndim == 1:
        dense.ravel()[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense
