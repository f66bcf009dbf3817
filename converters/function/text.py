"""Strings: case and stop words, joining, splitting, regular expressions, n-grams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from converters.function.lookup import positions_in
from converters.function.table import Tensor, op

__all__: list[str] = []


@op("StringNormalizer", since=10)
def string_normalizer(
    x: Tensor,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str | None = None,
    stopwords: list[str] | None = None,
) -> Tensor:
    words = tf.reshape(x, (-1,))
    if stopwords:
        stops = np.array(stopwords, dtype=object)
        if is_case_sensitive:
            kept = positions_in(words, stops) < 0
        else:
            lowered = np.array([word.lower() for word in stopwords], dtype=object)
            kept = positions_in(tf.strings.lower(words, encoding="utf-8"), lowered) < 0
        words = tf.boolean_mask(words, kept)
        # What has lost every word is one empty string.
        words = tf.cond(tf.size(words) > 0, lambda: words, lambda: tf.constant([""]))
    if case_change_action == "LOWER":
        words = tf.strings.lower(words, encoding="utf-8")
    elif case_change_action == "UPPER":
        words = tf.strings.upper(words, encoding="utf-8")
    elif case_change_action != "NONE":
        raise ValueError(f"unknown case_change_action {case_change_action!r}; known: LOWER, UPPER, NONE")
    return words[None] if x.shape.rank == 2 else words


@op("StringConcat", since=20)
def string_concat(x: Tensor, y: Tensor) -> Tensor:
    return x + y


@op("StringSplit", since=20)
def string_split(x: Tensor, *, delimiter: str | None = None, maxsplit: int | None = None) -> tuple[Tensor, Tensor]:
    parts = tf.strings.split(tf.reshape(x, (-1,)), delimiter or None, -1 if maxsplit is None else maxsplit)
    if not delimiter:
        # Between white space nothing is empty, but TensorFlow may add an empty rest after the last allowed split.
        parts = tf.ragged.boolean_mask(parts, parts != "")
    table = parts.to_tensor(default_value="")
    shape = tf.shape(x)
    padded = tf.reshape(table, tf.concat([shape, tf.shape(table)[1:]], 0))
    counts = tf.reshape(tf.cast(parts.row_lengths(), tf.int64), shape)
    return tf.ensure_shape(padded, [*x.shape, None]), tf.ensure_shape(counts, x.shape)


@op("RegexFullMatch", since=20)
def regex_full_match(x: Tensor, *, pattern: str) -> Tensor:
    return tf.strings.regex_full_match(x, pattern)


@op("TfIdfVectorizer", since=9)
def tf_idf_vectorizer(
    x: Tensor,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: list[int],
    ngram_indexes: list[int],
    pool_int64s: list[int] | None = None,
    pool_strings: list[str] | None = None,
    weights: list[float] | None = None,
) -> Tensor:
    pool = np.array(pool_strings, dtype=object) if pool_strings else np.array(pool_int64s or [], np.int64)
    grams = _Grams(pool, ngram_counts, max_gram_length)
    rows = x if x.shape.rank == 2 else x[None]
    columns = max(ngram_indexes) + 1
    tokens = positions_in(rows, grams.words)
    found = []
    for length in range(min_gram_length, max_gram_length + 1):
        for skip in range(max_skip_count + 1 if length > 1 else 1):
            found.append(grams.of(tokens, length, skip + 1))
    numbers = tf.concat(found, 1)
    indexes = np.array([*ngram_indexes, -1], np.int64)
    batch = tf.shape(rows, out_type=tf.int64)[0]
    place = tf.gather(indexes, tf.where(numbers < 0, tf.constant(len(ngram_indexes), tf.int64), numbers))
    cells = tf.where(place < 0, place, place + tf.range(batch)[:, None] * columns)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(cells, tf.float32), cells, batch * columns)
    made = tf.ensure_shape(tf.reshape(counts, tf.stack([batch, columns])), [rows.shape[0], columns])
    if mode != "TF":
        scales = np.ones(columns, np.float32)
        if weights is not None:
            scales[np.array(ngram_indexes)] = weights
        made = (tf.minimum(made, 1.0) if mode == "IDF" else made) * scales
    return made if x.shape.rank == 2 else made[0]


class _Grams:
    """The n-grams of a pool as a tree: a node is a beginning of n-grams, an edge the word that goes on.

    Attributes:
        words: the different words of the pool, (V,).
        edges: for each length from 1 on, the edges as `node * V + word`, sorted by nothing; an edge's position is
            the number of the node it leads to.
        numbers: for each length, the number of the n-gram that ends in each node, -1 where none does.
    """

    def __init__(self, pool: np.ndarray, starts: Sequence[int], longest: int) -> None:
        self.words, tokens = np.unique(pool, return_inverse=True) if pool.size else (pool, pool)
        ends = [*starts[1:], pool.size]
        self.edges: list[np.ndarray] = []
        self.numbers: list[np.ndarray] = []
        all_grams: dict[tuple[int, ...], int] = {}
        for length, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
            for at in range(start, end, length):
                all_grams[tuple(int(t) for t in tokens[at : at + length])] = len(all_grams)
        nodes: dict[tuple[int, ...], int] = {(): 0}
        for length in range(1, longest + 1):
            prefixes = sorted({gram[:length] for gram in all_grams if len(gram) >= length})
            codes = [nodes[prefix[:-1]] * len(self.words) + prefix[-1] for prefix in prefixes]
            self.edges.append(np.array(codes, np.int64))
            self.numbers.append(np.array([all_grams.get(prefix, -1) for prefix in prefixes], np.int64))
            nodes = {prefix: number for number, prefix in enumerate(prefixes)}

    def of(self, tokens: tf.Tensor, length: int, stride: int) -> tf.Tensor:
        """Number of the n-gram of this length that begins at each place of (B, C), -1 for none, (B, places)."""
        places = tf.maximum(tf.shape(tokens)[1] - (length - 1) * stride, 0)
        nodes: Any = tf.constant(0, tf.int64)
        known: Any = tf.constant(True)
        for step in range(length):
            words = tokens[:, step * stride : step * stride + places]
            codes = tf.where(known & (words >= 0), nodes * len(self.words) + words, tf.constant(-1, tf.int64))
            nodes = positions_in(codes, self.edges[step])
            known = nodes >= 0
        if self.numbers[length - 1].size == 0:
            return nodes
        ends = tf.gather(self.numbers[length - 1], tf.maximum(nodes, 0))
        return tf.where(known, ends, tf.constant(-1, tf.int64))
