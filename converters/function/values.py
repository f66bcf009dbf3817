"""What flows along the edges of a graph while it is computed, and how it changes form.

A value is a NumPy array (known while tracing), a `tf.Tensor`, a `Narrow` (an element type that TensorFlow has no
kernels for, held exactly in a wider one), a list (a sequence), a dict (an ai.onnx.ml map) or None (absent optional).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import tensorflow as tf

__all__ = [
    "NARROW",
    "Narrow",
    "as_numpy",
    "as_tensor",
    "dtype_of",
    "element_dtype",
    "is_known",
    "known",
    "narrow",
    "partial_vector",
    "shape_of",
    "tf_dtype",
    "tidy",
    "widen",
]

#: Types without TensorFlow kernels -> the type that holds each of their values exactly.
NARROW: dict[np.dtype, np.dtype] = {
    np.dtype(ml_dtypes.float8_e4m3fn): np.dtype(np.float32),
    np.dtype(ml_dtypes.float8_e4m3fnuz): np.dtype(np.float32),
    np.dtype(ml_dtypes.float8_e5m2): np.dtype(np.float32),
    np.dtype(ml_dtypes.float8_e5m2fnuz): np.dtype(np.float32),
    # Its smallest powers are subnormal in float32, which TensorFlow flushes to zero.
    np.dtype(ml_dtypes.float8_e8m0fnu): np.dtype(np.float64),
    np.dtype(ml_dtypes.float6_e2m3fn): np.dtype(np.float32),
    np.dtype(ml_dtypes.float6_e3m2fn): np.dtype(np.float32),
    np.dtype(ml_dtypes.float4_e2m1fn): np.dtype(np.float32),
    np.dtype(ml_dtypes.int4): np.dtype(np.int8),
    np.dtype(ml_dtypes.uint4): np.dtype(np.uint8),
    np.dtype(ml_dtypes.int2): np.dtype(np.int8),
    np.dtype(ml_dtypes.uint2): np.dtype(np.uint8),
}


@dataclass(frozen=True)
class Narrow:
    """A tensor of a narrow type, emulated: `values` hold exactly what `dtype` could hold, in a wider type."""

    values: tf.Tensor
    dtype: np.dtype


def element_dtype(code: int) -> np.dtype:
    """The NumPy type (ml_dtypes for narrow ones, object for strings) of an ONNX element type."""
    return ir.DataType(code).numpy()


def tf_dtype(dtype: np.dtype) -> tf.DType:
    """TensorFlow's type for a NumPy type; the emulating one for narrow types, string for object."""
    dtype = np.dtype(dtype)
    if dtype.kind in "OUST":
        return tf.string
    return tf.as_dtype(NARROW.get(dtype, dtype))


def narrow(array: np.ndarray) -> Any:
    """The array itself, or its emulation where its type is narrow."""
    wide = NARROW.get(array.dtype)
    if wide is None:
        return array
    with tf.init_scope():  # a plan may be made while tracing, and outlives the graph
        return Narrow(tf.constant(array.astype(wide)), array.dtype)


def as_tensor(value: Any) -> tf.Tensor:
    """The value as a `tf.Tensor`; strings become UTF-8 tensors."""
    if isinstance(value, Narrow):
        return value.values
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OUST":
            flat = [item if isinstance(item, bytes) else str(item).encode() for item in value.ravel().tolist()]
            return tf.reshape(tf.constant(flat, tf.string), value.shape)
        wide = NARROW.get(value.dtype)
        return tf.constant(value if wide is None else value.astype(wide))
    return tf.convert_to_tensor(value)


def known(value: Any) -> Any:
    """The value as a NumPy array where it is known now, else as it is."""
    if isinstance(value, tf.Tensor):
        if hasattr(value, "numpy"):
            return as_numpy(value)
        array = tf.get_static_value(value)
        return value if array is None else _strings(np.asarray(array))
    return value


def is_known(value: Any) -> bool:
    """Whether the value is there while tracing, so that Python may decide by it."""
    return not isinstance(value, tf.Tensor) or hasattr(value, "numpy")


def _strings(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "OSU":
        return array
    flat = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
    result = np.empty(len(flat), dtype=object)
    result[:] = flat
    return result.reshape(array.shape)


def as_numpy(value: Any) -> Any:
    """A computed value as NumPy: arrays (object arrays of str for strings, ml_dtypes for narrow types), lists, None."""
    if isinstance(value, Narrow):
        return np.asarray(value.values).astype(value.dtype)
    if isinstance(value, list):
        return [as_numpy(item) for item in value]
    if isinstance(value, tf.Tensor):
        return _strings(np.asarray(value.numpy()))
    return value


def dtype_of(value: Any) -> np.dtype:
    """The element type of a value, as NumPy's (object for strings)."""
    if isinstance(value, Narrow):
        return value.dtype
    if isinstance(value, np.ndarray):
        return np.dtype(object) if value.dtype.kind in "OUST" else value.dtype
    return np.dtype(object) if value.dtype == tf.string else np.dtype(value.dtype.as_numpy_dtype)


def shape_of(value: tf.Tensor) -> np.ndarray | tf.Tensor:
    """The shape as an int64 vector: NumPy where every dimension is known while tracing, else a tensor."""
    if value.shape.is_fully_defined():
        return np.array(value.shape.as_list(), np.int64)
    return tf.shape(value, out_type=tf.int64)


def partial_vector(vector: np.ndarray | tf.Tensor) -> list[int | None]:
    """The elements of a vector of sizes, None where one is not known while tracing; a vector of known length.

    TensorFlow's own shape inference follows sizes through Shape, StridedSlice, Pack and Concat, but for negative ones.
    """
    if isinstance(vector, np.ndarray):
        return vector.tolist()
    array = tf.get_static_value(vector)
    if array is not None:
        return array.tolist()
    try:
        return tf.fill(vector, False).shape.as_list()  # never run: only its shape is wanted
    except ValueError:
        return [None] * (vector.shape[0] or 0)


def widen(value: Any) -> Any:
    """The value without its emulation: what carries the elements."""
    return value.values if isinstance(value, Narrow) else value


def tidy(value: Any) -> Any:
    """Results of operators in the forms of this module: NumPy scalars become arrays, tuples lists."""
    if isinstance(value, np.generic | int | float | bool):
        return np.asarray(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, tf.Variable):
        return tf.convert_to_tensor(value)
    return value
