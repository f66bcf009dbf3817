"""Scale and Bias: a product and a sum with an array that lies along some of the axes."""

from __future__ import annotations

from typing import Any

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import axis_of, constant_filler, refusal


@layer_type("Scale")
def scale(g: Builder, layer: Layer, x: Value, factor: Value | None = None) -> Value:
    """x * factor, plus a learned bias along the same axes; the factor is learned or a second blob."""
    param = layer.message.scale_param
    extent = int(param.num_axes) if factor is None else factor.rank
    if factor is None:
        filler = param.filler if param.HasField("filler") else constant_filler(param.filler, 1.0)
        made = g.Mul(x, _learned(g, layer, 0, x, param.axis, extent, filler))
    else:
        made = g.Mul(x, _along(g, layer, x, factor, param.axis))
    if not param.bias_term:
        return made
    return g.Add(made, _learned(g, layer, int(factor is None), x, param.axis, extent, param.bias_filler))


@layer_type("Bias")
def bias(g: Builder, layer: Layer, x: Value, summand: Value | None = None) -> Value:
    """x + summand, which is learned or a second blob."""
    param = layer.message.bias_param
    if summand is None:
        return g.Add(x, _learned(g, layer, 0, x, param.axis, int(param.num_axes), param.filler))
    return g.Add(x, _along(g, layer, x, summand, param.axis))


def _learned(g: Builder, layer: Layer, index: int, x: Value, first: int, extent: int, filler: Any) -> Value:
    """The learned array along `extent` axes of `x` from `first` on (-1: to the end), shaped to broadcast."""
    axis = 0 if extent == 0 else axis_of(layer, x, first)
    end = x.rank if extent == -1 else axis + extent
    if extent < -1 or end > x.rank:
        raise refusal(
            layer,
            f"has an array of {extent} axes from axis {first} on, more than its input has.",
            received=f"shape {x.shape}",
            hint="check axis and num_axes",
        )
    if axis == 0 and end > 0:
        g.batch_is_fixed = True
    shape = x.sizes_from(axis, end)
    return g.blob(layer, index, shape, filler, view=(*shape, *[1] * (x.rank - end)))


def _along(g: Builder, layer: Layer, x: Value, other: Value, first: int) -> Value:
    """A second blob that lies along the axes of `x` from `first` on, shaped to broadcast."""
    axis = 0 if other.rank == 0 else axis_of(layer, x, first)
    if other.shape != x.shape[axis : axis + other.rank]:
        raise refusal(
            layer,
            f"has a second blob that does not lie along axis {axis} of the first.",
            received=f"shapes {x.shape} and {other.shape}",
            hint="check the layer's axis",
        )
    if axis:
        g.not_batch(other)
    return g.reshape(other, (*other.shape, *[1] * (x.rank - axis - other.rank))) if other.rank else other
