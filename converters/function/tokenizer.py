"""`com.microsoft.Tokenizer`: strings to rows of words or characters, as scikit-learn's text models are exported.

Specification: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

import tensorflow as tf

from converters.function.table import Tensor, op

__all__: list[str] = []

#: Two of Unicode's noncharacters, which are for a program's own use and in no text, mark where words begin and end.
_BEGIN, _END = "\U0010fffe", "\U0010ffff"


def _found(texts: tf.Tensor, expression: str) -> tf.RaggedTensor:
    """What of each text the expression finds, from left to right."""
    marked = tf.strings.regex_replace(texts, expression, f"{_BEGIN}\\0{_END}")
    parts = tf.strings.split(marked, _BEGIN)[:, 1:]
    return parts.with_values(tf.strings.regex_replace(parts.values, f"(?s){_END}.*", ""))


def _between(texts: tf.Tensor, separators: list[str]) -> tf.RaggedTensor:
    """What of each text lies between separators, each an expression."""
    marked = texts
    for separator in separators:
        marked = tf.strings.regex_replace(marked, separator, _BEGIN)
    return tf.strings.split(marked, _BEGIN)


@op("Tokenizer", domain="com.microsoft")
def tokenizer(
    x: Tensor,
    *,
    mark: int,
    mincharnum: int,
    pad_value: str,
    separators: list[str] | None = None,
    tokenexp: str | None = None,
) -> Tensor:
    if (separators is None) == (tokenexp is None):
        raise ValueError("a tokenizer has either separators or an expression for its tokens")
    texts = tf.reshape(x, (-1,))
    if separators == [""]:
        rows = tf.strings.unicode_split(texts, "UTF-8")
    else:
        rows = _found(texts, tokenexp) if tokenexp is not None else _between(texts, separators or [])
        rows = tf.ragged.boolean_mask(rows, tf.strings.length(rows, "UTF8_CHAR") >= mincharnum)
    found = tf.size(rows.values) > 0
    if mark:
        first = tf.fill([tf.size(texts), 1], "\x02")
        rows = tf.concat([first, rows, tf.fill([tf.size(texts), 1], "\x03")], 1)
    table = rows.to_tensor(default_value=pad_value)
    # Where no text has a word there are no columns at all, not even the marks.
    table = table[:, : tf.where(found, tf.shape(table)[1], 0)]
    shaped = tf.reshape(table, tf.concat([tf.shape(x), tf.shape(table)[1:]], 0))
    return tf.ensure_shape(shaped, [*x.shape, None])
