"""Two style pictures that code draws, for those who have no painting at hand: brush strokes, and a mosaic."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

Picture = np.ndarray


def strokes(side: int = 512, seed: int = 0) -> Picture:
    """uint8 (side, side, 3): short thick strokes that follow eddies, blue with yellow lights."""
    rng = np.random.default_rng(seed)
    scale = 2  # drawn larger and scaled down: smooth edges
    page = Image.new("RGB", (side * scale, side * scale), (24, 40, 92))
    ink = ImageDraw.Draw(page)
    eddies = rng.uniform(0, side, (6, 2))
    night = np.array([[18, 34, 88], [28, 62, 130], [52, 104, 168], [96, 150, 188], [150, 186, 196]])
    light = np.array([[236, 200, 72], [246, 226, 140], [214, 150, 40]])
    for _ in range(side * 14):
        x, y = rng.uniform(0, side, 2)
        away = np.hypot(*(eddies - (x, y)).T)
        near = int(np.argmin(away))
        angle = math.atan2(y - eddies[near, 1], x - eddies[near, 0]) + math.pi / 2 + 0.3 * math.sin(x / 40)
        bright = away[near] < side * 0.05 or (rng.random() < 0.12 and away[near] < side * 0.16)
        colour = (light if bright else night)[rng.integers(len(light if bright else night))]
        colour = np.clip(colour + rng.normal(0, 10, 3), 0, 255).astype(int)
        length, width = rng.uniform(8, 18), rng.uniform(2, 4.5)
        dx, dy = length / 2 * math.cos(angle), length / 2 * math.sin(angle)
        ends = [(x - dx) * scale, (y - dy) * scale, (x + dx) * scale, (y + dy) * scale]
        ink.line(ends, fill=tuple(colour.tolist()), width=round(width * scale))
    return np.asarray(page.resize((side, side), Image.Resampling.LANCZOS))


def mosaic(side: int = 512, cells: int = 500, seed: int = 1) -> Picture:
    """uint8 (side, side, 3): tiles of strong colours between dark joints."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, side, (cells, 2))
    palette = np.array(
        [[196, 58, 40], [226, 128, 40], [240, 200, 90], [40, 120, 110], [24, 76, 110], [236, 226, 200], [120, 40, 60]]
    )
    colours = palette[rng.integers(len(palette), size=cells)] + rng.normal(0, 12, (cells, 3))
    page = np.empty((side, side, 3))
    columns = np.arange(side)
    for row in range(side):
        away = np.hypot(columns[:, None] - centres[:, 0], row - centres[:, 1])
        nearest = np.partition(away, 1, axis=1)[:, :2]
        joint = np.clip((nearest[:, 1] - nearest[:, 0] - 1.5) / 2, 0, 1)[:, None]
        page[row] = joint * colours[np.argmin(away, axis=1)] + (1 - joint) * (38, 32, 30)
    return np.clip(page, 0, 255).astype(np.uint8)


STYLES = {"strokes": strokes, "mosaic": mosaic}
