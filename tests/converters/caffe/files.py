"""Weight files and networks that tests write."""

import numpy as np

from converters.caffe.schema import new
from modelzoo.checkpoints.wire import pack_field


def blob(array, *, double=False, legacy=False):
    """The `BlobProto` of an array."""
    array = np.asarray(array, np.float64 if double else np.float32)
    made = new("BlobProto")
    (made.double_data if double else made.data).extend(array.ravel().tolist())
    if legacy:
        made.num, made.channels, made.height, made.width = (1,) * (4 - array.ndim) + array.shape
    else:
        made.shape.dim.extend(array.shape)
        made.shape.SetInParent()
    return made


def write_caffemodel(path, layers, *, name="net", types=None, **how):
    """A caffemodel of today's format with these arrays: layer -> list of arrays."""
    net = new("NetParameter", name=name)
    for layer, arrays in layers.items():
        kind = (types or {}).get(layer, "Convolution")
        net.layer.add(name=layer, type=kind, blobs=[blob(array, **how) for array in arrays])
    path.write_bytes(net.SerializeToString())
    return path


def write_prototxt(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def unpacked_blob(array, number, dtype):
    """A serialized BlobProto whose values are a field each."""
    kind = 5 if dtype == "<f4" else 1
    shape = pack_field(7, b"".join(pack_field(1, size) for size in array.shape))
    return shape + b"".join(bytes([number << 3 | kind]) + value.tobytes() for value in array.astype(dtype).ravel())
