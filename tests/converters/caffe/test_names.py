"""Names in the graph: blobs keep Caffe's own whatever they are, inputs too, and everything else makes room."""

import numpy as np
import pytest

from converters.conversion import convert
from tests.converters.caffe.networks import inputs, model_of, run

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


def power(name, bottom, top, said="scale: 2 shift: 1"):
    return f'layer {{ name: "{name}" type: "Power" bottom: "{bottom}" top: "{top}" power_param {{ {said} }} }}\n'


def total(name, bottom, top):
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top}"'
        " inner_product_param { num_output: 1 weight_filler { value: 1 } } }\n"
    )


def test_an_input_that_is_worked_on_in_place_keeps_its_name():
    text = inputs(data=X.shape) + power("a", "data", "data") + power("b", "data", "data", "scale: 3")
    found = run(text + total("c", "data", "y"), {"data": X})
    np.testing.assert_allclose(found["y"], (3 * (2 * X + 1)).sum(1, keepdims=True), rtol=1e-5)
    names = {name for node in model_of(text).graph.node for name in node.output}
    assert {"data@b", "data@end"} <= names


def test_a_second_name_for_what_an_input_became():
    text = inputs(data=X.shape) + power("a", "data", "data")
    text += 'layer { name: "b" type: "Concat" bottom: "data" top: "y" }\n' + power("c", "data", "z")
    found = run(text, {"data": X})
    np.testing.assert_allclose(found["y"], 2 * X + 1, rtol=1e-6)
    np.testing.assert_allclose(found["z"], 4 * X + 3, rtol=1e-6)


@pytest.mark.parametrize("wanted", [None, ["data"]])
def test_what_an_input_becomes_in_place_is_an_output_of_its_name(tmp_path, wanted):
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(inputs(data=X.shape) + power("a", "data", "data"))
    function = convert(prototxt, to="function", outputs=wanted, verify=True)
    found = function({"data": X})
    assert list(found) == list(function.output_names) == ["data"]
    np.testing.assert_allclose(found["data"], 2 * X + 1, rtol=1e-6)
    made = convert(prototxt, to="keras", verify=True)
    np.testing.assert_allclose(made(X), 2 * X + 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("source", "result"), [("x", "fc/0"), ("fc/0", "y"), ("x", "fc/Gemm_3"), ("x", "fc"), ("fc", "0 - a/b.")]
)
def test_blobs_may_be_named_like_arrays_and_nodes(source, result):
    text = inputs(**{source: X.shape}) + total("fc", source, result) + power(result, result, "z")
    found = run(text, {source: X})
    np.testing.assert_allclose(found["z"], 2 * X.sum(1, keepdims=True) + 1, rtol=1e-5)


def test_inner_tensors_make_room_for_blobs():
    inner = model_of(inputs(x=X.shape) + power("a", "x", "y")).graph.node[0].output[0]
    found = run(inputs(x=X.shape) + power("a", "x", "y") + power("b", "y", inner), {"x": X})
    np.testing.assert_allclose(found[inner], 4 * X + 3, rtol=1e-5)


def test_several_layers_of_one_name():
    found = run(inputs(x=X.shape) + power("a", "x", "y") + power("a", "y", "z") + total("", "z", "s"), {"x": X})
    np.testing.assert_allclose(found["s"], (4 * X + 3).sum(1, keepdims=True), rtol=1e-5)
