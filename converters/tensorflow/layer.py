"""A TensorFlow graph as one Keras layer, and the functional model around it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import keras
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import graph_pb2, tensor_pb2

from converters.keras.names import legal_name
from converters.keras.taps import Tap
from converters.keras.weights import FromArray
from converters.tensorflow.checks import check_definitions
from converters.tensorflow.control import find_control_flow
from converters.tensorflow.graph import Ref, flatten
from converters.tensorflow.module import GraphModule, as_input, read_values
from converters.tensorflow.plan import VARIABLES
from converters.tensorflow.program import InputSpec, Program, Shape, build_once, tensor_ref
from converters.tensorflow.strides import walk_strides
from converters.tensorflow.tables import Table
from converters.tensorflow.weights import Weight
from modelzoo.errors import ConversionError, InvalidGraphError

__all__ = ["TensorFlowGraph", "to_keras"]

#: What is no tap: numbers of the file, not what the network makes of its input.
_NO_TAPS = frozenset(("Const", "Placeholder", "PlaceholderV2", *VARIABLES))


def to_keras(module: GraphModule, *, name: str | None = None, inputs: Mapping[str, Shape] | None = None) -> Any:
    """Make a functional Keras model of a graph; its weights are the model's own, copied from the file.

    Args:
        module: the graph.
        name: of the model.
        inputs: input -> shape instead of the declared one, None = open.

    Returns:
        A `keras.Model`: tensor to tensor where the graph has one input or output, else dicts by name. `model.taps` is
        {source name: Tap} of everything that is computed from the inputs outside of loops and conditionals;
        `model.layouts` says "source" for each: nothing is rearranged. `model.select_taps(names)` computes
        only the taps named, where a model of `model.taps` would compute all of them eagerly.

    Raises:
        ConversionError: an input or output of unknown rank.
        InvalidGraphError: the graph cannot take such shapes.
    """
    program = module.program.reshaped(inputs) if inputs else module.program
    for spec in program.inputs.values():
        if spec.shape.rank is None:
            raise ConversionError(
                f"The graph does not say how many axes its input {spec.name!r} has.",
                received=spec.dtype.name,
                hint=f"say its shape: inputs={{{spec.name!r}: (None, 224, 224, 3)}}, on the command line --inputs "
                f"{spec.name}=?,224,224,3; a scalar's is () or nothing",
            )
    layer = TensorFlowGraph(**_config(program), name=_model_name(name or program.name))
    layer.take(program)
    symbolic = {
        spec.name: keras.Input(
            batch_shape=tuple(spec.shape.as_list()), dtype=spec.dtype.name, name=legal_name(spec.name)
        )
        for spec in program.inputs.values()
    }
    given = list(symbolic.values())
    # The call with the most outputs comes first: Keras takes the first one for the measure of all others.
    taps = list(_tap_strides(program))
    tensors = layer(given, outputs=[*taps, *(name for name in program.outputs if name not in taps)])
    results = layer(given, outputs=list(program.outputs))
    model = keras.Model(
        given[0] if len(given) == 1 else symbolic,
        next(iter(results.values())) if len(results) == 1 else results,
        name=layer.name,
    )
    for attribute, content in {
        "taps": {tap: Tap(tap, tensors[tap], _is_end_point(program, tap)) for tap in taps},
        "source_names": {legal_name(item): item for item in (*symbolic, *taps)},
        "layouts": dict.fromkeys((*symbolic, *results, *taps), "source"),
        "input_sources": tuple(symbolic),
        "output_sources": tuple(results),
        "stock_only": False,
        "select_taps": lambda names: dict(layer(given, outputs=list(names))),
    }.items():
        # Plain attributes: Keras would wrap and track dictionaries that it sees.
        object.__setattr__(model, attribute, content)
    return model


def _model_name(name: str) -> str:
    return legal_name(name).lstrip(".") or "graph"


def _tap_strides(program: Program) -> dict[str, Fraction | None]:
    """The tensors of known rank that depend on an input, in the graph's order, with their strides."""
    fed = {spec.ref for spec in program.inputs.values()}
    named: dict[str, Ref] = {}
    for item in program.tensors():
        ref = tensor_ref(program.flat, item.name)
        if ref is None or item.inner or item.shape is None or ref in fed:
            continue
        if program.flat.nodes[ref.node].op not in _NO_TAPS and item.dtype not in ("", "resource", "variant", "string"):
            named[item.name] = ref
    plan = program.plan(fed, list(named.values()))
    strides = walk_strides(plan, program.known)
    return {name: strides[plan.origin(ref)] for name, ref in named.items() if plan.origin(ref) in strides}


def _is_end_point(program: Program, tap: str) -> bool:
    """Whether `features="all"` gives it: maps and vectors of floats, not other names of them."""
    ref = program.ref(tap)
    dtype, shape = program.describe(ref)
    if dtype is None or shape is None or ref in program.flat.alias:
        return False
    return bool(dtype.is_floating) and (shape.rank or 0) >= 2


@keras.saving.register_keras_serializable(package="modelzoo", name="TensorFlowGraph")
class TensorFlowGraph(keras.layers.Layer):
    """A TensorFlow graph as a Keras layer, its constants and variables as weights.

    Args:
        graph: the serialised GraphDef without its weights, base64. It is checked like any foreign graph.
        inputs: name, tensor, dtype and shape of each input.
        outputs: output name -> tensor name.
        weights: name, nodes, dtype, shape and trainable of each weight.
        tables: node, keys and values (serialised TensorProtos, base64) of each lookup table.

    The layer takes a list of tensors in the order of `inputs`, and the names of what it gives: {name: tensor}.
    """

    def __init__(
        self,
        graph: str,
        inputs: Sequence[Mapping[str, Any]],
        outputs: Mapping[str, str],
        weights: Sequence[Mapping[str, Any]],
        tables: Sequence[Mapping[str, Any]] = (),
        **options: Any,
    ) -> None:
        # Each input keeps the type that the graph declares for it.
        super().__init__(autocast=False, **options)
        self.config: dict[str, Any] = {
            "graph": graph,
            "inputs": [dict(item) for item in inputs],
            "outputs": dict(outputs),
            "weights": [dict(item) for item in weights],
            "tables": [dict(item) for item in tables],
        }
        self._arrays: list[Any] | None = None
        self._set("_program", None)
        self._set("_functions", {})
        self._set("_strides", None)

    def _set(self, name: str, value: Any) -> None:
        # What is no state of the layer: Keras must not track it.
        object.__setattr__(self, name, value)

    def take(self, program: Program) -> None:
        """Use a program at hand, and the values of its weights when the layer is built."""
        self._set("_program", program)
        self._arrays = [FromArray(read_values(item)) for item in program.weights]

    @property
    def program(self) -> Program:
        """The graph, checked when it is first needed."""
        if self._program is None:
            self._set("_program", _program(self.config, self.name))
        return self._program

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TensorFlowGraph:
        layer = cls(**config)
        _ = layer.program  # what a file says is checked now, not when somebody computes with it
        return layer

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.config}

    def build(self, *shapes: Any) -> None:
        """Make the weights; their values come from initialisers that are set while the model is converted."""
        given, self._arrays = self._arrays, None
        self.values = [
            self.add_weight(
                name=legal_name(item["name"]),
                shape=tuple(item["shape"]),
                dtype=item["dtype"],
                trainable=item["trainable"],
                initializer="zeros" if given is None else given[number],
            )
            for number, item in enumerate(self.config["weights"])
        ]
        self.built = True

    def compute_output_spec(self, inputs: Any, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        shapes = {spec.name: x.shape for spec, x in zip(self.program.inputs.values(), inputs, strict=True)}
        same = all(tuple(spec.shape) == tuple(shapes[spec.name]) for spec in self.program.inputs.values())
        program = self.program if same else self.program.reshaped(shapes)
        specs = {}
        for name in self._names(outputs):
            dtype, shape = program.describe(program.ref(name))
            if dtype is None or shape is None or shape.rank is None:
                raise ConversionError(
                    f"The tensor {name!r} is of unknown rank, which Keras does not have.",
                    hint="use the graph as a function: to='function'",
                )
            specs[name] = keras.KerasTensor(tuple(shape.as_list()), dtype=dtype.name)
        return specs

    def call(self, inputs: Any, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        names = self._names(outputs)
        given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        # A function of its own, in a graph too: what the importer builds is on no gradient tape, a call is.
        key = tuple(names)
        if key not in self._functions:
            run = tf.function(lambda *given: self._trace(names, given), reduce_retracing=True, autograph=False)
            self._functions[key] = run
        return self._functions[key](*given)

    def output_stride(self, node_index: int, tensor_index: int) -> Fraction | None:
        """Pixels of the input between two neighbours of an output of one of the layer's calls; None = unknown."""
        if self._strides is None:
            self._set("_strides", _tap_strides(self.program))
        outputs = self._inbound_nodes[node_index].arguments.kwargs.get("outputs")
        # Keras lists the tensors of a dict by its sorted keys.
        return self._strides.get(sorted(self._names(outputs))[tensor_index])

    def _names(self, outputs: Sequence[str] | None) -> list[str]:
        return list(self.program.outputs) if outputs is None else list(outputs)

    def _trace(self, names: Sequence[str], given: Sequence[Any]) -> dict[str, Any]:
        program = self.program
        specs = list(program.inputs.values())
        feeds = {spec.ref: as_input(_open(spec), x) for spec, x in zip(specs, given, strict=True)}
        plan = program.plan(feeds, [program.ref(name) for name in names])
        values = [variable.value for variable in self.values]
        results = program.trace(plan, feeds, values, self._tables())
        return {name: tf.identity(value) for name, value in zip(names, results, strict=True)}

    def _tables(self) -> dict[Any, Any]:
        found = {}
        for number, (source, table) in enumerate(self.program.tables.items()):
            if not hasattr(self, f"table_{number}"):
                with tf.init_scope():
                    setattr(self, f"table_{number}", table.build())
            found[source] = getattr(self, f"table_{number}")
        return found


def _open(spec: InputSpec) -> InputSpec:
    """The input with all sizes open: what Keras gives was checked by its own input."""
    return InputSpec(spec.name, spec.ref, spec.dtype, tf.TensorShape([None] * (spec.shape.rank or 0)))


# -- config -----------------------------------------------------------------------------------------------------------


def _config(program: Program) -> dict[str, Any]:
    """What a `TensorFlowGraph` needs to be made again, its weights apart."""
    graph = graph_pb2.GraphDef()
    graph.CopyFrom(program.graph)
    weights = {source: item for item in program.weights for source in item.sources}
    for home, nodes in [("", graph.node), *((item.signature.name, item.node_def) for item in graph.library.function)]:
        for node in nodes:
            if (home, node.name) in weights and node.op == "Const":
                item = weights[(home, node.name)]
                node.op = "VariableV2"
                del node.input[:]
                node.attr.clear()
                node.attr["dtype"].type = tf.as_dtype(item.dtype).as_datatype_enum
                node.attr["shape"].shape.CopyFrom(tf.TensorShape(item.shape).as_proto())
    return {
        "graph": base64.b64encode(graph.SerializeToString(deterministic=True)).decode(),
        "inputs": [
            {
                "name": spec.name,
                "tensor": f"{spec.ref.node}:{spec.ref.output}",
                "dtype": spec.dtype.name,
                "shape": None if spec.shape.rank is None else spec.shape.as_list(),
            }
            for spec in program.inputs.values()
        ],
        "outputs": {name: f"{ref.node}:{ref.output}" for name, ref in program.outputs.items()},
        "weights": [
            {
                "name": item.name,
                "nodes": [list(source) for source in item.sources],
                "dtype": item.dtype,
                "shape": list(item.shape),
                "trainable": item.trainable,
            }
            for item in program.weights
        ],
        "tables": [
            {"node": list(source), "keys": _packed(table.keys), "values": _packed(table.values)}
            for source, table in program.tables.items()
        ],
    }


def _packed(array: Any) -> str:
    return base64.b64encode(tf.make_tensor_proto(array).SerializeToString()).decode()


def _unpacked(text: str) -> Any:
    return tf.make_ndarray(tensor_pb2.TensorProto.FromString(base64.b64decode(text)))


def _program(config: Mapping[str, Any], name: str) -> Program:
    """The program of a layer that is loaded from a file; the file is as foreign as any other."""
    try:
        graph = graph_pb2.GraphDef.FromString(base64.b64decode(config["graph"]))
        weights = [
            Weight(
                str(item["name"]),
                [(str(home), str(node)) for home, node in item["nodes"]],
                str(item["dtype"]),
                tuple(int(size) for size in item["shape"]),
                bool(item["trainable"]),
            )
            for item in config["weights"]
        ]
        tables = [
            Table((str(item["node"][0]), str(item["node"][1])), _unpacked(item["keys"]), _unpacked(item["values"]))
            for item in config["tables"]
        ]
    except (ValueError, TypeError, KeyError, DecodeError) as error:
        raise InvalidGraphError(f"The layer {name!r} is damaged.", hint="convert the model again") from error
    check_definitions(graph)
    flat = flatten(graph)
    find_control_flow(flat)
    program = Program(name, graph, flat, {}, {}, weights, {table.source: table for table in tables}, {})
    refs = {key: tensor_ref(flat, str(tensor)) for key, tensor in config["outputs"].items()}
    for item in config["inputs"]:
        ref = tensor_ref(flat, str(item["tensor"]))
        if ref is not None:
            program.inputs[item["name"]] = InputSpec(
                item["name"], ref, tf.as_dtype(item["dtype"]), tf.TensorShape(item["shape"])
            )
    if None in refs.values() or len(program.inputs) != len(config["inputs"]):
        raise InvalidGraphError(f"The layer {name!r} names tensors that it does not have.", hint="convert it again")
    program.outputs = {key: ref for key, ref in refs.items() if ref is not None}
    build_once(program)
    return program
