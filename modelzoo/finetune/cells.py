"""Recurrent layers by name: a table of cells, and stacks of them over (N, T, C)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelzoo.errors import UsageError, nearest

__all__ = ["CELLS", "cell_layer", "recurrent_stack"]

CELLS: Mapping[str, str] = {
    "simple": "keras.layers:SimpleRNN",
    "gru": "keras.layers:GRU",
    "lstm": "keras.layers:LSTM",
}
"""Name of a cell -> module and class of its Keras layer, imported when it is used; higher packages may be named too."""


def cell_layer(cell: str) -> Any:
    """The class of a cell's layer, which takes `units` and the options of keras.layers.RNN.

    Raises:
        UsageError: there is no such cell.
    """
    if cell not in CELLS:
        near = nearest(str(cell), CELLS)
        hint = f"did you mean {near[0]!r}?" if near else " | ".join(CELLS)
        raise UsageError("There is no such recurrent cell.", received=repr(cell), hint=hint)
    import importlib

    module, _, name = CELLS[cell].partition(":")
    return getattr(importlib.import_module(module), name)


def recurrent_stack(
    x: Any,
    cell: str,
    units: Sequence[int],
    *,
    bidirectional: bool = False,
    dropout: float = 0.0,
    every_step: bool = False,
    mask: Any = None,
    prefix: str = "head",
) -> Any:
    """Recurrent layers one on the other.

    Args:
        x: symbolic (N, T, C).
        cell: a key of `CELLS`.
        units: width of each layer.
        bidirectional: each layer runs both ways, and gives both results side by side.
        dropout: share of the channels that each layer does not see; the same ones at every step of a sequence (Gal &
            Ghahramani 2016, arXiv:1512.05287).
        every_step: (N, T, units) instead of the state after the last step, (N, units).
        mask: symbolic bool (N, T), True where a step is one; None = the mask that `x` carries, if any.
        prefix: of the layers' names.

    Raises:
        UsageError: an unknown cell, or widths that are none.
    """
    import keras

    kind = cell_layer(cell)
    if not units or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in units):
        raise UsageError("Recurrent layers have positive widths.", received=repr(units), hint="units=[64, 64]")
    given = {} if mask is None else {"mask": mask}
    for number, width in enumerate(units, 1):
        if dropout:
            x = keras.layers.SpatialDropout1D(dropout, name=f"{prefix}_dropout_{number}")(x)
        name = f"{prefix}_{cell}_{number}"
        layer = kind(width, return_sequences=every_step or number < len(units), name=name)
        if bidirectional:
            layer = keras.layers.Bidirectional(layer, name=f"{name}_both")
        x = layer(x, **given)
    return x
