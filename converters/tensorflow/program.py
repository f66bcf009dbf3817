"""A graph that may be run: flat, checked, with its inputs, outputs, weights and tables named."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2

from converters.tensorflow.checks import check_definitions
from converters.tensorflow.control import find_control_flow
from converters.tensorflow.execution import trace
from converters.tensorflow.graph import FlatGraph, Node, Ref, flatten, output_count
from converters.tensorflow.initial import initial_values, untrained_nodes
from converters.tensorflow.plan import PLACEHOLDERS, Plan
from converters.tensorflow.pruning import NO_OUTPUTS, check_all, pruned, reached, wanted_outputs
from converters.tensorflow.reading import Source, read_source
from converters.tensorflow.restoring import attach_values
from converters.tensorflow.tables import TABLE_FILLERS, Table
from converters.tensorflow.weights import Weight, find_weights
from modelzoo.errors import ConversionError, InvalidGraphError, ModelzooError, UnknownTapError, UsageError

__all__ = ["GraphTensor", "InputSpec", "Program", "Shape", "build_once", "read_program", "tensor_ref"]

Shape = Sequence[int | None] | None


@dataclass(frozen=True)
class GraphTensor:
    """A tensor of the graph.

    Attributes:
        name: the source's, `node` or `node:1`.
        dtype: TensorFlow's name of its type; "" where nobody knows it.
        shape: sizes of the axes, None = open; None of unknown rank.
        inner: whether it lies inside a loop or a conditional, where it has no single value and is no tap.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    inner: bool


@dataclass(frozen=True)
class InputSpec:
    """What an input takes."""

    name: str
    ref: Ref
    dtype: tf.DType
    shape: tf.TensorShape


@dataclass
class Program:
    """See `read_program`.

    Attributes:
        name: of the model.
        graph: the pruned GraphDef, constants that are weights included.
        flat: the graph, its constants above 16 floats now variables.
        inputs: name -> what it takes.
        outputs: name -> tensor.
        weights: in the graph's order.
        tables: (function, node) -> contents.
        known: type and shape of the tensors that were built once.
        whole: whether all of the graph was wanted, not only what the outputs need.
    """

    name: str
    graph: graph_pb2.GraphDef
    flat: FlatGraph
    inputs: dict[str, InputSpec]
    outputs: dict[str, Ref]
    weights: list[Weight]
    tables: dict[tuple[str, str], Table]
    known: dict[Ref, tuple[tf.DType, tf.TensorShape]]
    whole: bool = False

    def __post_init__(self) -> None:
        self.weight_of = {source: number for number, item in enumerate(self.weights) for source in item.sources}

    def ref(self, name: str) -> Ref:
        """The tensor of this name: an output's, an input's, `node` or `node:0`.

        Raises:
            UnknownTapError: there is none; the nearest are named.
        """
        if name in self.outputs:
            return self.outputs[name]
        if name in self.inputs:
            return self.inputs[name].ref
        ref = tensor_ref(self.flat, name)
        if ref is None:
            raise UnknownTapError(name, [*self.outputs, *self.flat.nodes], what=f"The graph has no tensor {name!r}.")
        return ref

    def plan(self, fed: Iterable[Ref], targets: Sequence[Ref]) -> Plan:
        """What has to be computed; see `Plan`."""
        return Plan(self.flat, fed, targets, {spec.ref: spec.name for spec in self.inputs.values()})

    def trace(
        self, plan: Plan, feeds: Mapping[Ref, Any], values: Sequence[Any], tables: Mapping[Any, Any]
    ) -> list[Any]:
        """Build `plan` with the weights' `values` and the built `tables`; see `execution.trace`."""

        def weight(node: Node) -> Any:
            if node.source not in self.weight_of:
                raise UsageError(
                    f"The weight {node.name!r} belongs to what lies before the chosen inputs.",
                    hint="load the graph without inputs=, or with those that lie before it",
                )
            return tf.convert_to_tensor(values[self.weight_of[node.source]])

        return trace(plan, feeds, weight, lambda node: self._table(node, tables), self.known)

    def reshaped(self, shapes: Mapping[str, Shape]) -> Program:
        """The same program with other shapes of inputs, None = open; the tensors' shapes follow.

        Raises:
            UsageError: a name is no input.
            InvalidGraphError: the graph cannot take such shapes.
        """
        changed = dict(self.inputs)
        for name, sizes in shapes.items():
            if name not in changed:
                raise UsageError(
                    f"The graph has no input {name!r}.", received=name, hint=f"its inputs: {', '.join(self.inputs)}"
                )
            if sizes is not None:
                changed[name] = replace(changed[name], shape=_as_shape(name, sizes))
        made = replace(self, inputs=changed, known={})
        build_once(made)
        return made

    def _table(self, node: Node, tables: Mapping[Any, Any]) -> Any:
        if node.source not in tables:
            raise ConversionError(
                f"The table {node.name!r} is never filled.",
                received=node.op,
                hint="export the model with its initialisers (main_op, or tables_initializer())",
            )
        return tables[node.source].resource_handle

    def tensors(self) -> list[GraphTensor]:
        """All tensors, in the graph's order."""
        listed = []
        for node in self.flat.nodes.values():
            for index in range(_count(self.flat, node)):
                ref = Ref(node.name, index)
                dtype, shape = self.describe(ref)
                name = "" if dtype is None else dtype.name
                sizes = None if shape is None or shape.rank is None else tuple(shape.as_list())
                listed.append(GraphTensor(str(ref), name, sizes, self.flat.is_inner(ref)))
        return listed

    def describe(self, ref: Ref) -> tuple[tf.DType | None, tf.TensorShape | None]:
        """Type and shape of a tensor, (None, None) where it could not be built."""
        for spec in self.inputs.values():
            if spec.ref == ref:
                return spec.dtype, spec.shape
        origin = self.flat.origin(ref, {spec.ref for spec in self.inputs.values()})
        if origin != ref:
            return self.describe(origin)
        return self.known.get(ref, (None, None))


def read_program(
    path: str | os.PathLike[str],
    *,
    inputs: Mapping[str, Shape] | Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    tags: Sequence[str] = ("serve",),
    signature: str | None = None,
) -> Program:
    """Read, check and flatten a model; see `converters.tensorflow.load` for the arguments and errors."""
    for given in (inputs, outputs):
        if isinstance(given, str) or (given is not None and not all(isinstance(name, str) for name in given)):
            raise UsageError("inputs and outputs are lists of tensor names.", received=repr(given))
    source = read_source(path, tags=tags, signature=signature, wants_signature=outputs is None)
    check_definitions(source.graph)
    return make_program(source, inputs, outputs)


def make_program(
    source: Source, inputs: Mapping[str, Shape] | Sequence[str] | None, outputs: Sequence[str] | None
) -> Program:
    """The program of a graph whose definitions were checked."""
    wanted = wanted_outputs(source, outputs)
    cut = {source.inputs.get(name, name) if source.inputs else name for name in inputs or ()}
    graph, whole = source.graph, wanted is None and not cut
    if whole:
        check_all(graph)
    else:
        if wanted is None:
            wanted = {name: name for name in reached(graph, cut)}
        graph = pruned(graph, wanted.values(), cut)
    flat = flatten(graph)
    find_control_flow(flat)
    refs = _outputs(source, flat, wanted)
    places, tables = initial_values(source)
    weights = find_weights(flat, untrained_nodes(source, places))
    program = Program(source.name, graph, flat, {}, refs, weights, tables, {}, whole)
    program.inputs = _inputs(program, source, inputs)
    live = build_once(program)
    program.weights = [weight for weight in weights if live.intersection(weight.sources)]
    program.__post_init__()
    arrays = attach_values(program.weights, places, source.checkpoint)
    # The arrays are views of the file's map and outlive it.
    del arrays
    return program


def _count(flat: FlatGraph, node: Node) -> int:
    index = 0
    while Ref(node.name, index) in flat.alias:
        index += 1
    return index or output_count(node)


def tensor_ref(flat: FlatGraph, name: str) -> Ref | None:
    """`conv/Relu` or `conv/Relu:0` as a ref; None where the graph has no such tensor."""
    node, colon, number = name.rpartition(":")
    if not colon:
        node, number = name, "0"
    if node not in flat.nodes or not number.isdecimal() or len(number) > 9:
        return None
    return Ref(node, int(number)) if int(number) < _count(flat, flat.nodes[node]) else None


def _unknown(name: str, tensor: str, source: Source, flat: FlatGraph) -> UnknownTapError:
    # What the file holds, too: a wrong name has cut off the part that has the right one.
    known = dict.fromkeys([*(node.name for node in source.graph.node), *flat.nodes])
    return UnknownTapError(name, known, what=f"The graph has no tensor {tensor!r}.")


def _outputs(source: Source, flat: FlatGraph, wanted: Mapping[str, str] | None) -> dict[str, Ref]:
    if wanted is not None:
        found = {}
        for name, tensor in wanted.items():
            ref = tensor_ref(flat, tensor)
            if ref is None:
                raise _unknown(name, tensor, source, flat)
            found[name] = ref
        return found
    read = {ref.node for node in flat.nodes.values() for ref in node.inputs}
    found = {}
    for node in flat.nodes.values():
        if node.name in read or node.op in NO_OUTPUTS or node.source[0]:
            continue
        for index in range(_count(flat, node)):
            ref = Ref(node.name, index)
            if not flat.is_inner(ref):
                found[str(ref)] = ref
    if not found:
        raise InvalidGraphError("The graph has no output: everything is read by something.", hint="outputs=[NAME]")
    return found


def _inputs(
    program: Program, source: Source, inputs: Mapping[str, Shape] | Sequence[str] | None
) -> dict[str, InputSpec]:
    flat = program.flat
    if inputs is not None:
        named = {name: (source.inputs or {}).get(name, name) for name in inputs}
    elif source.inputs is not None:
        named = dict(source.inputs)
    else:
        named = {node.name: node.name for node in flat.nodes.values() if node.op in PLACEHOLDERS and not node.scope}
    shapes = inputs if isinstance(inputs, Mapping) else {}
    found = {}
    for name, tensor in named.items():
        ref = tensor_ref(flat, tensor)
        if ref is None:
            if inputs is None:  # an input of the signature that no output needs
                continue
            raise _unknown(name, tensor, source, flat)
        dtype, shape = _declared(program, ref)
        if shapes.get(name) is not None:
            shape = _as_shape(name, shapes[name])
        found[name] = InputSpec(name, ref, dtype, shape)
    return found


def _as_shape(name: str, sizes: Any) -> tf.TensorShape:
    try:
        return tf.TensorShape([None if size in (None, -1) else int(size) for size in sizes])
    except (TypeError, ValueError) as error:
        raise UsageError(f"This is no shape for the input {name!r}.", received=repr(sizes)) from error


def _declared(program: Program, ref: Ref) -> tuple[tf.DType, tf.TensorShape]:
    node = program.flat.nodes[ref.node]
    if node.op in PLACEHOLDERS:
        try:
            dtype = tf.as_dtype(node.attr["dtype"].type)
        except (TypeError, KeyError) as error:
            raise InvalidGraphError(f"The input {node.name!r} has no type.", hint="the file is damaged") from error
        shape = node.attr["shape"].shape if "shape" in node.attr else None
        # Before version 24 of graphs, an empty shape meant that nobody knows it.
        if shape is None or shape.unknown_rank or (not shape.dim and program.flat.producer < 24):
            return dtype, tf.TensorShape(None)
        return dtype, tf.TensorShape([None if dim.size < 0 else dim.size for dim in shape.dim])
    try:
        _build(program, [ref], tolerant=True)
    except ModelzooError as error:
        raise UsageError(
            f"The type of the tensor {str(ref)!r} cannot be told, so it can be no input.", hint=str(error)
        ) from error
    known = program.known[program.flat.origin(ref)]
    return known[0], known[1]


def build_once(program: Program) -> set[tuple[str, str]]:
    """Build everything in a graph that is thrown away, so that what is wrong is said now; the nodes that were live."""
    if not program.whole:
        chosen = list(program.outputs.values())
    else:
        chosen = [
            ref
            for node in program.flat.nodes.values()
            if node.op not in TABLE_FILLERS and not _is_handle(node)
            for index in range(_count(program.flat, node))
            if not program.flat.is_inner(ref := Ref(node.name, index))
        ]
    plan = _build(program, chosen)
    return {node.source for node in plan.nodes.values()}


def _is_handle(node: Node) -> bool:
    return node.op in ("HashTable", "HashTableV2", "TensorArrayV3")


def _build(program: Program, targets: list[Ref], *, tolerant: bool = False) -> Plan:
    with tf.__internal__.FuncGraph("check").as_default():
        feeds = {spec.ref: tf.compat.v1.placeholder(spec.dtype, spec.shape) for spec in program.inputs.values()}
        if tolerant:
            for node in program.flat.nodes.values():
                if node.op in PLACEHOLDERS and Ref(node.name, 0) not in feeds:
                    dtype, shape = _declared(program, Ref(node.name, 0))
                    feeds[Ref(node.name, 0)] = tf.compat.v1.placeholder(dtype, shape)
        plan = program.plan(feeds, targets)

        def weight(node: Node) -> Any:
            item = program.weights[program.weight_of[node.source]]
            shape = None if item.shape == (-1,) else item.shape
            return tf.compat.v1.placeholder(item.dtype, shape)

        trace(plan, feeds, weight, lambda node: tf.compat.v1.placeholder(tf.resource, []), program.known)
    return plan
