"""The networks of deep Q-learning as data: convolutions, hidden layers, one stream or two (dueling)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelzoo.errors import UsageError

__all__ = ["MNIH_2015", "Architecture", "head_layers"]

MNIH_2015 = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Filters, kernel, stride of the convolutions for 84 x 84 pixels."""

_SMALL = ((16, 3, 1),)  # of maps of 10 x 10 places (Young & Tian 2019)


@dataclass(frozen=True)
class Architecture:
    """From an observation to a value for each action.

    Attributes:
        hidden: widths of the hidden layers, ReLU.
        convolutions: (filters, kernel, stride) of layers before them, ReLU, no padding.
        dueling: the last hidden layer is there twice, for the value of the state and for the advantage of each action:
            Q = V + A - mean(A) (Wang et al. 2016, equation 9).

    Raises:
        UsageError: widths that are no positive numbers.
    """

    hidden: tuple[int, ...] = (128, 128)
    convolutions: tuple[tuple[int, int, int], ...] = ()
    dueling: bool = False

    def __post_init__(self) -> None:
        numbers = [*self.hidden, *(number for layer in self.convolutions for number in layer)]
        if any(type(number) is not int or number < 1 for number in numbers):
            raise UsageError("Widths of layers are positive whole numbers.", received=repr(self))
        if any(len(layer) != 3 for layer in self.convolutions):
            raise UsageError("A convolution is given by filters, kernel and stride.", received=repr(self.convolutions))
        if self.dueling and not self.hidden:
            raise UsageError("The two streams of a dueling network need a hidden layer.", received=repr(self))

    @classmethod
    def for_kind(cls, kind: str, shape: Sequence[int], *, dueling: bool = False) -> Architecture:
        """The usual network for an observation of `Environment.kind` and shape."""
        if kind == "picture":
            side = min(shape[:2])
            return cls((512,), MNIH_2015 if side >= 36 else ((32, 4, 2), (64, 3, 1)), dueling)
        if kind == "planes" and min(shape[:2]) >= 3:
            return cls((128,), _SMALL, dueling)
        return cls(dueling=dueling)

    def __call__(self, x: Any, actions: int) -> Any:
        """Q values, float32 (N, actions), of a symbolic observation (N, ...) whose numbers are of order 1.

        Raises:
            UsageError: a convolution is larger than what it is to run over.
        """
        import keras

        layers = keras.layers
        for number, (filters, kernel, stride) in enumerate(self.convolutions, 1):
            _check_convolution(tuple(x.shape[1:]), kernel)
            x = layers.Conv2D(filters, kernel, stride, activation="relu", name=f"conv_{number}")(x)
        if len(x.shape) > 2:
            x = layers.Flatten(name="flatten")(x)
        shared = self.hidden[:-1] if self.dueling else self.hidden
        for number, width in enumerate(shared, 1):
            x = layers.Dense(width, activation="relu", name=f"hidden_{number}")(x)
        if not self.dueling:
            return layers.Dense(actions, name="q_values")(x)
        width = self.hidden[-1]
        value = layers.Dense(width, activation="relu", name="value_hidden")(x)
        value = layers.Dense(1, name="value")(value)
        advantage = layers.Dense(width, activation="relu", name="advantage_hidden")(x)
        advantage = layers.Dense(actions, name="advantage")(advantage)
        return value + advantage - keras.ops.mean(advantage, axis=-1, keepdims=True)

    def shapes(self, shape: Sequence[int], actions: int) -> dict[str, tuple[int, ...]]:
        """{"layer/kernel" or "layer/bias": shape} of the layers for an observation; nothing is allocated.

        Raises:
            UsageError: a convolution is larger than what it is to run over.
        """
        found: dict[str, tuple[int, ...]] = {}

        def add(name: str, *kernel: int) -> None:
            found[f"{name}/kernel"], found[f"{name}/bias"] = kernel, kernel[-1:]

        seen = tuple(shape)
        for number, (filters, kernel, stride) in enumerate(self.convolutions, 1):
            _check_convolution(seen, kernel)
            add(f"conv_{number}", kernel, kernel, seen[-1], filters)
            seen = ((seen[0] - kernel) // stride + 1, (seen[1] - kernel) // stride + 1, filters)
        width = math.prod(seen)
        shared = self.hidden[:-1] if self.dueling else self.hidden
        for number, wide in enumerate(shared, 1):
            add(f"hidden_{number}", width, wide)
            width = wide
        if not self.dueling:
            add("q_values", width, actions)
            return found
        for name, out in (("value", 1), ("advantage", actions)):
            add(f"{name}_hidden", width, self.hidden[-1])
            add(name, self.hidden[-1], out)
        return found

    def build(self, shape: Sequence[int], dtype: str, scale: float, actions: int, seed: int) -> Any:
        """keras.Model: observation (N, *shape) of `dtype` -> Q values (N, actions), weights drawn from the seed."""
        import keras

        x = inputs = keras.Input(tuple(shape), dtype=dtype, name="observation")
        if scale != 1 or dtype != "float32":
            x = keras.layers.Rescaling(scale, name="scale")(x)
        model = keras.Model(inputs, self(x, actions), name="q_network")
        from modelzoo.finetune.seeding import seed_layers

        seed_layers(head_layers(model), seed)
        return model

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them."""
        return {
            "hidden": list(self.hidden),
            "convolutions": [list(layer) for layer in self.convolutions],
            "dueling": self.dueling,
        }

    @classmethod
    def from_dict(cls, raw: Any) -> Architecture:
        """From a description.

        Raises:
            UsageError: it is none.
        """
        if not isinstance(raw, Mapping) or set(raw) != {"hidden", "convolutions", "dueling"}:
            raise UsageError("A network is described by hidden, convolutions, dueling.", received=repr(raw)[:200])
        try:
            convolutions: Any = tuple(tuple(layer) for layer in raw["convolutions"])
            return cls(tuple(raw["hidden"]), convolutions, bool(raw["dueling"]))
        except TypeError:
            raise UsageError("A network is described by lists of whole numbers.", received=repr(raw)[:200]) from None


def _check_convolution(shape: Sequence[int], kernel: int) -> None:
    if len(shape) != 3 or min(shape[:2]) < kernel:
        raise UsageError(
            "The observation is too small for the network's convolutions.",
            received=f"{tuple(shape)}, kernel {kernel}",
            hint="give an Architecture of your own",
        )


_NAMES = re.compile(r"(conv|hidden)_\d+|(value|advantage)(_hidden)?|q_values")


def head_layers(model: Any) -> list[Any]:
    """The layers of a network that `Architecture` made, in their order: of a torso none."""
    return [layer for layer in model.layers if _NAMES.fullmatch(layer.name)]
