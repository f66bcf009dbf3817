"""What `convert()` and `load_pretrained()` ask of this package: one call from a path to what the user works with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from converters.tensorflow.graph import Ref
from converters.tensorflow.module import GraphModule, load
from converters.tensorflow.program import Program, Shape, tensor_ref
from converters.tensorflow.tables import TABLES
from modelzoo.errors import ConversionError, UsageError

__all__ = ["convert_graph", "export_graph", "keras_graph", "verify_graph"]


def convert_graph(
    path: str | os.PathLike[str],
    *,
    to: str = "keras",
    inputs: Mapping[str, Shape] | None = None,
    outputs: Sequence[str] | None = None,
    tags: Sequence[str] = ("serve",),
    signature: str | None = None,
    name: str | None = None,
    verify: bool = False,
    rtol: float = 1e-4,
) -> Any:
    """Convert a TensorFlow graph.

    Args:
        path: a frozen graph, a SavedModel's folder or a MetaGraph; see `load`.
        to: "keras" gives a model of one layer, "function" or "savedmodel" a `GraphModule` (the latter for
            `export_graph`).
        inputs: tensor name -> shape, None = open: other inputs than the graph's own, or other shapes of them.
        outputs, tags, signature: see `load`.
        name: of the Keras model.
        verify: run the untouched graph in a session on random inputs and compare; `.report` is a `ParityReport`.
        rtol: largest error of an output, relative to the reference's largest magnitude.

    Raises:
        UsageError: there is no such target.
        ParityError: with `verify`, an output differs by more than `rtol`.
        ConversionError and its kind: see `load` and `to_keras`.
    """
    if to not in ("keras", "function", "savedmodel"):
        raise UsageError(
            f"A TensorFlow graph cannot become {to!r}.", received=repr(to), hint="to is keras, function or savedmodel"
        )
    module = load(path, inputs=dict(inputs) if inputs else None, outputs=outputs, tags=tags, signature=signature)
    made: Any = module.to_keras(name) if to == "keras" else module
    report = verify_graph(module, made, rtol) if verify else None
    object.__setattr__(made, "report", report)
    if report is not None:
        report.raise_if_failed()
    return made


def keras_graph(
    path: str | os.PathLike[str],
    *,
    name: str,
    inputs: Mapping[str, Shape] | None = None,
    outputs: Sequence[str] = (),
) -> Any:
    """A Keras model of a graph, its batch left open where the graph takes any; what a card's model is made with.

    Args:
        path: see `load`.
        name: of the model.
        inputs: input -> shape instead of the declared one; of a graph with one input, under any name.
        outputs: what the model gives, those of them that the graph has; the graph's own outputs where it has none.
            Everything else of the graph stays a tap.
    """
    program = load(path).program
    found = {
        item: ref for item in outputs if (ref := tensor_ref(program.flat, item)) and not program.flat.is_inner(ref)
    }
    program = replace(program, outputs=found or program.outputs)
    given = dict(inputs or {})
    if len(program.inputs) == 1 and len(given) == 1:
        given = dict(zip(program.inputs, given.values(), strict=True))
    shapes: dict[str, Shape] = {key: value for key, value in given.items() if key in program.inputs}
    declared = {
        spec.name: (None, *spec.shape.as_list()[1:])
        for spec in program.inputs.values()
        if spec.shape.rank and spec.shape[0] == 1
    }
    if declared and _takes_any_batch(program, {**declared, **shapes}):
        shapes = {**declared, **shapes}
    else:
        shapes = {key: (1, *list(value or ())[1:]) if key in declared else value for key, value in shapes.items()}
    return GraphModule(program).to_keras(name, inputs=shapes)


def _takes_any_batch(program: Program, shapes: Mapping[str, Shape]) -> bool:
    """Whether every output's first axis opens with the inputs': a graph may have its batch of 1 written into it."""
    try:
        opened = program.reshaped(shapes)
    except ConversionError:
        return False
    for ref in program.outputs.values():
        before, after = program.describe(ref)[1], opened.describe(ref)[1]
        if before is None or after is None or (before.rank and after.rank and before[0] == 1 and after[0] is not None):
            return False
    return True


def export_graph(module: GraphModule, out: str) -> None:
    """Write a SavedModel with the signature `serving_default` and the graph's own input and output names.

    Args:
        module: the graph.
        out: a folder that does not exist yet.

    Raises:
        ConversionError: the graph has no input, or TensorFlow cannot write it.
    """
    program = module.program
    if not program.inputs:
        raise ConversionError("A graph without inputs cannot be served.", hint="convert it with to='function'")
    legal = {name: re.sub(r"\W", "_", name) for name in program.inputs}
    if len(set(legal.values())) != len(legal):
        raise ConversionError("The names of the inputs differ only in signs.", received=", ".join(legal))
    specs = {
        legal[spec.name]: tf.TensorSpec(spec.shape, spec.dtype, name=legal[spec.name])
        for spec in program.inputs.values()
    }
    serve = tf.function(
        lambda **given: module({name: given[legal[name]] for name in legal}), autograph=False
    ).get_concrete_function(**specs)
    served = tf.Module()
    served.variables_of_graph = list(module.variables)
    served.lookup_tables = module.lookup_tables
    served.serve = serve
    try:
        tf.saved_model.save(served, out, signatures={"serving_default": serve})
    except (ValueError, TypeError, AssertionError, tf.errors.OpError) as error:
        raise ConversionError(f"TensorFlow cannot write the graph: {str(error).splitlines()[0][:300]}") from error


# -- an independent execution ---------------------------------------------------------------------------------------


def verify_graph(module: GraphModule, made: Any, rtol: float) -> Any:
    """Compare a result with its source, which runs as it came in a session of TensorFlow 1.

    Args:
        module: the graph.
        made: the module itself, or the Keras model of it.
        rtol: see `convert_graph`.

    Raises:
        ConversionError: the source cannot be run on random inputs.
    """
    from converters.parity import ParityReport, TapError, tensor_errors

    program = module.program
    feeds = _samples(program)
    wanted = _session_values(program, feeds)
    if made is module:
        got = module(feeds)
    else:
        results = made(next(iter(feeds.values())) if len(feeds) == 1 else feeds, training=False)
        got = results if isinstance(results, dict) else {next(iter(program.outputs)): results}
    rows = []
    for depth, (name, value) in enumerate(wanted.items()):
        array = np.asarray(got[name])
        rows.append(TapError(name, "output", tuple(value.shape), *tensor_errors(value, array), depth))
    return ParityReport(program.name, rtol, tuple(rows))


def _samples(program: Program) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    made = {}
    for spec in program.inputs.values():
        dims = [] if spec.shape.rank is None else spec.shape.as_list()
        sizes = [size if size is not None else (2 if axis == 0 else 64) for axis, size in enumerate(dims)]
        if spec.dtype == tf.string:
            made[spec.name] = np.full(sizes, b"a", object)
        elif spec.dtype.is_integer or spec.dtype == tf.bool:
            made[spec.name] = generator.integers(0, 2, sizes).astype(spec.dtype.as_numpy_dtype)
        else:
            made[spec.name] = generator.standard_normal(sizes).astype(spec.dtype.as_numpy_dtype)
    return {name: tf.constant(value) for name, value in made.items()}


def _session_values(program: Program, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The outputs that the untouched graph gives; its operators were checked, its own restoring ones do not run."""
    names = {name: _main_tensor(program, ref) for name, ref in program.outputs.items()}
    try:
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            tf.graph_util.import_graph_def(program.graph, name="")
            session.run(_fillers(program, graph))
            values = session.run(
                [graph.get_tensor_by_name(name) for name in names.values()],
                {
                    graph.get_tensor_by_name(_main_tensor(program, program.inputs[name].ref)): value.numpy()
                    for name, value in feeds.items()
                },
            )
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise ConversionError(
            "The source cannot be run on random inputs, so there is nothing to compare with.",
            received=(str(error).strip().splitlines() or [""])[0][:300],
            hint="convert without verify, or give shapes that fit: inputs={name: shape}",
        ) from error
    return dict(zip(names, map(np.asarray, values), strict=True))


def _main_tensor(program: Program, ref: Ref) -> str:
    node = program.flat.nodes[ref.node]
    if node.source[0]:
        raise ConversionError(
            f"The tensor {str(ref)!r} lies inside a function, where a session cannot reach it.",
            hint="verify with the graph's own inputs and outputs",
        )
    return f"{ref.node}:{ref.output}"


def _fillers(program: Program, graph: tf.Graph) -> list[Any]:
    made = []
    for item in program.weights:
        for home, node in item.sources:
            operation = graph.get_operation_by_name(node) if not home else None
            if operation is None or operation.type == "Const" or item.read is None:
                continue
            value = tf.constant(item.read())
            if operation.type == "VarHandleOp":
                made.append(tf.raw_ops.AssignVariableOp(resource=operation.outputs[0], value=value))
            else:
                made.append(tf.raw_ops.Assign(ref=operation.outputs[0], value=value).op)
    for (home, node), table in program.tables.items():
        if not home and graph.get_operation_by_name(node).type == TABLES[1]:
            handle = graph.get_operation_by_name(node).outputs[0]
            made.append(tf.raw_ops.InitializeTableV2(table_handle=handle, keys=table.keys, values=table.values))
    return made
