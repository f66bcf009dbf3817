"""What a model asks for and nobody can do: the message names the node, the operator and what there is instead."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from converters.function import load
from modelzoo import errors

node = helper.make_node


def model(nodes: list[onnx.NodeProto], opset: int = 18, domains: tuple[str, ...] = (), **shapes) -> onnx.ModelProto:
    """A model of float inputs `x` (2, 3) and those named, with the output `y`."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in {"x": [2, 3], **shapes}.items()
    ]
    graph = helper.make_graph(nodes, "net", inputs, [onnx.ValueInfoProto(name="y")])
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


X = np.ones((2, 3), np.float32)


def test_an_unknown_operator_is_named_with_its_node():
    with pytest.raises(errors.UnsupportedOperatorError, match="Frobnicate") as caught:
        load(model([node("Frobnicate", ["x"], ["y"], name="strange")]))
    assert caught.value.node == "strange"
    assert caught.value.operator == "Frobnicate (opset 18)"


def test_an_unknown_domain_is_named():
    with pytest.raises(errors.UnsupportedOperatorError, match=r"com\.example::Relu") as caught:
        load(model([node("Relu", ["x"], ["y"], name="strange", domain="com.example")], domains=("com.example",)))
    assert "functions that the model brings along" in str(caught.value)


def test_an_operator_younger_than_the_opset_says_from_when_on():
    with pytest.raises(errors.UnsupportedOperatorError, match="from opset 14 on"):
        load(model([node("Trilu", ["x"], ["y"], name="young")], opset=13))


def test_an_unknown_attribute_is_named_with_the_known_ones():
    with pytest.raises(errors.UnsupportedOperatorError, match=r"no attribute \['allowone'\]") as caught:
        load(model([node("Reshape", ["x", "s"], ["y"], name="shaper", allowone=1)], s=[2]))
    assert "'shaper'" in str(caught.value)
    assert "allowzero" in str(caught.value)


def test_shapes_that_do_not_fit_name_the_node_when_it_runs():
    function = load(model([node("MatMul", ["x", "w"], ["y"], name="product")], w=[2, 3]))
    with pytest.raises(errors.InvalidGraphError, match="Node 'product': MatMul") as caught:
        function({"x": X, "w": X})
    assert "float32(2, 3), float32(2, 3)" in str(caught.value)


def test_shapes_that_do_not_fit_name_the_node_while_tracing():
    function = load(model([node("Concat", ["x", "w"], ["y"], name="joint", axis=1)], w=[4, 3]))
    spec = {"x": tf.TensorSpec([2, 3]), "w": tf.TensorSpec([4, 3])}
    with pytest.raises(errors.InvalidGraphError, match="Node 'joint': Concat"):
        tf.function(lambda feeds: function(feeds), input_signature=[spec], autograph=False).get_concrete_function()


def test_an_axis_beyond_the_rank_is_refused():
    axes = numpy_helper.from_array(np.array([5]), "a")
    function = load(model([node("Constant", [], ["a"], value=axes), node("Squeeze", ["x", "a"], ["y"], name="thin")]))
    with pytest.raises(errors.InvalidGraphError, match="Node 'thin': Squeeze cannot be computed: axis 5"):
        function({"x": X})


def test_a_wrong_mode_is_refused():
    pads = numpy_helper.from_array(np.array([0, 1, 0, 1]), "p")
    nodes = [node("Constant", [], ["p"], value=pads), node("Pad", ["x", "p"], ["y"], name="frame", mode="mirror")]
    with pytest.raises(errors.InvalidGraphError, match="unknown mode 'mirror'"):
        load(model(nodes))({"x": X})


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, r"missing \['x'\]"),
        ({"x": X, "z": X}, r"unknown \['z'\]"),
        ({"x": X.astype(np.float64)}, "'x' is declared as float32"),
        ({"x": X[0]}, "'x' is declared with the shape"),
        ({"x": np.ones((3, 3), np.float32)}, "'x' is declared with the shape"),
        ({"x": None}, "'x' is None"),
        ({"x": np.array([["a", "b", "c"]] * 2)}, "'x' is declared as float32"),
        (X, "by name"),
    ],
)
def test_inputs_that_the_model_does_not_declare_are_refused(feeds, message):
    function = load(model([node("Relu", ["x"], ["y"])]))
    with pytest.raises(errors.ArrayError, match=message):
        function(feeds)


def test_an_unknown_tap_suggests_the_nearest_one():
    proto = model([node("Relu", ["x"], ["hidden_layer"]), node("Neg", ["hidden_layer"], ["y"])])
    with pytest.raises(errors.UnknownTapError, match="hidden_lair") as caught:
        load(proto, outputs=["hidden_lair"])
    assert "hidden_layer" in str(caught.value)
    assert set(load(proto, outputs=["hidden_layer", "y"])({"x": -X})) == {"hidden_layer", "y"}


def test_the_empty_optional_has_no_element_to_give():
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [2, 3])
    nodes = [node("Optional", [], ["o"], type=kind), node("OptionalGetElement", ["o"], ["y"], name="taker")]
    with pytest.raises(errors.InvalidGraphError, match=r"Node 'taker'.*empty"):
        load(model(nodes))({"x": X})
