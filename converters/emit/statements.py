"""A functional model as a list of statements, in the order in which a person would write them: branch after branch."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from converters.emit.layer_arguments import LayerArguments, stock_class
from converters.emit.literals import Code
from converters.emit.operation_calls import operation_call
from modelzoo.errors import ConversionError

__all__ = ["Parameter", "Program", "Ref", "Statement", "read", "refs"]


@dataclass(frozen=True)
class Ref:
    """A tensor, numbered."""

    number: int


@dataclass(frozen=True)
class Parameter:
    """An argument of a block's function, times a factor."""

    name: str
    factor: int = 1


@dataclass
class Statement:
    """One line: `outputs = function(options)(operands)`.

    Attributes:
        form: "layer", one of `keras.layers` called on its operands; "operation", of `keras.ops`; "index", of brackets;
            "shared", a layer that is called several times and was made before; "block", a function of the file.
        function: its name.
        operands: (keyword or None, value) of the call; values are `Ref`s, constants, and lists of them.
        outputs: numbers of the tensors; None where one is not used.
        options: of a layer's class or a block's function, in the order of writing: keyword -> value.
        shown: those options that must be written.
        positional: how many of the first options are written without their name.
        name: the layer's, None where there is none.
        gives_list: whether the call gives a list although there is one output.
    """

    form: str
    function: str
    operands: list[tuple[str | None, Any]]
    outputs: list[int | None]
    options: dict[str, Any] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    positional: int = 0
    name: str | None = None
    gives_list: bool = False


@dataclass
class Program:
    """A model, written down.

    Attributes:
        inputs: the symbolic inputs, in the model's order; input k is `Ref(k)`.
        statements: in an order in which each tensor is made before it is used.
        outputs: the structure that the model gives, of `Ref`s.
        shared: layers that are called several times: (name of a variable, statement without operands).
    """

    inputs: list[Any]
    statements: list[Statement]
    outputs: Any
    shared: list[tuple[str, Statement]]


def read(model: Any) -> Program:
    """The statements of a functional model.

    Raises:
        ConversionError: the model holds a layer or an operation that is not Keras' own.
    """
    nodes = list(_in_order(model))
    _refuse_foreign(nodes)
    return _Reader(model, nodes).program()


def refs(value: Any) -> Iterator[Ref]:
    """The tensors in a value, in order."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from refs(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from refs(item)


def _in_order(model: Any) -> Iterator[Any]:
    """The nodes that the outputs come from; a branch whole, then the next. `model.layers` would tear them apart."""
    inputs = {id(tensor) for tensor in model.inputs}
    done: set[int] = set()
    pending = [(tensor, False) for tensor in reversed(model.outputs)]
    while pending:
        tensor, ready = pending.pop()
        if id(tensor) in inputs:
            continue
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            yield node
        else:
            pending.append((tensor, True))
            pending += [(item, False) for item in reversed(node.input_tensors)]


def _refuse_foreign(nodes: list[Any]) -> None:
    import keras

    refused = {}
    for node in nodes:
        layer = node.operation
        if isinstance(layer, keras.layers.Layer):
            try:
                stock_class(layer)
            except ConversionError as error:
                refused[layer.name] = error
    if len(refused) == 1:
        raise next(iter(refused.values()))
    if refused:
        kinds = sorted({type(node.operation).__name__ for node in nodes if node.operation.name in refused})
        raise ConversionError(
            f"{len(refused)} layers are not of keras.layers, and a file of stock Keras layers cannot say them: "
            f"{', '.join(repr(name) for name in refused)}.",
            received=", ".join(kinds),
            hint='convert the model with to="function" or to="savedmodel"',
        )


def _is_default(parameter: inspect.Parameter | None, value: Any) -> bool:
    return parameter is not None and isinstance(value, bool | int | float | str) and parameter.default == value


class _Reader:
    """Numbers for tensors, while the nodes are read."""

    def __init__(self, model: Any, nodes: list[Any]) -> None:
        self.model = model
        self.nodes = nodes
        self.numbers: dict[int, int] = {}
        self.known: dict[Any, LayerArguments] = {}
        calls: dict[int, int] = {}
        for node in nodes:
            calls[id(node.operation)] = calls.get(id(node.operation), 0) + 1
        self.repeated = {key for key, count in calls.items() if count > 1}
        self.shared: dict[int, tuple[str, Statement]] = {}

    def program(self) -> Program:
        import keras

        for tensor in self.model.inputs:
            self._number(tensor)
        used = {id(tensor) for node in self.nodes for tensor in node.input_tensors}
        used |= {id(tensor) for tensor in self.model.outputs}
        statements = [self._statement(node, used) for node in self.nodes]
        outputs = keras.tree.map_structure(self._ref, self.model.output)
        return Program(list(self.model.inputs), statements, outputs, list(self.shared.values()))

    def _number(self, tensor: Any) -> int:
        return self.numbers.setdefault(id(tensor), len(self.numbers))

    def _ref(self, item: Any) -> Any:
        import keras

        if isinstance(item, keras.KerasTensor):
            return Ref(self._number(item))
        return keras.ops.convert_to_numpy(item) if keras.ops.is_tensor(item) else item

    def _statement(self, node: Any, used: set[int]) -> Statement:
        import keras

        operation, arguments = node.operation, node.arguments
        outputs = [self._number(tensor) if id(tensor) in used else None for tensor in node.outputs]
        if isinstance(operation, keras.layers.Layer):
            operands: list[tuple[str | None, Any]] = [(None, item) for item in arguments.args]
            # Keras notes defaults of the call among its arguments.
            own = inspect.signature(operation.call).parameters
            operands += [
                (k, v) for k, v in arguments.kwargs.items() if v is not None and not _is_default(own.get(k), v)
            ]
            return self._layer(operation, self._resolved(operands), outputs)
        function, operands, gives_list = operation_call(operation, arguments.args, arguments.kwargs)
        form = "index" if function == "getitem" else "operation"
        return Statement(form, function, self._resolved(operands), outputs, gives_list=gives_list)

    def _resolved(self, operands: list[tuple[str | None, Any]]) -> list[tuple[str | None, Any]]:
        import keras

        return [(key, keras.tree.map_structure(self._ref, value)) for key, value in operands]

    def _layer(self, layer: Any, operands: list[tuple[str | None, Any]], outputs: list[int | None]) -> Statement:
        found = LayerArguments.of(layer, self.known)
        made = Statement(
            "layer", type(layer).__name__, operands, outputs, found.config, found.shown, found.positional, layer.name
        )
        if id(layer) not in self.repeated:
            return made
        if id(layer) not in self.shared:
            self.shared[id(layer)] = (f"shared_{len(self.shared) + 1}", made)
        return Statement("shared", Code(self.shared[id(layer)][0]), operands, outputs)
