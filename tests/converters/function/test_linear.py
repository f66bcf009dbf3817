"""Products of matrices: ranks, types, transposition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters.function.nodes import agrees, normal


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3, 4), (4, 5)),
        ((4,), (4, 5)),
        ((2, 3, 4), (4,)),
        ((4,), (4,)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((3, 4), (2, 4, 5)),
    ],
    ids=str,
)
def test_matmul_broadcasts_as_numpy(shapes: tuple[tuple[int, ...], ...]) -> None:
    agrees("MatMul", [normal(n, *shape) for n, shape in enumerate(shapes)], 13)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.uint64])
def test_matmul_of_integers(dtype: Any) -> None:
    generator = np.random.default_rng(0)
    agrees(
        "MatMul", [generator.integers(0, 9, (3, 4)).astype(dtype), generator.integers(0, 9, (4, 2)).astype(dtype)], 13
    )


@pytest.mark.parametrize("shape", [(5,), (3, 5), (3, 1), (1,), ()], ids=str)
@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 1)])
def test_gemm_transposes_scales_and_adds(shape: tuple[int, ...], first: int, second: int) -> None:
    a, b = normal(0, *((4, 3) if first else (3, 4))), normal(1, *((5, 4) if second else (4, 5)))
    options = {"transA": first, "transB": second, "alpha": 0.5 if first else 1.0, "beta": 2.0 if second else 1.0}
    agrees("Gemm", [a, b, normal(2, *shape)], 13, **options)


def test_gemm_needs_no_third_matrix_since_opset_11() -> None:
    agrees("Gemm", [normal(0, 3, 4), normal(1, 4, 5)], 11)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bij, bjk -> bik", ((2, 3, 4), (2, 4, 5))),
        ("ij,jk", ((3, 4), (4, 5))),
        ("...ij,...jk->...ik", ((2, 3, 4), (2, 4, 5))),
        ("ii->i", ((3, 3),)),
        ("ijk->kj", ((2, 3, 4),)),
    ],
)
def test_einsum_of_any_equation(equation: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    agrees("Einsum", [normal(n, *shape) for n, shape in enumerate(shapes)], 12, equation=equation)


def test_products_of_bytes_are_exact_for_long_sums() -> None:
    generator = np.random.default_rng(0)
    a, b = (
        generator.integers(200, 255, (3, 700)).astype(np.uint8),
        generator.integers(200, 255, (700, 5)).astype(np.uint8),
    )
    agrees("MatMulInteger", [a, b, np.uint8(12), np.uint8(3)], 10, rtol=0, atol=0)
