"""TensorFlow V1 checkpoints: one table, or several shards of one table each, that hold names, shapes and values.

The empty key holds a SavedTensorSlices message that lists every tensor with its type, shape and slices; the key of
each slice holds another, with its values. Messages: tensorflow/core/util/saved_tensor_slice.proto.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modelzoo.checkpoints.checkpoint import Checkpoint, tensor_info
from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.slices import assemble
from modelzoo.checkpoints.table import Table
from modelzoo.checkpoints.tf_types import STRING, DataType, Extent, data_type, parse_shape, parse_slice, slice_key
from modelzoo.checkpoints.wire import FIXED32, FIXED64, LENGTH, VARINT, fields, unpack_varints

__all__ = ["TensorFlowV1Checkpoint"]


@dataclass
class _Tensor:
    name: bytes
    type: DataType
    shape: tuple[int, ...]
    slices: list[tuple[Extent, ...]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)  # beside `slices`: where each lies


class TensorFlowV1Checkpoint(Checkpoint):
    """A V1 checkpoint.

    Args:
        path: the file, or the prefix of sharded files.
        files: the file itself, or all shards.
    """

    format = "tf-v1"

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        self.path = path
        self._tensors: dict[str, _Tensor] = {}
        self._files = [MappedFile(file) for file in files]
        for mapped in self._files:
            with damage_in(mapped.path):
                self._add(Table(mapped))
        self.entries = {name: tensor_info(tensor.type.name, tensor.shape) for name, tensor in self._tensors.items()}

    def close(self) -> None:
        for mapped in self._files:
            mapped.close()

    def _add(self, table: Table) -> None:
        """Take in the list of tensors of one table."""
        listing = table.get(b"")
        if listing is None:
            raise Damage("the table has no list of tensors: not a V1 checkpoint")
        for number, kind, meta in fields(bytes(listing)):
            if number == 1 and kind == VARINT:
                raise Damage("the index of a V2 checkpoint, whose name has to end in .index")
            if number != 1 or kind != LENGTH:
                continue
            assert not isinstance(meta, int)
            for inner, inner_kind, message in fields(meta):
                if inner != 1 or inner_kind != LENGTH:
                    continue
                assert not isinstance(message, int)
                tensor = _parse_tensor(message)
                try:
                    name = tensor.name.decode()
                except UnicodeDecodeError:
                    raise Damage(f"a tensor's name is not UTF-8: {tensor.name!r}") from None
                known = self._tensors.setdefault(name, _Tensor(tensor.name, tensor.type, tensor.shape))
                if (known.type, known.shape) != (tensor.type, tensor.shape):
                    raise Damage(f"tensor {name!r} is listed with two different types or shapes")
                known.slices += tensor.slices
                known.tables += [table] * len(tensor.slices)

    def _read(self, name: str) -> np.ndarray:
        self._files[0].require_open()  # blocks that were read before would still be there
        tensor = self._tensors[name]
        tables = dict(zip(tensor.slices, tensor.tables, strict=True))
        with damage_in(self.path, name):
            if len(tables) != len(tensor.slices):
                raise Damage("the same slice is listed twice")

            def read(extents: tuple[Extent, ...], shape: tuple[int, ...]) -> np.ndarray:
                with damage_in(tables[extents].file.path, name):
                    return _read_slice(tables[extents], tensor, extents).reshape(shape)

            return assemble(tensor.shape, tensor.type.dtype, tensor.slices, read)


def _parse_tensor(message: bytes | memoryview) -> _Tensor:
    """One SavedSliceMeta."""
    name: bytes | None = None
    shape: tuple[int, ...] = ()
    number_of_type = 0
    slices = []
    for number, kind, value in fields(message):
        if kind == VARINT and number == 3:
            assert isinstance(value, int)
            number_of_type = value
        elif kind == LENGTH:
            assert not isinstance(value, int)
            if number == 1:
                name = bytes(value)
            elif number == 2:
                shape = parse_shape(bytes(value))
            elif number == 4:
                slices.append(parse_slice(bytes(value)))
    if not name:
        raise Damage("a tensor is listed without a name")
    return _Tensor(name, data_type(number_of_type), shape, slices)


def _read_slice(table: Table, tensor: _Tensor, extents: tuple[Extent, ...]) -> np.ndarray:
    """Values of one slice, flat."""
    stored = table.get(slice_key(tensor.name, extents))
    if stored is None:
        raise Damage("the file lists this tensor but does not hold it")
    count = math.prod(
        size - extent.start if extent.length is None else extent.length
        for size, extent in zip(tensor.shape, extents, strict=True)
    )
    for number, kind, saved in fields(stored):
        if number != 2 or kind != LENGTH:
            continue
        assert not isinstance(saved, int)
        proto: bytes | memoryview = b""
        for inner, inner_kind, value in fields(saved):
            if inner_kind != LENGTH:
                continue
            assert not isinstance(value, int)
            if (inner == 1 and value != tensor.name) or (inner == 2 and parse_slice(bytes(value)) != extents):
                raise Damage("another tensor's values are stored under its key")
            if inner == 3:
                proto = value
        values = _values(proto, tensor.type)
        if values.size != count:
            raise Damage(f"it has {values.size} values where its shape needs {count}")
        return values
    raise Damage("its entry holds no values")


def _values(proto: bytes | memoryview, type_: DataType) -> np.ndarray:
    """The values of a TensorProto: of the field that belongs to the type, packed or not, or of `tensor_content`."""
    pieces: list[np.ndarray] = []
    strings: list[bytes] = []
    dtype = type_.dtype
    for number, kind, value in fields(proto):
        if number == 4 and kind == LENGTH and type_.number != STRING and len(value):  # type: ignore[arg-type]
            pieces.append(_plain(value, dtype))  # type: ignore[arg-type]
        elif number != type_.proto_field:
            continue
        elif type_.number == STRING:
            if kind != LENGTH:
                raise Damage("a string is stored as a number")
            strings.append(bytes(value))
        elif dtype.kind in "fc" and dtype.itemsize > 2:
            # Complex numbers are pairs; unpacked, each half is a field of its own.
            half = np.dtype(f"<f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
            if kind not in (LENGTH, FIXED32 if half.itemsize == 4 else FIXED64):
                raise Damage("its values have the wire type of another data type")
            pieces.append(_plain(value, half))  # type: ignore[arg-type]
        elif kind == VARINT:
            pieces.append(_narrow(np.array([value], dtype=np.uint64), dtype))
        elif kind == LENGTH and type_.proto_field == 18:
            pieces.append(_plain(value, dtype))  # type: ignore[arg-type]
        elif kind == LENGTH:
            pieces.append(_narrow(unpack_varints(value), dtype))  # type: ignore[arg-type]
        else:
            raise Damage("its values have the wire type of another data type")
    if type_.number == STRING:
        array = np.empty(len(strings), dtype=object)
        array[:] = strings
        return array
    if not pieces:
        return np.empty(0, dtype=dtype)
    joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    if joined.dtype != dtype:
        if joined.size % 2:
            raise Damage("a complex number lacks its imaginary half")
        joined = joined.view(dtype)
    return joined


def _plain(stored: bytes | memoryview, dtype: np.dtype) -> np.ndarray:
    if len(stored) % dtype.itemsize:
        raise Damage(f"{len(stored)} bytes are no whole number of {dtype} values")
    return np.frombuffer(stored, dtype=dtype)


def _narrow(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Varint values as the type they stand for: a bit pattern for 16-bit floats, else the lowest bits."""
    if dtype.kind == "b":
        return values != 0
    if dtype.itemsize == 2 and dtype.kind not in "iu":
        return values.astype(np.uint16).view(dtype)
    return values.astype(dtype)
