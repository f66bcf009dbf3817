"""Operators that ONNX itself defines by other operators: their function bodies, taken from the installed schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import tensorflow as tf

from converters.function.values import Narrow, dtype_of

__all__ = ["has_body", "schema_body"]


def _schema(node: ir.Node, version: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return None


def has_body(node: ir.Node, version: int) -> bool:
    """Whether ONNX defines this operator by a function body."""
    schema = _schema(node, version)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def schema_body(
    node: ir.Node,
    attributes: Mapping[str, ir.Attr],
    opsets: Mapping[str, int],
    inputs: list[Any],
    cache: Mapping[Any, Any],
) -> tuple[ir.Function | None, Any]:
    """The function body of a node for inputs of these types, unless `cache` has one.

    Returns:
        The body (None when `cache` holds what is needed) and the key under which to keep it.
    """
    version = opsets.get(node.domain, 1)
    schema = _schema(node, version)
    assert schema is not None
    # Bodies of other domains do not say which version of ONNX's own operators they use: it is the model's.
    default = opsets.get("", onnx.defs.onnx_opset_version())
    if not schema.has_context_dependent_function:
        return (None if () in cache else _function(schema, version, default, None, [])), ()
    types = [_type(value) for value in inputs]
    key = tuple(item.SerializeToString() for item in types)
    if key in cache:
        return None, key
    proto = ir.to_proto(node)
    del proto.attribute[:]
    proto.attribute.extend(ir.to_proto(item) for item in attributes.values())
    for attribute, name in zip(proto.attribute, attributes, strict=True):
        attribute.name = name
    return _function(schema, version, default, proto, types), key


def _function(
    schema: onnx.defs.OpSchema,
    version: int,
    default: int,
    node: onnx.NodeProto | None,
    types: list[onnx.TypeProto],
) -> ir.Function:
    if node is None:
        versions = [v for v in schema.function_opset_versions if v <= version] or schema.function_opset_versions[:1]
        data = schema.get_function_with_opset_version(max(versions))
    else:
        known = schema.context_dependent_function_opset_versions
        versions = [v for v in known if v <= version] or known[:1]
        data = schema.get_context_dependent_function_with_opset_version(
            max(versions), node.SerializeToString(), [item.SerializeToString() for item in types]
        )
    proto = onnx.FunctionProto.FromString(data)
    if not any(item.domain == "" for item in proto.opset_import):
        proto.opset_import.append(onnx.helper.make_opsetid("", default))
    return ir.serde.deserialize_function(proto)


def _type(value: Any) -> onnx.TypeProto:
    if value is None:
        return onnx.TypeProto()
    if isinstance(value, list):
        return onnx.helper.make_sequence_type_proto(_type(value[0]) if value else onnx.TypeProto())
    dtype = dtype_of(value)
    code = ir.DataType.STRING if dtype == object else ir.DataType.from_numpy(np.dtype(dtype))
    shape = value.values.shape if isinstance(value, Narrow) else value.shape
    if isinstance(shape, tf.TensorShape):
        sizes = None if shape.rank is None else shape.as_list()
    else:
        sizes = list(shape)
    return onnx.helper.make_tensor_type_proto(int(code), sizes)
