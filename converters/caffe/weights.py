"""Learned arrays of a network's layers: from the weight file, shared with another layer, or filled."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.caffe.fillers import fill
from converters.caffe.layer import Layer
from converters.caffe.schema import STANDARD_TYPES
from modelzoo.errors import CheckpointFormatError, InvalidGraphError, WeightsMismatchError

__all__ = ["Weights", "open_weights"]

_PERMISSIVE = 1  # ParamSpec.DimCheckMode
_LEARNING = frozenset(
    [
        *("BatchNorm", "Bias", "Convolution", "Deconvolution", "Embed", "InnerProduct"),
        *("LSTM", "PReLU", "Parameter", "Python", "RNN", "Scale"),
    ]
)
"""The types of BVLC Caffe that have learned arrays."""
_HDF5_ROOT = "data/"


@dataclass
class Stored:
    """The arrays of a weight file.

    Attributes:
        name: of the file, for messages.
        arrays: `<layer>/<index>` -> array; read when asked for.
        layers: layer -> how many arrays the file has for it.
        legacy: the arrays whose shape has four axes for want of fewer.
        prefix: what the file has in front of its names.
    """

    name: str = ""
    arrays: Mapping[str, Any] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)
    legacy: frozenset[str] = frozenset()
    prefix: str = ""

    def has(self, key: str) -> bool:
        return self.prefix + key in self.arrays

    def read(self, key: str) -> np.ndarray:
        return np.asarray(np.asarray(self.arrays[self.prefix + key]), np.float32)


def open_weights(weights: Any) -> Stored:
    """The arrays that a file, an open checkpoint or a mapping has, by layer and number.

    Args:
        weights: the path of a `.caffemodel` or of HDF5 weights (told by content), a `Checkpoint`, a mapping
            `<layer>/<index>` -> array, or None.

    Raises:
        CheckpointError, CheckpointFormatError: the file cannot be read, or has no arrays by layer and number.
    """
    if weights is None:
        return Stored()
    if isinstance(weights, str | os.PathLike):
        from modelzoo.checkpoints import open_checkpoint

        weights = open_checkpoint(weights)
    name = weights.path.name if hasattr(weights, "path") else "the mapping"
    if hasattr(weights, "layers") and hasattr(weights, "legacy"):
        return Stored(name, weights, dict(weights.layers), weights.legacy)
    names = list(weights)
    prefix = _HDF5_ROOT if names and all(one.startswith(_HDF5_ROOT) for one in names) else ""
    layers: dict[str, int] = {}
    for one in names:
        layer, slash, number = one[len(prefix) :].rpartition("/")
        if slash and number.isdecimal():
            layers[layer] = layers.get(layer, 0) + 1
    if names and not layers:
        raise CheckpointFormatError(
            f"{name} has no arrays of Caffe's layers.",
            received=", ".join(names[:5]),
            hint="a .caffemodel, or HDF5 weights of Caffe, name them by layer and number: conv1/0",
        )
    return Stored(name, weights, layers, prefix=prefix)


@dataclass
class Weights:
    """Looks up learned arrays for `Layer.blob`.

    Attributes:
        stored: the weight file's arrays.
        filled: names of the arrays that were filled, because the file has no layer of that name.
    """

    stored: Stored
    filled: list[str] = field(default_factory=list)
    _alias: dict[int, str] = field(default_factory=dict)  # id of a layer that is not the first of its name
    _members: dict[str, list[tuple[Layer, int]]] = field(default_factory=dict)  # parameter name -> who shares it
    _made: dict[tuple[str, int], tuple[str, np.ndarray]] = field(default_factory=dict)
    _owned: dict[str, tuple[Layer, str, np.ndarray]] = field(default_factory=dict)  # parameter name -> owner, array
    _asked: dict[str, set[int]] = field(default_factory=dict)

    def take(self, layers: Iterable[Layer]) -> None:
        """Learn which layers there are: whose name comes first, and who shares what."""
        seen: dict[str, int] = {}
        for layer in layers:
            seen[layer.name] = seen.get(layer.name, 0) + 1
            if seen[layer.name] > 1:
                self._alias[id(layer)] = f"{layer.name}#{seen[layer.name]}"
            for index, spec in enumerate(layer.message.param):
                if spec.name:
                    self._members.setdefault(spec.name, []).append((layer, index))

    def count(self, layer: Layer) -> int:
        """How many arrays the file has for the layer."""
        return 0 if id(layer) in self._alias else self.stored.layers.get(layer.name, 0)

    def __call__(self, layer: Layer, index: int, shape: tuple[int, ...], filler: Any) -> tuple[str, np.ndarray]:
        own = self._alias.get(id(layer), layer.name)
        known = self._made.get((own, index))
        if known is not None and known[1].shape == shape:
            return known
        if own == layer.name:
            self._asked.setdefault(own, set()).add(index)
        params = layer.message.param
        shared = str(params[index].name) if index < len(params) else ""
        if shared in self._owned:
            result = self._shared(layer, index, shape, shared)
        else:
            name = f"{own}/{index}"
            array = self._from_file(layer, index, shape, shared)
            if array is None:
                array = fill(name, shape, filler)
                self.filled.append(name)
            result = (name, array)
            if shared:
                self._owned[shared] = (layer, *result)
        self._made[own, index] = result
        return result

    def _shared(self, layer: Layer, index: int, shape: tuple[int, ...], shared: str) -> tuple[str, np.ndarray]:
        """The array of the layer that had the parameter's name first."""
        owner, name, array = self._owned[shared]
        if array.shape == shape:
            return name, array
        permissive = layer.message.param[index].share_mode == _PERMISSIVE
        if not permissive or array.size != math.prod(shape):
            raise InvalidGraphError(
                f"Layers {owner.name!r} and {layer.name!r} cannot share the parameter {shared!r}: "
                + ("it is of another size." if permissive else "its shape differs."),
                received=f"{list(array.shape)} and {list(shape)}",
                hint="share_mode: PERMISSIVE lets arrays of one size share" if array.size == math.prod(shape) else None,
            )
        return name, array.reshape(shape)

    def _from_file(self, layer: Layer, index: int, shape: tuple[int, ...], shared: str) -> np.ndarray | None:
        """The file's array, None where the file has no such layer."""
        if shared:
            # Caffe copies each of them into the one array, in the order of the file: the last one stays.
            members = {member.name: number for member, number in self._members[shared] if id(member) not in self._alias}
            for name in reversed(self.stored.layers):
                if name in members and self.stored.has(f"{name}/{members[name]}"):
                    array = self._checked(f"{name}/{members[name]}", shape, anyhow=name != layer.name)
                    if array is not None:
                        return array
        if id(layer) in self._alias or layer.name not in self.stored.layers:
            return None
        if not self.stored.has(f"{layer.name}/{index}"):
            raise WeightsMismatchError(
                f"{self.stored.name} has {self.stored.layers[layer.name]} arrays for layer {layer.name!r}"
                f" ({layer.type}), and the network asks for more.",
                missing=[f"{layer.name}/{index}"],
                hint="to keep what the layer is filled with, give it another name than the file's",
            )
        return self._checked(f"{layer.name}/{index}", shape)

    def _checked(self, key: str, shape: tuple[int, ...], *, anyhow: bool = False) -> np.ndarray | None:
        """The file's array in this shape; of a layer that shares (`anyhow`) only the size has to be right."""
        array = self.stored.read(key)
        if array.shape == shape:
            return array
        padded = (1,) * (4 - len(shape)) + shape
        if array.size == math.prod(shape) and (anyhow or (key in self.stored.legacy and array.shape == padded)):
            return array.reshape(shape)
        if anyhow:
            return None
        raise WeightsMismatchError(
            f"An array of {self.stored.name} does not fit the network.",
            mismatched=[f"{key}: file {_text(array.shape)}, network {_text(shape)}"],
            hint="to keep what the layer is filled with, give it another name than the file's",
        )

    def check(self, layers: Iterable[Layer]) -> None:
        """Compare, after the translation, what the file has with what was asked for.

        Raises:
            WeightsMismatchError: the file has more arrays for a layer than it takes, or no layer at all of the network.
        """
        wrong = []
        for layer in layers:
            have = self.count(layer)
            asked = len(self._asked.get(layer.name, ()))
            learns = asked or layer.type in _LEARNING or layer.type not in STANDARD_TYPES
            if have > asked and (asked or not learns):
                wrong.append(f"{layer.name}: file {have} arrays, network {asked} ({layer.type})")
        if wrong:
            raise WeightsMismatchError(
                f"{self.stored.name} has more arrays for some layers than they take.",
                mismatched=wrong,
                hint="check the types and bias_term of these layers",
            )
        if self._asked and self.stored.layers and not any(name in self.stored.layers for name in self._asked):
            raise WeightsMismatchError(
                f"{self.stored.name} has none of the network's layers.",
                missing=list(self._asked),
                unexpected=[name for name, count in self.stored.layers.items() if count],
                hint="these are the weights of another network",
            )


def _text(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
