"""Colour pictures of everyday things, drawn by code: a class name and a seed go in, a uint8 RGB picture comes out.

Every picture is deterministic: the same class, seed, size and style give the same array in every process. Nothing is
read from disk or fetched. Each class has four styles; the last is kept out of training, to measure how far what was
learned carries to other drawings of the same thing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from recipes.scenes import living, made
from recipes.scenes.backgrounds import BACKGROUNDS
from recipes.scenes.palette import any_colour, mix, pick
from recipes.scenes.pen import Pen

__all__ = ["CLASSES", "HELD_OUT_STYLE", "THINGS", "scene"]

THINGS: dict[str, tuple[Callable[[Pen, Random, int], None], float]] = {
    "apple": (living.apple, 40),
    "balloon": (made.balloon, 20),
    "banana": (living.banana, 90),
    "butterfly": (living.butterfly, 60),
    "car": (made.car, 15),
    "cat": (living.cat, 15),
    "clock": (made.clock, 20),
    "cup": (made.cup, 15),
    "fish": (living.fish, 40),
    "flower": (living.flower, 25),
    "house": (made.house, 10),
    "mushroom": (living.mushroom, 20),
    "rocket": (made.rocket, 60),
    "sailing boat": (made.sailing_boat, 15),
    "tree": (living.tree, 10),
    "umbrella": (made.umbrella, 35),
}
"""Class name -> (drawing function, largest turn in degrees)."""

CLASSES: tuple[str, ...] = tuple(THINGS)
"""Class names in the order of the network's outputs."""

HELD_OUT_STYLE = 3
"""The style that no training picture has."""

_SUPERSAMPLING = 2


def scene(class_name: str, seed: int, size: int = 128, *, style: int | None = None) -> np.ndarray:
    """One thing in front of a background, as uint8 (size, size, 3) RGB.

    Args:
        class_name: one of `CLASSES`.
        seed: any integer; place, scale, turn, colours, light, background and clutter follow from it.
        size: side in pixels; one seed shows the same scene at every size.
        style: 0..3, a way of drawing the thing; None lets the seed choose among those used for training.
    """
    rng = Random(f"{class_name}/{seed}")
    thing, turn = THINGS[class_name]
    chosen = rng.randrange(HELD_OUT_STYLE)
    big = size * _SUPERSAMPLING
    picture = BACKGROUNDS[rng.choice(tuple(BACKGROUNDS))](rng, big)
    layer = Image.new("RGBA", (big, big), (0, 0, 0, 0))
    ink = rng.choice((None, None, (30, 25, 30), (60, 40, 30), (20, 20, 60)))
    pen = _placed(layer, rng, turn, ink)
    thing(pen, rng, chosen if style is None else style)
    layer = _lit(layer, rng)
    if rng.random() < 0.4:
        picture = _shadowed(picture, layer, rng)
    picture.paste(layer, (0, 0), layer)
    if rng.random() < 0.3:
        _cover(picture, rng)
    return _developed(picture.reduce(_SUPERSAMPLING), rng)


def _placed(layer: Image.Image, rng: Random, turn: float, ink: tuple[int, int, int] | None) -> Pen:
    """A pen whose [-1, 1] square lies mostly inside the picture: scaled, stretched, turned, mirrored, shifted."""
    size = layer.width
    half = rng.uniform(0.24, 0.43)
    room = max(0.0, 0.47 - half) + 0.03
    cx, cy = 0.5 + rng.uniform(-room, room), 0.5 + rng.uniform(-room, room)
    stretch = rng.uniform(0.88, 1.12)
    pen = Pen(
        layer, (size * half * stretch, 0, size * cx, 0, size * half / stretch, size * cy), ink, rng.uniform(0.025, 0.06)
    )
    return pen.moved(angle=rng.uniform(-turn, turn), flip=rng.random() < 0.5)


def _lit(layer: Image.Image, rng: Random) -> Image.Image:
    """Light from one side: colours multiplied by a ramp of up to +-30 %."""
    size, angle, strength = layer.width, rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.3)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    field = 1 + strength * (math.cos(angle) * ramp[None, :] + math.sin(angle) * ramp[:, None])
    pixels = np.asarray(layer)
    colours = np.clip(pixels[..., :3] * field[..., None], 0, 255).astype(np.uint8)
    return Image.fromarray(np.concatenate([colours, pixels[..., 3:]], axis=2))


def _shadowed(picture: Image.Image, layer: Image.Image, rng: Random) -> Image.Image:
    size = layer.width
    shift = tuple(round(size * rng.uniform(-0.05, 0.05)) for _ in range(2))
    mask = Image.new("L", layer.size, 0)
    mask.paste(layer.getchannel("A").point(lambda value: value * 0.45), shift)
    mask = mask.resize((64, 64)).filter(ImageFilter.GaussianBlur(1)).resize(layer.size)
    return Image.composite(Image.new("RGB", layer.size, (20, 20, 30)), picture, mask)


def _cover(picture: Image.Image, rng: Random) -> None:
    """Something in front, at an edge: grass, a leafy corner, a bar or a disc."""
    size = picture.width
    draw = ImageDraw.Draw(picture)
    kind = rng.randrange(4)
    if kind == 0:
        green = pick(rng, (70, 140, 50), (100, 160, 70))
        for _ in range(40):
            x, tall = rng.random(), rng.uniform(0.05, 0.22)
            tip = (size * (x + rng.uniform(-0.05, 0.05)), size * (1 - tall))
            draw.polygon(
                [(size * (x - 0.012), size), tip, (size * (x + 0.012), size)], fill=mix(green, any_colour(rng), 0.1)
            )
    elif kind == 1:
        colour = pick(rng, (60, 120, 50), (200, 120, 60), (150, 60, 60))
        x, y = rng.choice((0, 1)), rng.choice((0, 1))
        for _ in range(12):
            cx, cy = abs(x - rng.uniform(0, 0.25)), abs(y - rng.uniform(0, 0.25))
            long, short = rng.uniform(0.03, 0.08), rng.uniform(0.02, 0.04)
            box = [size * v for v in (cx - long, cy - short, cx + long, cy + short)]
            draw.ellipse(box, fill=mix(colour, any_colour(rng), 0.12))
    elif kind == 2:
        colour, at, wide = any_colour(rng), rng.uniform(0.1, 0.9), rng.uniform(0.02, 0.07)
        box = [size * v for v in ((at, 0, at + wide, 1) if rng.random() < 0.5 else (0, at, 1, at + wide))]
        draw.rectangle(box, fill=colour)
    else:
        colour, radius = any_colour(rng), rng.uniform(0.08, 0.18)
        angle = rng.uniform(0, 2 * math.pi)
        cx, cy = 0.5 + 0.42 * math.cos(angle), 0.5 + 0.42 * math.sin(angle)
        draw.ellipse([size * v for v in (cx - radius, cy - radius, cx + radius, cy + radius)], fill=colour)


def _developed(picture: Image.Image, rng: Random) -> np.ndarray:
    """Exposure, contrast, tint, blur and grain of a camera; uint8 (H, W, 3)."""
    size = picture.width
    if rng.random() < 0.25:
        picture = picture.filter(ImageFilter.GaussianBlur(size * rng.uniform(0.002, 0.008)))
    values = np.asarray(picture).astype(np.float32)
    tint = np.asarray([rng.uniform(0.9, 1.1) for _ in range(3)], np.float32)
    values = (values - 128) * rng.uniform(0.75, 1.15) + 128 * rng.uniform(0.8, 1.2)
    values *= tint
    if rng.random() < 0.4:
        grain = np.random.RandomState(rng.randrange(2**31))
        values += grain.randn(size, size, 1).astype(np.float32) * rng.uniform(2, 12)
    return np.clip(values, 0, 255).astype(np.uint8)
