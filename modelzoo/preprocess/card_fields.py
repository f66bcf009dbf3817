"""The `preprocess` mapping of a registry card, in the words of `Preprocess`.

A card speaks as papers do: crop and resize, then `(x - mean) / std` on pixels of 0..255. A family computes the same in
the order of its framework, in other units. Where both say the same number the family's own order is kept, since the
result is then equal to the framework's to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelzoo.errors import InputError
from modelzoo.preprocess.families import Channels, Family, family

__all__ = ["own_fields"]

_BILINEAR = ("tf1_bilinear", "half_pixel_bilinear", "opencv_bilinear", "bilinear")
_SHORT_SIDES = ("slim_short_side", "torch_short_side")


def own_fields(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping that `Preprocess.from_dict` reads for what a card says.

    Args:
        mapping: `family`, and of these what the card states: `size` (height, width); `crop_fraction`; `resize_side`,
            the shorter side before a central crop; `resize`, (height, width) before a central crop; `interpolation`
            (`bilinear`, `bicubic`, `nearest`, `area`, or a name that `resize` knows); `half_pixel_centers`, False for
            TensorFlow 1's bilinear; `mean` and `std` in 0..255, in the order of `colour`; `colour`; `mean_file`. Other
            keys go through as they are.

    Raises:
        InputError: no or an unknown family, or both `resize` and `resize_side`.
    """
    if not isinstance(mapping, Mapping):
        raise InputError("A preprocessing is described by a mapping.", received=type(mapping).__name__)
    said = {key: value for key, value in mapping.items() if value is not None}
    if "family" not in said:
        raise InputError("A preprocessing without a family.", received=dict(mapping), hint='add "family"')
    _, row = family(said["family"])
    _geometry(said, row)
    _interpolation(said, row)
    # x * multiply / divide are the units of a family's own mean; its std is in the same, divided by `scale`.
    units = row.multiply / row.divide
    _numbers(said, "mean", row.mean, units, row)
    _numbers(said, "std", row.std or (1.0,), units * row.scale, row)
    return said


def _geometry(said: dict[str, Any], row: Family) -> None:
    """`resize_side` and `resize` choose the geometry, where the card itself names none."""
    side, whole = said.pop("resize_side", None), said.get("resize")
    if side is not None and whole is not None:
        raise InputError("A picture is resized by its shorter side or to a size, not both.", received=said)
    if side is not None:
        said["resize"] = side
        said.setdefault("geometry", row.geometry if row.geometry in _SHORT_SIDES else "slim_short_side")
    elif isinstance(whole, Sequence) and not isinstance(whole, str):
        if len(whole) != 2 or whole[0] != whole[1]:
            raise InputError("The resize before a central crop is to a square.", received=list(whole))
        said["resize"] = whole[0]
        said.setdefault("geometry", "warp_crop")


def _interpolation(said: dict[str, Any], row: Family) -> None:
    """Which of several bilinears a card means: its family's framework decides."""
    centred = said.pop("half_pixel_centers", None)
    name = said.get("interpolation", "bilinear" if centred is not None else None)
    if name == "bilinear":
        if centred is False:
            said["interpolation"] = "tf1_bilinear"
        elif centred is True and row.interpolation == "tf1_bilinear":
            said["interpolation"] = "half_pixel_bilinear"
        elif row.interpolation in _BILINEAR:
            said["interpolation"] = row.interpolation
    elif name == "area":
        said["interpolation"] = "box"


def _numbers(said: dict[str, Any], key: str, own: Channels, units: float, row: Family) -> None:
    """Replaces `mean` or `std` in 0..255 by the family's units, or by nothing where the family says the same."""
    value = said.get(key)
    if value is None or not isinstance(value, Sequence | int | float) or isinstance(value, str | bool):
        return  # left as it is: the reader of the fields refuses it
    numbers = list(value) if isinstance(value, Sequence) else [value]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        return
    if {str(said.get("colour", row.colour)).upper(), row.colour} == {"RGB", "BGR"}:
        own = own[::-1]
    single = len(numbers) == 1
    if single:
        numbers *= len(own) or 1
    elif len(own) == 1:
        own *= len(numbers)
    if len(numbers) == len(own) and all(abs(a * units - b) <= 1e-6 * abs(b) for a, b in zip(numbers, own, strict=True)):
        del said[key]
    else:
        said[key] = [number * units for number in (numbers[:1] if single else numbers)]
