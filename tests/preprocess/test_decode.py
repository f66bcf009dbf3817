"""Picture files become RGB bytes, equal to Pillow's and TensorFlow's; what is no picture says what it is."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from modelzoo.errors import ImageError
from modelzoo.preprocess import decode_image
from tests.data_folder import DATA, needs_data
from tests.preprocess.pictures import encoded, rgb


def by_tensorflow(data: bytes) -> np.ndarray:
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 75},
        {"quality": 95, "subsampling": 0},
        {"quality": 30, "subsampling": 1},
        {"quality": 60, "progressive": True},
    ],
    ids=str,
)
def test_jpeg_equals_pillow_and_tensorflow_to_the_bit(tmp_path, options):
    data = encoded(rgb(1), "JPEG", **options)
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    found = decode_image(path)
    assert found.dtype == np.uint8 and found.flags.writeable
    np.testing.assert_array_equal(found, np.asarray(Image.open(path).convert("RGB")))
    np.testing.assert_array_equal(found, by_tensorflow(data))
    np.testing.assert_array_equal(found, decode_image(data))


@needs_data
def test_photographs_equal_pillow_and_tensorflow_to_the_bit():
    assert DATA is not None
    photos = sorted(p for p in (DATA / "photos").iterdir() if p.suffix in (".jpg", ".jpeg"))
    assert len(photos) == 7
    for path in photos:
        found = decode_image(path)
        np.testing.assert_array_equal(found, np.asarray(Image.open(path).convert("RGB")), err_msg=path.name)
        np.testing.assert_array_equal(found, by_tensorflow(path.read_bytes()), err_msg=path.name)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA"])
def test_lossless_files_give_the_pixels_back(kind):
    image = rgb(2)
    options = {"lossless": True} if kind == "WEBP" else {}
    if kind == "GIF":
        palette = Image.fromarray(image).quantize(64)
        image = np.asarray(palette.convert("RGB"))
        data = encoded(palette, kind)
    else:
        data = encoded(image, kind, **options)
    np.testing.assert_array_equal(decode_image(data), image)


def test_grey_is_the_value_three_times():
    grey = rgb(3)[:, :, 0]
    for kind in ("PNG", "JPEG"):
        data = encoded(grey, kind)
        found = decode_image(data)
        np.testing.assert_array_equal(found, np.repeat(np.asarray(Image.open(io.BytesIO(data)))[..., None], 3, -1))


def test_one_bit_is_black_and_white():
    bits = rgb(3)[:, :, 0] > 127
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(bits))), np.repeat(bits[..., None], 3, -1) * 255)


def test_alpha_is_dropped_and_nothing_composited():
    image = rgb(4)
    alpha = np.random.default_rng(4).integers(0, 256, image.shape[:2], np.uint8)
    data = encoded(np.dstack([image, alpha]))
    np.testing.assert_array_equal(decode_image(data), image)
    np.testing.assert_array_equal(decode_image(data), tf.io.decode_png(data, channels=3).numpy())
    grey = encoded(Image.fromarray(np.dstack([image[:, :, 0], alpha]), "LA"))
    np.testing.assert_array_equal(decode_image(grey), np.repeat(image[:, :, :1], 3, -1))


@pytest.mark.parametrize("options", [{}, {"transparency": 3}, {"transparency": bytes(range(64))}], ids=str)
def test_a_palette_is_looked_up(options):
    palette = Image.fromarray(rgb(5)).quantize(64)
    data = encoded(palette, **options)
    np.testing.assert_array_equal(decode_image(data), np.asarray(palette.convert("RGB")))


def test_cmyk_is_ink_times_black_as_tensorflow_computes_it():
    data = encoded(Image.fromarray(rgb(6)).convert("CMYK"), "JPEG", quality=95)
    np.testing.assert_array_equal(decode_image(data), by_tensorflow(data))


def png(header: tuple[int, int, int, int], rows: np.ndarray) -> bytes:
    """A PNG by hand: Pillow writes no 16-bit colour. `header`: width, height, bit depth, colour type."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    start = struct.pack(">IIBBBBB", *header, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_sixteen_bits_become_their_high_byte(colour_type, channels):
    values = np.random.default_rng(7).integers(0, 1 << 16, (9, 13, channels), np.uint16)
    found = decode_image(png((13, 9, 16, colour_type), values))
    np.testing.assert_array_equal(found, np.broadcast_to(values >> 8, (9, 13, 3)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed_only_when_asked(orientation):
    picture = Image.fromarray(rgb(8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture, "JPEG", exif=exif.tobytes(), quality=95)
    plain = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode_image(data), plain)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decode_image(data, exif=True), turned)
    assert turned.shape == (plain.shape if orientation < 5 else (plain.shape[1], plain.shape[0], 3))


def test_an_animation_gives_its_first_frame():
    frames = [Image.fromarray(rgb(seed)).quantize(32) for seed in (1, 2)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode_image(data), np.asarray(frames[0].convert("RGB")))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>404</html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"PK\x03\x04......", "ZIP"),
        (b"\x93NUMPY....", "numpy.load"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (bytes(100), "zero bytes"),
        (b"just text", "6a 75 73 74"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_is_no_picture_says_what_it_is(tmp_path, data, says):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"x\.jpg") as caught:
        decode_image(path)
    assert says in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_a_picture_cut_short_is_refused(kind):
    data = encoded(rgb(9, 200, 200), kind)
    for share in (0.3, 0.8):
        with pytest.raises(ImageError):
            decode_image(data[: int(len(data) * share)])


def test_floating_point_pictures_have_no_range():
    with pytest.raises(ImageError, match="floating-point"):
        decode_image(encoded(np.ones((4, 5), np.float32), "TIFF"))


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded():
    with pytest.raises(ImageError, match="more than 100 pixels"):
        decode_image(encoded(rgb()), max_pixels=100)
    with pytest.raises(ImageError, match="pixels"):
        decode_image(png((60_000, 60_000, 16, 2), np.zeros((1, 1, 3))))


def test_a_missing_file_names_the_one_beside_it(tmp_path):
    (tmp_path / "elephant.jpg").write_bytes(encoded(rgb(), "JPEG"))
    with pytest.raises(ImageError, match=r"elephant\.jpg"):
        decode_image(tmp_path / "elefant.jpg")
    with pytest.raises(ImageError, match="does not exist either"):
        decode_image(tmp_path / "nowhere" / "a.jpg")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ImageError, match="folder"):
        decode_image(tmp_path)
    with pytest.raises(ImageError, match="URL"):
        decode_image("https://example.org/a.jpg")
    with pytest.raises(ImageError):
        decode_image("a\0b.jpg")
    with pytest.raises(ImageError, match="path of a file or as its bytes"):
        decode_image(12)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="pipe"):
        decode_image(tmp_path / "pipe")
