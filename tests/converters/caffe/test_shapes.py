"""Layers that move, join, cut, pick and multiply: their rules for axes and shapes, in NumPy's words."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.errors import ConversionError, UnsupportedOperatorError
from tests.converters.caffe.networks import inputs, one, run, tops_of

RNG = np.random.default_rng(12)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def said_of(field, numbers):
    return " ".join(f"{field}: {number}" for number in numbers)


# -- reshaping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dims", "axis", "count", "wanted"),
    [
        ((2, 6, 4, 5), (0, -1), 0, -1, (2, 120)),
        ((2, 6, 4, 5), (0, 3, -1, 0), 0, -1, (2, 3, 8, 5)),
        ((2, 6, 4, 5), (2, 3), 1, 1, (2, 2, 3, 4, 5)),
        ((2, 6, 4, 5), (-1,), 1, 2, (2, 24, 5)),
        ((2, 6, 4, 5), (4, -1), -3, -1, (2, 6, 4, 5)),  # axes count from behind the last one
        ((2, 6, 4, 5), (1, 1), -1, -1, (2, 6, 4, 5, 1, 1)),
        ((2, 6, 4, 5), (1,), 1, 0, (2, 1, 6, 4, 5)),
        ((2, 6, 4, 5), (0, 2), 2, -1, (2, 6, 4, 2)),
        ((2, 6, 4, 5), (-1,), 0, -1, (240,)),
        ((12,), (3, 4), 0, -1, (3, 4)),
        ((2, 6), (12,), 0, -1, (12,)),
    ],
)
def test_reshape(shape, dims, axis, count, wanted):
    x = draw(*shape)
    said = f"reshape_param {{ shape {{ {said_of('dim', dims)} }} axis: {axis} num_axes: {count} }}"
    if int(np.prod(wanted)) != x.size:
        with pytest.raises(ConversionError, match="does not hold"):
            one("Reshape", said, x=x)
    else:
        np.testing.assert_array_equal(one("Reshape", said, x=x), x.reshape(wanted))


@pytest.mark.parametrize(
    ("first", "last", "wanted"),
    [
        (1, -1, (2, 60)),
        (0, 1, (6, 4, 5)),
        (-3, -2, (2, 12, 5)),
        (0, -1, (120,)),
        (3, 3, (2, 3, 4, 5)),
        (2, 1, (2, 3, 1, 4, 5)),
    ],
)
def test_flatten(first, last, wanted):
    x = draw(2, 3, 4, 5)
    found = one("Flatten", f"flatten_param {{ axis: {first} end_axis: {last} }}", x=x)
    np.testing.assert_array_equal(found, x.reshape(wanted))


@pytest.mark.parametrize(
    ("axis", "offsets", "like", "cut"),
    [
        (2, (1,), (9, 9, 3, 2), np.s_[:, :, 1:4, 1:3]),
        (1, (1, 0, 2), (9, 2, 4, 2), np.s_[:, 1:3, :4, 2:4]),
        (-1, (), (1, 1, 1, 3), np.s_[:, :, :, :3]),
        (0, (0,), (1, 2, 2, 2), np.s_[:1, :2, :2, :2]),
        (2, (), (1, 1, 5, 6), np.s_[:]),
    ],
)
def test_crop(axis, offsets, like, cut):
    x = draw(2, 3, 5, 6)
    said = f"crop_param {{ axis: {axis} {said_of('offset', offsets)} }}"
    np.testing.assert_array_equal(one("Crop", said, x=x, like=draw(*like)), x[cut])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_and_slice_undo_each_other(axis):
    x = draw(4, 6, 8)
    size = x.shape[axis]
    said = f"slice_param {{ axis: {axis} slice_point: 1 slice_point: 3 }}"
    parts = tops_of("Slice", said, tops=("a", "b", "c"), x=x)
    cuts = np.split(x, [1, 3], axis)
    for name, part in zip("abc", cuts, strict=True):
        np.testing.assert_array_equal(parts[name], part)
    halves = tops_of("Slice", f"slice_param {{ axis: {axis} }}", tops=("a", "b"), x=x)
    np.testing.assert_array_equal(halves["b"], np.split(x, [size // 2], axis)[1])
    joined = one("Concat", f"concat_param {{ axis: {axis} }}", **dict(zip("abc", cuts, strict=True)))
    np.testing.assert_array_equal(joined, x)


def test_old_names_of_the_axis():
    x = draw(2, 4, 3)
    parts = tops_of("Slice", "slice_param { slice_dim: 2 slice_point: 1 }", tops=("a", "b"), x=x)
    np.testing.assert_array_equal(parts["b"], x[:, :, 1:])
    np.testing.assert_array_equal(one("Concat", "concat_param { concat_dim: 2 }", a=x, b=x), np.concatenate([x, x], 2))


def test_one_part_is_the_blob_itself():
    x = draw(2, 3)
    np.testing.assert_array_equal(one("Concat", x=x), x)
    np.testing.assert_array_equal(one("Slice", x=x), x)
    copies = tops_of("Split", tops=("a", "b"), x=x)
    np.testing.assert_array_equal(copies["a"], x)
    np.testing.assert_array_equal(copies["b"], x)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_tile(axis):
    x = draw(2, 3, 4)
    found = one("Tile", f"tile_param {{ axis: {axis} tiles: 3 }}", x=x)
    np.testing.assert_array_equal(found, np.concatenate([x] * 3, axis))


# -- products ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", ["false", "true"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 4), 1), ((2, 3, 4, 5), 1), ((2, 3, 4, 5), 2), ((2, 3, 4), -1), ((3, 4), 0)]
)
def test_inner_product(shape, axis, transposed):
    x = draw(*shape)
    axis_at = axis % len(shape)
    width = int(np.prod(shape[axis_at:]))
    w, b = draw(6, width), draw(6)
    wanted = x.reshape(*shape[:axis_at], width).astype(np.float64) @ w.T + b
    said = f"inner_product_param {{ num_output: 6 axis: {axis} transpose: {transposed} }}"
    arrays = [np.ascontiguousarray(w.T) if transposed == "true" else w, b]
    found = one("InnerProduct", said, arrays, x=x)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_embedding():
    table, b, x = draw(5, 3), draw(3), np.array([[0, 4], [2, 2], [1, 3]])
    found = one("Embed", "embed_param { num_output: 3 input_dim: 5 }", [table, b], x=x)
    np.testing.assert_allclose(found, table[x] + b, rtol=1e-6)
    bare = one("Embed", "embed_param { num_output: 3 input_dim: 5 bias_term: false }", [table], x=x)
    np.testing.assert_array_equal(bare, table[x])


# -- selection --------------------------------------------------------------------------------------------------------


def largest(x, axis, count):
    """Places and values of the largest pairs (value, place) along an axis."""
    rows = np.moveaxis(x, axis, -1)
    places = np.zeros((*rows.shape[:-1], count))
    for at in np.ndindex(*rows.shape[:-1]):
        pairs = sorted(((value, place) for place, value in enumerate(rows[at])), reverse=True)
        places[at] = [place for _, place in pairs[:count]]
    values = np.take_along_axis(rows, places.astype(int), -1)
    return np.moveaxis(places, -1, axis), np.moveaxis(values, -1, axis)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("ties", [False, True])
def test_largest_along_an_axis(count, ties):
    x = RNG.integers(0, 3, (2, 4, 5, 3)).astype(np.float32) if ties else draw(2, 4, 5, 3)
    for axis in (1, -2, 3):
        places, values = largest(x, axis % 4, count)
        said = f"axis: {axis} top_k: {count}"
        np.testing.assert_array_equal(one("ArgMax", f"argmax_param {{ {said} }}", x=x), places)
        np.testing.assert_array_equal(one("ArgMax", f"argmax_param {{ {said} out_max_val: true }}", x=x), values)


@pytest.mark.parametrize("shape", [(3, 6), (2, 3, 4), (2, 4, 3, 3), (2, 3, 2, 2, 2)])
@pytest.mark.parametrize("count", [1, 4])
def test_largest_of_each_item(shape, count):
    x = RNG.integers(0, 4, shape).astype(np.float32)
    places, values = largest(x.reshape(len(x), -1), 1, count)
    rest = (1,) * (len(shape) - 3)
    found = one("ArgMax", f"argmax_param {{ top_k: {count} }}", x=x)
    np.testing.assert_array_equal(found, places.reshape(len(x), 1, count, *rest))
    found = one("ArgMax", f"argmax_param {{ top_k: {count} out_max_val: true }}", x=x)
    np.testing.assert_array_equal(found, np.stack([places, values], 1).reshape(len(x), 2, count, *rest))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_reductions_to_the_end(axis):
    x = draw(2, 3, 4, 5)
    axes = tuple(range(axis % 4, 4))
    for operation, wanted in {
        "SUM": x.sum(axes),
        "ASUM": np.abs(x).sum(axes),
        "SUMSQ": (x * x).sum(axes),
        "MEAN": x.mean(axes),
    }.items():
        said = f"reduction_param {{ operation: {operation} axis: {axis} coeff: -0.5 }}"
        found = one("Reduction", said, x=x)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, -0.5 * wanted, rtol=1e-4, atol=1e-5)


def test_items_by_number_and_by_a_mask():
    x, y = draw(4, 3, 2), draw(4, 5)
    places = np.array([3, 0, 0, 2, 1])
    np.testing.assert_array_equal(one("BatchReindex", x=x, places=places), x[places])
    mask = np.array([0, 1, 0, -2], np.float32)
    found = tops_of("Filter", tops=("a", "b"), x=x, y=y, mask=mask.reshape(4, 1, 1))
    np.testing.assert_array_equal(found["a"], x[mask != 0])
    np.testing.assert_array_equal(found["b"], y[mask != 0])
    assert one("Filter", x=x, mask=np.zeros(4)).shape == (0, 3, 2)


def test_layers_behind_a_filter_take_any_number_of_items():
    x, mask = draw(4, 3, 5, 5), np.array([1, 0, 1, 1])
    w, k, a = draw(2, 12), draw(3, 3, 2, 2), draw(3)
    text = inputs(x=x.shape, mask=mask.shape) + (
        'layer { name: "f" type: "Filter" bottom: "x" bottom: "mask" top: "f" }'
        'layer { name: "c" type: "Convolution" bottom: "f" top: "c"'
        " convolution_param { num_output: 3 kernel_size: 2 bias_term: false } }"
        'layer { name: "s" type: "Scale" bottom: "c" top: "s" }'
        'layer { name: "p" type: "Pooling" bottom: "s" top: "p" pooling_param { kernel_size: 2 stride: 2 } }'
        'layer { name: "r" type: "Reshape" bottom: "p" top: "r" reshape_param { shape { dim: 0 dim: -1 } } }'
        'layer { name: "i" type: "InnerProduct" bottom: "r" top: "i"'
        " inner_product_param { num_output: 2 bias_term: false } }"
        'layer { name: "y" type: "Softmax" bottom: "i" top: "y" }'
    )
    found = run(text, {"x": x, "mask": mask}, {"c": [k], "s": [a], "i": [w]})
    kept = np.lib.stride_tricks.sliding_window_view(x[mask != 0], (2, 2), (2, 3))
    made = np.einsum("nchwij,dcij->ndhw", kept, k) * a[:, None, None]
    pooled = made.reshape(3, 3, 2, 2, 2, 2).max((3, 5)).reshape(3, 12)
    e = np.exp(pooled @ w.T)
    np.testing.assert_allclose(found["y"], e / e.sum(1, keepdims=True), rtol=1e-4)


# -- blobs that come from no input ------------------------------------------------------------------------------------


def test_parameters_and_constants():
    x, p = draw(2, 3), draw(2, 3)
    text = inputs(x=x.shape) + (
        'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 2 dim: 3 } } }'
        'layer { name: "d" type: "DummyData" top: "d" top: "e" dummy_data_param {'
        " shape { dim: 2 dim: 3 } data_filler { value: 2 } data_filler { } } }"
        'layer { name: "s" type: "Eltwise" bottom: "x" bottom: "p" bottom: "d" top: "y" }'
        'layer { name: "q" type: "Silence" bottom: "e" }'
    )
    found = run(text, {"x": x}, {"p": [p]})
    assert set(found) == {"y"}
    np.testing.assert_allclose(found["y"], x + p + 2, rtol=1e-6)


def test_sizes_of_constants_in_the_old_words():
    x = draw(1, 2, 6, 6)
    text = inputs(x=x.shape) + (
        'layer { name: "d" type: "DummyData" top: "d" top: "e" dummy_data_param {'
        " num: 1 channels: 2 height: 3 height: 4 width: 2 } }"
        'layer { name: "a" type: "Crop" bottom: "x" bottom: "d" top: "a" }'
        'layer { name: "b" type: "Crop" bottom: "x" bottom: "e" top: "b" }'
    )
    found = run(text, {"x": x})
    np.testing.assert_array_equal(found["a"], x[:, :, :3, :2])
    np.testing.assert_array_equal(found["b"], x[:, :, :4, :2])


# -- refusals ---------------------------------------------------------------------------------------------------------

IMAGE = (1, 4, 6, 6)


@pytest.mark.parametrize(
    ("kind", "said", "shapes", "message"),
    [
        ("Convolution", "convolution_param { num_output: 3 kernel_size: 7 }", [IMAGE], "larger than its padded"),
        ("Convolution", "convolution_param { num_output: 3 kernel_size: 1 group: 3 }", [IMAGE], "3 groups"),
        ("Convolution", "convolution_param { num_output: 3 }", [IMAGE], "0 numbers in kernel_size"),
        ("Convolution", "convolution_param { num_output: 3 kernel_h: 2 }", [IMAGE], "kernel, stride or dilation of 0"),
        ("Convolution", "convolution_param { num_output: 3 kernel_size: 1 axis: 4 }", [IMAGE], "axis 4"),
        ("Convolution", "convolution_param { num_output: 3 kernel_h: 1 kernel_w: 1 }", [(1, 4, 6)], "kernel_h"),
        ("Deconvolution", "convolution_param { num_output: 3 kernel_size: 1 pad: 3 }", [IMAGE], "larger than its"),
        ("Pooling", "", [IMAGE], "needs kernel_size"),
        ("Pooling", "pooling_param { kernel_size: 2 kernel_h: 2 kernel_w: 2 }", [IMAGE], "needs kernel_size"),
        ("Pooling", "pooling_param { kernel_size: 2 pad: 2 }", [IMAGE], "not smaller than the kernel"),
        ("Pooling", "pooling_param { kernel_size: 2 stride_h: 2 }", [IMAGE], "both stride_h and stride_w"),
        ("Pooling", "pooling_param { kernel_size: 2 global_pooling: true }", [IMAGE], "and has a window"),
        ("Pooling", "pooling_param { kernel_size: 2 }", [(1, 4)], "4 axes"),
        ("SPP", "spp_param { pyramid_height: 3 }", [(1, 3, 7, 5)], "not smaller than the kernel"),
        ("SPP", "spp_param { pyramid_height: 0 }", [IMAGE], "no level"),
        ("LRN", "lrn_param { local_size: 4 }", [IMAGE], "odd local_size"),
        ("Eltwise", "", [(2, 3), (2, 1)], "different shapes"),
        ("Eltwise", "eltwise_param { coeff: 1 }", [(2, 3), (2, 3)], "coefficients"),
        ("Exp", "exp_param { base: -2 }", [(2,)], "not positive"),
        ("Log", "log_param { base: 1 }", [(2,)], "base 1"),
        ("Dropout", "dropout_param { dropout_ratio: 1 }", [(2,)], "ratio"),
        ("Scale", "scale_param { axis: 1 num_axes: 3 }", [(2, 3)], "3 axes"),
        ("Bias", "", [(2, 3), (4,)], "does not lie along"),
        ("InnerProduct", "", [(2, 3)], "no output"),
        ("Embed", "embed_param { num_output: 2 }", [(2,)], "input_dim"),
        ("Concat", "", [(2, 3), (3, 3)], "other axes differ"),
        ("Slice", "slice_param { slice_point: 3 slice_point: 2 }", [(2, 5)], "into 1 tops"),
        ("Crop", "crop_param { axis: 1 offset: 3 }", [(2, 5), (2, 3)], "more than there is"),
        ("Crop", "crop_param { axis: 1 offset: 3 offset: 1 }", [(2, 5), (2, 3)], "2 offsets"),
        ("Tile", "", [(2, 5)], "number of tiles"),
        ("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }", [(2, 5)], "more than one size open"),
        ("Reshape", "reshape_param { shape { dim: 10 dim: 1 dim: 0 } }", [(2, 5)], "does not have"),
        ("Softmax", "softmax_param { axis: 2 }", [(2, 5)], "axis 2"),
        ("ArgMax", "argmax_param { axis: 1 top_k: 6 }", [(2, 5)], "6 largest of 5"),
        ("Filter", "", [(2, 5), (3,)], "one number for each item"),
        ("BatchReindex", "", [(2, 5), (3, 1)], "1 axis"),
    ],
)
def test_contradictions_are_refused_by_name(kind, said, shapes, message):
    feeds = {f"x{i}": np.zeros(shape, np.float32) for i, shape in enumerate(shapes)}
    with pytest.raises(ConversionError, match=message) as caught:
        one(kind, said, **feeds)
    assert "'l'" in str(caught.value)


def test_what_is_random_is_refused():
    with pytest.raises(UnsupportedOperatorError, match="at random"):
        one("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", x=draw(*IMAGE))
    said = 'dummy_data_param { shape { dim: 2 } data_filler { type: "gaussian" } }'
    text = f'layer {{ name: "l" type: "DummyData" top: "d" {said} }}'
    with pytest.raises(UnsupportedOperatorError, match="gaussian"):
        run(text, {})
