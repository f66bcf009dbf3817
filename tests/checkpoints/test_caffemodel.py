"""Caffe's weight files: layers of three formats, numbers written in several ways, damage."""

import mmap
import resource
import struct

import numpy as np
import pytest

from modelzoo.checkpoints import open_checkpoint
from modelzoo.checkpoints.wire import pack_field, pack_varint
from modelzoo.errors import CheckpointError, CheckpointFormatError
from tests.data_folder import DATA, needs_data

ARRAY = np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1) / 7
_TAGS = {"<f4": (5, 5), "<f8": (8, 1)}  # dtype -> field number, wire type of a single value


def shape_field(shape, *, packed=True):
    if packed:
        return pack_field(7, pack_field(1, b"".join(pack_varint(size) for size in shape)))
    return pack_field(7, b"".join(pack_field(1, size) for size in shape))


def legacy_shape(shape):
    return b"".join(pack_field(number, size) for number, size in zip((1, 2, 3, 4), shape, strict=True))


def values(array, dtype="<f4", *, packed=True):
    number, kind = _TAGS[dtype]
    flat = array.astype(dtype).ravel()
    if packed:
        return pack_field(number, flat.tobytes())
    return b"".join(bytes([number << 3 | kind]) + value.tobytes() for value in flat)


def v2_layer(name, *blobs):
    return pack_field(100, pack_field(1, name) + pack_field(2, b"Some") + b"".join(pack_field(7, one) for one in blobs))


def v1_layer(name, *blobs):
    return pack_field(2, pack_field(2, b"x") + pack_field(4, name) + b"".join(pack_field(6, one) for one in blobs))


def v0_layer(name, *blobs):
    inner = pack_field(1, name) + pack_field(2, b"conv") + b"".join(pack_field(50, one) for one in blobs)
    return pack_field(2, pack_field(1, inner) + pack_field(2, b"x") + pack_field(3, b"y"))


@pytest.fixture
def write(tmp_path):
    def writer(*layers, name="weights"):
        path = tmp_path / name
        path.write_bytes(pack_field(1, b"net") + b"".join(layers))
        return path

    return writer


BLOB = shape_field(ARRAY.shape) + values(ARRAY)


@pytest.mark.parametrize("layer", [v0_layer, v1_layer, v2_layer])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("shape", [legacy_shape, shape_field, lambda shape: shape_field(shape, packed=False)])
def test_layers_shapes_and_values_of_every_kind(write, layer, packed, dtype, shape):
    blob = shape(ARRAY.shape) + values(ARRAY, dtype, packed=packed)
    with open_checkpoint(write(layer(b"a/b", blob, blob), layer(b"empty"))) as checkpoint:
        assert checkpoint.format == "caffemodel"
        assert list(checkpoint) == ["a/b/0", "a/b/1"]
        assert checkpoint.layers == {"a/b": 2, "empty": 0}
        assert checkpoint.entries["a/b/0"].shape == ARRAY.shape
        assert checkpoint.entries["a/b/0"].dtype == "float32"
        assert bool(checkpoint.legacy) == (shape is legacy_shape)
        found = checkpoint["a/b/1"]
    assert found.dtype == np.float32 and not found.flags.writeable
    np.testing.assert_array_equal(found, ARRAY)


def test_packed_floats_are_a_view_of_the_file(write):
    with open_checkpoint(write(v2_layer(b"a", BLOB))) as checkpoint:
        array = checkpoint["a/0"]
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)
    np.testing.assert_array_equal(array, ARRAY)


def test_what_stands_around_the_values(write):
    diff = pack_field(6, ARRAY.tobytes())
    unpacked_diff = b"".join(b"\x35" + value.tobytes() for value in ARRAY.ravel())
    half = values(ARRAY.ravel()[:10]), values(ARRAY.ravel()[10:], packed=False)
    blob = diff + half[0] + unpacked_diff + pack_field(99, b"?") + shape_field(ARRAY.shape) + half[1] + diff
    with open_checkpoint(write(pack_field(5, 1), v2_layer(b"a", blob), pack_field(7, 1))) as checkpoint:
        np.testing.assert_array_equal(checkpoint["a/0"], ARRAY)


def test_scalars_and_empty_arrays(write):
    layer = v2_layer(
        b"a", values(ARRAY.ravel()[:1]), shape_field((0, 3)), pack_field(7, b"") + values(ARRAY.ravel()[:1])
    )
    with open_checkpoint(write(layer)) as checkpoint:
        assert [checkpoint[f"a/{index}"].shape for index in range(3)] == [(), (0, 3), ()]


@pytest.mark.parametrize(("code", "dtype"), [(0, "<f8"), (1, "<f4"), (2, "<f2")])
def test_nvidias_raw_values(write, code, dtype):
    blob = shape_field(ARRAY.shape) + pack_field(10, code) + pack_field(12, ARRAY.astype(dtype).tobytes())
    with open_checkpoint(write(v2_layer(b"a", blob))) as checkpoint:
        np.testing.assert_array_equal(checkpoint["a/0"], ARRAY.astype(dtype).astype(np.float32))


def test_of_two_layers_of_one_name_the_later_counts(write):
    other = shape_field((2,)) + values(np.ones(2))
    first, second = v2_layer(b"a", BLOB, BLOB), v2_layer(b"a", other)
    with open_checkpoint(write(first, second, v2_layer(b"a"))) as checkpoint:
        assert list(checkpoint) == ["a/0"]
        assert checkpoint.layers == {"a": 1}
        np.testing.assert_array_equal(checkpoint["a/0"], [1, 1])


def test_names_that_are_not_utf8(write):
    with open_checkpoint(write(v2_layer("é漢".encode(), BLOB), v2_layer(b"\xe9", BLOB))) as checkpoint:
        assert list(checkpoint.layers) == ["é漢", "é"]


def test_the_network_without_its_arrays(write):
    more = pack_field(101, b"\x08\x01") + bytes([0x9D, 6]) + struct.pack("<f", 1) + pack_field(10, 1)

    def bodies(name, *blobs):
        v2 = pack_field(1, name) + b"".join(pack_field(7, one) for one in blobs) + more
        v0 = pack_field(1, name) + b"".join(pack_field(50, one) for one in blobs) + pack_field(3, 7)
        return pack_field(100, v2) + pack_field(2, pack_field(1, v0) + pack_field(2, b"x")) + pack_field(3, b"data")

    with open_checkpoint(write(bodies(b"a", BLOB, BLOB))) as checkpoint:
        assert checkpoint.architecture == pack_field(1, b"net") + bodies(b"a")


# ---- told by content ----


def test_the_name_of_the_file_says_nothing(write):
    for layer in (v0_layer, v1_layer, v2_layer):
        for name in ("weights.bin", "x.onnx", "noname"):
            assert open_checkpoint(write(layer(b"a", BLOB), name=name)).format == "caffemodel"


def test_a_file_without_a_name_for_its_network(tmp_path):
    for number, layer in enumerate((v0_layer, v1_layer, v2_layer)):
        path = tmp_path / f"x{number}"
        path.write_bytes(layer(b"a", BLOB))
        assert open_checkpoint(path).format == "caffemodel"


@pytest.mark.parametrize(
    "data",
    [
        b"plain text, which is no message of any kind",
        pack_field(1, pack_field(1, b"node") + pack_field(2, b"Const")),  # a frozen TensorFlow graph
        pack_field(1, pack_field(1, b"x")) + pack_field(2, pack_field(1, pack_field(1, b"node"))),  # a MetaGraph
        pack_field(1, 8) + pack_field(2, b"pytorch") + pack_field(7, b"\x0a\x00"),  # ONNX
        pack_field(1, 1) + pack_field(2, 3) + pack_field(5, ARRAY.tobytes()),  # a mean.binaryproto
        pack_field(1, b"net") + pack_field(100, b""),
    ],
)
def test_other_messages_are_none(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(CheckpointFormatError, match="no weight file"):
        open_checkpoint(path)


# ---- damage ----


@pytest.mark.parametrize(
    ("blob", "what"),
    [
        (shape_field((4, 3)) + values(ARRAY), "24 values do not make"),
        (shape_field(ARRAY.shape), "0 values do not make"),
        (legacy_shape((1 << 31, 1 << 31, 1 << 31, 4)) + values(ARRAY), "shape"),
        (pack_field(1, -24) + pack_field(2, -1) + pack_field(3, 1) + pack_field(4, 1) + values(ARRAY), "shape"),
        (shape_field((1,) * 33) + values(np.ones(1)), "more than 32 axes"),
        (shape_field((1,), packed=False) * 40 + values(np.ones(1)), "more than 32 axes"),
        (pack_field(5, b"123"), "no numbers of 4 bytes"),
        (pack_field(12, b"123"), "no numbers of 8 bytes"),
        (pack_field(10, 9), "unknown type 9"),
        (b"\x2a\x7f1234", "longer than its message"),
        (b"\x2d12", "longer than its message"),
        (b"\x2b", "wire type 3"),
        (b"\x80", "varint"),
        (values(np.ones(1)) * 1200, "pieces"),
    ],
)
def test_damaged_arrays(write, blob, what):
    if what == "pieces":
        blob = pack_field(5, b"1234") * 1200
    with pytest.raises(CheckpointFormatError, match=what):
        open_checkpoint(write(v2_layer(b"a", blob), name="x.caffemodel"))


def test_a_closed_file(write):
    checkpoint = open_checkpoint(write(v2_layer(b"a", BLOB)))
    array = checkpoint["a/0"]
    checkpoint.close()
    np.testing.assert_array_equal(array, ARRAY)
    with pytest.raises(CheckpointError, match="closed"):
        checkpoint["a/0"]


def test_every_cut_of_a_file_is_refused_or_whole(write):
    path = write(v1_layer(b"a", BLOB), v2_layer(b"b", BLOB), name="x.caffemodel")
    data = path.read_bytes()
    whole = {len(pack_field(1, b"net") + v1_layer(b"a", BLOB))}
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        if length in whole:
            assert list(open_checkpoint(path)) == ["a/0"]
        else:
            with pytest.raises(CheckpointFormatError):
                open_checkpoint(path)


@pytest.mark.parametrize(
    ("part", "count", "wrap"),
    [
        (v2_layer(b"a"), 400_000, lambda data: data),
        (pack_field(7, b"\x2a\x00"), 400_000, lambda data: pack_field(100, pack_field(1, b"a") + data)),
        (pack_field(99, 1), 4_000_000, lambda data: pack_field(100, pack_field(1, b"a") + data)),
        (pack_field(99, 1), 4_000_000, lambda data: pack_field(100, pack_field(1, b"a") + pack_field(7, data))),
        (pack_field(5, b"1234"), 2_000_000, lambda data: pack_field(100, pack_field(1, b"a") + pack_field(7, data))),
        (b"\x08\x01", 4_000_000, lambda data: pack_field(100, pack_field(7, pack_field(7, data)))),
    ],
    ids=["layers", "arrays", "fields", "fields of an array", "pieces", "axes"],
)
@pytest.mark.timeout(60)
def test_files_of_countless_small_parts_take_neither_time_nor_memory(tmp_path, part, count, wrap):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(wrap(part * count))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointFormatError):
        open_checkpoint(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10  # KiB


def test_millions_of_values_that_are_a_field_each(tmp_path):
    array = np.arange(3_000_000, dtype="<f4")
    rows = np.empty(array.size, dtype=[("tag", "u1"), ("value", "<f4")])
    rows["tag"], rows["value"] = 5 << 3 | 5, array
    path = tmp_path / "weights"
    path.write_bytes(v2_layer(b"a", shape_field(array.shape) + rows.tobytes()))
    np.testing.assert_array_equal(open_checkpoint(path)["a/0"], array)


@needs_data
def test_protobuf_reads_the_same():
    from converters.caffe.schema import new

    assert DATA is not None
    paths = sorted(DATA.rglob("*.caffemodel"))
    assert len(paths) > 130
    for path in paths:
        net = new("NetParameter")
        net.ParseFromString(path.read_bytes())
        with open_checkpoint(path) as checkpoint:
            layers = [*net.layer, *(one.layer if one.HasField("layer") else one for one in net.layers)]
            blobs = {f"{layer.name}/{i}": blob for layer in layers for i, blob in enumerate(layer.blobs)}
            assert list(checkpoint) == list(blobs), path
            for name, blob in blobs.items():
                if blob.data or blob.double_data:  # NVIDIA's raw values are not in this description
                    np.testing.assert_array_equal(
                        checkpoint[name].ravel(), np.array(blob.double_data or blob.data, np.float32)
                    )
            lean = new("NetParameter")
            lean.ParseFromString(checkpoint.architecture)
        for layer in layers:
            layer.ClearField("blobs")
        assert lean == net, path
