"""The steps of a graph, ready to run: which row of the operator table computes which values from which.

A plan is made once; running it executes TensorFlow operations (eagerly or while tracing). Where all inputs of an
operator are known while tracing it is computed at once, so that shape arithmetic folds and weights do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir
import tensorflow as tf

import converters.function.operators  # noqa: F401  (fills the table)
from converters.function.attributes import constant_value, plain, resolve, tensor_value
from converters.function.schema_bodies import has_body, schema_body
from converters.function.table import Operator, find, known_versions
from converters.function.values import NARROW, Narrow, as_numpy, as_tensor, known, narrow, tidy, widen
from modelzoo.errors import InvalidGraphError, ModelzooError, UnsupportedOperatorError

__all__ = ["Plan", "Scope"]

#: Results above this many elements stay tensors when constants are folded.
_FOLD_LIMIT = 1 << 16

#: Attributes that old exporters wrote and that never had a meaning for the result.
_IGNORED = frozenset({"consumed_inputs"})

_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


class Scope(dict[ir.Value, Any]):
    """The values computed so far, looked up through the enclosing graphs and, last, among the weights.

    A weight is read where it is used and not kept: a tensor read inside a loop must not leave it.
    """

    def __init__(self, outer: Scope | None, weights: Mapping[ir.Value, tf.Variable]) -> None:
        super().__init__()
        self.outer = outer
        self.weights = weights

    def __missing__(self, value: ir.Value) -> Any:
        if self.outer is not None:
            return self.outer[value]
        return tf.convert_to_tensor(self.weights[value])


class Plan:
    """A graph or function as a list of steps.

    Args:
        graph: a checked, sorted graph or function.
        model: the model it belongs to, for local functions; None in bodies from the ONNX schemas.
        opsets: version of each domain.
        bound: attributes with which a function is called.
        weights: values that are variables: their initialisers are not made constants here.
        inputs: values to start from instead of the graph's own inputs.
        outputs: values to give instead of the graph's own outputs.

    Raises:
        UnsupportedOperatorError: an operator that is unknown, or an attribute nobody implements.
    """

    def __init__(
        self,
        graph: ir.Graph | ir.Function,
        model: ir.Model | None,
        opsets: Mapping[str, int],
        *,
        bound: Mapping[str, ir.Attr] | None = None,
        weights: Mapping[ir.Value, tf.Variable],
        inputs: Sequence[ir.Value] | None = None,
        outputs: Sequence[ir.Value] | None = None,
    ) -> None:
        self.inputs = tuple(graph.inputs if inputs is None else inputs)
        self.outputs = tuple(graph.outputs if outputs is None else outputs)
        self.name = graph.name
        self.weights = weights
        self.constants: dict[ir.Value, Any] = {}
        self.steps: list[Step] = []
        if isinstance(graph, ir.Graph):
            for value in graph.initializers.values():
                if value not in weights and value.const_value is not None:
                    self.constants[value] = narrow(tensor_value(value.const_value))
        for node in self._needed(graph):
            if node.op_type == "Constant" and node.domain == "":
                if node.outputs[0] not in weights:
                    attributes = resolve(node, bound or {})
                    self.constants[node.outputs[0]] = narrow(constant_value(attributes))
                continue
            self.steps.append(Step(node, model, opsets, bound or {}, weights))
        self._find_last_uses()

    def _needed(self, graph: ir.Graph | ir.Function) -> list[ir.Node]:
        wanted = set(self.outputs)
        given = set(self.inputs)
        kept = []
        for node in reversed(list(graph)):
            if not wanted.isdisjoint(set(node.outputs) - given):
                kept.append(node)
                wanted.update(_reads(node))
        return kept[::-1]

    def _find_last_uses(self) -> None:
        later = set(self.outputs)
        own: set[ir.Value] = {value for step in self.steps for value in step.node.outputs}
        for step in reversed(self.steps):
            used = _reads(step.node) | set(step.node.outputs)
            step.last = tuple(value for value in used if value in own and value not in later)
            later |= used

    def run(self, inputs: Iterable[Any], outer: Scope | None = None) -> list[Any]:
        """Compute the outputs from the inputs, in the order of the graph's own lists."""
        scope = Scope(outer, self.weights)
        scope.update(self.constants)
        scope.update(zip(self.inputs, inputs, strict=False))
        for step in self.steps:
            step.run(scope)
            for value in step.last:
                scope.pop(value, None)
        return [scope[value] for value in self.outputs]


class Step:
    """One node: takes its inputs from a scope and puts its outputs there."""

    def __init__(
        self,
        node: ir.Node,
        model: ir.Model | None,
        opsets: Mapping[str, int],
        bound: Mapping[str, ir.Attr],
        weights: Mapping[ir.Value, tf.Variable],
    ) -> None:
        self.node = node
        self.last: tuple[ir.Value, ...] = ()
        self.row: Operator | None = None
        self.call: Plan | None = None
        self.attributes = resolve(node, bound)
        self.weights = weights
        self.bodies: dict[Any, Plan] = {}
        key = (node.domain, node.op_type, node.overload)
        if model is not None and key in model.functions:
            function = model.functions[key]
            defaults = {n: a for n, a in function.attributes.items() if a.value is not None}
            self.call = Plan(
                function, model, function.opset_imports, bound={**defaults, **self.attributes}, weights=weights
            )
            return
        self.opsets = opsets
        self.version = node.version or opsets.get(node.domain, 1)
        self.row = find(node.domain, node.op_type, self.version)
        if self.row is None:
            if not has_body(node, self.version):
                raise _unsupported(node, self.version)
            return
        unknown = set(self.attributes) - self.row.attributes - _IGNORED
        if unknown:
            raise UnsupportedOperatorError(
                node.name or "?",
                f"{_title(node)} (opset {self.version})",
                what=f"Node {node.name!r}: {_title(node)} of opset {self.version} has no attribute {sorted(unknown)}.",
                hint=f"known attributes: {', '.join(sorted(self.row.attributes)) or 'none'}",
            )
        self.plain: dict[str, Any] = {}
        self.graphs: dict[str, list[Plan] | Plan] = {}
        for name, attribute in self.attributes.items():
            if name in _IGNORED:
                continue
            if attribute.type == ir.AttributeType.GRAPH:
                self.graphs[name] = Plan(attribute.value, model, opsets, bound=bound, weights=weights)
            elif attribute.type == ir.AttributeType.GRAPHS:
                self.graphs[name] = [Plan(g, model, opsets, bound=bound, weights=weights) for g in attribute.value]
            elif attribute.type in (ir.AttributeType.TYPE_PROTO, ir.AttributeType.TYPE_PROTOS):
                self.plain[name] = attribute.value
            else:
                self.plain[name] = plain(attribute)
        if "output_count" in self.row.special:
            self.plain["output_count"] = len(node.outputs)
        if "opset" in self.row.special:
            self.plain["opset"] = self.version
        if "inner" in self.row.special:
            starts = [*self.plain["xs"], *self.plain.get("zs", ())]
            named = _named(node, [*starts, self.plain["y"]])
            self.graphs["inner"] = Plan(
                node.graph, model, opsets, bound=bound, weights=weights, inputs=named[:-1], outputs=named[-1:]
            )

    def run(self, scope: Scope) -> None:
        inputs = [None if value is None else scope[value] for value in self.node.inputs]
        results: Sequence[Any]
        try:
            if self.call is not None:
                results = self.call.run(_filled(inputs, len(self.call.inputs)))
            elif self.row is None:
                results = self._expand(inputs)
            else:
                results = self._compute(self.row, inputs, scope)
        except ModelzooError:
            raise
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise InvalidGraphError(
                f"Node {self.node.name!r}: {_title(self.node)} cannot be computed: {_first_line(error)}",
                received="inputs " + ", ".join(_describe(value) for value in inputs),
                hint="check the shapes and types that are fed, or the model with onnx.checker.check_model",
            ) from error
        for value, result in zip(self.node.outputs, results, strict=False):
            scope[value] = tidy(result)

    def _compute(self, row: Operator, inputs: list[Any], scope: Scope) -> Sequence[Any]:
        foldable = not row.random and not self.graphs and all(_constant(value) for value in inputs)
        graphs: dict[str, Any] = {}
        for name, plan in self.graphs.items():
            graphs[name] = [_bind(p, scope) for p in plan] if isinstance(plan, list) else _bind(plan, scope)
        if not foldable:
            return self._apply(row, inputs, graphs)
        with tf.init_scope():
            return [_folded(value) for value in self._apply(row, inputs, graphs)]

    def _apply(self, row: Operator, inputs: list[Any], graphs: Mapping[str, Any]) -> Sequence[Any]:
        moved = inputs[0].dtype if row.moves and inputs and isinstance(inputs[0], Narrow) else None
        prepared: list[Any] = []
        for position, value in enumerate(inputs):
            form = row.form(position)
            if moved is not None:
                value = widen(value)
            if value is None:
                prepared.append(None)
            elif form == "Tensor":
                prepared.append(as_tensor(value))
            elif form == "Static":
                prepared.append(known(value))
            else:
                prepared.append(value)
        result = row.function(*prepared, **self.plain, **graphs)
        results = result if isinstance(result, tuple) else (result,)
        if moved is None:
            return results
        wide = tf.as_dtype(NARROW[moved])
        return [Narrow(r, moved) if isinstance(r, tf.Tensor) and r.dtype == wide else r for r in results]

    def _expand(self, inputs: list[Any]) -> Sequence[Any]:
        function, key = schema_body(self.node, self.attributes, self.opsets, inputs, self.bodies)
        if function is not None:
            self.bodies[key] = Plan(function, None, function.opset_imports, bound=self.attributes, weights=self.weights)
        plan = self.bodies[key]
        return plan.run(_filled(inputs, len(plan.inputs)))


def _bind(plan: Plan, scope: Scope) -> Any:
    bound = partial(_run_bound, plan, scope)
    bound.plan = plan  # type: ignore[attr-defined]
    return bound


def _run_bound(plan: Plan, scope: Scope, *inputs: Any) -> list[Any]:
    return plan.run(inputs, scope)


def _constant(value: Any) -> bool:
    return value is None or isinstance(value, np.ndarray)


def _folded(value: Any) -> Any:
    if isinstance(value, tf.Tensor) and value.shape.num_elements() <= _FOLD_LIMIT:
        return as_numpy(value)
    return value


def _filled(inputs: list[Any], count: int) -> list[Any]:
    return inputs + [None] * (count - len(inputs))


def _reads(node: ir.Node) -> set[ir.Value]:
    reads = {value for value in node.inputs if value is not None}
    for attribute in node.attributes.values():
        if attribute.is_ref() or attribute.type not in _GRAPHS:
            continue
        graphs = attribute.value if attribute.type == ir.AttributeType.GRAPHS else [attribute.value]
        for graph in graphs:
            reads.update(value for value in graph.outputs)
            for inner in graph:
                reads |= _reads(inner)
    return reads


def _named(node: ir.Node, names: Sequence[str]) -> list[ir.Value]:
    """The values of these names in the graph of `node`."""
    graph = node.graph
    assert graph is not None
    known = {value.name: value for value in (*graph.inputs, *(out for item in graph for out in item.outputs))}
    if isinstance(graph, ir.Graph):
        known.update(graph.initializers)
    for name in names:
        if name not in known:
            raise InvalidGraphError(
                f"Node {node.name!r}: {_title(node)} names {name!r}, which its graph does not have.",
                received=name,
                hint=f"its values: {', '.join(sorted(str(item) for item in known))}",
            )
    return [known[name] for name in names]


def _title(node: ir.Node) -> str:
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[0].removeprefix("{{function_node __wrapped__").split("}} ")[-1]


def _describe(value: Any) -> str:
    if isinstance(value, Narrow):
        return f"{value.dtype}{value.values.shape}"
    if isinstance(value, list):
        return f"sequence of {len(value)}"
    if value is None or isinstance(value, dict):
        return "none" if value is None else "map"
    shape = value.shape if isinstance(value, np.ndarray) else tuple(value.shape)
    return f"{value.dtype if isinstance(value, np.ndarray) else value.dtype.name}{tuple(shape)}"


def _unsupported(node: ir.Node, version: int) -> UnsupportedOperatorError:
    versions = known_versions(node.domain, node.op_type)
    if versions:
        hint = f"{_title(node)} is supported from opset {versions[0]} on; convert the model with onnx.version_converter"
    elif node.domain in ("", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training"):
        hint = "ONNX has no operator of this name; is the opset version of the model right?"
    elif node.domain.startswith("com.microsoft"):
        hint = (
            "onnxruntime wrote this operator when it optimised or quantised the model: convert the model as it was"
            " exported, or as optimised no further than ORT_ENABLE_BASIC"
        )
    else:
        hint = "supported are the operators of ONNX itself and functions that the model brings along"
    return UnsupportedOperatorError(node.name or "?", f"{_title(node)} (opset {version})", hint=hint)
