"""TensorFlow tensors over memory that was made for them: an array is copied once, zeros are not written at all.

`tf.convert_to_tensor` copies an array twice where its memory is not aligned as TensorFlow's kernels need it, which
NumPy's is not. Here an array goes into aligned memory of its own, which TensorFlow takes over through DLPack; a
variable that is assigned it keeps it without another copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["owned_tensor", "untouched_zeros"]

_ALIGNMENT = 64  # of Eigen's widest loads; memory that is aligned less can end the process


def owned_tensor(array: np.ndarray, dtype: Any = None) -> Any:
    """An eager tensor of `array`'s values, in memory that nobody else writes to.

    Args:
        array: of any layout and alignment, writeable or not.
        dtype: of the tensor, as TensorFlow names it; None = the array's.
    """
    import tensorflow as tf

    wanted = tf.as_dtype(array.dtype if dtype is None else dtype)
    if not _travels(array.dtype) or not _travels(wanted.as_numpy_dtype):
        array = array.view()
        array.flags.writeable = False  # so that TensorFlow copies it
        tensor = tf.convert_to_tensor(array)
        return tensor if tensor.dtype == wanted else tf.cast(tensor, wanted)
    # np.empty asks for large pages, which halve the time of a large copy; np.zeros does not.
    memory = _aligned(np.empty, array.shape, wanted.as_numpy_dtype)
    np.copyto(memory, array, casting="unsafe")
    return tf.experimental.dlpack.from_dlpack(memory.__dlpack__())


def untouched_zeros(shape: Sequence[int], dtype: Any) -> Any:
    """An eager tensor of zeros over pages that the system provides when they are first written.

    A variable that starts with it and is assigned other values lets go of it, and has never cost memory or time.
    """
    import tensorflow as tf

    wanted = tf.as_dtype(dtype)
    if not _travels(wanted.as_numpy_dtype):
        return tf.zeros(shape, wanted)
    return tf.experimental.dlpack.from_dlpack(_aligned(np.zeros, tuple(shape), wanted.as_numpy_dtype).__dlpack__())


def _travels(dtype: Any) -> bool:
    """Whether DLPack, as NumPy speaks it, knows a type: plain numbers, not bfloat16 or the small floats."""
    return np.dtype(dtype).kind in "fiu"


def _aligned(allocate: Callable[..., np.ndarray], shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = allocate(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
