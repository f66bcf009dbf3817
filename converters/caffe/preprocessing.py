"""`transform_param` -> the preprocessing of a model card.

Caffe at the phase TEST: the centre of the picture, `(x - mean) * scale`, channels blue, green, red, pixels 0..255. A
data base holds pictures of one size; a picture of another has to be resized to it first, of which `transform_param`
says nothing: see `resize`.
"""

from __future__ import annotations

from typing import Any

from modelzoo.errors import InvalidGraphError

__all__ = ["preprocessing"]


def preprocessing(
    transform: Any, *, size: tuple[int, int] | None = None, channels: int = 3, resize: int | None = None
) -> dict[str, Any]:
    """The mapping that `modelzoo.preprocess.Preprocess.from_card` reads.

    Args:
        transform: a `TransformationParameter` (`Network.transform`); None: nothing but the order of the channels.
        size: (height, width) of the network's input; None: the size that `transform` crops to, else the picture's own.
        channels: of the network's input, 3 or 1.
        resize: side in pixels of the square to which pictures were resized before the crop (256 for most networks of
            ImageNet); None: the crop is taken from the picture as it is, which then has to be large enough.

    Returns:
        `family` (caffe), `colour`, `geometry`, `size`, `mean` or `mean_file`, `scale`: what differs from the family.

    Raises:
        InvalidGraphError: a mean file together with mean values, more values than channels, or a crop that is not the
            network's input.
    """
    card: dict[str, Any] = {"family": "caffe", "colour": "GREY" if channels == 1 else "BGR", "mean": []}
    crop = None
    if transform is not None:
        values = [float(value) for value in transform.mean_value]
        if values and transform.mean_file:
            raise InvalidGraphError(
                "transform_param has a mean file and mean values, which exclude each other.",
                received=f"{transform.mean_file!r} and {values}",
            )
        if len(values) not in (0, 1, channels):
            raise InvalidGraphError(
                f"transform_param has {len(values)} mean values for {channels} channels.",
                received=values,
                hint="one for all channels, or one for each",
            )
        if transform.mean_file:
            del card["mean"]
            card["mean_file"] = transform.mean_file
        elif values:
            card["mean"] = values * (channels if len(values) == 1 else 1)
        if transform.scale != 1:
            card["scale"] = float(transform.scale)
        if transform.crop_size or (transform.crop_h and transform.crop_w):
            crop = (transform.crop_h or transform.crop_size, transform.crop_w or transform.crop_size)
        if crop is None and transform.HasField("resize_param") and transform.resize_param.height:
            # SSD: stretched to the size of the input, nothing cut off.
            size = size or (transform.resize_param.height, transform.resize_param.width)
    if crop is not None and size is not None and crop != tuple(size):
        raise InvalidGraphError(
            "transform_param crops to another size than that of the network's input.",
            received=f"crop {crop}, input {tuple(size)} (height, width)",
        )
    if crop is not None:
        card["size"] = list(crop)
        card["geometry"] = "crop"
        if resize is not None:
            card.update(geometry="warp_crop", resize=resize)
    elif size is not None:
        card["size"] = list(size)
        card["geometry"] = "warp"
    else:
        card["geometry"] = "keep"
    return card
