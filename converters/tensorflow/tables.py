"""Lookup tables of a graph: their contents are read from its constants or its assets, and never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from converters.tensorflow.graph import FlatGraph, Node, Ref
from converters.tensorflow.plan import VARIABLES
from converters.tensorflow.reading import Source, asset_path
from converters.tensorflow.weights import static_value
from modelzoo.errors import CheckpointFormatError, ConversionError

__all__ = ["TABLES", "TABLE_FILLERS", "Table", "find_tables"]

TABLES = ("HashTable", "HashTableV2")
TABLE_FILLERS = (
    "InitializeTable", "InitializeTableV2", "LookupTableImport", "LookupTableImportV2",
    "InitializeTableFromTextFile", "InitializeTableFromTextFileV2",
)  # fmt: skip

_WHOLE_LINE, _LINE_NUMBER = -2, -1


@dataclass
class Table:
    """The contents of a table.

    Attributes:
        source: (function, node) of the table.
        keys, values: (N,), strings as bytes.
    """

    source: tuple[str, str]
    keys: np.ndarray
    values: np.ndarray

    def build(self) -> Any:
        """A `tf.lookup.StaticHashTable`; what it gives for unknown keys is the reader's to say."""
        default = b"" if self.values.dtype == object else np.zeros((), self.values.dtype)
        filler = tf.lookup.KeyValueTensorInitializer(tf.constant(self.keys), tf.constant(self.values))
        return tf.lookup.StaticHashTable(filler, tf.constant(default))


def find_tables(flat: FlatGraph, source: Source) -> dict[tuple[str, str], Table]:
    """(function, node) of each table that the graph fills -> its contents.

    Raises:
        ConversionError: a table is filled with what is computed.
        UnsafeFileError, CheckpointFormatError: see `asset_path`.
    """
    found = {}
    for node in flat.nodes.values():
        if node.op in TABLE_FILLERS and node.inputs:
            table = flat.nodes.get(flat.origin(node.inputs[0]).node)
            if table is not None and table.op in TABLES:
                found[table.source] = _contents(flat, table, node, source)
    return found


def _contents(flat: FlatGraph, table: Node, filler: Node, source: Source) -> Table:
    given = [static_value(flat, ref) for ref in filler.inputs[1:]]
    if "TextFile" in filler.op and len(given) == 1:
        ref = _assigned(flat, filler.inputs[1])
        name, value = ref.node, static_value(flat, ref)
        content = value.reshape(-1)[0] if value is not None and value.size == 1 else b""
        keys, values = _from_file(table, filler, source, name, content if isinstance(content, bytes) else b"")
    elif len(given) == 2 and given[0] is not None and given[1] is not None and given[0].size == given[1].size:
        keys, values = given[0].reshape(-1), given[1].reshape(-1)
    else:
        raise ConversionError(
            f"The table {table.name!r} is filled by {filler.name!r} ({filler.op}) with what is no constant.",
            received=", ".join(str(ref) for ref in filler.inputs[1:]),
            hint="tables are filled from constants or from a text file among the assets",
        )
    return Table(table.source, keys, values)


def _assigned(flat: FlatGraph, ref: Ref) -> Ref:
    """The constant or input that `ref` is; TensorFlow 2 keeps the path of an asset in a variable."""
    ref = flat.origin(ref)
    node = flat.nodes.get(ref.node)
    if node is None or node.op not in VARIABLES:
        return ref
    for item in flat.nodes.values():
        if item.op in ("Assign", "AssignVariableOp") and len(item.inputs) == 2 and flat.origin(item.inputs[0]) == ref:
            return flat.origin(item.inputs[1])
    return ref


def _from_file(table: Node, filler: Node, source: Source, name: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    path = asset_path(source, name, content)
    lines = path.read_bytes().splitlines()
    count = filler.attr["vocab_size"].i if "vocab_size" in filler.attr else -1
    if count > 0:
        if count > len(lines):
            raise CheckpointFormatError(
                f"The vocabulary {path.name!r} has {len(lines)} lines, {count} are needed.", hint="fetch it again"
            )
        lines = lines[:count]
    delimiter = filler.attr["delimiter"].s or b"\t" if "delimiter" in filler.attr else b"\t"
    offset = filler.attr["offset"].i if "offset" in filler.attr else 0
    columns = []
    for index_key, type_key in (("key_index", "key_dtype"), ("value_index", "value_dtype")):
        index = filler.attr[index_key].i
        dtype = tf.as_dtype(table.attr[type_key].type)
        columns.append(_column(lines, index, delimiter, dtype, path.name, offset))
    return columns[0], columns[1]


def _column(lines: list[bytes], index: int, delimiter: bytes, dtype: tf.DType, name: str, offset: int) -> np.ndarray:
    if index == _LINE_NUMBER:
        return np.arange(offset, offset + len(lines), dtype=dtype.as_numpy_dtype)
    try:
        texts = lines if index == _WHOLE_LINE else [line.split(delimiter)[index] for line in lines]
        if dtype == tf.string:
            return np.array(texts, dtype=object)
        return np.array([float(text) if dtype.is_floating else int(text) for text in texts], dtype.as_numpy_dtype)
    except (ValueError, IndexError, OverflowError) as error:
        raise CheckpointFormatError(
            f"The vocabulary {name!r} does not hold what its table reads: {error}.", hint="fetch it again"
        ) from error
