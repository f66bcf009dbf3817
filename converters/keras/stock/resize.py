"""Enlarging by whole factors, and moving elements between channels and space."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from converters.keras.held import Held
from converters.keras.node import Node
from converters.keras.stock.table import Result, stock

#: Most channels whose order a model's config may hold.
_MOST_CHANNELS = 1024


def _enlarged(at: Node, x: Held, scales: Any, method: str) -> Result:
    if not isinstance(scales, np.ndarray) or x.rank != 4 or scales.size != 4 or x.dtype != "float32":
        return None
    factors = [float(item) for item in scales]
    if factors[:2] != [1.0, 1.0] or any(f != int(f) or f < 1 for f in factors[2:]):
        return None
    size = (int(factors[2]), int(factors[3]))
    made = at.layer(keras.layers.UpSampling2D, size, interpolation=method)(at.last(x))
    return at.as_last(made, nonnegative=x.nonnegative)


@stock("Upsample", since=7)
def upsample_attribute(at: Node, x: Held, *, scales: list[float], mode: str = "nearest") -> Result:
    return _enlarged(at, x, np.array(scales), "nearest") if mode == "nearest" else None


@stock("Upsample", since=9)
def upsample(at: Node, x: Held, scales: Any, *, mode: str = "nearest") -> Result:
    return _enlarged(at, x, scales, "nearest") if mode == "nearest" else None


@stock("Resize", since=10)
def resize_10(at: Node, x: Held, scales: Any, *, mode: str = "nearest") -> Result:
    return _enlarged(at, x, scales, "nearest") if mode == "nearest" else None


@stock("Resize", since=11)
def resize(
    at: Node,
    x: Held,
    roi: Any = None,
    scales: Any = None,
    sizes: Any = None,
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
) -> Result:
    if axes is not None or keep_aspect_ratio_policy != "stretch" or x.rank != 4:
        return None
    if sizes is not None:
        have = x.shape
        if not isinstance(sizes, np.ndarray) or None in have[1:] or list(sizes[:1]) not in ([have[0]], [1]):
            return None
        scales = np.array([1.0, *(new / old for new, old in zip(sizes[1:], have[1:], strict=True))])
    centred = coordinate_transformation_mode == "half_pixel"
    # Whole factors: each cell is repeated, both with floor at i / f and with the nearest at (i + 1/2) / f - 1/2.
    repeats = (coordinate_transformation_mode == "asymmetric" and nearest_mode == "floor") or (
        centred and nearest_mode in ("round_prefer_floor", "round_prefer_ceil")
    )
    if mode == "nearest" and repeats:
        return _enlarged(at, x, scales, "nearest")
    if mode == "linear" and centred and not exclude_outside:
        return _enlarged(at, x, scales, "bilinear")
    return None


@stock("DepthToSpace")
def depth_to_space(at: Node, x: Held, *, blocksize: int, mode: str = "DCR") -> Result:
    _, c, h, w = x.shape if x.rank == 4 else (None,) * 4
    if c is None:
        return None
    tensor = at.last(x)
    b, depth = blocksize, c // blocksize**2
    if h is None or w is None:
        if b < 2 or not hasattr(keras.ops, "depth_to_space") or (mode != "DCR" and c > _MOST_CHANNELS):
            return None
        if mode != "DCR" and depth > 1:
            tensor = keras.ops.take(tensor, np.arange(c).reshape(depth, b, b).transpose(1, 2, 0).ravel(), axis=-1)
        return at.as_last(keras.ops.depth_to_space(tensor, b), nonnegative=x.nonnegative)
    # Channels are (b, b, depth) with DCR and (depth, b, b) with CRD; the columns move in front of the rows' block.
    inner, order = ((b, b, depth), (1, 3, 2, 4, 5)) if mode == "DCR" else ((depth, b, b), (1, 4, 2, 5, 3))
    split = at.layer(keras.layers.Reshape, (h, w, *inner), part="split")(tensor)
    mixed = at.layer(keras.layers.Permute, order, part="blocks")(split)
    return at.as_last(at.layer(keras.layers.Reshape, (h * b, w * b, depth))(mixed), nonnegative=x.nonnegative)


@stock("SpaceToDepth")
def space_to_depth(at: Node, x: Held, *, blocksize: int) -> Result:
    _, c, h, w = x.shape if x.rank == 4 else (None,) * 4
    if c is None:
        return None
    b = blocksize
    if h is None or w is None:
        if b < 2 or not hasattr(keras.ops, "space_to_depth"):
            return None
        return at.as_last(keras.ops.space_to_depth(at.last(x), b), nonnegative=x.nonnegative)
    split = at.layer(keras.layers.Reshape, (h // b, b, w // b, b, c), part="split")(at.last(x))
    mixed = at.layer(keras.layers.Permute, (1, 3, 2, 4, 5), part="blocks")(split)
    return at.as_last(at.layer(keras.layers.Reshape, (h // b, w // b, b * b * c))(mixed), nonnegative=x.nonnegative)
