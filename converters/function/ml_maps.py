"""ai.onnx.ml: maps, which are Python dictionaries from str or int to a number or string."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.table import Tensor, op
from converters.function.values import as_tensor

__all__: list[str] = []

_ML = "ai.onnx.ml"


def _element(value: Any) -> tf.Tensor:
    """One value of a map as a scalar; Python's numbers are float32 or int64."""
    if isinstance(value, str | bytes):
        value = np.array(value, dtype=object)
    elif isinstance(value, float):
        value = np.float32(value)
    elif isinstance(value, int):
        value = np.int64(value)
    return tf.reshape(as_tensor(np.asarray(value) if isinstance(value, np.generic) else value), ())


def _cast(x: tf.Tensor, cast_to: str) -> tf.Tensor:
    wanted = {"TO_FLOAT": tf.float32, "TO_INT64": tf.int64, "TO_STRING": tf.string}.get(cast_to)
    if wanted is None:
        raise ValueError(f"unknown cast_to {cast_to!r}; known: TO_FLOAT, TO_INT64, TO_STRING")
    if x.dtype == wanted:
        return x
    if wanted == tf.string:
        return tf.as_string(x)
    return tf.strings.to_number(x, wanted) if x.dtype == tf.string else tf.cast(x, wanted)


@op("CastMap", domain=_ML)
def cast_map(x: Any, *, cast_to: str = "TO_FLOAT", map_form: str = "DENSE", max_map: int = 1) -> Tensor:
    keys = sorted(x)
    values = [_cast(_element(x[key]), cast_to) for key in keys]
    if map_form == "DENSE":
        return tf.stack(values)[None]
    if keys and not 0 <= keys[0] <= keys[-1] < max_map:
        raise ValueError(f"keys from {keys[0]} to {keys[-1]} do not fit in a sparse map of {max_map}")
    empty = _cast(tf.constant("" if cast_to == "TO_STRING" else 0), cast_to)
    places = dict(zip(keys, values, strict=True))
    return tf.stack([places.get(index, empty) for index in range(max_map)])[None]


@op("DictVectorizer", domain=_ML)
def dict_vectorizer(
    x: Any, *, int64_vocabulary: list[int] | None = None, string_vocabulary: list[str] | None = None
) -> Tensor:
    vocabulary: list[Any] = list(string_vocabulary or int64_vocabulary or [])
    unknown = set(x) - set(vocabulary)
    if unknown:
        raise ValueError(f"the map has keys that are not in the vocabulary: {sorted(unknown)}")
    values = {key: _element(value) for key, value in x.items()}
    kind = next(iter(values.values())).dtype if values else tf.float32
    empty = tf.constant("") if kind == tf.string else tf.zeros((), kind)
    return tf.stack([values.get(key, empty) for key in vocabulary])[None]


@op("ZipMap", domain=_ML)
def zip_map(
    x: Tensor, *, classlabels_int64s: list[int] | None = None, classlabels_strings: list[str] | None = None
) -> list[dict[Any, Any]]:
    labels: list[Any] = list(classlabels_strings or classlabels_int64s or [])
    rows = x[None] if x.shape.rank == 1 else x
    if rows.shape[-1] is not None and rows.shape[-1] != len(labels):
        raise ValueError(f"{rows.shape[-1]} columns for {len(labels)} keys")
    if rows.shape[0] is None:
        raise ValueError("a sequence of maps needs a batch size that is known while tracing; ask for ZipMap's input")
    if tf.executing_eagerly():
        return [dict(zip(labels, row, strict=True)) for row in rows.numpy()]
    return [dict(zip(labels, tf.unstack(row, len(labels)), strict=True)) for row in tf.unstack(rows)]
