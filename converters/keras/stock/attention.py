"""Scaled dot-product attention, which Keras has as one operation."""

from __future__ import annotations

from typing import Any

import keras

from converters.keras.held import Held
from converters.keras.node import Node
from converters.keras.stock.table import Result, stock

#: Where Keras wants (batch, steps, heads, depth) and ONNX has (batch, heads, steps, depth).
_STEPS_FIRST = (0, 2, 1, 3)


@stock("Attention", since=23)
def attention(
    at: Node,
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    past_key: Any = None,
    past_value: Any = None,
    lengths: Any = None,
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
) -> Result:
    plain = past_key is None and past_value is None and lengths is None and not softcap
    if not plain or max(left_window_size, right_window_size) >= 0 or softmax_precision not in (None, 1):
        return None
    if any(at.used[1:]) or not all(isinstance(item, Held) and item.dtype == "float32" for item in (q, k, v)):
        return None
    heads = [_heads(at, q, q_num_heads), _heads(at, k, kv_num_heads), _heads(at, v, kv_num_heads)]
    if any(item is None or None in item.shape[2:] for item in heads):
        return None
    query, key, value = heads
    if mask is not None and not _fits(mask):
        return None
    if query.shape[-1] != key.shape[-1] or query.shape[-1] != value.shape[-1]:
        return None
    if key.shape[2] == 1 != query.shape[2]:  # one for all heads, which Keras does not spread
        key, value = (keras.ops.repeat(item, query.shape[2], axis=2) for item in (key, value))
    seen = None if mask is None else _four_axes(at, mask)
    boolean = isinstance(mask, Held) and mask.dtype == "bool"
    made = keras.ops.dot_product_attention(
        query,
        key,
        value,
        bias=None if boolean else seen,
        mask=seen if boolean else None,
        scale=scale,
        is_causal=bool(is_causal),
    )
    if boolean:
        # A query that may see no key gives zeros.
        any_key = keras.ops.transpose(keras.ops.any(seen, axis=-1, keepdims=True), _STEPS_FIRST)
        made = keras.ops.multiply(made, keras.ops.cast(any_key, made.dtype))
    if q.rank == 3:
        return Held.of(at.layer(keras.layers.Reshape, (-1, made.shape[2] * made.shape[3]))(made))
    return Held(made, _STEPS_FIRST, labels=q.lengths)


def _heads(at: Node, x: Held, count: int | None) -> Any:
    """(batch, steps, heads, depth) of an input of either rank; None where its width is open."""
    if x.rank == 4:
        return at.to(x, _STEPS_FIRST)
    if x.rank != 3 or not count or x.shape[2] is None:
        return None
    return at.layer(keras.layers.Reshape, (-1, count, x.shape[2] // count), part="heads")(at.source(x))


def _fits(mask: Any) -> bool:
    """Whether a mask was computed, as what may be seen or as something to add."""
    return isinstance(mask, Held) and mask.dtype in ("bool", "float32") and 2 <= mask.rank <= 4


def _four_axes(at: Node, mask: Held) -> Any:
    tensor = at.source(mask)
    for _ in range(4 - mask.rank):
        tensor = keras.ops.expand_dims(tensor, 0)
    return tensor
