"""Interp, Upsample and Unpooling against loops over cells."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelzoo.errors import ConversionError
from tests.converters.caffe.networks import inputs, model_of, one, run

RNG = np.random.default_rng(13)


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def bilinear(x, size):
    """Corners aligned; one row or column reads the first."""
    height, width = x.shape[2:]
    made = np.zeros((*x.shape[:2], *size))
    for r, c in np.ndindex(*size):
        y = r * (height - 1) / (size[0] - 1) if size[0] > 1 else 0
        z = c * (width - 1) / (size[1] - 1) if size[1] > 1 else 0
        top, left = min(int(y), height - 1), min(int(z), width - 1)
        low, right = min(top + 1, height - 1), min(left + 1, width - 1)
        a, b = y - top, z - left
        made[:, :, r, c] = (1 - a) * ((1 - b) * x[:, :, top, left] + b * x[:, :, top, right]) + a * (
            (1 - b) * x[:, :, low, left] + b * x[:, :, low, right]
        )
    return made


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ("height: 9 width: 4", (9, 4)),
        ("height: 1 width: 1", (1, 1)),
        ("height: 1 width: 5", (1, 5)),
        ("height: 5 width: 7", (5, 7)),
        ("zoom_factor: 2", (9, 13)),
        ("zoom_factor: 3 height: 2 width: 2", (13, 19)),
        ("shrink_factor: 2", (3, 4)),
        ("shrink_factor: 2 zoom_factor: 3", (7, 10)),
        ("shrink_factor: 2 zoom_factor: 3 height: 6 width: 5", (6, 5)),
    ],
)
def test_interp(said, size):
    x = random(2, 3, 5, 7)
    made = one("Interp", f"interp_param {{ {said} }}", x=x)
    assert made.shape[2:] == size
    np.testing.assert_allclose(made, bilinear(x, size), rtol=1e-4, atol=1e-5)


def test_interp_cuts_first():
    x = random(1, 2, 6, 7)
    made = one("Interp", "interp_param { height: 5 width: 9 pad_beg: -1 pad_end: -2 }", x=x)
    np.testing.assert_allclose(made, bilinear(x[:, :, 1:-2, 1:-2], (5, 9)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "said", ["", "height: 3", "zoom_factor: 0", "zoom_factor: 2 pad_beg: 1", "height: 2 width: 2 pad_beg: -9"]
)
def test_interp_without_a_size_is_refused(said):
    text = (
        inputs(x=(1, 2, 4, 4)) + f'layer {{ name: "l" type: "Interp" bottom: "x" top: "y" interp_param {{ {said} }} }}'
    )
    with pytest.raises(ConversionError):
        model_of(text)


def pooled(x, size):
    """Maxima of size x size cells, and where they came from."""
    n, c, height, width = x.shape
    made, mask = np.zeros((2, n, c, height // size, width // size), np.float32)
    for at in np.ndindex(*made.shape):
        rows, columns = slice(at[2] * size, (at[2] + 1) * size), slice(at[3] * size, (at[3] + 1) * size)
        part = x[at[0], at[1], rows, columns]
        row, column = np.unravel_index(part.argmax(), part.shape)
        made[at], mask[at] = part.max(), (at[2] * size + row) * width + at[3] * size + column
    return made, mask


def put_back(values, mask, size):
    made = np.zeros((*values.shape[:2], math.prod(size)), np.float32)
    for at in np.ndindex(*values.shape):
        made[at[0], at[1], int(mask[at])] = values[at]
    return made.reshape(*values.shape[:2], *size)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Upsample", "upsample_param { scale: 2 }"),
        ("Upsample", "upsample_param { upsample_h: 6 upsample_w: 8 }"),
        ("Upsample", "upsample_param { scale_h: 2 scale_w: 2 }"),
        ("Upsample", ""),
        ("Unpooling", "unpooling_param { kernel_size: 2 stride: 2 unpool_h: 6 unpool_w: 8 }"),
    ],
)
def test_elements_go_back_to_where_the_mask_says(kind, said):
    _, mask = pooled(random(2, 3, 6, 8), 2)
    x = random(*mask.shape)
    np.testing.assert_array_equal(one(kind, said, x=x, mask=mask), put_back(x, mask, (6, 8)))


def test_upsample_undoes_a_pooling_layer():
    x = random(1, 2, 7, 7)
    text = inputs(x=x.shape) + 'layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "mask" '
    text += "pooling_param { pool: MAX kernel_size: 2 stride: 2 } }"
    text += 'layer { name: "u" type: "Upsample" bottom: "p" bottom: "mask" top: "y" upsample_param { scale: 2 '
    text += "pad_out_h: true pad_out_w: true } }"
    made = run(text, {"x": x})["y"]
    padded = np.pad(x, [(0, 0), (0, 0), (0, 1), (0, 1)], constant_values=-np.inf)
    values, mask = pooled(padded, 2)
    mask = mask // 8 * 7 + mask % 8
    np.testing.assert_array_equal(made, put_back(values, mask, (7, 7)))


def test_upsample_without_a_mask_repeats_cells():
    x = random(2, 3, 4, 5)
    made = one("Upsample", "upsample_param { scale: 3 }", x=x)
    np.testing.assert_array_equal(made, x.repeat(3, 2).repeat(3, 3))


def spread(x, kernel, stride, size, method):
    made = np.zeros((*x.shape[:2], *size))
    for r, c in np.ndindex(*x.shape[2:]):
        rows = slice(r * stride, min(r * stride + kernel, size[0]))
        columns = slice(c * stride, min(c * stride + kernel, size[1]))
        if method == "MAX":
            made[:, :, min(rows.start, size[0] - 1), min(columns.start, size[1] - 1)] = x[:, :, r, c]
            continue
        cells = (rows.stop - rows.start) * (columns.stop - columns.start)
        made[:, :, rows, columns] += x[:, :, r, c, None, None] / (cells if method == "AVE" else 1)
    return made


@pytest.mark.parametrize("method", ["MAX", "AVE", "TILE"])
@pytest.mark.parametrize(
    ("kernel", "stride", "size"), [(2, 2, None), (3, 2, None), (2, 3, None), (3, 2, 8), (2, 2, 11)]
)
def test_unpooling_without_a_mask(method, kernel, stride, size):
    x = random(2, 3, 4, 5)
    sizes = (
        [max((side - 1) * stride + kernel, side * stride + 1) for side in x.shape[2:]] if size is None else [size] * 2
    )
    sizes = sizes if size is None else [size, size + 3]
    said = f"unpooling_param {{ unpool: {method} kernel_size: {kernel} stride: {stride} "
    said += "}" if size is None else f"unpool_h: {sizes[0]} unpool_w: {sizes[1]} }}"
    np.testing.assert_allclose(
        one("Unpooling", said, x=x), spread(x, kernel, stride, sizes, method), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("masked", [False, True])
def test_padding_moves_maxima_and_shrinks_what_they_are_unpooled_to(masked):
    x, sizes = random(2, 3, 4, 5), (8, 10)  # max(3 * 2 + 3 - 2, 4 * 2 - 1 + 1), and the same of 5
    expected = np.zeros((2, 3, *sizes), np.float32)
    mask = np.zeros(x.shape, np.float32)
    for row in range(4):
        for column in range(5):
            place = max(0, 2 * row - 1), max(0, 2 * column - 1)
            place = (place[0] + 1, place[1]) if masked else place
            mask[:, :, row, column] = place[0] * sizes[1] + place[1]
            expected[:, :, place[0], place[1]] = x[:, :, row, column]
    feeds = {"x": x, "mask": mask} if masked else {"x": x}
    said = "unpooling_param { unpool: MAX kernel_size: 3 stride: 2 pad: 1 }"
    np.testing.assert_array_equal(one("Unpooling", said, **feeds), expected)
