"""Control flow: If, Loop, Scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.loops import pack, repeat, unpack
from converters.function.shape import dimensions
from converters.function.table import Static, op
from converters.function.values import Narrow, as_tensor, is_known, known, widen
from modelzoo.errors import UnsupportedOperatorError

__all__: list[str] = []

Graph = Callable[..., list[Any]]


@op("If")
def if_else(condition: Static, *, then_branch: Graph, else_branch: Graph) -> tuple[Any, ...]:
    if isinstance(condition, np.ndarray):
        return tuple(then_branch() if bool(condition.reshape(())) else else_branch())
    forms: dict[str, list[Any]] = {}

    def branch(name: str, graph: Graph) -> Callable[[], list[tf.Tensor]]:
        def run() -> list[tf.Tensor]:
            packed = [pack(value) for value in graph()]
            forms[name] = [form for _, form in packed]
            return [tensor for tensors, _ in packed for tensor in tensors]

        return run

    try:
        tensors = tf.cond(tf.reshape(condition, ()), branch("then", then_branch), branch("else", else_branch))
        if forms["then"] != forms["else"]:
            raise ValueError("sequences of different lengths")
    except (AssertionError, TypeError, ValueError) as error:  # TensorFlow asserts equal numbers of tensors
        raise UnsupportedOperatorError(
            "If",
            "If",
            what="If: the branches give values of different forms, and which one runs is not known while tracing.",
            hint="call the function eagerly",
        ) from error
    return tuple(unpack(tensors, forms["then"]))


@op("Loop")
def loop(count: Static | None, condition: Static | None, *states: Any, body: Graph) -> tuple[Any, ...]:
    carried = len(states)

    def one_round(number: Any, holds: Any, before: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        after, *values = body(number, holds, *before)
        return known(after), values[:carried], values[carried:]

    plan = body.plan  # type: ignore[attr-defined]
    results = len(plan.outputs) - 1 - carried
    if count is None and is_known(condition) and (condition is None or bool(condition)) and _lasts(plan):
        raise ValueError("nothing ends the loop: it has no trip count, and its condition stays true")
    first = np.array(True) if condition is None else condition
    rounds = None if count is None else count.reshape(()) if isinstance(count, np.ndarray) else count
    last, stacked = repeat(rounds, first, list(states), one_round, results=results, node="Loop")
    return (*last, *stacked)


def _lasts(plan: Any) -> bool:
    """Whether the condition that a body gives is the one it gets, or a constant that is true."""
    sources = {step.node.outputs[0]: step.node.inputs[0] for step in plan.steps if step.node.op_type == "Identity"}
    value = plan.outputs[0]
    while value in sources:
        value = sources[value]
    return value is plan.inputs[1] or bool(np.all(plan.constants.get(value, False)))


@op("Scan")
def scan_batched(
    lengths: Any, *inputs: Any, body: Graph, num_scan_inputs: int, directions: list[int] | None = None
) -> tuple[Any, ...]:
    # Opset 8 scans each example of a batch on its own; what lies behind an example's length counts as nothing.
    tensors = [as_tensor(value) for value in inputs]
    split = len(tensors) - num_scan_inputs

    def one_example(number: Any, holds: Any, before: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        mine = [tf.gather(tensor, number) for tensor in tensors]
        whole = tf.shape(mine[split])[0]
        if lengths is not None:
            length = tf.cast(as_tensor(lengths)[int(number) if is_known(number) else number], tf.int32)
            mine[split:] = [tensor[:length] for tensor in mine[split:]]
        outs = scan(*mine, body=body, num_scan_inputs=num_scan_inputs, scan_input_directions=directions)
        return holds, [], [*outs[:split], *(_filled(as_tensor(item), whole) for item in outs[split:])]

    batch = dimensions(tensors[0])[0]
    count = np.array(batch, np.int64) if isinstance(batch, int) else batch
    results = len(body.plan.outputs)  # type: ignore[attr-defined]
    return tuple(repeat(count, np.array(True), [], one_example, results=results, node="Scan")[1])


def _filled(x: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    behind = tf.concat([[[0, length - tf.shape(x)[0]]], tf.zeros((x.shape.rank - 1, 2), tf.int32)], 0)
    return tf.pad(x, behind)


@op("Scan", since=9)
def scan(
    *inputs: Any,
    body: Graph,
    num_scan_inputs: int,
    scan_input_axes: list[int] | None = None,
    scan_input_directions: list[int] | None = None,
    scan_output_axes: list[int] | None = None,
    scan_output_directions: list[int] | None = None,
) -> tuple[Any, ...]:
    split = len(inputs) - num_scan_inputs
    results = len(body.plan.outputs) - split  # type: ignore[attr-defined]
    axes, ways = scan_input_axes or [0] * num_scan_inputs, scan_input_directions or [0] * num_scan_inputs
    scanned = [_along(value, axis, way) for value, axis, way in zip(inputs[split:], axes, ways, strict=True)]
    length = dimensions(widen(scanned[0]))[0]
    count = np.array(length, np.int64) if isinstance(length, int) else length
    element = [_reader(value) for value in scanned]

    def one_round(number: Any, holds: Any, before: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        values = body(*before, *(read(number) for read in element))
        return holds, values[:split], values[split:]

    last, stacked = repeat(count, np.array(True), list(inputs[:split]), one_round, results=results, node="Scan")
    out_axes, out_ways = scan_output_axes or [0] * results, scan_output_directions or [0] * results
    made = [_back(value, axis, way) for value, axis, way in zip(stacked, out_axes, out_ways, strict=True)]
    return (*last, *made)


def _reader(value: Any) -> Callable[[Any], Any]:
    """Gives the elements along the first axis one by one."""
    tensor = widen(value)

    def read(number: Any) -> Any:
        part = tensor[int(number)] if isinstance(number, np.ndarray) else tf.gather(tensor, number)
        return Narrow(part, value.dtype) if isinstance(value, Narrow) else part

    return read


def _along(value: Any, axis: int, backward: int) -> Any:
    tensor = as_tensor(widen(value))
    at = axis % tensor.shape.rank
    if at:
        tensor = tf.transpose(tensor, [at, *(i for i in range(tensor.shape.rank) if i != at)])
    if backward:
        tensor = tf.reverse(tensor, [0])
    return Narrow(tensor, value.dtype) if isinstance(value, Narrow) else tensor


def _back(value: Any, axis: int, backward: int) -> Any:
    tensor = as_tensor(widen(value))
    if backward:
        tensor = tf.reverse(tensor, [0])
    at = axis % tensor.shape.rank
    if at:
        order = list(range(1, tensor.shape.rank))
        tensor = tf.transpose(tensor, [*order[:at], 0, *order[at:]])
    return Narrow(tensor, value.dtype) if isinstance(value, Narrow) else tensor
