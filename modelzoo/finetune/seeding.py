"""Initial numbers from one seed, with no global generator touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["seed_layers"]


def seed_layers(layers: Iterable[Any], seed: int) -> None:
    """Draw the random weights of built layers anew, and set the states of their generators (Dropout).

    Args:
        layers: in a fixed order; composite layers are entered.
        seed: the same seed gives the same numbers in every process.
    """
    import numpy as np

    number = 0
    for layer in [leaf for outer in layers for leaf in outer._flatten_layers()]:
        for attribute, initializer in sorted(vars(layer).items()):
            name = attribute.removesuffix("_initializer")
            # `recurrent_initializer` is that of `recurrent_kernel`, `depthwise_initializer` of `depthwise_kernel`.
            variable = getattr(layer, name, None)
            variable = getattr(layer, f"{name}_kernel", None) if variable is None else variable
            if not attribute.endswith("_initializer") or not hasattr(initializer, "seed") or variable is None:
                continue
            number += 1
            drawn = int(np.random.default_rng([seed, number]).integers(2**31))
            again = type(initializer).from_config({**initializer.get_config(), "seed": drawn})
            variable.assign(again(variable.shape, dtype=variable.dtype))
        seed_generators([layer], seed)


def seed_generators(layers: Iterable[Any], seed: int) -> None:
    """Set the states of the layers' generators alone; pretrained weights stay as they are."""
    import zlib

    import numpy as np

    for layer in layers:
        for place, generator in enumerate(layer._seed_generators):
            name = zlib.crc32(layer.name.encode())
            state = np.random.default_rng([seed, name, place]).integers(2**31, size=generator.state.shape)
            generator.state.assign(state.astype(str(generator.state.dtype)))
