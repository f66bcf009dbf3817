"""Values at places between the cells of an image: GridSample and deformable convolution."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import tensorflow as tf

from converters.function.table import Static, Tensor, op
from converters.function.values import shape_of
from converters.function.wider import cast_back

__all__ = ["cells_at", "sample_linear"]

#: What lies outside of the image: cells of an axis of a size -> cells inside, and where they count (None: everywhere).
Border = Callable[[tf.Tensor, int], tuple[tf.Tensor, tf.Tensor | None]]


def _sizes(x: tf.Tensor) -> list[Any]:
    """Sizes of the spatial axes of (N, C, spatial...)."""
    shape = tf.shape(x)
    return [shape[i] if x.shape[i] is None else x.shape[i] for i in range(2, x.shape.rank)]


def _sizes64(*sizes: Any) -> tf.Tensor:
    """A vector of int64 made of ints and scalars."""
    return tf.stack([tf.cast(size, tf.int64) for size in sizes])


def _zeros_outside(cells: tf.Tensor, size: Any) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.clip_by_value(cells, 0, size - 1), (cells >= 0) & (cells < size)


def _nearest_inside(cells: tf.Tensor, size: Any) -> tuple[tf.Tensor, None]:
    return tf.clip_by_value(cells, 0, size - 1), None


def _mirrored(align_corners: bool) -> Border:
    def border(cells: tf.Tensor, size: Any) -> tuple[tf.Tensor, None]:
        # Cells are mirrored at the centres of the last ones, or at their edges.
        inside = _reflect(tf.cast(cells, tf.float32), size, align_corners)
        return tf.clip_by_value(tf.cast(tf.round(inside), tf.int32), 0, size - 1), None

    return border


def _reflect(places: tf.Tensor, size: Any, align_corners: bool) -> tf.Tensor:
    wide = tf.cast(size, places.dtype)
    low, span = (tf.zeros((), places.dtype), wide - 1) if align_corners else (tf.cast(-0.5, places.dtype), wide)
    span = tf.maximum(span, tf.cast(1e-12, places.dtype))
    way = tf.math.floormod(places - low, 2 * span)
    return low + tf.where(way > span, 2 * span - way, way)


def cells_at(x: tf.Tensor, cells: list[tf.Tensor], border: Border) -> tf.Tensor:
    """Values of `x` (N, C, spatial...) at whole `cells` (one (N, P) of int32 an axis), as (N, C, P)."""
    flat, counts = tf.zeros_like(cells[0]), None
    for axis, (places, size) in enumerate(zip(cells, _sizes(x), strict=True)):
        inside, valid = border(places, size)
        flat = inside if axis == 0 else flat * size + inside
        if valid is not None:
            counts = valid if counts is None else counts & valid
    shape = shape_of(x)
    rows = tf.reshape(x, tf.stack([shape[0], shape[1], -1]))
    values = tf.gather(rows, flat, axis=2, batch_dims=1)
    return values if counts is None else tf.where(counts[:, None, :], values, tf.zeros((), x.dtype))


def sample_linear(x: tf.Tensor, places: list[tf.Tensor], border: Border = _zeros_outside) -> tf.Tensor:
    """Values of `x` (N, C, spatial...) at `places` (one (N, P) an axis, counted in cells), as (N, C, P)."""
    lower = [tf.floor(place) for place in places]
    total = None
    for corner in product((0, 1), repeat=len(places)):
        weight = tf.ones((), x.dtype)
        for place, low, high in zip(places, lower, corner, strict=True):
            share = place - low
            weight = weight * (share if high else 1 - share)
        cells = [tf.cast(low, tf.int32) + high for low, high in zip(lower, corner, strict=True)]
        part = cells_at(x, cells, border) * weight[:, None, :]
        total = part if total is None else total + part
    return total


def _sample_cubic(x: tf.Tensor, places: list[tf.Tensor], border: Border) -> tf.Tensor:
    lower = [tf.floor(place) for place in places]
    weights = [_keys(place - low) for place, low in zip(places, lower, strict=True)]
    total = None
    for corner in product(range(4), repeat=len(places)):
        weight = tf.ones((), x.dtype)
        for axis, tap in enumerate(corner):
            weight = weight * weights[axis][tap]
        cells = [tf.cast(low, tf.int32) + tap - 1 for low, tap in zip(lower, corner, strict=True)]
        part = cells_at(x, cells, border) * weight[:, None, :]
        total = part if total is None else total + part
    return total


def _keys(t: tf.Tensor, a: float = -0.75) -> list[tf.Tensor]:
    """Weights of the four neighbours at distances 1 + t, t, 1 - t, 2 - t (Keys' cubic convolution)."""

    def near(d: tf.Tensor) -> tf.Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: tf.Tensor) -> tf.Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [far(1 + t), near(t), near(1 - t), far(2 - t)]


@op("GridSample", since=16)
def grid_sample(
    x: Tensor, grid: Tensor, *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
) -> Tensor:
    rank = x.shape.rank - 2
    wide = tf.float64 if x.dtype == tf.float64 else tf.float32
    image = tf.cast(x, wide) if x.dtype.is_floating else x
    if not x.dtype.is_floating and mode != "nearest":
        image = tf.cast(x, wide)
    shape = shape_of(grid)
    flat = tf.reshape(tf.cast(grid, wide), tf.stack([shape[0], -1, rank]))
    aligned = bool(align_corners)
    places = []
    for axis, size in enumerate(_sizes(x)):
        at, length = flat[..., rank - 1 - axis], tf.cast(size, wide)  # the grid names the last axis first
        places.append((at + 1) / 2 * (length - 1) if aligned else ((at + 1) * length - 1) / 2)
    kind = mode.removeprefix("bi")
    if kind == "nearest":
        places = [tf.round(place) for place in places]
    border: Border = {"zeros": _zeros_outside, "border": _nearest_inside}.get(padding_mode, _mirrored(aligned))
    if padding_mode == "border" and kind != "cubic":
        places = [tf.clip_by_value(p, 0.0, tf.cast(s - 1, wide)) for p, s in zip(places, _sizes(x), strict=True)]
    elif padding_mode == "reflection":
        places = [_reflect(place, size, aligned) for place, size in zip(places, _sizes(x), strict=True)]
    if kind == "nearest":
        made = cells_at(image, [tf.cast(tf.round(place), tf.int32) for place in places], border)
    elif kind == "linear":
        made = sample_linear(image, places, border)
    elif kind == "cubic":
        made = _sample_cubic(image, places, border)
    else:
        raise ValueError(f"unknown mode {mode!r}; GridSample knows nearest, linear and cubic")
    made = tf.reshape(made, tf.concat([shape_of(x)[:2], shape[1:-1]], 0))
    return cast_back(tf.ensure_shape(made, [*x.shape[:2], *grid.shape[1:-1]]), x)


@op("AffineGrid", since=20)
def affine_grid(theta: Tensor, size: Static, *, align_corners: int = 0) -> Tensor:
    wide = tf.float64 if theta.dtype == tf.float64 else tf.float32
    rank = size.shape[0] - 2
    lines = []
    for axis in range(rank):
        count = tf.cast(size[2 + axis], tf.int32)
        length, cells = tf.cast(count, wide), tf.cast(tf.range(count), wide)
        line = 2 * cells / (length - 1) - 1 if align_corners else (2 * cells + 1) / length - 1
        lines.append(line)
    # Homogeneous coordinates (places, rank + 1); the last axis comes first.
    mesh = tf.meshgrid(*lines, indexing="ij")[::-1]
    places = tf.stack([*(tf.reshape(item, (-1,)) for item in mesh), tf.ones_like(tf.reshape(mesh[0], (-1,)))], 1)
    made = tf.matmul(places, tf.cast(theta, wide), transpose_b=True)
    shape = tf.stack([tf.shape(theta)[0], *(tf.cast(size[2 + axis], tf.int32) for axis in range(rank)), rank])
    return cast_back(tf.reshape(made, shape), theta)


@op("DeformConv", since=19)
def deform_conv(
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    offset_group: int = 1,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    taps = list(kernel_shape or w.shape[2:].as_list())
    if None in taps:
        raise ValueError("the sizes of a kernel that deforms must be known while tracing")
    rank, count = len(taps), 1
    for size in taps:
        count *= size
    steps, spread = list(strides or [1] * rank), list(dilations or [1] * rank)
    begin = list(pads or [0] * (2 * rank))[:rank]
    wide = tf.float64 if x.dtype == tf.float64 else tf.float32
    image = tf.cast(x, wide)
    outs = shape_of(offset)[2:]
    batch, channels = shape_of(x)[0], shape_of(x)[1]
    # (N, groups, taps, axes, out...): where each tap of each window looks, for each group of channels.
    shifts = tf.reshape(tf.cast(offset, wide), tf.concat([_sizes64(batch, offset_group, count, rank), outs], 0))
    places = []
    for axis in range(rank):
        tap = tf.range(taps[axis]) * spread[axis]
        tap = tf.reshape(tap, [taps[axis] if i == axis else 1 for i in range(rank)])
        tap = tf.reshape(tf.broadcast_to(tap, taps), [count, *[1] * rank])
        out = tf.range(tf.cast(outs[axis], tf.int32)) * steps[axis] - begin[axis]
        out = tf.reshape(out, [-1, *[1] * (rank - 1 - axis)])
        place = shifts[:, :, :, axis] + tf.cast(tap + out, wide)
        places.append(tf.reshape(place, tf.stack([batch * offset_group, -1])))
    shape = shape_of(x)
    parts = tf.reshape(image, tf.concat([_sizes64(batch * offset_group, channels // offset_group), shape[2:]], 0))
    seen = sample_linear(parts, places)
    cells = tf.concat([_sizes64(batch, offset_group, channels // offset_group, count), [tf.reduce_prod(outs)]], 0)
    seen = tf.reshape(seen, cells)
    if mask is not None:
        weight = tf.reshape(tf.cast(mask, wide), tf.stack([batch, offset_group, 1, count, -1]))
        seen *= weight
    seen = tf.reshape(seen, tf.stack([batch, group, channels // group * count, -1]))
    filters = shape_of(w)[0]
    kernel = tf.reshape(tf.cast(w, wide), tf.stack([group, filters // group, -1]))
    made = tf.reshape(tf.matmul(kernel, seen), tf.concat([_sizes64(batch, filters), outs], 0))
    made = tf.ensure_shape(made, [x.shape[0], w.shape[0], *offset.shape[2:]])
    if b is not None:
        made += tf.reshape(tf.cast(b, wide), (-1, *[1] * rank))
    return cast_back(made, x)


@op("Col2Im", since=18)
def col2im(
    x: Tensor,
    image_shape: Tensor,
    block_shape: Tensor,
    *,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    rank = image_shape.shape[0]
    steps, spread = list(strides or [1] * rank), list(dilations or [1] * rank)
    both = list(pads or [0] * (2 * rank))
    image, block = tf.cast(image_shape, tf.int32), tf.cast(block_shape, tf.int32)
    # One index for each (tap..., window...): the cell of the padded image that it is added to.
    flat, counts = tf.zeros((1, 1), tf.int32), []
    padded = image + tf.constant(both[:rank]) + tf.constant(both[rank:])
    for axis in range(rank):
        extent = (block[axis] - 1) * spread[axis] + 1
        windows = (padded[axis] - extent) // steps[axis] + 1
        cells = (tf.range(block[axis]) * spread[axis])[:, None] + (tf.range(windows) * steps[axis])[None, :]
        shape = tf.shape(flat)
        flat = flat[:, None, :, None] * padded[axis] + cells[None, :, None, :]
        flat = tf.reshape(flat, tf.stack([shape[0] * block[axis], shape[1] * windows]))
        counts.append(windows)
    sizes = tf.shape(x)
    depth = sizes[1] // tf.reduce_prod(block)
    columns = tf.reshape(x, tf.stack([sizes[0] * depth, -1]))
    total = tf.math.unsorted_segment_sum(tf.transpose(columns), tf.reshape(flat, (-1,)), tf.reduce_prod(padded))
    made = tf.reshape(tf.transpose(total), tf.concat([[sizes[0], depth], padded], 0))
    cut = (slice(None), slice(None), *(slice(both[i], both[i] + image[i]) for i in range(rank)))
    return made[cut]
