"""Matrix products with a constant become Dense layers; a flattened picture permutes the kernel, not the activations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from converters.keras.held import Held
from converters.keras.node import Node
from converters.keras.stock.table import Result, stock

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def _dense(at: Node, x: Held, kernel: np.ndarray, bias: np.ndarray | None) -> Result:
    """x (..., in) times kernel (in, out), plus bias (out,)."""
    tensor = x.tensor
    if x.flat is not None:
        kernel = _rows(kernel, x.flat.order)
    elif x.axes != tuple(range(x.rank)):
        tensor = at.source(x)
    layer = at.layer(keras.layers.Dense, kernel.shape[1], use_bias=bias is not None, dtype=x.dtype)
    return Held.of(at.apply(layer, tensor, kernel=kernel, bias=bias))


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
    if not isinstance(a, Held) or not isinstance(b, np.ndarray) or transA or a.dtype not in _FLOATS or a.rank != 2:
        return None
    if c is not None and not isinstance(c, np.ndarray):
        return None
    kernel = b.T if transB else b
    if a.shape[1] != kernel.shape[0]:
        return None
    bias = None
    if c is not None:
        if c.size not in (1, kernel.shape[1]) or (c.ndim == 2 and c.shape[0] != 1) or c.ndim > 2:
            return None
        bias = np.broadcast_to(c.ravel(), (kernel.shape[1],)) * np.asarray(beta, c.dtype) if beta != 1 else None
        bias = np.broadcast_to(c.ravel(), (kernel.shape[1],)) if bias is None else bias
    if alpha != 1:
        kernel = kernel * np.asarray(alpha, kernel.dtype)
    return _dense(at, a, kernel, bias)


@stock("MatMul")
def matmul(at: Node, a: Any, b: Any, bias: Any = None) -> Result:
    if isinstance(a, Held) and isinstance(b, np.ndarray):
        if b.ndim != 2 or a.rank < 2 or a.dtype not in _FLOATS or a.shape[-1] != b.shape[0]:
            return None
        return _dense(at, a, b, bias)
    if not (isinstance(a, Held) and isinstance(b, Held)) or min(a.rank, b.rank) < 2 or a.dtype not in _FLOATS:
        return None
    first, second = at.source(a), at.source(b)
    if a.dtype not in ("float16", "bfloat16"):
        return Held.of(keras.ops.matmul(first, second))
    # Halves are added up in float32, as onnxruntime does.
    wide = keras.ops.matmul(keras.ops.cast(first, "float32"), keras.ops.cast(second, "float32"))
    return Held.of(keras.ops.cast(wide, a.dtype))
