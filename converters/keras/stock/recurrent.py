"""Recurrent layers whose gates Keras computes by the same formulas."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from converters.keras.held import Held, Zeros
from converters.keras.node import Node
from converters.keras.stock.table import Result, stock

_ORDER = {"LSTM": [0, 2, 3, 1], "GRU": [0, 1, 2]}  # ONNX iofc -> Keras ifco; ONNX zrh is Keras' own


def _sequences(at: Node, x: Held, layout: int) -> Any:
    """(batch, time, features)."""
    return at.source(x) if layout else at.to(x, (1, 0, 2))


def _gates(array: np.ndarray, kind: str) -> np.ndarray:
    """(gates * units, n) in ONNX's order -> (n, gates * units) in Keras'."""
    parts = np.split(array, len(_ORDER[kind]))
    return np.concatenate([parts[gate] for gate in _ORDER[kind]]).T


def _bias(array: np.ndarray, kind: str) -> np.ndarray:
    parts = np.split(array, len(_ORDER[kind]))
    return np.concatenate([parts[gate] for gate in _ORDER[kind]])


def _plain(activations: list[str] | None, usual: list[str], directions: int) -> bool:
    return activations is None or [name.lower() for name in activations] == [n.lower() for n in usual] * directions


def _one(
    at: Node, kind: str, x: Any, w: Any, r: Any, b: Any, part: str | None, options: dict[str, Any], states: list[Any]
) -> Any:
    units = r.shape[-1]
    gates = len(_ORDER[kind])
    width = gates * units
    bias = np.zeros(2 * width, w.dtype) if b is None else b
    if kind == "LSTM":
        merged = _bias(bias[:width], kind) + _bias(bias[width:], kind)
    else:
        merged = np.stack([_bias(bias[:width], kind), _bias(bias[width:], kind)])
    layer = at.layer(getattr(keras.layers, kind), units, return_sequences=True, return_state=True, part=part, **options)
    arrays = {"kernel": _gates(w, kind), "recurrent": _gates(r, kind), "bias": merged}
    contiguous: dict[str, Any] = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return at.apply(layer, x, holder=layer.cell, call={"initial_state": states or None}, **contiguous)


def _recurrent(
    at: Node,
    kind: str,
    x: Held,
    arrays: tuple[Any, Any, Any],
    states: list[Any],
    direction: str,
    layout: int,
    options: dict[str, Any],
) -> Result:
    w, r, b = arrays
    if not all(item is None or isinstance(item, np.ndarray) for item in arrays) or w is None or r is None:
        return None
    if x.rank != 3 or x.dtype != "float32" or direction not in ("forward", "reverse", "bidirectional"):
        return None
    fed = [state for state in states if isinstance(state, Held)]
    if fed and len(fed) < len(states):
        return None
    tensor = _sequences(at, x, layout)
    if tensor.shape[2] is None:  # as wide as the weights say
        steps = -1 if tensor.shape[1] is None else tensor.shape[1]
        tensor = at.layer(keras.layers.Reshape, (steps, w.shape[2]), part="width")(tensor)
    given = [at.source(state) for state in fed]
    axis = 1 if layout else 0  # of the directions, in the states
    outs, ends = [], []
    for number in range(w.shape[0]):
        backwards = direction == "reverse" or number == 1
        part = None if w.shape[0] == 1 else ("backward" if backwards else "forward")
        begin = [keras.ops.take(state, number, axis=axis) for state in given]
        bias = None if b is None else b[number]
        out, *end = _one(
            at, kind, tensor, w[number], r[number], bias, part, {**options, "go_backwards": backwards}, begin
        )
        if backwards:
            out = keras.ops.flip(out, axis=1)
        outs.append(out)
        ends.append(end)
    # The batch comes first; without `layout` ONNX has the directions there.
    order = (0, 1, 2) if layout else (1, 0, 2)
    last = [Held(keras.ops.stack([end[k] for end in ends], axis=1), order) for k in range(len(ends[0]))]
    if layout:  # (batch, time, directions, units)
        return (Held.of(keras.ops.stack(outs, axis=2)), *last)
    # ONNX gives (time, directions, batch, units): held as (batch, directions, time, units), nothing is moved.
    return (Held(keras.ops.stack(outs, axis=1), (2, 1, 0, 3)), *last)


@stock("LSTM", since=7)
def lstm(
    at: Node,
    x: Held,
    w: Any,
    r: Any,
    b: Any = None,
    lengths: Any = None,
    initial_h: Any = None,
    initial_c: Any = None,
    peepholes: Any = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> Result:
    plain = _plain(activations, ["Sigmoid", "Tanh", "Tanh"], 2 if direction == "bidirectional" else 1)
    if (
        not plain
        or clip
        or input_forget
        or not _zero(peepholes)
        or not _states(initial_h, initial_c)
        or lengths is not None
    ):
        return None
    return _recurrent(at, "LSTM", x, (w, r, b), [initial_h, initial_c], direction, layout, {"unit_forget_bias": False})


@stock("GRU", since=7)
def gru(
    at: Node,
    x: Held,
    w: Any,
    r: Any,
    b: Any = None,
    lengths: Any = None,
    initial_h: Any = None,
    *,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    activations: list[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> Result:
    plain = _plain(activations, ["Sigmoid", "Tanh"], 2 if direction == "bidirectional" else 1)
    # Without linear_before_reset Keras has one bias only, and ONNX two that add up differently in the last gate.
    if not plain or clip or not linear_before_reset or not _states(initial_h) or lengths is not None:
        return None
    return _recurrent(at, "GRU", x, (w, r, b), [initial_h], direction, layout, {"reset_after": True})


def _zero(*values: Any) -> bool:
    return all(
        item is None or isinstance(item, Zeros) or (isinstance(item, np.ndarray) and not item.any()) for item in values
    )


def _states(*values: Any) -> bool:
    """Initial states that the layer can take: computed ones, or none."""
    return all(isinstance(item, Held) for item in values) or _zero(*values)
