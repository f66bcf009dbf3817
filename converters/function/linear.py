"""Products of matrices and what is written as sums of products."""

from __future__ import annotations

import tensorflow as tf

from converters.function.table import Tensor, op
from converters.function.values import shape_of
from converters.function.wider import HALVES, SMALL_INTEGERS, in_type

__all__ = ["exact_float", "matrix_product"]


@op("MatMul")
def matmul(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    # Only `converters.graph.merging` gives it a bias.
    made = in_type(tf.int64, SMALL_INTEGERS, matrix_product, a, b)
    return made if bias is None else made + bias


def matrix_product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The product as NumPy's matmul has it, vectors included."""
    if a.shape.rank == 1 or b.shape.rank == 1:
        left = a[None, :] if a.shape.rank == 1 else a
        right = b[:, None] if b.shape.rank == 1 else b
        product = tf.matmul(left, right)
        if b.shape.rank == 1:
            product = product[..., 0]
        return product if a.shape.rank != 1 else product[..., 0] if b.shape.rank == 1 else product[..., 0, :]
    if b.shape.rank == 2 and a.shape.rank is not None and a.shape.rank > 2:
        # One big product is much faster than a batch of small ones with the same right side.
        rows = tf.reshape(a, (-1, a.shape[-1] if a.shape[-1] is not None else tf.shape(a)[-1]))
        product = tf.matmul(rows, b)
        made = tf.reshape(product, tf.concat([shape_of(a)[:-1], shape_of(b)[1:]], 0))
        made.set_shape([*a.shape[:-1], b.shape[1]])
        return made
    return tf.matmul(a, b)


@op("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    broadcast: int = 0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    return _gemm(a, b, c, alpha, beta, transA, transB)


@op("Gemm", since=7)
def gemm_7(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    return _gemm(a, b, c, alpha, beta, transA, transB)


def _gemm(
    a: tf.Tensor, b: tf.Tensor, c: tf.Tensor | None, alpha: float, beta: float, first: int, second: int
) -> tf.Tensor:
    own = a.dtype
    if own.is_integer:
        wide = tf.int64 if alpha == 1.0 and beta == 1.0 else tf.float64
        a, b, c = tf.cast(a, wide), tf.cast(b, wide), None if c is None else tf.cast(c, wide)
    product = tf.matmul(a, b, transpose_a=bool(first), transpose_b=bool(second))
    if alpha != 1.0:
        product *= tf.cast(alpha, product.dtype)
    if c is not None and beta != 0.0:
        if beta != 1.0:
            c *= tf.cast(beta, c.dtype)
        if c.shape.rank == 2 and c.shape[0] == 1:
            c = tf.reshape(c, (-1,))  # behind a transposed matrix TensorFlow's fused kernel fails on a row
        if c.shape.rank == 1 and c.shape[0] is not None and c.shape[0] == product.shape[-1]:
            product = tf.nn.bias_add(product, c)  # TensorFlow fuses this with the product
        else:
            product += c
    return product if product.dtype == own else tf.cast(product, own)


def exact_float(terms: int | None, largest: int = 255 * 255) -> tf.DType:
    """The float type in which sums of `terms` integer products up to `largest` are exact (None = unknown number)."""
    return tf.float32 if terms is not None and terms * largest < 1 << 24 else tf.float64


@op("MatMulInteger", since=10, constant=("a_zero_point", "b_zero_point"))
def matmul_integer(
    a: Tensor, b: Tensor, a_zero_point: Tensor | None = None, b_zero_point: Tensor | None = None
) -> Tensor:
    wide = exact_float(a.shape[-1] if a.shape.rank else None)
    left, right = tf.cast(a, wide), tf.cast(b, wide)
    if a_zero_point is not None:
        zero = tf.cast(a_zero_point, wide)
        left -= zero[:, None] if zero.shape.rank == 1 and zero.shape[0] != 1 else zero
    if b_zero_point is not None:
        right -= tf.cast(b_zero_point, wide)
    return tf.cast(matrix_product(left, right), tf.int32)


@op("Einsum", since=12)
def einsum(*inputs: Tensor, equation: str) -> Tensor:
    return in_type(tf.int64, SMALL_INTEGERS, lambda *tensors: _einsum(equation, tensors), *inputs)


def _einsum(equation: str, tensors: tuple[tf.Tensor, ...]) -> tf.Tensor:
    equation = equation.replace(" ", "")
    if "->" not in equation:
        letters = equation.replace(",", "").replace("...", "")
        once = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
        equation += f"->{'...' if '...' in equation else ''}{once}"
    return tf.einsum(equation, *tensors)


@op("Det", since=11)
def determinant(x: Tensor) -> Tensor:
    return in_type(tf.float32, HALVES, tf.linalg.det, x)
