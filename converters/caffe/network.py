"""A Caffe network ready for translation: read, upgraded, filtered, its inputs and weights found."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.caffe.inputs import Shape, find_inputs
from converters.caffe.layer import Layer
from converters.caffe.schema import STANDARD_TYPES, is_repeated, message_class
from converters.caffe.text import Definition, parse_prototxt, read_prototxt
from converters.caffe.upgrade import upgrade
from converters.caffe.weights import Weights, open_weights
from modelzoo.errors import ConversionError, InvalidGraphError, UsageError

__all__ = ["Network", "read_network"]

_PHASES = {"train": 0, "test": 1}
_COLLIDING = range(130, 200)  # numbers in LayerParameter that forks gave to parameters of their own


@dataclass(frozen=True, eq=False)
class Network:
    """A network in today's format, for one phase.

    Attributes:
        name: the network's own.
        inputs: (blob, shape) of each input, in order; shapes are the network's own, channels before height and width.
        layers: all but those that only bring data, in order.
        weights: where the layers' learned arrays come from.
        transform: the `TransformationParameter` of the phase's data layer; None where there is none.
        phase: "train" or "test".
    """

    name: str
    inputs: list[tuple[str, Shape]]
    layers: list[Layer]
    weights: Weights = field(repr=False)
    transform: Any = field(default=None, repr=False)
    phase: str = "test"

    def check_weights(self) -> None:
        """Compare, after the translation, the weight file with what the layers asked for.

        Raises:
            WeightsMismatchError: the file has more arrays for a layer than it takes, or no layer at all of the network.
        """
        self.weights.check(self.layers)


def read_network(
    prototxt: str | os.PathLike[str],
    weights: Any = None,
    *,
    phase: str = "test",
    stages: Sequence[str] = (),
    level: int = 0,
    inputs: Mapping[str, Sequence[int]] | None = None,
) -> Network:
    """Read a network of any of Caffe's formats.

    Args:
        prototxt: path of the network's text, or of a caffemodel, which has the network too.
        weights: path of a `.caffemodel` or of HDF5 weights (told by content), a `Checkpoint`, or a mapping
            `<layer>/<index>` -> array. None: the caffemodel that `prototxt` is, else every array is filled as its
            layer says.
        phase: "test" or "train": which layers count, and how they behave.
        stages: names of stages, besides those of the network's own `state`.
        level: of the network's state; 0 leaves the network's own.
        inputs: blob -> shape, for inputs whose shape the network does not say (as of most data layers), or instead of
            what it says.

    Returns:
        The network. Its arrays are read when a layer asks for them.

    Raises:
        ConversionError: a file that cannot be read, or an input without a shape.
        InvalidGraphError: what it says contradicts Caffe's format.
        CheckpointError: the weight file cannot be used.
        UsageError: there is no such phase.
    """
    if phase not in _PHASES:
        raise UsageError("The phase is 'test' or 'train'.", received=repr(phase))
    definition = _read(Path(prototxt))
    if definition is None:
        weights = prototxt if weights is None else weights
        definition = _architecture(Path(prototxt))
    if not definition.net.layer and not definition.net.layers:
        raise InvalidGraphError("The network has no layers.", received=str(prototxt))
    net = upgrade(definition.net)
    state = net.state
    state.phase = _PHASES[phase]
    state.level = level or state.level
    state.stage.extend(stages)
    written = list(net.layer)
    places = _places(written, definition, Path(prototxt).name)
    kept = [message for message in written if _is_in(message, state, places.get(id(message), ""))]
    found = find_inputs(kept, definition.net.input, inputs or {})
    lookup = Weights(open_weights(weights))
    layers = [_layer(message, definition, lookup, phase, places.get(id(message), "")) for message in found.layers]
    lookup.take(layers)
    for layer in layers:
        object.__setattr__(layer, "stored", lookup.count(layer))
    return Network(net.name, found.inputs, layers, lookup, found.transform, phase)


def _read(path: Path) -> Definition | None:
    """What a prototxt says; None for a caffemodel."""
    try:
        with path.open("rb") as file:
            start = file.read(1 << 16)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ConversionError(
            f"{path.name} cannot be read: {error.strerror}.", received=str(path), hint="check the path"
        ) from error
    from modelzoo.checkpoints.caffemodel import looks_like_caffemodel

    if looks_like_caffemodel(start, size):
        return None
    if not start.strip():
        return parse_prototxt(start, name=path.name)
    return read_prototxt(path)


def _architecture(path: Path) -> Definition:
    """The network that a caffemodel describes.

    Raises:
        InvalidGraphError: it is damaged.
        ConversionError: a layer has parameters of a fork, whose numbers mean different things in different forks.
    """
    from google.protobuf.message import DecodeError
    from google.protobuf.unknown_fields import UnknownFieldSet

    from modelzoo.checkpoints.caffemodel import CaffemodelCheckpoint

    checkpoint = CaffemodelCheckpoint(path)
    data = checkpoint.architecture
    checkpoint.close()
    try:
        net = message_class("NetParameter").FromString(data)
        _repair_texts(net)
    except (DecodeError, UnicodeDecodeError) as error:
        raise InvalidGraphError(
            f"{path.name} does not describe a network.", received=str(error), hint="give its prototxt too"
        ) from error
    for layer in [*net.layer, *net.layers]:
        is_standard = layer.DESCRIPTOR.name != "LayerParameter" or layer.type in STANDARD_TYPES
        if len(UnknownFieldSet(layer)) or not (
            is_standard or all(item.number not in _COLLIDING for item, _ in layer.ListFields())
        ):
            raise ConversionError(
                f"Layer {layer.name!r} of {path.name} has parameters whose meaning only its fork of Caffe knows.",
                received=f"type {layer.type!r}",
                hint="give the prototxt of the network too: its parameters have names",
            )
        layer.ClearField("others")
    return Definition(net)


def _repair_texts(message: Any) -> None:
    """Let texts that are not UTF-8, which protobuf hands out as bytes, be Latin-1."""
    for description, value in message.ListFields():
        if description.message_type is not None:
            for inner in value if is_repeated(description) else [value]:
                _repair_texts(inner)
        elif description.type == description.TYPE_STRING:
            if not is_repeated(description):
                if isinstance(value, bytes):
                    setattr(message, description.name, value.decode("latin-1"))
            elif any(isinstance(item, bytes) for item in value):
                value[:] = [item.decode("latin-1") if isinstance(item, bytes) else item for item in value]


def _is_in(layer: Any, state: Any, place: str) -> bool:
    """Whether a layer belongs to the network in this state."""
    if layer.include and layer.exclude:
        raise InvalidGraphError(
            (f"{place}: " if place else "") + f"Layer {layer.name!r} has both include and exclude rules.",
            received=f"{len(layer.include)} and {len(layer.exclude)}",
            hint="Caffe takes either, not both: leave one kind out",
        )
    if layer.include:
        return any(_meets(rule, state) for rule in layer.include)
    return not any(_meets(rule, state) for rule in layer.exclude)


def _meets(rule: Any, state: Any) -> bool:
    return (
        not (rule.HasField("phase") and rule.phase != state.phase)
        and not (rule.HasField("min_level") and state.level < rule.min_level)
        and not (rule.HasField("max_level") and state.level > rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )


def _places(messages: Sequence[Any], definition: Definition, file: str) -> dict[int, str]:
    """Id of each layer's message -> where it is written; layers of one name keep their order in the upgrade."""
    seen: Counter[str] = Counter()
    places = {}
    for message in messages:
        lines, number = definition.lines.get(message.name, ()), seen[message.name]
        seen[message.name] += 1
        if number < len(lines):
            places[id(message)] = f"{file}, line {lines[number]}"
    return places


def _layer(message: Any, definition: Definition, weights: Weights, phase: str, place: str) -> Layer:
    return Layer(
        name=message.name,
        type=message.type,
        message=message,
        bottoms=tuple(message.bottom),
        tops=tuple(message.top),
        blobs=weights,
        unknown=definition.others_of(message),
        phase=phase,
        place=place,
    )
