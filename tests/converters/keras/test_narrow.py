"""Types that Keras lacks: values go in and come out in a wider type, and the model says which they are of."""

from __future__ import annotations

import keras
import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from converters.function import load
from converters.keras import to_keras
from tests.converters.keras.networks import draw, model

node = helper.make_node

#: ONNX's type, NumPy's, and the one that a Keras tensor of such values has.
TYPES = [
    (TensorProto.FLOAT8E4M3FNUZ, ml_dtypes.float8_e4m3fnuz, "float32"),
    (TensorProto.FLOAT8E5M2FNUZ, ml_dtypes.float8_e5m2fnuz, "float32"),
    (TensorProto.FLOAT4E2M1, ml_dtypes.float4_e2m1fn, "float32"),
    (TensorProto.INT4, ml_dtypes.int4, "int8"),
    (TensorProto.UINT4, ml_dtypes.uint4, "uint8"),
]


def quantised(kind: int) -> onnx.ModelProto:
    """x in the narrow type, what it is in float32, and a sum that is quantised again."""
    made = model(
        [
            node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
            node("Identity", ["x"], ["again"]),
            node("Add", ["wide", "b"], ["sum"]),
            node("Cast", ["sum"], ["y"], to=kind),
        ],
        {"x": ["N", 4]},
        ["y", "wide"],
        {"b": np.array([0.3, 1.1, 0.0, 2.7], np.float32)},
        opset=23,
        kinds={"x": kind},
    )
    return made


@pytest.mark.parametrize(("kind", "dtype", "wide"), TYPES)
def test_values_of_narrow_types_pass_the_borders_exactly(kind, dtype, wide, tmp_path):
    proto = quantised(kind)
    x = np.abs(3 * draw(0, 3, 4)).astype(dtype)
    wanted = load(proto)({"x": x})
    made = to_keras(proto)
    assert made.input.dtype == wide and made.output["y"].dtype == wide
    name = np.dtype(dtype).name
    assert made.narrow_types == {"x": name, "y": name, "Cast_1": name}
    made.save(tmp_path / "net.keras")
    for network in (made, keras.models.load_model(tmp_path / "net.keras")):
        found = network(x.astype(wide))
        np.testing.assert_array_equal(np.asarray(found["y"]).astype(dtype), np.asarray(wanted["y"]))
        np.testing.assert_array_equal(found["wide"], wanted["wide"])


def test_what_moves_narrow_values_keeps_their_type():
    proto = model(
        [
            node("Transpose", ["x"], ["t"], perm=[1, 0]),
            node("Concat", ["t", "t"], ["c"], axis=0),
            node("DequantizeLinear", ["c", "scale"], ["y"]),
        ],
        {"x": ["N", 4]},
        ["c", "y"],
        {"scale": np.array(0.5, np.float32)},
        opset=23,
        kinds={"x": TensorProto.INT4},
    )
    x = np.array([[-8, 7, 0, 3], [1, 2, -3, -4]], ml_dtypes.int4)
    made = to_keras(proto)
    assert made.narrow_types["c"] == made.narrow_types["t"] == "int4"
    found, wanted = made(x.astype(np.int8)), load(proto)({"x": x})
    for name in ("c", "y"):
        np.testing.assert_array_equal(np.asarray(found[name], np.float32), np.asarray(wanted[name], np.float32))


def test_types_that_keras_has_are_no_narrow_ones():
    proto = model([node("Cast", ["x"], ["y"], to=TensorProto.FLOAT8E4M3FN)], {"x": ["N", 4]}, ["y"], opset=23)
    made = to_keras(proto)
    assert made.output.dtype == "float8_e4m3fn" and not made.narrow_types
    x = 3 * draw(0, 2, 4)
    np.testing.assert_array_equal(np.asarray(made(x)), x.astype(ml_dtypes.float8_e4m3fn))
