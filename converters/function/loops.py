"""Repeating a body: in Python where that is possible while tracing, else by `tf.while_loop`.

A body carries states from one round to the next and gives results, which are stacked. In Python it may carry anything;
a `tf.while_loop` carries tensors, whose shapes may change from round to round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.values import Narrow, as_tensor, is_known, known
from modelzoo.errors import UnsupportedOperatorError

__all__ = ["pack", "repeat", "stacked", "unpack"]

#: Round number, condition and states -> condition, states, results.
Body = Callable[[Any, Any, list[Any]], tuple[Any, list[Any], list[Any]]]

#: A loop of at most this many rounds becomes straight code; one with sequences, which need it, of this many.
_UNROLLED = 8
_UNROLLED_SEQUENCES = 1024
#: Results of up to this many rounds get their places before the loop begins.
_RESERVED = 1 << 16


def pack(value: Any) -> tuple[list[tf.Tensor], Any]:
    """The tensors that a value consists of, and its form: "tensor", a dtype (`Narrow`), a list of forms, or None.

    Raises:
        ValueError: a map, which no tensor can carry.
    """
    if isinstance(value, list):
        parts = [pack(item) for item in value]
        return [tensor for tensors, _ in parts for tensor in tensors], [form for _, form in parts]
    if isinstance(value, Narrow):
        return [value.values], value.dtype
    if value is None:
        return [], None
    if isinstance(value, dict):
        raise ValueError("a map cannot be carried through a loop or branch that is decided while running")
    return [as_tensor(value)], "tensor"


def unpack(tensors: Sequence[tf.Tensor], forms: Sequence[Any]) -> list[Any]:
    """Values of these forms made of all the tensors that `pack` gave for them."""
    remaining = iter(tensors)

    def build(form: Any) -> Any:
        if isinstance(form, list):
            return [build(item) for item in form]
        if form is None:
            return None
        return next(remaining) if isinstance(form, str) else Narrow(next(remaining), form)

    return [build(form) for form in forms]


def stacked(results: Sequence[Any], axis: int = 0) -> Any:
    """The results of all rounds (at least one) as one tensor."""
    tensor = tf.stack([as_tensor(item) for item in results], axis)
    return Narrow(tensor, results[0].dtype) if isinstance(results[0], Narrow) else tensor


def repeat(
    count: Any, condition: Any, states: list[Any], body: Body, *, results: int, node: str
) -> tuple[list[Any], list[Any]]:
    """Run `body` while the condition holds, at most `count` times.

    Args:
        count: most rounds: an int64 scalar, known or not, or None for no limit.
        condition: whether to run the first round, known or not.
        states: what the first round gets.
        body: one round.
        results: how many results a round gives.
        node: the operator, for messages.

    Returns:
        The last states, and the results of all rounds stacked on a new first axis.

    Raises:
        UnsupportedOperatorError: sequences that grow, or values that are not tensors, in a loop whose number of rounds
            is not known while tracing.
    """
    if is_known(condition) and not bool(known(condition)):
        return states, _none(states, body, results)
    tensors_only = all(isinstance(state, np.ndarray | tf.Tensor | Narrow) for state in states)
    most = _UNROLLED if tensors_only else _UNROLLED_SEQUENCES
    short = count is not None and is_known(count) and int(known(count)) <= most
    if tf.executing_eagerly() or short:
        done = _in_python(count, condition, states, body, results)
        if done is not None:
            return done
    try:
        return _while(count, condition, states, body)
    except _Growing as error:
        raise UnsupportedOperatorError(
            node,
            node,
            what=f"{node}: {error}, and how many rounds there are is not known while tracing.",
            hint="call the function eagerly, or make the number of rounds a constant of the model",
        ) from error


class _Growing(Exception):
    """A state changes its form from round to round, or is none that tensors can carry."""


def _in_python(
    count: Any, condition: Any, states: list[Any], body: Body, results: int
) -> tuple[list[Any], list[Any]] | None:
    """All rounds one after the other; None when the condition turns out to be unknown while tracing."""
    rounds = None if count is None else int(known(count))
    initial, collected = states, []
    number = 0
    while rounds is None or number < rounds:
        if not is_known(condition):
            return None
        if not bool(known(condition)):
            break
        condition, states, made = body(np.array(number, np.int64), condition, states)
        collected.append(made)
        number += 1
    if not collected:
        return states, _none(initial, body, results)
    return states, [stacked([row[i] for row in collected]) for i in range(results)]


def _signature(tensor: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype)


def _traced(
    body: Body, specs: list[tf.TensorSpec], forms: list[Any]
) -> tuple[list[tf.TensorSpec], list[Any], list[tf.TensorSpec], list[Any]]:
    """Signatures and forms of the states and results after one round, without running it."""
    seen: dict[str, Any] = {}

    def one_round(number: tf.Tensor, condition: tf.Tensor, *tensors: tf.Tensor) -> None:
        _, after, made = body(number, condition, unpack(tensors, forms))
        seen["after"] = [pack(value) for value in after]
        seen["made"] = [pack(value) for value in made]
        seen["signatures"] = [[_signature(t) for t in ts] for ts, _ in (*seen["after"], *seen["made"])]

    first = [tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.bool)]
    tf.function(one_round, autograph=False).get_concrete_function(*first, *specs)
    signatures = seen["signatures"]
    split = len(seen["after"])
    after = [spec for group in signatures[:split] for spec in group]
    made = [spec for group in signatures[split:] for spec in group]
    return after, [form for _, form in seen["after"]], made, [form for _, form in seen["made"]]


def _none(states: list[Any], body: Body, results: int) -> list[Any]:
    """The results of no round: tensors without elements, of the type and rank that a round would give."""
    if not results:
        return []
    packed = [pack(state) for state in states]
    specs = [_signature(tensor) for tensors, _ in packed for tensor in tensors]
    _, _, made, forms = _traced(body, specs, [form for _, form in packed])
    return [_empty(spec, form) for spec, form in zip(made, forms, strict=True)]


def _empty(spec: tf.TensorSpec, form: Any) -> Any:
    shape = [0, *(size or 0 for size in (spec.shape.as_list() if spec.shape.rank else []))]
    tensor = tf.zeros(shape, spec.dtype)
    return Narrow(tensor, form) if isinstance(form, np.dtype) else tensor


def _while(count: Any, condition: Any, states: list[Any], body: Body) -> tuple[list[Any], list[Any]]:
    try:
        packed = [pack(state) for state in states]
    except ValueError as error:
        raise _Growing(str(error)) from error
    tensors = [tensor for group, _ in packed for tensor in group]
    forms = [form for _, form in packed]
    # Each round may change shapes: dimensions that differ are left open until nothing changes any more.
    specs = [_signature(tensor) for tensor in tensors]
    while True:
        after, after_forms, made, made_forms = _traced(body, specs, forms)
        if after_forms != forms or any(a.dtype != b.dtype for a, b in zip(after, specs, strict=True)):
            raise _Growing("a round changes the length of a sequence or the type of a state")
        merged = [tf.TensorSpec(_common(a.shape, b.shape), b.dtype) for a, b in zip(after, specs, strict=True)]
        if all(a.shape.as_list() == b.shape.as_list() for a, b in zip(merged, specs, strict=True) if b.shape.rank):
            break
        specs = merged
    size = len(tensors)
    rounds = int(known(count)) if count is not None and is_known(count) else 0
    reserved = rounds if rounds <= _RESERVED else 0
    arrays = [
        tf.TensorArray(spec.dtype, reserved, dynamic_size=not reserved, element_shape=spec.shape) for spec in made
    ]
    limit = None if count is None else tf.cast(tf.reshape(count, ()), tf.int64)

    def going(number: tf.Tensor, holds: tf.Tensor, *carried: Any) -> tf.Tensor:
        return holds if limit is None else holds & (number < limit)

    def one_round(number: tf.Tensor, holds: tf.Tensor, *carried: Any) -> tuple[Any, ...]:
        holds, after, results = body(number, holds, unpack(carried[:size], forms))
        flat = [tensor for value in after for tensor in pack(value)[0]]
        place = tf.cast(number, tf.int32)
        written = [a.write(place, pack(value)[0][0]) for a, value in zip(carried[size:], results, strict=True)]
        return (number + 1, tf.reshape(as_tensor(holds), ()), *flat, *written)

    start = (tf.zeros((), tf.int64), tf.reshape(as_tensor(condition), ()), *tensors, *arrays)
    invariants = (
        tf.TensorShape([]),
        tf.TensorShape([]),
        *(spec.shape for spec in specs),
        *(tf.TensorShape(None) for _ in arrays),
    )
    number, _, *carried = tf.while_loop(going, one_round, start, invariants)
    results = [
        _gathered(array, spec, form, number) for array, spec, form in zip(carried[size:], made, made_forms, strict=True)
    ]
    return unpack(carried[:size], forms), results


def _common(one: tf.TensorShape, other: tf.TensorShape) -> tf.TensorShape:
    if one.rank is None or one.rank != other.rank:
        return tf.TensorShape(None)
    return tf.TensorShape([a if a == b else None for a, b in zip(one.as_list(), other.as_list(), strict=True)])


def _gathered(array: Any, spec: tf.TensorSpec, form: Any, number: tf.Tensor) -> Any:
    rounds = tf.range(tf.cast(number, tf.int32))
    if spec.shape.is_fully_defined():
        tensor = array.gather(rounds)
    else:
        # An array that nothing was written to cannot be stacked.
        tensor = tf.cond(number > 0, lambda: array.gather(rounds), lambda: _empty(spec, None))
        if spec.shape.rank is not None:
            tensor = tf.ensure_shape(tensor, [None, *spec.shape.as_list()])
    return Narrow(tensor, form) if isinstance(form, np.dtype) else tensor
