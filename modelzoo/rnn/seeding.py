"""Initial recurrent kernels from one seed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["seed_recurrent"]


def seed_recurrent(layers: Iterable[Any], seed: int) -> None:
    """Draw the recurrent kernels of built layers anew, each by its own initialiser.

    Args:
        layers: in a fixed order; composite layers are entered.
        seed: the same seed gives the same numbers in every process.
    """
    import numpy as np

    cells = [leaf for outer in layers for leaf in outer._flatten_layers() if hasattr(leaf, "recurrent_initializer")]
    for number, cell in enumerate(cell for cell in cells if getattr(cell, "recurrent_kernel", None) is not None):
        initializer, variable = cell.recurrent_initializer, cell.recurrent_kernel
        if hasattr(initializer, "seed"):
            drawn = int(np.random.default_rng([seed, 0x4EC, number]).integers(2**31))
            again = type(initializer).from_config({**initializer.get_config(), "seed": drawn})
            variable.assign(again(variable.shape, dtype=variable.dtype))
