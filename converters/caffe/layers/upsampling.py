"""Layers that make pictures larger: Interp, Upsample, Unpooling."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import choice, refusal
from converters.caffe.suppression import filled

_INT64 = 7


@layer_type("Interp")
def interp(g: Builder, layer: Layer, x: Value) -> Value:
    """Bilinear resizing with the corners aligned, after cutting `pad_beg` and `pad_end` (both 0 or less).

    The size is said by `shrink_factor`, by `zoom_factor`, by `height` and `width`, or by both factors, looked at in
    this order.
    """
    param = layer.message.interp_param
    if x.rank != 4 or param.pad_beg > 0 or param.pad_end > 0:
        raise refusal(
            layer,
            "needs an input (N, C, H, W) and paddings that cut.",
            received=f"{list(x.shape)}, pad_beg {param.pad_beg}, pad_end {param.pad_end}",
            hint="pad_beg and pad_end are 0 or less",
        )
    sizes = [size + param.pad_beg + param.pad_end for size in x.sizes_from(2)]
    shrinks, zooms = param.HasField("shrink_factor"), param.HasField("zoom_factor")
    if (shrinks or zooms) and not (shrinks and zooms and param.HasField("height") and param.HasField("width")):
        shrink, zoom = int(param.shrink_factor), int(param.zoom_factor)
        made = [((size - 1) // shrink if shrink else 0) * zoom + 1 for size in sizes]
    else:
        shrink = zoom = 1
        made = [int(param.height), int(param.width)]
    if min(*sizes, *made, shrink, zoom) < 1:
        raise refusal(
            layer,
            "has no size to resize to.",
            received=f"{sizes} to {made}",
            hint="write shrink_factor, zoom_factor, or height and width",
        )
    if param.pad_beg or param.pad_end:
        begin = [-param.pad_beg] * 2
        x = g.Slice(x, begin, [a + size for a, size in zip(begin, sizes, strict=True)], [2, 3])
    if made == sizes:
        return x
    return g.Resize(x, None, None, made, mode="linear", coordinate_transformation_mode="align_corners", axes=[2, 3])


@layer_type("Upsample")
def upsample(g: Builder, layer: Layer, x: Value, mask: Value | None = None) -> Value:
    """With a mask each element goes where the pooling that made the mask took it from; without, each is repeated.

    Badrinarayanan et al., "SegNet", 2015; the form without a mask is that of networks converted from Darknet.
    """
    param = layer.message.upsample_param
    if x.rank != 4:
        raise refusal(layer, "needs an input (N, C, H, W).", received=list(x.shape))
    scale = int(param.scale) if param.HasField("scale") or mask is not None else 1
    by = (int(param.scale_h), int(param.scale_w)) if param.HasField("scale_h") else (scale, scale)
    cut = int(param.pad_out_h), int(param.pad_out_w)
    sizes = [size * factor - less for size, factor, less in zip(x.sizes_from(2), by, cut, strict=True)]
    if param.HasField("upsample_h") and param.HasField("upsample_w"):
        sizes = [int(param.upsample_h), int(param.upsample_w)]
    if min(sizes) < 1:
        raise refusal(layer, "has no size.", received=sizes, hint="write scale, or upsample_h and upsample_w")
    if mask is not None:
        return unpooled(g, layer, x, mask, sizes)
    if sizes != [size * factor for size, factor in zip(x.sizes_from(2), by, strict=True)]:
        rows, columns = x.sizes_from(2)
        by = sizes[0] // rows, sizes[1] // columns
        if sizes != [rows * by[0], columns * by[1]]:
            raise refusal(layer, "repeats cells a whole number of times.", received=sizes, hint="give it the mask")
    if by == (1, 1):
        return x
    return g.Resize(
        x,
        None,
        np.array([1, 1, *by], np.float32),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@layer_type("Unpooling")
def unpooling(g: Builder, layer: Layer, x: Value, mask: Value | None = None) -> Value:
    """MAX: elements go back to where `mask` says, or to the first cell of their window; AVE and TILE fill windows.

    Noh et al., "Learning Deconvolution Network for Semantic Segmentation", 2015.
    """
    param = layer.message.unpooling_param
    kernel = _pair(param, "kernel", int(param.kernel_size))
    stride = _pair(param, "stride", int(param.stride))
    pad, method = _pair(param, "pad", int(param.pad)), choice(param, "unpool")
    if x.rank != 4 or min(*kernel, *stride) < 1 or (any(pad) and method != "MAX"):
        raise refusal(
            layer,
            "needs an input (N, C, H, W), a kernel, and no padding unless its method is MAX.",
            received=f"{list(x.shape)}, kernel {kernel}, stride {stride}, pad {pad}",
        )
    filling = zip(x.sizes_from(2), kernel, stride, pad, strict=True)
    sizes = [max((size - 1) * s + k - 2 * p, size * s - p + 1) for size, k, s, p in filling]
    if param.HasField("unpool_size"):
        sizes = [int(param.unpool_size)] * 2
    elif param.HasField("unpool_h") and param.HasField("unpool_w"):
        sizes = [int(param.unpool_h), int(param.unpool_w)]
    if method != "MAX":
        return _spread(g, x, kernel, stride, sizes, shared=method == "AVE")
    if mask is not None:
        return unpooled(g, layer, x, mask, sizes)
    height, width = x.sizes_from(2)
    source = np.full(math.prod(sizes), height * width)  # cells that nothing goes to read a 0 behind the last element
    rows, columns = (
        np.clip(np.arange(count) * s - p, 0, size - 1)
        for count, s, p, size in zip((height, width), stride, pad, sizes, strict=True)
    )
    for row, column in itertools.product(range(height), range(width)):  # of several in one cell the last stays
        source[rows[row] * sizes[1] + columns[column]] = row * width + column
    flat = g.Pad(g.reshape(x, (*x.shape[:2], height * width)), [0, 0, 0, 0, 0, 1], 0.0)
    return g.reshape(g.Gather(flat, source, axis=2), (*x.shape[:2], *sizes))


def unpooled(g: Builder, layer: Layer, x: Value, mask: Value, sizes: list[int]) -> Value:
    """Zeros (N, C, *sizes) with each element of x at the index row * width + column that the mask holds for it."""
    if mask.shape != x.shape:
        raise refusal(
            layer,
            "needs a mask as large as its input.",
            received=f"{list(x.shape)} and {list(mask.shape)}",
            hint="the mask is the second top of the Pooling layer that it undoes",
        )
    rows = (*x.shape[:2], math.prod(x.sizes_from(2)))
    values, places = g.reshape(x, rows), g.Cast(g.reshape(mask, rows), to=_INT64)
    cells = math.prod(sizes)
    zeros = g.Expand(filled(g, g.Slice(values, [0], [1], [2]), 0), [1, 1, cells])
    return g.reshape(g.ScatterElements(zeros, places, values, axis=2), (*x.shape[:2], *sizes))


def _spread(g: Builder, x: Value, kernel: list[int], stride: list[int], sizes: list[int], *, shared: bool) -> Value:
    """Each element into all cells of its window, divided by their number if `shared`; windows that meet are summed."""
    (channels,) = x.sizes_from(1, 2)
    if shared:
        extents = [
            np.minimum(np.arange(cells) * s + k, size) - np.arange(cells) * s
            for cells, k, s, size in zip(x.sizes_from(2), kernel, stride, sizes, strict=True)
        ]
        x = g.Div(x, np.maximum(np.multiply.outer(*extents), 1)[None, None].astype(np.float32))
    ones = g.constant(np.ones((channels, 1, *kernel), np.float32))
    made = g.ConvTranspose(x, ones, kernel_shape=kernel, strides=stride, group=channels)
    more = [size - have for size, have in zip(sizes, made.sizes_from(2), strict=True)]
    return g.Pad(made, [0, 0, 0, 0, 0, 0, *more], 0.0) if any(more) else made


def _pair(param: Any, name: str, both: int) -> list[int]:
    """Height and width of a field: `<name>_h` and `<name>_w`, or `both`."""
    if param.HasField(f"{name}_h") and param.HasField(f"{name}_w"):
        return [int(getattr(param, f"{name}_h")), int(getattr(param, f"{name}_w"))]
    return [both, both]
