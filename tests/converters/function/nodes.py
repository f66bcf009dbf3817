"""Models of one node, run by onnxruntime and by `converters.function`: eagerly, and traced with every size open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from onnx import helper, numpy_helper

from converters.function import load
from converters.function.values import as_numpy

__all__ = ["agrees", "computed", "normal", "one_node", "traced"]


def normal(seed: int, *shape: int, dtype: type = np.float32) -> np.ndarray:
    """Normally distributed numbers, always the same ones for a seed."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def one_node(
    operator: str,
    inputs: Sequence[np.ndarray | None],
    opset: int,
    *,
    outputs: int = 1,
    constant: Sequence[int] = (),
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of a single node; inputs have open sizes, those at the positions `constant` are initialisers."""
    names = ["" if array is None else f"i{number}" for number, array in enumerate(inputs)]
    results = [f"o{number}" for number in range(outputs)]
    fed, held = [], []
    for number, (name, array) in enumerate(zip(names, inputs, strict=True)):
        if array is None:
            continue
        if number in constant:
            held.append(numpy_helper.from_array(array, name))
            continue
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        # A shape's length is part of its type; the sizes of all else are open.
        sizes = array.shape if array.dtype == np.int64 and array.ndim == 1 else [None] * array.ndim
        fed.append(helper.make_tensor_value_info(name, kind, sizes))
    node = helper.make_node(operator, names, results, name="node", **attributes)
    given = [onnx.ValueInfoProto(name=name) for name in results]
    graph = helper.make_graph([node], "one", fed, given, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _feeds(model: onnx.ModelProto, inputs: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
    wanted = {item.name for item in model.graph.input}
    return {f"i{n}": array for n, array in enumerate(inputs) if array is not None and f"i{n}" in wanted}


def computed(model: onnx.ModelProto, inputs: Sequence[np.ndarray | None]) -> list[Any]:
    """The outputs of `converters.function`, eagerly."""
    function = load(model)
    outputs = function(_feeds(model, inputs))
    return [as_numpy(outputs[name]) for name in function.output_names]


def traced(model: onnx.ModelProto, inputs: Sequence[np.ndarray | None]) -> list[Any]:
    """The outputs of `converters.function` under `tf.function`, no size of an input known."""
    function = load(model)
    feeds = {name: tf.constant(array) for name, array in _feeds(model, inputs).items()}
    declared = {item.name: item.type.tensor_type.shape for item in model.graph.input}
    signature = {
        name: tf.TensorSpec([size.dim_value or None for size in declared[name].dim], tensor.dtype)
        for name, tensor in feeds.items()
    }
    graph = tf.function(lambda fed: function(fed), input_signature=[signature])
    outputs = graph(feeds)
    return [as_numpy(outputs[name]) for name in function.output_names]


def _runtime(model: onnx.ModelProto, inputs: Sequence[np.ndarray | None]) -> list[Any]:
    typed = onnx.shape_inference.infer_shapes(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(typed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, _feeds(model, inputs))


def agrees(
    operator: str,
    inputs: Sequence[np.ndarray | None],
    opset: int,
    *,
    outputs: int = 1,
    constant: Sequence[int] = (),
    rtol: float = 1e-4,
    atol: float = 1e-5,
    **attributes: Any,
) -> None:
    """Assert that onnxruntime, the eager function and the traced one give the same."""
    inputs = [None if item is None else np.asarray(item) for item in inputs]
    model = one_node(operator, inputs, opset, outputs=outputs, constant=constant, **attributes)
    expected = _runtime(model, inputs)
    for way in (computed, traced):
        for number, (wanted, got) in enumerate(zip(expected, way(model, inputs), strict=True)):
            where = f"{operator}-{opset} {attributes}, output {number}, {way.__name__}"
            assert got.dtype == wanted.dtype, f"{where}: {got.dtype}, expected {wanted.dtype}"
            np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol, err_msg=where)
