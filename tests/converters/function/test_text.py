"""Strings: as Python does it where ONNX leaves a choice, with an open number of them under `tf.function` too."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf

from converters.function import load
from converters.function.lookup import positions_in
from converters.function.values import as_numpy


def both_ways(operator: str, x: np.ndarray, outputs: int = 1, **attributes: Any) -> list[list[np.ndarray]]:
    """The outputs of a node called eagerly, and of its trace with open sizes."""
    code = onnx.TensorProto.STRING if x.dtype == object else onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    info = onnx.helper.make_tensor_value_info("x", code, [None] * x.ndim)
    names = [f"y{i}" for i in range(outputs)]
    node = onnx.helper.make_node(operator, ["x"], names, **attributes)
    graph = onnx.helper.make_graph([node], "g", [info], [onnx.ValueInfoProto(name=name) for name in names])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    function = load(model)
    tensor = tf.constant(x.tolist(), tf.string, x.shape) if x.dtype == object else tf.constant(x)
    traced = tf.function(lambda t: function({"x": t}), input_signature=[tf.TensorSpec([None] * x.ndim, tensor.dtype)])
    return [[as_numpy(result[name]) for name in names] for result in (function({"x": x}), traced(tensor))]


def words(*items: str) -> np.ndarray:
    return np.array(items, dtype=object)


@pytest.mark.parametrize("delimiter", [None, ",", ",,"])
@pytest.mark.parametrize("maxsplit", [None, 1, 2])
def test_strings_are_split_as_python_splits_them(delimiter: str | None, maxsplit: int | None) -> None:
    x = words("a,b,c", "", " x  y ", "a,,b\tq", ",", "a b  c d")
    attributes = {k: v for k, v in {"delimiter": delimiter, "maxsplit": maxsplit}.items() if v is not None}
    expected = [item.split(delimiter, -1 if maxsplit is None else maxsplit) for item in x.tolist()]
    width = max(map(len, expected))
    for parts, counts in both_ways("StringSplit", x, 2, **attributes):
        assert counts.tolist() == [len(item) for item in expected]
        assert parts.tolist() == [item + [""] * (width - len(item)) for item in expected]


def test_splitting_no_strings_gives_no_parts() -> None:
    for parts, counts in both_ways("StringSplit", np.empty((0, 2), dtype=object), 2, delimiter=","):
        assert parts.shape[:2] == (0, 2)
        assert counts.shape == (0, 2)


def test_stop_words_go_in_any_case_unless_case_counts() -> None:
    x = words("The", "Äpfel", "the", "END")
    for (kept,) in both_ways("StringNormalizer", x, stopwords=["THE"], case_change_action="LOWER"):
        assert kept.tolist() == ["äpfel", "end"]
    for (kept,) in both_ways("StringNormalizer", x, stopwords=["the"], is_case_sensitive=1):
        assert kept.tolist() == ["The", "Äpfel", "END"]
    for (kept,) in both_ways("StringNormalizer", x[None, :1], stopwords=["the"]):
        assert kept.tolist() == [[""]]


def test_a_pattern_matches_the_whole_string() -> None:
    for (matches,) in both_ways("RegexFullMatch", words("ab12", "ab12 ", "é1"), pattern=r"\pL+\d+"):
        assert matches.tolist() == [True, False, True]


def grams_counted(row: list[Any], pool: list[tuple[Any, ...]], skips: int) -> list[int]:
    """How often each n-gram of the pool is in the row, counted one by one."""
    counts = []
    for gram in pool:
        total = 0
        for stride in range(1, (skips if len(gram) > 1 else 0) + 2):
            last = len(row) - (len(gram) - 1) * stride
            total += sum(tuple(row[i : i + len(gram) * stride : stride]) == gram for i in range(max(last, 0)))
        counts.append(total)
    return counts


@pytest.mark.parametrize(("strings", "skips"), [(False, 2), (True, 0)])
def test_n_grams_are_counted_and_weighted(strings: bool, skips: int) -> None:
    rng = np.random.default_rng(skips)
    x = rng.integers(0, 4, size=(5, 12))
    pool = [(0,), (3,), (0, 1), (1, 2), (2, 2), (0, 1, 2), (3, 3, 0)]
    flat = [word for gram in pool for word in gram]
    indexes = [4, 0, 6, 1, 2, 3, 5]
    weights = rng.random(size=7).astype(np.float32)
    named = {"pool_strings": [str(word) for word in flat]} if strings else {"pool_int64s": flat}
    given = np.array([[str(item) for item in row] for row in x.tolist()], dtype=object) if strings else x
    counts = np.zeros((5, 7), np.float32)
    scales = np.ones(7, np.float32)
    scales[indexes] = weights
    for row in range(5):
        counts[row, indexes] = grams_counted(x[row].tolist(), pool, skips)
    for mode, expected in {"TF": counts, "IDF": (counts > 0) * scales, "TFIDF": counts * scales}.items():
        for (made,) in both_ways(
            "TfIdfVectorizer",
            given,
            mode=mode,
            min_gram_length=1,
            max_gram_length=3,
            max_skip_count=skips,
            ngram_counts=[0, 2, 8],
            ngram_indexes=indexes,
            weights=weights.tolist(),
            **named,
        ):
            np.testing.assert_allclose(made, expected, rtol=1e-6)


def test_positions_are_those_of_the_last_equal_element_and_nan_is_one() -> None:
    listed = np.array([np.inf, np.nan, 2.0, np.nan, 2.0], np.float32)
    x = tf.constant([2.0, np.nan, np.inf, 5.0, -np.inf])
    assert positions_in(x, listed).numpy().tolist() == [4, 3, 0, -1, -1]
    assert positions_in(tf.constant([["b"], ["z"]]), words("a", "b", "b")).numpy().tolist() == [[2], [-1]]
    assert positions_in(x, np.array([], np.float32)).numpy().tolist() == [-1] * 5
