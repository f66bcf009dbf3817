"""Recurrent networks whose state goes in and comes out: long sequences are computed a window at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelzoo.errors import UsageError
from modelzoo.finetune.cells import cell_layer

__all__ = ["Carried", "carried_network"]

INPUTS, OUTPUTS = "inputs", "outputs"


@dataclass(frozen=True)
class Carried:
    """A recurrent network without hidden memory: the state is a value.

    Attributes:
        model: keras.Model, {"inputs": (N, T, ...), state: (N, width), ...} -> {"outputs": (N, T, K), state: ...}.
        widths: {name of a state: its width}, in the order of the layers.
    """

    model: Any
    widths: Mapping[str, int]

    def zeros(self, batch: int) -> dict[str, Any]:
        """The state before the first step of `batch` sequences."""
        import tensorflow as tf

        return {name: tf.zeros((batch, width), tf.float32) for name, width in self.widths.items()}

    def __call__(self, inputs: Any, state: Mapping[str, Any], *, training: bool = False) -> tuple[Any, dict[str, Any]]:
        """((N, T, K), the state after the last step); gradients flow through the state that is passed in."""
        import tensorflow as tf

        found = self.model({INPUTS: tf.convert_to_tensor(inputs), **state}, training=training)
        return found[OUTPUTS], {name: found[f"{name}_next"] for name in self.widths}


def carried_network(
    inputs: Any,
    features: Any,
    *,
    cell: str,
    units: Sequence[int],
    outputs: int,
    dropout: float = 0.0,
    options: Mapping[str, Any] | None = None,
    name: str = "recurrent",
) -> Carried:
    """Recurrent layers one on the other and a Dense layer at every step.

    Args:
        inputs: symbolic (N, T, ...), T may be open.
        features: symbolic (N, T, C) that was computed from `inputs`, e.g. `inputs` themselves or an embedding of them.
        cell: a key of `modelzoo.finetune.cells.CELLS`. Both directions are not possible: a window does not know what
            comes behind it.
        units: width of each layer.
        outputs: K, width of the last layer, which has no activation.
        dropout: share of the channels that each layer does not see while it is trained.
        options: further options of the cell's layer, e.g. {"reset_after": False} of a GRU.
        name: of the model.

    Raises:
        UsageError: an unknown cell, or widths that are none.
    """
    import keras

    kind = cell_layer(cell)
    for width in (*units, outputs):
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise UsageError("Layers have positive widths.", received=repr(width))
    if not units:
        raise UsageError("A recurrent network has a recurrent layer.", received=repr(units))
    given: dict[str, Any] = {INPUTS: inputs}
    after: dict[str, Any] = {}
    widths: dict[str, int] = {}
    x = features
    for number, width in enumerate(units, 1):
        if dropout:
            x = keras.layers.SpatialDropout1D(dropout, name=f"dropout_{number}")(x)
        layer = kind(width, return_sequences=True, return_state=True, name=f"{cell}_{number}", **(options or {}))
        sizes = keras.tree.flatten(layer.cell.state_size)
        names = [f"state_{number}{'abcdefgh'[k] if len(sizes) > 1 else ''}" for k in range(len(sizes))]
        before = [keras.Input((int(size),), name=one) for one, size in zip(names, sizes, strict=True)]
        x, *state = layer(x, initial_state=before if len(before) > 1 else before[0])
        given |= dict(zip(names, before, strict=True))
        after |= {f"{one}_next": value for one, value in zip(names, state, strict=True)}
        widths |= {one: int(size) for one, size in zip(names, sizes, strict=True)}
    result = keras.layers.Dense(outputs, name="logits", dtype="float32")(x)
    return Carried(keras.Model(given, {OUTPUTS: result, **after}, name=name), widths)
