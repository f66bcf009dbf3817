"""ONNX to Keras: the numbers of onnxruntime, stock layers, no transposition left, trainable, reloadable."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from converters import convert
from converters.keras import to_keras
from converters.keras.held import channels_last
from modelzoo import errors
from tests.converters.keras.networks import draw, model, small_convnet

node = helper.make_node


def reference(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def agrees(proto: onnx.ModelProto, feeds: dict[str, np.ndarray], *, rtol: float = 1e-5, **options) -> keras.Model:
    """Convert, compare every output with onnxruntime, and give the model back."""
    made = to_keras(proto, **options)
    fed = {
        name: value.transpose(channels_last(value.ndim)) if made.layouts[name] == "channels_last" else value
        for name, value in feeds.items()
    }
    results = made(fed if isinstance(made.input, dict) else next(iter(fed.values())), training=False)
    results = results if isinstance(results, dict) else {made.output_sources[0]: results}
    for wanted, (name, value) in zip(reference(proto, feeds), results.items(), strict=True):
        got = np.asarray(value)
        if made.layouts[name] == "channels_last":
            got = np.moveaxis(got, -1, 1)
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() <= rtol * max(1.0, np.abs(wanted).max()), name
    return made


def kinds(made: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in made.layers]


def test_a_convnet_agrees_and_holds_no_transposition():
    made = agrees(small_convnet(), {"x": draw(0, 2, 3, 32, 32)})
    assert made.stock_only
    assert not {"Permute", "Transpose", "GraphFunction"} & set(kinds(made))
    assert {"Conv2D", "DepthwiseConv2D", "BatchNormalization", "Dense", "ZeroPadding2D"} <= set(kinds(made))
    assert made.layouts["x"] == "channels_last"


def test_for_inference_batch_norms_are_folded_and_the_numbers_stay():
    made = agrees(small_convnet(), {"x": draw(0, 2, 3, 32, 32)}, inference=True)
    assert "BatchNormalization" not in kinds(made)
    assert "n1" in made.taps and "c1" not in made.taps


def test_the_batch_stays_dynamic():
    made = to_keras(small_convnet())
    assert made.input.shape == (None, 32, 32, 3)
    for batch in (1, 3):
        assert made(np.zeros((batch, 32, 32, 3), np.float32)).shape == (batch, 5)


def test_a_fixed_batch_can_be_opened():
    proto = model(
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Reshape", ["c", "s"], ["f"]),
            node("Gemm", ["f", "m"], ["y"]),
        ],
        {"x": [1, 3, 6, 6]},
        ["y"],
        {"w": draw(1, 4, 3, 3, 3), "s": np.array([1, -1]), "m": draw(2, 64, 7)},
    )
    assert to_keras(proto).output.shape == (1, 7)
    opened = to_keras(proto, inputs={"x": (None, 3, 6, 6)})
    x = draw(0, 4, 6, 6, 3)
    rows = [np.asarray(to_keras(proto)(x[i : i + 1]))[0] for i in range(4)]
    np.testing.assert_allclose(np.asarray(opened(x)), rows, atol=1e-5)


def test_height_and_width_stay_dynamic_up_to_the_head():
    proto = small_convnet(size="S")
    made = to_keras(proto, outputs=["a"])
    feeds = {"x": draw(0, 1, 3, 40, 24)}
    wanted = convert(proto, to="function", outputs=["a"])(feeds)["a"]
    np.testing.assert_allclose(np.moveaxis(np.asarray(made(np.moveaxis(feeds["x"], 1, -1))), -1, 1), wanted, atol=1e-5)


def test_source_layout_is_kept_at_the_borders_when_asked():
    feeds = {"x": draw(0, 2, 3, 32, 32)}
    made = agrees(small_convnet(), feeds, data_format="source")
    assert made.input.shape == (None, 3, 32, 32)
    assert made.layouts["x"] == "source"


def test_taps_are_the_sources_tensor_and_node_names():
    made = to_keras(small_convnet())
    assert {"c1", "n1", "a", "k", "y"} <= set(made.taps)
    assert made.taps["a"].tensor.shape == (None, 8, 8, 8)
    assert made.source_names["c1"] == "c1"
    with pytest.raises(errors.UnknownTapError) as caught:
        to_keras(small_convnet(), outputs=["c1x"])
    assert caught.value.suggestions


def test_the_saved_model_opens_without_modelzoo(tmp_path):
    made = convert(small_convnet(), to="keras", out=tmp_path / "net.keras")
    x = draw(0, 2, 32, 32, 3)
    np.save(tmp_path / "x.npy", x)
    code = f"""
import sys
sys.modules["modelzoo"] = sys.modules["converters"] = None
import keras, numpy as np
model = keras.models.load_model({str(tmp_path / "net.keras")!r})
np.save({str(tmp_path / "y.npy")!r}, model(np.load({str(tmp_path / "x.npy")!r})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), np.asarray(made(x)), atol=1e-6)


def test_one_step_of_training_moves_every_weight_and_lowers_the_loss():
    made = to_keras(small_convnet())
    x, y = draw(0, 16, 32, 32, 3), np.arange(16) % 5
    before = [np.asarray(weight).copy() for weight in made.trainable_variables]
    made.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    history = made.fit(x, y, epochs=8, batch_size=16, verbose=0).history["loss"]
    assert history[-1] < history[0]
    moved = [not np.array_equal(a, np.asarray(b)) for a, b in zip(before, made.trainable_variables, strict=True)]
    assert all(moved)


def test_no_stock_initialiser_is_replaced_in_the_saved_config():
    made = to_keras(small_convnet())
    assert "FromArray" not in made.to_json()
    assert made.get_layer("c1").kernel_initializer.__class__.__module__.startswith("keras.")


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [2, 0, 1, 3]])
@pytest.mark.parametrize("strides", [[1, 1], [2, 2]])
@pytest.mark.parametrize("size", [9, 10])
def test_convolutions_pad_as_onnx_says(pads, strides, size):
    proto = model(
        [node("Conv", ["x", "w"], ["y"], pads=pads, strides=strides)],
        {"x": [2, 3, size, size]},
        ["y"],
        {"w": draw(1, 4, 3, 3, 3)},
    )
    assert agrees(proto, {"x": draw(0, 2, 3, size, size)}).stock_only


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_automatic_padding_in_one_two_and_three_dimensions(auto_pad, rank):
    shape = (2, 3, *[7, 8, 6][:rank])
    proto = model(
        [node("Conv", ["x", "w"], ["y"], auto_pad=auto_pad, strides=[2] * rank)],
        {"x": shape},
        ["y"],
        {"w": draw(1, 4, 3, *[3] * rank)},
    )
    assert agrees(proto, {"x": draw(0, *shape)}).stock_only


@pytest.mark.parametrize("kernel,strides,pads,extra", [(2, 2, 0, 0), (3, 2, 1, 1), (4, 2, 1, 0), (2, 3, 0, 0)])
def test_transposed_convolutions(kernel, strides, pads, extra):
    proto = model(
        [
            node(
                "ConvTranspose", ["x", "w", "b"], ["y"],
                strides=[strides] * 2, pads=[pads] * 4, output_padding=[extra] * 2,
            )
        ],
        {"x": [1, 3, 5, 6]},
        ["y"],
        {"w": draw(1, 3, 4, kernel, kernel), "b": draw(2, 4)},
    )  # fmt: skip
    agrees(proto, {"x": draw(0, 1, 3, 5, 6)})


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1]])
@pytest.mark.parametrize("count", [None, 0, 1])
def test_pools(ceil_mode, pads, count):
    kind = "MaxPool" if count is None else "AveragePool"
    options = {} if count is None else {"count_include_pad": count}
    proto = model(
        [node(kind, ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=pads, ceil_mode=ceil_mode, **options)],
        {"x": [2, 3, 8, 7]},
        ["y"],
    )
    agrees(proto, {"x": -np.abs(draw(0, 2, 3, 8, 7)) - 0.1})


def test_a_transposition_between_layouts_costs_nothing():
    # What tf2onnx writes: NHWC at the border, NCHW inside.
    proto = model(
        [
            node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
            node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"]),
            node("Transpose", ["r"], ["y"], perm=[0, 2, 3, 1]),
        ],
        {"x": ["N", 8, 8, 3]},
        ["y"],
        {"w": draw(1, 4, 3, 3, 3)},
    )
    made = agrees(proto, {"x": draw(0, 2, 8, 8, 3)})
    assert not {"Permute", "Transpose"} & set(kinds(made))


def test_shape_arithmetic_of_an_exporter_becomes_a_reshape():
    # view(x.size(0), -1) as PyTorch exports it.
    proto = model(
        [
            node("Conv", ["x", "w"], ["c"]),
            node("Shape", ["c"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Unsqueeze", ["n", "axes"], ["u"]),
            node("Concat", ["u", "rest"], ["target"], axis=0),
            node("Reshape", ["c", "target"], ["f"]),
            node("MatMul", ["f", "m"], ["y"]),
        ],
        {"x": ["N", 3, 6, 6]},
        ["y"],
        {
            "w": draw(1, 4, 3, 3, 3),
            "zero": np.array(0),
            "axes": np.array([0]),
            "rest": np.array([-1]),
            "m": draw(2, 64, 7),
        },
    )
    made = agrees(proto, {"x": draw(0, 2, 3, 6, 6)})
    assert made.stock_only
    assert "Permute" not in kinds(made)
    assert made.output.shape == (None, 7)


def shuffled(steps: list[tuple[list[int], list[int] | None]]) -> onnx.ModelProto:
    """Reshapes and transpositions between two convolutions of 8 and of 2 channels."""
    nodes, weights, last = [node("Conv", ["x", "w"], ["c"])], {"w": draw(1, 8, 3, 1, 1)}, "c"
    for number, (shape, perm) in enumerate(steps):
        weights[f"s{number}"] = np.array(shape)
        nodes.append(node("Reshape", [last, f"s{number}"], [f"r{number}"]))
        last = f"r{number}"
        if perm is not None:
            nodes.append(node("Transpose", [last], [f"t{number}"], perm=perm))
            last = f"t{number}"
    width = steps[-1][0][1]
    weights["v"] = draw(2, 4, width, 1, 1)
    nodes.append(node("Conv", [last, "v"], ["y"]))
    return model(nodes, {"x": ["N", 3, 6, 4]}, ["y"], weights)


@pytest.mark.parametrize(
    "steps",
    [
        [([-1, 2, 4, 6, 4], [0, 2, 1, 3, 4]), ([-1, 8, 6, 4], None)],  # a channel shuffle
        [([-1, 2, 2, 2, 6, 4], [0, 3, 4, 1, 5, 2]), ([-1, 2, 12, 8], None)],  # a pixel shuffle
    ],
)
def test_shuffles_move_elements_once(steps):
    made = agrees(shuffled(steps), {"x": draw(0, 2, 3, 6, 4)})
    assert kinds(made).count("Permute") == 1


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_recurrent_layers(kind, direction):
    directions = 2 if direction == "bidirectional" else 1
    gates = 4 if kind == "LSTM" else 3
    options = {} if kind == "LSTM" else {"linear_before_reset": 1}
    proto = model(
        [
            node(kind, ["x", "w", "r", "b"], ["y"], hidden_size=5, direction=direction, **options),
        ],
        {"x": [7, 2, 3]},
        ["y"],
        {
            "w": draw(1, directions, gates * 5, 3),
            "r": draw(2, directions, gates * 5, 5),
            "b": draw(3, directions, 2 * gates * 5),
        },
    )
    assert agrees(proto, {"x": draw(0, 7, 2, 3)}).stock_only


def test_lrn_of_stock_pieces():
    proto = model([node("LRN", ["x"], ["y"], size=5, alpha=0.1, bias=2.0)], {"x": [2, 12, 5, 5]}, ["y"])
    assert agrees(proto, {"x": draw(0, 2, 12, 5, 5) * 10}).stock_only


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("other", [(1, 4, 1), (4, 1), (1, 1, 4), (3, 1, 1), (4,)])
def test_sums_broadcast_on_the_axis_where_they_lie(other, swap):
    # Keras takes (1, 4, 1) beside (3, 4, 4) for a bias of the last axis.
    names = ["b", "a"] if swap else ["a", "b"]
    proto = model([node("Add", names, ["y"])], {"a": [3, 4, 4], "b": list(other)}, ["y"])
    agrees(proto, {"a": draw(0, 3, 4, 4), "b": draw(1, *other)})
    constant = model([node("Add", names, ["y"])], {"a": [3, 4, 4]}, ["y"], {"b": draw(1, *other)})
    agrees(constant, {"a": draw(0, 3, 4, 4)})


@pytest.mark.parametrize("shape", [(1, 80, 1), (80,), (1, 80, 80)])
def test_large_constants_are_weights_on_the_axis_where_they_lie(shape):
    for kind in ("Add", "Mul", "Sub", "Div"):
        proto = model([node(kind, ["a", "b"], ["y"])], {"a": [2, 80, 80]}, ["y"], {"b": draw(1, *shape) + 3})
        made = agrees(proto, {"a": draw(0, 2, 80, 80)})
        assert made.weights


def test_half_precision_is_not_cast():
    proto = model([node("Relu", ["a"], ["r"]), node("Add", ["r", "a"], ["y"])], {"a": [2, 3]}, ["y"])
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    assert to_keras(proto)(np.ones((2, 3), np.float16)).dtype == "float16"


def test_an_operator_without_stock_form_goes_into_one_registered_layer(tmp_path):
    proto = model(
        [node("Relu", ["x"], ["r"]), node("CumSum", ["r", "axis"], ["c"]), node("Neg", ["c"], ["y"])],
        {"x": [2, 5]},
        ["y"],
        {"axis": np.array(1)},
    )
    made = agrees(proto, {"x": draw(0, 2, 5)})
    assert not made.stock_only
    made.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    x = draw(0, 2, 5)
    np.testing.assert_array_equal(again(x), made(x))


def test_several_inputs_and_outputs_are_dicts_by_source_name():
    proto = model(
        [node("Add", ["a/x", "b"], ["s"]), node("Sub", ["a/x", "b"], ["d"])],
        {"a/x": [2, 3], "b": [2, 3]},
        ["s", "d"],
    )
    made = agrees(proto, {"a/x": draw(0, 2, 3), "b": draw(1, 2, 3)})
    assert set(made.input) == {"a/x", "b"}
    assert set(made.output) == {"s", "d"}


def test_an_embedding_takes_token_numbers():
    proto = model(
        [node("Gather", ["table", "tokens"], ["e"]), node("ReduceMean", ["e", "axes"], ["y"], keepdims=0)],
        {"tokens": ["N", 6]},
        ["y"],
        {"table": draw(1, 11, 4), "axes": np.array([1])},
        kinds={"tokens": TensorProto.INT64},
    )
    agrees(proto, {"tokens": np.array([[1, 2, 3, 10, 0, -1]])})


def test_an_output_that_no_keras_model_can_give_is_refused_with_what_to_do():
    proto = model([node("SequenceConstruct", ["x", "x"], ["y"])], {"x": [2, 3]}, [])
    sequence = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    proto.graph.output.append(sequence)
    with pytest.raises(errors.ConversionError) as caught:
        to_keras(proto)
    assert 'to="function"' in str(caught.value)


def test_verify_reports_outputs_and_taps_and_fails_past_the_tolerance(tmp_path):
    made = convert(small_convnet(), to="keras", verify=True)
    assert made.report.passed
    assert {row.name for row in made.report.rows} >= {"y", "c1", "k"}
    page = made.report.write_html(tmp_path / "parity.html").read_text()
    assert "<svg" in page and "c1" in page
    with pytest.raises(errors.ParityError) as caught:
        convert(small_convnet(), to="keras", verify=True, rtol=0.0)
    assert caught.value.report.rows


def test_a_savedmodel_appears_whole_and_answers(tmp_path):
    import tensorflow as tf

    path = convert(small_convnet(), to="savedmodel", out=tmp_path / "net")
    loaded = tf.saved_model.load(str(path))
    x = draw(0, 2, 32, 32, 3)
    np.testing.assert_allclose(loaded.serve(x), to_keras(small_convnet())(x), atol=1e-5)
    with pytest.raises(errors.UsageError):
        convert(small_convnet(), to="savedmodel", out=tmp_path / "net")


def test_a_gradient_is_of_what_lies_before_it():
    # b a + tanh(a), differentiated by a and b.
    nodes = [
        node("Mul", ["a", "b"], ["c"]),
        node("Tanh", ["a"], ["t"]),
        node("Add", ["c", "t"], ["d"]),
        node("Gradient", ["a", "b"], ["da", "db"], xs=["a", "b"], y="d", domain="ai.onnx.preview.training"),
        node("Mul", ["da", "db"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "abdy"]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.preview.training", 1)]
    proto = helper.make_model(helper.make_graph(nodes, "net", values[:2], values[2:]), opset_imports=opsets)
    a, b = draw(0, 2, 3), draw(1, 2, 3)
    found = to_keras(proto)({"a": a, "b": b})
    np.testing.assert_allclose(found["d"], a * b + np.tanh(a), atol=1e-6)
    np.testing.assert_allclose(found["y"], (b + 1 - np.tanh(a) ** 2) * a, atol=1e-6)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_softmax_of_halves_rounds_where_onnx_does(kind):
    proto = model([node("Softmax", ["x"], ["y"], axis=-1)], {"x": [3, 40]}, ["y"])
    code = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}[kind]
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.elem_type = code
    x = keras.ops.cast(6 * draw(0, 3, 40), kind)
    wanted = convert(proto, to="function")({"x": x})["y"]
    np.testing.assert_array_equal(np.asarray(to_keras(proto)(x)), np.asarray(wanted))
