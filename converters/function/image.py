"""ImageDecoder: by TensorFlow where it knows the format, else by Pillow."""

from __future__ import annotations

import io

import numpy as np
import tensorflow as tf

from converters.function.table import Static, op

__all__ = ["decoder_of"]

#: How files of the formats that TensorFlow decodes bit for bit as libjpeg-turbo, libpng and the others do begin.
_KNOWN = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8")


def decoder_of(content: bytes) -> str:
    """Who decodes a file with this content: "TensorFlow" or "Pillow"."""
    return "TensorFlow" if content.startswith(_KNOWN) else "Pillow"


@op("ImageDecoder", since=20)
def image_decoder(encoded_stream: Static, *, pixel_format: str = "RGB") -> tf.Tensor:
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise ValueError(f"unknown pixel_format {pixel_format!r}; known: RGB, BGR, Grayscale")
    if isinstance(encoded_stream, np.ndarray):
        content = encoded_stream.astype(np.uint8).tobytes()
        try:
            known = decoder_of(content) == "TensorFlow"
            colours = _by_tensorflow(tf.constant(content)) if known else _by_pillow(content)
        except (tf.errors.InvalidArgumentError, OSError):
            # ONNX wants an empty matrix for what cannot be decoded.
            colours = tf.zeros((0, 0, 3), tf.uint8)
    else:
        letters = tf.constant([bytes([code]) for code in range(256)])
        content = tf.strings.reduce_join(tf.gather(letters, tf.cast(encoded_stream, tf.int32)))
        known = tf.reduce_any([tf.strings.substr(content, 0, len(start)) == start for start in _KNOWN])
        colours = tf.cond(known, lambda: _by_tensorflow(content), lambda: _by_pillow_later(content))
    if pixel_format == "BGR":
        return tf.reverse(colours, [-1])
    return _grey(colours) if pixel_format == "Grayscale" else colours


def _by_tensorflow(content: tf.Tensor) -> tf.Tensor:
    def jpeg() -> tf.Tensor:
        return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")

    def other() -> tf.Tensor:
        return tf.io.decode_image(content, channels=3, expand_animations=False)

    decoded = tf.cond(tf.io.is_jpeg(content), jpeg, other)
    return tf.ensure_shape(decoded, [None, None, 3])


def _by_pillow(content: bytes) -> tf.Tensor:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return tf.constant(np.asarray(image.convert("RGB")))


def _by_pillow_later(content: tf.Tensor) -> tf.Tensor:
    """Pillow, called by the graph when it runs; a graph that is saved finds it only in the process that made it."""
    decoded = tf.numpy_function(lambda given: _by_pillow(given).numpy(), [content], tf.uint8)
    return tf.ensure_shape(decoded, [None, None, 3])


def _grey(colours: tf.Tensor) -> tf.Tensor:
    """Luma of ITU-R BT.601 in 16 bits after the point, rounded, as Pillow computes it, (H, W, 1)."""
    weights = tf.constant([19595, 38470, 7471], tf.int32)
    total = tf.reduce_sum(tf.cast(colours, tf.int32) * weights, -1, keepdims=True)
    return tf.cast(tf.bitwise.right_shift(total + 0x8000, 16), tf.uint8)
