"""Attention: scaled dot products with masks, caches and groups of heads, and its linear form.

Shapes: query (N, heads, queries, depth), key (N, key heads, keys, depth), value (N, key heads, keys, value depth); or
(N, queries, heads * depth) and so on, with the numbers of heads as attributes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.activation import softmax_last
from converters.function.linear import matrix_product
from converters.function.table import Tensor, op
from converters.function.values import element_dtype, shape_of, tf_dtype
from converters.function.wider import HALVES, in_type

__all__: list[str] = []

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]


@op("Attention", since=23)
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    nonpad_kv_seqlen: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> Outputs:
    flat = q.shape.rank == 3
    if flat:
        q, k, v = _heads(q, q_num_heads or 1), _heads(k, kv_num_heads or 1), _heads(v, kv_num_heads or 1)
    if past_key is not None and past_value is not None:
        k, v = tf.concat([past_key, k], 2), tf.concat([past_value, v], 2)
    queries, keys = shape_of(q)[2], shape_of(k)[2]
    offset: Any = 0
    if past_key is not None:
        offset = shape_of(past_key)[2]
    elif nonpad_kv_seqlen is not None:
        offset = tf.reshape(nonpad_kv_seqlen, (-1, 1, 1, 1)) - tf.cast(queries, nonpad_kv_seqlen.dtype)
    bias = None if attn_mask is None else _as_bias(attn_mask, keys, q.dtype)
    allowed = _allowed(queries, keys, offset, bool(is_causal), left_window_size, right_window_size)
    if nonpad_kv_seqlen is not None:
        present = tf.range(keys) < tf.reshape(nonpad_kv_seqlen, (-1, 1, 1, 1))
        allowed = present if allowed is None else allowed & present
    if allowed is not None:
        barred = tf.where(allowed, tf.zeros((), q.dtype), tf.constant(-np.inf, q.dtype))
        bias = barred if bias is None else bias + barred
    if scale is None:
        scale = _root_of_depth(q)
    root = tf.cast(scale**0.5, q.dtype)
    product = _grouped(q * root, k * root, transposed=True)
    capped = softcap * tf.tanh(product / softcap) if softcap else product
    biased = capped if bias is None else capped + bias
    logits = biased if softmax_precision is None else tf.cast(biased, tf_dtype(element_dtype(softmax_precision)))
    shares = softmax_last(logits)
    if bias is not None:
        # A query that may see no key gives zeros; its softmax would be no number.
        blind = tf.equal(tf.reduce_max(bias, -1, keepdims=True), tf.constant(-np.inf, bias.dtype))
        shares = tf.where(blind, tf.zeros((), shares.dtype), shares)
    shares = tf.cast(shares, q.dtype)
    shown = (product, capped, biased, shares)[qk_matmul_output_mode]
    made = _grouped(shares, tf.cast(v, q.dtype), transposed=False)
    if flat:
        # (N, heads, queries, depth) -> (N, queries, heads * depth)
        made = tf.transpose(made, (0, 2, 1, 3))
        shape = shape_of(made)
        made = tf.ensure_shape(
            tf.reshape(made, tf.stack([shape[0], shape[1], -1])), [*made.shape[:2], _product(*made.shape[2:])]
        )
    return made, k, v, shown


def _root_of_depth(q: tf.Tensor) -> Any:
    """One over the root of the last axis' size."""
    if q.shape[-1] is not None:
        return 1 / float(q.shape[-1]) ** 0.5
    return tf.math.rsqrt(tf.cast(tf.shape(q)[-1], tf.float32))


def _product(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a * b


def _heads(x: tf.Tensor, count: int) -> tf.Tensor:
    """(N, steps, heads * depth) -> (N, heads, steps, depth)."""
    shape = shape_of(x)
    split = tf.reshape(x, tf.stack([shape[0], shape[1], count, -1]))
    depth = None if x.shape[2] is None else x.shape[2] // count
    return tf.transpose(tf.ensure_shape(split, [*x.shape[:2], count, depth]), (0, 2, 1, 3))


def _grouped(a: tf.Tensor, b: tf.Tensor, *, transposed: bool) -> tf.Tensor:
    """The product of each head of `a` with its head of `b`, of which there may be fewer: one for several in a row."""

    def product(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        if left.shape[1] == right.shape[1] is not None:
            return tf.matmul(left, right, transpose_b=transposed)
        shape, heads = shape_of(left), shape_of(right)[1]
        # Heads that share keys are rows of one matrix.
        rows = tf.reshape(left, tf.stack([shape[0], heads, -1, shape[3]]))
        made = tf.matmul(rows, right, transpose_b=transposed)
        columns = shape_of(right)[2 if transposed else 3]
        made = tf.reshape(made, tf.stack([shape[0], shape[1], shape[2], columns]))
        return tf.ensure_shape(made, [*left.shape[:3], right.shape[2 if transposed else 3]])

    return in_type(tf.float32, HALVES, product, a, b)


def _as_bias(mask: tf.Tensor, keys: Any, dtype: tf.DType) -> tf.Tensor:
    """The mask as something to add, filled up to `keys` with what bars a key."""
    bars = tf.constant(-np.inf, dtype)
    bias = tf.where(mask, tf.zeros((), dtype), bars) if mask.dtype == tf.bool else tf.cast(mask, dtype)
    have = shape_of(bias)[-1]
    if not isinstance(have, tf.Tensor) and not isinstance(keys, tf.Tensor) and have == keys:
        return bias
    missing = tf.cast(tf.maximum(keys - have, 0), tf.int32)
    return tf.pad(bias, [*[[0, 0]] * (bias.shape.rank - 1), [0, missing]], constant_values=bars)


def _allowed(queries: Any, keys: Any, offset: Any, causal: bool, left: int, right: int) -> tf.Tensor | None:
    """Which query may see which key, (queries, keys) or (N, 1, queries, keys); None if all may see all."""
    if not causal and left < 0 and right < 0:
        return None
    # How many places a key lies before the query.
    back = tf.range(queries, dtype=tf.int64)[:, None] + tf.cast(offset, tf.int64) - tf.range(keys, dtype=tf.int64)
    allowed = tf.ones_like(back, tf.bool)
    if causal:
        allowed &= back >= 0
    if left >= 0:
        allowed &= back <= left
    if right >= 0:
        allowed &= -back <= right
    return allowed


@op("LinearAttention", since=27)
def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_state: Tensor | None = None,
    decay: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
) -> tuple[Tensor, Tensor]:
    wide = tf.float64 if query.dtype == tf.float64 else tf.float32
    # The state (N, key heads, depth, value depth) is a memory: it fades by `decay`, and each step writes into it.
    q, k, v = (
        tf.cast(_heads(item, heads), wide)
        for item, heads in ((query, q_num_heads), (key, kv_num_heads), (value, kv_num_heads))
    )
    batch, _, steps, depth = tf.unstack(tf.shape(q))
    width = tf.shape(v)[-1]
    if past_state is None:
        state = tf.zeros(tf.stack([batch, kv_num_heads, depth, width]), wide)
    else:
        state = tf.cast(past_state, wide)
    sizes = [q.shape[0], kv_num_heads, q.shape[-1], v.shape[-1]]
    state = tf.ensure_shape(state, sizes)
    factor = tf.cast(scale or _root_of_depth(q), wide)
    fades = None if decay is None else tf.exp(tf.cast(_heads(decay, kv_num_heads), wide))
    shares = None
    if beta is not None:
        shares = tf.cast(tf.transpose(beta[..., None], (0, 2, 1, 3)), wide)
    rows = tf.TensorArray(wide, size=steps)

    def body(step: tf.Tensor, state: tf.Tensor, rows: Any) -> tuple[Any, ...]:
        place = k[:, :, step]
        content = v[:, :, step]
        if fades is not None and update_rule in ("gated", "gated_delta"):
            state = state * fades[:, :, step][..., None]
        if shares is not None and update_rule in ("delta", "gated_delta"):
            content = shares[:, :, step] * (content - tf.einsum("bhdm,bhd->bhm", state, place))
        state = state + place[..., None] * content[..., None, :]
        seen = matrix_product(_by_key_head(q[:, :, step], kv_num_heads), state)
        return step + 1, tf.ensure_shape(state, sizes), rows.write(step, factor * seen)

    _, state, rows = tf.while_loop(
        lambda step, *_: step < steps,
        body,
        (tf.constant(0), state, rows),
        maximum_iterations=steps,
    )
    # (steps, N, key heads, group, value depth) -> (N, steps, heads * value depth)
    made = tf.transpose(rows.stack(), (1, 0, 2, 3, 4))
    made = tf.reshape(made, tf.stack([batch, steps, q_num_heads * width]))
    made = tf.ensure_shape(made, [*query.shape[:2], _product(q_num_heads, v.shape[-1])])
    return tf.cast(made, query.dtype), tf.cast(state, query.dtype if past_state is None else past_state.dtype)


def _by_key_head(q: tf.Tensor, count: int) -> tf.Tensor:
    """(N, heads, depth) -> (N, key heads, group, depth)."""
    shape = tf.shape(q)
    return tf.reshape(q, tf.stack([shape[0], count, shape[1] // count, shape[2]]))
