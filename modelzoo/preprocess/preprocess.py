"""Pictures in, the network's float32 batch out: the object behind `model.preprocess`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from modelzoo.errors import ArrayError, InputError, nearest
from modelzoo.preprocess.card_fields import own_fields
from modelzoo.preprocess.decode import decode_image, describe
from modelzoo.preprocess.families import GEOMETRIES, NEEDS_RESIZE, Channels, Family, family
from modelzoo.preprocess.resize import check_interpolation, resize

__all__ = ["Preprocess"]

_COLOURS = {"RGB": 3, "BGR": 3, "GREY": 1}
_SPELLINGS = {"color": "colour", "color_order": "colour", "crop_fraction": "crop"}
_REMARKS = frozenset({"note", "notes", "source", "sources", "comment"})


@dataclass(frozen=True)
class Preprocess:
    """Turns pictures into what a network takes.

    Every field but `family` may be left out (None): it is then the family's, see `modelzoo.preprocess.families`.
    After construction each field holds its final value.

    Attributes:
        family: name of a row of `FAMILIES`.
        size: (height, width) of the result. None with the geometry `keep`: as large as the picture.
        colour: RGB, BGR or GREY; given without `mean` and `std`, the family's are turned round with it.
        geometry: name of a row of `GEOMETRIES`.
        interpolation: name of a resize, see `modelzoo.preprocess.resize`.
        resize: side in pixels before the central crop.
        crop: share of each side, in (0, 1], that the crop before a resize keeps.
        multiply, divide, mean, std, scale: the numbers: `((x * multiply / divide) - mean) / std * scale` with x in
            0..255; `mean` and `std` are one number for all channels, or one for each in the order of `colour`.
        standardise: zero mean and unit variance for each picture.
        mean_file: name of a mean picture; `with_mean_image` has to provide it before the first call.
        exif: turn files as their EXIF orientation says.

    Example:
        >>> Preprocess("inception", (299, 299))(np.zeros((480, 640, 3), np.uint8)).shape
        (1, 299, 299, 3)
    """

    family: str
    size: tuple[int, int] | None = None
    colour: str = None  # type: ignore[assignment]  # None stands for the family's until __post_init__
    geometry: str = None  # type: ignore[assignment]
    interpolation: str = None  # type: ignore[assignment]
    resize: int | None = None
    crop: float = None  # type: ignore[assignment]
    multiply: float = None  # type: ignore[assignment]
    divide: float = None  # type: ignore[assignment]
    mean: Channels = None  # type: ignore[assignment]
    std: Channels = None  # type: ignore[assignment]
    scale: float = None  # type: ignore[assignment]
    standardise: bool = None  # type: ignore[assignment]
    mean_file: str | None = None
    exif: bool = False
    mean_image: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        name, row = family(self.family)
        geometry = _choice("geometry", self.geometry, row.geometry, GEOMETRIES)
        colour = _colour(self.colour, row.colour)
        size = _size(self.size) if self.size is not None else (None if geometry == "keep" else row.size)
        if geometry == "keep":
            size = None
        channels = _COLOURS[colour]
        # A mean picture stands in for the family's mean, and Caffe refuses both together.
        fallback = () if self.mean_file is not None or self.mean_image is not None else _turned(row.mean, row, colour)
        if self.mean_file is not None and self.mean:
            raise InputError("A mean file and mean values exclude each other.", received=f"mean {self.mean}")
        final: dict[str, Any] = {
            "family": name,
            "size": size,
            "colour": colour,
            "geometry": geometry,
            "interpolation": self.interpolation if self.interpolation is not None else row.interpolation,
            "resize": _resize_side(self.resize, row.resize, size) if geometry in NEEDS_RESIZE else None,
            "crop": _number("crop", self.crop, row.crop),
            "multiply": _number("multiply", self.multiply, row.multiply),
            "divide": _number("divide", self.divide, row.divide),
            "mean": _channels("mean", self.mean, fallback, channels),
            "std": _channels("std", self.std, _turned(row.std, row, colour), channels),
            "scale": _number("scale", self.scale, row.scale),
            "standardise": row.standardise if self.standardise is None else bool(self.standardise),
            "exif": bool(self.exif),
        }
        check_interpolation(final["interpolation"])
        if not 0 < final["crop"] <= 1:
            raise InputError("The share that a crop keeps lies in (0, 1].", received=f"crop {final['crop']}")
        if final["divide"] == 0 or 0 in final["std"]:
            raise InputError(
                "Pixels cannot be divided by zero.", received=f"divide {final['divide']}, std {final['std']}"
            )
        for key, value in final.items():
            object.__setattr__(self, key, value)

    def __call__(self, images: Any) -> np.ndarray:
        """Decodes, crops, resizes and normalises.

        Args:
            images: one picture or several: the path of a file, the bytes of one, a uint8 array (H, W, 3) in RGB order
                with values 0..255, a uint8 array (N, H, W, 3), or a list or tuple of paths, bytes and (H, W, 3)
                arrays, of any mix of sizes. With the colour GREY an array may also have one channel.

        Returns:
            float32 (N, height, width, C), C-contiguous, a copy; N is 1 for a single picture.

        Raises:
            ImageError: a file that cannot be read.
            ArrayError: an array of another dtype (floating point is for the plain model, `fx.model`), rank or number
                of channels, an empty batch, or a picture smaller than the crop.
        """
        pictures = self._pictures(images)
        first = self._one(pictures[0], images, 0)
        batch = np.empty((len(pictures), *first.shape), np.float32)
        batch[0] = first
        for index, picture in enumerate(pictures[1:], start=1):
            one = self._one(picture, images, index)
            if one.shape != first.shape:
                raise ArrayError(
                    "Pictures of different sizes make no batch where the preprocessing keeps the size.",
                    received=f"{first.shape} and {one.shape}",
                    hint="pass one picture a call, or give the preprocessing a size",
                )
            batch[index] = one
        return batch

    def _pictures(self, images: Any) -> Sequence[Any]:
        if isinstance(images, str | os.PathLike | bytes | bytearray | memoryview):
            return [images]
        if isinstance(images, list | tuple):
            if not images:
                raise ArrayError("There is no picture to preprocess.", received=f"an empty {type(images).__name__}")
            return images
        array = _as_bytes(images, "")
        if array.ndim == 4:
            if not len(array):
                raise ArrayError("There is no picture to preprocess.", received=describe(array))
            return array  # type: ignore[return-value]  # iterates over its first axis
        return [array]

    def _one(self, picture: Any, images: Any, index: int) -> np.ndarray:
        """float32 (H, W, C) of one picture."""
        if isinstance(picture, str | os.PathLike | bytes | bytearray | memoryview):
            picture = decode_image(picture, exif=self.exif)
        place = f" at position {index}" if isinstance(images, list | tuple) else ""
        pixels = self._coloured(_as_bytes(picture, place), place)

        def resizer(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
            return resize(image, size, self.interpolation, multiply=self.multiply)

        fitted = GEOMETRIES[self.geometry](pixels, self.size or pixels.shape[:2], self.resize, self.crop, resizer)
        return self._numbers(fitted, self._mean_of(pixels, place))

    def _coloured(self, image: np.ndarray, place: str) -> np.ndarray:
        """uint8 (H, W, 1 or 3) in the order of `colour`; resizing treats all channels alike, so this may come first."""
        if image.ndim != 3 or 0 in image.shape:
            raise ArrayError(
                f"The picture{place} is not an array (H, W, 3).",
                received=describe(image),
                hint="axes are height, width, channels; a batch (N, H, W, 3) stands alone, not in a list",
            )
        channels = image.shape[2]
        if self.colour == "GREY" and channels == 1:
            return image
        if channels != 3:
            hint = "channels come last and are R, G, B"
            if channels == 4:
                hint = "drop the alpha channel: array[..., :3]"
            elif channels == 1:
                hint = "repeat the grey channel: numpy.repeat(array, 3, axis=-1)"
            elif image.shape[0] == 3:
                hint = "put the channels last: numpy.moveaxis(array, -3, -1)"
            raise ArrayError(f"The picture{place} has {channels} channels, not 3.", received=describe(image), hint=hint)
        if self.colour == "GREY":
            # ITU-R 601-2 luma in 16-bit fixed point, as Pillow's convert("L"); a grey picture stays as it is.
            luma = image.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
            return ((luma + 0x8000) >> 16).astype(np.uint8)[:, :, None]
        return image[:, :, ::-1] if self.colour == "BGR" else image

    def _mean_of(self, image: np.ndarray, place: str) -> np.ndarray:
        """What is subtracted: (C,) or, of a mean picture, (height, width, C) at the place of the central crop."""
        if self.mean_image is None:
            if self.mean_file is not None:
                raise InputError(
                    f"The preprocessing needs the mean picture {self.mean_file}, which has not been read.",
                    hint="preprocess.with_mean_image(read_mean(path)) gives it one",
                )
            return np.array(self.mean, np.float32)
        whole = image.shape[:2]
        if self.geometry == "warp_crop" and self.resize is not None:
            whole = (self.resize, self.resize)
        elif self.geometry == "warp" and self.size is not None:
            whole = self.size
        if self.mean_image.shape[:2] != whole:
            raise ArrayError(
                f"The mean picture is not as large as the picture{place} before its crop.",
                received=f"mean {self.mean_image.shape[:2]}, picture {whole} (height, width)",
                hint="Caffe subtracts before it crops: `resize` has to be the side of the mean picture",
            )
        return GEOMETRIES["crop"](self.mean_image, self.size or whole, None, 1.0, _no_resize)

    def _numbers(self, image: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """`((x * multiply / divide) - mean) / std * scale` in float32, on a copy."""
        if image.dtype == np.float32:  # a floating-point resize: fresh, and already multiplied
            x = image if image.base is None and image.flags.c_contiguous else np.ascontiguousarray(image)
            x = x if x is not image or x.flags.writeable else x.copy()
        else:
            x = np.array(image, np.float32, order="C")
            if self.multiply != 1:
                x *= np.float32(self.multiply)
        if self.divide != 1:
            x /= np.float32(self.divide)
        if mean.size:
            x -= mean
        if self.std:
            x /= np.array(self.std, np.float32)
        if self.standardise:
            # tf.image.per_image_standardization: a uniform picture is not divided by zero.
            spread = max(float(x.std(dtype=np.float64)), 1 / x.size**0.5)
            x -= np.float32(x.mean(dtype=np.float64))
            x /= np.float32(spread)
        if self.scale != 1:
            x *= np.float32(self.scale)
        return x

    def with_size(self, height: int, width: int) -> Preprocess:
        """The same preprocessing for another input size, in pixels.

        A `resize` that would be smaller than the crop grows in the proportion that it has now.
        """
        size = _size((height, width))
        if self.size is None:
            raise InputError("This preprocessing keeps the size of each picture.", hint="choose another geometry first")
        side = self.resize
        if side is not None and side < max(size):
            side = round(max(size) * side / max(self.size))
        return replace(self, size=size, resize=side)

    def with_mean_image(self, mean: np.ndarray) -> Preprocess:
        """The same preprocessing with a mean picture in the place of mean values.

        Args:
            mean: (H, W, C) in the order of `colour`, 0..255, as large as the picture before its crop; see `read_mean`.
        """
        array = np.array(mean, np.float32)
        if array.ndim != 3 or array.shape[2] != _COLOURS[self.colour] or 0 in array.shape:
            raise ArrayError(
                f"A mean picture for {self.colour} has the shape (H, W, {_COLOURS[self.colour]}).",
                received=describe(mean),
            )
        if self.geometry not in ("warp_crop", "warp", "crop", "keep"):
            raise InputError(f"The geometry {self.geometry} has no place for a mean picture.", hint='use "warp_crop"')
        array.setflags(write=False)
        return replace(self, mean=(), mean_image=array)

    @classmethod
    def from_card(cls, mapping: Mapping[str, Any]) -> Preprocess:
        """Reads the `preprocess` mapping of a card's input, which counts mean and std in pixels of 0..255.

        Args:
            mapping: see `modelzoo.preprocess.card_fields.own_fields`.

        Raises:
            InputError: as `from_dict`.
        """
        return cls.from_dict(own_fields(mapping))

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Preprocess:
        """Reads what `as_dict` writes: fields in this class' own units.

        Args:
            mapping: `family` and any of this class' fields except `mean_image`; `color` and `color_order` are read as
                `colour`, `crop_fraction` as `crop`; `raw_scale` is Caffe's factor for pixels in 0..1, so 255 leaves
                0..255 as they are; `note`, `source` and `comment` are passed over.

        Raises:
            InputError: no or an unknown family, an unknown key (a mistyped one would silently give other numbers), or
                a value that makes no sense.
        """
        if not isinstance(mapping, Mapping):
            raise InputError("A preprocessing is described by a mapping.", received=type(mapping).__name__)
        known = [item.name for item in fields(cls) if item.name != "mean_image"]
        values: dict[str, Any] = {}
        for key, value in mapping.items():
            name = _SPELLINGS.get(key, key)
            if key in _REMARKS or value is None:
                continue
            if key == "raw_scale":
                name, value = "multiply", _number("raw_scale", value, 255.0) / 255
            if name not in known:
                close = nearest(str(key), [*known, *_SPELLINGS, "raw_scale"])
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
                raise InputError(f"A preprocessing has no field {key!r}.", hint=hint)
            if name in values:
                raise InputError(f"A preprocessing names {name} twice.", received=dict(mapping))
            values[name] = value
        if "family" not in values:
            raise InputError("A preprocessing without a family.", received=dict(mapping), hint='add "family"')
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """The mapping that `from_dict` reads: family, size, and what differs from the family's own row.

        A mean picture is not in it, only the name of its file.
        """
        usual = Preprocess(self.family, self.size, geometry="keep" if self.size is None else None)  # type: ignore[arg-type]
        result: dict[str, Any] = {"family": self.family, "size": list(self.size) if self.size else None}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name not in ("family", "size", "mean_image") and value != getattr(usual, item.name):
                result[item.name] = list(value) if isinstance(value, tuple) else value
        if self.size is None:
            result["geometry"] = "keep"
        return result


def _no_resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return image


def _as_bytes(value: Any, place: str) -> np.ndarray:
    """`value` as a uint8 array; ArrayError for what is no array or of another dtype."""
    if not isinstance(value, np.ndarray) and not hasattr(value, "__array__"):
        hint = "pass a path, the bytes of a file, a uint8 array (H, W, 3), or a list of these"
        if type(value).__module__.startswith("PIL."):
            hint = 'pass numpy.asarray(image.convert("RGB"))'
        raise ArrayError(f"The input{place} is no picture.", received=describe(value), hint=hint)
    array = np.asarray(value)
    if array.dtype != np.uint8:
        hint = "pass 0..255 as uint8: array.astype(numpy.uint8)"
        if array.dtype.kind == "f":
            hint = (
                "a batch in the network's own range goes to the plain model (`fx.model(x)` of an extractor, `model(x)`"
                " of a network); pictures in 0..255 go here as uint8"
            )
        raise ArrayError(f"Pictures are uint8 arrays; the input{place} is not.", received=describe(array), hint=hint)
    return array


def _choice(what: str, value: str | None, fallback: str, known: Mapping[str, Any]) -> str:
    value = fallback if value is None else value
    if not isinstance(value, str) or value not in known:
        close = nearest(str(value), known)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        raise InputError(f"There is no {what} {value!r}.", hint=hint)
    return value


def _colour(value: str | None, fallback: str) -> str:
    if isinstance(value, str):
        value = value.upper().replace("GRAY", "GREY")
    return _choice("channel order", value, fallback, _COLOURS)


def _size(value: Any) -> tuple[int, int]:
    sides = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    whole = all(isinstance(side, int | np.integer) and not isinstance(side, bool) and side > 0 for side in sides)
    if len(sides) != 2 or not whole:
        raise InputError("A size is (height, width), two positive numbers of pixels.", received=value)
    return int(sides[0]), int(sides[1])


def _resize_side(value: Any, fallback: int | None, size: tuple[int, int] | None) -> int:
    """The side before the crop; a family's own, of crops of 224, grows with a crop that it could not hold."""
    largest = max(size) if size else 1
    if value is None:
        side = fallback if fallback is not None else largest
        return side if side >= largest else round(largest * 256 / 224)
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < largest:
        raise InputError(
            "The side to resize to is a whole number of pixels, not below the crop's size.",
            received=f"resize {value!r}, size {size}",
        )
    return int(value)


def _number(what: str, value: Any, fallback: float) -> float:
    if value is None:
        return fallback
    if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not np.isfinite(value):
        raise InputError(f"{what} is a finite number.", received=repr(value))
    return float(value)


def _channels(what: str, value: Any, fallback: Channels, channels: int) -> Channels:
    """One number for each channel, or none at all."""
    if value is None:
        value = fallback
    elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
        value = (value,)
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        raise InputError(f"{what} is a number, or one for each channel.", received=repr(value))
    numbers = tuple(_number(what, item, 0.0) for item in value)
    if len(numbers) == 1:
        numbers *= channels
    if len(numbers) not in (0, channels):
        raise InputError(f"{what} has {len(numbers)} values for {channels} channels.", received=list(numbers))
    return numbers


def _turned(values: Channels, row: Family, colour: str) -> Channels:
    """A family's mean or std for another channel order than its own."""
    if len(set(values)) == 1:
        return values[:1]
    if colour == row.colour:
        return values
    if "GREY" in (colour, row.colour):
        # The luma of the mean is the mean of the luma.
        return (
            (float(np.dot(values if row.colour == "RGB" else values[::-1], (0.299, 0.587, 0.114))),) if values else ()
        )
    return values[::-1]
