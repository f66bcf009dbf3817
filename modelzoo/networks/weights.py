"""Arrays on their way into layers: copied once, never initialised, and every name accounted for."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from converters.keras.weights import FromArray, alike_named
from modelzoo.errors import WeightsMismatchError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ArraySource", "FromArray", "alike_named", "covers_map"]

_log = logging.getLogger("modelzoo")

_AVERAGE = "/ExponentialMovingAverage"

# What a training run leaves in a checkpoint beside the network's own variables.
_TRAINING_LEFTOVERS = re.compile(
    r"(^|/)global_step$"
    r"|/(ExponentialMovingAverage|RMSProp(_\d+)?|Momentum|Adam(_\d+)?|Adagrad|Adadelta(_\d+)?|Ftrl(_\d+)?)$"
    r"|(^|/)(beta\d_power|save_counter)$"
    r"|^_CHECKPOINTABLE_OBJECT_GRAPH$"
)


class ArraySource:
    """The arrays of a checkpoint as a network asks for them, by the checkpoint's own names.

    Where a variable and its moving average are both there, the average is taken, since published accuracies are
    those of the averages. Missing and misshapen arrays are collected, not raised one at a time; `finish` raises
    with all of them.

    Args:
        arrays: name -> array, usually a `modelzoo.checkpoints.Checkpoint`; None = an untrained network.
        ignore: names (regular expression) that the file may hold and this build of the network does not use.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray] | None, ignore: str | None = None) -> None:
        self._arrays = arrays
        self._ignore = re.compile(ignore) if ignore else None
        self._shapes: Mapping[str, Any] | None = getattr(arrays, "entries", None)
        self.used: dict[str, str] = {}
        self.averaged: list[str] = []
        self.missing: list[str] = []
        self.mismatched: list[str] = []

    @property
    def trained(self) -> bool:
        """Whether there are arrays at all."""
        return self._arrays is not None

    def initializer(
        self, name: str, shape: Sequence[int], change: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> FromArray | None:
        """The initialiser that gives array `name` of `shape`; None where the layer shall keep its own.

        The shape is compared before the array is touched, so nothing of a size that the file claims is allocated.
        """
        if self._arrays is None:
            return None
        source = name
        if name + _AVERAGE in self._arrays:
            source = name + _AVERAGE
            self.averaged.append(name)
        elif name not in self._arrays:
            self.missing.append(name)
            return None
        self.used[source] = name
        found = tuple(self._shapes[source].shape if self._shapes is not None else self._arrays[source].shape)
        if found != tuple(shape) and not covers_map(found, tuple(shape)):
            self.mismatched.append(f"{name}: file {found}, network {tuple(shape)}")
            return None
        array = self._arrays[source]
        if found != tuple(shape):
            array = array.reshape(tuple(shape))
        return FromArray(array if change is None else change(array))

    def finish(self, network: str) -> None:
        """Raise `WeightsMismatchError` unless file and network agreed on every name and shape."""
        if self._arrays is None:
            return
        known = set(self.used) | set(self.used.values())
        unexpected = [
            name
            for name in self._arrays
            if name not in known
            and not _TRAINING_LEFTOVERS.search(name)
            and not (self._ignore and self._ignore.search(name))
        ]
        if self.averaged:
            _log.info("%s: %d variables are moving averages", network, len(self.averaged))
        if self.missing or self.mismatched or unexpected:
            raise WeightsMismatchError(
                f"The weights do not fit the network {network!r}: {len(self.missing)} missing, "
                f"{len(self.mismatched)} of another shape, {len(unexpected)} unknown to it.",
                missing=self.missing,
                unexpected=unexpected,
                mismatched=self.mismatched,
                hint="check that the file belongs to this network and variant; for another number of classes "
                "pass classes=N (a new head), without a head include_top=False",
            )


def covers_map(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether one is a convolution's kernel (H, W, C, N) and the other that of the same product, (H * W * C, N)."""
    conv, dense = (one, other) if len(one) > len(other) else (other, one)
    return len(conv) == 4 and len(dense) == 2 and (math.prod(conv[:3]), conv[3]) == dense
