"""Where the elements of a tensor stand in a fixed list of numbers or strings: without hash tables, which hold state."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from converters.function.values import as_tensor

__all__ = ["positions_in"]

_BUCKETS = 2**63 - 1


def positions_in(x: tf.Tensor, listed: np.ndarray) -> tf.Tensor:
    """Position of each element of `x` in `listed`, of the last one where some are equal; -1 where there is none.

    Args:
        x: numbers or strings of any shape. NaN equals NaN.
        listed: the list, (K,), of the same type.

    Returns:
        Positions, int64, in the shape of `x`.
    """
    if listed.size == 0:
        return tf.fill(tf.shape(x), tf.constant(-1, tf.int64))
    if x.dtype == tf.string:
        return _strings(x, listed)
    wide = tf.float64 if x.dtype.is_floating else tf.int64
    numbers = listed.astype(wide.as_numpy_dtype)
    probes = tf.cast(x, wide)
    if not x.dtype.is_floating:
        return _numbers(probes, numbers)
    missing, there = np.flatnonzero(np.isnan(numbers)), np.flatnonzero(~np.isnan(numbers))
    found = _numbers(probes, numbers[there], there) if there.size else tf.fill(tf.shape(x), tf.constant(-1, tf.int64))
    return tf.where(tf.math.is_nan(x), tf.constant(missing[-1], tf.int64), found) if missing.size else found


def _numbers(probes: tf.Tensor, numbers: np.ndarray, places: np.ndarray | None = None) -> tf.Tensor:
    order = np.argsort(numbers, kind="stable")
    ordered = tf.constant(numbers[order])
    named = (order if places is None else places[order]).astype(np.int64)
    flat = tf.reshape(probes, (-1,))
    place = tf.maximum(tf.searchsorted(ordered, flat, side="right") - 1, 0)
    found = tf.where(tf.gather(ordered, place) == flat, tf.gather(named, place), tf.constant(-1, tf.int64))
    return tf.ensure_shape(tf.reshape(found, tf.shape(probes)), probes.shape)


def _strings(x: tf.Tensor, listed: np.ndarray) -> tf.Tensor:
    words = as_tensor(listed)
    with tf.init_scope():
        hashes = tf.strings.to_hash_bucket_fast(as_tensor(listed), _BUCKETS).numpy()
    if len(np.unique(hashes)) < len(set(listed.tolist())):
        # Two words of one hash: compare with each of them.
        places = np.arange(listed.size, dtype=np.int64)
        return tf.reduce_max(tf.where(x[..., None] == words, places, tf.constant(-1, tf.int64)), -1)
    found = _numbers(tf.strings.to_hash_bucket_fast(x, _BUCKETS), hashes)
    same = tf.gather(words, tf.maximum(found, 0)) == x
    return tf.where(same & (found >= 0), found, tf.constant(-1, tf.int64))
