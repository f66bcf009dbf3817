"""Arrays on their way into Keras layers: copied once, never initialised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FromArray", "alike_named", "call_with"]


class FromArray:
    """A Keras initialiser that gives one array instead of drawing numbers.

    It is in a layer only while the layer is built; the stock initialiser is put back afterwards, so that the
    model's config names nothing of modelzoo.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __call__(self, shape: Sequence[int], dtype: Any = None, **_: Any) -> Any:
        import tensorflow as tf

        tensor = _copied(self.array)
        return tensor if dtype is None or tensor.dtype == dtype else tf.cast(tensor, dtype)


#: Arrays from this many bytes on are copied by us; TensorFlow would copy them twice.
_BIG = 1 << 20
_ALIGNMENT = 64
_STRIP = 16


def _copied(array: np.ndarray) -> Any:
    """A tensor of the array's values in memory that nobody else has, so that an optimiser may write into it."""
    import numpy as np
    import tensorflow as tf

    if array.nbytes >= _BIG and array.dtype.isnative and array.dtype.name in _HANDED_OVER:
        # Aligned as TensorFlow's kernels need it (an unaligned tensor aborts the process), handed over without a copy.
        memory = np.empty(array.nbytes + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        own = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        if array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous:
            for first in range(0, array.shape[1], _STRIP):
                # Strips that fit the cache: NumPy walks a whole transposition in the worst order.
                own[:, first : first + _STRIP] = array[:, first : first + _STRIP]
        else:
            np.copyto(own, array)
        return tf.experimental.dlpack.from_dlpack(own.__dlpack__())
    if array.flags.writeable:
        # What may be written to, TensorFlow may share instead of copying it.
        array = array.view()
        array.flags.writeable = False
    return tf.convert_to_tensor(array)


_HANDED_OVER = frozenset(("float16", "float32", "float64", "int32", "int64"))


@contextmanager
def alike_named() -> Iterator[None]:
    """TensorFlow variables that are made inside have one name; Keras' own names and paths are untouched.

    TensorFlow prepares and keeps a kernel (25 kB and more) for each pair of name and shape that it has not met, which
    costs more than all the rest of making a variable. So the kernel is asked for a variable of any shape, and the shape
    noted on the variable afterwards. Nothing reads the name: files and optimisers go by Keras' paths. The scope is this
    thread's alone.
    """
    import tensorflow as tf

    def rename(make: Callable[..., Any], **arguments: Any) -> Any:
        # A slash at the end leaves the layer's name scope, which would make the name differ again.
        arguments["name"] = "variable/"
        plain = not tf.executing_eagerly() or tf.distribute.has_strategy() or arguments.get("shape") is not None
        value = arguments["initial_value"]
        if not plain and callable(value):
            arguments["initial_value"] = value = value()
        if plain or not tf.is_tensor(value):
            return make(**arguments)
        variable = _with_shape(make(**{**arguments, "shape": tf.TensorShape(None)}), value)
        return make(**arguments) if variable is None else variable

    with tf.variable_creator_scope(rename):
        yield


def call_with(
    layer: Any, x: Any, arrays: Mapping[str, np.ndarray | None], *, holder: Any = None, **arguments: Any
) -> Any:
    """Call `layer` on `x` while its initialisers give arrays, and put the stock ones back.

    Args:
        layer: an unbuilt Keras layer.
        x: its symbolic input.
        arrays: weight (`kernel` for the attribute `kernel_initializer`) -> array of its shape; None is left out.
        holder: who has the initialisers, if not the layer itself (the cell of a recurrent layer).
        **arguments: of the call.
    """
    owner = layer if holder is None else holder
    stock: dict[str, Any] = {}
    for weight, array in arrays.items():
        if array is not None:
            attribute = f"{weight}_initializer"
            stock[attribute] = getattr(owner, attribute)
            setattr(owner, attribute, FromArray(array))
    try:
        return layer(x, **arguments)
    finally:
        for attribute, initializer in stock.items():
            setattr(owner, attribute, initializer)


def _with_shape(variable: Any, value: Any) -> Any | None:
    """A variable that was made for any shape, as one of its value's shape; None where TensorFlow has no such way."""
    try:
        from tensorflow.python.ops import handle_data_util

        variable._shape = value.shape
        variable.handle._handle_data = handle_data_util.create_handle_data(value.shape, variable.dtype)
    except (ImportError, AttributeError):
        return None
    return variable if variable.shape == value.shape else None
