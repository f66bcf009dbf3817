"""What stands on a Caffe network's hub graph: stock Keras layers, taps, weights, and any number of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from converters.function import load
from converters.keras import to_keras
from tests.converters.caffe.networks import inputs, model_of

RNG = np.random.default_rng(13)


def draw(*shape):
    return (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)


def layer(name, kind, said="", bottoms=None, top=None):
    """A layer that works in place on `bottoms` unless `top` says otherwise."""
    names = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{name}" type: "{kind}" {names} top: "{top or bottoms[0]}" {said} }}\n'


CONVNET = (
    inputs(data=(1, 3, 35, 35))
    + layer("conv1", "Convolution", "convolution_param { num_output: 8 kernel_size: 5 stride: 2 }", ["data"], "conv1")
    + layer("relu1", "ReLU", bottoms=["conv1"])
    + layer("norm1", "LRN", "lrn_param { local_size: 5 alpha: 0.1 }", ["conv1"], "norm1")
    + layer("pool1", "Pooling", "pooling_param { kernel_size: 3 stride: 2 }", ["norm1"], "pool1")
    + layer(
        "conv2",
        "Convolution",
        "convolution_param { num_output: 8 kernel_size: 3 pad: 1 group: 2 bias_term: false }",
        ["pool1"],
        "conv2",
    )
    + layer("bn2", "BatchNorm", bottoms=["conv2"])
    + layer("scale2", "Scale", "scale_param { bias_term: true }", ["conv2"])
    + layer("relu2", "ReLU", "relu_param { negative_slope: 0.1 }", ["conv2"])
    + layer("pool2", "Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", ["conv2"], "pool2")
    + layer("norm2", "LRN", "lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }", ["pool2"], "norm2")
    + layer("up", "Deconvolution", "convolution_param { num_output: 8 kernel_size: 4 stride: 2 }", ["norm2"], "up")
    + layer("crop", "Crop", "crop_param { offset: 1 }", ["up", "conv2"], "crop")
    + layer("sum", "Eltwise", "eltwise_param { coeff: 1 coeff: -0.5 }", ["crop", "conv2"], "sum")
    + layer("cat", "Concat", bottoms=["sum", "conv2"], top="cat")
    + layer("prelu", "PReLU", bottoms=["cat"])
    + layer("fc", "InnerProduct", "inner_product_param { num_output: 5 }", ["cat"], "fc")
    + layer("drop", "Dropout", "dropout_param { dropout_ratio: 0.25 }", ["fc"])
    + layer("prob", "Softmax", bottoms=["fc"], top="prob")
)
ARRAYS = {
    "conv1": [draw(8, 3, 5, 5), draw(8)],
    "conv2": [draw(8, 4, 3, 3)],
    "bn2": [draw(8), RNG.uniform(1, 2, 8).astype(np.float32), np.array([1.5], np.float32)],
    "scale2": [RNG.uniform(1, 2, 8).astype(np.float32), draw(8)],
    "up": [draw(8, 8, 4, 4), draw(8)],
    "prelu": [RNG.uniform(0, 1, 16).astype(np.float32)],
    "fc": [draw(5, 16 * 8 * 8), draw(5)],
}


def test_convolutional_networks_are_stock_layers_without_transpositions():
    proto = model_of(CONVNET, ARRAYS)
    model = to_keras(proto)
    kinds = [type(part).__name__ for part in model.layers]
    assert model.stock_only
    assert "Permute" not in kinds
    assert kinds.count("BatchNormalization") == kinds.count("Dropout") == kinds.count("Dense") == 1
    assert next(part for part in model.layers if type(part).__name__ == "Dropout").rate == 0.25
    # The Scale layer became the normalisation's own gamma and beta.
    norm = next(part for part in model.layers if type(part).__name__ == "BatchNormalization")
    np.testing.assert_array_equal(norm.gamma, ARRAYS["scale2"][0])
    x = draw(1, 3, 35, 35)
    wanted = np.asarray(load(proto)({"data": x})["prob"])
    np.testing.assert_allclose(np.asarray(model(np.moveaxis(x, 1, -1))), wanted, rtol=1e-4, atol=1e-6)


def test_taps_are_blobs_and_weights_are_layers():
    proto = model_of(CONVNET, ARRAYS)
    function = load(proto, outputs=["pool1", "conv2@scale2", "conv2"])
    x = draw(1, 3, 35, 35)
    found = function({"data": x})
    assert found["pool1"].shape == (1, 8, 8, 8)
    a, b = (array[:, None, None] for array in ARRAYS["scale2"])
    scaled = np.asarray(found["conv2@scale2"]) * a + b
    np.testing.assert_allclose(found["conv2"], np.where(scaled > 0, scaled, 0.1 * scaled), rtol=1e-5, atol=1e-6)
    names = {value.name for value in proto.graph.initializer}
    assert {"conv1/0", "conv1/1", "conv2/0", "scale2/0", "scale2/1", "up/0", "prelu/0", "fc/0", "fc/1"} <= names


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_pictures(count):
    proto = model_of(CONVNET, ARRAYS)
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    function, x = load(proto), draw(count, 3, 35, 35)
    found = np.asarray(function({"data": x})["prob"])
    single = [np.asarray(function({"data": x[i : i + 1]})["prob"]) for i in range(count)]
    np.testing.assert_allclose(found, np.concatenate(single), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Concat", "concat_param { axis: 0 }"),
        ("Flatten", "flatten_param { axis: 0 }"),
        ("InnerProduct", "inner_product_param { axis: 0 num_output: 2 }"),
        ("Scale", "scale_param { axis: 0 }"),
        ("Tile", "tile_param { axis: 0 tiles: 2 }"),
        ("Crop", "crop_param { axis: 0 }"),
        ("Convolution", "convolution_param { axis: 2 num_output: 2 kernel_size: 1 }"),
    ],
)
def test_layers_that_count_pictures_fix_their_number(kind, said):
    bottoms = ["a", "b"] if kind in ("Concat", "Crop") else ["a"]
    text = inputs(**dict.fromkeys(bottoms, (2, 3, 4, 5))) + layer("l", kind, said, bottoms, "y")
    proto = model_of(text)
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_dropout_of_the_training_phase_is_random(tmp_path):
    import onnx_ir as ir

    from converters.caffe.network import read_network
    from converters.caffe.translate import translate

    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(
        inputs(x=(64, 64)) + layer("d", "Dropout", "dropout_param { dropout_ratio: 0.75 }", ["x"], "y"), "utf-8"
    )
    found = {}
    for phase in ("train", "test"):
        model = ir.to_proto(translate(read_network(prototxt, phase=phase)))
        found[phase] = np.asarray(load(model)({"x": np.ones((64, 64), np.float32)})["y"])
    assert set(np.unique(found["test"])) == {1}
    assert set(np.unique(found["train"])) == {0, 4}
    assert 0.7 < (found["train"] == 0).mean() < 0.8


def test_layers_of_one_name_keep_their_own_arrays():
    text = inputs(x=(2, 3)) + "".join(
        layer("s", "Scale", f"scale_param {{ filler {{ value: {value} }} }}", ["x"], f"y{value}") for value in (2, 3)
    )
    x = draw(2, 3)
    found = load(model_of(text))({"x": x})
    np.testing.assert_allclose(found["y2"], 2 * x, rtol=1e-6)
    np.testing.assert_allclose(found["y3"], 3 * x, rtol=1e-6)
