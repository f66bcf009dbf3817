"""RNN, GRU and LSTM against onnxruntime in their many forms, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from converters.function import load
from tests.converters.function.nodes import agrees, computed, normal, one_node

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_STEPS, _BATCH, _INPUTS, _UNITS = 4, 3, 2, 3


def _inputs(
    operator: str, directions: int, *, bias: bool = True, lengths: bool = False, state: bool = False, peep: bool = False
) -> list[np.ndarray | None]:
    gates = _GATES[operator]
    made: list[np.ndarray | None] = [
        normal(0, _STEPS, _BATCH, _INPUTS),
        normal(1, directions, gates * _UNITS, _INPUTS),
        normal(2, directions, gates * _UNITS, _UNITS),
        normal(3, directions, 2 * gates * _UNITS) if bias else None,
        np.array([2, 4, 1], np.int32) if lengths else None,
        normal(4, directions, _BATCH, _UNITS) if state else None,
    ]
    if operator == "LSTM":
        made.append(normal(5, directions, _BATCH, _UNITS) if state else None)
        made.append(normal(6, directions, 3 * _UNITS) if peep else None)
    return made


@pytest.mark.parametrize("operator", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize(
    ("direction", "form", "attributes"),
    [
        ("forward", {}, {}),
        ("reverse", {"state": True, "lengths": True}, {}),
        ("bidirectional", {"state": True, "lengths": True}, {"clip": 0.7}),
        ("bidirectional", {"bias": False}, {}),
    ],
    ids=["forward", "reverse", "bidirectional", "without bias"],
)
def test_directions_lengths_states_and_clips(
    operator: str, direction: str, form: dict[str, bool], attributes: dict[str, Any]
) -> None:
    inputs = _inputs(operator, 2 if direction == "bidirectional" else 1, **form)
    outputs = 3 if operator == "LSTM" else 2
    options = {"hidden_size": _UNITS, "direction": direction, **attributes}
    agrees(operator, inputs, 14, outputs=outputs, constant=(1, 2, 3), **options)


@pytest.mark.parametrize("lengths", [False, True])
def test_gru_may_reset_after_the_product(lengths: bool) -> None:
    inputs = _inputs("GRU", 2, lengths=lengths)
    agrees("GRU", inputs, 7, outputs=2, hidden_size=_UNITS, direction="bidirectional", linear_before_reset=1)


@pytest.mark.parametrize("forget", [0, 1])
def test_lstm_with_peepholes_and_coupled_gates(forget: int) -> None:
    inputs = _inputs("LSTM", 1, peep=True, state=True)
    agrees("LSTM", inputs, 7, outputs=3, hidden_size=_UNITS, input_forget=forget)


def test_parameters_go_to_those_activations_that_have_some() -> None:
    options = {
        "activations": ["HardSigmoid", "Softsign", "ScaledTanh"],
        "activation_alpha": [0.3, 0.8],
        "activation_beta": [0.4, 1.2],
    }
    agrees("LSTM", _inputs("LSTM", 1), 14, outputs=3, hidden_size=_UNITS, **options)


@pytest.mark.parametrize("operator", ["RNN", "GRU", "LSTM"])
def test_layout_1_puts_sequences_first(operator: str) -> None:
    inputs = _inputs(operator, 2, state=True)
    options = {"hidden_size": _UNITS, "direction": "bidirectional"}
    outputs = 3 if operator == "LSTM" else 2
    wanted = computed(one_node(operator, inputs, 14, outputs=outputs, **options), inputs)
    turned = [
        item.swapaxes(0, 1) if number == 0 or (number in (5, 6) and item is not None) else item
        for number, item in enumerate(inputs)
    ]
    got = computed(one_node(operator, turned, 14, outputs=outputs, layout=1, **options), turned)
    np.testing.assert_allclose(got[0], wanted[0].transpose(2, 0, 1, 3), rtol=1e-5, atol=1e-6)
    for own, other in zip(got[1:], wanted[1:], strict=True):
        np.testing.assert_allclose(own, other.swapaxes(0, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("operator", ["GRU", "LSTM"])
def test_gradients_equal_numerical_ones(operator: str) -> None:
    inputs = [None if item is None else item.astype(np.float64) for item in _inputs(operator, 1)]
    function = load(one_node(operator, inputs, 14, hidden_size=_UNITS))
    given = [item for item in inputs if item is not None]

    @tf.function
    def outputs(*tensors: tf.Tensor) -> tf.Tensor:
        return function({f"i{n}": tensor for n, tensor in enumerate(tensors)})["o0"]

    exact, numerical = tf.test.compute_gradient(outputs, given)
    for own, wanted in zip(exact, numerical, strict=True):
        np.testing.assert_allclose(own, wanted, rtol=1e-4, atol=1e-5)
