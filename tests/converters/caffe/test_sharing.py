"""Parameters that several layers share: one tensor in the graph, one variable in the function, whatever its form."""

import numpy as np
import pytest

from tests.converters.caffe.networks import inputs, model_of, run

RNG = np.random.default_rng(0)


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def product(name, bottom, said, mode="STRICT", bias=False):
    params = f'param {{ name: "w" share_mode: {mode} }}' + (' param { name: "b" }' if bias else "")
    said += "" if bias else " bias_term: false"
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {params}'
        f" inner_product_param {{ num_output: 4 {said} }} }}\n"
    )


SIAMESE = inputs(left=(2, 6), right=(2, 6)) + product("a", "left", "", bias=True) + product("b", "right", "", bias=True)


def test_both_halves_of_a_siamese_network_have_the_same_tensors():
    proto = model_of(SIAMESE, {"a": [random(4, 6), random(4)]})
    assert sorted(item.name for item in proto.graph.initializer) == ["a/0", "a/1"]


def test_training_keeps_them_tied():
    import tensorflow as tf

    from converters.function import load

    function = load(model_of(SIAMESE, {"a": [random(4, 6), random(4)]}))
    left, right = random(2, 6), random(2, 6)
    with tf.GradientTape() as tape:
        result = function({"left": left, "right": right})
        loss = tf.reduce_sum(result["a"]) + 2 * tf.reduce_sum(result["b"])
    assert function.weights.keys() == {"a/0", "a/1"}
    kernel, bias = function.weights["a/0"], function.weights["a/1"]
    steps = tape.gradient(loss, [kernel, bias])
    np.testing.assert_allclose(steps[0], np.tile(left.sum(0) + 2 * right.sum(0), (4, 1)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(steps[1], np.full(4, 6.0))
    kernel.assign_sub(0.1 * steps[0])
    result = function({"left": left, "right": left})
    np.testing.assert_allclose(result["a"], result["b"])


@pytest.mark.parametrize("owner", ["plain", "transposed", "along an axis"])
def test_one_array_in_several_forms_is_one_variable(owner):
    """A product transposes its matrix or not, and takes it turned round for more than two axes."""
    forms = {
        "plain": product("p", "x", ""),
        "transposed": product("t", "x", "transpose: true", "PERMISSIVE"),
        "along an axis": product("n", "z", "axis: 2"),
    }
    text = inputs(x=(2, 6), z=(2, 3, 6)) + forms.pop(owner).replace("PERMISSIVE", "STRICT")
    text += "".join(forms.values()).replace("STRICT", "PERMISSIVE")
    array, x, z = random(6, 4) if owner == "transposed" else random(4, 6), random(2, 6), random(2, 3, 6)
    arrays = {{"plain": "p", "transposed": "t", "along an axis": "n"}[owner]: [array]}
    assert sum(item.data_type == 1 for item in model_of(text, arrays).graph.initializer) == 1
    found = run(text, {"x": x, "z": z}, arrays)
    flat = array.ravel()
    np.testing.assert_allclose(found["p"], x @ flat.reshape(4, 6).T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["t"], x @ flat.reshape(6, 4), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["n"], z @ flat.reshape(4, 6).T, rtol=1e-4, atol=1e-5)


def test_a_slope_for_blobs_of_different_rank():
    text = inputs(x=(2, 3), y=(2, 3, 4, 5)) + "".join(
        f'layer {{ name: "{name}" type: "PReLU" bottom: "{name[1:]}" top: "{name}" param {{ name: "s" }} }}\n'
        for name in ("px", "py")
    )
    slope, x, y = random(3), random(2, 3), random(2, 3, 4, 5)
    proto = model_of(text, {"px": [slope]})
    assert [item.name for item in proto.graph.initializer if item.data_type == 1] == ["px/0"]
    found = run(text, {"x": x, "y": y}, {"px": [slope]})
    np.testing.assert_allclose(found["px"], np.where(x > 0, x, slope * x), rtol=1e-6)
    np.testing.assert_allclose(found["py"], np.where(y > 0, y, slope[:, None, None] * y), rtol=1e-6)


def test_shared_statistics_are_one_tensor_each():
    text = inputs(x=(2, 3), y=(2, 3)) + "".join(
        f'layer {{ name: "{name}" type: "BatchNorm" bottom: "{name[1:]}" top: "{name}"'
        ' param { name: "m" } param { name: "v" } param { name: "f" } }\n'
        for name in ("nx", "ny")
    )
    mean, variance, x, y = random(3), np.abs(random(3)), random(2, 3), random(2, 3)
    arrays = {"nx": [mean, variance, np.array([2], np.float32)]}
    names = {item.name for item in model_of(text, arrays).graph.initializer if item.data_type == 1}
    assert names == {"nx/scale", "nx/shift", "nx/mean", "nx/variance"}
    found = run(text, {"x": x, "y": y}, arrays)
    for name, value in (("nx", x), ("ny", y)):
        np.testing.assert_allclose(found[name], (value - mean / 2) / np.sqrt(variance / 2 + 1e-5), rtol=1e-4, atol=1e-5)
