"""Blobs that come from no input: learned arrays, and constants that stand in for data."""

from __future__ import annotations

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import refusal
from modelzoo.errors import UnsupportedOperatorError


@layer_type("Parameter")
def parameter(g: Builder, layer: Layer) -> Value:
    """A learned array as a blob."""
    return g.blob(layer, 0, [int(size) for size in layer.message.parameter_param.shape.dim])


@layer_type("DummyData")
def dummy_data(g: Builder, layer: Layer) -> tuple[Value, ...]:
    """Constants, one blob a top; what is filled at random has to be made an input."""
    param = layer.message.dummy_data_param
    count = len(layer.tops)
    fillers = [(str(filler.type), float(filler.value)) for filler in param.data_filler] or [("constant", 0.0)]
    for kind, _ in fillers:
        if kind != "constant":
            raise UnsupportedOperatorError(
                layer.name,
                f"DummyData ({kind})",
                what=f"Layer {layer.name!r} (DummyData) is filled at random ({kind}).",
                hint="make it an input: type Input with input_param { shape { ... } }, or a constant filler",
            )
    if param.shape:
        shapes = [tuple(int(size) for size in shape.dim) for shape in param.shape]
    else:
        old = [[int(size) for size in field] for field in (param.num, param.channels, param.height, param.width)]
        most = max(len(field) for field in old)
        if any(len(field) not in (1, most) for field in old):
            raise refusal(layer, "does not say all its sizes.", received=str(old), hint="write shape { dim: ... }")
        shapes = list(zip(*(field * (most if len(field) == 1 else 1) for field in old), strict=True))
    if len(shapes) not in (1, count) or len(fillers) not in (1, count):
        raise refusal(
            layer,
            f"has {count} tops, {len(shapes)} shapes and {len(fillers)} fillers.",
            hint="write one shape and one filler, or one for each top",
        )
    if any(shape and shape[0] > 1 for shape in shapes):
        g.batch_is_fixed = True
    return tuple(
        g.constant(np.full(shapes[i % len(shapes)], fillers[i % len(fillers)][1], np.float32)) for i in range(count)
    )
