"""ai.onnx.ml: categories to numbers, numbers to categories."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from converters.function.lookup import positions_in
from converters.function.table import Tensor, op
from converters.function.values import as_tensor

__all__: list[str] = []

_ML = "ai.onnx.ml"


def _mapped(x: tf.Tensor, keys: np.ndarray, values: np.ndarray, default: object) -> tf.Tensor:
    """The value of each element's key, `default` for what is no key; the last of equal keys counts."""
    if len(keys) != len(values):
        raise ValueError(f"{len(keys)} keys for {len(values)} values")
    # The default stands behind the values: a position of -1 reaches it.
    table = np.empty(len(values) + 1, values.dtype)
    table[:-1], table[-1] = values, default
    place = positions_in(x, keys)
    return tf.gather(as_tensor(table), tf.where(place < 0, tf.constant(len(values), tf.int64), place))


def _words(strings: list[str]) -> np.ndarray:
    return np.array(strings, dtype=object)


@op("LabelEncoder", domain=_ML)
def label_encoder_1(
    x: Tensor,
    *,
    classes_strings: list[str] | None = None,
    default_int64: int = -1,
    default_string: str = "_Unused",
) -> Tensor:
    words = _words(classes_strings or [])
    numbers = np.arange(len(words), dtype=np.int64)
    if x.dtype == tf.string:
        return _mapped(x, words, numbers, default_int64)
    return _mapped(x, numbers, words, default_string)


@op("LabelEncoder", domain=_ML, since=2)
def label_encoder(
    x: Tensor,
    *,
    default_float: float = -0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    default_tensor: np.ndarray | None = None,
    keys_floats: list[float] | None = None,
    keys_int64s: list[int] | None = None,
    keys_strings: list[str] | None = None,
    keys_tensor: np.ndarray | None = None,
    values_floats: list[float] | None = None,
    values_int64s: list[int] | None = None,
    values_strings: list[str] | None = None,
    values_tensor: np.ndarray | None = None,
) -> Tensor:
    if keys_tensor is not None:
        keys = np.ravel(keys_tensor)
    elif keys_strings is not None:
        keys = _words(keys_strings)
    elif keys_int64s is not None:
        keys = np.array(keys_int64s, np.int64)
    else:
        keys = np.array(keys_floats or [], np.float32)
    default: object
    if values_tensor is not None:
        values = np.ravel(values_tensor)
        default = {"O": default_string, "f": default_float}.get(values.dtype.kind, default_int64)
        if default_tensor is not None:
            default = default_tensor.item()
    elif values_strings is not None:
        values, default = _words(values_strings), default_string
    elif values_int64s is not None:
        values, default = np.array(values_int64s, np.int64), default_int64
    else:
        values, default = np.array(values_floats or [], np.float32), default_float
    return _mapped(x, keys, values, default)


@op("CategoryMapper", domain=_ML)
def category_mapper(
    x: Tensor,
    *,
    cats_int64s: list[int] | None = None,
    cats_strings: list[str] | None = None,
    default_int64: int = -1,
    default_string: str = "_Unused",
) -> Tensor:
    numbers, words = np.array(cats_int64s or [], np.int64), _words(cats_strings or [])
    if x.dtype == tf.string:
        return _mapped(x, words, numbers, default_int64)
    return _mapped(x, numbers, words, default_string)


@op("OneHotEncoder", domain=_ML)
def one_hot_encoder(
    x: Tensor, *, cats_int64s: list[int] | None = None, cats_strings: list[str] | None = None, zeros: int = 1
) -> Tensor:
    if x.dtype == tf.string:
        place = positions_in(x, _words(cats_strings or []))
    else:
        place = positions_in(tf.cast(x, tf.int64), np.array(cats_int64s or [], np.int64))
    if not zeros:
        with tf.control_dependencies([tf.debugging.assert_non_negative(place, "an element is none of the categories")]):
            place = tf.identity(place)
    return tf.one_hot(place, len(cats_strings or cats_int64s or []))
