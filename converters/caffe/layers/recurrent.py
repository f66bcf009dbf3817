"""Recurrent layers: RNN, LSTM and LSTMUnit.

Time is the first axis: sequences are (T, N, ...), and `cont` (T, N) says where a sequence goes on (1) or begins (0);
it scales the state that a step gets, so fractions are possible. Caffe keeps the last state of one call for the next
one; here every call begins with zeros, as Caffe's first call does. For sequences in pieces write `expose_hidden: true`
and pass the states from call to call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.control import scan
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import refusal


@dataclass(frozen=True)
class _Bottoms:
    """What the bottoms of a recurrent layer mean.

    Attributes:
        x: the sequence, flattened to (T, N, I).
        cont: (T, N, 1).
        static: the input that all steps share, (N, J), or None.
        states: (N, H) each, before the first step.
    """

    x: Value
    cont: Value
    static: Value | None
    states: list[Value]


def _bottoms(g: Builder, layer: Layer, bottoms: tuple[Value, ...], states: int) -> _Bottoms:
    """Sort the bottoms: x, cont, [static], and with expose_hidden the states."""
    param = layer.message.recurrent_param
    exposed = states if param.expose_hidden else 0
    if not 2 + exposed <= len(bottoms) <= 3 + exposed:
        raise refusal(
            layer,
            f"has {len(bottoms)} bottoms.",
            received=", ".join(layer.bottoms),
            hint="they are the sequence, cont, an optional static input"
            + (f" and {exposed} initial states" if exposed else ""),
        )
    if not param.num_output:
        raise refusal(layer, "has no num_output.", received=0, hint="write recurrent_param { num_output: ... }")
    x, cont = bottoms[:2]
    if x.rank < 2 or cont.shape != x.shape[:2]:
        raise refusal(
            layer,
            "needs a sequence (T, N, ...) and its cont (T, N).",
            received=f"{list(x.shape)} and {list(cont.shape)}",
            hint="check the sizes of both inputs",
        )
    steps, count = x.sizes[:2]
    static = bottoms[2] if len(bottoms) == 3 + exposed else None
    if static is not None:
        if static.shape[0] != count:
            raise refusal(layer, "has a static input of another batch.", received=static.shape, hint=f"({count}, ...)")
        static = g.reshape(static, (count, math.prod(static.sizes[1:])))
        g.batch_is_fixed |= steps == count  # the two must not be taken for one
    given = bottoms[len(bottoms) - exposed :]
    hidden = param.num_output
    for state in given:
        if state.shape != (1, count, hidden):
            raise refusal(
                layer, "has an initial state of a wrong shape.", received=state.shape, hint=f"(1, {count}, {hidden})"
            )
    if exposed:
        first = [g.Squeeze(state, [0]) for state in given]
        # States have a first axis of their own, which never is the number of steps.
        g.batch_is_fixed |= steps == 1
    else:
        first = [g.constant(np.zeros((count, hidden), np.float32)) for _ in range(states)]
    flat = g.reshape(x, (steps, count, math.prod(x.sizes[2:])))
    return _Bottoms(flat, g.Unsqueeze(cont, [2]), static, first)


def _matrix(g: Builder, layer: Layer, index: int, outputs: int, inputs: int) -> Value:
    """The learned matrix number `index` as (inputs, outputs); Caffe has it the other way round."""
    return g.blob(layer, index, (outputs, inputs), layer.message.recurrent_param.weight_filler, transposed=True)


def _product(g: Builder, layer: Layer, x: Value, index: int, outputs: int) -> Value:
    return g.MatMul(x, _matrix(g, layer, index, outputs, x.sizes[-1]))


def _bias(g: Builder, layer: Layer, index: int, outputs: int) -> Value:
    return g.blob(layer, index, (outputs,), layer.message.recurrent_param.bias_filler)


def _exposed(g: Builder, layer: Layer, last: list[Value]) -> list[Value]:
    return [g.Unsqueeze(state, [0]) for state in last] if layer.message.recurrent_param.expose_hidden else []


@layer_type("RNN")
def rnn(g: Builder, layer: Layer, *bottoms: Value) -> tuple[Value, ...]:
    """h = tanh(W_hh (cont h) + W_xh x + b_h), o = tanh(W_ho h + b_o); tops o (T, N, H) and, exposed, the last h."""
    given = _bottoms(g, layer, bottoms, 1)
    size = layer.message.recurrent_param.num_output
    drive = g.Add(_product(g, layer, given.x, 0, size), _bias(g, layer, 1, size))
    number = 2
    if given.static is not None:
        drive = g.Add(drive, _product(g, layer, given.static, number, size))
        number += 1
    recurrent = _matrix(g, layer, number, size, size)

    def step(b: Builder, h: Value, x: Value, cont: Value) -> tuple[list[Value], list[Value]]:
        h = b.Tanh(b.Add(b.MatMul(b.Mul(h, cont), recurrent), x))
        return [h], [h]

    last, (hidden,) = scan(g, step, given.states, [drive, given.cont])
    out = g.Tanh(g.Add(_product(g, layer, hidden, number + 1, size), _bias(g, layer, number + 2, size)))
    return (out, *_exposed(g, layer, last))


@layer_type("LSTM")
def lstm(g: Builder, layer: Layer, *bottoms: Value) -> tuple[Value, ...]:
    """Gates i, f, o, g = W_hc (cont h) + W_xc x + b_c; tops h (T, N, H) and, exposed, the last h and c.

    Donahue et al., "Long-term Recurrent Convolutional Networks for Visual Recognition and Description", 2015.
    """
    given = _bottoms(g, layer, bottoms, 2)
    size = layer.message.recurrent_param.num_output
    drive = g.Add(_product(g, layer, given.x, 0, 4 * size), _bias(g, layer, 1, 4 * size))
    number = 2
    if given.static is not None:
        drive = g.Add(drive, _product(g, layer, given.static, number, 4 * size))
        number += 1
    recurrent = _matrix(g, layer, number, 4 * size, size)

    def step(b: Builder, h: Value, c: Value, x: Value, cont: Value) -> tuple[list[Value], list[Value]]:
        gates = b.Add(b.MatMul(b.Mul(h, cont), recurrent), x)
        h, c = _unit(b, gates, c, cont)
        return [h, c], [h]

    last, (hidden,) = scan(g, step, given.states, [drive, given.cont])
    return (hidden, *_exposed(g, layer, last))


@layer_type("LSTMUnit")
def lstm_unit(g: Builder, layer: Layer, c: Value, gates: Value, cont: Value) -> tuple[Value, Value]:
    """One step: c (1, N, H), gates (1, N, 4H) before their sigmoids, cont (1, N) -> c, h (1, N, H)."""
    if gates.shape != (*c.shape[:-1], 4 * c.sizes[-1]) or cont.shape != c.shape[:2]:
        raise refusal(
            layer,
            "needs c (1, N, H), gates (1, N, 4 H) and cont (1, N).",
            received=", ".join(str(list(item.shape)) for item in (c, gates, cont)),
            hint="check the sizes of its bottoms",
        )
    h, c = _unit(g, gates, c, g.Unsqueeze(cont, [2]))
    return c, h


def _unit(g: Builder, gates: Value, c: Value, cont: Value) -> tuple[Value, Value]:
    """h and c from the gates i, f, o, g along the last axis."""
    i, f, o, fresh = g.Split(gates, axis=-1, num_outputs=4, outputs=4)
    kept = g.Mul(cont, g.Mul(g.Sigmoid(f), c))
    c = g.Add(kept, g.Mul(g.Sigmoid(i), g.Tanh(fresh)))
    return g.Mul(g.Sigmoid(o), g.Tanh(c)), c
