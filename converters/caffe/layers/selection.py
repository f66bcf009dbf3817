"""What picks or sums up: the largest elements, rows by number or by a mask, reductions over the last axes."""

from __future__ import annotations

import math

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.elementwise import affine
from converters.caffe.layers.parameters import axis_of, choice, refusal


@layer_type("ArgMax")
def arg_max(g: Builder, layer: Layer, x: Value) -> Value:
    """Places of the `top_k` largest elements as floats, of equal ones the last first.

    Along an axis places, or values instead; without an axis of each item: places, with `out_max_val` values below them.
    """
    param = layer.message.argmax_param
    count = int(param.top_k)
    along = param.HasField("axis")
    if along:
        axis, rows = axis_of(layer, x, param.axis), x
    elif x.rank:
        axis, rows = 1, g.reshape(x, (x.shape[0], math.prod(x.sizes_from(1))))
    else:
        raise refusal(layer, "needs an input with axes.", received="shape ()")
    (size,) = rows.sizes_from(axis, axis + 1)
    if not 1 <= count <= size:
        raise refusal(layer, f"wants the {count} largest of {size}.", received=f"top_k: {count}; shape {x.shape}")
    if along and axis == 0:
        g.batch_is_fixed = True
    wants_values = bool(param.out_max_val)
    places = None if along and wants_values else _places(g, rows, axis, count)
    values = _values(g, rows, axis, count) if wants_values else None
    if along:
        result = places if places is not None else values
        assert result is not None
        return result
    shape = (x.shape[0], 1, count, *[1] * (x.rank - 3))
    parts = [g.reshape(part, shape) for part in (places, values) if part is not None]
    return parts[0] if len(parts) == 1 else g.Concat(*parts, axis=1)


def _places(g: Builder, x: Value, axis: int, count: int) -> Value:
    if count == 1:
        return g.Cast(g.ArgMax(x, axis=axis, keepdims=1, select_last_index=1), to=1)
    # Of equal elements TopK takes the first, so it is shown them from the end.
    (size,) = x.sizes_from(axis, axis + 1)
    turned = g.Slice(x, [size - 1], [-size - 1], [axis], [-1])
    _, places = g.TopK(turned, [count], axis=axis, outputs=2)
    return g.Cast(g.Sub(g.constant(size - 1, np.int64), places), to=1)


def _values(g: Builder, x: Value, axis: int, count: int) -> Value:
    if count == 1:
        return g.ReduceMax(x, [axis], keepdims=1)
    values: Value = g.TopK(x, [count], axis=axis, outputs=2)[0]
    return values


@layer_type("Reduction")
def reduction(g: Builder, layer: Layer, x: Value) -> Value:
    """SUM, ASUM (of absolute values), SUMSQ or MEAN over the axes from `axis` on, times a coefficient."""
    param = layer.message.reduction_param
    axes = list(range(axis_of(layer, x, param.axis) if x.rank else 0, x.rank))
    operation = choice(param, "operation")
    if operation == "ASUM":
        x = g.Abs(x)
    elif operation == "SUMSQ":
        x = g.Mul(x, x)
    if axes:
        x = (g.ReduceMean if operation == "MEAN" else g.ReduceSum)(x, axes, keepdims=0)
    return affine(g, x, float(param.coeff), 0)


@layer_type("BatchReindex")
def batch_reindex(g: Builder, layer: Layer, x: Value, places: Value) -> Value:
    """Items of the first blob (axis 0), picked by the numbers in the second."""
    if places.rank != 1 or not x.rank:
        raise refusal(layer, "needs numbers in a blob of 1 axis.", received=f"shapes {x.shape} and {places.shape}")
    return g.not_batch(g.Gather(x, g.not_batch(g.Cast(g.not_batch(places), to=7)), axis=0))


@layer_type("Filter")
def filtered(g: Builder, layer: Layer, first: Value, *others: Value) -> tuple[Value, ...]:
    """Of each blob but the last the items (axis 0) for which the last is not zero; only running tells how many."""
    *items, selector = first, *others
    if any(size != 1 for size in selector.shape[1:]) or any(x.shape[:1] != selector.shape[:1] for x in items):
        raise refusal(
            layer,
            "needs one number for each item in its last blob.",
            received=", ".join(str(x.shape) for x in (*items, selector)),
        )
    kept = g.Cast(g.reshape(selector, selector.shape[:1]), to=9)
    return tuple(g.Compress(x, kept, axis=0) for x in items)


@layer_type("Silence", "HDF5Output")
def silence(g: Builder, layer: Layer, *bottoms: Value) -> tuple[Value, ...]:
    """Reads blobs, so that they are no outputs, and gives nothing."""
    return ()
