"""`to_keras()`: walk a hub graph once and say each node in Keras' own pieces."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from converters.function.attributes import constant_value, plain, resolve, tensor_value
from converters.function.values import NARROW
from converters.graph import load_graph, tensor_names
from converters.graph.batch_norm import add_zero_biases, fold_batch_norms
from converters.graph.contrib import take_fused_apart
from converters.graph.merging import merge_constants
from converters.graph.patterns import join_patterns
from converters.keras.constants import fold, follow_dims
from converters.keras.held import Deferred, Dims, Held, Zeros, channels_last, keras_has
from converters.keras.names import LayerNames
from converters.keras.node import Node
from converters.keras.pieces import constant, reads, wrap
from converters.keras.standing import StandingWeights
from converters.keras.stock import find_stock
from converters.keras.taps import Tap
from converters.keras.tying import Sharing, Ties, table_of
from converters.keras.weights import alike_named
from modelzoo.errors import ArrayError, ConversionError, ModelzooError, UnknownTapError, UsageError

__all__ = ["to_keras"]

Shape = Sequence[int | None]

#: Operators with a spatial meaning: what reaches them is wanted with channels last.
_SPATIAL = frozenset(
    (
        "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool",
        "GlobalLpPool", "GlobalMaxPool", "GridSample", "GroupNormalization", "InstanceNormalization", "LRN", "LpPool",
        "MaxPool", "PRelu", "Resize", "SpaceToDepth", "Upsample",
    )
)  # fmt: skip

#: Operators through which an input's layout passes unchanged.
_NEUTRAL = frozenset(
    (
        "Abs", "Add", "Cast", "Ceil", "Celu", "Clip", "Concat", "Div", "Dropout", "Elu", "Erf", "Exp", "Floor",
        "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mish", "Mul",
        "Neg", "Pad", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub",
        "Sum", "Tanh", "ThresholdedRelu",
    )
)  # fmt: skip


def to_keras(
    model: Any,
    *,
    inputs: Mapping[str, Shape] | None = None,
    outputs: Sequence[str] | None = None,
    data_format: str = "channels_last",
    inference: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Make a Keras model of an ONNX model.

    Args:
        model: path, `ModelProto` or hub graph.
        inputs: source name -> shape in the source's layout, None = dynamic; instead of what the model declares.
        outputs: tensor or node names instead of the model's own outputs.
        data_format: "channels_last": inputs that reach a spatial operator, and outputs that come from one, have their
            channels last; "source": inputs and outputs lie as in the source.
        inference: fold each BatchNormalization into the convolution before it: quicker, and not for training.
        name: of the model.

    Returns:
        A functional model: tensor to tensor where the source has one input or output, else dicts by source name.
        `model.taps` is {source name: Tap}, `model.source_names` maps layer names back, `model.layouts` says for each
        input, output and tap whether it lies "channels_last" or as in the "source", `model.narrow_types` names the
        source's type of those that are of none of Keras' (`float8_e4m3fnuz`, `int4`): their tensors are of a wider one.

    Raises:
        ConversionError: something that no Keras model can express, such as a sequence as output.
        InvalidGraphError, UnsupportedOperatorError, CheckpointFormatError, UnsafeFileError: see `load_graph`.
        UnknownTapError: an output that nobody produces.
        ArrayError, UsageError: `inputs` or `data_format` do not fit.
    """
    if data_format not in ("channels_last", "source"):
        raise UsageError("data_format is 'channels_last' or 'source'.", received=repr(data_format))
    graph = load_graph(model)
    take_fused_apart(graph)
    merge_constants(graph, outputs or ())
    join_patterns(graph, outputs or ())
    if inference:
        fold_batch_norms(graph)
        add_zero_biases(graph)
    ties = Ties()
    with alike_named():
        while True:
            walk = _Lowering(graph, data_format, ties)
            made = walk.build(inputs or {}, outputs, name)
            if made is not None:
                return made
            del walk
            gc.collect()  # layers and tensors lead to each other


class _Scope(dict[ir.Value, Any]):
    """What is held for each value; an initialiser is read when it is asked for, and not kept.

    Kept, the arrays of all layers would be in memory beside the file's bytes and TensorFlow's variables.
    """

    def __missing__(self, value: ir.Value) -> Any:
        if value.const_value is None:
            raise KeyError(value)
        return tensor_value(value.const_value)


class _Lowering:
    """The state of one walk: what is held for each value, and the names given so far."""

    def __init__(self, model: ir.Model, data_format: str, ties: Ties) -> None:
        self.model = model
        self.graph = model.graph
        self.keep_source = data_format == "source"
        self.names = LayerNames()
        self.folded: dict[Any, Any] = {}
        self.scope: dict[ir.Value, Any] = _Scope()
        self.layouts: dict[str, str] = {}
        self.narrow_types: dict[str, str] = {}
        self.stock_only = True
        self.batch: int | None = None
        self.tensors: list[Any] = []
        self.ties = ties
        self.sharing = Sharing(model)
        self.identities = self.sharing.identities
        self.standing = StandingWeights(self.names, self.tensors, self.sharing)

    # -- the whole ------------------------------------------------------------------------------------------------

    def build(self, shapes: Mapping[str, Shape], outputs: Sequence[str] | None, name: str | None) -> keras.Model | None:
        """The model, or None where this walk has taught how weights that are one stay one."""
        symbolic = self._inputs(shapes)
        chosen = self._chosen(outputs)
        needed = self._needed(set(chosen.values()))
        for value in self.ties.standing:
            if value.producer() is None:
                self.scope[value] = self.standing.weight(value, self.scope[value])
        for node in self.graph:
            if node in needed:
                self._lower(node)
        if self.sharing.readers.teach(self.ties):
            return None
        results = {source: self._result(source, value) for source, value in chosen.items()}
        made = keras.Model(
            next(iter(symbolic.values())) if len(symbolic) == 1 else symbolic,
            next(iter(results.values())) if len(results) == 1 else results,
            name=_model_name(name or self.graph.name or "model"),
        )
        # Plain attributes: Keras would wrap and track dictionaries that it sees.
        for attribute, content in {
            "taps": self._taps(),
            "source_names": self.names.source_names,
            "layouts": self.layouts,
            "narrow_types": self.narrow_types,
            "input_sources": tuple(symbolic),
            "output_sources": tuple(results),
            "stock_only": self.stock_only,
        }.items():
            object.__setattr__(made, attribute, content)
        return made

    def _inputs(self, shapes: Mapping[str, Shape]) -> dict[str, Any]:
        declared = {value.name or "": value for value in self.graph.inputs if value.const_value is None}
        for name in shapes:
            if name not in declared:
                raise ArrayError(
                    f"The model has no input {name!r}.", received=name, hint=f"its inputs: {', '.join(declared)}"
                )
        symbolic = {}
        for name, value in declared.items():
            shape = shapes.get(name, _sizes(value))
            if shape is None or value.dtype is None:
                raise ConversionError(
                    f"The model does not say how many axes its input {name!r} has.",
                    received=str(value.type),
                    hint=f"say it: inputs={{{name!r}: (None, 3, 224, 224)}}, on the command line --inputs NAME=SHAPE",
                )
            sequence = isinstance(getattr(value.type, "elem_type", value.type), ir.SequenceType)
            sequence |= isinstance(value.type, ir.SequenceType)
            dtype = np.dtype(value.dtype.numpy())
            if sequence or not (keras_has(dtype) or dtype in NARROW):
                kind = "a sequence" if sequence else f"of the type {value.dtype}"
                raise ConversionError(
                    f"The input {name!r} is {kind}, which no Keras model can take.",
                    received=str(value.type),
                    hint='convert it with to="function"',
                )
            symbolic[name] = self._input(name, value, tuple(shape))
            self.tensors.append(symbolic[name])
        return symbolic

    def _input(self, name: str, value: ir.Value, shape: tuple[int | None, ...]) -> Any:
        rank = len(shape)
        assert value.dtype is not None
        declared = _sizes(value)
        if rank and declared and shape[0] is None and declared[0] is not None:
            self.batch = declared[0]
        permute = not self.keep_source and 3 <= rank <= 5 and self._reaches_spatial(value)
        axes = channels_last(rank) if permute else tuple(range(rank))
        dtype = np.dtype(value.dtype.numpy())
        narrow = None if keras_has(dtype) else dtype
        kind = "string" if dtype.kind == "O" else dtype.name if narrow is None else NARROW[dtype].name
        tensor = keras.Input(batch_shape=tuple(shape[axis] for axis in axes), dtype=kind, name=self.names.new(name))
        self.scope[value] = Held(tensor, axes, narrow=narrow)
        self._note_type(name, self.scope[value])
        self.layouts[name] = "channels_last" if permute else "source"
        return tensor

    def _reaches_spatial(self, value: ir.Value) -> bool:
        seen = {value}
        ahead = [value]
        while ahead:
            for use in ahead.pop().uses():
                node = use.node
                if node.domain == "" and node.op_type in _SPATIAL and use.idx == 0:
                    return True
                if node.domain == "" and node.op_type in _NEUTRAL:
                    fresh = [out for out in node.outputs if out not in seen]
                    seen.update(fresh)
                    ahead.extend(fresh)
        return False

    def _chosen(self, outputs: Sequence[str] | None) -> dict[str, ir.Value]:
        if outputs is None:
            return {value.name or "": value for value in self.graph.outputs}
        known = tensor_names(self.graph)
        for name in outputs:
            if name not in known:
                raise UnknownTapError(name, known)
        return {name: known[name] for name in outputs}

    def _needed(self, wanted: set[ir.Value]) -> set[ir.Node]:
        needed = set()
        for node in reversed(list(self.graph)):
            if not wanted.isdisjoint(node.outputs):
                needed.add(node)
                wanted |= reads(node)
        return needed

    # -- one node -------------------------------------------------------------------------------------------------

    def _lower(self, node: ir.Node) -> None:
        try:
            results = self._results(node)
        except ModelzooError:
            raise
        except (ValueError, TypeError, ArithmeticError, IndexError, RuntimeError) as error:
            raise ConversionError(
                f"Node {node.name!r} ({node.op_type}) cannot be put into Keras: {_first_line(error)}",
                received=", ".join(_describe(self.scope.get(value)) for value in node.inputs if value is not None),
                hint='convert it with to="function", and please report the model',
            ) from error
        for value, result in zip(node.outputs, results, strict=False):
            self.scope[value] = _settled(result)

    def _results(self, node: ir.Node) -> Sequence[Any]:
        if node.op_type == "Constant" and node.domain == "":
            array = constant_value(resolve(node, {}))
            alone = node.outputs[0] in self.ties.standing
            return [self.standing.weight(node.outputs[0], array) if alone else array]
        inputs = [None if value is None else self.scope[value] for value in node.inputs]
        if node in self.ties.apart and len(inputs) > 2 and isinstance(inputs[2], np.ndarray):
            inputs[2] = self.standing.bias(node, inputs[2])
        outer = {value: self.scope[value] for value in reads(node)}
        if all(isinstance(item, np.ndarray) for item in outer.values()):
            folded = fold(node, self.model, outer)
            if folded is not None:
                self.identities.compute(node)
                return folded
        followed = follow_dims(node, inputs)
        if followed is not None:
            return followed
        inputs = [_settled(item) for item in inputs]
        held = [item for item in inputs if isinstance(item, Held)]
        states = Zeros if node.op_type in ("GRU", "LSTM") else ()
        later = any(isinstance(item, Deferred) and not isinstance(item, states) for item in inputs)
        strange = later or any(item.narrow is not None for item in held)
        if held and not strange:
            found = self._stock(node, inputs)
            if found is not None:
                return found
        return self._wrap(node)

    def _stock(self, node: ir.Node, inputs: list[Any]) -> Sequence[Any] | None:
        version = node.version or self.model.opset_imports.get("", 1)
        row = find_stock(node.op_type, version) if node.domain == "" else None
        if row is None or (row.inputs is not None and len(inputs) > row.inputs):
            return None
        attributes = {key: plain(item) for key, item in resolve(node, {}).items() if not _is_graph(item)}
        if set(node.attributes) - row.attributes - {"consumed_inputs"}:
            return None
        attributes.pop("consumed_inputs", None)
        if row.wants_opset:
            attributes["opset"] = version
        constants = [place for place, item in enumerate(inputs) if isinstance(item, np.ndarray)]
        table = table_of(node, self.identities)
        at = Node(
            self.names,
            node.outputs[0].name or node.name or node.op_type,
            [bool(out.uses()) or out.is_graph_output() for out in node.outputs],
            self.folded,
            self.batch,
            _float_type(inputs),
            self.sharing.memo,
            self.identities.key(node, constants),
            table if table in self.ties.tables else None,
        )
        at.declared = (_named(node.inputs[0]), _named(node.outputs[0]))
        if node in self.ties.in_source_order:
            inputs = [_in_source_order(at, item) if isinstance(item, Held) else item for item in inputs]
        found = row.function(at, *inputs, **attributes)
        if found is None:
            return None
        if at.made:
            self.sharing.readers.note(node, constants, at.made)
        return found if isinstance(found, tuple) else (found,)

    def _wrap(self, node: ir.Node) -> Sequence[Any]:
        results = wrap(node, self.model, self.scope, self.names, self.folded, self.sharing)
        self.stock_only = self.stock_only and not any(isinstance(item, Held) for item in results)
        return results

    # -- the borders ----------------------------------------------------------------------------------------------

    def _result(self, source: str, value: ir.Value) -> Any:
        held = self.scope[value]
        if not isinstance(held, Held):
            held = self._computed(value, held)
        at = Node(self.names, source, [True], self.folded)
        self._note_type(source, held)
        last = channels_last(held.rank)
        if not self.keep_source and held.flat is None and held.rank >= 3 and held.axes == last:
            self.layouts[source] = "channels_last"
            tensor = held.tensor
        else:
            self.layouts[source] = "source"
            tensor = at.source(held)
        if _is_input(tensor):
            # An output that is an input: a layer of its own, so that the model has something to compute.
            tensor = keras.layers.Identity(name=self.names.new(source, "output"))(tensor)
        return tensor

    def _note_type(self, name: str, held: Held) -> None:
        if held.narrow is not None:
            self.narrow_types[name] = held.narrow.name

    def _computed(self, value: ir.Value, held: Any) -> Held:
        """An output that was not computed as a tensor so far: a constant, or something made of sizes."""
        node = value.producer()
        found: Any = None
        if isinstance(held, np.ndarray) and self.tensors and (keras_has(held.dtype) or held.dtype in NARROW):
            found = constant(held, self.tensors[0], self.model.opset_imports, value.name or "constant", self.names)
        elif isinstance(held, Dims | Deferred) and node is not None:
            results = wrap(node, self.model, self.scope, self.names, self.folded, self.sharing)
            found = results[list(node.outputs).index(value)]
        self.stock_only = False
        if isinstance(found, Held):
            return found
        kind = "a sequence, an optional or of unknown rank"
        if isinstance(held, np.ndarray):
            kind = "a constant of a model without inputs" if keras_has(held.dtype) else f"of the type {held.dtype}"
        raise ConversionError(
            f"The output {value.name!r} is {kind}, which no Keras model can give.",
            received=str(value.type),
            hint='convert it with to="function", or choose other outputs',
        )

    def _taps(self) -> dict[str, Tap]:
        taps = {}
        for name, value in tensor_names(self.graph).items():
            held = self.scope.get(value)
            if not isinstance(held, Held) or held.flat is not None or value in self.graph.inputs:
                continue
            last = held.rank >= 3 and held.axes == channels_last(held.rank)
            if last or held.in_source_order:
                taps[name] = Tap(name, held.tensor, True)
                self._note_type(name, held)
                self.layouts[name] = "channels_last" if last else "source"
        return taps


def _in_source_order(at: Node, held: Held) -> Held:
    return Held.of(at.source(held), nonnegative=held.nonnegative, labels=held.labels)


def _sizes(value: ir.Value) -> list[int | None] | None:
    if value.shape is None:
        return None
    return [size if isinstance(size, int) and size >= 0 else None for size in value.shape.dims]


def _named(value: ir.Value | None) -> list[str | None] | None:
    """The names of a value's open sizes, where it declares any."""
    if value is None or value.shape is None:
        return None
    return [None if isinstance(size, int) else size.value or None for size in value.shape.dims]


def _settled(item: Any) -> Any:
    """Sizes that turned out to be all known are constants."""
    known = item.known if isinstance(item, Dims) else None
    return item if known is None else known


def _float_type(inputs: Sequence[Any]) -> str:
    """The type in which a node's layers compute: that of its first floats, so that Keras casts nothing."""
    kinds = [item.dtype for item in inputs if isinstance(item, Held) and "float" in item.dtype]
    kinds = [kind for kind in kinds if "float8" not in kind]
    return kinds[0] if kinds else "float32"


def _is_graph(attribute: ir.Attr) -> bool:
    return attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _is_input(tensor: Any) -> bool:
    return isinstance(tensor._keras_history.operation, keras.layers.InputLayer)


def _model_name(name: str) -> str:
    from converters.keras.names import legal_name

    return legal_name(name).lstrip(".") or "model"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _describe(item: Any) -> str:
    if isinstance(item, Held):
        return f"{item.dtype}{list(item.shape)}"
    return f"constant {list(item.shape)}" if isinstance(item, np.ndarray) else type(item).__name__.lower()
