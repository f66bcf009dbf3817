"""Caffe's `.caffemodel`: one NetParameter message whose layers hold their learned arrays.

Field numbers: BVLC Caffe, src/caffe/proto/caffe.proto. The three formats of layers (2013, 2014, 2015), both ways of
writing numbers (packed, one field each) and NVIDIA's raw values of half precision are read; no protobuf is needed, and
no value is looked at before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modelzoo.checkpoints.checkpoint import Checkpoint, tensor_info
from modelzoo.checkpoints.damage import Damage, damage_in
from modelzoo.checkpoints.mapped_file import MappedFile
from modelzoo.checkpoints.tf_types import element_count
from modelzoo.checkpoints.wire import FIXED32, FIXED64, LENGTH, VARINT, fields, pack_varint, read_varint, signed

__all__ = ["CaffemodelCheckpoint", "looks_like_caffemodel"]

_NET_NAME, _NET_V1_LAYER, _NET_LAYER = 1, 2, 100


class _Layout(NamedTuple):
    """Field numbers of one format of layers."""

    name: int
    blobs: int
    texts: frozenset[int]  # fields that are texts
    inner: int | None = None  # the older layer inside


_V2 = _Layout(1, 7, frozenset([1, 2, 3, 4]))
_V1 = _Layout(4, 6, frozenset([2, 3, 4]), inner=1)
_V0 = _Layout(1, 50, frozenset([1, 2]))

#: fields of BlobProto
_LEGACY = {1: 0, 2: 1, 3: 2, 4: 3}  # num, channels, height, width -> position in the shape
_DATA, _DIFF, _SHAPE, _DOUBLE_DATA, _DOUBLE_DIFF = 5, 6, 7, 8, 9
_RAW_TYPE, _RAW_DATA = 10, 12  # NVIDIA's
_RAW_DTYPES = {0: "<f8", 1: "<f4", 2: "<f2"}
_WIDTHS = {_DATA: 4, _DIFF: 4, _DOUBLE_DATA: 8, _DOUBLE_DIFF: 8}
_KINDS = {4: FIXED32, 8: FIXED64}

# No network comes near these; a damaged or hostile file must not take minutes or gigabytes.
_MOST_FIELDS = 1 << 20
_MOST_BLOBS = 1 << 17
_MOST_PIECES = 1 << 10  # of one blob's values
_LARGEST_RANK = 32  # Caffe's own limit
_BLOCK = 1 << 20


class _Piece(NamedTuple):
    """Values that lie at equal distances."""

    data: memoryview
    offset: int
    stride: int
    number: int

    def array(self, dtype: str) -> np.ndarray:
        return np.ndarray((self.number,), dtype, self.data, self.offset, (self.stride,))


@dataclass
class _Blob:
    shape: tuple[int, ...] = ()
    dtype: str = "<f4"
    pieces: list[_Piece] = field(default_factory=list)
    is_legacy: bool = False


class CaffemodelCheckpoint(Checkpoint):
    """A `.caffemodel` file, arrays by layer and number: `conv1/0` (weights), `conv1/1` (bias).

    Arrays are float32, as Caffe reads them: views of the file, except those that it stores in another precision or
    number by number. A blob of before 2014 has four axes, `(num, channels, height, width)`. Of two layers of one name
    the later one counts.

    Attributes:
        layers: name of each layer -> how many arrays the file has for it, which may be none; in the order of the file.
        legacy: names of the arrays of before 2014, whose first axes of one element may be there for want of `shape`.
    """

    format = "caffemodel"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = MappedFile(path)
        self._blobs: dict[str, _Blob] = {}
        self._left = _MOST_FIELDS
        self.layers: dict[str, int] = {}
        with damage_in(path):
            self._whole = self._file.window(0, self._file.size, "the file")
            for layout, data in self._layers():
                self._take_layer(layout, data)
            if not self.layers:
                raise Damage("no layer is in it")
        self.legacy = frozenset(name for name, blob in self._blobs.items() if blob.is_legacy)
        self.entries = {name: tensor_info("float32", blob.shape) for name, blob in self._blobs.items()}

    @property
    def architecture(self) -> bytes:
        """The NetParameter without any blob, serialized: what the file says of the network itself."""
        self._file.require_open()
        self._left = _MOST_FIELDS
        with damage_in(self.path):
            return b"".join(_without_blobs(self._whole, self._fields))

    def _fields(self, data: memoryview) -> Iterator[tuple[int, int, Any]]:
        for item in fields(data):
            self._count_field()
            yield item

    def _count_field(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Damage(f"more than {_MOST_FIELDS} fields are in it")

    def _layers(self) -> Iterator[tuple[_Layout, memoryview]]:
        for number, kind, value in self._fields(self._whole):
            if kind == LENGTH and number in (_NET_LAYER, _NET_V1_LAYER):
                yield (_V2 if number == _NET_LAYER else _V1), value

    def _take_layer(self, layout: _Layout, data: memoryview) -> None:
        name, inner = "", None
        blobs: list[memoryview] = []
        for number, kind, value in self._fields(data):
            if kind != LENGTH:
                continue
            if number == layout.name:
                name = _text(value)
            elif number == layout.blobs:
                if len(self._blobs) + len(blobs) >= _MOST_BLOBS:
                    raise Damage(f"more than {_MOST_BLOBS} arrays are in it")
                blobs.append(value)
            elif number == layout.inner:
                inner = value
        if inner is not None:  # the oldest format: all but the connections is inside
            self._take_layer(_V0, inner)
            return
        if not blobs and self.layers.get(name):
            return
        for index, blob in enumerate(blobs):
            self._blobs[f"{name}/{index}"] = self._blob(blob, f"layer {name!r}, array {index}")
        for index in range(len(blobs), self.layers.get(name, 0)):
            del self._blobs[f"{name}/{index}"]
        self.layers.pop(name, None)
        self.layers[name] = len(blobs)

    def _blob(self, data: memoryview, what: str) -> _Blob:
        """One BlobProto, its values left where they are."""
        shape: list[int] = []
        legacy: list[int] = [0, 0, 0, 0]
        is_legacy = False
        pieces: dict[int, list[_Piece]] = {}
        raw, raw_dtype = None, _RAW_DTYPES[0]
        position = 0
        while position < len(data):
            self._count_field()
            start = position
            tag, position = read_varint(data, position)
            number, kind = tag >> 3, tag & 7
            width = _WIDTHS.get(number)
            if width is not None and kind == _KINDS[width] and position == start + 1:
                piece = _run(data, start, width)
                position = start + piece.number * piece.stride
                _keep(pieces.setdefault(number, []), piece, what)
                continue
            if kind == VARINT:
                value, position = read_varint(data, position)
                if number in _LEGACY:
                    legacy[_LEGACY[number]] = signed(value)
                    is_legacy = True
                elif number == _RAW_TYPE:
                    if value not in _RAW_DTYPES:
                        raise Damage(f"{what}: its raw values are of the unknown type {value}")
                    raw_dtype = _RAW_DTYPES[value]
                continue
            if kind == LENGTH:
                size, position = read_varint(data, position)
            elif kind in (FIXED32, FIXED64):
                size = 4 if kind == FIXED32 else 8
            else:
                raise Damage(f"{what}: a field of wire type {kind}")
            if number == 0 or size > len(data) - position:
                raise Damage(f"{what}: a field is longer than its message")
            content = data[position : position + size]
            position += size
            if width is not None and kind == LENGTH:
                if size % width:
                    raise Damage(f"{what}: {size} bytes are no numbers of {width} bytes")
                _keep(pieces.setdefault(number, []), _Piece(content, 0, width, size // width), what)
            elif number == _SHAPE and kind == LENGTH:
                shape += _dimensions(content)
                if len(shape) > _LARGEST_RANK:
                    raise Damage(f"{what}: more than {_LARGEST_RANK} axes")
            elif number == _RAW_DATA and kind == LENGTH:
                raw = content
        blob = _Blob(tuple(legacy if is_legacy else shape), is_legacy=is_legacy)
        # As in Caffe, double precision goes before single, should both be there.
        if pieces.get(_DOUBLE_DATA):
            blob.dtype, blob.pieces = "<f8", pieces[_DOUBLE_DATA]
        elif pieces.get(_DATA):
            blob.pieces = pieces[_DATA]
        elif raw:
            blob.dtype, width = raw_dtype, int(raw_dtype[-1])
            if len(raw) % width:
                raise Damage(f"{what}: {len(raw)} bytes are no numbers of {width} bytes")
            blob.pieces = [_Piece(raw, 0, width, len(raw) // width)]
        count = sum(piece.number for piece in blob.pieces)
        if any(size < 0 for size in blob.shape) or count != element_count(blob.shape):
            raise Damage(f"{what}: {count} values do not make the shape {list(blob.shape)}")
        return blob

    def _read(self, name: str) -> np.ndarray:
        self._file.require_open()
        blob = self._blobs[name]
        arrays = [piece.array(blob.dtype) for piece in blob.pieces] or [np.empty(0, np.float32)]
        flat = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        # NumPy's conversions copy what is not aligned, even if nothing is to be converted.
        if flat.dtype != np.float32 or not flat.flags.c_contiguous:
            with np.errstate(over="ignore"):
                flat = flat.astype(np.float32)
        return flat.reshape(blob.shape)

    def close(self) -> None:
        self._blobs = {}
        self._whole = memoryview(b"")
        self._file.close()


def _keep(pieces: list[_Piece], piece: _Piece, what: str) -> None:
    if len(pieces) >= _MOST_PIECES:
        raise Damage(f"{what}: its values are in more than {_MOST_PIECES} pieces")
    if piece.number:
        pieces.append(piece)


def _text(data: memoryview) -> str:
    """A name, which is UTF-8, except in old files."""
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError:
        return bytes(data).decode("latin-1")


def _run(data: memoryview, start: int, width: int) -> _Piece:
    """Values that are a field each, from `start` on: as many as follow each other without another field between."""
    stride = 1 + width
    most = (len(data) - start) // stride
    if not most:
        raise Damage("a field is longer than its message")
    rows = np.frombuffer(data, np.uint8)[start : start + most * stride].reshape(most, stride)[:, 0]
    count = 0
    while count < most:
        other = np.flatnonzero(rows[count : count + _BLOCK] != data[start])
        if other.size:
            count += int(other[0])
            break
        count += len(rows[count : count + _BLOCK])
    return _Piece(data, start + 1, stride, count)


def _dimensions(data: memoryview) -> list[int]:
    """`dim` (field 1) of a BlobShape, packed or not; too many are cut off."""
    sizes: list[int] = []
    for number, kind, value in fields(data):
        if number != 1:
            continue
        if isinstance(value, int):
            sizes.append(signed(value))
        elif kind == LENGTH:
            position = 0
            while position < len(value):
                size, position = read_varint(value, position)
                sizes.append(signed(size))
                if len(sizes) > _LARGEST_RANK:
                    return sizes
        if len(sizes) > _LARGEST_RANK:
            break
    return sizes


_Walk = Callable[[memoryview], Iterator[tuple[int, int, Any]]]


def _without_blobs(net: memoryview, walk: _Walk) -> Iterator[bytes]:
    """The fields of a NetParameter, blobs cut out of its layers."""
    for number, kind, value in walk(net):
        if kind == LENGTH and number == _NET_LAYER:
            value = b"".join(_fields_but(value, _V2.blobs, walk))
        elif kind == LENGTH and number == _NET_V1_LAYER:
            parts = []
            for inner_number, inner_kind, inner in walk(value):
                if inner_kind == LENGTH and inner_number == _V1.inner:
                    inner = b"".join(_fields_but(inner, _V0.blobs, walk))
                if inner_number != _V1.blobs:
                    parts.append(_packed(inner_number, inner_kind, inner))
            value = b"".join(parts)
        yield _packed(number, kind, value)


def _fields_but(message: memoryview, left_out: int, walk: _Walk) -> Iterator[bytes]:
    for number, kind, value in walk(message):
        if number != left_out:
            yield _packed(number, kind, value)


def _packed(number: int, kind: int, value: int | bytes | memoryview) -> bytes:
    tag = pack_varint(number << 3 | kind)
    if isinstance(value, int):
        return tag + pack_varint(value)
    return tag + (pack_varint(len(value)) if kind == LENGTH else b"") + bytes(value)


# ---- telling a caffemodel by its bytes ----

_NET_KINDS = {1: LENGTH, 3: LENGTH, 5: VARINT, 6: LENGTH, 7: VARINT, 8: LENGTH}


def looks_like_caffemodel(start: bytes, size: int) -> bool:
    """Whether a file begins like a NetParameter: fields of its own up to the first layer, which begins like a layer.

    Args:
        start: its first bytes, or all of them.
        size: of the file.
    """
    data = memoryview(start)
    position = 0
    seen_name = False
    try:
        while position < len(data):
            tag, position = read_varint(data, position)
            number, kind = tag >> 3, tag & 7
            if number in (_NET_LAYER, _NET_V1_LAYER) and kind == LENGTH:
                length, position = read_varint(data, position)
                layout = _V2 if number == _NET_LAYER else _V1
                return 0 < length <= size - position and _begins_like_layer(data[position : position + length], layout)
            if kind != _NET_KINDS.get(number, kind) or number not in (*_NET_KINDS, 4) or kind not in (VARINT, LENGTH):
                return False
            length, position = read_varint(data, position)
            if kind == LENGTH:
                if number == _NET_NAME and (seen_name or not _is_name(data[position : position + length])):
                    return False
                seen_name = seen_name or number == _NET_NAME
                position += length
    except Damage:
        return False
    return False


def _begins_like_layer(data: memoryview, layout: _Layout) -> bool:
    """Whether the first field is one that a layer begins with: its name, type or connections."""
    tag, position = read_varint(data, 0)
    number, kind = tag >> 3, tag & 7
    if kind != LENGTH:
        return layout is _V1 and number == 5 and kind == VARINT
    length, position = read_varint(data, position)
    inside = data[position : position + length]
    if number == layout.inner:
        return length > 0 and _begins_like_layer(inside, _V0)
    return number in layout.texts and _is_name(inside)


def _is_name(data: memoryview) -> bool:
    return all(byte >= 32 and byte != 127 for byte in data[:200])
