"""TensorFlow 1's recurrent cells, written down with NumPy from their definitions."""

from __future__ import annotations

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def basic_lstm(x, state, kernel, bias, forget_bias):
    """`BasicLSTMCell`: gates i, j, f, o; state (c, h)."""
    c, h = state
    i, j, f, o = np.split(np.concatenate([x, h], axis=-1) @ kernel + bias, 4, axis=-1)
    c = c * sigmoid(f + forget_bias) + sigmoid(i) * np.tanh(j)
    h = np.tanh(c) * sigmoid(o)
    return h, (c, h)


def gru(x, state, gates_kernel, gates_bias, candidate_kernel, candidate_bias):
    """`GRUCell`: gates r, u; the reset gate is applied before the multiplication."""
    (h,) = state
    r, u = np.split(sigmoid(np.concatenate([x, h], axis=-1) @ gates_kernel + gates_bias), 2, axis=-1)
    candidate = np.tanh(np.concatenate([x, r * h], axis=-1) @ candidate_kernel + candidate_bias)
    h = u * h + (1 - u) * candidate
    return h, (h,)


def basic_rnn(x, state, kernel, bias):
    """`BasicRNNCell`."""
    (h,) = state
    h = np.tanh(np.concatenate([x, h], axis=-1) @ kernel + bias)
    return h, (h,)


CELLS = {
    "basic_lstm_cell": (basic_lstm, 2, {"kernel": 4, "bias": 4}),
    "gru_cell": (gru, 1, {"gates/kernel": 2, "gates/bias": 2, "candidate/kernel": 1, "candidate/bias": 1}),
    "basic_rnn_cell": (basic_rnn, 1, {"kernel": 1, "bias": 1}),
}


def invented(cell, widths, vocabulary, embedding=0, seed=0):
    """The arrays of a checkpoint of a character RNN, with numbers from a seed."""
    generator = np.random.default_rng(seed)

    def draw(*shape):
        return generator.normal(0, 0.6, shape).astype(np.float32)

    arrays = {"embedding": draw(vocabulary, embedding)} if embedding else {}
    before = embedding or vocabulary
    for number, width in enumerate(widths):
        for part, gates in CELLS[cell][2].items():
            shape = (before + width, gates * width) if part.endswith("kernel") else (gates * width,)
            arrays[f"rnn/multi_rnn_cell/cell_{number}/{cell}/{part}"] = draw(*shape)
        before = width
    return {**arrays, "softmax/softmax_w": draw(before, vocabulary), "softmax/softmax_b": draw(vocabulary)}


def logits(arrays, cell, ids, forget_bias=0.0):
    """(len(ids), vocabulary) float64 of one sequence, from zero states."""
    run, states, parts = CELLS[cell]
    extra = [forget_bias] if cell == "basic_lstm_cell" else []
    count = len({name.split("/")[2] for name in arrays if "multi_rnn_cell" in name})
    layers = [
        [np.float64(arrays[f"rnn/multi_rnn_cell/cell_{n}/{cell}/{part}"]) for part in parts] for n in range(count)
    ]
    widths = [layer[-1].size // list(parts.values())[-1] for layer in layers]
    table = np.float64(arrays.get("embedding", np.eye(arrays["softmax/softmax_b"].size)))
    state = [tuple(np.zeros(width) for _ in range(states)) for width in widths]
    rows = []
    for number in ids:
        x = table[number]
        for n, layer in enumerate(layers):
            x, state[n] = run(x, state[n], *layer, *extra)
        rows.append(x @ np.float64(arrays["softmax/softmax_w"]) + arrays["softmax/softmax_b"])
    return np.stack(rows)
