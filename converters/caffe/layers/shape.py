"""What only moves elements: joining, cutting and reshaping blobs."""

from __future__ import annotations

import itertools
import math

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import axis_of, refusal


@layer_type("Concat")
def concat(g: Builder, layer: Layer, *bottoms: Value) -> Value:
    param = layer.message.concat_param
    if not bottoms:
        raise refusal(layer, "joins nothing.", received="no bottom")
    axis = axis_of(layer, bottoms[0], param.concat_dim if param.HasField("concat_dim") else param.axis)
    if len({(*x.shape[:axis], *x.shape[axis + 1 :]) for x in bottoms}) > 1:
        raise refusal(
            layer,
            f"joins along axis {axis} blobs whose other axes differ.",
            received=", ".join(str(x.shape) for x in bottoms),
            hint="check the axis, and the sizes of the layers before it",
        )
    if len(bottoms) == 1:
        return bottoms[0]
    if axis == 0:
        g.batch_is_fixed = True
    return g.Concat(*bottoms, axis=axis)


@layer_type("Slice")
def slices(g: Builder, layer: Layer, x: Value) -> tuple[Value, ...]:
    """One top a part: cut at the slice points, or into equal parts."""
    param = layer.message.slice_param
    axis = axis_of(layer, x, param.slice_dim if param.HasField("slice_dim") else param.axis)
    (size,), points, count = x.sizes_from(axis, axis + 1), [int(point) for point in param.slice_point], len(layer.tops)
    if not points and count:
        points = [size // count * i for i in range(1, count)]
    sizes = [high - low for low, high in itertools.pairwise((0, *points, size))]
    if len(sizes) != count or min(sizes) < 1 or (not param.slice_point and len(set(sizes)) > 1):
        raise refusal(
            layer,
            f"cannot cut axis {axis} of size {size} into {count} tops.",
            received=f"slice_point: {list(param.slice_point)}",
            hint="slice points rise, one fewer than tops; without them the size must be a multiple of the tops",
        )
    if count == 1:
        return (x,)
    if axis == 0:
        g.batch_is_fixed = True
    made: tuple[Value, ...] = g.Split(x, sizes, axis=axis, outputs=count)
    return made


@layer_type("Split")
def split(g: Builder, layer: Layer, x: Value) -> tuple[Value, ...]:
    """The same blob under several names."""
    return (x,) * len(layer.tops)


@layer_type("Flatten")
def flatten(g: Builder, layer: Layer, x: Value) -> Value:
    """The axes from `axis` to `end_axis`, both included, become one."""
    param = layer.message.flatten_param
    first, last = axis_of(layer, x, param.axis), axis_of(layer, x, param.end_axis)
    if first > last + 1:
        raise refusal(layer, f"flattens axis {first} to axis {last}.", received=f"shape {x.shape}")
    if first == 1 and last == x.rank - 1 and x.rank > 2:
        return g.Flatten(x, axis=1)
    if first == 0 and last > 0:
        g.batch_is_fixed = True
    return g.reshape(x, (*x.shape[:first], math.prod(x.sizes_from(first, last + 1)), *x.shape[last + 1 :]))


@layer_type("Reshape")
def reshape(g: Builder, layer: Layer, x: Value) -> Value:
    """`num_axes` axes from `axis` on get the sizes of `shape`: 0 copies the input's, -1 is what remains."""
    param = layer.message.reshape_param
    first = int(param.axis) if param.axis >= 0 else x.rank + int(param.axis) + 1
    end = x.rank if param.num_axes == -1 else first + int(param.num_axes)
    wanted = [int(size) for size in param.shape.dim]
    copied_from = [first + i for i, size in enumerate(wanted) if size == 0]
    if not 0 <= first <= end <= x.rank or wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise refusal(
            layer,
            "replaces axes that its input does not have, or leaves more than one size open.",
            received=f"axis {param.axis}, num_axes {param.num_axes}, shape {wanted}; input {x.shape}",
        )
    if any(place >= x.rank for place in copied_from):
        raise refusal(
            layer, "copies a size (0) that its input does not have.", received=f"shape {wanted}; input {x.shape}"
        )
    middle = [x.shape[first + i] if size == 0 else size for i, size in enumerate(wanted)]
    whole = [*x.shape[:first], *middle, *x.shape[end:]]
    # Where the first axis stays, its size need not be known.
    stays = int(whole[:1] == list(x.shape[:1]))
    total = math.prod(x.sizes_from(stays))
    rest = math.prod(size for size in whole[stays:] if size is not None and size != -1)
    if -1 in whole:
        whole[whole.index(-1)] = total // rest if rest else 0
    if None in whole[stays:] or math.prod(size for size in whole[stays:] if size is not None) != total:
        raise refusal(
            layer,
            "gives a shape that does not hold the input's elements.",
            received=f"shape {wanted}; input {x.shape}",
            hint="check the input's shape: inputs={NAME: SHAPE}",
        )
    return g.reshape(x, whole)


@layer_type("Crop")
def crop(g: Builder, layer: Layer, x: Value, like: Value) -> Value:
    """The axes from `axis` on are cut to the sizes of the second blob, from the offsets on."""
    param = layer.message.crop_param
    axis = axis_of(layer, x, param.axis)
    offsets = [int(offset) for offset in param.offset] or [0]
    if len(offsets) == 1:
        offsets *= x.rank - axis
    if len(offsets) != x.rank - axis or like.rank < x.rank:
        raise refusal(
            layer,
            f"crops {x.rank - axis} axes with {len(offsets)} offsets.",
            received=f"offset: {offsets}; shapes {x.shape} and {like.shape}",
            hint="write one offset, or one for each axis from `axis` on",
        )
    ends = [offset + size for offset, size in zip(offsets, like.sizes_from(axis, x.rank), strict=True)]
    if any(end > size for end, size in zip(ends, x.sizes_from(axis), strict=True)):
        raise refusal(
            layer,
            "crops more than there is.",
            received=f"offset: {offsets}; shapes {x.shape} and {like.shape}",
            hint="give a larger input: inputs={NAME: SHAPE}",
        )
    if axis == 0:
        g.batch_is_fixed = True
    axes = [i for i in range(axis, x.rank) if (offsets[i - axis], ends[i - axis]) != (0, x.shape[i])]
    if not axes:
        return x
    return g.Slice(x, [offsets[i - axis] for i in axes], [ends[i - axis] for i in axes], axes)


@layer_type("Tile")
def tile(g: Builder, layer: Layer, x: Value) -> Value:
    """The blob several times behind itself, along one axis."""
    param = layer.message.tile_param
    axis, count = axis_of(layer, x, param.axis), int(param.tiles)
    if count < 1:
        raise refusal(layer, "has no number of tiles.", received=f"tiles: {count}", hint="write tiles of 1 or more")
    if count == 1:
        return x
    if axis == 0:
        g.batch_is_fixed = True
    return g.Tile(x, [count if i == axis else 1 for i in range(x.rank)])
