"""Matrix products with a constant become Dense layers; a flattened picture permutes the kernel, not the activations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from converters.keras.held import Held
from converters.keras.node import Node
from converters.keras.stock.elementwise import biased
from converters.keras.stock.table import Result, stock

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _dense(at: Node, x: Held, kernel: np.ndarray, bias: np.ndarray | None) -> Result:
    """x (..., in) times kernel (in, out), plus bias (out,)."""
    tensor = x.tensor
    if at.table is not None and bias is None:
        table = at.layer(keras.layers.ReversibleEmbedding, *kernel.shape[::-1], dtype=x.dtype)
        return Held.of(at.apply(table, at.source(x), table=at.table, call={"reverse": True}, embeddings=kernel.T))
    if x.flat is not None:
        kernel = _rows(kernel, x.flat.order)
    axes = x.axes
    if axes[-1] != x.rank - 1:
        tensor, axes = at.source(x), tuple(range(x.rank))
    layer = at.layer(keras.layers.Dense, kernel.shape[1], use_bias=bias is not None, dtype=x.dtype)
    labels = None if x.lengths is None else (*x.lengths[:-1], frozenset())
    return Held(at.apply(layer, tensor, kernel=kernel, bias=bias), axes, labels=labels)


def of_width(at: Node, x: Held, width: int) -> Held | None:
    """x with a last axis of `width`: itself, or where that is open what must be so; None where it is not."""
    if x.shape[-1] == width:
        return x
    behind = list(x.shape[1:-1])
    if x.shape[-1] is not None or x.flat is not None or behind.count(None) > 1:
        return None
    sizes = [-1 if size is None else size for size in behind]
    return Held.of(at.layer(keras.layers.Reshape, (*sizes, width), part="width")(at.source(x)))


def _rows(kernel: np.ndarray, order: np.ndarray) -> np.ndarray:
    """`kernel[order]`; one that lies transposed stays so, since gathering along its memory is several times quicker."""
    return np.take(kernel.T, order, axis=1).T if kernel.flags.f_contiguous else np.take(kernel, order, axis=0)


@stock("Gemm", since=7)
def gemm(
    at: Node,
    a: Any,
    b: Any,
    c: Any = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Result:
    if isinstance(c, Held):
        summand = c if beta == 1 else Held(keras.ops.multiply(c.tensor, beta), c.axes)
        return biased(at, gemm(at, a, b, alpha=alpha, transA=transA, transB=transB), summand)
    if isinstance(a, Held) and isinstance(b, Held) and c is None and not transA and a.dtype in _FLOATS:
        kernel = at.source(b)
        made = matmul(at, a, Held.of(keras.ops.transpose(kernel) if transB else kernel))
        return made if made is None or alpha == 1 else Held.of(keras.ops.multiply(made.tensor, alpha))
    if not isinstance(a, Held) or not isinstance(b, np.ndarray) or transA or a.dtype not in _FLOATS or a.rank != 2:
        return None
    if c is not None and not isinstance(c, np.ndarray):
        return None
    kernel = b.T if transB else b
    wide = of_width(at, a, kernel.shape[0])
    if wide is None:
        return None
    bias = None
    if c is not None:
        if c.size not in (1, kernel.shape[1]) or (c.ndim == 2 and c.shape[0] != 1) or c.ndim > 2:
            return None
        bias = np.broadcast_to(c.ravel(), (kernel.shape[1],)) * np.asarray(beta, c.dtype) if beta != 1 else None
        bias = np.broadcast_to(c.ravel(), (kernel.shape[1],)) if bias is None else bias
    if alpha != 1:
        kernel = kernel * np.asarray(alpha, kernel.dtype)
    return _dense(at, wide, kernel, bias)


@stock("MatMul")
def matmul(at: Node, a: Any, b: Any, bias: Any = None) -> Result:
    if isinstance(bias, Held):
        return biased(at, matmul(at, a, b), bias)
    if isinstance(a, Held) and isinstance(b, np.ndarray):
        known = of_width(at, a, b.shape[0]) if b.ndim == 2 <= a.rank and a.dtype in _FLOATS else None
        return None if known is None else _dense(at, known, b, bias)
    if not (isinstance(a, Held) and isinstance(b, Held)) or min(a.rank, b.rank) < 2 or a.dtype not in _FLOATS:
        return None
    first, second = at.source(a), at.source(b)
    labels = None
    if a.rank == b.rank and (a.lengths or b.lengths):
        labels = (*(a.aliases(axis) for axis in range(a.rank - 1)), b.aliases(-1))
    if a.dtype not in ("float16", "bfloat16"):
        return Held.of(keras.ops.matmul(first, second), labels=labels)
    # Halves are added up in float32, as onnxruntime does.
    wide = keras.ops.matmul(keras.ops.cast(first, "float32"), keras.ops.cast(second, "float32"))
    return Held.of(keras.ops.cast(wide, a.dtype))


@stock("Einsum", since=12)
def einsum(at: Node, *inputs: Any, equation: str) -> Result:
    text = equation.replace(" ", "")
    if "->" not in text or "." in text or not text.split("->")[1]:
        return None
    names = dict.fromkeys(letter for letter in text if letter.isalpha())
    if not all(isinstance(item, Held) and item.dtype == "float32" for item in inputs) or len(names) > 26:
        return None
    # Keras reads small letters only.
    small = str.maketrans(dict(zip(names, "abcdefghijklmnopqrstuvwxyz", strict=False)))
    return Held.of(keras.ops.einsum(text.translate(small), *(at.source(item) for item in inputs)))
