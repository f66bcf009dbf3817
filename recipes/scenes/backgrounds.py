"""What stands behind a thing: one function a background, all of the same form.

`background(draw, rng, size)` paints a square RGB picture of `size` pixels; positions are shares of the size, so that
one seed gives the same picture at every size.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from recipes.scenes.palette import any_colour, dark, light, pick, vary
from recipes.scenes.pen import Colour, mix

__all__ = ["BACKGROUNDS"]


def _gradient(size: int, top: Colour, bottom: Colour, *, across: bool = False) -> Image.Image:
    ramp = np.linspace(0, 1, size)[:, None, None]
    values = np.asarray(top) * (1 - ramp) + np.asarray(bottom) * ramp
    picture = np.broadcast_to(values, (size, size, 3))
    return Image.fromarray(np.ascontiguousarray(picture.swapaxes(0, 1) if across else picture).astype(np.uint8))


def plain(rng: Random, size: int) -> Image.Image:
    """One colour, often a pale one."""
    colour = any_colour(rng)
    return Image.new("RGB", (size, size), light(colour, rng.choice((0.0, 0.3, 0.6, 0.8))))


def gradient(rng: Random, size: int) -> Image.Image:
    """From one colour to another."""
    return _gradient(size, any_colour(rng), any_colour(rng), across=rng.random() < 0.4)


def sky(rng: Random, size: int) -> Image.Image:
    """Blue, pale or evening sky with clouds."""
    top, low = rng.choice(
        (((90, 160, 235), (200, 230, 250)), ((150, 190, 225), (235, 240, 245)), ((90, 80, 150), (245, 170, 120)))
    )
    picture = _gradient(size, vary(rng, top), vary(rng, low))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randrange(4)):
        x, y, radius = rng.random(), rng.uniform(0, 0.6), rng.uniform(0.04, 0.1)
        for k in range(4):
            _disc(draw, size, x + (k - 1.5) * radius, y + rng.uniform(-0.3, 0.3) * radius, radius, (245, 248, 252))
    return picture


def meadow(rng: Random, size: int) -> Image.Image:
    """Sky over one or two green hills."""
    picture = sky(rng, size)
    draw = ImageDraw.Draw(picture)
    horizon = rng.uniform(0.4, 0.75)
    for k in range(rng.choice((1, 2))):
        green = pick(rng, (110, 175, 80), (80, 145, 60), (150, 180, 90), (190, 180, 110))
        y, x = horizon + 0.12 * k, rng.uniform(-0.3, 0.6)
        draw.ellipse([_px(size, v) for v in (x - 1.0, y, x + 1.6, y + 1.6)], fill=green)
        draw.rectangle([_px(size, v) for v in (0, min(y + 0.25, 1), 1, 1)], fill=green)
    for _ in range(rng.choice((0, 0, 60))):
        x, y = rng.random(), rng.uniform(horizon + 0.15, 1)
        colour = dark(pick(rng, (90, 150, 60), (70, 130, 60)), 0.1)
        draw.line([_px(size, v) for v in (x, y, x + 0.01, y - 0.04)], fill=colour, width=max(1, size // 120))
    return picture


def sea(rng: Random, size: int) -> Image.Image:
    """Sky over water with waves."""
    picture = sky(rng, size)
    horizon = rng.uniform(0.35, 0.8)
    blue = pick(rng, (60, 120, 180), (50, 150, 170), (80, 100, 150))
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, _px(size, horizon), size, size], fill=blue)
    for _ in range(rng.randrange(5, 30)):
        x, y, wide = rng.random(), rng.uniform(horizon, 1), rng.uniform(0.03, 0.12)
        draw.line([_px(size, v) for v in (x, y, x + wide, y)], fill=light(blue, 0.3), width=max(1, size // 100))
    return picture


def room(rng: Random, size: int) -> Image.Image:
    """A wall, plain or with stripes, over a table or floor."""
    wall, floor = (
        light(any_colour(rng), rng.uniform(0.2, 0.7)),
        pick(rng, (150, 110, 75), (190, 160, 120), (110, 100, 100)),
    )
    picture = _gradient(size, wall, dark(wall, 0.15))
    draw = ImageDraw.Draw(picture)
    if rng.random() < 0.5:
        count = rng.randrange(5, 14)
        for k in range(0, count, 2):
            draw.rectangle([_px(size, k / count), 0, _px(size, (k + 1) / count), size], fill=light(wall, 0.25))
    edge = rng.uniform(0.6, 0.9)
    draw.rectangle([0, _px(size, edge), size, size], fill=floor)
    draw.line([0, _px(size, edge), size, _px(size, edge)], fill=dark(floor, 0.3), width=max(1, size // 80))
    return picture


def clutter(rng: Random, size: int) -> Image.Image:
    """Discs, boxes, triangles and lines in muted colours, somewhat blurred."""
    base = light(any_colour(rng), 0.4)
    picture = Image.new("RGB", (size, size), base)
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randrange(8, 30)):
        x, y, radius = rng.random(), rng.random(), rng.uniform(0.03, 0.18)
        colour = mix(any_colour(rng), base, rng.uniform(0.2, 0.8))
        kind = rng.randrange(4)
        if kind == 0:
            _disc(draw, size, x, y, radius, colour)
        elif kind == 1:
            draw.rectangle(
                [_px(size, v) for v in (x - radius, y - radius, x + radius, y + radius * rng.random())], fill=colour
            )
        elif kind == 2:
            draw.polygon([_px(size, v + rng.uniform(-radius, radius) * 1.5) for v in (x, y) * 3], fill=colour)
        else:
            line = [_px(size, v) for v in (x, y, x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5))]
            draw.line(line, fill=colour, width=max(1, round(size * rng.uniform(0.005, 0.03))))
    return picture.filter(ImageFilter.GaussianBlur(size * rng.choice((0.0, 0.006, 0.02))))


def clouds_of_noise(rng: Random, size: int) -> Image.Image:
    """Smooth random colours."""
    cells = rng.choice((3, 6, 12, 24))
    noise = np.random.RandomState(rng.randrange(2**31)).randint(0, 256, (cells, cells, 3)).astype(np.uint8)
    picture = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
    return Image.blend(picture, Image.new("RGB", (size, size), any_colour(rng)), rng.uniform(0.2, 0.7))


def checks(rng: Random, size: int) -> Image.Image:
    """A chequered cloth."""
    first, count = light(any_colour(rng), 0.4), rng.randrange(4, 12)
    second = mix(first, any_colour(rng), 0.35)
    cells = (np.indices((count, count)).sum(axis=0) % 2).astype(bool)
    picture = np.where(cells[..., None], np.asarray(first), np.asarray(second)).astype(np.uint8)
    return Image.fromarray(picture).resize((size, size), Image.Resampling.NEAREST)


def night(rng: Random, size: int) -> Image.Image:
    """A dark sky with stars."""
    picture = _gradient(size, pick(rng, (10, 12, 40), (25, 15, 45)), pick(rng, (40, 45, 90), (60, 40, 80)))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randrange(10, 50)):
        _disc(draw, size, rng.random(), rng.random(), rng.uniform(0.002, 0.007), (240, 240, 210))
    return picture


def _px(size: int, share: float) -> float:
    return share * size


def _disc(draw: ImageDraw.ImageDraw, size: int, x: float, y: float, radius: float, colour: Colour) -> None:
    draw.ellipse([_px(size, v) for v in (x - radius, y - radius, x + radius, y + radius)], fill=colour)


BACKGROUNDS: dict[str, Callable[[Random, int], Image.Image]] = {
    "plain": plain,
    "gradient": gradient,
    "sky": sky,
    "meadow": meadow,
    "sea": sea,
    "room": room,
    "clutter": clutter,
    "noise": clouds_of_noise,
    "checks": checks,
    "night": night,
}
"""All backgrounds by name."""
