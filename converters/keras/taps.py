"""A named value inside a model, as every source of models gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Tap"]


@dataclass
class Tap:
    """A named value inside a network.

    Attributes:
        name: the source's own.
        tensor: the symbolic Keras tensor.
        end_point: whether the source lists it among its end points (of a converted graph: always).
    """

    name: str
    tensor: Any
    end_point: bool
