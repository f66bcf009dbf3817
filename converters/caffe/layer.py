"""One Caffe layer as a translator sees it, and the table from layer types to translators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

__all__ = ["TRANSLATORS", "Blobs", "Layer", "layer_type"]


class Blobs(Protocol):
    """Where a layer's learned arrays come from: the weight file, an array shared with another layer, or a filler."""

    def __call__(self, layer: Layer, index: int, shape: tuple[int, ...], filler: Any) -> tuple[str, np.ndarray]: ...


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer after the upgrade to today's format, the rules of phase, level and stage applied.

    Args:
        name: Caffe's own; the weight file knows the layer by it.
        type: `Convolution`, `InnerProduct`, ... as today's format writes it.
        message: the `LayerParameter`; an absent field reads as Caffe's default.
        bottoms, tops: names of the blobs that it reads and writes, in order.
        stored: how many arrays the weight file has for it (0: none, fillers are used).
        blobs: looks up one learned array.
        unknown: fields that our description of the format does not have, as text format wrote them: name -> value,
            a dict for a message, a list where it was repeated. Translators of a user's own layers read them.
        place: where it stands, for messages: "deploy.prototxt, line 12"; empty where that is not known.
        phase: "train" or "test", or "fit": a layer of phase train for a framework whose own layers behave one way in
            training and another afterwards, so that it says dropout and normalisation as in phase test.
    """

    name: str
    type: str
    message: Any
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    stored: int = 0
    blobs: Blobs | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)
    phase: str = "test"
    place: str = ""

    def blob(self, index: int, shape: Sequence[int], filler: Any = None) -> tuple[str, np.ndarray]:
        """The learned array `index`.

        Args:
            index: as in Caffe's `layer.blobs`.
            shape: what the layer's parameters and input ask for.
            filler: the `FillerParameter` for a layer that the weight file does not have; None = zeros.

        Returns:
            Name (`<layer>/<index>`, of the first owner where the array is shared) and float32 array of that shape.

        Raises:
            WeightsMismatchError: the file's array has another shape.
        """
        assert self.blobs is not None
        return self.blobs(self, index, tuple(int(size) for size in shape), filler)


Translator = Callable[..., Any]

TRANSLATORS: dict[str, Translator] = {}
"""Layer type -> function of (builder, layer, *bottom values) that returns one value a top."""


def layer_type(*types: str) -> Callable[[Translator], Translator]:
    """Register a translator for one or several layer types; a later one takes the place of an earlier one.

    The function is called as `translate(g, layer, *bottoms)`: `g` is the `Builder`, the bottoms are its `Value`s. It
    returns the tops: one value, or a tuple of one value for each top.
    """

    def register(translate: Translator) -> Translator:
        for name in types:
            TRANSLATORS[name] = translate
        return translate

    return register
