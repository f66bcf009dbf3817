"""Weights that several nodes read are one variable: as many as the source has, trained as the source would be."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper

from converters import convert
from converters.emit import write_python
from converters.function import load
from converters.keras import to_keras
from converters.keras.held import channels_last
from modelzoo.features.taps import describe_taps
from tests.converters.keras.networks import draw, model

node = helper.make_node


def layers_of(made: keras.Model) -> list[str]:
    """The layers with weights, by class."""
    return sorted(type(layer).__name__ for layer in made.layers if layer.weights)


def results_of(made: keras.Model, feeds: dict[str, np.ndarray]) -> list[tf.Tensor]:
    """The model's outputs as they lie in the source."""
    fed = {
        name: value.transpose(channels_last(value.ndim)) if made.layouts[name] == "channels_last" else value
        for name, value in feeds.items()
    }
    results = made(fed if isinstance(made.input, dict) else next(iter(fed.values())), training=False)
    results = results if isinstance(results, dict) else {made.output_sources[0]: results}
    return [
        tf.transpose(value, (0, value.shape.rank - 1, *range(1, value.shape.rank - 1)))
        if made.layouts[name] == "channels_last"
        else tf.convert_to_tensor(value)
        for name, value in results.items()
    ]


def close(found: Sequence[tf.Tensor], wanted: Sequence[tf.Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        other = np.asarray(other)
        assert one.shape == other.shape
        assert np.abs(np.asarray(one) - other).max() <= 2e-5 * max(1.0, np.abs(other).max())


def trains_as_the_source(proto: onnx.ModelProto, feeds: dict[str, np.ndarray], **options) -> keras.Model:
    """Outputs before and after a step down the gradient are those of the graph, in which each initialiser is one.

    The graph runs through the operator table, which has a variable for each initialiser.
    """
    made = to_keras(proto, **options)
    function = load(proto)
    weights = [variable for variable in function.weights.values() if variable.trainable]

    def of_source() -> list[tf.Tensor]:
        given = function({name: tf.constant(value) for name, value in feeds.items()})
        return [given[name] for name in function.output_names]

    def step(compute, variables: list[tf.Variable]) -> list[tf.Tensor]:
        generator = np.random.default_rng(0)
        with tf.GradientTape() as tape:
            before = compute()
            loss = tf.add_n(
                [tf.reduce_sum(value * draws) for value in before if (draws := drawn(generator, value)).size]
            )
        gradients = tape.gradient(loss, variables)
        assert all(gradient is not None for gradient in gradients)
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_sub(0.05 * tf.convert_to_tensor(gradient))
        return before

    before = step(of_source, weights)
    own = step(lambda: results_of(made, feeds), [variable.value for variable in made.trainable_variables])
    close(own, before)
    after = of_source()
    assert any(np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-3 for a, b in zip(before, after, strict=True))
    close(results_of(made, feeds), after)
    count = sum(int(np.prod(variable.shape)) for variable in weights)
    assert sum(int(np.prod(variable.shape)) for variable in made.trainable_variables) == count
    return made


def drawn(generator: np.random.Generator, value: tf.Tensor) -> np.ndarray:
    return generator.standard_normal(value.shape).astype(np.float32)


def siamese() -> onnx.ModelProto:
    """Two pictures through one branch (Conv, BatchNorm, Relu, Flatten, Gemm), and the distance of what comes out."""
    nodes = []
    for side in ("a", "b"):
        nodes += [
            node("Conv", [side, "w", "t"], [f"conv_{side}"], pads=[1, 1, 1, 1], strides=[2, 2]),
            node("BatchNormalization", [f"conv_{side}", "scale", "shift", "mean", "variance"], [f"norm_{side}"]),
            node("Relu", [f"norm_{side}"], [f"relu_{side}"]),
            node("Flatten", [f"relu_{side}"], [f"flat_{side}"]),
            node("Gemm", [f"flat_{side}", "m", "n"], [f"code_{side}"], transB=1),
        ]
    nodes += [node("Sub", ["code_a", "code_b"], ["difference"]), node("Mul", ["difference", "difference"], ["y"])]
    weights = {
        "w": draw(1, 4, 3, 3, 3),
        "t": draw(2, 4),
        "scale": np.abs(draw(3, 4)) + 0.5,
        "shift": draw(4, 4),
        "mean": draw(5, 4),
        "variance": np.abs(draw(6, 4)) + 0.5,
        "m": draw(7, 5, 64),
        "n": draw(8, 5),
    }
    return model(nodes, {"a": ["N", 3, 8, 8], "b": ["N", 3, 8, 8]}, ["y", "code_a", "code_b"], weights)


PAIR = {"a": draw(10, 2, 3, 8, 8), "b": draw(11, 2, 3, 8, 8)}


def test_a_siamese_network_has_one_branch_that_is_called_twice():
    made = trains_as_the_source(siamese(), PAIR)
    assert layers_of(made) == ["BatchNormalization", "Conv2D", "Dense"]
    assert not {"Permute", "GraphFunction"} & {type(layer).__name__ for layer in made.layers}
    same = results_of(made, {"a": PAIR["a"], "b": PAIR["a"]})
    assert not np.asarray(same[0]).any() and np.asarray(same[1]).any()


def test_each_call_of_a_shared_layer_has_its_tap():
    made = to_keras(siamese())
    assert {"conv_a", "conv_b", "norm_b", "code_b", "Gemm_1"} <= set(made.taps)
    assert made.taps["conv_a"].tensor is not made.taps["conv_b"].tensor
    assert set(made.source_names) == {layer.name for layer in made.layers}
    facts = describe_taps({name: tap.tensor for name, tap in made.taps.items()})
    assert facts["relu_a"].stride == facts["relu_b"].stride == 2
    inner = to_keras(siamese(), outputs=["conv_b", "relu_b"])
    wanted = convert(siamese(), to="function", outputs=["conv_b", "relu_b"])(PAIR)
    close(results_of(inner, PAIR), [wanted["conv_b"], wanted["relu_b"]])
    assert convert(siamese(), to="keras", verify=True).report.passed


def test_the_tie_outlives_the_file_where_only_keras_is(tmp_path):
    made = convert(siamese(), to="keras", out=tmp_path / "net.keras")
    code = f"""
import sys
sys.modules["modelzoo"] = sys.modules["converters"] = None
import keras, numpy as np
model = keras.models.load_model({str(tmp_path / "net.keras")!r})
x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype("float32")
model.compile(keras.optimizers.SGD(0.01), {{"y": None, "code_a": "mse", "code_b": None}})
model.train_on_batch({{"a": x, "b": x + 1}}, {{"code_a": np.ones((2, 5), "float32")}})
found = model({{"a": x, "b": x}}, training=False)
print(len(model.weights), float(abs(found["y"]).numpy().max()), float(abs(found["code_b"]).numpy().max()) > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(made.weights)), "0.0", "True"]


def rewritten(made: keras.Model, fed, folder) -> str:
    """The model as Python source, after a comparison of what it builds with the model."""
    text = write_python(made, folder / "net.py").read_text()
    spec = importlib.util.spec_from_file_location("net", folder / "net.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    again = module.build()
    assert len(again.weights) == len(made.weights)
    pairs = zip(keras.tree.flatten(again(fed)), keras.tree.flatten(made(fed)), strict=True)
    for found, wanted in pairs:
        np.testing.assert_array_equal(found, wanted)
    return text


def test_python_source_makes_a_shared_layer_once_and_calls_it_twice(tmp_path):
    fed = {side: value.transpose(0, 2, 3, 1) for side, value in PAIR.items()}
    text = rewritten(to_keras(siamese()), fed, tmp_path)
    assert text.count("layers.Conv2D(") == text.count("layers.Dense(") == text.count("layers.BatchNormalization(") == 1


CAFFE = """
name: "pairs"
input: "a" input_shape { dim: 2 dim: 3 dim: 8 dim: 8 }
input: "b" input_shape { dim: 2 dim: 3 dim: 8 dim: 8 }
"""
for _side in ("a", "b"):
    CAFFE += f"""
layer {{ name: "conv_{_side}" type: "Convolution" bottom: "{_side}" top: "conv_{_side}"
  param {{ name: "conv_w" }} param {{ name: "conv_b" }}
  convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ type: "xavier" }}
    bias_filler {{ type: "constant" value: 0.3 }} }} }}
layer {{ name: "slope_{_side}" type: "PReLU" bottom: "conv_{_side}" top: "slope_{_side}" param {{ name: "slope" }} }}
layer {{ name: "code_{_side}" type: "InnerProduct" bottom: "slope_{_side}" top: "code_{_side}"
  param {{ name: "code_w" }} param {{ name: "code_b" }}
  inner_product_param {{ num_output: 5 weight_filler {{ type: "xavier" }}
    bias_filler {{ type: "constant" value: 0.2 }} }} }}
"""
CAFFE += (
    'layer { name: "y" type: "Eltwise" bottom: "code_a" bottom: "code_b" top: "y" eltwise_param { operation: PROD } }'
)


def test_parameters_that_caffe_layers_share_by_name_are_one(tmp_path):
    (tmp_path / "net.prototxt").write_text(CAFFE)
    made = convert(tmp_path / "net.prototxt", to="keras")
    assert layers_of(made) == ["Conv2D", "Dense", "PReLU"]
    assert {"conv_a", "conv_b", "slope_b", "code_b"} <= set(made.taps)
    function = convert(tmp_path / "net.prototxt", to="function")
    close(results_of(made, PAIR), list(function(PAIR).values()))
    x = tf.constant(PAIR["a"].transpose(0, 2, 3, 1)), tf.constant(PAIR["b"].transpose(0, 2, 3, 1))
    conv, slope, code = (made.get_layer(name) for name in ("conv_a", "slope_a", "code_a"))

    def branch(picture):
        return code(made_flat(slope(conv(picture))))

    made_flat = next(layer for layer in made.layers if isinstance(layer, keras.layers.Reshape | keras.layers.Flatten))
    with tf.GradientTape(persistent=True) as tape:
        both = tf.reduce_sum(made({"a": x[0], "b": x[1]}))
        fixed = [branch(item) for item in x]
        first = tf.reduce_sum(fixed[0] * tf.stop_gradient(fixed[1]))
        second = tf.reduce_sum(tf.stop_gradient(fixed[0]) * fixed[1])
    for variable in made.trainable_variables:
        parts = [tape.gradient(loss, variable.value) for loss in (first, second)]
        np.testing.assert_allclose(tape.gradient(both, variable.value), sum(parts), rtol=1e-4, atol=1e-5)


def language_model(product: str, *, bias: bool = True) -> onnx.ModelProto:
    """Tokens, a hidden layer, and the scores of all tokens by the transposed table."""
    weights = {"table": draw(1, 11, 6), "m": draw(2, 6, 6), "scores_bias": draw(3, 11), "two": np.array([0, -1])}
    weights |= {"three": np.array([-1, 6]), "first": np.array([0, 0, 0])}
    nodes = [node("Gather", ["table", "tokens"], ["e"]), node("MatMul", ["e", "m"], ["h"]), node("Tanh", ["h"], ["g"])]
    last = ["scores", "scores_bias"] if bias else None
    if product == "Gemm":
        nodes.append(node("ReduceMean", ["g", "axis"], ["pooled"], keepdims=0))
        weights["axis"] = np.array([1])
        nodes.append(node("Gemm", ["pooled", "table", *(["scores_bias"] if bias else [])], ["y"], transB=1))
    else:
        nodes.append(node("Transpose", ["table"], ["kernel"], perm=[1, 0]))
        nodes.append(node("MatMul", ["g", "kernel"], ["scores" if last else "y"]))
        if last:
            nodes.append(node("Add", last, ["y"]))
    used = {name for item in nodes for name in item.input}
    weights = {name: array for name, array in weights.items() if name in used}
    return model(nodes, {"tokens": ["N", 4]}, ["y"], weights, kinds={"tokens": TensorProto.INT64})


TOKENS = {"tokens": np.array([[1, 2, 10, 0], [3, 3, 5, 7]])}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("product", ["MatMul", "Gemm"])
def test_a_table_that_is_a_kernel_too_is_a_reversible_embedding(product, bias, tmp_path):
    proto = language_model(product, bias=bias)
    made = trains_as_the_source(proto, TOKENS)
    assert made.stock_only
    assert layers_of(made) == sorted(["Dense", "ReversibleEmbedding", *(["Embedding"] if bias else [])])
    text = rewritten(made, TOKENS["tokens"], tmp_path)
    assert text.count("layers.ReversibleEmbedding(") == 1 and "reverse=True" in text


@pytest.mark.parametrize("product", ["MatMul", "Gemm"])
def test_where_keras_has_no_reversible_embedding_the_table_stands_on_its_own(product, monkeypatch):
    monkeypatch.delattr(keras.layers, "ReversibleEmbedding")
    trains_as_the_source(language_model(product), TOKENS)


def two_convolutions(first: dict, second: dict, names: tuple[list[str], list[str]]) -> onnx.ModelProto:
    weights = {
        "w": draw(1, 4, 3, 3, 3),
        "v": draw(2, 4, 3, 3, 3),
        "s": draw(3, 4),
        "t": draw(4, 4),
        "z": draw(5, 4) * 0,
    }
    used = {name for item in names for name in item}
    nodes = [
        node("Conv", ["x", *names[0]], ["c"], **first),
        node("Conv", ["x", *names[1]], ["d"], **second),
        node("GlobalAveragePool", ["c"], ["p"]),
        node("GlobalMaxPool", ["d"], ["q"]),
        node("Mul", ["p", "q"], ["y"]),
    ]
    return model(nodes, {"x": ["N", 3, 8, 8]}, ["y"], {name: weights[name] for name in used})


IMAGE = {"x": 6 * draw(12, 2, 3, 8, 8)}


@pytest.mark.parametrize(
    ("names", "layers"),
    [
        ((["w", "s"], ["w", "t"]), ["Conv2D", "Embedding", "Embedding"]),  # one kernel, two biases
        ((["w", "s"], ["w"]), ["Conv2D", "Embedding"]),
        ((["w", "s"], ["v", "s"]), ["Conv2D", "Conv2D", "Embedding"]),  # one bias, two kernels
        ((["w", "s"], ["v", "t"]), ["Conv2D", "Conv2D"]),
    ],
)
def test_convolutions_share_what_they_have_in_common(names, layers):
    made = trains_as_the_source(two_convolutions({}, {}, names), IMAGE)
    assert made.stock_only and layers_of(made) == layers


def test_a_head_reads_maps_of_several_sizes():
    # As detectors have it; (0, 1) is what TensorFlow pads 8 cells with, but not 9.
    nodes = []
    for level in "ab":
        nodes += [
            node("Conv", [level, "w", "s"], [f"c_{level}"], pads=[0, 0, 1, 1], strides=[2, 2]),
            node("Relu", [f"c_{level}"], [f"r_{level}"]),
            node("Conv", [f"r_{level}", "v", "t"], [f"d_{level}"], pads=[1, 1, 1, 1]),
            node("Transpose", [f"d_{level}"], [f"e_{level}"], perm=[0, 2, 3, 1]),
            node("Reshape", [f"e_{level}", "shape"], [f"f_{level}"]),
        ]
    nodes.append(node("Concat", ["f_a", "f_b"], ["y"], axis=1))
    weights = {"w": draw(1, 4, 3, 3, 3), "s": draw(2, 4), "v": draw(3, 6, 4, 3, 3), "t": draw(4, 6)}
    weights["shape"] = np.array([0, -1, 3])
    proto = model(nodes, {"a": ["N", 3, 8, 8], "b": ["N", 3, 9, 9]}, ["y"], weights)
    made = trains_as_the_source(proto, {"a": 6 * draw(5, 2, 3, 8, 8), "b": 6 * draw(6, 2, 3, 9, 9)})
    assert made.stock_only and layers_of(made) == ["Conv2D", "Conv2D"]


def test_one_kernel_in_two_dilations_stays_one(tmp_path):
    proto = two_convolutions({"dilations": [1, 1]}, {"dilations": [2, 2]}, (["w", "s"], ["w", "s"]))
    made = trains_as_the_source(proto, IMAGE)
    assert made.stock_only and layers_of(made) == ["Embedding", "Embedding"]
    rewritten(made, IMAGE["x"].transpose(0, 2, 3, 1), tmp_path)


def test_a_kernel_and_a_bias_of_products():
    proto = model(
        [
            node("MatMul", ["x", "w"], ["a"]),
            node("Add", ["a", "s"], ["b"]),
            node("Tanh", ["b"], ["c"]),
            node("MatMul", ["c", "w"], ["d"]),
            node("Add", ["t", "d"], ["e"]),
            node("Gemm", ["e", "w", "s"], ["y"], alpha=0.5, beta=2.0),
        ],
        {"x": ["N", 6]},
        ["y"],
        {"w": draw(1, 6, 6), "s": draw(2, 6), "t": draw(3, 6)},
    )
    trains_as_the_source(proto, {"x": draw(0, 3, 6)})


def test_the_same_layer_again_and_again_is_one():
    nodes, last = [], "x"
    for number in range(4):
        nodes += [
            node("MatMul", [last, "w"], [f"p{number}"]),
            node("Add", [f"p{number}", "s"], [f"b{number}"]),
            node("Tanh", [f"b{number}"], [f"t{number}"]),
            node("Add", [f"t{number}", last], [f"r{number}"]),
            node("LayerNormalization", [f"r{number}", "g", "h"], [f"n{number}"]),
        ]
        last = f"n{number}"
    weights = {"w": draw(1, 6, 6), "s": draw(2, 6), "g": draw(3, 6) + 1, "h": draw(4, 6)}
    proto = model(nodes, {"x": ["N", 5, 6]}, [last], weights)
    made = trains_as_the_source(proto, {"x": draw(0, 2, 5, 6)})
    assert layers_of(made) == ["Dense", "LayerNormalization"]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])  # the last has no stock form
def test_recurrent_layers_and_pieces_of_the_graph_are_shared_too(kind, tmp_path):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    options = {"linear_before_reset": 1} if kind == "GRU" else {}
    nodes = []
    for side in ("a", "b"):
        nodes += [
            node(kind, [side, "w", "r", "s"], [f"y_{side}"], hidden_size=5, direction="bidirectional", **options),
            node("ReduceSum", [f"y_{side}", "axes"], [f"sum_{side}"], keepdims=0),
        ]
    nodes.append(node("Mul", ["sum_a", "sum_b"], ["y"]))
    weights = {"w": draw(1, 2, gates * 5, 9), "r": draw(2, 2, gates * 5, 5), "s": draw(3, 2, 2 * gates * 5)}
    proto = model(nodes, {"a": [7, 2, 9], "b": [7, 2, 9]}, ["y"], {**weights, "axes": np.array([0, 1])})
    feeds = {"a": draw(4, 7, 2, 9), "b": draw(5, 7, 2, 9)}
    made = to_keras(proto)
    assert layers_of(made) == (["GraphFunction"] if kind == "RNN" else [kind, kind])
    function = load(proto)
    close(results_of(made, feeds), list(function(feeds).values()))
    made.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert len(again.weights) == len(made.weights)


def test_weights_that_only_happen_to_be_equal_are_two():
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Conv", ["x", "v"], ["d"]), node("Mul", ["c", "d"], ["y"])]
    proto = model(nodes, {"x": ["N", 3, 8, 8]}, ["y"], {"w": draw(1, 4, 3, 3, 3), "v": draw(1, 4, 3, 3, 3)})
    assert layers_of(trains_as_the_source(proto, IMAGE)) == ["Conv2D", "Conv2D"]


def test_zeros_that_an_exporter_wrote_once_tie_nothing():
    made = to_keras(two_convolutions({}, {}, (["w", "z"], ["v", "z"])))
    assert layers_of(made) == ["Conv2D", "Conv2D"] and len(made.weights) == 4
    made = to_keras(two_convolutions({}, {}, (["w", "z"], ["w", "z"])))
    assert layers_of(made) == ["Conv2D"] and len(made.weights) == 2


@pytest.mark.parametrize("shape", [(96,), (96, 1, 1)])
def test_a_vector_of_one_number_is_what_layers_start_with(shape):
    # torch.onnx writes the equal scales of layers that were never trained once.
    nodes = [node("Mul", ["a", "s"], ["p"]), node("Tanh", ["p"], ["t"]), node("Mul", ["t", "s"], ["y"])]
    tensor = [2, *([96] if len(shape) == 1 else [96, 3, 3])]
    untrained = to_keras(model(nodes, {"a": tensor}, ["y"], {"s": np.full(shape, 1e-6, np.float32)}))
    trained = to_keras(model(nodes, {"a": tensor}, ["y"], {"s": draw(1, *shape)}))
    assert [len(untrained.weights), len(trained.weights)] == [2, 1]


def test_what_is_computed_alike_from_one_weight_is_one():
    # Weights divided by their length, which is computed for each call.
    nodes = []
    for side in ("a", "b"):
        nodes += [
            node("ReduceL2", ["w", "axes"], [f"length_{side}"], keepdims=1),
            node("Div", ["w", f"length_{side}"], [f"kernel_{side}"]),
            node("MatMul", [side, f"kernel_{side}"], [f"y_{side}"]),
        ]
    proto = model(nodes, {"a": ["N", 9], "b": ["N", 9]}, ["y_a", "y_b"], {"w": draw(1, 9, 8), "axes": np.array([0])})
    made = to_keras(proto)
    feeds = {"a": draw(0, 3, 9), "b": draw(1, 3, 9)}
    assert layers_of(made) == ["Dense"]
    close(results_of(made, feeds), list(load(proto)(feeds).values()))


def test_a_weight_that_is_read_in_two_ways_is_one():
    nodes = [
        node("Transpose", ["w"], ["u"], perm=[1, 0]),
        node("MatMul", ["x", "w"], ["a"]),
        node("MatMul", ["a", "u"], ["b"]),  # an autoencoder
        node("Tanh", ["b"], ["y"]),
    ]
    proto = model(nodes, {"x": ["N", 9]}, ["y"], {"w": draw(1, 9, 8)})
    made = trains_as_the_source(proto, {"x": draw(0, 3, 9)})
    assert made.stock_only and layers_of(made) == ["Embedding"]


@pytest.mark.parametrize("tail", ["same", "other", "none"])
def test_batch_norms_are_folded_into_a_shared_kernel_only_where_all_are_one(tail):
    second = {"same": "1", "other": "2", "none": None}[tail]
    weights = {"w": draw(1, 4, 3, 3, 3)}
    for number in "12":
        weights |= {f"g{number}": np.abs(draw(2 + int(number), 4)) + 0.5, f"h{number}": draw(5 + int(number), 4)}
        weights |= {f"m{number}": draw(8 + int(number), 4), f"v{number}": np.abs(draw(11 + int(number), 4)) + 0.5}

    def norm(source: str, number: str, out: str) -> onnx.NodeProto:
        return node("BatchNormalization", [source, *(f"{letter}{number}" for letter in "ghmv")], [out])

    nodes = [node("Conv", ["a", "w"], ["c"]), node("Conv", ["b", "w"], ["d"]), norm("c", "1", "n")]
    nodes.append(node("Relu", ["d"], ["o"]) if second is None else norm("d", second, "o"))
    nodes.append(node("Sub", ["n", "o"], ["y"]))
    used = {name for item in nodes for name in item.input}
    weights = {name: array for name, array in weights.items() if name in used}
    proto = model(nodes, {"a": ["N", 3, 8, 8], "b": ["N", 3, 8, 8]}, ["y"], weights)
    made = trains_as_the_source(proto, PAIR)
    norms = {"same": 1, "other": 2, "none": 1}[tail]
    assert layers_of(made) == ["BatchNormalization"] * norms + ["Conv2D"]
    folded = to_keras(proto, inference=True)
    close(results_of(folded, PAIR), list(load(proto)(PAIR).values()))
    assert layers_of(folded) == (["Conv2D"] if tail == "same" else ["BatchNormalization"] * norms + ["Conv2D"])


@pytest.mark.parametrize("alike", [True, False])
def test_scales_behind_a_shared_kernel_are_merged_only_where_all_are_one(alike):
    nodes = []
    for side, scale in (("a", "s"), ("b", "s" if alike else "t")):
        nodes += [
            node("Conv", [side, "w"], [f"c_{side}"]),
            node("Mul", [f"c_{side}", scale], [f"m_{side}"]),
            node("Add", [f"m_{side}", "shift"], [f"y_{side}"]),
        ]
    weights = {"w": draw(1, 4, 3, 3, 3), "s": draw(2, 4, 1, 1), "t": draw(3, 4, 1, 1), "shift": draw(4, 4, 1, 1)}
    if alike:
        del weights["t"]
    proto = model(nodes, {"a": ["N", 3, 8, 8], "b": ["N", 3, 8, 8]}, ["y_a", "y_b"], weights)
    made = to_keras(proto)
    close(results_of(made, PAIR), list(load(proto)(PAIR).values()))
    assert layers_of(made) == ["Conv2D"]
    assert [weight.name for weight in made.weights] == (["kernel", "bias"] if alike else ["kernel"])


def test_flattened_pictures_of_two_layouts_go_through_one_kernel():
    # One branch flattens what lies with its channels last, the other what lies as in the source.
    proto = model(
        [
            node("Conv", ["a", "k"], ["c"]),
            node("Flatten", ["c"], ["f"]),
            node("Gemm", ["f", "w"], ["p"]),
            node("Reshape", ["b", "shape"], ["g"]),
            node("Gemm", ["g", "w"], ["q"]),
            node("Mul", ["p", "q"], ["y"]),
        ],
        {"a": ["N", 3, 8, 8], "b": ["N", 4, 6, 6]},
        ["y"],
        {"k": draw(1, 4, 3, 3, 3), "w": draw(2, 144, 5), "shape": np.array([0, -1])},
    )
    made = trains_as_the_source(proto, {"a": PAIR["a"], "b": draw(3, 2, 4, 6, 6)})
    assert layers_of(made) == ["Conv2D", "Dense"]
