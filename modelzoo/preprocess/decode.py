"""Image files to RGB bytes, by Pillow, with one stated rule for every kind of pixel.

The rules, chosen so that the bits equal those of TensorFlow's decoders:

* JPEG: libjpeg's exact integer transform with smooth chroma upsampling, which is what
  `tf.io.decode_jpeg(dct_method="INTEGER_ACCURATE")` computes; TensorFlow's default transform differs in most values.
* Grey (1 or 8 bit): the value three times.
* Alpha, and transparency of a palette: dropped, nothing is composited (as `tf.io.decode_png(channels=3)`, Keras and
  OpenCV do).
* CMYK: R = (255 - C) (255 - K) / 255 truncated, G and B alike; no colour profile is applied, to no picture.
* 16 bit: the high byte (`value >> 8`). 32-bit integer and floating-point pictures are refused: they have no range.
* Animations and multi-page files: the first frame.
* EXIF orientation: ignored unless asked for.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelzoo.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["MAX_PIXELS", "decode_image"]

MAX_PIXELS = 89_478_485
"""The largest picture, in pixels, that is decoded unless more is asked for: 256 MiB of RGB, Pillow's own threshold."""

# Not every format Pillow knows: some of its readers start other programs (EPS calls Ghostscript) or fetch nothing
# that a photograph comes in.
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "TGA")
_READS = "JPEG, PNG, GIF, BMP, WebP, TIFF, PPM/PGM, JPEG 2000 and TGA are read"

ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview


def decode_image(source: ImageSource, *, exif: bool = False, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes one picture.

    Args:
        source: path of a file, or the bytes of one.
        exif: turn the picture as its EXIF orientation says. Off by default: TensorFlow, Caffe and the published
            evaluations do not.
        max_pixels: refuse a picture with more pixels than this (height times width), before it is decoded.

    Returns:
        uint8 (H, W, 3), RGB, 0..255, writable.

    Raises:
        ImageError: the file is missing, a folder, empty, truncated, not a picture, of an unsupported kind, or larger
            than `max_pixels`; the message names the path.
    """
    data, name = _read(source)
    if not data:
        raise ImageError(f"{name} is empty: 0 bytes.", hint="copy or download it again")
    return _decode(data, name, exif, max_pixels)


def _read(source: ImageSource) -> tuple[bytes, str]:
    """The bytes of a file, and how messages call it."""
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return data, f"the picture given as {len(data)} bytes"
    if not isinstance(source, str | os.PathLike):
        raise ImageError(
            "A picture is given as the path of a file or as its bytes.",
            received=type(source).__name__,
            hint="pass uint8 arrays (H, W, 3) to the preprocessing itself",
        )
    path = Path(source)
    if str(source).startswith(("http://", "https://", "ftp://", "gs://", "s3://")):
        raise ImageError(f"{source} is a URL, not a file.", hint="download it and pass the path of the file")
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(
                f"{path} is a folder, not a picture.", hint="pass the path of one file, or a list of paths"
            )
        if not stat.S_ISREG(mode):
            raise ImageError(f"{path} is a pipe or device, not a file.", hint="read it and pass its bytes")
        return path.read_bytes(), str(path)
    except FileNotFoundError:
        raise ImageError(f"There is no file {path}.", hint=f"{_neighbours(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ImageError(f"{path!s} cannot be read: {error}.", hint="check the path and its permissions") from error


def _neighbours(path: Path) -> str:
    """What to do about a missing file: names next to it that look alike, or how far the path exists."""
    from modelzoo.errors import nearest

    folder = path.parent
    try:
        if not folder.is_dir():
            return f"the folder {folder} does not exist either; check the path"
        close = nearest(path.name, [entry.name for entry in folder.iterdir()])
    except OSError:
        close = ()
    if close:
        return f"did you mean {' or '.join(str(folder / name) for name in close)}?"
    return f"relative paths start at {Path.cwd()}" if not path.is_absolute() else "check the path"


def _decode(data: bytes, name: str, exif: bool, max_pixels: int) -> np.ndarray:
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_known_formats()) as image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise _too_large(name, f"{image.width} x {image.height} pixels", max_pixels)
            image.load()
            return _to_rgb(_turned(image) if exif else image, name)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            f"{name} is not a picture of a known format.", received=_looks_like(data), hint=_advice(data)
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, str(error), max_pixels) from error
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory.", hint="scale it down first") from error
    except Exception as error:
        # Pillow's readers meet hostile bytes with OSError, SyntaxError, EOFError, struct.error, zlib.error, ...
        raise ImageError(
            f"{name} is damaged or cut short: {error or type(error).__name__}.",
            received=f"{len(data)} bytes",
            hint="copy or download it again; another viewer may show the part that is there",
        ) from error


def _known_formats() -> list[str]:
    """Those of our formats that this Pillow was built with."""
    from PIL import Image

    Image.preinit()
    if any(name not in Image.OPEN for name in _FORMATS):
        Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _too_large(name: str, received: str, max_pixels: int) -> ImageError:
    return ImageError(
        f"{name} has more than {max_pixels} pixels and was not decoded.",
        received=received,
        hint="scale it down; where it is yours and not hostile, decode_image(..., max_pixels=N) takes more",
    )


def _turned(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    """uint8 (H, W, 3) of a loaded picture, by the rules of the module's docstring."""
    mode = image.mode
    if mode == "CMYK":
        return _cmyk_to_rgb(np.asarray(image))
    # Pillow stretches PGM of any depth, and older versions 16-bit PNG, into 0..65535 of mode I.
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        return _three(np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8))
    if mode in ("I", "F"):
        kind = "floating-point" if mode == "F" else "32-bit integer"
        raise ImageError(
            f"{name} holds {kind} values, which have no fixed range.",
            received=f"Pillow mode {mode}",
            hint="scale the values to 0..255 yourself and pass a uint8 array (H, W, 3)",
        )
    if mode == "L":
        return _three(np.asarray(image))
    if mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # the same colours; Pillow warns of the direct way
        mode = image.mode
    try:
        # "1", P, LA, PA, RGBA, RGBX, YCbCr, HSV; an array of its own, since asarray of a picture is read-only.
        return np.array(image if mode == "RGB" else image.convert("RGB"))
    except ValueError as error:
        raise ImageError(
            f"{name} cannot be converted to RGB: {error}.", received=f"Pillow mode {mode}", hint="save it as RGB first"
        ) from error


def _three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _cmyk_to_rgb(cmyk: np.ndarray) -> np.ndarray:
    """The formula of TensorFlow's JPEG decoder; Pillow's own rounds and differs by one."""
    light = 255 - cmyk.astype(np.uint16)
    return (light[..., :3] * light[..., 3:] // 255).astype(np.uint8)


_SIGNS: tuple[tuple[bytes, str, str], ...] = (
    (b"<!doctype html", "an HTML page", "the address led to a web page, not to the picture: download the file itself"),
    (b"<html", "an HTML page", "the address led to a web page, not to the picture: download the file itself"),
    (b"version https://git-lfs", "a Git LFS pointer", "run `git lfs pull` to get the picture itself"),
    (b"<?xml", "XML, perhaps SVG", "render it to PNG first"),
    (b"<svg", "an SVG drawing", "render it to PNG first"),
    (b"%pdf", "a PDF document", "export the page as PNG first"),
    (b"%!ps", "a PostScript document", "export the page as PNG first"),
    (b"\x93numpy", "a NumPy array", "load it with numpy.load and pass the uint8 array"),
    (b"pk\x03\x04", "a ZIP archive", "unpack it and pass the pictures in it"),
    (b"\x1f\x8b", "gzip-compressed data", "unpack it first"),
    (b"{", "text, perhaps JSON", f"pass a picture: {_READS}"),
)


def _sign(data: bytes) -> tuple[str, str]:
    head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, kind, advice in _SIGNS:
        if head.startswith(start):
            return kind, advice
    if data[4:8] == b"ftyp":
        return "a HEIC/AVIF picture or a film", "convert it to JPEG or PNG first"
    if not any(data[:64]):
        return "zero bytes", "an interrupted download or copy leaves such a file: fetch it again"
    return f"{len(data)} bytes that start {data[:8].hex(' ')}", _READS


def _looks_like(data: bytes) -> str:
    return _sign(data)[0]


def _advice(data: bytes) -> str:
    return _sign(data)[1]


def describe(value: Any) -> str:
    """One word or two on an input, for messages: its shape and dtype where it has them, else its type."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{dtype} array of shape {tuple(shape)}"
    return type(value).__name__
