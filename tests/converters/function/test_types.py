"""Every element type of ONNX through the operators that only move elements: nothing is lost, the type stays."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from converters.function import load

TYPES = [
    *(np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32),
    *(np.uint64, bool, np.complex64, np.complex128, object, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn),
    *(ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz, ml_dtypes.float8_e8m0fnu),
    *(ml_dtypes.float4_e2m1fn, ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2),
]

#: Operator, further inputs, attributes, what NumPy makes of a (2, 3) array.
MOVES: list[tuple[str, list[Any], dict[str, Any], Any]] = [
    ("Identity", [], {}, lambda x: x),
    ("Reshape", [np.array([3, -1])], {}, lambda x: x.reshape(3, 2)),
    ("Transpose", [], {}, lambda x: x.T),
    ("Flatten", [], {"axis": 0}, lambda x: x.reshape(1, 6)),
    ("Unsqueeze", [np.array([1])], {}, lambda x: x[:, None]),
    ("Expand", [np.array([2, 2, 3])], {}, lambda x: np.stack([x, x])),
    ("Tile", [np.array([2, 1])], {}, lambda x: np.concatenate([x, x])),
    ("Slice", [np.array([0]), np.array([2]), np.array([1])], {}, lambda x: x[:, :2]),
    ("Gather", [np.array([1, -2])], {"axis": 1}, lambda x: x[:, [1, 1]]),
    ("GatherElements", [np.array([[1, 0, 1]])], {}, lambda x: np.take_along_axis(x, np.array([[1, 0, 1]]), 0)),
    ("GatherND", [np.array([[1, 2], [0, 0]])], {}, lambda x: x[[1, 0], [2, 0]]),
    ("ReverseSequence", [np.array([2, 2, 1])], {}, lambda x: np.stack([x[::-1, 0], x[::-1, 1], x[:, 2]], 1)),
    ("Compress", [np.array([True, False, True])], {"axis": 1}, lambda x: x[:, [0, 2]]),
    ("SequenceAt", [], {}, None),
]


def elements(dtype: Any) -> np.ndarray:
    """Six elements that the type holds, or six words."""
    if dtype is object:
        return np.array([["a", "", "äö"], ["b", "c", "日本"]], dtype=object)
    numbers = [[1, 0, 1], [0, 1, 1]] if dtype in (ml_dtypes.int2, ml_dtypes.uint2, bool) else [[1, 4, 2], [2, 1, 4]]
    return np.array(numbers, np.float32).astype(dtype)


def code(dtype: Any) -> int:
    return int(ir.DataType.STRING if dtype is object else ir.DataType.from_numpy(np.dtype(dtype)))


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_what_only_moves_elements_takes_every_type(dtype):
    x = elements(dtype)
    nodes, infos, feeds, expected = [], [helper.make_tensor_value_info("x", code(dtype), [2, 3])], {"x": x}, {}
    for number, (operator, inputs, attributes, wanted) in enumerate(MOVES):
        out, names = f"y{number}", ["x"]
        if operator == "SequenceAt":
            nodes.append(helper.make_node("SequenceConstruct", ["x", "x"], ["s"]))
            nodes.append(helper.make_node("Constant", [], ["p"], value_int=-1))
            nodes.append(helper.make_node("SequenceAt", ["s", "p"], [out]))
            expected[out] = x
            continue
        for position, array in enumerate(inputs):
            names.append(f"i{number}_{position}")
            infos.append(helper.make_tensor_value_info(names[-1], code(array.dtype), array.shape))
            feeds[names[-1]] = array
        nodes.append(helper.make_node(operator, names, [out], **attributes))
        expected[out] = wanted(x)
    nodes.append(helper.make_node("Concat", ["x", "x"], ["joined"], axis=1))
    nodes.append(helper.make_node("Split", ["joined"], ["left", "right"], axis=1, num_outputs=2))
    expected.update(joined=np.concatenate([x, x], 1), left=x, right=x)
    outputs = [helper.make_tensor_value_info(name, code(dtype), None) for name in expected]
    graph = helper.make_graph(nodes, "moves", infos, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=11)
    made = load(model)(feeds)
    for name, wanted in expected.items():
        got = np.asarray(made[name])
        assert got.dtype == wanted.dtype, name
        assert got.tolist() == wanted.tolist(), name
