"""Caffe network -> hub graph of standard ONNX operators."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import TRANSLATORS, Layer
from converters.caffe.network import Network
from converters.graph.naming import SOURCE_NAME
from modelzoo.errors import (
    ConversionError,
    InvalidGraphError,
    UnsupportedOperatorError,
    WeightsMismatchError,
    nearest,
)

__all__ = ["translate"]


def translate(network: Network) -> ir.Model:
    """Say each layer in ONNX' operators.

    Args:
        network: layers in order, after upgrade and filtering.

    Returns:
        A model whose inputs are the network's and whose outputs are the blobs that no layer reads, sorted by name.
        Every blob is a tensor of its own name, with the value it has in the end; the value before an in-place layer is
        `<blob>@<layer>`. An input that layers work on in place keeps its name, and the value it has in the end is
        `<blob>@end`. The first axis of the inputs is open unless some layer needs the number of pictures.

    Raises:
        UnsupportedOperatorError: a layer type without a translator.
        InvalidGraphError: a layer reads a blob that nobody writes, or two layers write one blob.
        ConversionError, WeightsMismatchError: a layer whose parameters, input and weights contradict each other.
    """
    import converters.caffe.layers

    converters.caffe.layers.load_all()
    return _Translation(network).run()


class _Translation:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.g = Builder(network.name or "caffe")
        self.blobs: dict[str, Value] = {}
        self.unread: dict[str, None] = {}
        self.stale: dict[str, str] = {}  # blob -> the layer that read it first
        self.tensors: set[ir.Value] = set()  # those that are blobs, or were
        self.named: set[str] = set()  # names of nodes

    def run(self) -> ir.Model:
        for name, shape in self.network.inputs:
            self.blobs[name] = self.g.input(name, shape)
            self.unread[name] = None
        for layer in self.network.layers:
            self.layer(layer)
        for name in sorted(self.unread):
            self.g.graph.outputs.append(self.blobs[name].node)
        self._open_batch()
        self._tell_apart()
        return ir.Model(self.g.graph, ir_version=10, producer_name="modelzoo")

    def layer(self, layer: Layer) -> None:
        try:
            self._layer(layer)
        except (ConversionError, WeightsMismatchError) as error:
            if layer.place:
                error.what = f"{layer.place}: {error.what}"
            raise

    def _layer(self, layer: Layer) -> None:
        translate = TRANSLATORS.get(layer.type)
        if translate is None:
            raise _unknown(layer)
        bottoms = []
        for name in layer.bottoms:
            if name not in self.blobs:
                raise InvalidGraphError(
                    f"Layer {layer.name!r} reads the blob {name!r}, which no layer before it writes.",
                    received=name,
                    hint=f"blobs so far: {', '.join(self.blobs) or 'none'}",
                )
            bottoms.append(self.blobs[name])
            self.unread.pop(name, None)
        self.g.layer = layer.name
        first = len(self.g.graph)
        try:
            inspect.signature(translate).bind(self.g, layer, *bottoms)
        except TypeError as error:
            raise ConversionError(
                f"Layer {layer.name!r} ({layer.type}) has {len(bottoms)} bottoms.",
                received=", ".join(layer.bottoms) or "none",
                hint=f"it takes {_takes(translate)}",
            ) from error
        tops = translate(self.g, layer, *bottoms)
        made = tuple(tops) if isinstance(tops, tuple | list) else (tops,)
        if len(made) < len(layer.tops) or (made and not layer.tops and not layer.type.endswith("Loss")):
            raise ConversionError(
                f"Layer {layer.name!r} ({layer.type}) has {len(layer.tops)} tops, and its type gives {len(made)}.",
                received=", ".join(layer.tops) or "none",
                hint="write one top for each result" if made else "leave out its tops",
            )
        for name, value in zip(layer.tops, made, strict=False):
            self.write(layer, name, value)
        for name in layer.bottoms:
            self.stale.setdefault(name, layer.name)
        for name in layer.tops:
            self.stale.pop(name, None)
        if len(self.g.graph) > first and made:
            last = made[0].node.producer()
            if last is not None and layer.name not in self.named:
                last.name = layer.name
                self.named.add(layer.name)

    def write(self, layer: Layer, name: str, value: Value) -> None:
        """Let blob `name` have a value of its own from here on."""
        old = self.blobs.get(name)
        if old is not None:
            reader = self.stale.get(name)
            if name not in layer.bottoms or reader is not None:
                raise InvalidGraphError(
                    f"Blob {name!r} is written by layer {layer.name!r}, and by another layer before it"
                    + (f"; {reader!r} still reads the earlier value." if reader else "."),
                    received=name,
                    hint="Caffe refuses this too: only the layers right behind a blob's writer may work in place",
                )
        if value.node.producer() is None or value.node in self.tensors:
            value = self.g.Identity(value)
        self.tensors.add(value.node)
        if old is not None and old.node not in self.g.graph.inputs:
            old.node.name = f"{name}@{layer.name}"
        is_input = any(name == item for item, _ in self.network.inputs)
        value.node.name = f"{name}@end" if is_input else name
        if is_input:
            value.node.metadata_props[SOURCE_NAME] = name
        self.blobs[name] = value
        self.unread[name] = None

    def _open_batch(self) -> None:
        """Let any number of pictures in, where no layer has made their number part of a shape."""
        if self.g.batch_is_fixed:
            return
        sizes = {int(shape[0]) for _, shape in self.network.inputs if shape}
        if len(sizes) != 1:
            return
        (batch,) = sizes
        for value in self.g.graph.inputs:
            self._open(value, batch)
        for node in self.g.graph:
            for value in node.outputs:
                self._open(value, batch)

    def _tell_apart(self) -> None:
        """Rename what has the name of a blob and is none: names of blobs may be those of arrays or inner tensors."""
        graph = self.g.graph
        blobs = {*graph.inputs, *(value.node for value in self.blobs.values())}
        taken = {value.name for value in blobs}
        others = [*graph.initializers.values(), *(value for node in graph for value in node.outputs)]
        for value in others:
            if value.name not in taken or value in blobs:
                continue
            is_array = value.is_initializer()
            if is_array:
                graph.initializers.pop(value.name)
            value.name = next(name for number in itertools.count(2) if (name := f"{value.name}.{number}") not in taken)
            if is_array:
                graph.register_initializer(value)

    @staticmethod
    def _open(value: ir.Value, batch: int) -> None:
        if value.shape is not None and len(value.shape) and value.shape[0] == batch:
            dims: list[Any] = list(value.shape.dims)
            value.shape = ir.Shape(["N", *dims[1:]])


def _unknown(layer: Layer) -> ConversionError:
    """The error for a layer type that has no translator."""
    if not layer.type:
        return InvalidGraphError(f"Layer {layer.name!r} has no type.", hint='write it: type: "Convolution"')
    more = "converters.caffe.layer_type registers a function; docs/convert.md has an example"
    close = nearest(layer.type, TRANSLATORS, 1)
    return UnsupportedOperatorError(
        layer.name,
        layer.type,
        what=f"Layer {layer.name!r} is of type {layer.type!r}, for which there is no translation.",
        hint=f"did you mean {close[0]!r}? Else write one: {more}" if close else f"write one: {more}",
    )


def _takes(translate: Callable[..., Any]) -> str:
    """How many bottoms a translator takes, in words."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    items = list(inspect.signature(translate).parameters.values())
    places = [item for item in items if item.kind in kinds][2:]
    least = sum(item.default is item.empty for item in places)
    if any(item.kind is item.VAR_POSITIONAL for item in items):
        return f"{least} or more"
    return str(least) if least == len(places) else f"{least} to {len(places)}"
