"""Models of other people's builders without a random number drawn: weights are blank until they are assigned.

keras.applications' builders take no arrays, and their initialisers draw numbers that the file's replace at once. In
`blank_weights` they give zeros whose memory is never touched, in this thread alone.
"""

from __future__ import annotations

import math
import mmap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["blank_weights", "fresh_names"]

_CLASSES = ("RandomNormal", "TruncatedNormal", "RandomUniform", "VarianceScaling", "Orthogonal", "Ones", "Zeros")
"""The classes of keras.initializers that define `__call__` and cost time; all that draw are among their subclasses."""

_lock = threading.Lock()
_stock: dict[type, Callable[..., Any]] = {}
_inside = 0
_here = threading.local()


@contextmanager
def blank_weights() -> Iterator[None]:
    """Within the block, in this thread, Keras' initialisers give zeros, those of random numbers and of ones too.

    The classes are changed while any thread is inside, and as they were when the last one has left; threads that are
    not inside draw as ever. Several blocks may be nested.
    """
    global _inside
    with _lock:
        if _inside == 0:
            _replace()
        _inside += 1
    before = getattr(_here, "zeros", None)
    _here.zeros = {} if before is None else before
    try:
        yield
    finally:
        _here.zeros = before
        with _lock:
            _inside -= 1
            if _inside == 0:
                for kind, call in _stock.items():
                    kind.__call__ = call  # type: ignore[method-assign]
                _stock.clear()


def _replace() -> None:
    import keras

    for name in _CLASSES:
        kind = getattr(keras.initializers, name)
        _stock[kind] = kind.__call__
        kind.__call__ = _blank_or(kind.__call__)


def _blank_or(draw: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, shape: Any, dtype: Any = None, **options: Any) -> Any:
        zeros = getattr(_here, "zeros", None)
        if zeros is None:
            return draw(self, shape, dtype, **options)
        import keras

        key = (tuple(shape), dtype or keras.config.floatx())
        if key not in zeros:
            zeros[key] = _zeros(*key)
        return zeros[key]

    call.__doc__ = draw.__doc__
    return call


def _zeros(shape: tuple[int, ...], dtype: str) -> Any:
    """A tensor of zeros over pages that the system provides when they are first written.

    A variable that starts with it and is assigned other values lets go of it, and has cost neither memory nor time.
    """
    import numpy as np
    import tensorflow as tf

    wanted = np.dtype(tf.as_dtype(dtype).as_numpy_dtype)
    if wanted.kind not in "fiu":  # not known to DLPack as NumPy speaks it
        return tf.zeros(shape, dtype)
    size = math.prod(shape) * wanted.itemsize
    if size < mmap.PAGESIZE:
        return tf.zeros(shape, dtype)
    # Pages of its own: freed, they go back to the system and leave no holes between the arrays that stay.
    memory = np.frombuffer(mmap.mmap(-1, size), wanted).reshape(shape)
    return tf.experimental.dlpack.from_dlpack(memory.__dlpack__())


@contextmanager
def fresh_names() -> Iterator[None]:
    """Within the block, in this thread, automatic layer names count from the beginning (`conv2d`, `conv2d_1`).

    So the taps of a network are called the same, however many models were built before it.
    """
    try:
        from keras.src.backend.common import global_state
    except ImportError:  # a Keras that keeps its counters elsewhere: names are right, but for their numbers
        yield
        return
    before = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", before)
