"""`load()`: a model becomes a `tf.Module` that maps dictionaries to dictionaries by the source's tensor names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import tensorflow as tf

from converters.function.attributes import constant_value, resolve, tensor_value
from converters.function.plan import Plan, Scope
from converters.function.table import find
from converters.function.values import NARROW, Narrow, as_numpy, as_tensor, narrow, tf_dtype
from converters.graph import load_graph, tensor_names
from converters.graph.naming import CONSTANT, source_name
from modelzoo.errors import ArrayError, UnknownTapError

__all__ = ["GraphFunction", "load"]

#: Float constants inside the graph (Constant nodes, initialisers of subgraphs) are weights above this many elements.
_CONSTANT_LIMIT = 16

_TRAINABLE = frozenset(np.dtype(t) for t in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16))


def load(
    model: str | os.PathLike[str] | onnx.ModelProto | ir.Model, *, outputs: Sequence[str] | None = None
) -> GraphFunction:
    """Make an ONNX model callable.

    Args:
        model: path, `ModelProto` or hub graph.
        outputs: tensor or node names to give instead of the model's own outputs (taps).

    Raises:
        UnsupportedOperatorError, InvalidGraphError, CheckpointFormatError, UnsafeFileError: see `load_graph`.
        UnknownTapError: an output nobody produces.
    """
    return GraphFunction(load_graph(model), outputs=outputs)


class GraphFunction(tf.Module):
    """An ONNX graph as a function of TensorFlow operations: `f({"x": array}) -> {"y": tensor}`.

    Works eagerly and under `tf.function`; layouts are the source's. Float initialisers are variables, moving averages
    not trainable ones; everything else is constant. Called eagerly, strings come out as object arrays of str and types
    without TensorFlow kernels (float8, float4, int4, int2, ...) as ml_dtypes arrays; sequences are lists, an absent
    optional is None.

    Attributes:
        input_names: inputs that must be fed, in the graph's order.
        optional_names: inputs that have an initialiser and may be fed.
        output_names: keys of the result.
        weights: source name -> variable.
    """

    _TF_MODULE_IGNORED_PROPERTIES = frozenset((*tf.Module._TF_MODULE_IGNORED_PROPERTIES, "_variables_of", "_plan"))
    _variables_of: Mapping[ir.Value, tf.Variable]

    def __init__(self, model: ir.Model, *, outputs: Sequence[str] | None = None) -> None:
        super().__init__(name=None)
        graph = model.graph
        chosen = _chosen(graph, outputs)
        # Its keys cannot be sorted, which tf.Module and tf.train.Checkpoint would do: they find all in `weights`.
        object.__setattr__(self, "_variables_of", _make_variables(model))
        self.weights = _by_name(self._variables_of)
        self._plan = Plan(graph, model, model.opset_imports, weights=self._variables_of, outputs=list(chosen.values()))
        self._inputs = {value.name or "": value for value in graph.inputs}
        required = [name for name, value in self._inputs.items() if value.name not in graph.initializers]
        self.input_names: tuple[str, ...] = tuple(required)
        self.optional_names: tuple[str, ...] = tuple(name for name in self._inputs if name not in required)
        self.output_names: tuple[str, ...] = tuple(chosen)

    # Nothing in the operators is for AutoGraph to rewrite: it would only make tracing slower.
    @tf.autograph.experimental.do_not_convert
    def __call__(self, inputs: Mapping[str, Any] | None = None, /) -> dict[str, Any]:
        """Compute the outputs.

        Args:
            inputs: source name -> array, tensor, list (sequence) or None (absent optional), of the declared type.

        Returns:
            Source name -> value.

        Raises:
            ArrayError: an input is missing, unknown, or of another type or shape than declared.
            InvalidGraphError: an operator refuses what it gets.
        """
        results = self.values(inputs)
        return {name: _give(value) for name, value in results.items()}

    def values(self, inputs: Mapping[str, Any] | None = None, /) -> dict[str, Any]:
        """The outputs in the form in which they flow inside: `Narrow` for types that TensorFlow has no kernels for."""
        if inputs is not None and not isinstance(inputs, Mapping):
            raise ArrayError(
                "Inputs are given by name.",
                received=type(inputs).__name__,
                hint="f({" + ", ".join(f"{name!r}: array" for name in self.input_names) + "})",
            )
        given = dict(inputs or {})
        missing = [name for name in self.input_names if name not in given and not _is_optional(self._inputs[name])]
        unknown = [name for name in given if name not in self._inputs]
        if missing or unknown:
            raise ArrayError(
                f"The model takes other inputs: missing {missing}, unknown {unknown}.",
                received=list(given),
                hint=f"inputs: {list(self.input_names)}; optional: {list(self.optional_names)}",
            )
        scope = Scope(None, self._variables_of)
        fed = []
        for name, value in self._inputs.items():
            if name in given or name in self.input_names:
                fed.append(_feed(name, given.get(name), value.type, value.shape))
            else:
                initial = self._plan.constants.get(value)
                fed.append(tf.convert_to_tensor(self._variables_of[value]) if initial is None else initial)
        return dict(zip(self.output_names, self._plan.run(fed, scope), strict=True))


def _chosen(graph: ir.Graph, outputs: Sequence[str] | None) -> dict[str, ir.Value]:
    if outputs is None:
        return {source_name(value): value for value in graph.outputs}
    names = tensor_names(graph)
    for name in outputs:
        if name not in names:
            raise UnknownTapError(name, names)
    return {name: names[name] for name in outputs}


def _make_variables(model: ir.Model) -> dict[ir.Value, tf.Variable]:
    found: dict[ir.Value, tuple[np.ndarray, bool]] = {}
    uses = _input_uses(model)
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.dtype.numpy() not in _TRAINABLE or CONSTANT in value.metadata_props:
                continue
            big = tensor.size > (0 if graph is model.graph else _CONSTANT_LIMIT)
            kind = uses.get(value)
            if big and len(tensor.shape) > 0 and kind is not None and kind != "constant":
                found[value] = (tensor_value(tensor), kind == "weight")
    for node in _all_nodes(model):
        if node.op_type != "Constant" or node.domain or "value" not in resolve(node, {}):
            continue
        value, kind = node.outputs[0], uses.get(node.outputs[0])
        tensor = node.attributes["value"].value
        if tensor.dtype.numpy() in _TRAINABLE and tensor.size > _CONSTANT_LIMIT and kind in ("weight", "frozen"):
            found[value] = (constant_value(node.attributes), kind == "weight")
    return {
        value: tf.Variable(array, trainable=trainable, name=_variable_name(value.name or "weight"))
        for value, (array, trainable) in found.items()
    }


def _all_nodes(model: ir.Model) -> list[ir.Node]:
    functions = [node for function in model.functions.values() for node in function.all_nodes()]
    return [*model.graph.all_nodes(), *functions]


def _input_uses(model: ir.Model) -> dict[ir.Value, str]:
    """How each value is read: "weight" where one reader would train it, else "frozen", else "constant"."""
    ranks = {"constant": 0, "frozen": 1, "weight": 2}
    uses: dict[ir.Value, str] = {}
    for node in _all_nodes(model):
        row = find(node.domain, node.op_type, model.opset_imports.get(node.domain, 1))
        for position, value in enumerate(node.inputs):
            if value is None:
                continue
            kind = "weight"
            if row is not None:
                name = row.input_name(position)
                kind = "frozen" if name in row.frozen else "weight"
                if name in row.constant or row.form(position) == "Static":
                    kind = "constant"
            if ranks[kind] >= ranks[uses.get(value, "constant")]:
                uses[value] = kind
    return uses


def _variable_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name).lstrip("_\\/>-") or "weight"


def _by_name(variables: Mapping[ir.Value, tf.Variable]) -> dict[str, tf.Variable]:
    named: dict[str, tf.Variable] = {}
    for value, variable in variables.items():
        name, number = value.name or "weight", 0
        while name in named:
            number += 1
            name = f"{value.name or 'weight'}_{number}"
        named[name] = variable
    return named


def _is_optional(value: ir.Value) -> bool:
    return isinstance(value.type, ir.OptionalType)


def _feed(name: str, value: Any, declared: ir.TypeProtocol | None, shape: ir.Shape | None) -> Any:
    if value is None:
        if isinstance(declared, ir.OptionalType) or declared is None:
            return None
        raise ArrayError(f"Input {name!r} is None, but it is no optional.", received=None, hint="give an array")
    if isinstance(declared, ir.OptionalType):
        return _feed(name, value, declared.elem_type, None)
    if isinstance(declared, ir.SequenceType):
        if not isinstance(value, list | tuple):
            raise ArrayError(f"Input {name!r} is a sequence.", received=type(value).__name__, hint="give a list")
        return [_feed(f"{name}[{i}]", item, declared.elem_type, None) for i, item in enumerate(value)]
    if isinstance(value, Narrow | dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return value
    dtype = None if declared is None else ir.DataType(declared.dtype).numpy()
    if not isinstance(value, tf.Tensor | tf.Variable):
        value = np.asarray(value)
        if value.dtype.kind == "U":
            value = value.astype(object)
        if dtype is not None and value.dtype != dtype:
            raise ArrayError(f"Input {name!r} is declared as {dtype}.", received=str(value.dtype), hint="cast it")
    _check_shape(name, tuple(value.shape), shape)
    if isinstance(value, np.ndarray) and value.dtype in NARROW:
        return narrow(value)
    tensor = as_tensor(value)
    if dtype is not None and dtype in _CASTABLE and tensor.dtype == tf.as_dtype(dtype):
        tensor = tf.cast(tensor, tf_dtype(dtype))
    if dtype is not None and tensor.dtype != tf_dtype(dtype):
        raise ArrayError(f"Input {name!r} is declared as {dtype}.", received=tensor.dtype.name, hint="cast it")
    if dtype in NARROW:
        return Narrow(tensor, np.dtype(dtype))
    return tensor


def _check_shape(name: str, given: tuple[Any, ...], declared: ir.Shape | None) -> None:
    if declared is None:
        return
    # Some exporters write -1 for an open size.
    wanted = [size if isinstance(size, int) and size >= 0 else None for size in declared.dims]
    fits = len(wanted) == len(given) and all(
        w is None or g is None or w == g for w, g in zip(wanted, given, strict=True)
    )
    if not fits:
        raise ArrayError(f"Input {name!r} is declared with the shape {list(declared)}.", received=list(given))


def _give(value: Any) -> Any:
    if isinstance(value, list):
        return [_give(item) for item in value]
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, Narrow):
        if tf.executing_eagerly():
            return as_numpy(value)
        return tf.cast(value.values, _closest(value.dtype))
    tensor = as_tensor(value)
    return as_numpy(tensor) if tensor.dtype == tf.string and tf.executing_eagerly() else tensor


#: Narrow types that TensorFlow can at least cast to in a graph.
_CASTABLE = frozenset(
    np.dtype(t) for t in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.int4, ml_dtypes.uint4)
)


def _closest(dtype: np.dtype) -> tf.DType:
    return tf.as_dtype(dtype if dtype in _CASTABLE else NARROW[dtype])
