"""Keras model -> ONNX by tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.emit.big_weights import put_weights, take_weights
from converters.emit.borders import Borders, functional, unique
from converters.emit.publishing import publish
from modelzoo.errors import ConversionError

if TYPE_CHECKING:
    import keras
    import onnx

__all__ = ["OPSET", "write_onnx"]

OPSET = 18
"""The newest that tf2onnx writes."""


def write_onnx(model: keras.Model, out: Path | None = None) -> onnx.ModelProto:
    """Write a functional Keras model as ONNX.

    Args:
        model: functional; inputs and outputs keep its layout (channels last), open sizes stay open.
        out: the `.onnx` file; one that is there is replaced. None: only the model is returned.

    Returns:
        The checked model. Inputs and outputs have the source's names.

    Raises:
        ConversionError: the model is not functional, tf2onnx cannot say something in it, or it is above 2 GiB.
        DiskError, UsageError: the file cannot be written there.
    """
    import onnx

    model = functional(model)
    borders = Borders.of(model)
    proto = _converted(model, borders)
    _rename(proto, {f"input_{number}": name for number, name in enumerate(borders.input_names)})
    results = unique(borders.output_names, borders.input_names)
    _rename(proto, dict(zip((item.name for item in proto.graph.output), results, strict=True)))
    try:
        onnx.checker.check_model(proto)
        content = proto.SerializeToString()
    except ValueError as error:
        raise ConversionError(
            "An ONNX file in one piece ends at 2 GiB.", received=str(error), hint='export it with to="savedmodel"'
        ) from error
    except onnx.checker.ValidationError as error:
        raise ConversionError(f"tf2onnx made a model that is not valid ONNX: {error}") from error
    if out is not None:
        publish(Path(out), lambda path: Path(path).write_bytes(content))
    return proto


def _converted(model: Any, borders: Borders) -> onnx.ModelProto:
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    names = [f"input_{number}" for number in range(len(borders.inputs))]
    specs = [tf.TensorSpec(t.shape, t.dtype, name=n) for t, n in zip(borders.inputs, names, strict=True)]

    def run(*values: Any) -> list[Any]:
        # Each output is a value of its own, also where two are one tensor or an input.
        return [tf.identity(value) for value in borders.call(model, values)]

    try:
        traced = tf.function(run, autograph=False, input_signature=specs).get_concrete_function()
        frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False, aggressive_inlining=True)
        graph = frozen.graph.as_graph_def(add_shapes=True)
        del frozen
        _let_inline(graph)
        _without_erfc(graph)
        weights = take_weights(graph)
        # What comes behind the first inputs are tensors that the function captured, by now constants.
        given = [tensor.name for tensor in traced.inputs[: len(specs)]]
        proto, _ = tf2onnx.convert.from_graph_def(
            graph,
            input_names=[*given, *(f"{name}:0" for name in weights)],
            output_names=[tensor.name for tensor in traced.outputs],
            opset=OPSET,
        )
    except Exception as error:  # tf2onnx' errors have no common class
        text = str(error).strip()
        raise ConversionError(
            "tf2onnx cannot write the model.",
            received=text.splitlines()[0][:300] if text else type(error).__name__,
            hint='export it with to="savedmodel"',
        ) from error
    put_weights(proto, {f"{name}:0": array for name, array in weights.items()})
    _rename(proto, {f"{name}:0": name for name in names})
    order = {name: place for place, name in enumerate(names)}
    inputs = sorted(proto.graph.input, key=lambda item: order[item.name])
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    return proto


def _let_inline(graph: Any) -> None:
    """Let TensorFlow write out functions that Keras asks XLA to compile: grouped convolutions, for one."""
    held = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    for item in [*held, *graph.library.function]:
        for key in ("_XlaMustCompile", "_noinline"):
            if key in item.attr:
                del item.attr[key]


def _without_erfc(graph: Any) -> None:
    """Write erfc(x), with which Keras computes GELU and which ONNX does not have, as 1 - erf(x)."""
    import tensorflow as tf

    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in [node for node in nodes if node.op == "Erfc"]:
            kind = node.attr["T"].type
            one = nodes.add(name=f"{node.name}/one", op="Const")
            one.attr["dtype"].type = kind
            one.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1, dtype=tf.as_dtype(kind)))
            erf = nodes.add(name=f"{node.name}/erf", op="Erf", input=node.input)
            erf.attr["T"].type = kind
            if "_output_shapes" in node.attr:
                erf.attr["_output_shapes"].CopyFrom(node.attr["_output_shapes"])
            function = nodes is not graph.node
            node.op = "Sub"
            node.input[:] = [f"{one.name}:output:0", f"{erf.name}:y:0"] if function else [one.name, erf.name]


def _rename(proto: onnx.ModelProto, names: dict[str, str]) -> None:
    """Rename values throughout the graph; what has one of the new names already steps aside."""
    graph = proto.graph
    taken = {name for node in graph.node for name in [*node.input, *node.output]} - set(names)
    moved = {}
    for name in set(names.values()) & taken:
        number = 1
        while f"{name}_{number}" in taken or f"{name}_{number}" in names.values():
            number += 1
        moved[name] = f"{name}_{number}"
    _rename_in(graph, {**moved, **names})


def _rename_in(graph: Any, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs] if attribute.type in (5, 10) else []:
                _rename_in(inner, names)
    for item in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        item.name = names.get(item.name, item.name)
