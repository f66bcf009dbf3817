"""One PNG that shows what a network saw: the picture, what it takes it for, and a few maps of some taps.

Drawn with Pillow alone, so that it works in the base install.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from modelzoo.features.drawing import INK, PAPER, RULE, SCALE, SOFT, fitted, font_of, paste, scaled, shortened, text_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["as_heat", "draw_report", "liveliest"]

_WIDTH = 1040
_MARGIN = 36
_MAP = 112  # a multiple of 7, 14, 28 and 56: maps of a 224 pixel input get square pixels of equal size
_GAP = 10
_INPUT = 260

_BAR = (47, 111, 158)
_BAR_REST = (170, 196, 214)

# Black over blue, violet and orange to pale yellow: lightness rises evenly, so that it also reads in grey.
_HEAT = np.array(
    [
        (6, 8, 24),
        (24, 30, 84),
        (74, 34, 122),
        (136, 44, 116),
        (196, 66, 84),
        (236, 116, 48),
        (250, 180, 60),
        (252, 246, 190),
    ],
    dtype=np.float32,
)


def draw_report(
    picture: NDArray[np.uint8],
    ranked: Sequence[tuple[str, float]],
    maps: Mapping[str, NDArray[np.float32]],
    *,
    title: str,
    subtitle: str = "",
    caption: str = "",
    per_tap: int = 8,
) -> Image.Image:
    """Draw the page.

    Args:
        picture: (H, W, 3), RGB; shown as it is, scaled to fit a square.
        ranked: label and probability in [0, 1], most likely first.
        maps: tap -> (H, W, C), one picture's activations.
        title: the first line, large.
        subtitle: the line below it.
        caption: the line below the picture.
        per_tap: how many maps of each tap are shown, those whose values vary most.

    Returns:
        An RGB image, 2080 pixels wide.
    """
    top = _MARGIN + 66
    row = _MAP + 44
    height = top + _INPUT + 40 + len(maps) * row + _MARGIN - 10
    page = Image.new("RGB", (_WIDTH * SCALE, height * SCALE), PAPER)
    draw = ImageDraw.Draw(page)
    text_at(draw, _MARGIN, _MARGIN - 6, title, 26)
    text_at(draw, _MARGIN, _MARGIN + 30, subtitle, 14, SOFT)

    paste(page, fitted(picture, _INPUT), _MARGIN, top)
    text_at(draw, _MARGIN, top + _INPUT + 8, caption, 12, SOFT)
    _bars(draw, ranked, _MARGIN + _INPUT + 40, top, _WIDTH - _MARGIN, _INPUT)

    y = top + _INPUT + 40
    for tap, values in maps.items():
        draw.line(scaled(_MARGIN, y, _WIDTH - _MARGIN, y), fill=RULE, width=SCALE)
        rows, columns, channels = values.shape
        text_at(draw, _MARGIN, y + 9, tap, 14)
        offset = _MARGIN + draw.textlength(tap, font=font_of(14)) / SCALE + 12
        chosen = liveliest(values, per_tap)
        shown = ", ".join(str(channel) for channel in chosen)
        text_at(draw, offset, y + 10, f"{rows} x {columns} x {channels}   channels {shown}", 12, SOFT)
        for position, channel in enumerate(chosen):
            heat = Image.fromarray(as_heat(values[:, :, channel]))
            tile = heat.resize((_MAP * SCALE, _MAP * SCALE), Image.Resampling.NEAREST)
            paste(page, tile, _MARGIN + position * (_MAP + _GAP), y + 32)
        y += row
    return page


def liveliest(values: NDArray[np.float32], count: int) -> list[int]:
    """The `count` channels of (H, W, C) whose values vary most over the picture, in the network's order."""
    spread = values.reshape(-1, values.shape[-1]).std(axis=0)
    return sorted(int(channel) for channel in np.argsort(-spread, kind="stable")[:count])


def as_heat(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map (H, W) as colours (H, W, 3): its smallest value dark, its largest bright."""
    low, high = float(values.min()), float(values.max())
    unit = (values - low) / (high - low) if high > low else np.zeros_like(values)
    place = unit * (len(_HEAT) - 1)
    lower = np.clip(place.astype(np.intp), 0, len(_HEAT) - 2)
    share = (place - lower)[..., None]
    return np.asarray(np.rint(_HEAT[lower] * (1 - share) + _HEAT[lower + 1] * share), dtype=np.uint8)


def _bars(
    draw: ImageDraw.ImageDraw, ranked: Sequence[tuple[str, float]], left: float, top: float, right: float, height: float
) -> None:
    step = height / max(len(ranked), 1)
    full = right - left - 64
    for rank, (label, probability) in enumerate(ranked):
        y = top + rank * step
        text_at(draw, left, y + 2, shortened(draw, label, full, 16), 16, INK if rank == 0 else SOFT)
        box = scaled(left, y + 26, left + full, y + 26 + 14)
        draw.rounded_rectangle(box, radius=4 * SCALE, fill=RULE)
        width = full * min(max(probability, 0.0), 1.0)
        if width >= 1:
            box = scaled(left, y + 26, left + width, y + 26 + 14)
            draw.rounded_rectangle(box, radius=min(4.0, width / 2) * SCALE, fill=_BAR if rank == 0 else _BAR_REST)
        text_at(draw, left + full + 12, y + 24, f"{probability:.1%}", 14, INK if rank == 0 else SOFT)
