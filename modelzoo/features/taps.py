"""Taps: what can be had from inside a network, with shape, stride and channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from modelzoo.errors import UnknownTapError


@dataclass(frozen=True)
class TapInfo:
    """One tap.

    Attributes:
        name: the source's own name of the value.
        shape: its axes as Keras writes them, (None, H, W, C) or (None, C); None = any length.
        stride: how many input pixels lie between two neighbours of the map; None without height and width.
        channels: length of the last axis.
    """

    name: str
    shape: tuple[int | None, ...]
    stride: int | None
    channels: int | None


def describe_taps(taps: Mapping[str, Any]) -> dict[str, TapInfo]:
    """The facts of each tap.

    Args:
        taps: tap name -> symbolic tensor of a functional Keras model.
    """
    memory: dict[int, Fraction | None] = {}
    return {name: _describe(name, tensor, memory) for name, tensor in taps.items()}


def _describe(name: str, tensor: Any, memory: dict[int, Fraction | None]) -> TapInfo:
    shape = tuple(tensor.shape)
    step = _stride(tensor, memory) if len(shape) == 4 else None
    whole = None if step is None else max(1, round(step))
    return TapInfo(name, shape, whole, shape[-1] if shape else None)


def _stride(tensor: Any, memory: dict[int, Fraction | None]) -> Fraction | None:
    """Input pixels for each step along the height of `tensor`, by walking back through the layers' own strides.

    Walking is right for any input size, dynamic ones included, where dividing sizes would need them and would be
    off by the padding. Iterative: networks are deeper than Python's recursion likes.
    """
    pending = [tensor]
    while pending:
        current = pending[-1]
        if id(current) in memory:
            pending.pop()
            continue
        history = current._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        parents = list(node.input_tensors)
        unknown = [parent for parent in parents if id(parent) not in memory]
        if unknown:
            pending.extend(unknown)
            continue
        pending.pop()
        steps = [memory[id(parent)] for parent in parents]
        known = [step for step in steps if step is not None]
        if not parents:
            memory[id(current)] = Fraction(1)
        elif hasattr(history.operation, "output_stride"):  # a whole graph in one layer
            own = history.operation.output_stride(history.node_index, history.tensor_index)
            memory[id(current)] = max(known) * own if known and own is not None else None
        elif len(current.shape) != 4 or not known or "Global" in type(history.operation).__name__:
            memory[id(current)] = None
        else:
            memory[id(current)] = max(known) * _own_stride(history.operation)
    return memory[id(tensor)]


def _own_stride(layer: Any) -> Fraction:
    kind = type(layer).__name__
    if kind.startswith("UpSampling"):
        return Fraction(1, int(layer.size[0]))
    strides = getattr(layer, "strides", None)
    if strides is None:
        return Fraction(1)
    first = int(strides[0] if isinstance(strides, (tuple, list)) else strides)
    return Fraction(1, first) if "Transpose" in kind else Fraction(first)


def choose_taps(
    wanted: Iterable[str] | str, known: Mapping[str, Any], end_points: Iterable[str], owner: str
) -> list[str]:
    """The names to extract, checked: `"all"` gives the end points.

    Raises:
        UnknownTapError: a name is none of `known`; the nearest are listed.
    """
    if isinstance(wanted, str):
        wanted = list(end_points) if wanted == "all" else [wanted]
    # TensorFlow also writes `conv/Relu:0` for `conv/Relu`. Asked for twice is given once.
    names = list(dict.fromkeys(name if name in known else name.removesuffix(":0") for name in wanted))
    for name in names:
        if name not in known:
            error = UnknownTapError(name, known, what=f"{owner} has no tap {name!r}.")
            error.hint = f"{error.hint} " if error.hint else ""
            error.hint += f"All its taps: modelzoo taps {owner}"
            raise error
    return names
