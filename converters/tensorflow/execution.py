"""A plan, traced: nodes go to TensorFlow's importer as they stand, loops and conditionals become those of TF 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2

from converters.tensorflow.graph import Branches, Loop, Node, Ref
from converters.tensorflow.layout import add_channels_last, channels_first
from converters.tensorflow.plan import TENSOR_ARRAYS, VARIABLES, Plan, Unit
from converters.tensorflow.tensor_arrays import apply_array, new_array
from modelzoo.errors import InvalidGraphError, ModelzooError

__all__ = ["trace"]

_TABLES = ("HashTable", "HashTableV2")

#: Operators that read a variable through its handle.
_GATHERS = ("ResourceGather", "ResourceGatherNd", "VariableShape")

_LOOKUPS = ("LookupTableFind", "LookupTableFindV2")
_SIZES = ("LookupTableSize", "LookupTableSizeV2")

#: Attributes that say where and how a node was made, not what it computes.
_PRIVATE = "_"

#: Operator -> position of an input -> its rank.
_RANKS = {
    "AvgPool": {0: 4},
    "Conv2D": {0: 4, 1: 4},
    "Conv2DBackpropInput": {1: 4, 2: 4},
    "Conv3D": {0: 5, 1: 5},
    "DepthwiseConv2dNative": {0: 4, 1: 4},
    "MaxPool": {0: 4},
}

#: Loops whose variables change their shape: how often the shapes may widen before their rank is given up.
_WIDENINGS = 3


def trace(
    plan: Plan,
    feeds: Mapping[Ref, Any],
    weights: Callable[[Node], Any],
    tables: Callable[[Node], Any],
    seen: dict[Ref, tuple[tf.DType, tf.TensorShape]] | None = None,
) -> list[Any]:
    """Build the operations of a plan in the graph that is being traced.

    Args:
        plan: what to build.
        feeds: fed ref -> tensor.
        weights: node of a variable -> its value.
        tables: node of a table -> its handle.
        seen: filled with the type and shape of every output that is built.

    Returns:
        The tensors of the plan's targets.

    Raises:
        InvalidGraphError: TensorFlow refuses a node: wrong types, shapes or attributes.
    """
    return _Tracer(plan, weights, tables, seen if seen is not None else {}).region(plan.targets, _Values(None, feeds))


class _Values(dict[Ref, Any]):
    """What is known in a region, looked up through the enclosing ones."""

    def __init__(self, outer: _Values | None, known: Mapping[Ref, Any]) -> None:
        super().__init__(known)
        self.outer = outer

    def find(self, ref: Ref) -> Any:
        """The value, as a tensor of the graph that is being built; None if it is not known."""
        values: _Values | None = self
        while values is not None:
            if ref in values:
                return _here(values[ref])
            values = values.outer
        return None

    def knows(self, ref: Ref) -> bool:
        values: _Values | None = self
        while values is not None:
            if ref in values:
                return True
            values = values.outer
        return False


def _here(value: Any) -> Any:
    graph = tf.compat.v1.get_default_graph()
    if isinstance(value, tf.Tensor) and hasattr(graph, "capture") and getattr(value, "graph", None) is not graph:
        return graph.capture(value)
    return value


class _Tracer:
    def __init__(
        self,
        plan: Plan,
        weights: Callable[[Node], Any],
        tables: Callable[[Node], Any],
        seen: dict[Ref, tuple[tf.DType, tf.TensorShape]],
    ) -> None:
        self.plan = plan
        self.weights = weights
        self.tables = tables
        self.seen = seen

    def region(self, targets: Sequence[Ref], values: _Values) -> list[Any]:
        """The values of `targets`, which lie in one region: the main graph, a body or a branch."""
        targets = [self.plan.origin(ref) for ref in targets]
        levels = self._levels(targets, values)
        for units in levels:
            plain = []
            for unit in units:
                if isinstance(unit, Node) and not _is_special(unit):
                    plain.append(unit)
                else:
                    self._special(unit, values)
            if plain:
                self._import(plain, values)
        found = [values.find(ref) for ref in targets]
        for ref, value in zip(targets, found, strict=True):
            if value is None:
                raise InvalidGraphError(f"No node gives {str(ref)!r}.", received=str(ref), hint="the file is damaged")
        return found

    def _levels(self, targets: Sequence[Ref], values: _Values) -> list[list[Unit]]:
        """Units in order, so that all that TensorFlow can import at once is together."""
        levels: list[list[Unit]] = []
        level: dict[int, int] = {}
        for unit in self._ordered(targets, values):
            before = [level[id(self.plan.unit(ref))] for ref in self.plan.needs(unit) if not values.knows(ref)]
            special = not isinstance(unit, Node) or _is_special(unit)
            number = max(before, default=-1 if special else 0) + (1 if special else 0)
            level[id(unit)] = number
            while len(levels) <= number:
                levels.append([])
            levels[number].append(unit)
        return levels

    def _ordered(self, targets: Sequence[Ref], values: _Values) -> Iterator[Unit]:
        done: set[int] = set()
        for target in targets:
            if values.knows(target):
                continue
            stack = [(self.plan.unit(target), iter(self.plan.needs(self.plan.unit(target))))]
            path = {id(stack[0][0])}
            while stack:
                unit, waiting = stack[-1]
                if id(unit) in done:
                    stack.pop()
                    continue
                following = None
                for ref in waiting:
                    if not values.knows(ref) and id(self.plan.unit(ref)) not in done:
                        following = self.plan.unit(ref)
                        break
                if following is None:
                    stack.pop()
                    path.discard(id(unit))
                    done.add(id(unit))
                    yield unit
                elif id(following) in path:
                    raise InvalidGraphError("The graph contains a cycle.", received=following.name)
                else:
                    path.add(id(following))
                    stack.append((following, iter(self.plan.needs(following))))

    # -- what TensorFlow imports ----------------------------------------------------------------------------------

    def _import(self, nodes: list[Node], values: _Values) -> None:
        piece = graph_pb2.GraphDef()
        piece.versions.producer = self.plan.flat.producer
        own = {node.name for node in nodes}
        given: dict[str, Any] = {}
        inner: dict[str, str] = {}
        for node in nodes:
            if channels_first(node):
                inner[node.name] = self._unused(f"{node.name}/channels_last")
        for node in nodes:
            inputs = []
            for ref in self.plan.needs(node):
                if ref.node in own and not values.knows(ref):
                    within = inner.get(ref.node, ref.node) if ref.output else ref.node
                    inputs.append(f"{within}:{ref.output}")
                else:
                    # A name that no node of the piece has, for a ref of a node that is in it may be fed.
                    text = f"given/{ref.node}:{ref.output}"
                    given[text] = self._value(ref, values, node)
                    inputs.append(text)
            self._ensure_ranks(piece, node, inputs)
            if node.name in inner:
                add_channels_last(piece, node, inner[node.name], inputs, partial(_copy_attributes, node))
            else:
                made = piece.node.add(name=node.name, op=node.op)
                made.input.extend(inputs)
                _copy_attributes(node, made)
        try:
            operations = tf.graph_util.import_graph_def(
                piece,
                input_map=given,
                return_elements=[inner.get(node.name, node.name) for node in nodes] + [f"{name}:0" for name in inner],
                name="graph",
            )
        except ModelzooError:
            raise
        except Exception as error:
            raise InvalidGraphError(
                f"TensorFlow refuses the graph: {_first_line(error)}",
                hint="the file is damaged, or of a newer TensorFlow",
            ) from error
        outer = dict(zip(inner, operations[len(nodes) :], strict=True))
        for node, operation in zip(nodes, operations, strict=False):
            for index, tensor in enumerate(operation.outputs):
                ref = Ref(node.name, index)
                if index == 0 and node.name in outer:
                    tensor = outer[node.name]
                if not values.knows(ref):
                    self._keep(ref, tensor, values)

    def _unused(self, name: str) -> str:
        while name in self.plan.flat.nodes:
            name += "_"
        return name

    def _ensure_ranks(self, piece: graph_pb2.GraphDef, node: Node, inputs: list[str]) -> None:
        """Check, when the graph runs, the ranks that kernels of convolutions take for granted: some end the process."""
        for position, rank in _RANKS.get(node.op, {}).items():
            if position < len(inputs) and "T" in node.attr:
                made = piece.node.add(name=self._unused(f"{node.name}/rank_{position}"), op="EnsureShape")
                made.input.append(inputs[position])
                made.attr["T"].CopyFrom(node.attr["T"])
                made.attr["shape"].shape.CopyFrom(tf.TensorShape([None] * rank).as_proto())
                inputs[position] = f"{made.name}:0"

    def _value(self, ref: Ref, values: _Values, reader: Node) -> Any:
        value = values.find(ref)
        if value is None:
            raise InvalidGraphError(
                f"Node {reader.name!r} ({reader.op}) reads {str(ref)!r}, which no node gives.", received=str(ref)
            )
        return value

    def _keep(self, ref: Ref, tensor: Any, values: _Values) -> None:
        values[ref] = tensor
        self.seen[ref] = (tensor.dtype, tensor.shape)

    # -- what has a meaning here ----------------------------------------------------------------------------------

    def _special(self, unit: Unit, values: _Values) -> None:
        if isinstance(unit, Loop):
            self._loop(unit, values)
        elif isinstance(unit, Branches):
            self._branches(unit, values)
        elif unit.op in VARIABLES:
            self._keep(Ref(unit.name, 0), self.weights(unit), values)
        elif unit.op in _TABLES:
            values[Ref(unit.name, 0)] = _here(self.tables(unit))
        else:
            inputs = [self._value(ref, values, unit) for ref in self.plan.needs(unit)]
            try:
                self._apply(unit, inputs, values)
            except ModelzooError:
                raise
            except Exception as error:
                raise InvalidGraphError(f"Node {unit.name!r} ({unit.op}): {_first_line(error)}") from error

    def _apply(self, node: Node, inputs: list[Any], values: _Values) -> None:
        if node.op == "TensorArrayV3":
            self._keep(Ref(node.name, 1), new_array(node, inputs[0]), values)
        elif node.op in TENSOR_ARRAYS:
            for index, result in enumerate(apply_array(node, inputs)):
                self._keep(Ref(node.name, index), result, values)
        elif node.op in _LOOKUPS:
            result = tf.raw_ops.LookupTableFindV2(table_handle=inputs[0], keys=inputs[1], default_value=inputs[2])
            # Values of the tables here are scalars, which their handles do not say.
            result.set_shape(inputs[1].shape)
            self._keep(Ref(node.name, 0), result, values)
        elif node.op in _SIZES:
            self._keep(Ref(node.name, 0), tf.raw_ops.LookupTableSizeV2(table_handle=inputs[0]), values)
        elif node.op == "ResourceGather":
            self._keep(Ref(node.name, 0), tf.gather(*inputs, batch_dims=node.attr["batch_dims"].i), values)
        elif node.op == "ResourceGatherNd":
            self._keep(Ref(node.name, 0), tf.gather_nd(*inputs), values)
        else:
            kind = node.attr["out_type"].type if "out_type" in node.attr else tf.int32.as_datatype_enum
            self._keep(Ref(node.name, 0), tf.shape(inputs[0], out_type=tf.as_dtype(kind)), values)

    # -- loops ----------------------------------------------------------------------------------------------------

    def _loop(self, loop: Loop, values: _Values) -> None:
        live = self.plan.variables[loop]
        initial = [values.find(self.plan.origin(loop.initial[index])) for index in live]

        def bound(arguments: Sequence[Any]) -> _Values:
            inner = _Values(values, {})
            for index, value in zip(live, arguments, strict=True):
                for ref in loop.carried[index]:
                    self._keep(ref, value, inner)
            return inner

        def condition(*arguments: Any) -> Any:
            (value,) = self.region([loop.condition], bound(arguments))
            return _as_bool(value)

        def body(*arguments: Any) -> tuple[Any, ...]:
            return tuple(self.region([loop.following[index] for index in live], bound(arguments)))

        try:
            invariants = _invariants(body, initial)
            results = tf.nest.flatten(
                tf.while_loop(
                    condition,
                    body,
                    tuple(initial),
                    shape_invariants=tuple(invariants),
                    parallel_iterations=loop.parallel,
                )
            )
        except ModelzooError:
            raise
        except Exception as error:
            raise InvalidGraphError(f"The loop {loop.name!r} cannot be built: {_first_line(error)}") from error
        for index, result in zip(live, results, strict=True):
            for ref in loop.outputs[index]:
                self._keep(ref, result, values)

    # -- conditionals ---------------------------------------------------------------------------------------------

    def _branches(self, item: Branches, values: _Values) -> None:
        live = self.plan.outputs[item]
        selector = values.find(self.plan.origin(item.selector))

        def branch(given: list[Ref | int]) -> Callable[[], tuple[Any, ...]]:
            def run() -> tuple[Any, ...]:
                refs = [ref for index in live if isinstance(ref := given[index], Ref)]
                found = iter(self.region(refs, _Values(values, {})))
                # Through Identity, so that a value from outside becomes one of the branch.
                return tuple(
                    tf.identity(next(found)) if isinstance(given[index], Ref) else tf.constant(given[index], tf.int32)
                    for index in live
                )

            return run

        try:
            runs = [branch(given) for given in item.results]
            if item.numbered:
                results = tf.switch_case(selector, runs)
            else:
                results = tf.cond(_as_bool(selector), runs[1], runs[0])
        except ModelzooError:
            raise
        except Exception as error:
            raise InvalidGraphError(f"The conditional {item.name!r} cannot be built: {_first_line(error)}") from error
        for index, result in zip(live, tf.nest.flatten(results), strict=True):
            self._keep(item.outputs[index], result, values)


def _copy_attributes(node: Node, made: Any) -> None:
    for key, value in node.attr.items():
        if not key.startswith(_PRIVATE):
            made.attr[key].CopyFrom(value)


def _is_special(node: Node) -> bool:
    listed = (*VARIABLES, *_TABLES, *_GATHERS, *_LOOKUPS, *_SIZES)
    return node.op in listed or node.op.startswith("TensorArray")


def _as_bool(value: Any) -> Any:
    """What TensorFlow's If and While make of a condition that is no scalar bool."""
    if value.shape.rank not in (0, None):
        return tf.size(value) > 0
    if value.dtype == tf.string:
        return tf.strings.length(value) > 0
    return value if value.dtype == tf.bool else tf.not_equal(value, tf.zeros([], value.dtype))


def _invariants(body: Callable[..., Any], initial: Sequence[Any]) -> list[tf.TensorShape]:
    """Shapes that hold before and after every iteration: the body is traced until nothing widens them."""
    shapes = [tf.TensorShape([]) if value.dtype == tf.variant else value.shape for value in initial]
    for attempt in range(_WIDENINGS + 1):
        specs = [tf.TensorSpec(shape, value.dtype) for shape, value in zip(shapes, initial, strict=True)]
        traced = tf.function(body, autograph=False).get_concrete_function(*specs)
        given = [item.shape for item in traced.outputs]
        wider = []
        for value, before, after in zip(initial, shapes, given, strict=True):
            if value.dtype == tf.variant:
                wider.append(before)
            else:
                joined = before.most_specific_common_supertype([after])
                wider.append(joined if joined is not None and attempt < _WIDENINGS else tf.TensorShape(None))
        if wider == shapes or all(str(a) == str(b) for a, b in zip(wider, shapes, strict=True)):
            return shapes
        shapes = wider
    return [tf.TensorShape([]) if value.dtype == tf.variant else tf.TensorShape(None) for value in initial]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
