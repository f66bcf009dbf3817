"""What a graph must fulfil before anybody may compute it: every value has one source, and no node waits for itself."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from modelzoo.errors import InvalidGraphError

__all__ = ["check_opsets", "check_values", "sort_nodes"]


def describe(node: ir.Node) -> str:
    """`'name' (domain::Operator)`, as error messages show a node."""
    operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    return f"{node.name!r} ({operator})"


def sort_nodes(graph: ir.Graph) -> None:
    """Bring the nodes into an order in which every value is produced before it is read.

    Raises:
        InvalidGraphError: some nodes wait for each other; the message lists one such circle.
    """
    try:
        graph.sort()
    except ValueError as error:
        raise InvalidGraphError(
            f"The graph {graph.name!r} contains a cycle: " + " -> ".join(_cycle(graph) or ["unknown"]),
            hint="an ONNX graph must be acyclic; export the model again",
        ) from error


def _cycle(graph: ir.Graph) -> list[str]:
    done: set[ir.Node] = set()
    for start in graph:
        path: list[ir.Node] = [start]
        stack: list[tuple[ir.Node, list[ir.Node]]] = [(start, _before(start, graph))]
        while stack:
            node, waiting = stack[-1]
            if node in done or not waiting:
                done.add(node)
                stack.pop()
                path.pop()
                continue
            following = waiting.pop()
            if following in path:
                circle = [*path[path.index(following) :], following]
                return [describe(item) for item in reversed(circle)]
            if following not in done:
                stack.append((following, _before(following, graph)))
                path.append(following)
    inner = (_cycle(subgraph) for node in graph for subgraph in _subgraphs(node))
    return next((circle for circle in inner if circle), [])


def _subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.value
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.value


def _before(node: ir.Node, graph: ir.Graph) -> list[ir.Node]:
    """The nodes of `graph` that `node` waits for, also for the sake of its subgraphs."""
    inner = [item for subgraph in _subgraphs(node) for item in subgraph.all_nodes()]
    producers = [value.producer() for item in (node, *inner) for value in item.inputs if value is not None]
    return [producer for producer in producers if producer is not None and producer.graph is graph]


def check_values(graph: ir.Graph | ir.Function, visible: frozenset[ir.Value] = frozenset()) -> None:
    """Check, in order of the nodes, that each input is an input, an initialiser or an earlier result.

    Args:
        graph: a sorted graph or function.
        visible: values of the enclosing graphs that a subgraph may read.

    Raises:
        InvalidGraphError: a value that nobody produces, or a name that two nodes produce.
    """
    initialisers = () if isinstance(graph, ir.Function) else tuple(graph.initializers.values())
    known: set[ir.Value] = {*visible, *graph.inputs, *initialisers}
    names = {value.name for value in (*graph.inputs, *initialisers) if value.name}
    for node in graph:
        for value in node.inputs:
            if value is not None and value not in known:
                raise InvalidGraphError(
                    f"Node {describe(node)} reads {value.name!r}, which no input, initialiser or earlier node gives.",
                    received=value.name,
                    hint="the model is incomplete; export it again",
                )
        for subgraph in _subgraphs(node):
            check_values(subgraph, frozenset(known))
        for value in node.outputs:
            if value.name and value.name in names:
                raise InvalidGraphError(
                    f"Node {describe(node)} produces {value.name!r}, which has another source already.",
                    received=value.name,
                    hint="every tensor of an ONNX graph has exactly one source",
                )
            if value.name:
                names.add(value.name)
            known.add(value)
    for value in graph.outputs:
        if value not in known:
            raise InvalidGraphError(
                f"No node produces the output {value.name!r} of the graph {graph.name!r}.",
                received=value.name,
                hint="the model is incomplete; export it again",
            )


def check_opsets(model: ir.Model) -> None:
    """Check that every domain that a node names has an opset import, and that the IR version is known.

    Raises:
        InvalidGraphError: a domain without version, or a version from the future.
    """
    if model.ir_version < 1:
        raise InvalidGraphError("The model has no IR version.", received=model.ir_version, hint="it is no ONNX model")
    functions = {(name[0], name[1]) for name in model.functions}
    for node in model.graph.all_nodes():
        if node.domain not in model.opset_imports and (node.domain, node.op_type) not in functions:
            raise InvalidGraphError(
                f"Node {describe(node)} belongs to the domain {node.domain or 'ai.onnx'!r},"
                " whose version the model does not say.",
                received=dict(model.opset_imports),
                hint="add the domain to the model's opset_import",
            )
