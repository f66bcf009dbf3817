"""The preprocessing families: one row for each way in which a published network wants its pixels.

A row is data. Overrides from a model card replace single fields of it, so that a card with its own mean needs no
family of its own. In every row the order of the steps is: colour, geometry (crop and resize), channel order, numbers:
`((pixel * multiply / divide) - mean) / std * scale`, in float32, steps with a neutral value left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modelzoo.errors import ArrayError, InputError, nearest

__all__ = ["FAMILIES", "GEOMETRIES", "Family", "family"]

Channels = tuple[float, ...]


@dataclass(frozen=True)
class Family:
    """One row.

    Attributes:
        size: (height, width) that the networks of this family usually take; None leaves the picture as it is.
        geometry: name of a row of `GEOMETRIES`.
        interpolation: name of a resize, see `modelzoo.preprocess.resize`.
        resize: side to which the picture is resized before a central crop, in pixels; None where the geometry needs
            none.
        crop: share of each side that a central crop keeps, for the geometry `crop_warp`.
        colour: channel order of the result: RGB, BGR or GREY (one channel).
        multiply: factor put on the pixels (0..255) first, before a floating-point resize.
        divide: divisor, after the resize.
        mean: subtracted, in the order of `colour`, in units after `multiply` and `divide`. Empty for none.
        std: divisor after the mean, in the order of `colour`. Empty for none.
        scale: factor at the very end.
        standardise: instead of mean and std take those of each picture (zero mean, unit variance).
        summary: where the steps come from.
    """

    size: tuple[int, int] | None
    geometry: str
    interpolation: str
    summary: str
    resize: int | None = None
    crop: float = 1.0
    colour: str = "RGB"
    multiply: float = 1.0
    divide: float = 1.0
    mean: Channels = ()
    std: Channels = ()
    scale: float = 1.0
    standardise: bool = False


FAMILIES: dict[str, Family] = {
    "inception": Family(
        size=(224, 224),
        geometry="crop_warp",
        crop=0.875,
        interpolation="tf1_bilinear",
        multiply=1 / 255,
        mean=(0.5, 0.5, 0.5),
        scale=2.0,
        summary="TF-slim inception_preprocessing.preprocess_for_eval: Inception, MobileNet, NASNet, ResNet V2; -1..1",
    ),
    "vgg": Family(
        size=(224, 224),
        geometry="slim_short_side",
        resize=256,
        interpolation="tf1_bilinear",
        mean=(123.68, 116.78, 103.94),
        summary="TF-slim vgg_preprocessing.preprocess_for_eval: VGG, ResNet V1; RGB minus its mean",
    ),
    "cifarnet": Family(
        size=(32, 32),
        geometry="crop_or_pad",
        interpolation="tf1_bilinear",
        standardise=True,
        summary="TF-slim cifarnet_preprocessing.preprocess_for_eval: each picture to zero mean and unit variance",
    ),
    "lenet": Family(
        size=(28, 28),
        geometry="crop_or_pad",
        interpolation="tf1_bilinear",
        colour="GREY",
        mean=(128.0,),
        divide=1.0,
        std=(128.0,),
        summary="TF-slim lenet_preprocessing: one grey channel, (x - 128) / 128",
    ),
    "caffe": Family(
        size=(224, 224),
        geometry="warp_crop",
        resize=256,
        interpolation="opencv_bilinear",
        colour="BGR",
        mean=(104.0, 117.0, 123.0),
        summary="Caffe convert_imageset to 256 x 256, transform_param at TEST: centre crop, BGR, (x - mean) * scale",
    ),
    "keras_tf": Family(
        size=(224, 224),
        geometry="warp",
        interpolation="nearest",
        divide=127.5,
        mean=(1.0, 1.0, 1.0),
        summary='keras.utils.load_img, then imagenet_utils.preprocess_input(mode="tf"); -1..1',
    ),
    "keras_caffe": Family(
        size=(224, 224),
        geometry="warp",
        interpolation="nearest",
        colour="BGR",
        mean=(103.939, 116.779, 123.68),
        summary='keras.utils.load_img, then imagenet_utils.preprocess_input(mode="caffe"); BGR minus its mean',
    ),
    "keras_torch": Family(
        size=(224, 224),
        geometry="warp",
        interpolation="nearest",
        divide=255.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        summary='keras.utils.load_img, then imagenet_utils.preprocess_input(mode="torch")',
    ),
    "torch": Family(
        size=(224, 224),
        geometry="torch_short_side",
        resize=256,
        interpolation="bilinear",
        divide=255.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        summary="torchvision: Resize(256), CenterCrop, ToTensor, Normalize; what most ONNX classifiers expect",
    ),
    "identity": Family(
        size=(224, 224),
        geometry="warp",
        interpolation="nearest",
        summary="keras.utils.load_img only: 0..255, the rest is inside the model (EfficientNet, MobileNetV3, ConvNeXt)",
    ),
    "rescale": Family(
        size=(224, 224),
        geometry="warp",
        interpolation="half_pixel_bilinear",
        scale=1 / 255,
        summary="tf.image.resize, then keras.layers.Rescaling(1 / 255); 0..1",
    ),
}
"""All families by name. Keras' own families resize with `nearest`, the default of `keras.utils.load_img` with which
keras.io documents every application; a card may say `"interpolation": "bilinear"`."""

_ALIASES = {"none": "identity", "inside": "identity"}


def family(name: str) -> tuple[str, Family]:
    """The name (aliases resolved) and row of a family; InputError with the nearest names if there is none."""
    resolved = _ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(resolved, str) or resolved not in FAMILIES:
        close = nearest(str(name), [*FAMILIES, *_ALIASES])
        raise InputError(
            f"There is no preprocessing family {name!r}.",
            hint=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(FAMILIES)}",
        )
    return resolved, FAMILIES[resolved]


Resizer = Callable[[np.ndarray, tuple[int, int]], np.ndarray]
"""Takes uint8 (H, W, C) and (height, width)."""


def _keep(image: np.ndarray, size: tuple[int, int], resize: int | None, crop: float, to: Resizer) -> np.ndarray:
    return image


def _warp(image: np.ndarray, size: tuple[int, int], resize: int | None, crop: float, to: Resizer) -> np.ndarray:
    return to(image, size)


def _crop_warp(image: np.ndarray, size: tuple[int, int], resize: int | None, crop: float, to: Resizer) -> np.ndarray:
    """The crop comes first and keeps `side - 2 * int((side - side * crop) / 2)` pixels, as `tf.image.central_crop`."""
    height, width = image.shape[:2]
    top, left = int((height - height * crop) / 2), int((width - width * crop) / 2)
    return to(image[top : height - top, left : width - left], size)


def _slim_short_side(
    image: np.ndarray, size: tuple[int, int], resize: int | None, crop: float, to: Resizer
) -> np.ndarray:
    """Both sides rounded to even, in float32, as newer slim does (older versions cut the fraction off)."""
    height, width = image.shape[:2]
    ratio = np.float32(resize) / np.float32(min(height, width))
    sides = np.rint(np.array([height, width], np.float32) * ratio).astype(int)
    return _centre(to(image, (int(sides[0]), int(sides[1]))), size)


def _torch_short_side(
    image: np.ndarray, size: tuple[int, int], resize: int | None, crop: float, to: Resizer
) -> np.ndarray:
    """The longer side is cut off to an integer, the crop's offset rounded to even: torchvision's functional API."""
    assert resize is not None
    height, width = image.shape[:2]
    if height <= width:
        target = (resize, int(resize * width / height))
    else:
        target = (int(resize * height / width), resize)
    return _centre(to(image, target), size, offset=lambda spare: round(spare / 2))


def _warp_crop(image: np.ndarray, size: tuple[int, int], resize: int | None, crop: float, to: Resizer) -> np.ndarray:
    assert resize is not None
    return _centre(to(image, (resize, resize)), size)


def _centre_crop(image: np.ndarray, size: tuple[int, int], resize: int | None, crop: float, to: Resizer) -> np.ndarray:
    return _centre(image, size)


def _crop_or_pad(image: np.ndarray, size: tuple[int, int], resize: int | None, crop: float, to: Resizer) -> np.ndarray:
    """Zeros around what is too small, the centre of what is too large: `tf.image.resize_with_crop_or_pad`."""
    image = _centre(image, (min(size[0], image.shape[0]), min(size[1], image.shape[1])))
    spare = (size[0] - image.shape[0], size[1] - image.shape[1])
    return np.pad(image, [(spare[0] // 2, spare[0] - spare[0] // 2), (spare[1] // 2, spare[1] - spare[1] // 2), (0, 0)])


def _centre(
    image: np.ndarray, size: tuple[int, int], offset: Callable[[int], int] = lambda spare: spare // 2
) -> np.ndarray:
    height, width = image.shape[:2]
    if height < size[0] or width < size[1]:
        raise ArrayError(
            f"A picture of {height} x {width} (height x width) is smaller than the crop of {size[0]} x {size[1]}.",
            received=f"shape {image.shape}",
            hint="pass larger pictures, or a preprocessing with a smaller size",
        )
    top, left = offset(height - size[0]), offset(width - size[1])
    return image[top : top + size[0], left : left + size[1]]


GEOMETRIES: dict[str, Callable[[np.ndarray, tuple[int, int], int | None, float, Resizer], np.ndarray]] = {
    "keep": _keep,
    "warp": _warp,
    "crop_warp": _crop_warp,
    "warp_crop": _warp_crop,
    "slim_short_side": _slim_short_side,
    "torch_short_side": _torch_short_side,
    "crop": _centre_crop,
    "crop_or_pad": _crop_or_pad,
}
"""How a picture becomes (height, width) of the network:

`keep` as it is; `warp` resized, aspect ratio not kept; `crop_warp` the centre, then resized; `warp_crop` resized to a
square of side `resize`, then the centre; `slim_short_side` and `torch_short_side` resized so that the shorter side is
`resize`, aspect ratio kept, then the centre; `crop` the centre; `crop_or_pad` the centre, zeros where it is too small.
"""

NEEDS_RESIZE = frozenset({"warp_crop", "slim_short_side", "torch_short_side"})
"""The geometries that read `resize`."""
