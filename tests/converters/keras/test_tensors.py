"""Tensors over memory of their own: values of every type, nothing shared with the array, nothing written for zeros."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from converters.keras.tensors import owned_tensor, untouched_zeros

TYPES = ["float32", "float16", "float64", "int8", "uint8", "int32", "int64", "bool", "bfloat16", "complex64"]


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (7, 5), (3, 1, 4)], ids=str)
@pytest.mark.parametrize("dtype", TYPES)
def test_values_and_type_are_the_arrays(dtype, shape):
    array = np.array(np.random.default_rng(0).uniform(0, 9, shape), tf.as_dtype(dtype).as_numpy_dtype)
    tensor = owned_tensor(array)
    assert tensor.dtype == dtype and tuple(tensor.shape) == shape
    assert np.array_equal(tensor.numpy(), array)


@pytest.mark.parametrize(
    ("given", "wanted"), [("float64", "float32"), ("float32", "float16"), ("float32", "bfloat16"), ("int64", "float32")]
)
def test_casting_is_tensorflows(given, wanted):
    array = np.random.default_rng(0).uniform(-9, 9, (50,)).astype(given)
    assert np.array_equal(np.asarray(owned_tensor(array, wanted)), np.asarray(tf.cast(array, wanted)))
    narrow = array.astype(ml_dtypes.bfloat16)
    assert np.array_equal(np.asarray(owned_tensor(narrow, "float32")), narrow.astype(np.float32))


@pytest.mark.parametrize("offset", [0, 1, 4, 64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_array_is_not_shared_at_any_alignment(offset, order):
    memory = np.zeros(4 * 35 + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    array = np.frombuffer(memory.data, np.float32, 35, start).reshape((7, 5), order=order)
    array[...] = np.arange(35).reshape(7, 5)
    variable = tf.Variable(tf.zeros((7, 5)))
    variable.assign(owned_tensor(array))
    memory[:] = 255
    assert np.array_equal(variable.numpy(), np.arange(35).reshape(7, 5))
    variable.assign_add(tf.ones((7, 5)))
    assert np.array_equal(variable.numpy(), np.arange(35).reshape(7, 5) + 1)
    assert np.all(memory == 255)


@pytest.mark.parametrize("dtype", TYPES)
def test_zeros(dtype):
    found = untouched_zeros((3, 4), dtype)
    assert found.dtype == dtype and not np.any(np.asarray(found))


def test_two_variables_over_the_same_zeros_are_two():
    zeros = untouched_zeros((4,), "float32")
    first, second = tf.Variable(zeros), tf.Variable(zeros)
    first.assign_add(tf.ones(4))
    assert not np.any(second.numpy()) and np.all(first.numpy() == 1) and not np.any(zeros.numpy())
