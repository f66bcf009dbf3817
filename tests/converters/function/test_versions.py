"""Opset versions: which form of an operator a model means is decided by the version it imports."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, parser

from converters.function import load
from converters.function.operators import FAMILIES  # noqa: F401  (fills the table)
from converters.function.schema_bodies import has_body
from converters.function.table import find, known_versions, operators

X = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 0.0]], np.float32)


def run(text: str, opset: int, x: np.ndarray = X) -> np.ndarray:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> net {text}')
    return np.asarray(load(model)({"x": x})["y"])


def test_the_newest_row_that_is_not_younger_than_the_opset_is_chosen():
    assert known_versions("", "Reshape") == (1, 5, 14)
    assert [find("", "Reshape", version).since for version in (1, 4, 5, 13, 14, 28)] == [1, 1, 5, 5, 14, 14]


def test_no_row_before_the_operator_existed():
    assert find("", "Trilu", 13) is None
    assert known_versions("", "NoSuchOperator") == ()


@pytest.mark.parametrize(("opset", "total"), [(12, 1.0), (13, 2.0)])
def test_softmax_sums_over_all_later_axes_before_opset_13(opset, total):
    made = run("(float[2, 3] x) => (float[] y) { u = Unsqueeze<axes = [1]>(x) y = Identity(u) }", 12)
    assert made.shape == (2, 1, 3)
    text = "(float[1, 2, 3] x) => (float[] y) { y = Softmax<axis = 1>(x) }"
    assert run(text, opset, X[None]).sum() == pytest.approx(total if opset == 12 else 3.0)


def test_broadcasting_was_an_attribute_before_opset_7():
    text = "(float[2, 3] x, float[2] b) => (float[] y) { y = Add<axis = 0, broadcast = 1>(x, b) }"
    model = parser.parse_model(f'<ir_version: 3, opset_import: ["" : 6]> net {text}')
    made = load(model)({"x": X, "b": np.array([10, 20], np.float32)})["y"]
    np.testing.assert_array_equal(made, X + np.array([[10], [20]]))


def test_cast_took_the_type_by_name_before_opset_6():
    made = run('(float[2, 3] x) => (int32[] y) { y = Cast<to = "INT32">(x) }', 5)
    assert made.dtype == np.int32


def test_concat_had_a_default_axis_before_opset_4():
    assert run("(float[2, 3] x) => (float[] y) { y = Concat(x, x) }", 3).shape == (2, 6)


def test_pad_counted_its_amounts_as_paddings_before_opset_2():
    made = run("(float[2, 3] x) => (float[] y) { y = Pad<paddings = [0, 1, 0, 0], value = 9.0>(x) }", 1)
    np.testing.assert_array_equal(made[:, 0], [9, 9])


def test_sizes_of_a_split_were_an_attribute_before_opset_13():
    text = "(float[2, 3] x) => (float[] y) { y, z = Split<axis = 1, split = [1, 2]>(x) }"
    assert run(text, 11).shape == (2, 1)


def test_the_outermost_loop_over_examples_belongs_to_scan_of_opset_8():
    body = """body = add (float[2] s, float[2] e) => (float[2] t, float[2] o) { t = Add(s, e) o = Identity(t) }"""
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    text = f"(float[2, 3, 2] x, float[2, 2] i) => (float[] y) {{ l, y = Scan<num_scan_inputs = 1, {body}>(, i, x) }}"
    model = parser.parse_model(f'<ir_version: 3, opset_import: ["" : 8]> net {text}')
    made = load(model)({"x": x, "i": np.zeros((2, 2), np.float32)})["y"]
    np.testing.assert_array_equal(made, np.cumsum(x, 1))


@pytest.mark.parametrize("version", [3, 7, 10])
def test_old_ir_versions_load(version):
    node = helper.make_node("Relu", ["x"], ["y"])
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3]) for name in ("x", "y")]
    graph = helper.make_graph([node], "net", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 7)], ir_version=version)
    np.testing.assert_array_equal(load(model)({"x": -X})["y"], np.zeros_like(X))


def test_every_operator_of_every_version_of_onnx_is_in_the_table_or_has_a_body():
    missing = []
    table = set(operators())
    for schema in onnx.defs.get_all_schemas_with_history():
        node = helper.make_node(schema.name, [], [], domain=schema.domain)
        if (schema.domain, schema.name) == ("", "Constant"):
            continue  # read when a plan is made
        row = find(schema.domain, schema.name, schema.since_version)
        if row is None and not has_body(node, schema.since_version):
            missing.append((schema.domain, schema.name, schema.since_version))
    assert len(table) > 200
    assert missing == []


def test_every_attribute_of_every_version_is_known_to_its_row():
    unknown = []
    for schema in onnx.defs.get_all_schemas_with_history():
        row = find(schema.domain, schema.name, schema.since_version)
        if row is None or row.name == "Constant":
            continue
        extra = set(schema.attributes) - row.attributes - {"consumed_inputs"}
        if extra:
            unknown.append((schema.domain, schema.name, schema.since_version, sorted(extra)))
    assert unknown == []
