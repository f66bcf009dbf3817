"""Small ONNX networks, made by hand, with what other people's exporters put into theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[int | str | None]],
    outputs: Sequence[str],
    weights: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 18,
    kinds: dict[str, int] | None = None,
) -> onnx.ModelProto:
    """A model of `nodes`; inputs are float32 unless `kinds` says otherwise."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(n, (kinds or {}).get(n, TensorProto.FLOAT), s) for n, s in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(made)
    # onnxruntime wants the type of every output.
    del made.graph.output[:]
    made.graph.output.extend(inferred.graph.output)
    return made


def draw(seed: int, *shape: int) -> np.ndarray:
    """Normal float32 numbers, scaled so that activations keep their size through a layer."""
    generator = np.random.default_rng(seed)
    fan = int(np.prod(shape[1:])) or 1
    return (generator.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)


def small_convnet(batch: int | str = "N", size: int | str = 32) -> onnx.ModelProto:
    """Conv, BatchNorm, depthwise, grouped, residual, concat, pools, flatten, Gemm, softmax."""
    node = helper.make_node
    return model(
        [
            node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
            node("BatchNormalization", ["c1", "s", "t", "m", "v"], ["n1"], epsilon=1e-3),
            node("Relu", ["n1"], ["r1"]),
            node("MaxPool", ["r1"], ["p1"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("Conv", ["p1", "w2"], ["c2"], pads=[1, 1, 1, 1], group=8),
            node("Conv", ["c2", "w3"], ["c3"], pads=[0, 1, 2, 1], group=2),
            node("LeakyRelu", ["c3"], ["l3"], alpha=0.1),
            node("Add", ["l3", "p1"], ["a"]),
            node("Concat", ["a", "p1"], ["k"], axis=1),
            node("AveragePool", ["k"], ["q"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["q"], ["f"]),
            node("Gemm", ["f", "w4", "b4"], ["g"], transB=1),
            node("Softmax", ["g"], ["y"], axis=-1),
        ],
        {"x": [batch, 3, size, size]},
        ["y"],
        {
            "w1": draw(1, 8, 3, 3, 3),
            "b1": draw(2, 8),
            "s": np.abs(draw(3, 8)) + 0.5,
            "t": draw(4, 8),
            "m": draw(5, 8),
            "v": np.abs(draw(6, 8)) + 0.5,
            "w2": draw(7, 8, 1, 3, 3),
            "w3": draw(8, 8, 4, 3, 3),
            "w4": draw(9, 5, 16 * 4 * 4),
            "b4": draw(10, 5),
        },
    )
