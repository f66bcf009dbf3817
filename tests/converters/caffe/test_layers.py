"""Caffe's layers against loops written from its definition: the tricky rules are in the loops, no number is stored."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from modelzoo.errors import ConversionError
from tests.converters.caffe.networks import inputs, model_of, one, tops_of

RNG = np.random.default_rng(11)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def agrees(found, wanted, tolerance=1e-5):
    assert found.shape == np.shape(wanted)
    np.testing.assert_allclose(found, np.asarray(wanted), rtol=tolerance, atol=tolerance)


# -- convolutions -----------------------------------------------------------------------------------------------------


def convolved(x, w, b, stride, pad, dilation, group):
    """x (N, C, ...), w (C_out, C / group, ...)."""
    rank, x = x.ndim - 2, x.astype(np.float64)
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    spans = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    counts = [(size - span) // s + 1 for size, span, s in zip(x.shape[2:], spans, stride, strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *counts))
    wide, out = x.shape[1] // group, w.shape[0] // group
    for place in itertools.product(*map(range, counts)):
        taps = tuple(slice(place[i] * stride[i], place[i] * stride[i] + spans[i], dilation[i]) for i in range(rank))
        for g in range(group):
            patch = x[(slice(None), slice(g * wide, (g + 1) * wide), *taps)]
            kernel = w[g * out : (g + 1) * out].astype(np.float64)
            made = np.tensordot(patch, kernel, (range(1, rank + 2), range(1, rank + 2)))
            y[(slice(None), slice(g * out, (g + 1) * out), *place)] = made
    return y + b.reshape(-1, *[1] * rank)


def spread(x, w, b, stride, pad, dilation, group):
    """The transpose: each input cell adds its kernel to the output. w (C, C_out / group, ...)."""
    rank = x.ndim - 2
    spans = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    sizes = [s * (size - 1) + span for size, span, s in zip(x.shape[2:], spans, stride, strict=True)]
    out = w.shape[1]
    y = np.zeros((x.shape[0], out * group, *sizes))
    for place in itertools.product(*map(range, x.shape[2:])):
        taps = tuple(slice(place[i] * stride[i], place[i] * stride[i] + spans[i], dilation[i]) for i in range(rank))
        for c in range(x.shape[1]):
            g = c // (x.shape[1] // group)
            cell = x[(slice(None), c, *place)].reshape(-1, *[1] * (rank + 1)).astype(np.float64)
            y[(slice(None), slice(g * out, (g + 1) * out), *taps)] += cell * w[c]
    kept = tuple(slice(p, size - p) for p, size in zip(pad, sizes, strict=True))
    return y[(slice(None), slice(None), *kept)] + b.reshape(-1, *[1] * rank)


WINDOWS = [
    # input, outputs, kernel, stride, pad, dilation, group
    ((2, 4, 9), 6, (3,), (2,), (1,), (1,), 2),
    ((2, 4, 7, 8), 6, (3, 2), (2, 1), (1, 0), (1, 2), 2),
    ((1, 3, 6, 5), 3, (3, 3), (1, 1), (5, 4), (1, 1), 3),
    ((1, 3, 6, 7), 4, (2, 2), (3, 3), (0, 0), (1, 1), 1),
    ((1, 2, 5, 6), 4, (3, 3), (2, 2), (2, 2), (2, 2), 2),
    ((1, 2, 4, 5, 6), 2, (2, 3, 2), (1, 2, 2), (1, 1, 0), (2, 1, 1), 1),
]


def said_of(field, numbers):
    return " ".join(f"{field}: {number}" for number in numbers)


def window_text(count, kernel, stride, pad, dilation, group):
    return (
        f"convolution_param {{ num_output: {count} group: {group} {said_of('kernel_size', kernel)} "
        f"{said_of('stride', stride)} {said_of('pad', pad)} {said_of('dilation', dilation)} }}"
    )


@pytest.mark.parametrize("case", WINDOWS, ids=str)
def test_convolution(case):
    shape, count, kernel, stride, pad, dilation, group = case
    x, w, b = draw(*shape), draw(count, shape[1] // group, *kernel), draw(count)
    wanted = convolved(x, w, b, stride, pad, dilation, group)
    agrees(one("Convolution", window_text(*case[1:]), [w, b], x=x), wanted, 1e-4)


@pytest.mark.parametrize("case", WINDOWS, ids=str)
def test_deconvolution(case):
    shape, count, kernel, stride, pad, dilation, group = case
    pad = tuple(min(p, 1) for p in pad)
    x, w, b = draw(*shape), draw(shape[1], count // group, *kernel), draw(count)
    wanted = spread(x, w, b, stride, pad, dilation, group)
    text = window_text(count, kernel, stride, pad, dilation, group)
    agrees(one("Deconvolution", text, [w, b], x=x), wanted, 1e-4)


def test_convolution_counts_its_axes_from_the_channels():
    x, w, b = draw(2, 3, 4, 6, 5), draw(2, 4, 3, 3), draw(2)
    flat = convolved(x.reshape(6, 4, 6, 5), w, b, (1, 1), (0, 0), (1, 1), 1).reshape(2, 3, 2, 4, 3)
    for axis in (2, -3):
        text = f"convolution_param {{ num_output: 2 kernel_size: 3 axis: {axis} }}"
        agrees(one("Convolution", text, [w, b], x=x), flat, 1e-4)
    image = convolved(x[0, 0][None], w, b, (1, 1), (0, 0), (1, 1), 1)[0]
    text = "convolution_param { num_output: 2 kernel_size: 3 axis: 0 }"
    agrees(one("Convolution", text, [w, b], x=x[0, 0]), image, 1e-4)
    rows = draw(5, 4)
    text = "convolution_param { num_output: 2 kernel_size: 1 }"
    agrees(one("Convolution", text, [w[:, :, 0, 0], b], x=rows), rows @ w[:, :, 0, 0].T + b, 1e-4)


def test_several_bottoms_share_a_convolution():
    a, c, w = draw(1, 3, 6, 6), draw(1, 3, 6, 6), draw(2, 3, 3, 3)
    said = "convolution_param { num_output: 2 kernel_h: 3 kernel_w: 3 stride_h: 2 stride_w: 1 bias_term: false }"
    found = tops_of("Convolution", said, [w], tops=("y", "z"), a=a, c=c)
    for top, x in zip("yz", (a, c), strict=True):
        agrees(found[top], convolved(x, w, np.zeros(2), (2, 1), (0, 0), (1, 1), 1), 1e-4)
    text = inputs(a=a.shape, c=c.shape)
    text += f'layer {{ name: "l" type: "Convolution" bottom: "a" bottom: "c" top: "y" top: "z" {said} }}'
    names = [value.name for value in model_of(text, {"l": [w]}).graph.initializer]
    assert names.count("l/0") == 1
    assert not [name for name in names if name.startswith("l/0.")]


def test_im2col_lays_patches_along_the_channels():
    x = draw(2, 3, 7, 8)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    wanted = np.stack(
        [padded[:, c, i : i + 7 : 2, j : j + 8 : 2][:, :4, :4] for c in range(3) for i in range(3) for j in range(2)],
        axis=1,
    )
    said = "convolution_param { kernel_h: 3 kernel_w: 2 stride: 2 pad: 1 }"
    found = one("Im2col", said, x=x)
    agrees(found[..., :4], wanted)
    assert found.shape == (2, 18, 4, 5)


# -- pooling ----------------------------------------------------------------------------------------------------------


def pooled(x, kernel, stride, pad, kind, floor=False):
    """Values and places, loop by loop as Caffe's CPU code goes."""
    sizes = x.shape[2:]
    round_ = math.floor if floor else math.ceil
    counts = [round_((sizes[i] + 2 * pad[i] - kernel[i]) / stride[i]) + 1 for i in (0, 1)]
    if any(pad):
        counts = [n - ((n - 1) * stride[i] >= sizes[i] + pad[i]) for i, n in enumerate(counts)]
    values, places = np.zeros((*x.shape[:2], *counts), np.float32), np.full((*x.shape[:2], *counts), -1.0)
    for n, c, *at in itertools.product(*map(range, values.shape)):
        starts = [at[i] * stride[i] - pad[i] for i in (0, 1)]
        ends = [min(starts[i] + kernel[i], sizes[i] + pad[i]) for i in (0, 1)]
        divisor = (ends[0] - starts[0]) * (ends[1] - starts[1])
        cells = [
            (h, w)
            for h in range(max(starts[0], 0), min(ends[0], sizes[0]))
            for w in range(max(starts[1], 0), min(ends[1], sizes[1]))
        ]
        if kind == "AVE":
            total = sum(float(x[n, c, h, w]) for h, w in cells)
            values[n, c, at[0], at[1]] = np.nan if divisor == 0 else total / divisor
            continue
        best, place = -np.finfo(np.float32).max, -1
        for h, w in cells:
            if x[n, c, h, w] > best:
                best, place = x[n, c, h, w], h * sizes[1] + w
        values[n, c, at[0], at[1]], places[n, c, at[0], at[1]] = best, place
    return values, places


def pooling_text(kernel, stride, pad, kind, floor=False):
    return (
        f"pooling_param {{ pool: {kind} kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} "
        f"stride_w: {stride[1]} pad_h: {pad[0]} pad_w: {pad[1]} round_mode: {'FLOOR' if floor else 'CEIL'} }}"
    )


POOLS = [
    # size, kernel, stride, pad
    ((7, 8), (3, 3), (2, 2), (0, 0)),
    ((8, 9), (3, 3), (2, 2), (1, 1)),
    ((8, 8), (2, 2), (2, 2), (1, 1)),
    ((6, 7), (3, 3), (3, 3), (2, 2)),
    ((9, 10), (3, 5), (2, 2), (1, 2)),
    ((9, 7), (3, 2), (1, 2), (0, 1)),
    ((2, 5), (3, 3), (2, 2), (0, 0)),  # the kernel is larger than the image
    ((8, 8), (1, 1), (2, 2), (0, 0)),  # an empty window right behind the image
    ((8, 9), (1, 1), (3, 2), (0, 0)),  # one beyond it
    ((8, 8), (1, 1), (3, 2), (0, 0)),  # one of each
    ((8, 7), (2, 1), (3, 2), (0, 0)),
    ((8, 7), (2, 2), (5, 3), (1, 1)),
    ((11, 13), (5, 5), (3, 3), (2, 2)),
    ((5, 5), (5, 5), (1, 1), (0, 0)),
]


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_pooling(case, floor):
    size, *window = case
    x = draw(1, 2, *size)
    if floor and any(k > n + 2 * p for k, n, p in zip(window[0], size, window[2], strict=True)):
        with pytest.raises(ConversionError, match="larger than its padded input"):
            one("Pooling", pooling_text(*window, "MAX", floor), x=x)
        return
    values, places = pooled(x, *window, "MAX", floor)
    found = tops_of("Pooling", pooling_text(*window, "MAX", floor), tops=("y", "mask"), x=x)
    agrees(found["y"], values)
    agrees(found["mask"], places)
    agrees(one("Pooling", pooling_text(*window, "MAX", floor), x=x), values)
    agrees(one("Pooling", pooling_text(*window, "AVE", floor), x=x), pooled(x, *window, "AVE", floor)[0])


def test_pooling_at_random_windows():
    for _ in range(40):
        size, kernel, stride = (tuple(RNG.integers(1, most, 2).tolist()) for most in (9, 5, 5))
        pad = tuple(int(RNG.integers(0, k)) for k in kernel)
        kind = "MAX" if RNG.integers(2) else "AVE"
        x = draw(1, 1, *size)
        said = pooling_text(kernel, stride, pad, kind)
        spare = [size[i] + 2 * pad[i] - kernel[i] for i in (0, 1)]
        if any(-(-spare[i] // stride[i]) < 0 for i in (0, 1)):
            with pytest.raises(ConversionError, match="larger than its padded input"):
                one("Pooling", said, x=x)
        else:
            agrees(one("Pooling", said, x=x), pooled(x, kernel, stride, pad, kind)[0])


def test_of_equal_maxima_the_first_is_the_place():
    x = np.zeros((1, 1, 4, 4), np.float32)
    found = tops_of("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", tops=("y", "mask"), x=x)
    agrees(found["mask"], [[[[0, 2], [8, 10]]]])


def test_pooling_of_whole_images():
    x = draw(2, 3, 4, 5)
    agrees(one("Pooling", "pooling_param { pool: AVE global_pooling: true }", x=x), x.mean((2, 3), keepdims=True))
    found = tops_of("Pooling", "pooling_param { global_pooling: true }", tops=("y", "mask"), x=x)
    agrees(found["y"], x.max((2, 3), keepdims=True))
    agrees(found["mask"], x.reshape(2, 3, -1).argmax(-1).reshape(2, 3, 1, 1))


@pytest.mark.parametrize("kind", ["MAX", "AVE"])
@pytest.mark.parametrize("size", [(13, 11), (16, 16), (16, 13)])
def test_spatial_pyramid(size, kind):
    x, parts = draw(2, 3, *size), []
    for bins in (1, 2, 4):
        kernel = tuple(math.ceil(s / bins) for s in size)
        pad = tuple((k * bins - s + 1) // 2 for k, s in zip(kernel, size, strict=True))
        parts.append(pooled(x, kernel, kernel, pad, kind)[0].reshape(2, -1))
    agrees(one("SPP", f"spp_param {{ pyramid_height: 3 pool: {kind} }}", x=x), np.concatenate(parts, 1))
    whole = pooled(x, size, size, (0, 0), kind)[0]
    agrees(one("SPP", f"spp_param {{ pyramid_height: 1 pool: {kind} }}", x=x), whole)


# -- normalisation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 9])
def test_response_across_channels(size):
    x = 3 * draw(2, 7, 3, 4)
    total = np.stack(
        [(x[:, max(c - size // 2, 0) : c + size // 2 + 1].astype(np.float64) ** 2).sum(1) for c in range(7)], 1
    )
    said = f"lrn_param {{ local_size: {size} alpha: 0.3 beta: 0.6 k: 2 }}"
    agrees(one("LRN", said, x=x), x * (2 + 0.3 / size * total) ** -0.6)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_response_within_a_channel_ignores_k_and_counts_the_padding(size):
    x = 3 * draw(2, 2, 6, 4)
    half = size // 2
    squares = np.pad(x.astype(np.float64) ** 2, [(0, 0), (0, 0), (half, half), (half, half)])
    mean = sum(squares[:, :, i : i + 6, j : j + 4] for i in range(size) for j in range(size)) / size**2
    said = f"lrn_param {{ local_size: {size} alpha: 0.3 beta: 0.6 k: 2 norm_region: WITHIN_CHANNEL }}"
    agrees(one("LRN", said, x=x), x * (1 + 0.3 * mean) ** -0.6)


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 6), (2, 4, 3, 5), (1, 4, 2, 3, 2)])
@pytest.mark.parametrize("weight", [0.0, 1.0, 0.04])
def test_batch_norm_by_its_own_statistics(shape, weight):
    x, mean, variance = draw(*shape), draw(4), RNG.uniform(0.5, 2, 4).astype(np.float32)
    factor = 0 if weight == 0 else 1 / weight
    by_channel = (slice(None), *[None] * (len(shape) - 2))
    wanted = (x - (mean * factor)[by_channel]) / np.sqrt(variance * factor + 1e-3)[by_channel]
    arrays = [mean, variance, np.array([weight], np.float32)]
    agrees(one("BatchNorm", "batch_norm_param { eps: 1e-3 }", arrays, x=x), wanted, 1e-4)


@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3, 5)])
def test_batch_norm_by_the_statistics_of_the_batch(shape):
    x = 2 * draw(*shape) + 1
    axes = (0, *range(2, len(shape)))
    wanted = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    found = one("BatchNorm", "batch_norm_param { use_global_stats: false }", [draw(4), draw(4), draw(1)], x=x)
    agrees(found, wanted, 1e-4)


@pytest.mark.parametrize(("across", "axes"), [("false", (2, 3)), ("true", (1, 2, 3))])
def test_mean_and_variance_of_images(across, axes):
    x = draw(2, 3, 4, 5)
    centred = x - x.mean(axes, keepdims=True)
    said = f"mvn_param {{ across_channels: {across} eps: 0.5 }}"
    agrees(one("MVN", said, x=x), centred / (x.std(axes, keepdims=True) + 0.5))  # eps is added to the deviation
    agrees(one("MVN", f"mvn_param {{ across_channels: {across} normalize_variance: false }}", x=x), centred)


def test_mean_and_variance_make_four_axes():
    x = draw(3, 5)
    wanted = (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1e-9)
    agrees(one("MVN", "mvn_param { across_channels: true }", x=x), wanted[:, :, None, None], 1e-4)


# -- scale and bias ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("axis", "count"), [(0, 1), (1, 1), (1, 2), (1, -1), (-1, 1), (2, 2), (0, -1), (1, 0)])
def test_scale_and_bias_along_axes(axis, count):
    x = draw(2, 3, 4, 5)
    first = axis % 4 if count else 0
    shape = x.shape[first : 4 if count == -1 else first + count]
    a, b = draw(*shape), draw(*shape)
    spread_out = (..., *[None] * (4 - first - len(shape)))
    said = f"axis: {axis} num_axes: {count}"
    found = one("Scale", f"scale_param {{ {said} bias_term: true }}", [a, b], x=x)
    agrees(found, x * a[spread_out] + b[spread_out])
    agrees(one("Bias", f"bias_param {{ {said} }}", [b], x=x), x + b[spread_out])


@pytest.mark.parametrize(
    ("axis", "shape"), [(0, (2, 3)), (1, (3,)), (1, (3, 4)), (-1, (5,)), (0, (2, 3, 4, 5)), (3, ())]
)
def test_scale_and_bias_by_a_second_blob(axis, shape):
    x, a, b = draw(2, 3, 4, 5), draw(*shape), draw(*shape)
    spread_out = (..., *[None] * (4 - axis % 4 - len(shape))) if shape else ()
    found = one("Scale", f"scale_param {{ axis: {axis} bias_term: true }}", [b], x=x, a=a)
    agrees(found, x * a[spread_out] + b[spread_out])
    agrees(one("Bias", f"bias_param {{ axis: {axis} }}", x=x, a=a), x + a[spread_out])


def test_layers_without_weights_are_filled():
    x = draw(2, 3, 4, 5)
    agrees(one("Scale", x=x), x)
    agrees(one("Bias", x=x), x)
    agrees(one("PReLU", x=x), np.where(x > 0, x, x / 4))
    agrees(one("PReLU", "prelu_param { filler { value: 2 } }", x=x), np.where(x > 0, x, 2 * x))


# -- elements ---------------------------------------------------------------------------------------------------------

ELEMENTS = [
    ("ReLU", "", lambda x: np.maximum(x, 0)),
    ("ReLU", "relu_param { negative_slope: -0.2 }", lambda x: np.where(x > 0, x, -0.2 * x)),
    ("ELU", "elu_param { alpha: 0.5 }", lambda x: np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0)))),
    ("Swish", "swish_param { beta: 2 }", lambda x: x / (1 + np.exp(-2 * x))),
    ("Clip", "clip_param { min: -0.5 max: 0.7 }", lambda x: np.clip(x, -0.5, 0.7)),
    ("Clip", "clip_param { min: 0.5 max: -0.7 }", lambda x: np.full_like(x, 0.5)),
    ("Threshold", "threshold_param { threshold: 0.25 }", lambda x: x > 0.25),
    ("BNLL", "", lambda x: np.logaddexp(0, x)),
    ("TanH", "", np.tanh),
    ("AbsVal", "", np.abs),
    ("Sigmoid", "", lambda x: 1 / (1 + np.exp(-x))),
    ("Power", "power_param { power: 2 scale: -0.5 shift: 1 }", lambda x: (1 - 0.5 * x) ** 2),
    ("Power", "power_param { power: 0 scale: 3 }", np.ones_like),
    ("Power", "power_param { power: 3 scale: 0 shift: -2 }", lambda x: np.full_like(x, -8)),
    ("Power", "power_param { power: 0.5 scale: 0 shift: -2 }", lambda x: np.full_like(x, np.nan)),
    ("Exp", "exp_param { base: 3 scale: 0.25 shift: -1 }", lambda x: 3.0 ** (0.25 * x - 1)),
    ("Exp", "exp_param { shift: 1 }", lambda x: np.exp(x + 1)),
    ("Log", "log_param { base: 2 scale: 0.5 shift: 60 }", lambda x: np.log2(0.5 * x + 60)),
    ("Dropout", "dropout_param { dropout_ratio: 0.9 }", lambda x: x),
]


@pytest.mark.parametrize(("kind", "said", "function"), ELEMENTS, ids=lambda item: item if isinstance(item, str) else "")
def test_elements(kind, said, function):
    x = 3 * draw(2, 3, 5)
    x[0, 0] = [0.25, 0, 90, -90, -0.25]
    large = kind == "Exp" or "power: 2" in said
    if large:
        x[0, 0] = 0
    agrees(one(kind, said, x=x), function(x.astype(np.float64)))


@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 5), (2, 4, 3, 5)])
def test_slopes_by_channel_and_shared(shape):
    x, slopes = draw(*shape), draw(4)
    by_channel = slopes[(slice(None), *[None] * (len(shape) - 2))]
    agrees(one("PReLU", arrays=[slopes], x=x), np.where(x > 0, x, by_channel * x))
    shared = one("PReLU", "prelu_param { channel_shared: true }", [slopes[0]], x=x)
    agrees(shared, np.where(x > 0, x, slopes[0] * x))


@pytest.mark.parametrize("axis", [None, 0, 2, -1])
def test_softmax(axis):
    x = 20 * draw(2, 3, 4, 5)
    said = "" if axis is None else f"softmax_param {{ axis: {axis} }}"
    at = 1 if axis is None else axis
    e = np.exp(x.astype(np.float64) - x.max(at, keepdims=True))
    agrees(one("Softmax", said, x=x), e / e.sum(at, keepdims=True))


def test_sums_products_and_maxima():
    a, b, c = draw(2, 3), draw(2, 3), draw(2, 3)
    agrees(one("Eltwise", a=a, b=b, c=c), a + b + c)
    agrees(one("Eltwise", "eltwise_param { coeff: 0.5 coeff: -1 coeff: 2 }", a=a, b=b, c=c), 0.5 * a - b + 2 * c)
    agrees(one("Eltwise", "eltwise_param { coeff: -1 coeff: 0 }", a=a, b=b), -a)
    agrees(one("Eltwise", "eltwise_param { operation: PROD }", a=a, b=b, c=c), a * b * c)
    agrees(one("Eltwise", "eltwise_param { operation: MAX }", a=a, b=b, c=c), np.maximum(np.maximum(a, b), c))
