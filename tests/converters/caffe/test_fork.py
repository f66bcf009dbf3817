"""Small layers of forks against loops that follow their sources, and a layer of a user's own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from converters.caffe.layer import TRANSLATORS, layer_type
from modelzoo.errors import UnsupportedOperatorError
from tests.converters.caffe.networks import inputs, model_of, one, tops_of

RNG = np.random.default_rng(11)


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_a_layer_of_ones_own():
    @layer_type("Gain")
    def gain(g, layer, x):
        factor = float(layer.unknown["my_param"].get("gain", 1))
        return g.Mul(x, factor)

    try:
        x = random(2, 3)
        np.testing.assert_allclose(one("Gain", "my_param { gain: 2 }", x=x), 2 * x)
    finally:
        del TRANSLATORS["Gain"]


def test_a_type_without_translation_is_refused_with_a_hint():
    text = inputs(x=(1, 2)) + 'layer { name: "l" type: "Gain" bottom: "x" top: "y" my_param { gain: 2 } }'
    with pytest.raises(UnsupportedOperatorError, match="'Gain'") as caught:
        model_of(text)
    assert "layer_type" in caught.value.hint


def test_relu6():
    x = np.linspace(-9, 9, 13).reshape(1, 13)
    np.testing.assert_allclose(one("ReLU6", x=x), np.clip(x, 0, 6))
    expected = np.minimum(np.where(x > 0, x, 0.5 * x), 6)
    np.testing.assert_allclose(one("ReLU6", "relu6_param { negative_slope: 0.5 }", x=x), expected)


@pytest.mark.parametrize("scale", [(2, 3), (2, 3, 1, 1)])
def test_axpy(scale):
    a, x, y = random(*scale), random(2, 3, 4, 5), random(2, 3, 4, 5)
    np.testing.assert_allclose(one("Axpy", a=a, x=x, z=y), a.reshape(2, 3, 1, 1) * x + y, rtol=1e-5, atol=1e-6)


def test_shuffle_channel():
    x = np.arange(2 * 6 * 2, dtype=np.float32).reshape(2, 6, 2, 1)
    made = one("ShuffleChannel", "shuffle_channel_param { group: 3 }", x=x)
    np.testing.assert_array_equal(made, x[:, [0, 2, 4, 1, 3, 5]])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("shape", "stride"), [((2, 8, 4, 6), 2), ((1, 9, 3, 6), 3)])
def test_reorg(reverse, shape, stride):
    """Index by index, as Darknet's reorg_cpu does."""
    x = random(*shape)
    count, channels, height, width = shape
    flat, made = x.ravel(), np.zeros(x.size, np.float32)
    less = channels // stride**2
    for n, c, h, w in np.ndindex(*shape):
        near = w + width * (h + height * (c + channels * n))
        offset = c // less
        far_w, far_h = w * stride + offset % stride, h * stride + offset // stride
        far = far_w + width * stride * (far_h + height * stride * (c % less + less * n))
        if reverse:
            made[far] = flat[near]
        else:
            made[near] = flat[far]
    size = (less, height * stride, width * stride) if reverse else (
        channels * stride**2, height // stride, width // stride)  # fmt: skip
    said = f"reorg_param {{ stride: {stride} reverse: {str(reverse).lower()} }}"
    np.testing.assert_array_equal(one("Reorg", said, x=x), made.reshape(count, *size))


def norm(x, mean, variance, eps):
    return (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + eps)


def test_bn_of_four_arrays():
    x, scale, shift, mean = random(2, 3, 4, 5), random(3), random(3), random(3)
    variance = RNG.uniform(0.5, 2, 3).astype(np.float32)
    arrays = [item.reshape(1, 3, 1, 1) for item in (scale, shift, mean, variance)]
    expected = norm(x, mean, variance, 1e-2) * scale[:, None, None] + shift[:, None, None]
    made = one("BN", "bn_param { eps: 0.01 frozen: true slope_filler { value: 1 } }", arrays, x=x)
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_bn_of_segnet():
    x, scale, shift = random(2, 3, 4, 5), random(3), random(3)
    arrays = [item.reshape(1, 3, 1, 1) for item in (scale, shift)]
    affine = scale[:, None, None], shift[:, None, None]
    made = one("BN", "bn_param { bn_mode: INFERENCE }", arrays, x=x)
    np.testing.assert_allclose(made, x * affine[0] + affine[1], rtol=1e-5, atol=1e-6)
    expected = norm(x, x.mean((0, 2, 3)), x.var((0, 2, 3)), 1e-9) * affine[0] + affine[1]
    np.testing.assert_allclose(one("BN", "", arrays, x=x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("said", ["", "batch_norm_param { scale_bias: true eps: 0.01 }"])
def test_batch_norm_with_scale_and_bias(said):
    x, mean, scale, shift = random(2, 3, 4, 5), random(3), random(3), random(3)
    variance = RNG.uniform(0.5, 2, 3).astype(np.float32)
    made = one("BatchNorm", said, [mean, variance, np.ones(1), scale, shift], x=x)
    expected = norm(x, mean, variance, 0.01 if said else 1e-5) * scale[:, None, None] + shift[:, None, None]
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_of_three_arrays_stays_as_it_is():
    x, mean, variance = random(2, 3, 4, 5), random(3), RNG.uniform(0.5, 2, 3)
    made = one("BatchNorm", "", [2 * mean, 2 * variance, np.full(1, 2)], x=x)
    np.testing.assert_allclose(made, norm(x, mean, variance, 1e-5), rtol=1e-4, atol=1e-5)


def depthwise(x, kernel, stride, pad):
    padded = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    size = kernel.shape[2]
    rows, columns = ((side + 2 * pad - size) // stride + 1 for side in x.shape[2:])
    made = np.zeros((*x.shape[:2], rows, columns))
    for r, c in np.ndindex(rows, columns):
        part = padded[:, :, r * stride : r * stride + size, c * stride : c * stride + size]
        made[:, :, r, c] = (part * kernel[:, 0]).sum((2, 3))
    return made


@pytest.mark.parametrize(
    ("kind", "said"), [("DepthwiseConvolution", "num_output: 3 group: 3"), ("ConvolutionDepthwise", "num_output: 7")]
)
def test_depthwise_convolutions(kind, said):
    x, kernel, bias = random(2, 3, 5, 6), random(3, 1, 3, 3), random(3)
    made = one(kind, f"convolution_param {{ {said} kernel_size: 3 stride: 2 pad: 1 }}", [kernel, bias], x=x)
    np.testing.assert_allclose(made, depthwise(x, kernel, 2, 1) + bias[:, None, None], rtol=1e-4, atol=1e-5)


def test_names_of_cudnn_layers():
    x, kernel = random(1, 2, 3, 3), random(2, 2, 1, 1)
    said = "convolution_param { num_output: 2 kernel_size: 1 bias_term: false engine: CUDNN }"
    expected = np.einsum("oi,nihw->nohw", kernel[:, :, 0, 0], x)
    np.testing.assert_allclose(one("CuDNNConvolution", said, [kernel], x=x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one("CuDNNReLU", x=x), np.maximum(x, 0))


def test_python_is_not_run():
    text = inputs(x=(1, 2)) + 'layer { name: "l" type: "Python" bottom: "x" top: "y" '
    with pytest.raises(UnsupportedOperatorError, match="never run") as caught:
        model_of(text + 'python_param { module: "os" layer: "System" param_str: "1" } }')
    assert caught.value.hint


def greedy(scores, going, blank, merges):
    steps, count, _ = scores.shape
    made, best = np.full((count, steps), -1.0), [[] for _ in range(count)]
    for n in range(count):
        before, said = -1, []
        for t in range(steps):
            label = int(scores[t, n].argmax())
            best[n].append(scores[t, n].max())
            if label != blank and not (merges and label == before):
                said.append(label)
            before = label
            if t + 1 == steps or going[t + 1, n] == 0:
                break
        made[n, : len(said)] = said
    return made[:, :, None, None], best


@pytest.mark.parametrize("merges", [True, False])
@pytest.mark.parametrize("blank", [-1, 0, 2])
@pytest.mark.parametrize("kind", ["CTCGreedyDecoder", "CTCDecoder"])
def test_ctc_greedy_decoder(kind, blank, merges):
    scores = RNG.uniform(size=(12, 3, 4)).astype(np.float32)
    scores[3:6, :, 1] += 1  # repetitions
    going = np.ones((12, 3), np.float32)
    going[0] = going[5, 1] = going[9, 1] = going[1, 2] = 0
    said = f"ctc_decoder_param {{ blank_index: {blank} ctc_merge_repeated: {str(merges).lower()} }}"
    made = tops_of(kind, said, tops=("y", "score"), x=scores, going=going)
    expected, best = greedy(scores, going, blank % 4, merges)
    np.testing.assert_array_equal(made["y"], expected)
    total = [-sum(item) if kind == "CTCGreedyDecoder" else math.prod(item) for item in best]
    np.testing.assert_allclose(made["score"].ravel(), total, rtol=1e-5)
