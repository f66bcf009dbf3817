"""Which blobs come from outside: the tops of Input layers and of layers that read data, and their shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from converters.caffe.layer import TRANSLATORS
from modelzoo.errors import ConversionError, InvalidGraphError, nearest

__all__ = ["Inputs", "Shape", "find_inputs"]

Shape = tuple[int, ...]

_CONSTANTS = frozenset(["DummyData", "Parameter"])  # no bottoms either, but nothing from outside


@dataclass
class Inputs:
    """What `find_inputs` finds.

    Attributes:
        inputs: (blob, shape), in the order of the layers.
        layers: the messages of the other layers.
        transform: the `TransformationParameter` of the first data layer that has one.
    """

    inputs: list[tuple[str, Shape]] = field(default_factory=list)
    layers: list[Any] = field(default_factory=list)
    transform: Any = None


def find_inputs(layers: Sequence[Any], names: Sequence[str], given: Mapping[str, Sequence[int]]) -> Inputs:
    """Separate the layers that bring something in from those that compute.

    Args:
        layers: `LayerParameter`s of the phase.
        names: the network's own `input` fields, whether or not they have a shape.
        given: blob -> shape, as the user says. What a data layer brings beside its first top (labels) is an input only
            if it is named here; else what reads it (losses, accuracies) is left out too.

    Raises:
        ConversionError: an input whose shape nobody says, or a shape for a blob that is no input.
        InvalidGraphError: an Input layer whose shapes do not fit its tops.
    """
    shapes = {name: _checked(name, shape) for name, shape in given.items()}
    read = {blob for layer in layers for blob in layer.bottom}
    found = Inputs()
    written: set[str] = set()
    absent: set[str] = set()
    for layer in layers:
        if not absent.isdisjoint(layer.bottom):
            absent.update(blob for blob in layer.top if blob not in written)
            continue
        if (
            layer.bottom
            or layer.type in _CONSTANTS
            or (layer.type not in ("Input", "Python") and layer.type in TRANSLATORS)
        ):
            # What no layer before writes, the user may bring in: a data layer of another phase had it.
            for blob in layer.bottom:
                if blob not in written and (blob in shapes or blob in names):
                    _add(found, layer, blob, shapes.get(blob), None, written)
            found.layers.append(layer)
            written.update(layer.top)
            continue
        if layer.type != "Input" and found.transform is None and layer.HasField("transform_param"):
            found.transform = layer.transform_param
        own = _input_shapes(layer) if layer.type == "Input" else _data_shapes(layer, shapes)
        for blob in layer.top:
            shape = shapes.get(blob, own.get(blob))
            if shape is None and blob not in read and layer.type != "Input":
                continue
            if layer.type != "Input" and blob in layer.top[1:] and blob not in shapes:
                absent.add(blob)
                continue
            _add(found, layer, blob, shape, own.get(""), written)
    unused = [name for name in shapes if name not in dict(found.inputs)]
    if unused:
        close = nearest(unused[0], dict(found.inputs))
        raise ConversionError(
            f"The network has no input {unused[0]!r} whose shape could be given.",
            received=f"inputs={{{unused[0]!r}: {shapes[unused[0]]}}}",
            hint=f"did you mean {close[0]!r}?" if close else f"its inputs: {', '.join(dict(found.inputs)) or 'none'}",
        )
    return found


def _add(found: Inputs, layer: Any, blob: str, shape: Shape | None, guess: Shape | None, written: set[str]) -> None:
    if blob in written:
        raise InvalidGraphError(f"Blob {blob!r} is an input, and something else before it.", received=blob)
    if shape is None:
        example = guess or (1, 3, 224, 224)
        raise ConversionError(
            f"The shape of the input {blob!r} is not known: "
            + (
                f"layer {layer.name!r} ({layer.type}) takes it from its data."
                if blob in layer.top and layer.type != "Input"
                else "none is written."
            ),
            received=blob,
            hint=f"say it: inputs={{{blob!r}: {example}}}",
        )
    found.inputs.append((blob, shape))
    written.add(blob)


def _checked(name: str, shape: Sequence[int]) -> Shape:
    try:
        sizes = tuple(int(size) for size in shape)
    except (TypeError, ValueError):
        sizes = (0,)
    if any(size < 1 for size in sizes):
        raise ConversionError(
            f"An input's shape is a list of sizes from 1 on; that of {name!r} is none.",
            received=shape,
            hint=f"inputs={{{name!r}: (1, 3, 224, 224)}}",
        )
    return sizes


def _input_shapes(layer: Any) -> dict[str, Shape]:
    """Blob -> shape: one shape for all tops, or one for each."""
    shapes = [tuple(int(size) for size in shape.dim) for shape in layer.input_param.shape]
    if len(shapes) > 1 and len(shapes) != len(layer.top):
        raise InvalidGraphError(
            f"Layer {layer.name!r} (Input) has {len(layer.top)} tops and {len(shapes)} shapes.",
            received=str(shapes),
            hint="write one shape for all tops, or one for each",
        )
    if not shapes:
        return {}
    if len(shapes) == 1:
        shapes *= len(layer.top)
    return {top: _checked(top, shape) for top, shape in zip(layer.top, shapes, strict=True)}


def _data_shapes(layer: Any, given: Mapping[str, Shape]) -> dict[str, Shape]:
    """Blob -> shape of a data layer, as far as its parameters say it; "" -> a guess for the message."""
    if not layer.top:
        return {}
    first, batch, channels, height, width = layer.top[0], 0, 0, 0, 0
    transform = layer.transform_param
    for name in ("data_param", "image_data_param", "dense_image_data_param", "hdf5_data_param", "window_data_param"):
        if layer.HasField(name):
            batch = getattr(layer, name).batch_size or 0
    if layer.type == "MemoryData":
        param = layer.memory_data_param
        batch, channels, height, width = param.batch_size, param.channels, param.height, param.width
    elif layer.type in ("ImageData", "DenseImageData", "ImageSegData"):
        param = layer.dense_image_data_param if layer.HasField("dense_image_data_param") else layer.image_data_param
        channels, height, width = 3 if param.is_color else 1, param.new_height, param.new_width
    elif layer.type == "WindowData":
        channels, height = 3, layer.window_data_param.crop_size
        width = height
    if transform.HasField("resize_param") and transform.resize_param.height:
        height, width = transform.resize_param.height, transform.resize_param.width
    if transform.crop_size or transform.crop_h:
        height, width = transform.crop_h or transform.crop_size, transform.crop_w or transform.crop_size
    if not channels:
        channels = 3 if transform.force_color or len(transform.mean_value) == 3 else 1 if transform.force_gray else 0
    shapes: dict[str, Shape] = {}
    sizes = (batch, channels, height, width)
    if all(sizes):
        shapes[first] = sizes
    shapes[""] = tuple(size or usual for size, usual in zip(sizes, (1, 3, 224, 224), strict=True))
    count = given[first][0] if given.get(first) else batch
    for blob in layer.top[1:]:
        # Whatever Python and HDF5 layers bring, only their labels are known to be one number a picture.
        if count and (layer.type in _LABELLED or "label" in blob.lower()):
            shapes[blob] = (count,)
    return shapes


_LABELLED = frozenset(["Data", "ImageData", "MemoryData", "WindowData"])
"""Types whose second top is the label."""
