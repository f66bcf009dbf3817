"""GraphDef -> one flat graph: calls inlined, branches and loops of the library spelled out, names kept.

A node of a function that is called lies in the flat graph as `call/node`, the name that TensorFlow's own freezing
gives it. Bodies of `While`, `If` and `Case` lie there too, in the scope of their construct.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tensorflow.core.framework import attr_value_pb2, function_pb2, graph_pb2, node_def_pb2
from tensorflow.python.framework import op_def_registry

from converters.tensorflow.operators import why_refused
from modelzoo.errors import InvalidGraphError, UnsupportedOperatorError

__all__ = ["Branches", "FlatGraph", "Loop", "Node", "Ref", "Scope", "flatten", "output_count"]

#: Calls inside calls, and nodes in all: a small file could ask for any number of either.
_DEEPEST = 64
_MOST_NODES = 100_000

Scope = frozenset[Any]
"""The branches and loops that a node lies in, each as a literal; empty outside of all."""


class Ref(NamedTuple):
    """One of a node's outputs."""

    node: str
    output: int

    def __str__(self) -> str:
        return self.node if self.output == 0 else f"{self.node}:{self.output}"


@dataclass
class Node:
    """A node of the flat graph.

    Attributes:
        name: unique.
        op: its operator.
        attr: attributes as the file has them.
        inputs: what it reads.
        controls: names of nodes that it waits for.
        source: (function, or "" of the main graph; its name there): the same for all calls of a function.
        scope: branches and loops of library functions that it lies in.
    """

    name: str
    op: str
    attr: Mapping[str, Any]
    inputs: list[Ref]
    controls: list[str]
    source: tuple[str, str]
    scope: Scope = frozenset()


@dataclass(eq=False)
class Loop:
    """A loop: `carried[i]` starts as `initial[i]` and becomes `following[i]` while `condition` holds.

    Attributes:
        name: of the node or frame.
        initial, following: a value for each variable.
        carried: names under which the body reads each variable.
        condition: a scalar bool, computed from what is carried.
        outputs: names under which others read each variable's last value; several, or none.
        literal: what the scopes of the nodes inside hold.
    """

    name: str
    initial: list[Ref]
    carried: list[list[Ref]]
    condition: Ref
    following: list[Ref]
    outputs: list[list[Ref]]
    literal: Any
    parallel: int = 10


@dataclass(eq=False)
class Branches:
    """A conditional: `results[k][i]` is output i where branch k is taken; a number stands for itself.

    Attributes:
        name: of the node.
        selector: decides; true is branch 1 of two.
        results: for each branch its values.
        outputs: the refs that others read.
        literals: for each branch, what the scopes of its nodes hold.
        numbered: the selector is the number of a branch, int32.
    """

    name: str
    selector: Ref
    results: list[list[Ref | int]]
    outputs: list[Ref]
    literals: list[Any]
    numbered: bool = False


@dataclass
class FlatGraph:
    """All nodes; `alias` leads from a ref to the one that it is only another name of.

    `scopes` holds the branches and loops that each node lies in, those of Switch and Merge included; it is filled by
    `converters.tensorflow.control`, which also adds their loops and branches.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    alias: dict[Ref, Ref] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)
    branches: list[Branches] = field(default_factory=list)
    scopes: dict[str, Scope] = field(default_factory=dict)
    producer: int = 0

    def origin(self, ref: Ref, fed: Collection[Ref] = ()) -> Ref:
        """The ref that `ref` is another name of; names that are `fed` stand for themselves.

        Raises:
            InvalidGraphError: names that lead in a circle.
        """
        seen = set()
        while ref in self.alias and ref not in fed:
            if ref in seen:
                raise InvalidGraphError("The graph contains a cycle.", received=str(ref), hint="the file is damaged")
            seen.add(ref)
            ref = self.alias[ref]
        return ref

    def is_inner(self, ref: Ref) -> bool:
        """Whether `ref` lies inside a loop or a branch, where it has many values or none."""
        node = self.nodes.get(ref.node)
        return node is None or bool(self.scopes.get(ref.node)) or node.op in ("Switch", "RefSwitch")


def flatten(graph: graph_pb2.GraphDef) -> FlatGraph:
    """The flat form of a GraphDef.

    Raises:
        InvalidGraphError: a name that is used twice or not at all, functions that call themselves, attributes of a
            wrong type.
        UnsupportedOperatorError: an operator that this TensorFlow does not know.
    """
    return _Flattener(graph).run()


class _Flattener:
    def __init__(self, graph: graph_pb2.GraphDef) -> None:
        self.graph = graph
        self.functions: dict[str, function_pb2.FunctionDef] = {}
        for function in graph.library.function:
            if function.signature.name in self.functions:
                raise InvalidGraphError(
                    f"The graph has two functions {function.signature.name!r}.", hint="the file is damaged"
                )
            self.functions[function.signature.name] = function
        self.flat = FlatGraph(producer=graph.versions.producer)

    def run(self) -> FlatGraph:
        self._add(self.graph.node, "", frozenset(), None, {}, {}, 0)
        return self.flat

    def _add(
        self,
        definitions: Iterable[node_def_pb2.NodeDef],
        prefix: str,
        scope: Scope,
        function: function_pb2.FunctionDef | None,
        arguments: Mapping[str, list[Ref]],
        bound: Mapping[str, attr_value_pb2.AttrValue],
        depth: int,
    ) -> None:
        """Add nodes of the main graph, or of a function whose arguments are `arguments`."""
        definitions = list(definitions)
        outputs = _OutputNames(definitions, self.functions) if function is not None else None
        home = function.signature.name if function is not None else ""
        for definition in definitions:
            name = prefix + definition.name
            if name in self.flat.nodes or not definition.name:
                raise InvalidGraphError(
                    f"The graph has two nodes {name!r}." if definition.name else "The graph has a node without a name.",
                    received=definition.op,
                    hint="the file is damaged",
                )
            if len(self.flat.nodes) >= _MOST_NODES:
                raise InvalidGraphError(
                    f"With its calls inlined the graph has more than {_MOST_NODES:,} nodes.", received=name
                )
            attr: Mapping[str, Any] = definition.attr
            if any(value.WhichOneof("value") == "placeholder" for value in attr.values()):
                attr = {key: _bind(value, bound, name) for key, value in attr.items()}
            node = Node(name, definition.op, attr, [], [], (home, definition.name), scope)
            for text in definition.input:
                if text.startswith("^"):
                    node.controls.append(prefix + text[1:])
                elif outputs is None:
                    node.inputs.append(_graph_ref(text, name))
                else:
                    node.inputs.extend(outputs.refs(text, prefix, arguments, name))
            self.flat.nodes[name] = node
            self._expand(node, depth)

    def _expand(self, node: Node, depth: int) -> None:
        if node.op in ("PartitionedCall", "StatefulPartitionedCall"):
            called, bound = self._function(node, "f")
            self._inline(node, called, bound, depth)
        elif node.op in self.functions and op_def_registry.get(node.op) is None:
            self._inline(node, self.functions[node.op], node.attr, depth)
        elif node.op in ("While", "StatelessWhile"):
            self._loop(node, depth)
        elif node.op in ("If", "StatelessIf"):
            made = [self._function(node, key) for key in ("else_branch", "then_branch")]
            self._branches(node, made, depth)
        elif node.op in ("Case", "StatelessCase"):
            listed = _value(node, "branches", "list").func
            made = [(self._find(node, item.name), item.attr) for item in listed]
            self._branches(node, made, depth)

    def _function(self, node: Node, key: str) -> tuple[function_pb2.FunctionDef, Mapping[str, Any]]:
        named = _value(node, key, "func")
        return self._find(node, named.name), named.attr

    def _find(self, node: Node, name: str) -> function_pb2.FunctionDef:
        if name not in self.functions:
            raise InvalidGraphError(
                f"Node {node.name!r} ({node.op}) calls the function {name!r}, which the graph does not have.",
                hint="the file is damaged or incomplete",
            )
        return self.functions[name]

    def _body(
        self,
        node: Node,
        called: function_pb2.FunctionDef,
        bound: Mapping[str, Any],
        inputs: list[Ref],
        prefix: str,
        scope: Scope,
        depth: int,
    ) -> list[Ref]:
        """Add a function's nodes; its results."""
        if depth >= _DEEPEST:
            raise InvalidGraphError(
                f"Functions call one another more than {_DEEPEST} deep.",
                received=f"{called.signature.name}, called by {node.name}",
                hint="a function that calls itself cannot be converted",
            )
        declared = called.signature.input_arg
        if any(argument.number_attr or argument.type_list_attr for argument in declared):
            raise UnsupportedOperatorError(node.name, f"{node.op} of a function with lists of arguments")
        if len(declared) != len(inputs):
            raise InvalidGraphError(
                f"Node {node.name!r} ({node.op}) gives {len(inputs)} values to the function"
                f" {called.signature.name!r}, which takes {len(declared)}."
            )
        arguments = {argument.name: [ref] for argument, ref in zip(declared, inputs, strict=True)}
        self._add(called.node_def, prefix, scope, called, arguments, bound, depth + 1)
        outputs = _OutputNames(called.node_def, self.functions)
        results = []
        for result in called.signature.output_arg:
            if result.name not in called.ret:
                raise InvalidGraphError(
                    f"The function {called.signature.name!r} does not say what its result {result.name!r} is."
                )
            results += outputs.refs(called.ret[result.name], prefix, arguments, node.name)
        return results

    def _inline(self, node: Node, called: function_pb2.FunctionDef, bound: Mapping[str, Any], depth: int) -> None:
        results = self._body(node, called, bound, node.inputs, node.name + "/", node.scope, depth)
        for index, result in enumerate(results):
            self.flat.alias[Ref(node.name, index)] = result

    def _loop(self, node: Node, depth: int) -> None:
        literal = ("loop", node.name)
        scope = node.scope | {literal}
        carried = [Ref(f"{node.name}/variable_{index}", 0) for index in range(len(node.inputs))]
        results = {}
        for key in ("cond", "body"):
            called, bound = self._function(node, key)
            results[key] = self._body(node, called, bound, carried, f"{node.name}/{key}/", scope, depth)
        if len(results["cond"]) != 1 or len(results["body"]) != len(carried):
            raise InvalidGraphError(f"The body of the loop {node.name!r} does not give what it takes.")
        parallel = node.attr["parallel_iterations"].i if "parallel_iterations" in node.attr else 10
        self.flat.loops.append(
            Loop(
                node.name,
                list(node.inputs),
                [[ref] for ref in carried],
                results["cond"][0],
                results["body"],
                [[Ref(node.name, index)] for index in range(len(carried))],
                literal,
                parallel if 0 < parallel < 1000 else 10,
            )
        )

    def _branches(self, node: Node, made: list[tuple[function_pb2.FunctionDef, Any]], depth: int) -> None:
        if not node.inputs or not made:
            raise InvalidGraphError(f"Node {node.name!r} ({node.op}) has nothing to decide by.")
        results: list[list[Ref | int]] = []
        literals = []
        for number, (called, bound) in enumerate(made):
            literal = ("branch", node.name, number)
            prefix = f"{node.name}/branch_{number}/"
            given = self._body(node, called, bound, node.inputs[1:], prefix, node.scope | {literal}, depth)
            results.append(list(given))
            literals.append(literal)
        if len({len(given) for given in results}) != 1:
            raise InvalidGraphError(f"The branches of {node.name!r} ({node.op}) give different numbers of values.")
        outputs = [Ref(node.name, index) for index in range(len(results[0]))]
        self.flat.branches.append(
            Branches(node.name, node.inputs[0], results, outputs, literals, node.op.endswith("Case"))
        )


class _OutputNames:
    """How the nodes of one function name their outputs: `node:output:number` -> index."""

    def __init__(
        self, definitions: Iterable[node_def_pb2.NodeDef], functions: Mapping[str, function_pb2.FunctionDef]
    ) -> None:
        self.definitions = {definition.name: definition for definition in definitions}
        self.functions = functions

    def refs(self, text: str, prefix: str, arguments: Mapping[str, list[Ref]], reader: str) -> list[Ref]:
        name, *rest = text.split(":")
        if name in arguments:
            return arguments[name]
        definition = self.definitions.get(name)
        if definition is None:
            raise _unknown(reader, text)
        number = rest[-1] if rest else "0"
        if not number.isdecimal() or len(rest) > 2 or len(number) > 9:
            raise _unknown(reader, text)
        index = int(number)
        if len(rest) == 2:
            index += self._offset(definition, rest[0], reader, text)
        return [Ref(prefix + name, index)]

    def _offset(self, definition: node_def_pb2.NodeDef, wanted: str, reader: str, text: str) -> int:
        called = self.functions.get(definition.op)
        signature = op_def_registry.get(definition.op) if called is None else called.signature
        if signature is None:
            raise UnsupportedOperatorError(
                definition.name,
                definition.op,
                what=f"Node {definition.name!r}: operator {definition.op} {why_refused(definition.op)}.",
            )
        offset = 0
        for argument in signature.output_arg:
            if argument.name == wanted:
                return offset
            offset += _width(argument, signature, definition.attr, reader)
        raise _unknown(reader, text)


def _width(argument: Any, signature: Any, attr: Mapping[str, Any], reader: str) -> int:
    """How many tensors an argument of an operator's signature stands for."""
    for key, listed in ((argument.number_attr, False), (argument.type_list_attr, True)):
        if not key:
            continue
        given = attr.get(key)
        if given is None:
            given = next((item.default_value for item in signature.attr if item.name == key), None)
        if given is None:
            raise InvalidGraphError(f"Node {reader!r} lacks the attribute {key!r}.", hint="the file is damaged")
        number = len(given.list.type) if listed else given.i
        if not 0 <= number <= _MOST_NODES:
            raise InvalidGraphError(f"Node {reader!r}: its attribute {key!r} makes no sense.", received=number)
        return number
    return 1


def output_count(node: Node) -> int:
    """How many outputs a node has, as its operator's signature says; 0 of an unknown operator."""
    signature = op_def_registry.get(node.op)
    if signature is None:
        return 0
    return sum(_width(argument, signature, node.attr, node.name) for argument in signature.output_arg)


def _graph_ref(text: str, reader: str) -> Ref:
    name, colon, number = text.rpartition(":")
    if not colon:
        return Ref(text, 0)
    if not number.isdecimal() or len(number) > 9 or not name:
        raise _unknown(reader, text)
    return Ref(name, int(number))


def _unknown(reader: str, text: str) -> InvalidGraphError:
    return InvalidGraphError(
        f"Node {reader!r} reads {text!r}, which no node gives.",
        received=text,
        hint="the file is damaged or incomplete: fetch or export it again",
    )


def _value(node: Node, key: str, kind: str) -> Any:
    if key not in node.attr or node.attr[key].WhichOneof("value") != kind:
        raise InvalidGraphError(f"Node {node.name!r} ({node.op}) lacks its attribute {key!r}.", hint="it is damaged")
    return getattr(node.attr[key], kind)


def _bind(value: Any, bound: Mapping[str, Any], name: str) -> Any:
    if value.WhichOneof("value") != "placeholder":
        return value
    if value.placeholder not in bound:
        raise InvalidGraphError(
            f"Node {name!r} takes the attribute {value.placeholder!r} from its caller, which does not give it."
        )
    return bound[value.placeholder]
