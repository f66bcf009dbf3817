"""ImageDecoder gives what Pillow gives, bit for bit, whoever decodes."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
import tensorflow as tf
from PIL import Image

from converters.function import GraphFunction, load
from converters.function.image import decoder_of


def scene() -> Image.Image:
    """A small picture with colours of its own in every pixel, of odd sizes."""
    rows, columns = np.mgrid[:37, :51]
    colours = np.stack([rows * 6, columns * 5, (rows * columns) % 256], -1).astype(np.uint8)
    return Image.fromarray(colours)


def encoded(kind: str) -> bytes:
    held = io.BytesIO()
    scene().save(held, format=kind)
    return held.getvalue()


def decoder(pixel_format: str) -> GraphFunction:
    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, [None])
    node = onnx.helper.make_node("ImageDecoder", ["x"], ["y"], pixel_format=pixel_format)
    graph = onnx.helper.make_graph([node], "g", [info], [onnx.ValueInfoProto(name="y")])
    return load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_every_format_is_decoded_as_pillow_does(kind: str) -> None:
    content = encoded(kind)
    assert decoder_of(content) == ("TensorFlow" if kind in ("JPEG", "PNG", "BMP") else "Pillow")
    stream = np.frombuffer(content, np.uint8)
    image = Image.open(io.BytesIO(content))
    colours = np.asarray(image.convert("RGB"))
    wanted = {"RGB": colours, "BGR": colours[:, :, ::-1], "Grayscale": np.asarray(image.convert("L"))[:, :, None]}
    for pixel_format, expected in wanted.items():
        function = decoder(pixel_format)
        traced = tf.function(lambda x, f=function: f({"x": x}), input_signature=[tf.TensorSpec([None], tf.uint8)])
        np.testing.assert_array_equal(function({"x": stream})["y"], expected)
        np.testing.assert_array_equal(traced(tf.constant(stream))["y"], expected)


def test_what_is_no_picture_gives_an_empty_one() -> None:
    for content in (b"no picture at all", encoded("PNG")[:60], encoded("JPEG")[:40]):
        assert decoder("RGB")({"x": np.frombuffer(content, np.uint8)})["y"].shape == (0, 0, 3)
