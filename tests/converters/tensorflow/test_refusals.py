"""A graph that reaches outside of its tensors is refused by name, and damaged files give errors of ours."""

from __future__ import annotations

import random as chance
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from converters.tensorflow import load
from converters.tensorflow.operators import CONTROL, HANDLED, PLAIN, is_allowed, why_refused
from modelzoo import errors
from tests.converters.tensorflow.graphs import branches, convnet, frozen, graph_of, loop, random, v1, write

HARMFUL = {
    "PyFunc": lambda x: tf.numpy_function(lambda y: y, [x], tf.float32),
    "EagerPyFunc": lambda x: tf.py_function(lambda y: y, [x], tf.float32),
    "WriteFile": lambda x: tf.io.write_file("/tmp/written", tf.io.serialize_tensor(x)),
    "ReadFile": lambda x: tf.io.decode_raw(tf.io.read_file("/etc/hostname"), tf.uint8),
    "MatchingFiles": lambda x: tf.io.matching_files("/etc/*"),
    "SaveV2": lambda x: tf.raw_ops.SaveV2(prefix="/tmp/p", tensor_names=["x"], shape_and_slices=[""], tensors=[x]),
    "RestoreV2": lambda x: tf.raw_ops.RestoreV2(
        prefix="/tmp/p", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
    ),
    "TFRecordReaderV2": lambda x: tf.raw_ops.TFRecordReaderV2(),
    "TFRecordDataset": lambda x: tf.raw_ops.TFRecordDataset(filenames="/etc/x", compression_type="", buffer_size=1),
    "PrintV2": lambda x: tf.print(x, output_stream="file:///tmp/printed"),
    "QueueEnqueueV2": lambda x: v1.FIFOQueue(3, [tf.float32]).enqueue(x),
    "MutableHashTableV2": lambda x: tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.int64),
    "ImmutableConst": lambda x: tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[2], memory_region_name="/etc/x"),
    "DebugIdentity": lambda x: tf.raw_ops.DebugIdentity(input=x, debug_urls=["file:///tmp/x"]),
    "LoadAndRemapMatrix": lambda x: tf.raw_ops.LoadAndRemapMatrix(
        ckpt_path="/tmp/x",
        old_tensor_name="x",
        row_remapping=[0],
        col_remapping=[0],
        initializing_values=[1.0],
        num_rows=1,
        num_cols=1,
    ),
    "AssignVariableOp": lambda x: tf.raw_ops.AssignVariableOp(
        resource=tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[2]), value=x
    ),
}


def with_node(make) -> None:
    x = v1.placeholder(tf.float32, [2], name="x")
    make(x)
    tf.multiply(x, 2.0, name="y")


@pytest.mark.parametrize("operator", HARMFUL)
def test_harmful_operators_are_refused_even_where_nobody_reads_them(tmp_path, operator):
    path = frozen(lambda: with_node(HARMFUL[operator]), tmp_path / "net.pb")
    definition = v1.GraphDef.FromString(path.read_bytes())
    with pytest.raises(errors.UnsupportedOperatorError) as caught:
        load(path)
    harmful = {node.name: node.op for node in definition.node if not is_allowed(node.op)}
    assert operator in harmful.values()
    assert harmful[caught.value.node] == caught.value.operator
    assert "inputs=" in (caught.value.hint or "")


def test_what_no_output_needs_never_runs(tmp_path):
    target = tmp_path / "written"
    path = frozen(lambda: with_node(lambda x: tf.io.write_file(str(target), "harm")), tmp_path / "net.pb")
    graph = load(path, outputs=["y"])
    assert graph(np.ones(2, np.float32))["y"].numpy().tolist() == [2, 2]
    assert not target.exists()


def test_functions_and_bodies_are_checked_too(tmp_path):
    @tf.function
    def inner(x):
        return tf.numpy_function(lambda y: y, [x], tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32)])
    def called(x):
        return inner(x)

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32)])
    def looped(x):
        for _ in tf.range(2):
            x = inner(x)
            x.set_shape([2])
        return x

    for number, outer in enumerate((called, looped)):
        concrete = outer.get_concrete_function()
        path = write(concrete.graph.as_graph_def(), tmp_path / f"{number}.pb")
        for outputs in (None, [concrete.outputs[0].name]):
            with pytest.raises(errors.UnsupportedOperatorError, match="PyFunc"):
                load(path, outputs=outputs)


def test_an_operator_that_nobody_knows_is_named(tmp_path):
    graph = graph_of(convnet)
    next(node for node in graph.node if node.name == "conv/Relu").op = "MyOwnRelu"
    with pytest.raises(errors.UnsupportedOperatorError, match=r"'conv/Relu'.*MyOwnRelu.*no operator of TensorFlow"):
        load(write(graph, tmp_path / "net.pb"))


def test_the_lists_do_not_overlap_and_reasons_are_told():
    assert not PLAIN & CONTROL and not PLAIN & HANDLED and not CONTROL & HANDLED
    assert not any(word in name for name in PLAIN for word in ("Dataset", "PyFunc", "WriteFile", "ReadFile", "Queue"))
    assert why_refused("PyFunc") == "runs Python code"
    assert why_refused("WriteFile") == "writes files"


def change(build, path: Path, edit) -> Path:
    graph = graph_of(build)
    edit(graph, {node.name: node for node in graph.node})
    return write(graph, path)


BROKEN = {
    "missing input": lambda graph, nodes: nodes["conv/Relu"].input.__setitem__(0, "nowhere"),
    "missing output": lambda graph, nodes: nodes["conv/Relu"].input.__setitem__(0, "x:3"),
    "cycle": lambda graph, nodes: nodes["conv/Conv2D"].input.__setitem__(0, "logits"),
    "self": lambda graph, nodes: nodes["conv/Relu"].input.__setitem__(0, "conv/Relu"),
    "two of a name": lambda graph, nodes: graph.node.add().CopyFrom(nodes["conv/Relu"]),
    "no name": lambda graph, nodes: setattr(nodes["conv/Relu"], "name", ""),
    "bad name": lambda graph, nodes: setattr(nodes["probabilities"], "name", "!?"),
    "wrong type": lambda graph, nodes: setattr(nodes["conv/Relu"].attr["T"], "type", 3),
    "no attribute": lambda graph, nodes: nodes["conv/Conv2D"].attr.pop("strides"),
    "type of nothing": lambda graph, nodes: setattr(nodes["x"].attr["dtype"], "type", 77),
    "negative shape": lambda graph, nodes: nodes["x"].attr["shape"].shape.dim.add(size=-7),
    "shape of a constant": lambda graph, nodes: setattr(
        nodes["conv/weights"].attr["value"].tensor.tensor_shape.dim[0], "size", 5
    ),
    "huge constant": lambda graph, nodes: nodes["conv/weights"].attr["value"].tensor.tensor_shape.dim.add(size=1 << 50),
    "too many inputs": lambda graph, nodes: nodes["conv/Relu"].input.append("x"),
    "too few inputs": lambda graph, nodes: nodes["conv/Conv2D"].input.pop(),
    "control of nothing": lambda graph, nodes: nodes["conv/Relu"].input.append("^nowhere"),
    "input of signs": lambda graph, nodes: nodes["conv/Relu"].input.__setitem__(0, ":::-1"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_graphs_that_contradict_themselves(tmp_path, fault):
    with pytest.raises(errors.InvalidGraphError):
        load(change(convnet, tmp_path / "net.pb", BROKEN[fault]))


def test_one_value_must_not_become_gigabytes(tmp_path):
    def build():
        tf.multiply(v1.placeholder(tf.float32, [], name="x"), tf.constant(1.0, shape=[2, 2], name="c"), name="y")

    def swell(graph, nodes):
        tensor = nodes["c"].attr["value"].tensor
        del tensor.tensor_shape.dim[:]
        tensor.tensor_shape.dim.add(size=1 << 28)

    with pytest.raises(errors.UnsafeFileError, match="'c'"):
        load(change(build, tmp_path / "net.pb", swell))


def test_broken_control_flow(tmp_path):
    def cut(kind):
        def edit(graph, nodes):
            node = next(item for item in graph.node if item.op == kind)
            node.op = "Identity"
            del node.input[1:]
            for key in list(node.attr):
                if key != "T":
                    del node.attr[key]

        return edit

    for build, kinds in (
        (loop, ("LoopCond", "NextIteration", "Enter", "Merge", "Switch")),
        (branches, ("Switch", "Merge")),
    ):
        for kind in kinds:
            with pytest.raises(errors.ModelzooError):
                load(change(build, tmp_path / f"{kind}.pb", cut(kind)))


def test_functions_that_call_themselves_or_nobody(tmp_path):
    @tf.function
    def inner(x):
        return x + 1

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32)])
    def outer(x):
        return inner(x)

    graph = outer.get_concrete_function().graph.as_graph_def()
    path = write(graph, tmp_path / "fine.pb")
    assert load(path)
    function = graph.library.function[0]
    add = next(node for node in function.node_def if node.op in ("AddV2", "Add"))
    add.op = "PartitionedCall"
    del add.input[1:]
    add.attr["f"].func.name = function.signature.name
    with pytest.raises(errors.InvalidGraphError):
        load(write(graph, tmp_path / "itself.pb"))
    add.attr["f"].func.name = "nobody"
    with pytest.raises(errors.InvalidGraphError, match="nobody"):
        load(write(graph, tmp_path / "nobody.pb"))


def test_a_graph_that_unfolds_without_end(tmp_path):
    """Functions that call the next one twice: 2 ** 40 nodes from forty small functions."""
    graph = v1.GraphDef()
    graph.versions.producer = 1500
    placeholder = graph.node.add(name="x", op="Placeholder")
    placeholder.attr["dtype"].type = tf.float32.as_datatype_enum
    call = graph.node.add(name="y", op="PartitionedCall", input=["x"])
    call.attr["f"].func.name = "f0"
    for number in range(40):
        function = graph.library.function.add()
        function.signature.name = f"f{number}"
        function.signature.input_arg.add(name="a", type=1)
        function.signature.output_arg.add(name="r", type=1)
        for part, source in (("first", "a"), ("second", "first:output:0")):
            node = function.node_def.add(name=part, op="PartitionedCall", input=[source])
            node.attr["f"].func.name = f"f{number + 1}"
            node.attr["Tout"].list.type.append(1)
        function.ret["r"] = "second:output:0"
    last = graph.library.function.add()
    last.signature.name = "f40"
    last.signature.input_arg.add(name="a", type=1)
    last.signature.output_arg.add(name="r", type=1)
    last.ret["r"] = "a"
    with pytest.raises(errors.InvalidGraphError, match="nodes"):
        load(write(graph, tmp_path / "net.pb"))


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"not a graph", bytes(range(256)) * 9, b"<html>gone</html>"], ids=range(5)
)
@pytest.mark.parametrize("name", ["net.pb", "net.pbtxt", "net.meta", "saved_model.pb"])
def test_files_that_are_no_graph(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(errors.CheckpointFormatError):
        load(path)


def test_paths_that_are_not_there(tmp_path):
    for path in (tmp_path / "absent.pb", tmp_path, tmp_path / "absent"):
        with pytest.raises(errors.CheckpointFormatError):
            load(path)


def test_a_graph_with_variables_needs_their_checkpoint(tmp_path):
    def build():
        variable = v1.get_variable("kernel", [4, 4], use_resource=True)
        tf.matmul(v1.placeholder(tf.float32, [None, 4], name="x"), variable, name="y")

    with pytest.raises(errors.WeightsMismatchError, match="kernel"):
        load(frozen(build, tmp_path / "net.pb"), outputs=["y"])


def test_mutated_files_give_errors_of_ours_or_a_graph(tmp_path):
    numbers = chance.Random(7)
    counted = {"graph": 0, "error": 0}
    for build in (convnet, loop, branches):
        data = graph_of(build).SerializeToString()
        for _ in range(30):
            mutated = bytearray(data)
            if numbers.random() < 0.2:
                del mutated[numbers.randrange(len(mutated)) :]
            for _ in range(numbers.randint(1, 12)):
                if mutated:
                    mutated[numbers.randrange(len(mutated))] = numbers.randrange(256)
            path = tmp_path / "net.pb"
            path.write_bytes(bytes(mutated))
            try:
                load(path)
                counted["graph"] += 1
            except errors.ModelzooError:
                counted["error"] += 1
    assert counted["error"] > 30


def test_a_kernel_that_cannot_take_its_input_is_an_error_of_ours(tmp_path):
    def build():
        x = v1.placeholder(tf.float32, None, name="x")
        tf.nn.conv2d(x, tf.constant(random(3, 3, 3, 4)), 1, "SAME", name="y")

    graph = load(frozen(build, tmp_path / "net.pb"))
    assert graph(random(1, 4, 4, 3))["y"].shape == (1, 4, 4, 4)
    with pytest.raises(errors.ArrayError):
        graph(random(4, 4, 3))
