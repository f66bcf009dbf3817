"""Chains of nodes as PyTorch's exporters write them: one layer each, whatever is open, and the numbers stay."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.keras import to_keras
from tests.converters.keras.networks import draw, model
from tests.converters.onnx.agreement import agree, run

node = helper.make_node


def kinds(proto: onnx.ModelProto, **options) -> Counter[str]:
    """How many layers and operations of each class the Keras model has."""
    return Counter(type(item).__name__ for item in to_keras(proto, **options).operations)


def moves(found: Counter[str]) -> int:
    return found["Permute"] + found["Transpose"]


def constant(name: str, value: object, dtype: type = np.float32) -> onnx.NodeProto:
    return node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, dtype)))


# -- normalisation --------------------------------------------------------------------------------------------------


def layer_norm(square: str, divide: str) -> list[onnx.NodeProto]:
    squares = {
        "Pow": [constant("two", 2.0), node("Pow", ["d", "two"], ["q"])],
        "Mul": [node("Mul", ["d", "d"], ["q"])],
    }
    divided = {
        "Div": [node("Div", ["d", "sd"], ["n"])],
        "Reciprocal": [node("Reciprocal", ["sd"], ["r"]), node("Mul", ["d", "r"], ["n"])],
    }
    return [
        node("ReduceMean", ["x"], ["m"], axes=[-1]),
        node("Sub", ["x", "m"], ["d"]),
        *squares[square],
        node("ReduceMean", ["q"], ["v"], axes=[-1]),
        constant("eps", 1e-5),
        node("Add", ["v", "eps"], ["ve"]),
        node("Sqrt", ["ve"], ["sd"]),
        *divided[divide],
        node("Mul", ["n", "w"], ["s"]),
        node("Add", ["s", "b"], ["y"]),
    ]


@pytest.mark.parametrize(("square", "divide"), [("Pow", "Div"), ("Mul", "Reciprocal")])
def test_layer_normalization_written_out_is_one_layer(square, divide):
    weights = {"w": draw(1, 96) + 1, "b": draw(2, 96)}
    proto = model(layer_norm(square, divide), {"x": ["N", "T", 96]}, ["y"], weights, opset=13)
    assert agree(proto, [{"x": draw(0, 2, 5, 96) * 9 + 3}, {"x": draw(3, 1, 7, 96)}], rtol=1e-5).pieces == 0
    assert kinds(proto)["LayerNormalization"] == 1 and sum(kinds(proto).values()) == 2


def test_what_is_read_inside_of_a_chain_keeps_it_apart():
    nodes = [*layer_norm("Pow", "Div"), node("Relu", ["n"], ["z"])]
    proto = model(nodes, {"x": ["N", 4, 8]}, ["y", "z"], {"w": draw(1, 8), "b": draw(2, 8)}, opset=13)
    assert agree(proto, [{"x": draw(0, 2, 4, 8)}]).pieces == 0
    assert not kinds(proto)["LayerNormalization"]


def test_a_tap_inside_of_a_chain_can_be_asked_for():
    proto = model(layer_norm("Pow", "Div"), {"x": ["N", 4, 8]}, ["y"], {"w": draw(1, 8), "b": draw(2, 8)}, opset=13)
    made = to_keras(proto, outputs=["n", "y"])
    assert set(made.output) == {"n", "y"}


def test_rms_normalization_written_out_is_one_layer():
    nodes = [
        constant("two", 2.0),
        node("Pow", ["x", "two"], ["q"]),
        node("ReduceMean", ["q"], ["v"], axes=[-1]),
        constant("eps", 1e-6),
        node("Add", ["v", "eps"], ["ve"]),
        node("Sqrt", ["ve"], ["sd"]),
        constant("one", 1.0),
        node("Div", ["one", "sd"], ["r"]),
        node("Mul", ["x", "r"], ["n"]),
        node("Mul", ["w", "n"], ["y"]),
    ]
    proto = model(nodes, {"x": ["N", "T", 80]}, ["y"], {"w": draw(1, 80) + 1}, opset=14)
    assert agree(proto, [{"x": draw(0, 2, 5, 80) * 5}], rtol=1e-5).pieces == 0
    assert kinds(proto)["RMSNormalization"] == 1 and sum(kinds(proto).values()) == 2


def test_root_of_something_else_is_left_alone():
    nodes = [
        node("Mul", ["x", "x"], ["q"]),
        node("ReduceMean", ["q"], ["v"], axes=[1]),
        constant("eps", 1e-6),
        node("Add", ["v", "eps"], ["ve"]),
        node("Sqrt", ["ve"], ["sd"]),
        node("Div", ["x", "sd"], ["n"]),
        node("Mul", ["n", "w"], ["y"]),
    ]
    proto = model(nodes, {"x": ["N", 6, 8]}, ["y"], {"w": draw(1, 8)}, opset=13)
    assert agree(proto, [{"x": draw(0, 2, 6, 8)}]).pieces == 0


@pytest.mark.parametrize("size", [8, "S"])
def test_group_normalization_written_out_moves_nothing(size):
    nodes = [
        node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        constant("rows", [0, 4, -1], np.int64),
        node("Reshape", ["c", "rows"], ["g"]),
        constant("ones", [1.0] * 4),
        constant("zeros", [0.0] * 4),
        node("InstanceNormalization", ["g", "ones", "zeros"], ["i"], epsilon=1e-4),
        node("Shape", ["c"], ["shape"]),
        node("Reshape", ["i", "shape"], ["r"]),
        node("Mul", ["r", "w"], ["s"]),
        node("Add", ["s", "b"], ["y"]),
    ]
    weights = {"k": draw(1, 16, 3, 3, 3), "w": draw(2, 16, 1, 1) + 1, "b": draw(3, 16, 1, 1)}
    proto = model(nodes, {"x": ["N", 3, size, size]}, ["y"], weights, opset=13)
    del proto.graph.value_info[:]
    assert agree(proto, [{"x": draw(0, 2, 3, 8, 8)}]).pieces == 0
    found = kinds(proto)
    assert found["GroupNormalization"] == 1 and moves(found) == 0 and not found["Reshape"]


# -- GELU -----------------------------------------------------------------------------------------------------------

TAILS = {
    "value by value": [node("Mul", ["x", "a"], ["p"]), node("Mul", ["p", "half"], ["y"])],
    "half first": [node("Mul", ["x", "half"], ["p"]), node("Mul", ["p", "a"], ["y"])],
    "half of the factor": [node("Mul", ["half", "a"], ["p"]), node("Mul", ["x", "p"], ["y"])],
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("inner", ["Div", "Mul"])
def test_gelu_of_erf_is_one_layer(inner, tail):
    nodes = [
        constant("root", 2**0.5 if inner == "Div" else 2**-0.5),
        constant("one", 1.0),
        constant("half", 0.5),
        node(inner, ["x", "root"], ["u"]),
        node("Erf", ["u"], ["e"]),
        node("Add", ["e", "one"], ["a"]),
        *TAILS[tail],
    ]
    proto = model(nodes, {"x": ["N", 9]}, ["y"], opset=13)
    assert agree(proto, [{"x": draw(0, 4, 9) * 9}]).pieces == 0
    assert kinds(proto) == {"InputLayer": 1, "Activation": 1}


@pytest.mark.parametrize("cube", ["Pow", "Mul"])
def test_gelu_of_tanh_is_one_operation(cube):
    cubes = {
        "Pow": [constant("three", 3.0), node("Pow", ["x", "three"], ["c"])],
        "Mul": [node("Mul", ["x", "x"], ["q"]), node("Mul", ["q", "x"], ["c"])],
    }
    nodes = [
        constant("one", 1.0),
        constant("half", 0.5),
        constant("small", 0.044715),
        constant("root", (2 / np.pi) ** 0.5),
        *cubes[cube],
        node("Mul", ["c", "small"], ["sc"]),
        node("Add", ["x", "sc"], ["i"]),
        node("Mul", ["i", "root"], ["o"]),
        node("Tanh", ["o"], ["t"]),
        node("Add", ["one", "t"], ["a"]),
        *TAILS["half first"],
    ]
    proto = model(nodes, {"x": ["N", 9]}, ["y"], opset=13)
    assert agree(proto, [{"x": draw(0, 4, 9) * 9}]).pieces == 0
    assert kinds(proto) == {"InputLayer": 1, "Gelu": 1}


def test_another_error_function_stays():
    nodes = [node("Erf", ["x"], ["e"]), constant("one", 1.0), node("Add", ["e", "one"], ["a"]), constant("half", 0.5)]
    proto = model([*nodes, *TAILS["half first"]], {"x": ["N", 9]}, ["y"], opset=13)
    assert agree(proto, [{"x": draw(0, 4, 9) * 9}]).pieces == 0
    assert not kinds(proto)["Activation"]


# -- shapes ---------------------------------------------------------------------------------------------------------


def size(tensor: str, axis: int, name: str) -> list[onnx.NodeProto]:
    return [
        node("Shape", [tensor], [f"{name}.shape"]),
        constant(f"{name}.axis", axis, np.int64),
        node("Gather", [f"{name}.shape", f"{name}.axis"], [f"{name}.number"]),
        constant(f"{name}.zero", [0], np.int64),
        node("Unsqueeze", [f"{name}.number", f"{name}.zero"], [name]),
    ]


def test_a_channel_shuffle_of_open_pictures_moves_channels_only():
    """`x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)` with every size asked for."""
    sizes = [item for axis in range(4) for item in size("c", axis, f"s{axis}")]
    nodes = [
        node("Conv", ["x", "k"], ["c"]),
        *sizes,
        constant("groups", [2], np.int64),
        node("Div", ["s1", "groups"], ["each"]),
        node("Concat", ["s0", "groups", "each", "s2", "s3"], ["split"], axis=0),
        node("Reshape", ["c", "split"], ["v"]),
        node("Transpose", ["v"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Concat", ["s0", "s1", "s2", "s3"], ["whole"], axis=0),
        node("Reshape", ["t", "whole"], ["f"]),
        node("Conv", ["f", "l"], ["y"]),
    ]
    weights = {"k": draw(1, 12, 3, 1, 1), "l": draw(2, 5, 12, 1, 1)}
    proto = model(nodes, {"x": ["N", 3, "H", "W"]}, ["y"], weights)
    del proto.graph.value_info[:]
    assert agree(proto, [{"x": draw(0, 2, 3, 6, 4)}, {"x": draw(1, 1, 3, 5, 7)}]).pieces == 0
    assert moves(kinds(proto)) == 0


def test_sizes_that_are_computed_are_known_by_their_declared_names():
    """The newer exporter computes each size from the input's and declares what it is called."""
    nodes = [
        node("Conv", ["x", "k"], ["c"], strides=[2, 2], kernel_shape=[1, 1]),
        *[item for axis in (0, 2, 3) for item in size("x", axis, f"s{axis}")],
        constant("minus", [-1], np.int64),
        constant("one", [1], np.int64),
        constant("two", [2], np.int64),
        *[
            step
            for axis in (2, 3)
            for step in (
                node("Add", [f"s{axis}", "minus"], [f"m{axis}"]),
                node("Div", [f"m{axis}", "two"], [f"h{axis}"]),
                node("Add", [f"h{axis}", "one"], [f"o{axis}"]),
            )
        ],
        constant("groups", [3], np.int64),
        constant("each", [4], np.int64),
        constant("all", [12], np.int64),
        node("Concat", ["s0", "groups", "each", "o2", "o3"], ["split"], axis=0),
        node("Reshape", ["c", "split"], ["v"]),
        node("Transpose", ["v"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Concat", ["s0", "all", "o2", "o3"], ["whole"], axis=0),
        node("Reshape", ["t", "whole"], ["y"]),
    ]
    proto = model(nodes, {"x": ["N", 3, "H", "W"]}, ["y"], {"k": draw(1, 12, 3, 1, 1)})
    del proto.graph.value_info[:]
    half = ["(H-1)//2+1", "(W-1)//2+1"]
    for name, shape in {
        "c": ["N", 12, *half],
        "v": ["N", 3, 4, *half],
        "t": ["N", 4, 3, *half],
        "y": ["N", 12, *half],
    }.items():
        place = proto.graph.output if name == "y" else proto.graph.value_info
        if name == "y":
            del proto.graph.output[:]
        place.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    assert agree(proto, [{"x": draw(0, 2, 3, 6, 4)}, {"x": draw(1, 1, 3, 5, 7)}]).pieces == 0
    assert moves(kinds(proto)) == 0


def test_windows_of_an_open_batch_are_rows():
    """Window attention: windows become rows of the batch and go back, the batch's size computed."""
    nodes = [
        *size("x", 0, "n"),
        constant("four", [4], np.int64),
        node("Mul", ["n", "four"], ["rows"]),
        constant("cut", [2, 2, 2, 2, 6], np.int64),
        node("Concat", ["n", "cut"], ["split"], axis=0),
        node("Reshape", ["x", "split"], ["v"]),
        node("Transpose", ["v"], ["t"], perm=[0, 1, 3, 2, 4, 5]),
        constant("window", [4, 6], np.int64),
        node("Concat", ["rows", "window"], ["flat"], axis=0),
        node("Reshape", ["t", "flat"], ["w"]),
        node("MatMul", ["w", "m"], ["p"]),
        node("Reshape", ["p", "split"], ["b"]),
        node("Transpose", ["b"], ["u"], perm=[0, 1, 3, 2, 4, 5]),
        constant("picture", [4, 4, 6], np.int64),
        node("Concat", ["n", "picture"], ["whole"], axis=0),
        node("Reshape", ["u", "whole"], ["z"]),
        node("Add", ["z", "x"], ["y"]),
    ]
    proto = model(nodes, {"x": ["N", 4, 4, 6]}, ["y"], {"m": draw(1, 6, 6)}, opset=16)
    assert agree(proto, [{"x": draw(0, 2, 4, 4, 6)}, {"x": draw(1, 3, 4, 4, 6)}]).pieces == 0


def test_pictures_of_any_size_become_tokens_where_they_lie():
    nodes = [
        node("Conv", ["x", "k"], ["c"], strides=[2, 2]),
        *size("c", 0, "n"),
        constant("rest", [8, -1], np.int64),
        node("Concat", ["n", "rest"], ["target"], axis=0),
        node("Reshape", ["c", "target"], ["f"]),
        node("Transpose", ["f"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["t", "m"], ["y"]),
    ]
    weights = {"k": draw(1, 8, 3, 2, 2), "m": draw(2, 8, 5)}
    proto = model(nodes, {"x": ["N", 3, "H", "W"]}, ["y"], weights)
    assert agree(proto, [{"x": draw(0, 2, 3, 6, 4)}, {"x": draw(1, 1, 3, 8, 6)}]).pieces == 0
    assert moves(kinds(proto)) == 0


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_of_open_pictures(mode):
    nodes = [node("Conv", ["x", "k"], ["c"]), node("DepthToSpace", ["c"], ["y"], blocksize=2, mode=mode)]
    proto = model(nodes, {"x": ["N", 3, "H", "W"]}, ["y"], {"k": draw(1, 12, 3, 1, 1)})
    assert agree(proto, [{"x": draw(0, 2, 3, 3, 4)}, {"x": draw(1, 1, 3, 5, 2)}]).pieces == 0
    assert moves(kinds(proto)) == 0


def test_keys_that_are_turned_by_way_of_three_axes_are_turned_at_once():
    """The newer exporter's `key.transpose(-2, -1)`: all leading axes made one before, and apart again."""
    nodes = [
        node("Shape", ["k"], ["s"]),
        constant("last", [-1], np.int64),
        constant("before", [-2], np.int64),
        constant("end", [2**62], np.int64),
        constant("start", [0], np.int64),
        node("Slice", ["s", "last", "end"], ["depth"]),
        node("Slice", ["s", "before", "last"], ["steps"]),
        node("Slice", ["s", "start", "before"], ["leading"]),
        node("Concat", ["last", "steps", "depth"], ["joined"], axis=0),
        node("Reshape", ["k", "joined"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
        node("Concat", ["leading", "depth", "steps"], ["apart"], axis=0),
        node("Reshape", ["t", "apart"], ["kt"]),
        node("MatMul", ["q", "kt"], ["y"]),
    ]
    proto = model(nodes, {"q": ["N", 2, "T", 4], "k": ["N", 2, "T", 4]}, ["y"])
    feeds = [{"q": draw(0, n, 2, t, 4), "k": draw(1, n, 2, t, 4)} for n, t in ((2, 5), (3, 4))]
    assert agree(proto, feeds).pieces == 0
    assert not kinds(proto)["Reshape"]


# -- attention and recurrence ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, "bool", "float"])
@pytest.mark.parametrize("keys", [4, 2, 1])
def test_attention_is_one_operation(mask, keys):
    names = ["q", "k", "v"] + ([] if mask is None else ["m"])
    inputs = {"q": ["N", 4, "T", 8], "k": ["N", keys, "S", 8], "v": ["N", keys, "S", 8]}
    kind = {}
    if mask is not None:
        inputs["m"] = ["N", 1, "T", "S"]
        kind["m"] = TensorProto.BOOL if mask == "bool" else TensorProto.FLOAT
    proto = model([node("Attention", names, ["y"], scale=0.3)], inputs, ["y"], opset=23, kinds=kind)
    feeds = {"q": draw(0, 2, 4, 5, 8), "k": draw(1, 2, keys, 6, 8), "v": draw(2, 2, keys, 6, 8)}
    if mask is not None:
        seen = np.random.default_rng(0).random((2, 1, 5, 6)) < 0.6
        seen[..., 0] = True
        feeds["m"] = seen if mask == "bool" else np.where(seen, 0, -3e4).astype(np.float32)
    assert agree(proto, [feeds]).pieces == 0
    assert kinds(proto)["DotProductAttention"] == 1


def test_causal_attention_of_flat_heads():
    inputs = {name: ["N", "T", 12] for name in "qkv"}
    nodes = [node("Attention", ["q", "k", "v"], ["y"], is_causal=1, q_num_heads=3, kv_num_heads=3)]
    proto = model(nodes, inputs, ["y"], opset=23)
    assert agree(proto, [{name: draw(n, 2, 5, 12) for n, name in enumerate("qkv")}]).pieces == 0


@pytest.mark.parametrize("filled", ["ConstantOfShape", "Expand"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_states_of_zeros_for_an_open_batch_are_no_states(kind, filled):
    gates = 4 if kind == "LSTM" else 3
    fill = {
        "ConstantOfShape": [node("ConstantOfShape", ["shape"], ["h"])],
        "Expand": [constant("zero", [[[0.0]]]), node("Expand", ["zero", "shape"], ["h"])],
    }
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        *size("x", 0, "n"),
        constant("one", [1], np.int64),
        constant("units", [5], np.int64),
        node("Concat", ["one", "n", "units"], ["shape"], axis=0),
        *fill[filled],
        node(
            kind,
            ["t", "w", "r", "b", "", "h", *(["h"] if kind == "LSTM" else [])],
            ["o"],
            hidden_size=5,
            **({} if kind == "LSTM" else {"linear_before_reset": 1}),
        ),
        node("Squeeze", ["o", "one"], ["s"]),
        node("Transpose", ["s"], ["y"], perm=[1, 0, 2]),
    ]
    weights = {"w": draw(1, 1, gates * 5, 3), "r": draw(2, 1, gates * 5, 5), "b": draw(3, 1, 2 * gates * 5)}
    proto = model(nodes, {"x": ["N", "T", 3]}, ["y"], weights, opset=14)
    assert agree(proto, [{"x": draw(0, 2, 4, 3)}, {"x": draw(1, 3, 6, 3)}]).pieces == 0


def test_a_recurrent_layer_knows_its_width_from_its_weights():
    """Columns of a picture whose height is open are as long as the weights say."""
    nodes = [
        *[item for axis in range(4) for item in size("x", axis, f"s{axis}")],
        node("Mul", ["s1", "s2"], ["width"]),
        node("Concat", ["s0", "width", "s3"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["f"]),
        node("Transpose", ["f"], ["t"], perm=[2, 0, 1]),
        node("LSTM", ["t", "w", "r"], ["", "y"], hidden_size=5),
    ]
    weights = {"w": draw(1, 1, 20, 6), "r": draw(2, 1, 20, 5)}
    proto = model(nodes, {"x": ["N", 2, "H", "W"]}, ["y"], weights)
    made = to_keras(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch, steps in ((2, 4), (3, 6)):
        feeds = {"x": draw(batch, batch, 2, 3, steps)}
        np.testing.assert_allclose(run(made, feeds)["y"], session.run(None, feeds)[0], rtol=1e-4, atol=1e-6)


# -- what onnxruntime's optimiser fuses -----------------------------------------------------------------------------


def fused(nodes: list[onnx.NodeProto], inputs: dict, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def fusion(operator: str, inputs: list[str], outputs: list[str], **attributes) -> onnx.NodeProto:
    return node(operator, inputs, outputs, domain="com.microsoft", **attributes)


@pytest.mark.parametrize(
    ("activation", "numbers", "layer"),
    [("Relu", [], "ReLU"), ("LeakyRelu", [0.2], "LeakyReLU"), ("Clip", [0.0, 6.0], "ReLU"), ("Tanh", [], "Activation")],
)
def test_fused_convolutions_are_layers(activation, numbers, layer):
    given = {"activation_params": numbers} if numbers else {}
    nodes = [fusion("FusedConv", ["x", "k", "b"], ["y"], activation=activation, **given)]
    proto = fused(nodes, {"x": ["N", 3, 8, 8]}, {"k": draw(1, 4, 3, 3, 3), "b": draw(2, 4)})
    assert agree(proto, [{"x": draw(0, 2, 3, 8, 8) * 9}]).pieces == 0
    assert kinds(proto) == {"InputLayer": 1, "Conv2D": 1, layer: 1}


def test_a_fused_convolution_with_a_summand():
    nodes = [
        node("Relu", ["x"], ["r"]),
        fusion("FusedConv", ["x", "k", "b", "r"], ["y"], activation="Relu", pads=[1, 1, 1, 1]),
    ]
    proto = fused(nodes, {"x": ["N", 4, 8, 8]}, {"k": draw(1, 4, 4, 3, 3), "b": draw(2, 4)})
    assert agree(proto, [{"x": draw(0, 2, 4, 8, 8)}]).pieces == 0


def test_fused_pieces_of_a_transformer_are_layers():
    nodes = [
        fusion("SkipLayerNormalization", ["x", "z", "g", "o", "c"], ["n", "", "", "t"], epsilon=1e-5),
        fusion("FusedMatMul", ["n", "w"], ["p"], transB=1, alpha=0.5),
        fusion("BiasGelu", ["p", "d"], ["u"]),
        fusion("FastGelu", ["u", "d"], ["f"]),
        fusion("QuickGelu", ["f"], ["e"]),
        node("Add", ["e", "t"], ["y"]),
    ]
    weights = {name: draw(seed, 70) for seed, name in enumerate("gocd")}
    proto = fused(nodes, {"x": ["N", 3, 70], "z": ["N", 3, 70]}, {**weights, "w": draw(9, 70, 70)})
    assert agree(proto, [{"x": draw(0, 2, 3, 70), "z": draw(1, 2, 3, 70)}]).pieces == 0
    found = kinds(proto)
    assert found["LayerNormalization"] == 1 and found["Dense"] == 1 and found["Activation"] >= 2


def test_the_joined_model_stands_in_a_file_of_its_own(tmp_path):
    weights = {"w": draw(1, 96) + 1, "b": draw(2, 96)}
    proto = model(layer_norm("Pow", "Div"), {"x": ["N", 96]}, ["y"], weights, opset=13)
    made = to_keras(proto)
    made.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    x = draw(0, 2, 96)
    np.testing.assert_array_equal(made(x), again(x))


@pytest.mark.parametrize("kind", [np.float16, np.int64])
def test_a_choice_between_two_constants_keeps_its_type_in_a_file(kind):
    nodes = [
        node("Cast", ["x"], ["seen"], to=TensorProto.BOOL),
        constant("yes", 0, kind),
        constant("no", -7, kind),
        node("Where", ["seen", "yes", "no"], ["y"]),
    ]
    proto = model(nodes, {"x": ["N", 4]}, ["y"], kinds={"x": TensorProto.INT64})
    assert agree(proto, [{"x": np.array([[0, 1, 0, 2], [1, 1, 0, 0]])}]).error == 0


def test_einsum_of_tensors_is_stock():
    nodes = [node("Einsum", ["q", "k"], ["y"], equation="B H I D, B H J D -> B H I J")]
    proto = model(nodes, {"q": ["N", 2, 5, 4], "k": ["N", 2, 6, 4]}, ["y"], opset=16)
    assert agree(proto, [{"q": draw(0, 2, 2, 5, 4), "k": draw(1, 2, 2, 6, 4)}]).pieces == 0


def test_vectors_divided_by_their_lengths_need_no_expansion():
    nodes = [
        node("ReduceL2", ["x"], ["l"], axes=[-1]),
        constant("least", 1e-12),
        node("Clip", ["l", "least"], ["c"]),
        node("Shape", ["x"], ["s"]),
        node("Expand", ["c", "s"], ["e"]),
        node("Div", ["x", "e"], ["y"]),
    ]
    proto = model(nodes, {"x": ["N", 3, "T", 8]}, ["y"], opset=14)
    assert agree(proto, [{"x": draw(0, 2, 3, 5, 8)}, {"x": draw(1, 1, 3, 4, 8)}]).pieces == 0


def test_rows_of_a_gemm_that_were_more_axes_are_one_dense_layer():
    """GPT-2's Conv1D: `addmm(bias, x.view(-1, width), kernel).view(*sizes, features)`."""
    nodes = [
        node("Relu", ["x"], ["r"]),
        constant("rows", [-1, 6], np.int64),
        node("Reshape", ["r", "rows"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["g"]),
        *size("r", 0, "n"),
        *size("r", 1, "t"),
        constant("features", [9], np.int64),
        node("Concat", ["n", "t", "features"], ["target"], axis=0),
        node("Reshape", ["g", "target"], ["y"]),
    ]
    proto = model(nodes, {"x": ["N", "T", 6]}, ["y"], {"w": draw(1, 6, 9), "b": draw(2, 9)}, opset=14)
    assert agree(proto, [{"x": draw(0, 2, 5, 6)}, {"x": draw(1, 3, 4, 6)}]).pieces == 0
    assert kinds(proto) == {"InputLayer": 1, "ReLU": 1, "Dense": 1}


def test_normalisation_of_rows_that_were_more_axes():
    """LeViT's `bn(x.flatten(0, 1)).reshape_as(x)`."""
    nodes = [
        node("Flatten", ["x"], ["f"], axis=2),
        node("BatchNormalization", ["f", "s", "t", "m", "v"], ["n"]),
        node("Shape", ["x"], ["shape"]),
        node("Reshape", ["n", "shape"], ["y"]),
    ]
    weights = {"s": draw(1, 6), "t": draw(2, 6), "m": draw(3, 6), "v": np.abs(draw(4, 6)) + 0.5}
    proto = model(nodes, {"x": ["N", 5, 6]}, ["y"], weights, opset=14)
    assert agree(proto, [{"x": draw(0, 2, 5, 6)}, {"x": draw(1, 3, 5, 6)}]).pieces == 0
