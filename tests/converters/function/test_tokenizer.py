"""`com.microsoft.Tokenizer` against onnxruntime, which has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from converters.function import load

TEXTS = [
    "",
    "one two,three",
    "Größe: 3,5 m²",
    "  spaced   out ",
    "a b cd efg",
    "x",
    "雪 ist weiß",
    "tab\tand\nline",
    "..,,",
]


def tokenizer(shape: list[Any], **attributes: Any) -> onnx.ModelProto:
    node = onnx.helper.make_node("Tokenizer", ["x"], ["y"], domain="com.microsoft", **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "tokens",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.STRING, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.STRING, None)],
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)


def reference(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("mark", [0, 1])
@pytest.mark.parametrize(
    "how",
    [
        {"tokenexp": "[a-zA-Z0-9_]+", "mincharnum": 1},
        {"tokenexp": r"\w\w+", "mincharnum": 2},
        {"tokenexp": "[^ ]+", "mincharnum": 3},
        {"separators": [" "], "mincharnum": 1},
        {"separators": [",", r"\s+"], "mincharnum": 1},
        {"separators": ["[ ,.:]"], "mincharnum": 2},
        {"separators": [""], "mincharnum": 1},
    ],
    ids=str,
)
def test_words_are_those_of_onnxruntime(how: dict[str, Any], mark: int):
    for x in (np.array(TEXTS, object), np.array(TEXTS, object).reshape(3, 3), np.array(["", ""], object)):
        proto = tokenizer([None] * x.ndim, pad_value="#", mark=mark, **how)
        wanted = reference(proto, x)
        got = load(proto)({"x": x})["y"]
        assert got.shape == wanted.shape
        assert got.tolist() == wanted.tolist()


def test_it_works_in_a_graph_of_open_sizes():
    function = load(tokenizer([None, 1], pad_value="", mark=0, tokenexp="[a-z]+", mincharnum=1))
    traced = tf.function(lambda x: function({"x": x}), input_signature=[tf.TensorSpec([None, 1], tf.string)])
    made = traced(tf.constant([["one two"], ["three"]]))["y"]
    assert made.numpy().tolist() == [[[b"one", b"two"]], [[b"three", b""]]]
