"""Operators of `com.microsoft` that onnxruntime's optimiser makes, against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from converters.function import load
from converters.function.values import as_numpy
from modelzoo.errors import ModelzooError
from tests.converters.function.nodes import normal


def agrees(operator: str, inputs: dict[str, np.ndarray | None], *, domain: str = "com.microsoft", **attributes) -> None:
    """One node on these inputs, eagerly and traced with open sizes; arrays whose names begin with W are weights."""
    fed = {name: array for name, array in inputs.items() if array is not None and not name.startswith("W")}
    held = [numpy_helper.from_array(a, n) for n, a in inputs.items() if a is not None and n.startswith("W")]
    names = ["" if array is None else name for name, array in inputs.items()]
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], domain=domain, name="node", **attributes)],
        "one",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), [None] * a.ndim)
            for n, a in fed.items()
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        held,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, fed)[0]
    function = load(proto)
    specs = {name: tf.TensorSpec([None] * array.ndim, array.dtype) for name, array in fed.items()}
    traced = tf.function(lambda feeds: function(feeds)["y"], input_signature=[specs], autograph=False)
    for got in (function(fed)["y"], traced(fed)):
        np.testing.assert_allclose(as_numpy(got), wanted, rtol=1e-5, atol=1e-5 * float(np.abs(wanted).max()))


@pytest.mark.parametrize(
    ("activation", "numbers"),
    [
        ("Relu", []),
        ("LeakyRelu", [0.1]),
        ("Clip", [-0.5, 0.5]),
        ("HardSigmoid", [0.3, 0.4]),
        ("Sigmoid", []),
        ("Tanh", []),
    ],
)
def test_fused_conv(activation, numbers):
    given = {"activation_params": numbers} if numbers else {}
    inputs = {"x": normal(0, 2, 4, 7, 6), "Ww": normal(1, 6, 2, 3, 3), "Wb": normal(2, 6)}
    agrees("FusedConv", inputs, activation=activation, group=2, pads=[1, 0, 1, 2], strides=[2, 1], **given)


def test_fused_conv_with_a_summand():
    inputs = {"x": normal(0, 2, 4, 7, 6), "Ww": normal(1, 6, 4, 1, 1), "Wb": normal(2, 6), "z": normal(3, 2, 6, 7, 6)}
    agrees("FusedConv", inputs, activation="Relu")


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Tanh"])
def test_fused_gemm(activation):
    given = {"activation_alpha": 0.2} if activation == "LeakyRelu" else {}
    inputs = {"a": normal(0, 3, 4), "Wb": normal(1, 5, 4), "Wc": normal(2, 5)}
    agrees("FusedGemm", inputs, activation=activation, alpha=0.5, beta=2.0, transB=1, **given)


@pytest.mark.parametrize("turned", [{}, {"transA": 1}, {"transB": 1}, {"transA": 1, "transB": 1}])
def test_fused_matmul(turned):
    a = normal(0, 2, 3, 5, 4) if turned.get("transA") else normal(0, 2, 3, 4, 5)
    b = normal(1, 2, 3, 6, 5) if turned.get("transB") else normal(1, 2, 3, 5, 6)
    agrees("FusedMatMul", {"a": a, "b": b}, alpha=0.25, **turned)


def test_fused_matmul_whose_batch_is_not_first():
    agrees("FusedMatMul", {"a": normal(0, 4, 2, 3, 5), "b": normal(1, 2, 3, 5, 6)}, transBatchA=1)
    agrees("FusedMatMul", {"a": normal(0, 5, 2, 3, 4), "b": normal(1, 2, 3, 5, 6)}, transBatchA=1, transA=1)


@pytest.mark.parametrize("operator", ["BiasGelu", "FastGelu"])
def test_activations_with_a_bias(operator):
    agrees(operator, {"x": normal(0, 2, 3, 8) * 3, "Wb": normal(1, 8)})


@pytest.mark.parametrize("bias", [False, True])
def test_skip_layer_normalization(bias):
    inputs = {"x": normal(0, 2, 3, 8), "z": normal(1, 2, 3, 8), "Wg": normal(2, 8), "Wb": normal(3, 8)}
    agrees("SkipLayerNormalization", {**inputs, **({"Wc": normal(4, 8)} if bias else {})}, epsilon=1e-5)


def test_rms_normalization_in_its_older_names():
    agrees("SimplifiedLayerNormalization", {"x": normal(0, 2, 3, 8), "Wg": normal(2, 8)}, domain="", epsilon=1e-5)
    inputs = {"x": normal(0, 2, 3, 8), "z": normal(1, 2, 3, 8), "Wg": normal(2, 8)}
    agrees("SkipSimplifiedLayerNormalization", inputs, epsilon=1e-5)


def test_embed_layer_normalization():
    generator = np.random.default_rng(0)
    ids = {name: generator.integers(0, n, (2, 5)).astype(np.int32) for name, n in (("ids", 9), ("kinds", 2))}
    tables = {
        "Ww": normal(0, 9, 8),
        "Wp": normal(1, 7, 8),
        "Ws": normal(2, 2, 8),
        "Wg": normal(3, 8),
        "Wb": normal(4, 8),
    }
    helper_outputs = {**ids, **tables}
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("EmbedLayerNormalization", list(helper_outputs), ["y", "m"], domain="com.microsoft")],
            "one",
            [helper.make_tensor_value_info(name, TensorProto.INT32, ["N", "T"]) for name in ids],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in tables.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(load(proto)(ids)["y"], session.run(None, ids)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", [None, "rows", "pairs"])
@pytest.mark.parametrize("unidirectional", [0, 1])
def test_attention_of_one_projection(mask, unidirectional):
    inputs = {"x": normal(0, 2, 5, 8), "Ww": normal(1, 8, 24), "Wb": normal(2, 24)}
    seen = (np.random.default_rng(0).random((2, 5) if mask == "rows" else (2, 5, 5)) < 0.7).astype(np.int32)
    seen[..., 0] = 1
    if mask is not None:
        inputs["mask"] = seen
    agrees("Attention", inputs, num_heads=2, unidirectional=unidirectional)


@pytest.mark.parametrize("bias", [False, True])
def test_multi_head_attention(bias):
    inputs = {"q": normal(0, 2, 4, 8), "k": normal(1, 2, 6, 8), "v": normal(2, 2, 6, 8)}
    agrees("MultiHeadAttention", {**inputs, **({"Wb": normal(3, 24)} if bias else {})}, num_heads=2)


def quantized(seed: int, *shape: int, kind: type = np.uint8) -> np.ndarray:
    low, high = (0, 256) if kind is np.uint8 else (-128, 128)
    return np.random.default_rng(seed).integers(low, high, shape).astype(kind)


@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_of_integers(turned, per_column):
    scale = np.abs(normal(3, 4)) * 0.01 + 0.01 if per_column else np.float32(0.02)
    zero = np.zeros(4, np.int8) if per_column else np.int8(0)
    inputs = {
        "a": quantized(0, 3, 5),
        "Was": np.array(0.05, np.float32),
        "Waz": np.array(120, np.uint8),
        "Wb": quantized(1, 4, 5, kind=np.int8) if turned else quantized(1, 5, 4, kind=np.int8),
        "Wbs": np.asarray(scale, np.float32),
        "Wbz": np.asarray(zero),
        "Wc": np.array([100, -200, 300, 0], np.int32),
    }
    agrees("QGemm", inputs, transB=turned)


def test_products_of_integers_as_floats():
    scales = {"Was": np.array(0.05, np.float32), "Wbs": np.array(0.02, np.float32)}
    zeros = {"Waz": np.array(120, np.uint8), "Wbz": np.array(3, np.int8)}
    inputs = {"a": quantized(0, 2, 3, 5), "Wb": quantized(1, 5, 4, kind=np.int8), **scales, **zeros, "Wc": normal(2, 4)}
    agrees("MatMulIntegerToFloat", inputs)


def test_products_of_floats_that_are_quantised_on_the_way():
    inputs = {"a": normal(0, 2, 3, 5), "Wb": quantized(1, 5, 4, kind=np.int8), "Ws": np.array(0.02, np.float32)}
    agrees("DynamicQuantizeMatMul", inputs)


def test_layer_normalization_in_models_older_than_it():
    """As the optimiser writes it: ONNX's domain, whatever the opset."""
    proto = helper.make_model(
        helper.make_graph(
            [helper.make_node("LayerNormalization", ["x", "g", "b"], ["y"])],
            "one",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])],
            [numpy_helper.from_array(normal(seed, 8), name) for seed, name in enumerate("gb")],
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    x = normal(5, 3, 8)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(load(proto)({"x": x})["y"], session.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)


def test_what_is_not_known_is_named_with_its_domain_and_what_to_do():
    graph = helper.make_graph(
        [helper.make_node("NhwcMaxPool", ["x"], ["y"], name="pool", domain="com.microsoft", kernel_shape=[2, 2])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.INT8, [1, 4, 4, 2])],
        [onnx.ValueInfoProto(name="y")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    with pytest.raises(ModelzooError) as caught:
        load(helper.make_model(graph, opset_imports=opsets))
    assert all(word in str(caught.value) for word in ("pool", "com.microsoft::NhwcMaxPool", "optimised", "export"))
