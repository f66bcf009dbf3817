"""`load()`: a TensorFlow graph becomes a `tf.Module` whose tensors are named as in the source."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from converters.tensorflow.graph import Ref
from converters.tensorflow.program import GraphTensor, InputSpec, Program, Shape, read_program
from modelzoo.errors import ArrayError, InvalidGraphError, UsageError

__all__ = ["GraphModule", "load"]


def load(
    path: str | os.PathLike[str],
    *,
    inputs: Mapping[str, Shape] | Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    tags: Sequence[str] = ("serve",),
    signature: str | None = None,
) -> GraphModule:
    """Make a TensorFlow graph callable and trainable.

    Args:
        path: a frozen graph (`.pb`, `.pbtxt`), the folder of a SavedModel, or a MetaGraph (`.meta`) with its
            checkpoint beside it.
        inputs: names of tensors to feed instead of the graph's own inputs, or {name: shape}, None = open.
        outputs: names of tensors to give instead of the graph's own; what they do not need is not looked at. Without
            it, a frozen graph gives every result that no node reads.
        tags: which graph of a SavedModel.
        signature: which of its signatures; None = `serving_default`, or the only one.

    Returns:
        The module. Float constants above 16 elements and all variables are `tf.Variable`s.

    Raises:
        CheckpointFormatError: the path is absent, damaged or of another format.
        UnsupportedOperatorError: an operator that may not run; the node is named.
        UnsafeFileError: constants without measure, or a table that reads a file elsewhere.
        InvalidGraphError: the graph contradicts itself.
        WeightsMismatchError: variables and checkpoint do not fit.
        UnknownTapError, UsageError: names, tags or signatures that the file does not have.
    """
    return GraphModule(read_program(path, inputs=inputs, outputs=outputs, tags=tags, signature=signature))


class GraphModule(tf.Module):
    """A TensorFlow graph as a function: `g({"x": array}) -> {"y": tensor}`, or `g(array)` with one input.

    Attributes:
        input_names: what must be fed.
        output_names: what is given where nothing else is asked for.
        report: the parity report of `convert(..., verify=True)`, else None.
    """

    _made: list[tf.Variable] | None
    _tables: dict[Any, Any] | None
    _traced: dict[Any, Any]

    def __init__(self, program: Program) -> None:
        super().__init__(name=None)
        self.program = program
        self.input_names: tuple[str, ...] = tuple(program.inputs)
        self.output_names: tuple[str, ...] = tuple(program.outputs)
        self.report: Any = None
        # Plain attributes: a module would wrap and track lists and dictionaries that it sees.
        object.__setattr__(self, "_made", None)
        object.__setattr__(self, "_tables", None)
        object.__setattr__(self, "_traced", {})

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """All weights, in the graph's order."""
        return tuple(self._weights())

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The weights that training changes: no moving averages."""
        return tuple(variable for variable in self._weights() if variable.trainable)

    @property
    def weights(self) -> dict[str, tf.Variable]:
        """Source name -> weight."""
        return {item.name: made for item, made in zip(self.program.weights, self._weights(), strict=True)}

    @property
    def lookup_tables(self) -> list[Any]:
        """The graph's tables, filled; what is saved with a SavedModel."""
        return list(self._filled().values())

    @property
    def tensors(self) -> list[GraphTensor]:
        """Every tensor of the graph with type and shape, in the graph's order."""
        return self.program.tensors()

    # Nothing in the operators is for AutoGraph to rewrite.
    @tf.autograph.experimental.do_not_convert
    def __call__(self, feeds: Any = None, /, *, outputs: Sequence[str] | str | None = None) -> dict[str, Any]:
        """Compute outputs or taps.

        Args:
            feeds: {name: array or tensor}; the array alone where the graph has one input. Names are those of inputs,
                or of any tensor, which then is not computed.
            outputs: names of tensors, `conv/Relu` or `conv/Relu:0`; None = the graph's own.

        Returns:
            Name, as it was asked for -> tensor.

        Raises:
            UnknownTapError: a name is no tensor of the graph.
            ArrayError: an array of another type or shape than its input has, or with which the graph cannot compute.
            UsageError: an input is missing.
            ConversionError: a name inside a loop or a conditional, which has no single value.
        """
        names = self.output_names if outputs is None else (outputs,) if isinstance(outputs, str) else tuple(outputs)
        given = self._feeds(feeds)
        refs = tuple(self.program.ref(name) for name in names)
        try:
            results = self._function(tuple(given), refs)(*given.values())
        except tf.errors.OpError as error:
            raise ArrayError(
                f"The graph cannot compute with this input: {_runtime_cause(error)}",
                received=", ".join(f"{ref}: {value.dtype.name}{value.shape}" for ref, value in given.items()),
                hint="check the shapes and values of what is fed",
            ) from error
        return dict(zip(names, results, strict=True))

    def to_keras(self, name: str | None = None, *, inputs: Mapping[str, Shape] | None = None) -> Any:
        """A functional Keras model with the graph inside one layer; see `converters.tensorflow.layer.to_keras`."""
        from converters.tensorflow.layer import to_keras

        return to_keras(self, name=name, inputs=inputs)

    # -- what is made when it is first needed -----------------------------------------------------------------------

    def _weights(self) -> list[tf.Variable]:
        if self._made is None:
            with tf.init_scope():
                made = [
                    tf.Variable(read_values(item), trainable=item.trainable, dtype=item.dtype, name=_legal(item.name))
                    for item in self.program.weights
                ]
            object.__setattr__(self, "_made", made)
            self._tracked_weights = made  # so that checkpoints and SavedModels of TensorFlow have them
            return made
        return self._made

    def _filled(self) -> dict[Any, Any]:
        if self._tables is None:
            with tf.init_scope():
                tables = {source: table.build() for source, table in self.program.tables.items()}
            object.__setattr__(self, "_tables", tables)
            self._tracked_tables = list(tables.values())
            return tables
        return self._tables

    def _function(self, fed: tuple[Ref, ...], targets: tuple[Ref, ...]) -> Any:
        """The traced function of these feeds and outputs."""
        key = (frozenset(fed), targets)
        if key not in self._traced:
            ordered = tuple(sorted(fed))
            plan = self.program.plan(ordered, targets)
            values, tables = self._weights(), self._filled()

            def run(*arguments: Any) -> list[Any]:
                given = dict(zip(ordered, arguments, strict=True))
                return [tf.identity(value) for value in self.program.trace(plan, given, values, tables)]

            # Signatures with open sizes: one trace serves all batches.
            signature = [self._spec(ref) for ref in ordered]
            function = tf.function(run, input_signature=signature, autograph=False).get_concrete_function()
            self._traced[key] = (ordered, function)
        ordered, function = self._traced[key]
        return lambda *arguments: function(*(dict(zip(fed, arguments, strict=True))[ref] for ref in ordered))

    def _spec(self, ref: Ref) -> tf.TensorSpec:
        dtype, shape = self.program.describe(ref)
        if dtype is None:
            raise UsageError(f"The tensor {str(ref)!r} cannot be fed: its type is not known.", received=str(ref))
        return tf.TensorSpec(shape, dtype)

    def _feeds(self, feeds: Any) -> dict[Ref, Any]:
        if feeds is None:
            feeds = {}
        elif not isinstance(feeds, Mapping):
            if len(self.input_names) != 1:
                raise ArrayError(
                    f"The graph has {len(self.input_names)} inputs, so they are given by name.",
                    received=type(feeds).__name__,
                    hint=f"give a dict of {', '.join(self.input_names) or 'tensor names'}",
                )
            feeds = {self.input_names[0]: feeds}
        found = {}
        for name, value in feeds.items():
            ref = self.program.ref(name)
            dtype, shape = self.program.describe(ref)
            found[ref] = as_input(InputSpec(name, ref, dtype or tf.float32, tf.TensorShape(shape)), value)
        return found


def as_input(spec: InputSpec, value: Any) -> Any:
    """`value` as a tensor of the input's type and shape.

    Raises:
        ArrayError: an array of another type or shape; Python numbers and lists are converted.
    """
    if not isinstance(value, tf.Tensor | tf.Variable):
        array = np.asarray(value)
        given = tf.string if array.dtype.kind in "USO" else None
        try:
            given = given or tf.as_dtype(array.dtype)
            fits = given == spec.dtype or not isinstance(value, np.ndarray | np.generic)
            value = tf.convert_to_tensor(value, spec.dtype) if fits else value
        except (TypeError, ValueError, tf.errors.OpError) as error:
            raise ArrayError(
                f"The input {spec.name!r} takes {spec.dtype.name}.", received=str(array.dtype), hint="cast it"
            ) from error
        if not fits:
            raise ArrayError(
                f"The input {spec.name!r} takes {spec.dtype.name}.",
                received=given.name,
                hint=f"cast it: array.astype({spec.dtype.name!r})",
            )
    value = tf.convert_to_tensor(value)
    if value.dtype != spec.dtype:
        raise ArrayError(f"The input {spec.name!r} takes {spec.dtype.name}.", received=value.dtype.name, hint="cast it")
    if not spec.shape.is_compatible_with(value.shape):
        raise ArrayError(
            f"The input {spec.name!r} has the shape {list(spec.shape)}.",
            received=str(list(value.shape)),
            hint="None is an open size; load(path, inputs={name: shape}) declares another",
        )
    return value


def read_values(item: Any) -> np.ndarray:
    """The values of a weight, read-only, so that TensorFlow copies them into memory of its own.

    Raises:
        InvalidGraphError: nobody has them.
    """
    if item.read is None:
        raise InvalidGraphError(f"The weight {item.name!r} has no values.")
    array = np.asarray(item.read())
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def _runtime_cause(error: tf.errors.OpError) -> str:
    """The line of a message in which TensorFlow says what went wrong."""
    lines = [line.strip() for line in (error.message or "").splitlines()]
    told = [line for line in lines if line and not line.startswith(("Graph execution error", "Detected at", "File "))]
    return (told[0] if told else type(error).__name__)[:300]


def _legal(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name).lstrip("_\\/>-") or "weight"
