"""An ONNX file's bytes -> its graph and its weights apart, so that the weights stay where the file is mapped.

Parsing a `ModelProto` copies every initialiser out of the file. Here the two are cut apart on the wire first: protobuf
parses the graph alone, and each big initialiser is a view of the map. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from modelzoo.checkpoints.damage import Damage
from modelzoo.checkpoints.wire import FIXED32, FIXED64, LENGTH, VARINT, fields, pack_field, pack_varint

__all__ = ["attach_weights", "split_weights"]

_GRAPH, _INITIALIZER = 7, 5  # ModelProto.graph, GraphProto.initializer
_DIMS, _TYPE, _FLOATS, _NAME, _RAW, _EXTERNAL = 1, 2, 4, 8, 9, 13  # of TensorProto

#: Initialisers below this many bytes are left to protobuf.
_BIG = 4096

_TYPES = {
    onnx.TensorProto.FLOAT: "<f4",
    onnx.TensorProto.UINT8: "u1",
    onnx.TensorProto.INT8: "i1",
    onnx.TensorProto.UINT16: "<u2",
    onnx.TensorProto.INT16: "<i2",
    onnx.TensorProto.INT32: "<i4",
    onnx.TensorProto.INT64: "<i8",
    onnx.TensorProto.FLOAT16: "<f2",
    onnx.TensorProto.DOUBLE: "<f8",
    onnx.TensorProto.UINT32: "<u4",
    onnx.TensorProto.UINT64: "<u8",
}


def split_weights(data: memoryview) -> tuple[bytes, dict[str, np.ndarray]]:
    """Cut the big initialisers out of a serialised `ModelProto`.

    Args:
        data: the file.

    Returns:
        The bytes of the same model, its big initialisers without values, and these values by name, as views of `data`.

    Raises:
        Damage: the bytes are no protocol buffer.
    """
    kept: list[bytes | memoryview] = []
    arrays: dict[str, np.ndarray] = {}
    for number, kind, value in fields(data):
        if number == _GRAPH and kind == LENGTH:
            graph, found = _split_graph(memoryview(value))  # type: ignore[arg-type]
            kept += [pack_varint(number << 3 | kind), pack_varint(len(graph)), graph]
            arrays.update(found)
        else:
            kept += _again(number, kind, value)
    return b"".join(kept), arrays


def _split_graph(data: memoryview) -> tuple[bytes, dict[str, np.ndarray]]:
    kept: list[bytes | memoryview] = []
    arrays: dict[str, np.ndarray] = {}
    names: Counter[str] = Counter()
    for number, kind, value in fields(data):
        if number == _INITIALIZER and kind == LENGTH and len(value) >= _BIG:  # type: ignore[arg-type]
            found = _split_tensor(memoryview(value))  # type: ignore[arg-type]
            names[found[0] if found else ""] += 1
            # Two initialisers of one name contradict each other: the parser shall see both.
            if found is not None and names[found[0]] == 1:
                name, rest, array = found
                arrays[name] = array
                kept.append(pack_field(number, rest))
                continue
        kept += _again(number, kind, value)
    return b"".join(kept), arrays


def _split_tensor(data: memoryview) -> tuple[str, bytes, np.ndarray] | None:
    """(name, the tensor without values, values), or None for one that is not plain numbers in one piece."""
    kept: list[bytes | memoryview] = []
    dims: list[int] = []
    kind_of_data, name = 0, ""
    raw: memoryview | None = None
    floats: memoryview | None = None
    for number, kind, value in fields(data):
        if number == _RAW and kind == LENGTH and raw is None:
            raw = memoryview(value)  # type: ignore[arg-type]
            continue
        if number == _FLOATS and kind == LENGTH and floats is None:
            floats = memoryview(value)  # type: ignore[arg-type]
            continue
        if number in (_RAW, _FLOATS, _EXTERNAL) or (number == _DIMS and kind != VARINT):
            return None
        if number == _DIMS:
            dims.append(int(value))
        elif number == _TYPE and kind == VARINT:
            kind_of_data = int(value)
        elif number == _NAME and kind == LENGTH:
            name = bytes(value).decode("utf-8", "replace")
        kept += _again(number, kind, value)
    values = raw if raw is not None else floats
    dtype = _TYPES.get(kind_of_data)
    if values is None or dtype is None or not name or (raw is not None and floats is not None):
        return None
    if raw is None and kind_of_data != onnx.TensorProto.FLOAT:
        return None
    count = 1
    for size in dims:
        count *= size
    if count * np.dtype(dtype).itemsize != len(values):
        return None
    return name, b"".join(kept), np.frombuffer(values, dtype).reshape(dims)


def _again(number: int, kind: int, value: Any) -> list[bytes | memoryview]:
    """The bytes of one field."""
    tag = pack_varint(number << 3 | kind)
    if kind == VARINT:
        return [tag, pack_varint(value)]
    if kind in (FIXED32, FIXED64):
        return [tag, value]
    return [tag, pack_varint(len(value)), value]


def attach_weights(model: ir.Model, arrays: dict[str, np.ndarray]) -> None:
    """Give the initialisers that `split_weights` emptied their values."""
    for name, array in arrays.items():
        value = model.graph.initializers.get(name)
        if value is None:
            raise Damage(f"the initialiser {name!r} is lost")
        old = value.const_value
        value.const_value = ir.Tensor(array, name=name, doc_string=None if old is None else old.doc_string)
