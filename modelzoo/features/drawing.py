"""What the pictures that modelzoo draws have in common: colours, text, scaled pictures; by Pillow alone.

Coordinates are layout units; a page has `SCALE` pixels for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

__all__ = ["INK", "PAPER", "RULE", "SCALE", "SOFT", "fitted", "font_of", "paste", "scaled", "shortened", "text_at"]

SCALE = 2  # pixels per layout unit: the page stays crisp on dense screens

PAPER = (255, 255, 255)
INK = (28, 32, 40)
SOFT = (112, 120, 132)
RULE = (226, 230, 236)


def fitted(picture: NDArray[np.uint8], side: int) -> Image.Image:
    """The picture scaled to fit a square of `side` layout units, on a pale ground."""
    image = Image.fromarray(picture)
    scale = side * SCALE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    method = Image.Resampling.LANCZOS if scale < 4 else Image.Resampling.NEAREST
    ground = Image.new("RGB", (side * SCALE, side * SCALE), (244, 246, 249))
    ground.paste(image.resize(size, method), ((ground.width - size[0]) // 2, (ground.height - size[1]) // 2))
    return ground


def paste(page: Image.Image, image: Image.Image, x: float, y: float) -> None:
    """Paste with rounded corners."""
    mask = Image.new("L", image.size, 0)
    edge = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(edge, radius=5 * SCALE, fill=255)
    page.paste(image, (round(x * SCALE), round(y * SCALE)), mask)


def scaled(*values: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (value * SCALE for value in values)
    return x0, y0, x1, y1


def font_of(size: int) -> Font:
    return ImageFont.load_default(size * SCALE)


def text_at(
    draw: ImageDraw.ImageDraw, x: float, y: float, text: str, size: int, colour: tuple[int, int, int] = INK
) -> None:
    draw.text((x * SCALE, y * SCALE), text, font=font_of(size), fill=colour)


def shortened(draw: ImageDraw.ImageDraw, text: str, width: float, size: int) -> str:
    font = font_of(size)
    if draw.textlength(text, font=font) <= width * SCALE:
        return text
    while text and draw.textlength(text + "...", font=font) > width * SCALE:
        text = text[:-1]
    return text.rstrip() + "..."
