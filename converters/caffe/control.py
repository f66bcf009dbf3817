"""Scan and Loop: the graph of one round is written as a Python function of its values.

::

    def step(b, total, x):
        total = b.Add(total, x)
        return [total], [b.Relu(total)]

    last, stacked = scan(g, step, states=[zero], sequences=[xs])

`b` is a `Builder` for the inner graph; a round may read every value of the outer one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from converters.caffe.builder import Builder, Value

__all__ = ["loop", "scan"]

Step = Callable[..., tuple[list[Value], list[Value]]]


class _Body(Builder):
    """The graph of one round. Its constants and weights are the outer graph's, so that they are found in one place."""

    def __init__(self, outer: Builder) -> None:
        super().__init__(f"{outer.layer}/round")
        self.outer = outer
        self.layer = outer.layer
        self._count = outer._count

    def weight(self, name: str, array: np.ndarray) -> Value:
        return self.outer.weight(name, array)

    def node(self, op: str, values: Any, attributes: Any, results: Any, *, domain: str = "") -> list[Value]:
        made = super().node(op, values, attributes, results, domain=domain)
        for value in made:
            value.node.shape = None  # it may depend on the number of pictures
        return made

    def argument(self, shape: Sequence[int | None], dtype: Any) -> Value:
        self._count += 1
        value = ir.Value(
            name=f"{self.layer}/argument_{self._count}",
            shape=ir.Shape([None] * len(shape)),
            type=ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype))),
        )
        self.graph.inputs.append(value)
        return Value(value, tuple(shape), np.dtype(dtype))

    def finish(self, results: Sequence[Value]) -> ir.Graph:
        computed = {out for node in self.graph for out in node.outputs}
        for value in results:
            # Each result must be one of its own, and computed by the inner graph.
            node = value.node if value.node in computed else self.Identity(value).node
            computed.discard(node)
            self.graph.outputs.append(node)
        self.outer._count = self._count
        self.outer.batch_is_fixed |= self.batch_is_fixed
        return self.graph


def scan(
    g: Builder, step: Step, states: Sequence[Value], sequences: Sequence[Value]
) -> tuple[list[Value], list[Value]]:
    """Go along the first axis of `sequences`.

    Args:
        g: the outer graph.
        step: function of (builder, *states, *elements) that returns the new states and what is to be stacked.
        states: the states before the first round.
        sequences: of equal first axis (T, ...).

    Returns:
        The states after the last round, and each stacked result (T, ...).
    """
    body = _Body(g)
    before = [body.argument(value.shape, value.dtype) for value in states]
    elements = [body.argument(value.shape[1:], value.dtype) for value in sequences]
    after, stacked = step(body, *before, *elements)
    graph = body.finish([*after, *stacked])
    length = sequences[0].shape[0]
    made = g.node(
        "Scan",
        [*states, *sequences],
        [ir.AttrGraph("body", graph), ir.AttrInt64("num_scan_inputs", len(sequences))],
        [(value.shape, value.dtype) for value in states] + [((length, *value.shape), value.dtype) for value in stacked],
    )
    return made[: len(states)], made[len(states) :]


def loop(
    g: Builder,
    step: Step,
    count: Value | int,
    states: Sequence[Value],
    *,
    goes_on: Callable[..., Value] | None = None,
) -> tuple[list[Value], list[Value]]:
    """Do a number of rounds.

    Args:
        g: the outer graph.
        step: function of (builder, number of the round, *states) that returns the new states and what is to be stacked.
        count: how many rounds at most.
        states: the states before the first round.
        goes_on: function of (builder, *states) to one bool, asked before each round; None = all rounds are done.

    Returns:
        The states after the last round, and each stacked result (rounds, ...).
    """
    body = _Body(g)
    number = body.argument((), np.int64)
    condition = body.argument((), np.bool_)
    before = [body.argument(value.shape, value.dtype) for value in states]
    after, stacked = step(body, number, *before)
    graph = body.finish([goes_on(body, *after) if goes_on else condition, *after, *stacked])
    length = count if isinstance(count, int) and goes_on is None else None
    made = g.node(
        "Loop",
        [g.constant(count, np.int64) if isinstance(count, int) else count, goes_on and goes_on(g, *states), *states],
        [ir.AttrGraph("body", graph)],
        [(value.shape, value.dtype) for value in states] + [((length, *value.shape), value.dtype) for value in stacked],
    )
    return made[: len(states)], made[len(states) :]
