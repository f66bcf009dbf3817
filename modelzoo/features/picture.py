"""One PNG that shows what a network saw: the picture, what it takes it for, and a few maps of some taps.

Drawn with Pillow alone, so that it works in the base install.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

__all__ = ["as_heat", "draw_report", "liveliest"]

_SCALE = 2  # pixels per layout unit: the page stays crisp on dense screens
_WIDTH = 1040
_MARGIN = 36
_MAP = 112  # a multiple of 7, 14, 28 and 56: maps of a 224 pixel input get square pixels of equal size
_GAP = 10
_INPUT = 260

_PAPER = (255, 255, 255)
_INK = (28, 32, 40)
_SOFT = (112, 120, 132)
_RULE = (226, 230, 236)
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
    page = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), _PAPER)
    draw = ImageDraw.Draw(page)
    _text(draw, _MARGIN, _MARGIN - 6, title, 26)
    _text(draw, _MARGIN, _MARGIN + 30, subtitle, 14, _SOFT)

    _paste(page, _fitted(picture, _INPUT), _MARGIN, top)
    _text(draw, _MARGIN, top + _INPUT + 8, caption, 12, _SOFT)
    _bars(draw, ranked, _MARGIN + _INPUT + 40, top, _WIDTH - _MARGIN, _INPUT)

    y = top + _INPUT + 40
    for tap, values in maps.items():
        draw.line(_scaled(_MARGIN, y, _WIDTH - _MARGIN, y), fill=_RULE, width=_SCALE)
        rows, columns, channels = values.shape
        _text(draw, _MARGIN, y + 9, tap, 14)
        offset = _MARGIN + draw.textlength(tap, font=_font(14)) / _SCALE + 12
        chosen = liveliest(values, per_tap)
        shown = ", ".join(str(channel) for channel in chosen)
        _text(draw, offset, y + 10, f"{rows} x {columns} x {channels}   channels {shown}", 12, _SOFT)
        for position, channel in enumerate(chosen):
            heat = Image.fromarray(as_heat(values[:, :, channel]))
            tile = heat.resize((_MAP * _SCALE, _MAP * _SCALE), Image.Resampling.NEAREST)
            _paste(page, tile, _MARGIN + position * (_MAP + _GAP), y + 32)
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
        _text(draw, left, y + 2, _shortened(draw, label, full, 16), 16, _INK if rank == 0 else _SOFT)
        box = _scaled(left, y + 26, left + full, y + 26 + 14)
        draw.rounded_rectangle(box, radius=4 * _SCALE, fill=_RULE)
        width = full * min(max(probability, 0.0), 1.0)
        if width >= 1:
            box = _scaled(left, y + 26, left + width, y + 26 + 14)
            draw.rounded_rectangle(box, radius=min(4.0, width / 2) * _SCALE, fill=_BAR if rank == 0 else _BAR_REST)
        _text(draw, left + full + 12, y + 24, f"{probability:.1%}", 14, _INK if rank == 0 else _SOFT)


def _fitted(picture: NDArray[np.uint8], side: int) -> Image.Image:
    """The picture scaled to fit a square of `side` layout units, on a pale ground."""
    image = Image.fromarray(picture)
    scale = side * _SCALE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    method = Image.Resampling.LANCZOS if scale < 4 else Image.Resampling.NEAREST
    ground = Image.new("RGB", (side * _SCALE, side * _SCALE), (244, 246, 249))
    ground.paste(image.resize(size, method), ((ground.width - size[0]) // 2, (ground.height - size[1]) // 2))
    return ground


def _paste(page: Image.Image, image: Image.Image, x: float, y: float) -> None:
    """Paste with rounded corners."""
    mask = Image.new("L", image.size, 0)
    edge = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(edge, radius=5 * _SCALE, fill=255)
    page.paste(image, (round(x * _SCALE), round(y * _SCALE)), mask)


def _scaled(*values: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (value * _SCALE for value in values)
    return x0, y0, x1, y1


def _font(size: int) -> Font:
    return ImageFont.load_default(size * _SCALE)


def _text(
    draw: ImageDraw.ImageDraw, x: float, y: float, text: str, size: int, colour: tuple[int, int, int] = _INK
) -> None:
    draw.text((x * _SCALE, y * _SCALE), text, font=_font(size), fill=colour)


def _shortened(draw: ImageDraw.ImageDraw, text: str, width: float, size: int) -> str:
    font = _font(size)
    if draw.textlength(text, font=font) <= width * _SCALE:
        return text
    while text and draw.textlength(text + "...", font=font) > width * _SCALE:
        text = text[:-1]
    return text.rstrip() + "..."
