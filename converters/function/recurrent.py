"""RNN, GRU and LSTM, in every direction, layout and form.

Shapes, with D directions, T steps, N sequences, I inputs and H units: X (T, N, I), W (D, gates * H, I),
R (D, gates * H, H), B (D, 2 * gates * H), initial states (D, N, H), Y (T, D, N, H), last states (D, N, H). With
layout 1 the sequences come first: X (N, T, I), initial and last states (N, D, H), Y (N, T, D, H).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from converters.function.table import Tensor, op
from converters.function.wider import HALVES

__all__: list[str] = []

Function = Callable[[tf.Tensor], tf.Tensor]
#: (x's part of the gates, states) -> new states, the output first.
Cell = Callable[[tf.Tensor, tuple[tf.Tensor, ...]], tuple[tf.Tensor, ...]]

#: Activations by their name in lower case: the function of (x, alpha, beta), and the defaults of those it has.
_ACTIVATIONS: dict[str, tuple[Callable[..., tf.Tensor], tuple[float | None, float | None]]] = {
    "affine": (lambda x, a, b: a * x + b, (1.0, 0.0)),
    "elu": (lambda x, a, b: tf.where(x > 0, x, a * tf.math.expm1(tf.minimum(x, 0.0))), (1.0, None)),
    "hardsigmoid": (lambda x, a, b: tf.clip_by_value(a * x + b, 0.0, 1.0), (0.2, 0.5)),
    "leakyrelu": (lambda x, a, b: tf.nn.leaky_relu(x, a), (0.01, None)),
    "relu": (lambda x, a, b: tf.nn.relu(x), (None, None)),
    "scaledtanh": (lambda x, a, b: a * tf.tanh(b * x), (1.0, 1.0)),
    "sigmoid": (lambda x, a, b: tf.sigmoid(x), (None, None)),
    "softplus": (lambda x, a, b: tf.nn.softplus(x), (None, None)),
    "softsign": (lambda x, a, b: tf.nn.softsign(x), (None, None)),
    "tanh": (lambda x, a, b: tf.tanh(x), (None, None)),
    "thresholdedrelu": (lambda x, a, b: tf.where(x > a, x, tf.zeros_like(x)), (1.0, None)),
}


def _functions(
    names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None, clip: float | None
) -> list[Function]:
    """One function for each name; alphas and betas go, in order, to those that have one."""
    first, second = iter(alphas or ()), iter(betas or ())
    made = []
    for name in names:
        if name.lower() not in _ACTIVATIONS:
            raise ValueError(f"unknown activation {name!r}; known: {', '.join(sorted(_ACTIVATIONS))}")
        function, (alpha, beta) = _ACTIVATIONS[name.lower()]
        a = None if alpha is None else next(first, alpha)
        b = None if beta is None else next(second, beta)
        made.append(_one(function, a, b, clip))
    return made


def _one(function: Callable[..., tf.Tensor], a: float | None, b: float | None, clip: float | None) -> Function:
    def activation(x: tf.Tensor) -> tf.Tensor:
        if clip:
            x = tf.clip_by_value(x, tf.cast(-clip, x.dtype), tf.cast(clip, x.dtype))
        return function(x, a, b)

    return activation


@dataclass(frozen=True)
class _Run:
    """What all three have in common: the input by steps, its lengths and how to go through it."""

    x: tf.Tensor
    lengths: tf.Tensor | None
    backward: bool

    def through(self, gates: tf.Tensor, states: tuple[tf.Tensor, ...], cell: Cell) -> tuple[tf.Tensor, ...]:
        """All outputs (T, N, H) and the last states of `cell`, given `gates` (T, N, gates * H) made of x alone."""
        gates = self.reversed(gates)
        steps = gates.shape[0]
        if steps == 1:
            new = self._stepped(tf.constant(0), cell(gates[0], states), states)
            outputs = self._masked(tf.constant(0), new[0])[None]
            return (outputs, *new)
        count = tf.shape(gates)[0]
        rows = tf.TensorArray(gates.dtype, size=count, element_shape=states[0].shape)

        def body(step: tf.Tensor, rows: Any, *states: tf.Tensor) -> tuple[Any, ...]:
            new = self._stepped(step, cell(gates[step], states), states)
            return (step + 1, rows.write(step, self._masked(step, new[0])), *new)

        shapes = [tf.TensorShape([]), tf.TensorShape(None), *(state.shape for state in states)]
        _, rows, *last = tf.while_loop(
            lambda step, *_: step < count,
            body,
            (tf.constant(0), rows, *states),
            shape_invariants=tuple(shapes),
            maximum_iterations=count,
        )
        outputs = tf.ensure_shape(rows.stack(), [steps, *states[0].shape])
        return (self.reversed(outputs), *last)

    def reversed(self, values: tf.Tensor) -> tf.Tensor:
        """`values` (T, N, ...) from the last step to the first, each sequence within its own length."""
        if not self.backward:
            return values
        if self.lengths is None:
            return tf.reverse(values, [0])
        return tf.reverse_sequence(values, self.lengths, seq_axis=0, batch_axis=1)

    def _stepped(
        self, step: tf.Tensor, new: tuple[tf.Tensor, ...], old: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, ...]:
        """The states after a step: sequences that have ended keep theirs."""
        if self.lengths is not None:
            running = (step < self.lengths)[:, None]
            new = tuple(tf.where(running, n, o) for n, o in zip(new, old, strict=True))
        return tuple(tf.ensure_shape(n, o.shape) for n, o in zip(new, old, strict=True))

    def _masked(self, step: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        if self.lengths is None:
            return output
        return tf.where((step < self.lengths)[:, None], output, tf.zeros_like(output))


def _recurrent(
    x: tf.Tensor,
    lengths: tf.Tensor | None,
    initial: Sequence[tf.Tensor | None],
    units: Any,
    direction: str,
    layout: int,
    one_direction: Callable[[int, _Run, tuple[tf.Tensor, ...]], tuple[tf.Tensor, ...]],
) -> tuple[tf.Tensor, ...]:
    """Run `one_direction(number, run, states)` for each direction and put the results into ONNX's shapes."""
    own = x.dtype
    if own in HALVES:
        x = tf.cast(x, tf.float32)
    if layout:
        x = tf.transpose(x, (1, 0, 2))
    count = 2 if direction == "bidirectional" else 1
    batch = x.shape[1]
    zeros = tf.zeros(tf.stack([batch if batch is not None else tf.shape(x)[1], units]), x.dtype)
    parts = []
    for number in range(count):
        states = []
        for state in initial:
            if state is None:
                states.append(zeros)
            else:
                chosen = state[:, number] if layout else state[number]
                states.append(tf.ensure_shape(tf.cast(chosen, x.dtype), zeros.shape))
        run = _Run(x, lengths, direction == "reverse" or number == 1)
        parts.append(one_direction(number, run, tuple(states)))
    outputs = tf.stack([part[0] for part in parts], 2 if layout else 1)
    if layout:
        # (T, N, D, H) -> (N, T, D, H)
        outputs = tf.transpose(outputs, (1, 0, 2, 3))
    last = [tf.stack([part[i] for part in parts], 1 if layout else 0) for i in range(1, len(initial) + 1)]
    return tuple(tf.cast(item, own) for item in (outputs, *last))


def _weights(x: tf.Tensor, number: int, *arrays: tf.Tensor | None) -> list[Any]:
    wide = tf.float32 if x.dtype in HALVES else x.dtype
    return [None if array is None else tf.cast(array[number], wide) for array in arrays]


def _projected(x: tf.Tensor, w: tf.Tensor, b: tf.Tensor | None) -> tf.Tensor:
    """x (T, N, I) times w (gates * H, I) plus b: the input's part of all gates, in one product."""
    shape, sizes = tf.shape(x), tf.shape(w)
    rows = tf.matmul(tf.reshape(x, tf.stack([shape[0] * shape[1], sizes[1]])), w, transpose_b=True)
    if b is not None:
        rows = tf.nn.bias_add(rows, b)
    made = tf.reshape(rows, tf.stack([shape[0], shape[1], sizes[0]]))
    return tf.ensure_shape(made, [x.shape[0], x.shape[1], w.shape[0]])


def _units(r: tf.Tensor) -> Any:
    return r.shape[-1] if r.shape[-1] is not None else tf.shape(r)[-1]


@op("RNN")
def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    output_sequence: int = 0,
) -> tuple[Tensor, Tensor]:
    units = _units(r)
    functions = _functions(activations or ["Tanh", "Tanh"], activation_alpha, activation_beta, clip)

    def one_direction(number: int, run: _Run, states: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        taps, back, bias = _weights(x, number, w, r, b)
        shift = None if bias is None else bias[:units] + bias[units:]

        def cell(part: tf.Tensor, states: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            return (functions[number](part + tf.matmul(states[0], back, transpose_b=True)),)

        return run.through(_projected(run.x, taps, shift), states, cell)

    outputs, last = _recurrent(x, sequence_lens, [initial_h], units, direction, layout, one_direction)
    return outputs, last


@op("GRU")
def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    output_sequence: int = 0,
) -> tuple[Tensor, Tensor]:
    units = _units(r)
    names = activations or ["Sigmoid", "Tanh"] * 2
    functions = _functions(names, activation_alpha, activation_beta, clip)

    def one_direction(number: int, run: _Run, states: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        gate, squash = functions[2 * number : 2 * number + 2]
        taps, back, bias = _weights(x, number, w, r, b)
        shift, inner = None, None
        if bias is not None:
            # The candidate's recurrent bias goes inside the reset when that comes after the product.
            inner = bias[5 * units :]
            shift = bias[: 3 * units] + tf.concat([bias[3 * units : 5 * units], tf.zeros_like(inner)], 0)
            if not linear_before_reset:
                shift = bias[: 3 * units] + bias[3 * units :]

        def cell(part: tf.Tensor, states: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            (h,) = states
            if linear_before_reset:
                product = tf.matmul(h, back, transpose_b=True)
                update = gate(part[:, :units] + product[:, :units])
                reset = gate(part[:, units : 2 * units] + product[:, units : 2 * units])
                candidate = product[:, 2 * units :] if inner is None else product[:, 2 * units :] + inner
                new = squash(part[:, 2 * units :] + reset * candidate)
            else:
                product = tf.matmul(h, back[: 2 * units], transpose_b=True)
                update = gate(part[:, :units] + product[:, :units])
                reset = gate(part[:, units : 2 * units] + product[:, units:])
                new = squash(part[:, 2 * units :] + tf.matmul(reset * h, back[2 * units :], transpose_b=True))
            return ((1 - update) * new + update * h,)

        return run.through(_projected(run.x, taps, shift), states, cell)

    outputs, last = _recurrent(x, sequence_lens, [initial_h], units, direction, layout, one_direction)
    return outputs, last


@op("LSTM")
def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    sequence_lens: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    output_sequence: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    units = _units(r)
    names = activations or ["Sigmoid", "Tanh", "Tanh"] * 2
    functions = _functions(names, activation_alpha, activation_beta, clip)
    # What is clipped is the sums that enter the gates; the memory is shown as it is, as onnxruntime has it.
    unclipped = _functions(names, activation_alpha, activation_beta, None)

    def one_direction(number: int, run: _Run, states: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        gate, squash = functions[3 * number : 3 * number + 2]
        show = unclipped[3 * number + 2]
        taps, back, bias, peep = _weights(x, number, w, r, b, p)
        shift = None if bias is None else bias[: 4 * units] + bias[4 * units :]
        peeps = [None] * 3 if peep is None else tf.split(peep, 3)

        def looked(part: tf.Tensor, c: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
            return part if weight is None else part + weight * c

        def cell(part: tf.Tensor, states: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            h, c = states
            # ONNX orders the gates input, output, forget, cell, and the peepholes input, output, forget.
            i, o, f, g = tf.split(part + tf.matmul(h, back, transpose_b=True), 4, 1)
            enter = gate(looked(i, c, peeps[0]))
            keep = 1 - enter if input_forget else gate(looked(f, c, peeps[2]))
            new = keep * c + enter * squash(g)
            leave = gate(looked(o, new, peeps[1]))
            return leave * show(new), new

        return run.through(_projected(run.x, taps, shift), states, cell)

    initial = [initial_h, initial_c]
    outputs, h, c = _recurrent(x, sequence_lens, initial, units, direction, layout, one_direction)
    return outputs, h, c
