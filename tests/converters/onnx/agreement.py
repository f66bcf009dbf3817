"""A model through onnxruntime, as a function and as a Keras model, on the same inputs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import modelzoo as mz
from converters.function.values import as_numpy
from converters.keras.graph_function import GraphFunction
from converters.keras.held import channels_last

__all__ = ["RTOL", "Agreement", "agree"]

#: Largest error of an output, relative to the largest magnitude of the reference.
RTOL = 1e-4


@dataclass(frozen=True)
class Agreement:
    """What a Keras model is made of, and the largest relative error of all its outputs on all inputs.

    Attributes:
        stock: layers and operations of Keras itself.
        pieces: `GraphFunction` layers.
        error: of the Keras model; `function_error`: of the function.
    """

    stock: int
    pieces: int
    error: float
    function_error: float


def agree(
    proto: onnx.ModelProto,
    feeds: Iterable[Mapping[str, np.ndarray]],
    *,
    against: onnx.ModelProto | None = None,
    rtol: float = RTOL,
) -> Agreement:
    """Convert a model to a function and to Keras and compare both with onnxruntime on each of `feeds`.

    `against` is what onnxruntime runs, if it is another model.

    Raises:
        AssertionError: an output of another shape, type or value.
        ParityError: `convert(verify=True)` finds a difference.
    """
    import keras
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    source = (against or proto).SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    function = mz.convert(proto, to="function", verify=True)
    tensors = dict(tensor_outputs(proto))
    model = mz.convert(proto, outputs=list(tensors.values()), verify=True)
    pieces = sum(isinstance(layer, GraphFunction) for layer in model.layers)
    inputs = sum(isinstance(layer, keras.layers.InputLayer) for layer in model.layers)
    assert model.stock_only == (pieces == 0)
    errors, function_errors = [0.0], [0.0]
    count = 0
    for given in feeds:
        count += 1
        names = [item.name for item in session.get_outputs()]
        wanted = dict(zip(names, session.run(None, dict(given)), strict=True))
        computed = function(given)
        for name in names:
            function_errors.append(difference(wanted[name], as_numpy(computed[name]), name))
        computed = run(model, given)
        for name, source in tensors.items():
            reference = wanted[name] if isinstance(wanted[name], np.ndarray) else columns(wanted[name])
            errors.append(difference(reference, computed[source], source))
    assert count, "nothing was fed"
    again = reloaded(model)
    for name, value in run(model, given).items():
        np.testing.assert_array_equal(run(again, given)[name], value)
    assert max(errors) <= rtol and max(function_errors) <= rtol, f"keras {max(errors)}, function {max(function_errors)}"
    return Agreement(len(model.layers) - pieces - inputs, pieces, max(errors), max(function_errors))


def reloaded(model: Any) -> Any:
    """The model after it was in a file, with what only the conversion knows."""
    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.keras")
        model.save(path)
        made = keras.models.load_model(path)
    for attribute in ("input_sources", "output_sources", "layouts"):
        object.__setattr__(made, attribute, getattr(model, attribute))
    return made


def tensor_outputs(proto: onnx.ModelProto) -> Iterable[tuple[str, str]]:
    """Each output with the tensor that a Keras model can give for it: that which ZipMap makes maps of."""
    zipped = {node.output[0]: node.input[0] for node in proto.graph.node if node.op_type == "ZipMap"}
    return [(item.name, zipped.get(item.name, item.name)) for item in proto.graph.output]


def columns(maps: list[dict[Any, float]]) -> np.ndarray:
    """The maps of ZipMap as the (N, labels) tensor they were made of."""
    return np.array([list(row.values()) for row in maps], np.float32)


def run(model: Any, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A Keras model on inputs in the source's layout, outputs by source name in that layout."""
    import tensorflow as tf

    fed = {}
    for name in model.input_sources:
        array = given[name]
        if model.layouts[name] == "channels_last":
            array = array.transpose(channels_last(array.ndim))
        fed[name] = tf.constant(array)
    made = model(fed if len(fed) > 1 else next(iter(fed.values())), training=False)
    results = made if isinstance(made, Mapping) else {model.output_sources[0]: made}
    arrays = {name: as_numpy(tf.convert_to_tensor(value)) for name, value in results.items()}
    return {
        name: np.moveaxis(array, -1, 1) if model.layouts[name] == "channels_last" else array
        for name, array in arrays.items()
    }


def difference(wanted: Any, got: Any, name: str) -> float:
    """The largest error relative to the largest magnitude; what is no number must be equal."""
    if isinstance(wanted, list):
        assert [list(row) for row in wanted] == [list(row) for row in got], name
        return difference(columns(wanted), columns(got), name)
    assert wanted.shape == got.shape, f"{name}: {got.shape}, expected {wanted.shape}"
    if wanted.dtype.kind in "OUSbiu":
        assert (wanted == got).all(), f"{name}: {got}, expected {wanted}"
        return 0.0
    assert wanted.dtype == got.dtype, f"{name}: {got.dtype}, expected {wanted.dtype}"
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(finite, np.isfinite(got), name)
    largest = np.abs(wanted[finite].astype(np.float64) - got[finite]).max(initial=0.0)
    return float(largest / (np.abs(wanted[finite]).max(initial=0.0) or 1.0))
