"""A node that Keras has no pieces for, with the shape arithmetic that only it needs, as a `GraphFunction` layer."""

from __future__ import annotations

import base64
from collections.abc import Hashable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import tensorflow as tf

from converters.function import load
from converters.function.attributes import plain
from converters.function.table import find
from converters.function.values import Narrow, as_tensor
from converters.graph.naming import CONSTANT
from converters.keras.graph_function import GraphFunction
from converters.keras.held import Deferred, Held, keras_has
from converters.keras.names import LayerNames
from converters.keras.node import Node
from converters.keras.tying import Identities, Sharing
from converters.keras.weights import FromArray
from modelzoo.errors import ConversionError

__all__ = ["constant", "reads", "wrap"]

#: Constants above this many elements are weights of the layer; smaller ones stay in its graph.
_CONSTANT_LIMIT = 64

_FLOATS = frozenset(np.dtype(t) for t in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16))


def reads(node: ir.Node) -> set[ir.Value]:
    """Every value of the enclosing graph that a node and its subgraphs read."""
    found = {value for value in node.inputs if value is not None}
    for attribute in node.attributes.values():
        if attribute.is_ref() or attribute.type not in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            continue
        for graph in attribute.value if attribute.type == ir.AttributeType.GRAPHS else [attribute.value]:
            own = {*graph.inputs, *graph.initializers.values()}
            inner: set[ir.Value] = set(graph.outputs)
            for item in graph:
                own.update(item.outputs)
                inner |= reads(item)
            found |= inner - own
    return found


def wrap(
    node: ir.Node,
    model: ir.Model,
    scope: Mapping[ir.Value, Any],
    names: LayerNames,
    folded: dict[Any, Any],
    sharing: Sharing,
) -> list[Any]:
    """Put a node into a layer, or call the layer of one that does the same with the same weights.

    Values that are no Keras tensors (sizes, sequences) are computed inside it, by the nodes that give them.

    Returns:
        For each output a `Held`, or `Deferred` where it cannot be a Keras tensor.
    """
    nodes = _closure(node, scope)
    inner = {value for item in nodes for value in item.outputs}
    outer = list(dict.fromkeys(value for item in nodes for value in item.inputs if value is not None))
    outer += [value for item in nodes for value in sorted(reads(item) - set(outer), key=lambda v: v.name or "")]
    outer = [value for value in dict.fromkeys(outer) if value not in inner]
    # Each constant is read from the file once.
    scope = {value: scope[value] for value in outer}
    fed = [value for value in outer if isinstance(scope[value], Held)]
    constants = [value for value in outer if isinstance(scope[value], np.ndarray)]
    weights = [value for value in constants if _is_weight(scope[value])]
    outputs = [value for value in node.outputs if value.name]
    tensors = [Node(names, value.name or "", [True], folded).source(scope[value]) for value in fed]
    if not tensors:
        raise ConversionError(
            f"Node {node.name!r} ({node.op_type}) reads no input of the model, which no Keras layer can do.",
            hint='convert it with to="function"',
        )
    trained = [value for value in weights if _trainable(nodes, value, model)]
    key = _key(nodes, constants, fed, tensors, sharing.identities) if trained else None
    layer, narrow = sharing.memo.pieces.get(key, (None, ()))
    if layer is None:
        proto = _proto(model, nodes, fed, tensors, constants, weights, scope, outputs)
        weights_given = [scope[value] for value in weights]
        narrow = _narrow_outputs(load(proto), proto, tensors, weights_given)
        if narrow is None:
            return [Deferred() for _ in node.outputs]
        layer = GraphFunction(
            base64.b64encode(proto.SerializeToString()).decode(),
            [{"shape": list(scope[v].shape), "dtype": scope[v].dtype.name, "trainable": v in trained} for v in weights],
            name=names.new(outputs[0].name or node.name or "node"),
            dtype=_policy(tensors),
        )
        layer._given = [FromArray(array) for array in weights_given]
        if key is not None:
            sharing.memo.pieces[key] = layer, narrow
    for value in trained:
        sharing.readers.note_value(node, -1, value, [layer.name])
    results = layer(tensors[0] if len(tensors) == 1 else tensors)
    given = zip(results if isinstance(results, list | tuple) else [results], narrow, strict=True)
    return [_held(*next(given)) if value.name else None for value in node.outputs]


def _held(tensor: Any, narrow: np.dtype | None) -> Held:
    return Held.of(tensor, narrow=narrow)


def constant(array: np.ndarray, tensor: Any, opsets: Mapping[str, int], name: str, names: LayerNames) -> Held:
    """A layer that gives an array whatever it reads; `tensor` is what ties it to the model."""
    dtype = np.dtype(object) if tensor.dtype == "string" else np.dtype(tf.as_dtype(tensor.dtype).as_numpy_dtype)
    code = ir.DataType.STRING if dtype.kind == "O" else ir.DataType.from_numpy(dtype)
    given = onnx.helper.make_tensor_value_info("tensor", int(code), list(tensor.shape))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["array"], ["result"])],
        "constant",
        [given],
        [onnx.ValueInfoProto(name="result")],
        [_tensor("array", array)],
    )
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", opsets.get("", 1))], ir_version=onnx.IR_VERSION
    )
    text = base64.b64encode(proto.SerializeToString()).decode()
    made = GraphFunction(text, name=names.new(name), dtype=_policy([tensor]))(tensor)
    return _held(made, None if keras_has(array.dtype) else array.dtype)


def _closure(node: ir.Node, scope: Mapping[ir.Value, Any]) -> list[ir.Node]:
    """The node and, before it, those that compute the inputs that no Keras tensor holds, or what it differentiates."""
    order: list[ir.Node] = []
    inside = _differentiated(node)

    def visit(item: ir.Node) -> None:
        if item in order:
            return
        for value in reads(item):
            producer = value.producer()
            computed = producer in inside or not isinstance(scope.get(value), Held | np.ndarray)
            if producer is not None and computed:
                visit(producer)
        order.append(item)

    for item in [*inside, node]:
        visit(item)
    return order


def _differentiated(node: ir.Node) -> list[ir.Node]:
    """The nodes that lead from the values `xs` of a Gradient to its `y`, in order; none for other operators."""
    if (node.domain, node.op_type) != ("ai.onnx.preview.training", "Gradient") or node.graph is None:
        return []
    names = {key: plain(item) for key, item in node.attributes.items()}
    starts = {*names["xs"], *names.get("zs", ())}
    behind: set[ir.Value] = set()
    ahead = [value for item in node.graph for value in item.outputs if value.name == names["y"]]
    while ahead:
        value = ahead.pop()
        producer = value.producer()
        if value in behind or value.name in starts or producer is None:
            continue
        behind.add(value)
        ahead.extend(reads(producer))
    return [item for item in node.graph if not behind.isdisjoint(item.outputs)]


def _key(
    nodes: list[ir.Node],
    constants: list[ir.Value],
    fed: list[ir.Value],
    tensors: list[Any],
    identities: Identities,
) -> Hashable | None:
    """Equal for pieces that do the same with the same weights; None where no other node reads them."""
    if len(nodes) != 1:
        return None
    node = nodes[0]
    does = identities.key(node, [place for place, value in enumerate(node.inputs) if value in constants])
    if does is None:
        return None
    pattern = tuple(fed.index(value) if value in fed else None for value in node.inputs)
    kinds = tuple((tuple(tensor.shape), str(tensor.dtype)) for tensor in tensors)
    return (does, pattern, kinds, tuple(bool(value.name) for value in node.outputs))


def _is_weight(array: np.ndarray) -> bool:
    return array.dtype in _FLOATS and array.size > _CONSTANT_LIMIT


def _trainable(nodes: list[ir.Node], value: ir.Value, model: ir.Model) -> bool:
    if CONSTANT in value.metadata_props:
        return False
    for node in nodes:
        row = find(node.domain, node.op_type, node.version or model.opset_imports.get(node.domain, 1))
        for position, read in enumerate(node.inputs):
            if read is value and row is not None:
                name = row.input_name(position)
                if name in row.frozen or name in row.constant or row.form(position) == "Static":
                    return False
    return True


def _policy(tensors: list[Any]) -> str:
    """The layer's dtype: that of its floats, so that Keras casts none of its inputs."""
    kinds = [str(tensor.dtype) for tensor in tensors]
    floats = [kind for kind in kinds if "float" in kind and "float8" not in kind]
    return floats[0] if floats else "float32"


def _proto(
    model: ir.Model,
    nodes: list[ir.Node],
    fed: list[ir.Value],
    tensors: list[Any],
    constants: list[ir.Value],
    weights: list[ir.Value],
    scope: Mapping[ir.Value, Any],
    outputs: list[ir.Value],
) -> onnx.ModelProto:
    inputs = []
    for value, tensor in zip(fed, tensors, strict=True):
        dtype = scope[value].narrow
        if dtype is None:
            dtype = np.dtype(object) if tensor.dtype == "string" else np.dtype(tf.as_dtype(tensor.dtype).as_numpy_dtype)
        code = ir.DataType.STRING if dtype.kind == "O" else ir.DataType.from_numpy(dtype)
        inputs.append(onnx.helper.make_tensor_value_info(value.name, int(code), list(tensor.shape)))
    for value in weights:
        array = scope[value]
        code = ir.DataType.from_numpy(array.dtype)
        inputs.append(onnx.helper.make_tensor_value_info(value.name, int(code), list(array.shape)))
    initialisers = []
    for value in constants:
        if value not in weights:
            initialisers.append(_tensor(value.name or "", scope[value]))
    graph = onnx.helper.make_graph(
        [ir.to_proto(item) for item in nodes],
        nodes[-1].name or "piece",
        inputs,
        [onnx.ValueInfoProto(name=value.name) for value in outputs],
        initialisers,
    )
    opsets = dict(model.opset_imports)
    if len(nodes) == 1 and nodes[0].version:  # younger than the model, see `converters.graph.patterns`
        opsets[nodes[0].domain] = nodes[0].version
    proto = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=model.ir_version,
    )
    proto.functions.extend(ir.to_proto(function) for function in model.functions.values())
    return proto


def _tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    if array.dtype == object:
        return onnx.helper.make_tensor(name, int(ir.DataType.STRING), array.shape, array.ravel().tolist())
    # What was a scalar must stay one.
    return ir.to_proto(ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=name))


def _narrow_outputs(
    function: Any, proto: onnx.ModelProto, tensors: list[Any], weights: list[np.ndarray]
) -> list[np.dtype | None] | None:
    """For each output its type where Keras lacks it, found by tracing; None where one is no tensor of known rank."""
    feeds = [item.name for item in proto.graph.input]
    specs = [tf.TensorSpec(t.shape, t.dtype) for t in tensors]
    specs += [tf.TensorSpec(array.shape, array.dtype) for array in weights]
    found: list[Any] = []

    def run(*values: Any) -> Any:
        results = function.values(dict(zip(feeds, values, strict=True))).values()
        found[:] = results
        return [as_tensor(item) for item in results if _fits(item)]

    tf.function(run, autograph=False).get_concrete_function(*specs)
    if not all(_fits(item) for item in found):
        return None
    return [item.dtype if isinstance(item, Narrow) and not keras_has(item.dtype) else None for item in found]


def _fits(value: Any) -> bool:
    if isinstance(value, Narrow):
        return value.values.shape.rank is not None
    return isinstance(value, np.ndarray) or (isinstance(value, tf.Tensor) and value.shape.rank is not None)
