"""Resize and Upsample: each axis on its own, as a weighted sum of a few neighbours.

For every output cell of an axis there is a place in the input (`_places`), and from it follow neighbours and their
weights (`_neighbours`). Both are computed in float64; where the sizes are known they are constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.table import Static, Tensor, op
from converters.function.values import partial_vector
from converters.function.wider import cast_back

__all__ = ["Method", "resize_axes"]


@dataclass(frozen=True)
class Method:
    """How to resize; the names are those of ONNX's attributes. `nearest` may be "simple": opset 10's rule."""

    mode: str = "nearest"
    transformation: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False
    extrapolation: float = 0.0


@dataclass(frozen=True)
class _Axis:
    """One axis, in numbers or tensors.

    Attributes:
        size, result: sizes before and after.
        scale: how much longer it gets.
        length: size after, before it was rounded down to `result`.
        start, end: the region of interest, 0 to 1.
    """

    size: Any
    result: Any
    scale: Any
    length: Any
    start: Any = 0.0
    end: Any = 1.0

    @property
    def known(self) -> bool:
        numbers = (self.size, self.result, self.scale, self.length, self.start, self.end)
        return not any(isinstance(number, tf.Tensor) for number in numbers)


def _f64(value: Any) -> tf.Tensor:
    return tf.cast(value, tf.float64)


def _places(axis: _Axis, method: Method) -> tf.Tensor:
    """The place of each output cell on the input's axis."""
    at = tf.range(_f64(axis.result))
    # Sizes are multiplied before they are divided: places halfway between two cells come out exactly so.
    size, length = _f64(axis.size), _f64(axis.length)
    centred = (at + 0.5) * size / length - 0.5
    way = method.transformation
    if way == "half_pixel":
        return centred
    if way == "tf_half_pixel_for_nn":  # of opset 11 only
        return centred + 0.5
    if way == "asymmetric":
        return at * size / length
    if way == "pytorch_half_pixel":
        return tf.where(length > 1, centred, tf.zeros_like(at) - 0.5)
    if way == "half_pixel_symmetric":
        return size / 2 * (1 - _f64(axis.result) / length) + centred
    single = tf.equal(length, 1)
    span = tf.where(single, tf.ones_like(length), length - 1)
    if way == "align_corners":
        return tf.where(single, tf.zeros_like(at), at * (size - 1) / span)
    if way == "tf_crop_and_resize":
        start, end = _f64(axis.start), _f64(axis.end)
        inside = at * (end - start) * (size - 1) / span
        return start * (size - 1) + tf.where(single, (end - start) * (size - 1) / 2, inside)
    raise ValueError(f"unknown coordinate_transformation_mode {way!r}")


def _neighbours(axis: _Axis, method: Method) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
    """Cells (result, taps), their weights of the same shape (None for one tap) and which outputs lie outside."""
    places = _places(axis, method)
    top = tf.cast(axis.size, tf.int64) - 1
    outside = None
    if method.transformation == "tf_crop_and_resize":
        outside = (places < 0) | (places > _f64(top))
    if method.mode == "nearest":
        cells = tf.cast(_rounded(places, axis, method.nearest), tf.int64)[:, None]
        return tf.clip_by_value(cells, 0, top), None, outside
    stretch = tf.minimum(_f64(axis.scale), 1.0) if method.antialias else None
    radius = 1 if method.mode == "linear" else 2
    if stretch is None:
        first, last = tf.constant(1 - radius), tf.constant(radius)
    else:
        first = tf.cast(tf.floor(-radius / stretch), tf.int32) + 1
        last = 1 - first
    base = tf.math.ceil(places) - 1
    steps = tf.range(first, last + 1)
    distance = _f64(steps)[None, :] - (places - base)[:, None]
    if stretch is not None:
        distance *= stretch
    weights = _kernel(tf.abs(distance), method)
    cells = tf.cast(base, tf.int64)[:, None] + tf.cast(steps, tf.int64)[None, :]
    if method.exclude_outside:
        weights = tf.where((cells < 0) | (cells > top), tf.zeros_like(weights), weights)
    if method.exclude_outside or method.antialias:
        total = tf.reduce_sum(weights, 1, True)
        weights = weights / tf.where(tf.equal(total, 0), tf.ones_like(total), total)
    return tf.clip_by_value(cells, 0, top), weights, outside


def _kernel(x: tf.Tensor, method: Method) -> tf.Tensor:
    if method.mode == "linear":
        return tf.maximum(1 - x, 0.0)
    a = method.cubic  # Keys, "Cubic convolution interpolation for digital image processing", equation 4
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return tf.where(x <= 1, near, tf.where(x < 2, far, 0.0))


def _rounded(places: tf.Tensor, axis: _Axis, how: str) -> tf.Tensor:
    if how == "round_prefer_floor":
        return tf.math.ceil(places - 0.5)
    if how == "round_prefer_ceil":
        return tf.floor(places + 0.5)
    if how == "floor":
        return tf.floor(places)
    if how == "ceil":
        return tf.math.ceil(places)
    if how == "simple":
        return tf.where(_f64(axis.scale) < 1, tf.math.ceil(places), tf.floor(places))
    raise ValueError(f"unknown nearest_mode {how!r}")


def _constants(axis: _Axis, method: Method) -> tuple[Any, Any, Any]:
    if not axis.known:
        return _neighbours(axis, method)
    with tf.init_scope():
        cells, weights, outside = _neighbours(axis, method)
        return cells.numpy(), None if weights is None else weights.numpy(), None if outside is None else outside.numpy()


def resize_axes(x: tf.Tensor, axes: dict[int, _Axis], method: Method) -> tf.Tensor:
    """`x` with each of the given axes resized."""
    own = x
    if method.mode != "nearest" and x.dtype not in (tf.float32, tf.float64):
        x = tf.cast(x, tf.float32)
    for number, axis in axes.items():
        cells, weights, outside = _constants(axis, method)
        x = _resized(x, number, cells, weights)
        shape = x.shape.as_list()
        shape[number] = axis.result if isinstance(axis.result, int) else None
        x = tf.ensure_shape(x, shape)
        if outside is not None and (isinstance(outside, tf.Tensor) or outside.any()):
            mask = tf.reshape(tf.convert_to_tensor(outside), [-1, *[1] * (x.shape.rank - number - 1)])
            x = tf.where(mask, tf.cast(method.extrapolation, x.dtype), x)
    if own.dtype.is_integer and method.mode != "nearest":
        x = tf.clip_by_value(x, float(own.dtype.min), float(own.dtype.max))
    return cast_back(x, own)


def _resized(x: tf.Tensor, number: int, cells: Any, weights: Any) -> tf.Tensor:
    if weights is None:
        return tf.gather(x, cells[:, 0], axis=number)
    behind = x.shape.rank - number - 1
    taps = cells.shape[1]
    if taps is not None and taps <= 4:
        total = None
        for tap in range(taps):
            weight = tf.reshape(tf.cast(weights[:, tap], x.dtype), [-1, *[1] * behind])
            part = tf.gather(x, cells[:, tap], axis=number) * weight
            total = part if total is None else total + part
        return total
    factor = tf.cast(weights, x.dtype)
    factor = tf.reshape(factor, tf.concat([tf.shape(factor), [1] * behind], 0))
    return tf.reduce_sum(tf.gather(x, cells, axis=number) * factor, number + 1)


def _absent(value: Any) -> bool:
    return value is None or len(value.shape) == 0 or value.shape[0] == 0


def _number(values: Any, index: int, kind: type) -> Any:
    return kind(values[index]) if isinstance(values, np.ndarray) else values[index]


def _sizes(x: tf.Tensor) -> list[Any]:
    return [have if have is not None else tf.shape(x)[i] for i, have in enumerate(x.shape)]


def _changed(axes: dict[int, _Axis], method: Method) -> dict[int, _Axis]:
    """Without the axes that stay as they are."""
    if method.transformation == "tf_crop_and_resize":
        return {
            n: a
            for n, a in axes.items()
            if not (a.known and (a.size, a.start, a.end) == (a.result, 0.0, 1.0) and a.scale == 1.0)
        }
    return {n: a for n, a in axes.items() if isinstance(a.scale, tf.Tensor) or a.scale != 1.0}


def _floor(value: Any) -> Any:
    if isinstance(value, tf.Tensor):
        return tf.cast(tf.floor(value), tf.int32)
    return int(np.floor(value))


def _scaled(x: tf.Tensor, scales: Any, method: Method) -> tf.Tensor:
    axes = {}
    for i, size in enumerate(_sizes(x)):
        scale = _number(scales, i, float)
        length = _product(size, scale)
        axes[i] = _Axis(size, _floor(length), scale, length)
    return resize_axes(x, _changed(axes, method), method)


def _product(size: Any, scale: Any) -> Any:
    if isinstance(size, tf.Tensor) or isinstance(scale, tf.Tensor):
        return tf.cast(size, tf.float64) * tf.cast(scale, tf.float64)
    return size * scale


#: What Upsample and Resize did before the attributes of opset 11 came.
_OLD_NEAREST = Method("nearest", "asymmetric", "simple")
_OLD_LINEAR = Method("linear", "asymmetric")


@op("Upsample")
def upsample_1(x: Tensor, *, height_scale: float, width_scale: float, mode: str = "nearest") -> Tensor:
    scales = np.array([1.0, 1.0, height_scale, width_scale], np.float32)
    return _scaled(x, scales, _OLD_NEAREST if mode == "nearest" else _OLD_LINEAR)


@op("Upsample", since=7)
def upsample_7(x: Tensor, *, scales: list[float], mode: str = "nearest") -> Tensor:
    return _scaled(x, np.array(scales, np.float32), _OLD_NEAREST if mode == "nearest" else _OLD_LINEAR)


@op("Upsample", since=9, constant=("scales",))
@op("Resize", since=10, constant=("scales",))
def resize_10(x: Tensor, scales: Static, *, mode: str = "nearest") -> Tensor:
    return _scaled(x, scales, _OLD_NEAREST if mode == "nearest" else _OLD_LINEAR)


@op("Resize", since=11, constant=("roi", "scales"))
def resize(
    x: Tensor,
    roi: Static | None = None,
    scales: Static | None = None,
    sizes: Static | None = None,
    *,
    antialias: int = 0,
    axes: list[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    crop = coordinate_transformation_mode == "tf_crop_and_resize"
    method = Method(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(antialias),
        bool(exclude_outside),
        extrapolation_value,
    )
    rank = x.shape.rank
    chosen = [axis % rank for axis in axes] if axes is not None else list(range(rank))
    have = _sizes(x)
    made: dict[int, _Axis] = {}
    common = None
    wanted: list[Any] = [] if _absent(sizes) else partial_vector(sizes)
    if not _absent(sizes) and keep_aspect_ratio_policy != "stretch":
        common = _common_scale([have[axis] for axis in chosen], sizes, keep_aspect_ratio_policy)
    for i, axis in enumerate(chosen):
        start = _number(roi, i, float) if crop and not _absent(roi) else 0.0
        end = _number(roi, len(chosen) + i, float) if crop and not _absent(roi) else 1.0
        if _absent(sizes):
            # The region of interest is not in the size, whatever the text says: no runtime has it there.
            scale = _number(scales, i, float)
            length = _product(have[axis], scale)
            result = _floor(length)
        elif common is None:
            result = wanted[i]
            if result is None:
                assert isinstance(sizes, tf.Tensor)
                result = tf.cast(sizes[i], tf.int32)
            scale, length = _quotient(result, have[axis]), result
        else:
            scale, length = common, _product(have[axis], common)
            result = _floor(length + 0.5)
        made[axis] = _Axis(have[axis], result, scale, length, start, end)
    return resize_axes(x, _changed(made, method), method)


def _quotient(a: Any, b: Any) -> Any:
    if isinstance(a, tf.Tensor) or isinstance(b, tf.Tensor):
        return _f64(a) / _f64(b)
    return a / b


def _common_scale(have: Sequence[Any], sizes: Any, policy: str) -> Any:
    scales = [_quotient(_number(sizes, i, int), size) for i, size in enumerate(have)]
    least = policy == "not_larger"
    if any(isinstance(scale, tf.Tensor) for scale in scales):
        stacked = tf.stack([_f64(scale) for scale in scales])
        return tf.reduce_min(stacked) if least else tf.reduce_max(stacked)
    return min(scales) if least else max(scales)
