"""Pooling over windows and over whole images, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from converters.function.table import Static, Tensor, op
from converters.function.values import shape_of
from converters.function.windows import Window, first, last, window

__all__: list[str] = []


def _in_float(x: tf.Tensor, function: Callable[[tf.Tensor], Any]) -> Any:
    """`function(x)`, its first result in the type of `x`, computed in float32 where that is smaller or an integer."""
    if x.dtype in (tf.float32, tf.float64):
        return function(x)
    result = function(tf.cast(x, tf.float32))
    if isinstance(result, tuple):
        return (tf.cast(result[0], x.dtype), *result[1:])
    return tf.cast(result, x.dtype)


@op("MaxPool")
def max_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    storage_order: int = 0,
    strides: list[int] | None = None,
    output_count: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    seen = window(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if output_count > 1:
        return _in_float(x, lambda t: _max_with_indices(t, seen, storage_order))
    return _in_float(x, lambda t: _max(t, seen))


def _max(x: tf.Tensor, seen: Window) -> tf.Tensor:
    if max(seen.dilations) == 1 and seen.rank == 2:
        padding = seen.padding()
        image = last(x)
        if padding is None:
            image, padding = seen.padded(image, x.dtype.min), "VALID"
        return first(tf.nn.max_pool2d(image, seen.kernel, seen.strides, padding))
    if max(seen.dilations) == 1 and seen.rank == 3 and x.dtype == tf.float32:
        return first(tf.nn.max_pool3d(seen.padded(last(x), x.dtype.min), seen.kernel, seen.strides, "VALID"))
    for i in range(seen.rank):
        x = tf.reduce_max(_windows(x, seen, i, x.dtype.min), i + 3)
    return x


def _max_with_indices(x: tf.Tensor, seen: Window, storage_order: int) -> tuple[tf.Tensor, tf.Tensor]:
    sizes = [tf.cast(size, tf.int64) for size in seen.sizes]
    # Position of each cell in its image, counted along the rows or along the columns.
    place = tf.zeros((), tf.int64)
    order = range(seen.rank) if storage_order == 0 else range(seen.rank - 1, -1, -1)
    for i in order:
        axis = tf.reshape(tf.range(sizes[i]), (-1, *[1] * (seen.rank - 1 - i)))
        place = place * sizes[i] + axis
    image = tf.reduce_prod(tf.stack(sizes))
    shape = tf.shape(x, out_type=tf.int64)
    images = tf.reshape(tf.range(shape[0] * shape[1]), tf.concat([shape[:2], [1] * seen.rank], 0))
    place = tf.broadcast_to(images * image + place, shape)
    # Axis by axis from the last one on, so that of equal values the first one in the order of rows wins.
    for i in range(seen.rank - 1, -1, -1):
        values = _windows(x, seen, i, x.dtype.min)
        chosen = tf.argmax(values, i + 3)[..., None]
        back = [*range(i + 3), *range(i + 4, seen.rank + 3), i + 3]
        x = tf.gather(tf.transpose(values, back), chosen, batch_dims=seen.rank + 2, axis=-1)[..., 0]
        places = tf.transpose(_windows(place, seen, i, 0), back)
        place = tf.gather(places, chosen, batch_dims=seen.rank + 2, axis=-1)[..., 0]
    return x, place


def _windows(x: tf.Tensor, seen: Window, i: int, fill: Any) -> tf.Tensor:
    """`x` (N, C, spatial...) with spatial axis `i` replaced by (windows, taps); `fill` stands in the padding."""
    starts = tf.range(seen.counts[i]) * seen.strides[i] - seen.begin[i]
    cells = starts[:, None] + tf.range(seen.kernel[i]) * seen.dilations[i]
    size = seen.sizes[i]
    inside = (cells >= 0) & (cells < size)
    taken = tf.gather(x, tf.clip_by_value(cells, 0, size - 1), axis=i + 2)
    if isinstance(seen.counts[i], int):
        shape = x.shape.as_list()
        taken = tf.ensure_shape(taken, [*shape[: i + 2], seen.counts[i], seen.kernel[i], *shape[i + 3 :]])
    if seen.plain:
        return taken
    mask = tf.reshape(inside, tf.concat([tf.shape(inside), [1] * (seen.rank - 1 - i)], 0))
    return tf.where(mask, taken, tf.cast(fill, x.dtype))


@op("AveragePool")
def average_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: list[int] | None = None,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    seen = window(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return _in_float(x, lambda t: _average(t, seen, bool(count_include_pad)))


def _average(x: tf.Tensor, seen: Window, include: bool) -> tf.Tensor:
    if max(seen.dilations) == 1 and seen.rank == 2:
        padding = seen.padding()
        if padding == "VALID" or (padding == "SAME" and not include):
            return first(tf.nn.avg_pool2d(last(x), seen.kernel, seen.strides, padding))
        taps = seen.kernel[0] * seen.kernel[1]
        total = first(tf.nn.avg_pool2d(seen.padded(last(x)), seen.kernel, seen.strides, "VALID"))
        if include and all(isinstance(n, int) and n == 0 for n in seen.beyond):
            return total
        return total * (tf.cast(taps, x.dtype) / _cells(x, seen, include))
    return _sums(x, seen) / _cells(x, seen, include)


def _sums(x: tf.Tensor, seen: Window) -> tf.Tensor:
    for i in range(seen.rank):
        x = tf.reduce_sum(_windows(x, seen, i, 0), i + 3)
    return x


def _cells(x: tf.Tensor, seen: Window, include: bool) -> tf.Tensor:
    """How many cells each window covers, (windows...); those of the padding count if `include`."""
    product = tf.ones((), x.dtype)
    for i in range(seen.rank):
        starts = tf.range(seen.counts[i]) * seen.strides[i] - seen.begin[i]
        cells = starts[:, None] + tf.range(seen.kernel[i]) * seen.dilations[i]
        low, high = (-seen.begin[i], seen.sizes[i] + seen.end[i]) if include else (0, seen.sizes[i])
        count = tf.reduce_sum(tf.cast((cells >= low) & (cells < high), x.dtype), -1)
        product = product[..., None] * count
    return product


@op("LpPool")
def lp_pool(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: list[int] | None = None,
    kernel_shape: list[int],
    p: float = 2.0,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    seen = window(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    return _in_float(x, lambda t: _root(_sums(_power(t, p), seen), p))


def _power(x: tf.Tensor, p: float) -> tf.Tensor:
    return tf.abs(x) if p == 1 else tf.square(x) if p == 2 else tf.pow(tf.abs(x), tf.cast(p, x.dtype))


def _root(x: tf.Tensor, p: float) -> tf.Tensor:
    return x if p == 1 else tf.sqrt(x) if p == 2 else tf.pow(x, tf.cast(1 / p, x.dtype))


def _spatial(x: tf.Tensor) -> list[int]:
    return list(range(2, x.shape.rank))


@op("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    return _in_float(x, lambda t: tf.reduce_mean(t, _spatial(t), True))


@op("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    return tf.reduce_max(x, _spatial(x), True)


@op("GlobalLpPool")
def global_lp_pool(x: Tensor, *, p: float = 2.0) -> Tensor:
    return _in_float(x, lambda t: _root(tf.reduce_sum(_power(t, p), _spatial(t), True), p))


@op("MaxUnpool", since=9)
def max_unpool(
    x: Tensor,
    indices: Tensor,
    output_shape: Static | None = None,
    *,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    rank = len(kernel_shape)
    steps, both = list(strides or [1] * rank), list(pads or [0] * (2 * rank))
    sizes = shape_of(x)
    spatial = [(sizes[i + 2] - 1) * steps[i] - both[i] - both[rank + i] + kernel_shape[i] for i in range(rank)]
    # The indices count cells of this shape, also where output_shape adds cells at the end.
    shape = tf.cast(tf.stack([sizes[0], sizes[1], *spatial]), tf.int64)
    flat = tf.scatter_nd(tf.reshape(indices, (-1, 1)), tf.reshape(x, (-1,)), tf.reduce_prod(shape)[None])
    made = tf.reshape(flat, shape)
    if output_shape is None:
        return made
    more = tf.maximum(tf.cast(output_shape, tf.int64) - shape, 0)
    return tf.pad(made, tf.stack([tf.zeros_like(more), more], 1))
