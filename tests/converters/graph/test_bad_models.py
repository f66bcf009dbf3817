"""Models that contradict their own format: the error says which node, which tensor, and never is a bare traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.graph import load_graph
from modelzoo import errors

node = helper.make_node


def model(nodes: list[onnx.NodeProto], outputs: tuple[str, ...] = ("y",), **options) -> onnx.ModelProto:
    """A model with one input `x`, unchecked."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        options.pop("weights", []),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10, **options)


def test_a_cycle_is_named_node_by_node():
    circle = [
        node("Add", ["x", "c"], ["a"], name="first"),
        node("Relu", ["a"], ["b"], name="second"),
        node("Neg", ["b"], ["c"], name="third"),
        node("Identity", ["c"], ["y"], name="last"),
    ]
    with pytest.raises(errors.InvalidGraphError, match="cycle") as caught:
        load_graph(model(circle))
    assert all(f"'{name}'" in str(caught.value) for name in ("first", "second", "third"))
    assert "'last'" not in str(caught.value)


def test_a_cycle_in_a_subgraph_is_found():
    body = helper.make_graph(
        [node("Add", ["x", "q"], ["p"], name="inner_one"), node("Neg", ["p"], ["q"], name="inner_two")],
        "branch",
        [],
        [helper.make_tensor_value_info("q", TensorProto.FLOAT, None)],
    )
    fine = helper.make_graph(
        [node("Identity", ["x"], ["r"])], "other", [], [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)]
    )
    condition = numpy_helper.from_array(np.array(True), "c")
    with pytest.raises(errors.InvalidGraphError, match="inner_one"):
        load_graph(model([node("If", ["c"], ["y"], then_branch=body, else_branch=fine)], weights=[condition]))


def test_a_missing_input_names_the_node_and_the_tensor():
    with pytest.raises(errors.InvalidGraphError, match=r"'adder' \(Add\) reads 'nowhere'"):
        load_graph(model([node("Add", ["x", "nowhere"], ["y"], name="adder")]))


def test_a_missing_output_is_named():
    with pytest.raises(errors.InvalidGraphError, match="No node produces the output 'z'"):
        load_graph(model([node("Relu", ["x"], ["y"])], outputs=("y", "z")))


def test_two_sources_of_one_tensor_are_refused():
    with pytest.raises(errors.InvalidGraphError):
        load_graph(model([node("Relu", ["x"], ["y"], name="one"), node("Neg", ["x"], ["y"], name="two")]))


def test_a_domain_without_a_version_is_named():
    with pytest.raises(errors.InvalidGraphError, match=r"com\.example") as caught:
        load_graph(model([node("Magic", ["x"], ["y"], name="strange", domain="com.example")]))
    assert "'strange'" in str(caught.value)


def test_nodes_in_any_order_are_sorted():
    shuffled = [node("Neg", ["a"], ["y"], name="late"), node("Relu", ["x"], ["a"], name="early")]
    assert [item.name for item in load_graph(model(shuffled)).graph] == ["early", "late"]


def test_unnamed_nodes_get_names_that_are_free():
    nodes = [node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["b"], name="Relu_1"), node("Relu", ["b"], ["y"])]
    names = [item.name for item in load_graph(model(nodes)).graph]
    assert names[:2] == ["Relu_0", "Relu_1"]
    assert len(set(names)) == 3


def test_the_long_name_of_onnx_s_own_domain_is_the_short_one():
    proto = model([node("Relu", ["x"], ["y"], domain="ai.onnx")])
    proto.opset_import[0].domain = "ai.onnx"
    loaded = load_graph(proto)
    assert loaded.opset_imports[""] == 18
    assert [item.domain for item in loaded.graph] == [""]


def saved(folder: Path) -> Path:
    weight = numpy_helper.from_array(np.arange(4000, dtype=np.float32).reshape(4, 1000), "w")
    path = folder / "net.onnx"
    onnx.save(model([node("MatMul", ["x", "w"], ["y"])], weights=[weight]), path)
    return path


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = saved(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(errors.CheckpointFormatError, match="truncated") as caught:
        load_graph(path)
    assert str(len(content[: int(len(content) * share)])) in str(caught.value)


@pytest.mark.parametrize("content", [b"<html>404</html>", b"\x89PNG\r\n\x1a\n" + bytes(50), b"PK\x03\x04" + bytes(30)])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(errors.CheckpointFormatError):
        load_graph(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(errors.CheckpointFormatError, match=r"absent\.onnx"):
        load_graph(tmp_path / "absent.onnx")


def test_a_tensor_shorter_than_its_shape_is_refused():
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    weight.raw_data = weight.raw_data[:10]
    from converters.function import load

    with pytest.raises(errors.ModelzooError, match=r"w|contradicts"):
        load(model([node("MatMul", ["x", "w"], ["y"])], weights=[weight]))


def test_initialisers_are_views_of_the_bytes_read(tmp_path):
    graph = load_graph(saved(tmp_path)).graph
    array = np.asarray(graph.initializers["w"].const_value.numpy())
    assert array.base is not None  # not a copy of its own
    assert array[3, 999] == 3999
