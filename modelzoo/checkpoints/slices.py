"""Putting a partitioned variable together from the slices it was saved in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.tf_types import Extent

__all__ = ["Bounds", "assemble", "bounds"]

Bounds = tuple[slice, ...]


def bounds(shape: tuple[int, ...], extents: Sequence[Extent]) -> Bounds:
    """One Python slice for each axis.

    Raises:
        Damage: the extents do not lie inside the shape.
    """
    if len(extents) != len(shape):
        raise Damage(f"a slice has {len(extents)} axes, its tensor {len(shape)}")
    result = []
    for size, extent in zip(shape, extents, strict=True):
        length = size - extent.start if extent.length is None else extent.length
        if extent.start < 0 or length < 0 or extent.start + length > size:
            raise Damage(f"a slice reaches outside its tensor of shape {list(shape)}")
        result.append(slice(extent.start, extent.start + length))
    return tuple(result)


def assemble(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    slices: Sequence[tuple[Extent, ...]],
    read: Callable[[tuple[Extent, ...], tuple[int, ...]], np.ndarray],
) -> np.ndarray:
    """The whole tensor.

    Args:
        shape: of the whole tensor.
        dtype: of the whole tensor.
        slices: the extents of every slice.
        read: gives the array of one slice, from its extents and its shape.

    Returns:
        What `read` gave, where one slice covers everything; else a new array.

    Raises:
        Damage: slices overlap, leave elements out or reach outside.
    """
    parts = [(extents, bounds(shape, extents)) for extents in slices]
    shapes = [tuple(cut.stop - cut.start for cut in part) for _, part in parts]
    if sum(math.prod(part) for part in shapes) != math.prod(shape):
        raise Damage(f"its slices do not cover its shape {list(shape)} exactly")
    if len(parts) == 1:
        return read(parts[0][0], shapes[0])
    # Read first: only bytes that exist justify allocating the whole.
    arrays = [read(extents, part) for (extents, _), part in zip(parts, shapes, strict=True)]
    whole = np.empty(shape, dtype=dtype)
    filled = np.zeros(shape, dtype=bool)
    for array, (_, part) in zip(arrays, parts, strict=True):
        whole[part] = array
        filled[part] = True
    if not filled.all():
        raise Damage("its slices overlap")
    return whole
