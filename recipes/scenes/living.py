"""Things that grow or live: one drawing function each, all of the same form.

`thing(pen, rng, style)` draws within [-1, 1] (x right, y down); `style` is 0..3, four ways in which a person still
names the same thing. Style 3 never appears in training (`recipes.scenes.HELD_OUT_STYLE`).
"""

from __future__ import annotations

import math
from random import Random

from recipes.scenes.palette import DARK, WHITE, dark, light, pick, vary
from recipes.scenes.pen import Colour, Pen, arc, mix, smooth

__all__ = ["apple", "banana", "butterfly", "cat", "fish", "flower", "mushroom", "tree"]

_CREAM = (250, 240, 205)
_LEAF = ((60, 150, 50), (90, 170, 60), (40, 120, 60))
_BARK = ((110, 75, 45), (90, 60, 40), (135, 95, 60))
_ROSY = (245, 140, 150)


def apple(pen: Pen, rng: Random, style: int) -> None:
    """0 whole with a leaf, 1 bitten, 2 two-coloured, 3 cut in half."""
    skin = pick(rng, (200, 30, 35), (220, 45, 40), (120, 180, 50), (225, 190, 60), (170, 25, 45))
    if style == 2:
        skin = pick(rng, (215, 190, 70), (150, 190, 70))
    wide, low = rng.uniform(0.8, 0.95), rng.uniform(0.72, 0.9)
    body = [(0.0, -0.52), (0.35, -0.7), (0.8, -0.45), (0.9, 0.0), (0.65, 0.6), (0.27, 0.85), (0.0, 0.75)]
    body += [(-x, y) for x, y in reversed(body[1:-1])]
    body = [(x * wide, y * low / 0.85 + 0.05) for x, y in body]
    pen.blob(body, skin)
    if style == 2:
        pen.blob([(x * 0.5 - 0.3, y * 0.8 + 0.08) for x, y in body], pick(rng, (200, 50, 40), (215, 80, 50)), ink=False)
    elif style == 3:
        pen.blob([(x * 0.88, y * 0.88 + 0.02) for x, y in body], vary(rng, _CREAM, 8), ink=False)
        pen.ellipse(0, 0.1, 0.27, 0.36, mix(_CREAM, (205, 195, 110), 0.5), ink=False)
        for side in (-1, 1):
            pen.ellipse(side * 0.11, 0.1, 0.06, 0.14, (90, 50, 25), angle=side * 15, ink=False)
    if style < 2:
        pen.ellipse(-0.42 * wide, -0.2, 0.14, 0.25, light(skin, 0.45), angle=25, ink=False)
    if style == 1:
        x, y, radius = 0.85 * wide, rng.uniform(-0.15, 0.2), rng.uniform(0.36, 0.46)
        pen.ellipse(x, y, radius, radius, _CREAM, ink=False)
        pen.erase(x + 0.12, y, radius, radius * 0.96)
    pen.line([(0, -0.45), (0.03, -0.7), (0.12, -0.92)], 0.09, pick(rng, *_BARK))
    if style in (0, 3) or rng.random() < 0.4:
        pen.blob([(0.06, -0.68), (0.28, -0.95), (0.62, -0.92), (0.42, -0.68)], pick(rng, *_LEAF))


def _one_banana(pen: Pen, skin: Colour, thick: float, bend: float) -> None:
    spine = arc(0, -bend, 0.92, bend + 0.25, 165, 15, 8)
    widths = [thick * w for w in (0.3, 0.62, 0.88, 1.0, 1.05, 1.0, 0.85, 0.55, 0.25)]
    pen.ribbon(spine, widths, skin)
    inner = [(x * 0.93, y + 0.25 * thick) for x, y in spine[1:-1]]
    pen.line(smooth(inner, closed=False), 0.05, dark(skin, 0.22))
    (x0, y0), (x1, y1) = spine[0], spine[-1]
    pen.line([(x0, y0), (x0 - 0.05, y0 - 0.14)], 0.12, (100, 80, 35))
    pen.line([(x1, y1), (x1 + 0.02, y1 - 0.05)], 0.1, (70, 55, 30))


def banana(pen: Pen, rng: Random, style: int) -> None:
    """0 one, 1 a bunch of three, 2 half peeled, 3 two with brown spots."""
    skin = pick(rng, (245, 215, 50), (250, 225, 80), (225, 205, 60), (205, 210, 70))
    thick, bend = rng.uniform(0.2, 0.27), rng.uniform(0.25, 0.6)
    if style == 0:
        _one_banana(pen, skin, thick, bend)
    elif style == 1:
        for turn in (30, 8, -14):
            _one_banana(pen.moved(-0.1, 0.02 * turn / 3 - 0.05, 0.95, turn), vary(rng, skin, 10), thick, bend)
        pen.line([(-0.93, -0.32), (-0.83, -0.12)], 0.2, (110, 90, 40))
    elif style == 2:
        spine = [(-0.12, -0.95), (-0.02, -0.5), (0.0, 0.0), (-0.06, 0.5), (-0.25, 0.92)]
        pen.ribbon(spine, [0.1, 0.2, 0.24, 0.22, 0.07], _CREAM)
        pen.ribbon(spine[2:], [0.25, 0.23, 0.07], skin)
        for side, reach in ((-1, rng.uniform(0.55, 0.75)), (1, rng.uniform(0.5, 0.75))):
            flap = [(side * 0.12, 0.1), (side * 0.35, -0.2), (side * reach, -0.1), (side * (reach + 0.1), 0.3)]
            pen.ribbon(flap, [0.14, 0.15, 0.12, 0.03], vary(rng, skin, 12))
        pen.ribbon([(0.02, 0.15), (0.08, -0.05), (0.1, 0.35), (0.08, 0.6)], [0.1, 0.12, 0.09, 0.03], dark(skin, 0.1))
        pen.line([(-0.25, 0.9), (-0.29, 1.0)], 0.11, (90, 70, 35))
    else:
        for turn, shift in ((22, -0.22), (-8, 0.12)):
            part = pen.moved(0, shift, 0.95, turn)
            _one_banana(part, skin, thick * 0.9, bend)
            for _ in range(9):
                angle = math.radians(rng.uniform(35, 145))
                x, y = 0.9 * math.cos(angle), (bend + 0.25) * math.sin(angle) - bend + rng.uniform(-0.1, 0.1)
                part.ellipse(x, y, 0.035, 0.022, (120, 85, 35), ink=False)


def butterfly(pen: Pen, rng: Random, style: int) -> None:
    """0 round wings with eyes, 1 dark borders and veins, 2 swallowtail, 3 banded wings."""
    wing = pick(rng, (235, 130, 30), (60, 120, 220), (235, 205, 60), (200, 70, 150), (130, 80, 190), (80, 190, 170))
    trim = dark(wing, 0.75) if style in (1, 3) else vary(rng, light(wing, 0.5), 20)
    second = vary(rng, wing, 30) if style != 0 else pick(rng, (240, 170, 60), (90, 160, 230), (230, 110, 150))
    upper = [(0.05, -0.15), (0.25, -0.65), (0.65, -0.9), (0.97, -0.72), (0.9, -0.25), (0.5, 0.05), (0.1, 0.05)]
    lower = [(0.05, 0.05), (0.45, 0.08), (0.75, 0.3), (0.7, 0.68), (0.4, 0.8), (0.15, 0.45)]
    if style == 2:
        upper = [(0.05, -0.15), (0.35, -0.6), (0.98, -0.95), (0.9, -0.45), (0.55, 0.0), (0.1, 0.05)]
        lower = [(0.05, 0.0), (0.5, 0.05), (0.68, 0.35), (0.5, 0.55), (0.52, 0.98), (0.38, 0.95), (0.3, 0.58)]
    slim = rng.uniform(0.75, 1.0)
    for flip in (False, True):
        half = pen.moved(0, 0, 1, 0, flip)
        for shape, colour, centre in ((lower, second, (0.38, 0.38)), (upper, wing, (0.52, -0.4))):
            points = [(x * slim, y) for x, y in shape]
            cx, cy = centre[0] * slim, centre[1]
            inner = [(cx + (x - cx) * 0.78, cy + (y - cy) * 0.78) for x, y in points]
            if style == 0:
                half.blob(points, colour)
                half.ellipse(cx + 0.1, cy - 0.02, 0.19 * slim, 0.17, trim, ink=False)
                half.ellipse(cx + 0.1, cy - 0.02, 0.09 * slim, 0.08, dark(colour, 0.6), ink=False)
            elif style == 1:
                half.blob(points, trim)
                half.blob(inner, colour, ink=False)
                for x, y in inner[1:5]:
                    half.line([(0.06, 0.0), (x, y)], 0.035, trim)
                for x, y in points[2:5]:
                    half.ellipse(cx + (x - cx) * 0.9, cy + (y - cy) * 0.9, 0.03, 0.03, WHITE, ink=False)
            elif style == 2:
                half.blob(points, colour)
                half.line([(cx - 0.15, cy - 0.15), (cx + 0.2, cy - 0.18)], 0.09, trim)
                half.line([(cx - 0.15, cy + 0.05), (cx + 0.15, cy + 0.02)], 0.06, DARK)
            else:
                half.blob(points, trim)
                for share in (0.86, 0.62, 0.38):
                    band = [(x * share + 0.03, y * share) for x, y in inner]
                    half.blob(band, colour if share != 0.62 else light(colour, 0.6), ink=False)
        half.line(smooth([(0.02, -0.4), (0.12, -0.7), (0.3, -0.9)], closed=False), 0.035, DARK)
        half.ellipse(0.3, -0.9, 0.045, 0.045, DARK, ink=False)
    body = pick(rng, (50, 40, 40), (90, 60, 40), (30, 30, 50))
    pen.ellipse(0, 0.1, 0.08, 0.5, body)
    pen.ellipse(0, -0.4, 0.1, 0.11, body)


def _cat_face(pen: Pen, rng: Random, fur: Colour, *, stripes: bool = False, asleep: bool = False) -> None:
    for side in (-1, 1):
        pen.poly([(side * 0.85, -0.95), (side * 0.12, -0.55), (side * 0.82, -0.05)], fur)
        pen.poly([(side * 0.75, -0.78), (side * 0.35, -0.5), (side * 0.72, -0.25)], mix(fur, _ROSY, 0.75), ink=False)
    pen.ellipse(0, 0.1, 0.88, 0.75, fur)
    if stripes:
        for x in (-0.22, 0.0, 0.22):
            pen.line([(x, -0.6 + abs(x) * 0.2), (x * 0.8, -0.3)], 0.09, dark(fur, 0.5))
        for side in (-1, 1):
            for y in (0.1, 0.3):
                pen.line([(side * 0.85, y), (side * 0.6, y + 0.03)], 0.07, dark(fur, 0.5))
    iris = pick(rng, (110, 180, 60), (230, 190, 50), (80, 160, 210))
    for side in (-1, 1):
        if asleep:
            pen.line(arc(side * 0.36, -0.05, 0.17, 0.12, 20, 160, 8), 0.06, DARK)
        else:
            pen.ellipse(side * 0.36, -0.05, 0.19, 0.19, iris)
            pen.ellipse(side * 0.36, -0.05, rng.choice((0.06, 0.11)), 0.16, (20, 20, 20), ink=False)
            pen.ellipse(side * 0.36 + 0.05, -0.11, 0.045, 0.045, WHITE, ink=False)
        pen.ellipse(side * 0.17, 0.42, 0.2, 0.16, light(fur, 0.6), ink=False)
        for dy in (-0.1, 0.02, 0.14):
            whisker = light(fur, 0.9) if sum(fur) < 300 else DARK
            pen.line([(side * 0.3, 0.38 + dy * 0.5), (side * 1.0, 0.33 + dy * 1.6)], 0.025, whisker)
    pen.poly([(-0.12, 0.2), (0.12, 0.2), (0, 0.34)], _ROSY)
    pen.line(arc(-0.1, 0.38, 0.1, 0.13, 0, 150, 6), 0.04, DARK)
    pen.line(arc(0.1, 0.38, 0.1, 0.13, 180, 30, 6), 0.04, DARK)


def cat(pen: Pen, rng: Random, style: int) -> None:
    """0 face, 1 sitting, 2 tabby face, 3 walking, seen from the side."""
    fur = pick(rng, (225, 145, 60), (130, 130, 135), (55, 50, 55), (235, 225, 210), (150, 105, 70))
    if style == 0:
        _cat_face(pen, rng, fur, asleep=rng.random() < 0.2)
    elif style == 2:
        fur = pick(rng, (215, 140, 70), (150, 150, 150), (165, 125, 85))
        _cat_face(pen, rng, fur, stripes=True, asleep=rng.random() < 0.3)
    elif style == 1:
        tail = smooth([(0.35, 0.8), (0.8, 0.75), (0.85, 0.35), (0.7, 0.1)], closed=False)
        pen.ribbon(tail, [0.1] * len(tail), fur)
        pen.blob([(0, -0.25), (0.38, 0.1), (0.55, 0.7), (0.4, 0.98), (-0.4, 0.98), (-0.55, 0.7), (-0.38, 0.1)], fur)
        pen.ellipse(0, 0.5, 0.22, 0.35, light(fur, 0.5), ink=False)
        for side in (-1, 1):
            pen.ellipse(side * 0.2, 0.92, 0.17, 0.09, light(fur, 0.35))
        _cat_face(pen.moved(0, -0.42, 0.54), rng, fur)
    else:
        tail = smooth([(0.6, 0.1), (0.85, -0.1), (0.8, -0.5), (0.95, -0.8)], closed=False)
        pen.ribbon(tail, [0.07] * len(tail), fur)
        for x, dx in ((-0.4, -0.08), (-0.25, 0.08), (0.42, -0.06), (0.58, 0.1)):
            pen.line([(x, 0.3), (x + dx, 0.85)], 0.15, dark(fur, 0.12))
        pen.ellipse(0.1, 0.18, 0.62, 0.28, fur)
        _cat_face(pen.moved(-0.6, -0.25, 0.38), rng, fur)


def _eye(pen: Pen, x: float, y: float, size: float) -> None:
    pen.ellipse(x, y, size, size, WHITE)
    pen.ellipse(x - size * 0.15, y, size * 0.5, size * 0.5, (15, 15, 20), ink=False)


def fish(pen: Pen, rng: Random, style: int) -> None:
    """0 oval, 1 tall and striped, 2 long with scales, 3 goldfish with a fan tail; all look to the left."""
    body = pick(rng, (240, 140, 40), (70, 140, 210), (240, 205, 60), (90, 180, 120), (220, 80, 80), (150, 160, 175))
    fin = vary(rng, dark(body, 0.25), 25)
    if style == 0:
        pen.poly([(0.45, 0.0), (0.98, -0.45), (0.85, 0.0), (0.98, 0.45)], fin)
        pen.blob([(-0.25, -0.4), (0.1, -0.72), (0.4, -0.3)], fin)
        pen.ellipse(-0.15, 0.0, 0.75, 0.45, body)
        pen.blob([(-0.1, 0.1), (0.2, 0.05), (0.22, 0.32)], fin)
        _eye(pen, -0.58, -0.1, 0.1)
        pen.line(arc(-0.35, 0.0, 0.12, 0.3, -60, 60, 6), 0.04, dark(body, 0.3))
        pen.line([(-0.88, 0.1), (-0.72, 0.14)], 0.04, DARK)
    elif style == 1:
        pen.poly([(0.45, 0.0), (0.95, -0.35), (0.95, 0.35)], fin)
        pen.blob([(-0.2, -0.5), (0.35, -0.98), (0.45, -0.2)], fin)
        pen.blob([(-0.2, 0.5), (0.35, 0.98), (0.45, 0.2)], fin)
        pen.blob([(-0.9, 0.0), (-0.45, -0.45), (0.1, -0.6), (0.5, -0.15), (0.5, 0.15), (0.1, 0.6), (-0.45, 0.45)], body)
        stripe = rng.choice((WHITE, DARK, dark(body, 0.5)))
        for x, half in ((-0.38, 0.36), (-0.05, 0.5), (0.27, 0.32)):
            pen.line(arc(x - 0.1, 0.0, 0.12, half, -80, 80, 8), 0.12, stripe)
        _eye(pen, -0.6, -0.1, 0.1)
    elif style == 2:
        pen.poly([(0.6, 0.0), (1.0, -0.35), (0.9, 0.0), (1.0, 0.35)], fin)
        pen.blob([(-0.1, -0.22), (0.1, -0.5), (0.3, -0.2)], fin)
        pen.blob([(-0.1, 0.2), (0.1, 0.45), (0.2, 0.2)], fin)
        pen.blob(
            [(-0.98, 0.02), (-0.6, -0.22), (0.0, -0.3), (0.65, -0.07), (0.65, 0.07), (0.0, 0.3), (-0.6, 0.24)], body
        )
        for column in range(5):
            for row in range(3):
                x, y = -0.35 + 0.18 * column, (row - 1) * 0.15
                if abs(y) < 0.2 - 0.03 * column or row == 1:
                    pen.line(arc(x, y, 0.08, 0.08, 90, 270, 6), 0.03, dark(body, 0.35))
        pen.line(arc(-0.65, 0.0, 0.1, 0.2, -70, 70, 6), 0.04, dark(body, 0.4))
        _eye(pen, -0.75, -0.06, 0.06)
    else:
        body = pick(rng, (245, 120, 30), (240, 90, 40), (250, 170, 60))
        for y in (-0.55, 0.05, 0.6):
            pen.blob([(0.2, 0.0), (0.6, y - 0.2), (1.0, y), (0.7, y + 0.18)], light(body, 0.25))
        pen.blob([(-0.3, -0.35), (-0.05, -0.85), (0.25, -0.7), (0.2, -0.25)], light(body, 0.2))
        pen.ellipse(-0.25, 0.0, 0.6, 0.46, body)
        pen.blob([(-0.15, 0.3), (0.15, 0.7), (0.2, 0.3)], light(body, 0.2))
        _eye(pen, -0.6, -0.12, 0.12)


def flower(pen: Pen, rng: Random, style: int) -> None:
    """0 daisy on a stem, 1 tulip, 2 sunflower, 3 a blossom of five round petals."""
    petal = pick(rng, (250, 250, 245), (240, 100, 150), (170, 90, 200), (240, 70, 70), (250, 170, 60), (110, 130, 230))
    green = pick(rng, *_LEAF)
    if style == 3:
        for side in (-1, 1):
            pen.blob([(side * 0.3, 0.3), (side * 0.95, 0.35), (side * 0.85, 0.85), (side * 0.45, 0.7)], green)
        for k in range(5):
            part = pen.moved(0, 0, 1, 72 * k)
            part.ellipse(0, -0.5, 0.36, 0.42, petal)
            part.line([(0, -0.2), (0, -0.5)], 0.05, dark(petal, 0.25))
        pen.ellipse(0, 0, 0.22, 0.22, pick(rng, (245, 205, 60), (250, 235, 140)))
        return
    pen.line(smooth([(0, -0.3), (rng.uniform(-0.1, 0.1), 0.4), (0, 1.0)], closed=False), 0.09, green)
    for side in (-1, 1):
        if style == 1:
            pen.blob([(side * 0.02, 0.95), (side * 0.2, 0.4), (side * 0.5, -0.05), (side * 0.35, 0.55)], green)
        elif rng.random() < 0.85:
            y = rng.uniform(0.35, 0.6)
            pen.blob([(0, y + 0.15), (side * 0.3, y - 0.08), (side * 0.6, y - 0.05), (side * 0.35, y + 0.15)], green)
    if style == 0:
        count = rng.choice((7, 8, 9, 11))
        for k in range(count):
            pen.moved(0, -0.38, 1, 360 * k / count).ellipse(0, -0.38, 0.78 / count + 0.05, 0.24, petal)
        pen.ellipse(0, -0.38, 0.2, 0.2, pick(rng, (245, 200, 50), (220, 150, 40)))
    elif style == 1:
        cup = pick(rng, (230, 60, 70), (245, 190, 50), (230, 110, 170), (150, 70, 170), (245, 240, 235))
        pen.blob([(0, -0.95), (0.22, -0.55), (0.1, 0.0), (-0.1, 0.0), (-0.22, -0.55)], dark(cup, 0.2))
        for side in (-1, 1):
            pen.blob(
                [(side * 0.42, -0.95), (side * 0.48, -0.35), (side * 0.2, 0.02), (-side * 0.14, 0.02), (0, -0.4)], cup
            )
    else:
        yellow = pick(rng, (250, 200, 30), (245, 175, 30))
        for ring, count in ((0.62, 18), (0.54, 16)):
            for k in range(count):
                part = pen.moved(0, -0.35, 1, 360 * k / count + 100 * ring)
                part.poly([(-0.1, -0.3), (0, -ring), (0.1, -0.3)], vary(rng, yellow, 14))
        pen.ellipse(0, -0.35, 0.36, 0.36, (95, 60, 30))
        for _ in range(18):
            angle, far = rng.uniform(0, 6.283), rng.uniform(0, 0.3)
            pen.ellipse(far * math.cos(angle), -0.35 + far * math.sin(angle), 0.03, 0.03, (140, 95, 45), ink=False)


def _one_mushroom(pen: Pen, rng: Random, cap: Colour, shape: str, dots: bool) -> None:
    stalk = vary(rng, (240, 230, 210), 12)
    wide = rng.uniform(0.16, 0.26)
    pen.blob(
        [(-wide, 0.0), (wide, 0.0), (wide * 0.9, 0.5), (wide * 1.4, 0.95), (-wide * 1.4, 0.95), (-wide * 0.9, 0.5)],
        stalk,
    )
    if shape == "dome":
        height = rng.uniform(0.75, 0.98)
        outline = [*arc(0, 0.05, 0.88, height, 180, 360, 18), *arc(0, 0.05, 0.88, 0.14, 0, 180, 12)]
    elif shape == "flat":
        height = 0.5
        outline = smooth([(-0.95, 0.08), (-0.7, -0.3), (0, -0.5), (0.7, -0.3), (0.95, 0.08), (0.5, 0.16), (-0.5, 0.16)])
    else:
        height = 0.95
        outline = smooth([(-0.6, 0.2), (-0.35, -0.4), (0, -0.98), (0.35, -0.4), (0.6, 0.2), (0.2, 0.26), (-0.2, 0.26)])
    pen.poly(outline, cap)
    if shape == "flat":
        for k in range(-3, 4):
            pen.line([(k * 0.06, 0.15), (k * 0.22, 0.1)], 0.03, dark(cap, 0.4))
    if dots:
        for x, y, size in (
            (-0.5, -0.2, 0.12),
            (0.05, -0.5, 0.16),
            (0.5, -0.22, 0.13),
            (-0.12, -0.1, 0.1),
            (0.24, -0.08, 0.07),
        ):
            pen.ellipse(x + rng.uniform(-0.06, 0.06), y * height + 0.04, size, size * 0.8, (250, 245, 235), ink=False)


def mushroom(pen: Pen, rng: Random, style: int) -> None:
    """0 red with white dots, 1 brown and flat, 2 a pair, 3 a tall cone."""
    red = pick(rng, (210, 40, 35), (225, 70, 40), (190, 30, 50))
    brown = pick(rng, (150, 95, 55), (175, 125, 75), (120, 80, 60), (205, 170, 120))
    if style == 0:
        _one_mushroom(pen, rng, red, "dome", True)
    elif style == 1:
        _one_mushroom(pen, rng, brown, rng.choice(("flat", "dome")), False)
    elif style == 2:
        cap = rng.choice((red, brown))
        for x, y, scale, turn in ((0.42, 0.32, 0.55, 12), (-0.25, 0.0, 0.78, -6)):
            _one_mushroom(pen.moved(x, y, scale, turn), rng, cap, "dome", cap == red)
    else:
        _one_mushroom(pen, rng, rng.choice((brown, red)), "cone", rng.random() < 0.5)


def tree(pen: Pen, rng: Random, style: int) -> None:
    """0 a round crown, 1 fir, 2 palm, 3 an autumn tree with its branches showing."""
    bark = pick(rng, *_BARK)
    green = pick(rng, (50, 130, 45), (80, 155, 55), (35, 105, 60), (110, 165, 60))
    if style == 0:
        pen.poly([(-0.12, 0.1), (0.12, 0.1), (0.18, 1.0), (-0.18, 1.0)], bark)
        for k in range(6):
            angle = 60 * k + rng.uniform(-15, 15)
            x, y = 0.42 * math.cos(math.radians(angle)), 0.34 * math.sin(math.radians(angle))
            pen.ellipse(x, y - 0.35, 0.36, 0.34, vary(rng, green, 14))
        pen.ellipse(0, -0.35, 0.5, 0.45, green, ink=False)
        if rng.random() < 0.35:
            for _ in range(7):
                pen.ellipse(rng.uniform(-0.5, 0.5), rng.uniform(-0.7, 0.0), 0.06, 0.06, (215, 50, 40), ink=False)
    elif style == 1:
        pen.rect(-0.1, 0.6, 0.1, 1.0, bark)
        tiers = rng.choice((3, 4))
        for k in range(tiers):
            top, low = 0.35 - 1.3 * k / tiers, 0.72 - 1.15 * k / tiers
            half = 0.72 - 0.42 * k / tiers
            pen.poly([(-half, low), (0, top - 0.35 if k < tiers - 1 else -0.98), (half, low)], light(green, 0.08 * k))
    elif style == 2:
        trunk = smooth([(0.15, 1.0), (0.02, 0.5), (-0.02, 0.0), (0.05, -0.4)], closed=False)
        pen.ribbon(trunk, [0.12 - 0.06 * i / len(trunk) for i in range(len(trunk))], light(bark, 0.15))
        for angle in (-165, -130, -95, -50, -15, 15, 165):
            turn = angle + rng.uniform(-8, 8)
            leaf = pen.moved(0.05, -0.42, 1, turn)
            droop = 0.28 if abs(turn) < 90 else -0.28
            leaf.ribbon(
                [(0, 0), (0.35, -droop * 0.3), (0.65, 0.0), (0.88, droop)],
                [0.05, 0.13, 0.1, 0.01],
                vary(rng, green, 14),
            )
        for x in (-0.06, 0.14):
            pen.ellipse(x, -0.33, 0.08, 0.08, (105, 70, 40))
    else:
        pen.poly([(-0.1, -0.1), (0.1, -0.1), (0.2, 1.0), (-0.2, 1.0)], bark)
        crown = pick(rng, (225, 120, 35), (235, 170, 45), (190, 65, 40))
        for x, y, size in ((-0.45, -0.2, 0.4), (0.45, -0.25, 0.4), (0, -0.6, 0.42), (0, -0.2, 0.4)):
            pen.ellipse(x, y, size, size * 0.9, vary(rng, crown, 18))
        for x, y in ((-0.45, -0.35), (0.42, -0.4), (0.02, -0.7)):
            pen.line([(0, 0.25), (x * 0.5, y * 0.4), (x, y)], 0.07, bark)
