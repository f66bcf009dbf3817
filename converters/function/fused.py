"""Operators of `com.microsoft` that onnxruntime's optimiser makes of several: products, convolutions, normalisation.

Specification: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from converters.function.activation import softmax_last
from converters.function.convolution import convolve
from converters.function.linear import gemm_7, matrix_product
from converters.function.normalization import layer_normalization, rms_normalization
from converters.function.table import Tensor, op
from converters.function.wider import HALVES, in_type
from converters.function.windows import sizes_of, window

__all__: list[str] = []

_DOMAIN = "com.microsoft"


def _activated(x: tf.Tensor, name: str, numbers: Sequence[float]) -> tf.Tensor:
    """The activation that a fused operator names, with its parameters in ONNX's order."""
    given = [tf.cast(number, x.dtype) for number in numbers]
    known: dict[str, Callable[[], tf.Tensor]] = {
        "": lambda: x,
        "Clip": lambda: tf.minimum(tf.maximum(x, given[0]), given[1]),
        "Elu": lambda: tf.where(x < 0, given[0] * tf.math.expm1(tf.minimum(x, tf.zeros((), x.dtype))), x),
        "HardSigmoid": lambda: tf.clip_by_value(given[0] * x + given[1], 0, 1),
        "HardSwish": lambda: tf.nn.relu6(x + 3) * x / 6,
        "LeakyRelu": lambda: tf.nn.leaky_relu(x, numbers[0]),
        "Relu": lambda: tf.nn.relu(x),
        "Sigmoid": lambda: tf.sigmoid(x),
        "Softplus": lambda: tf.nn.softplus(x),
        "Tanh": lambda: tf.tanh(x),
    }
    if name not in known:
        raise ValueError(f"unknown activation {name!r}; known: {', '.join(filter(None, known))}")
    return known[name]()


@op("FusedConv", domain=_DOMAIN)
def fused_conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    z: Tensor | None = None,
    *,
    activation: str = "",
    activation_params: Sequence[float] = (),
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    made = convolve(x, w, b, window(x, kernel_shape or sizes_of(w, 2), strides, dilations, pads, auto_pad), group)
    return _activated(made if z is None else made + z, activation, activation_params)


@op("FusedGemm", domain=_DOMAIN)
def fused_gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    made = gemm_7(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)
    numbers = [item for item in (activation_alpha, activation_beta, activation_gamma) if item is not None]
    return _activated(made, activation, numbers)


@op("FusedMatMul", "TransposeMatMul", domain=_DOMAIN)
def fused_matmul(
    a: Tensor,
    b: Tensor,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Tensor:
    left, right = _turned(a, transA, transBatchA), _turned(b, transB, transBatchB)
    made = in_type(tf.float32, HALVES, matrix_product, left, right)
    return made if alpha == 1.0 else made * tf.cast(alpha, made.dtype)


def _turned(x: tf.Tensor, last: int, batch: int) -> tf.Tensor:
    """`x` with its first axis before its last one (`batch`), then with its last two axes exchanged (`last`)."""
    order = list(range(x.shape.rank))
    if batch:
        order = [*order[1:-1], order[0], order[-1]]
    if last and len(order) > 1:
        order[-2], order[-1] = order[-1], order[-2]
    return x if order == list(range(x.shape.rank)) else tf.transpose(x, order)


@op("SkipLayerNormalization", domain=_DOMAIN)
def skip_layer_normalization(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
) -> tuple[Tensor, ...]:
    total = x + skip if bias is None else x + skip + bias
    made, mean, inverse = layer_normalization(total, gamma, beta, epsilon=epsilon)
    return made, mean, inverse, total


@op("SkipSimplifiedLayerNormalization", domain=_DOMAIN)
def skip_rms_normalization(
    x: Tensor, skip: Tensor, gamma: Tensor, bias: Tensor | None = None, *, epsilon: float = 1e-12
) -> tuple[Tensor | None, ...]:
    total = x + skip if bias is None else x + skip + bias
    return rms_normalization(total, gamma, epsilon=epsilon), None, None, total


@op("SimplifiedLayerNormalization")
def simplified_layer_normalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    return rms_normalization(x, scale, axis=axis, epsilon=epsilon, stash_type=stash_type)


@op("EmbedLayerNormalization", domain=_DOMAIN)
def embed_layer_normalization(
    ids: Tensor,
    segments: Tensor | None,
    words: Tensor,
    positions: Tensor,
    kinds: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mask: Tensor | None = None,
    places: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 0,
) -> tuple[Tensor, ...]:
    where = tf.range(tf.shape(ids)[1]) if places is None else places
    total = tf.gather(words, ids) + tf.gather(positions, where)
    if kinds is not None and segments is not None:
        total += tf.gather(kinds, segments)
    made = layer_normalization(total, gamma, beta, epsilon=epsilon)[0]
    # How many of each row's words are no padding.
    counted = tf.zeros(tf.shape(ids)[:1], tf.int32) if mask is None else tf.reduce_sum(mask, 1)
    return made, counted, total


@op("Attention", domain=_DOMAIN)
def attention(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    past: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_length: Tensor | None = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    past_present_share_buffer: int = 0,
    qkv_hidden_sizes: Sequence[int] | None = None,
    scale: float | None = None,
    unidirectional: int = 0,
) -> tuple[Tensor, Tensor]:
    if do_rotary or past_present_share_buffer:
        raise ValueError("rotary embeddings and buffers that past and present share are not supported in Attention")
    projected = matrix_product(x, weights)
    if bias is not None:
        projected += bias
    sizes = list(qkv_hidden_sizes or [weights.shape[1] // 3] * 3)
    q, k, v = (_heads(part, num_heads) for part in tf.split(projected, sizes, -1))
    if past is not None:
        k, v = tf.concat([past[0], k], 2), tf.concat([past[1], v], 2)
    shift = _barred(mask, tf.shape(q)[2], tf.shape(k)[2], mask_filter_value, bool(unidirectional))
    return _attended(q, k, v, [shift, attention_bias], scale), tf.stack([k, v])


@op("MultiHeadAttention", domain=_DOMAIN)
def multi_head_attention(
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    padding: Tensor | None = None,
    attention_bias: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    scale: float | None = None,
    unidirectional: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    if key is None or value is None:
        raise ValueError("packed queries, keys and values are not supported in MultiHeadAttention")
    if bias is not None:
        widths = [sizes_of(query, 0)[-1], sizes_of(key if key.shape.rank == 3 else query, 0)[-1]]
        parts = tf.split(bias, [*widths, sizes_of(bias, 0)[0] - sum(widths)])
        query = query + parts[0]
        key, value = (key + parts[1], value + parts[2]) if key.shape.rank == 3 else (key, value)
    q = _heads(query, num_heads)
    k, v = (_heads(item, num_heads) if item.shape.rank == 3 else item for item in (key, value))
    if past_key is not None and past_value is not None:
        k, v = tf.concat([past_key, k], 2), tf.concat([past_value, v], 2)
    shift = _barred(padding, tf.shape(q)[2], tf.shape(k)[2], mask_filter_value, bool(unidirectional))
    return _attended(q, k, v, [shift, attention_bias], scale), k, v


def _heads(x: tf.Tensor, count: int) -> tf.Tensor:
    """(N, steps, heads * depth) -> (N, heads, steps, depth)."""
    sizes = sizes_of(x, 0)
    return tf.transpose(tf.reshape(x, tf.stack([sizes[0], sizes[1], count, sizes[2] // count])), (0, 2, 1, 3))


def _barred(mask: tf.Tensor | None, queries: Any, keys: Any, filler: float, causal: bool) -> tf.Tensor | None:
    """What is added to the products of queries (from the last key backwards) and keys so that some are not seen.

    `mask` is (N, keys), (N, queries, keys) or (N, 1, queries, keys) with 0 for what is barred.
    """
    seen = None
    if mask is not None:
        if mask.shape.rank == 1:
            raise ValueError("a mask of lengths is not supported, one of rows of keys is")
        rank = mask.shape.rank
        seen = mask[:, None, None] if rank == 2 else mask[:, None] if rank == 3 else mask
        seen = tf.cast(seen, tf.bool)
    if causal:
        place = tf.range(queries)[:, None] + keys - queries
        before = (tf.range(keys)[None] <= place)[None, None]
        seen = before if seen is None else seen & before
    return None if seen is None else tf.where(seen, 0.0, filler)


def _attended(
    q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, shifts: Sequence[tf.Tensor | None], scale: float | None
) -> tf.Tensor:
    """Attention of q, k, v (N, heads, steps, depth), as (N, steps, heads * depth)."""
    own = q.dtype
    q, k, v = (tf.cast(item, tf.float32) if own in HALVES else item for item in (q, k, v))
    root = scale or tf.math.rsqrt(tf.cast(sizes_of(q, 0)[-1], q.dtype))
    product = tf.matmul(q, k, transpose_b=True) * tf.cast(root, q.dtype)
    for shift in shifts:
        product = product if shift is None else product + tf.cast(shift, product.dtype)
    made = tf.transpose(tf.matmul(softmax_last(product), v), (0, 2, 1, 3))
    sizes = sizes_of(made, 0)
    made = tf.reshape(made, tf.stack([sizes[0], sizes[1], sizes[2] * sizes[3]]))
    return tf.cast(made, own)
