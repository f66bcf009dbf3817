"""Things that people make: one drawing function each, of the same form as in `recipes.scenes.living`."""

from __future__ import annotations

import math
from random import Random

from recipes.scenes.palette import DARK, WHITE, dark, light, pick
from recipes.scenes.pen import Colour, Pen, arc, mix, smooth

__all__ = ["balloon", "car", "clock", "cup", "house", "rocket", "sailing_boat", "umbrella"]

_BRIGHT: tuple[Colour, ...] = (
    (220, 45, 45),
    (245, 150, 40),
    (250, 210, 60),
    (70, 170, 80),
    (50, 120, 210),
    (140, 80, 180),
    (240, 120, 170),
    (60, 190, 190),
)
_GLASS = ((170, 215, 240), (140, 190, 225), (200, 230, 245))
_WOOD = ((150, 95, 55), (120, 75, 45), (175, 120, 75))


def _one_balloon(pen: Pen, rng: Random, colour: Colour, length: float = 0.75) -> None:
    pen.line(
        smooth(
            [(0, 0.5), (0.08, 0.5 + length * 0.2), (-0.06, 0.5 + length * 0.45), (0.03, 0.5 + length * 0.65)],
            closed=False,
        ),
        0.035,
        DARK,
    )
    pen.blob(
        [(0, 0.5), (-0.42, 0.18), (-0.58, -0.3), (-0.35, -0.8), (0, -0.95), (0.35, -0.8), (0.58, -0.3), (0.42, 0.18)],
        colour,
    )
    pen.poly([(0, 0.44), (-0.1, 0.6), (0.1, 0.6)], dark(colour, 0.15))
    pen.ellipse(-0.24, -0.52, 0.1, 0.2, light(colour, 0.55), angle=25, ink=False)


def balloon(pen: Pen, rng: Random, style: int) -> None:
    """0 one on a string, 1 a bunch of three, 2 hot-air, 3 heart-shaped."""
    colour = pick(rng, *_BRIGHT)
    if style == 0:
        _one_balloon(pen, rng, colour)
    elif style == 1:
        for x, y, turn in ((-0.42, 0.0, -14), (0.42, 0.02, 14), (0.0, -0.2, 0)):
            _one_balloon(pen.moved(x, y, 0.72, turn), rng, pick(rng, *_BRIGHT), 1.0)
    elif style == 2:
        second = pick(rng, *_BRIGHT, WHITE)
        pen.line([(-0.3, 0.3), (-0.14, 0.72)], 0.035, DARK)
        pen.line([(0.3, 0.3), (0.14, 0.72)], 0.035, DARK)
        outline = [
            (0.72, -0.3),
            (0.5, 0.15),
            (0.25, 0.45),
            (-0.25, 0.45),
            (-0.5, 0.15),
            (-0.72, -0.3),
            (-0.5, -0.8),
            (0, -0.98),
            (0.5, -0.8),
        ]
        for k, share in enumerate((1.0, 0.62, 0.22)):
            pen.blob([(x * share, y) for x, y in outline], colour if k % 2 == 0 else second, ink=k == 0)
        pen.rect(-0.17, 0.7, 0.17, 0.98, pick(rng, *_WOOD))
    else:
        pen.line(smooth([(0, 0.4), (0.07, 0.6), (-0.05, 0.8), (0.03, 0.98)], closed=False), 0.035, DARK)
        pen.poly([(0, 0.36), (-0.09, 0.5), (0.09, 0.5)], dark(colour, 0.15))
        half = [(0.0, -0.55), (0.25, -0.88), (0.62, -0.82), (0.75, -0.45), (0.5, 0.02), (0.0, 0.42)]
        pen.poly([*smooth(half, closed=False), *smooth([(-x, y) for x, y in reversed(half)], closed=False)], colour)
        pen.ellipse(-0.42, -0.55, 0.09, 0.16, light(colour, 0.55), angle=25, ink=False)


def _wheel(pen: Pen, x: float, y: float, size: float) -> None:
    pen.ellipse(x, y, size, size, (35, 35, 40))
    pen.ellipse(x, y, size * 0.5, size * 0.5, (190, 190, 195), ink=False)
    pen.ellipse(x, y, size * 0.15, size * 0.15, (90, 90, 95), ink=False)


def car(pen: Pen, rng: Random, style: int) -> None:
    """0 saloon, 1 round, 2 seen from the front, 3 convertible; side views look to the left."""
    paint = pick(rng, *_BRIGHT, (230, 230, 235), (60, 60, 70))
    glass = pick(rng, *_GLASS)
    if style == 0:
        roof = rng.uniform(-0.5, -0.36)
        pen.poly([(-0.55, -0.02), (-0.32, roof), (0.35, roof), (0.62, -0.02)], paint)
        pen.poly([(-0.43, -0.04), (-0.27, roof + 0.08), (-0.02, roof + 0.08), (-0.02, -0.04)], glass, ink=False)
        pen.poly([(0.06, -0.04), (0.06, roof + 0.08), (0.31, roof + 0.08), (0.47, -0.04)], glass, ink=False)
        pen.blob(
            [
                (-0.98, 0.1),
                (-0.7, -0.04),
                (0.0, -0.06),
                (0.7, -0.06),
                (0.97, 0.05),
                (0.98, 0.38),
                (0.5, 0.42),
                (-0.5, 0.42),
                (-0.98, 0.38),
            ],
            paint,
        )
        pen.line([(0.02, 0.0), (0.02, 0.36)], 0.03, dark(paint, 0.35))
        pen.ellipse(-0.9, 0.14, 0.07, 0.06, (255, 240, 170))
        pen.ellipse(0.93, 0.14, 0.05, 0.06, (230, 40, 40))
        for x in (-0.55, 0.55):
            _wheel(pen, x, 0.42, rng.uniform(0.2, 0.25))
    elif style == 1:
        pen.pie(0.05, 0.2, 0.68, 0.78, 180, 360, paint)
        pen.pie(-0.12, 0.05, 0.38, 0.48, 180, 270, glass)
        pen.pie(0.0, 0.05, 0.5, 0.48, 270, 360, glass)
        pen.blob(
            [
                (-0.97, 0.25),
                (-0.75, 0.02),
                (-0.2, 0.0),
                (0.5, 0.0),
                (0.9, 0.1),
                (0.95, 0.38),
                (0.4, 0.42),
                (-0.9, 0.42),
            ],
            paint,
        )
        pen.ellipse(-0.85, 0.14, 0.09, 0.1, (255, 240, 170))
        for x in (-0.52, 0.55):
            _wheel(pen, x, 0.43, 0.26)
    elif style == 2:
        for side in (-1, 1):
            pen.rect(side * 0.72 - 0.13, 0.4, side * 0.72 + 0.13, 0.85, (35, 35, 40))
            pen.ellipse(side * 0.78, -0.08, 0.12, 0.08, paint)
        pen.poly([(-0.75, 0.05), (-0.52, -0.6), (0.52, -0.6), (0.75, 0.05)], paint)
        pen.poly([(-0.62, 0.0), (-0.44, -0.5), (0.44, -0.5), (0.62, 0.0)], glass, ink=False)
        pen.blob(
            [(-0.9, 0.2), (-0.75, 0.0), (0.75, 0.0), (0.9, 0.2), (0.9, 0.6), (0.7, 0.66), (-0.7, 0.66), (-0.9, 0.6)],
            paint,
        )
        pen.rect(-0.32, 0.24, 0.32, 0.4, (50, 50, 55), ink=False)
        pen.rect(-0.22, 0.48, 0.22, 0.6, (245, 245, 240), ink=False)
        for side in (-1, 1):
            pen.ellipse(side * 0.62, 0.28, 0.16, 0.13, (255, 245, 190))
    else:
        pen.line([(-0.3, 0.0), (-0.12, -0.38)], 0.06, (60, 60, 65))
        for x in (0.12, 0.42):
            pen.blob([(x - 0.05, 0.05), (x, -0.25), (x + 0.14, -0.22), (x + 0.14, 0.05)], (110, 70, 50))
        pen.blob(
            [
                (-0.98, 0.16),
                (-0.75, 0.0),
                (-0.2, -0.04),
                (0.1, 0.06),
                (0.6, -0.04),
                (0.97, 0.02),
                (0.96, 0.36),
                (0.4, 0.4),
                (-0.95, 0.4),
            ],
            paint,
        )
        pen.line([(-0.9, 0.2), (0.9, 0.16)], 0.05, light(paint, 0.5))
        pen.ellipse(-0.9, 0.14, 0.07, 0.07, (255, 240, 170))
        for x in (-0.56, 0.55):
            _wheel(pen, x, 0.42, 0.23)


def _dial(pen: Pen, rng: Random, face: Colour, mark: Colour, radius: float, *, dots: bool = False) -> None:
    for k in range(12):
        cos, sin = math.cos(math.radians(30 * k)), math.sin(math.radians(30 * k))
        outer, inner = radius * 0.9, radius * (0.7 if k % 3 == 0 else 0.78)
        if dots:
            size = radius * (0.07 if k % 3 == 0 else 0.045)
            pen.ellipse(outer * cos * 0.92, outer * sin * 0.92, size, size, mark, ink=False)
        else:
            pen.line([(outer * cos, outer * sin), (inner * cos, inner * sin)], 0.07 if k % 3 == 0 else 0.04, mark)
    hour, minute = rng.uniform(0, 360), rng.uniform(0, 360)
    for angle, reach, width in ((hour, 0.48, 0.1), (minute, 0.72, 0.06)):
        tip = (radius * reach * math.cos(math.radians(angle)), radius * reach * math.sin(math.radians(angle)))
        pen.line([(0, 0), tip], width, mark)
    pen.ellipse(0, 0, 0.06, 0.06, mix(mark, (220, 40, 40), 0.8), ink=False)


def clock(pen: Pen, rng: Random, style: int) -> None:
    """0 on a wall, 1 alarm clock with two bells, 2 square, 3 a dark dial with a pendulum below."""
    rim = pick(rng, *_BRIGHT, (90, 60, 40), (60, 60, 65), (190, 190, 195))
    face = pick(rng, (250, 250, 245), (245, 235, 210), (225, 235, 245))
    if style == 0:
        pen.ellipse(0, 0, 0.95, 0.95, rim)
        pen.ellipse(0, 0, 0.8, 0.8, face, ink=False)
        _dial(pen, rng, face, DARK, 0.8, dots=rng.random() < 0.3)
    elif style == 1:
        for side in (-1, 1):
            pen.line([(side * 0.35, 0.6), (side * 0.58, 0.95)], 0.13, dark(rim, 0.3))
            bell = pen.moved(side * 0.48, -0.62, 1, side * 38)
            bell.pie(0, 0.08, 0.32, 0.3, 180, 360, light(rim, 0.25))
        pen.line([(0, -0.6), (0, -0.88)], 0.08, (90, 90, 95))
        pen.ellipse(0, 0.12, 0.72, 0.72, rim)
        pen.ellipse(0, 0.12, 0.58, 0.58, face, ink=False)
        _dial(pen.moved(0, 0.12), rng, face, DARK, 0.58)
    elif style == 2:
        pen.rect(-0.88, -0.88, 0.88, 0.88, rim)
        pen.rect(-0.72, -0.72, 0.72, 0.72, face, ink=False)
        _dial(pen, rng, face, DARK, 0.72)
    else:
        wood = pick(rng, *_WOOD)
        pen.line([(0, 0.2), (0.1, 0.85)], 0.05, (215, 180, 80))
        pen.ellipse(0.1, 0.85, 0.13, 0.13, (225, 190, 80))
        pen.ellipse(0, -0.25, 0.72, 0.72, wood)
        pen.ellipse(0, -0.25, 0.6, 0.6, (40, 45, 60), ink=False)
        _dial(pen.moved(0, -0.25), rng, (40, 45, 60), (240, 235, 215), 0.6, dots=rng.random() < 0.5)


def _handle(pen: Pen, x: float, y: float, size: float, colour: Colour) -> None:
    pen.ribbon(arc(x, y, size * 0.75, size, -95, 95, 12), [0.085] * 13, colour)


def _steam(pen: Pen, y: float) -> None:
    for x in (-0.25, 0.05, 0.35):
        wave = [(x, y), (x + 0.08, y - 0.13), (x - 0.06, y - 0.27), (x + 0.03, y - 0.4)]
        pen.line(smooth(wave, closed=False), 0.05, (235, 235, 240))


def cup(pen: Pen, rng: Random, style: int) -> None:
    """0 mug, 1 tea cup on a saucer, 2 mug with bands, 3 tall mug with a heart."""
    glaze = pick(rng, *_BRIGHT, (245, 245, 240), (90, 100, 120))
    drink = pick(rng, (80, 45, 25), (150, 85, 40), (110, 65, 35))
    if style in (0, 2):
        top, low = -0.45, rng.uniform(0.7, 0.9)
        slope = rng.uniform(0.85, 1.0)
        _handle(pen, 0.55, 0.15, 0.42, dark(glaze, 0.1))
        side = [(-0.65, top), (0.65, top), (0.65 * slope, low), *arc(0, low, 0.65 * slope, 0.13, 0, 180, 12)]
        pen.poly(side, glaze)
        if style == 2:
            for share in (0.25, 0.5, 0.75):
                y = top + (low - top) * share + 0.1
                half = 0.65 * (1 - (1 - slope) * share) - 0.03
                pen.line(arc(0, y, half, 0.12, 165, 15, 10), 0.13, pick(rng, *_BRIGHT, WHITE))
        pen.ellipse(0, top, 0.65, 0.16, light(glaze, 0.35))
        pen.ellipse(0, top + 0.02, 0.55, 0.11, drink, ink=False)
        if rng.random() < 0.5:
            _steam(pen, -0.6)
    elif style == 1:
        pen.ellipse(0, 0.72, 0.98, 0.2, light(glaze, 0.2))
        pen.ellipse(0, 0.69, 0.5, 0.09, dark(glaze, 0.15), ink=False)
        _handle(pen, 0.62, 0.1, 0.26, dark(glaze, 0.1))
        pen.poly(
            [
                (-0.75, -0.2),
                *smooth(
                    [(-0.75, -0.2), (-0.6, 0.4), (-0.28, 0.68), (0.28, 0.68), (0.6, 0.4), (0.75, -0.2)], closed=False
                ),
            ],
            glaze,
        )
        pen.ellipse(0, -0.2, 0.75, 0.16, light(glaze, 0.4))
        pen.ellipse(0, -0.18, 0.64, 0.11, drink, ink=False)
        if rng.random() < 0.6:
            _steam(pen, -0.38)
    else:
        _handle(pen, 0.42, 0.1, 0.4, dark(glaze, 0.1))
        pen.poly([(-0.5, -0.8), (0.5, -0.8), (0.46, 0.85), *arc(0, 0.85, 0.46, 0.1, 0, 180, 12)], glaze)
        pen.ellipse(0, -0.8, 0.5, 0.12, light(glaze, 0.35))
        pen.ellipse(0, -0.78, 0.42, 0.08, drink, ink=False)
        heart = (215, 40, 60) if glaze[0] < 190 or glaze[1] > 150 else (250, 245, 240)
        pen.poly([(-0.28, 0.02), (0.28, 0.02), (0, 0.38)], heart, ink=False)
        for side in (-1, 1):
            pen.ellipse(side * 0.14, -0.02, 0.155, 0.14, heart, ink=False)


def _window(pen: Pen, x: float, y: float, size: float, glass: Colour, frame: Colour) -> None:
    pen.rect(x - size, y - size, x + size, y + size, glass)
    pen.line([(x, y - size), (x, y + size)], 0.04, frame)
    pen.line([(x - size, y), (x + size, y)], 0.04, frame)


def house(pen: Pen, rng: Random, style: int) -> None:
    """0 pointed roof, 1 two storeys, 2 seen over a corner, 3 log cabin with a wide roof."""
    wall = pick(rng, (245, 225, 180), (235, 235, 230), (220, 150, 110), (190, 210, 225), (240, 205, 90), (185, 80, 65))
    roof = pick(rng, (175, 60, 45), (120, 65, 50), (90, 95, 110), (60, 90, 130), (200, 90, 50))
    door = pick(rng, *_WOOD, *_BRIGHT)
    glass = pick(rng, *_GLASS, (250, 225, 130))
    frame = pick(rng, (250, 250, 250), (110, 75, 50))
    if style == 0:
        side = rng.choice((-1, 1))
        pen.rect(side * 0.42 - 0.1, -0.85, side * 0.42 + 0.1, -0.3, dark(roof, 0.25))
        pen.rect(-0.7, -0.15, 0.7, 0.95, wall)
        pen.poly([(-0.95, -0.1), (0, rng.uniform(-0.98, -0.75)), (0.95, -0.1)], roof)
        pen.rect(-0.16, 0.38, 0.16, 0.95, door)
        pen.ellipse(0.09, 0.66, 0.03, 0.03, (240, 210, 90), ink=False)
        for x in (-0.43, 0.43):
            _window(pen, x, 0.3, 0.15, glass, frame)
    elif style == 1:
        pen.rect(-0.58, -0.45, 0.58, 0.98, wall)
        pen.poly([(-0.72, -0.42), (-0.4, -0.92), (0.4, -0.92), (0.72, -0.42)], roof)
        pen.rect(0.15, -1.0, 0.32, -0.75, dark(roof, 0.3))
        for y in (-0.15, 0.32):
            for x in (-0.34, 0.0, 0.34):
                _window(pen, x, y, 0.12, glass, frame)
        pen.rect(-0.13, 0.6, 0.13, 0.98, door)
    elif style == 2:
        pen.poly([(-0.9, -0.1), (-0.9, 0.7), (-0.1, 0.92), (-0.1, 0.0)], wall)
        pen.poly([(-0.1, 0.0), (-0.1, 0.92), (0.95, 0.7), (0.95, -0.05)], dark(wall, 0.2))
        pen.poly([(-0.95, -0.08), (-0.5, -0.75), (-0.1, 0.04)], light(wall, 0.1))
        pen.poly([(-0.52, -0.82), (0.6, -0.8), (0.99, 0.0), (-0.12, 0.06)], roof)
        pen.line([(-0.98, -0.05), (-0.52, -0.8)], 0.09, dark(roof, 0.2))
        pen.poly([(-0.6, 0.32), (-0.6, 0.78), (-0.36, 0.85), (-0.36, 0.36)], door)
        for x in (0.25, 0.65):
            pen.poly([(x - 0.13, 0.27), (x + 0.13, 0.24), (x + 0.13, 0.52), (x - 0.13, 0.56)], glass)
            pen.line([(x, 0.26), (x, 0.54)], 0.04, frame)
    else:
        log = pick(rng, *_WOOD)
        for k in range(6):
            pen.rect(-0.75, -0.05 + k * 0.16, 0.75, 0.11 + k * 0.16, log if k % 2 else dark(log, 0.15))
        pen.rect(0.4, -0.8, 0.6, -0.3, (140, 140, 145))
        pen.poly([(-0.98, 0.0), (-0.55, -0.6), (0.55, -0.6), (0.98, 0.0)], roof)
        pen.rect(-0.55, 0.3, -0.2, 0.91, dark(log, 0.45))
        _window(pen, 0.35, 0.4, 0.2, glass, frame)


def rocket(pen: Pen, rng: Random, style: int) -> None:
    """0 with three fins, 1 striped and slim, 2 with two boosters, 3 chequered with three windows."""
    hull = pick(rng, (240, 240, 240), (215, 220, 230), *_BRIGHT)
    trim = pick(rng, *_BRIGHT)
    glass = pick(rng, *_GLASS)
    half = {0: rng.uniform(0.3, 0.38), 1: 0.2, 2: 0.22, 3: 0.32}[style]
    for reach, colour in ((rng.uniform(0.32, 0.42), (250, 140, 30)), (0.22, (255, 225, 90))):
        wide = half * (0.8 if reach > 0.3 else 0.45)
        pen.blob(
            [
                (-wide, 0.55),
                (wide, 0.55),
                (wide * 0.6, 0.65 + reach * 0.4),
                (0, 0.6 + reach),
                (-wide * 0.6, 0.65 + reach * 0.4),
            ],
            colour,
            ink=False,
        )
    for side in (-1, 1):
        if style == 2:
            x = side * 0.4
            pen.blob([(x - 0.08, 0.6), (x + 0.08, 0.6), (x, 0.9)], (250, 150, 40), ink=False)
            pen.poly([(x - 0.13, 0.62), (x - 0.13, -0.1), (x, -0.38), (x + 0.13, -0.1), (x + 0.13, 0.62)], trim)
        else:
            pen.poly(
                [
                    (side * half * 0.8, 0.1),
                    (side * (half + 0.32), 0.5),
                    (side * (half + 0.3), 0.78),
                    (side * half * 0.7, 0.55),
                ],
                trim,
            )
    right = [(0.0, -0.98), (half * 0.55, -0.72), (half, -0.25), (half, 0.3), (half * 0.75, 0.6)]
    curve = smooth(right, closed=False)
    body = [*curve, *[(-x, y) for x, y in reversed(curve)]]
    pen.poly(body, hull)
    nose = [point for point in curve if point[1] < -0.55]
    pen.poly([*nose, *[(-x, y) for x, y in reversed(nose)]], trim)
    if style == 0:
        pen.ellipse(0, -0.2, half * 0.55, half * 0.55, dark(trim, 0.2))
        pen.ellipse(0, -0.2, half * 0.4, half * 0.4, glass, ink=False)
        pen.poly([(-0.05, 0.2), (0.05, 0.2), (0.05, 0.72), (-0.05, 0.72)], trim)
    elif style == 1:
        for y in (-0.3, 0.0, 0.3):
            pen.rect(-half * 0.98, y - 0.06, half * 0.98, y + 0.06, trim, ink=False)
        pen.ellipse(0, -0.48, 0.08, 0.08, glass)
    elif style == 2:
        pen.line([(0, -0.4), (0, 0.5)], 0.07, dark(hull, 0.4))
        pen.ellipse(0, -0.35, 0.1, 0.1, glass)
    else:
        for row in range(2):
            for column in range(4):
                if (row + column) % 2 == 0:
                    x, y = half * (column / 2 - 1), 0.25 + 0.14 * row
                    pen.rect(x, y, x + half / 2, y + 0.14, trim, ink=False)
        for y in (-0.4, -0.14, 0.1):
            pen.ellipse(0, y, 0.1, 0.1, glass)


def sailing_boat(pen: Pen, rng: Random, style: int) -> None:
    """0 two triangular sails, 1 one sail with a stripe, 2 square sails on two masts, 3 a curved sail and a flag."""
    hull = pick(rng, *_WOOD, *_BRIGHT, (240, 240, 240))
    sail = pick(rng, (250, 250, 245), (245, 235, 205), (235, 80, 70), (250, 205, 80), (120, 180, 230))
    second = pick(rng, (250, 250, 245), *_BRIGHT)
    pole = (95, 65, 45)
    if style == 0:
        pen.line([(0, 0.5), (0, -0.98)], 0.055, pole)
        pen.poly([(0.06, -0.92), (0.06, 0.38), (rng.uniform(0.6, 0.8), 0.38)], sail)
        pen.poly([(-0.07, -0.75), (-0.07, 0.38), (-0.65, 0.38)], second)
    elif style == 1:
        pen.line([(-0.15, 0.5), (-0.15, -0.98)], 0.055, pole)
        pen.blob([(-0.1, -0.9), (0.35, -0.3), (0.72, 0.36), (-0.1, 0.38)], sail)
        pen.poly([(-0.08, -0.2), (0.4, -0.2), (0.52, 0.02), (-0.08, 0.02)], second, ink=False)
    elif style == 2:
        for x, top in ((-0.35, -0.75), (0.32, -0.9)):
            pen.line([(x, 0.5), (x, top - 0.06)], 0.06, pole)
            for y0, y1, wide in ((top, -0.3, 0.24), (-0.24, 0.33, 0.31)):
                pen.blob(
                    [
                        (x - wide, y0),
                        (x + wide, y0),
                        (x + wide * 1.12, (y0 + y1) / 2),
                        (x + wide, y1),
                        (x - wide, y1),
                        (x - wide * 0.88, (y0 + y1) / 2),
                    ],
                    sail,
                )
            pen.poly([(x, top - 0.18), (x + 0.22, top - 0.1), (x, top - 0.03)], second)
    else:
        pen.line([(0.1, 0.5), (0.1, -0.95)], 0.055, pole)
        pen.blob([(0.05, -0.75), (-0.45, -0.25), (-0.7, 0.36), (-0.2, 0.3), (0.05, 0.36)], sail)
        pen.blob([(0.16, -0.6), (0.45, -0.1), (0.5, 0.34), (0.16, 0.3)], second)
        pen.poly([(0.1, -0.98), (0.42, -0.88), (0.1, -0.78)], pick(rng, *_BRIGHT))
    if rng.random() < 0.3:
        pen.rect(-0.3, 0.3, 0.05, 0.5, light(hull, 0.5))
    bow = rng.uniform(0.85, 0.98)
    pen.poly([(-0.85, 0.45), (bow, 0.45), (0.6, 0.85), (-0.62, 0.85)], hull)
    pen.line([(-0.8, 0.52), (bow - 0.07, 0.52)], 0.06, light(hull, 0.6))


def umbrella(pen: Pen, rng: Random, style: int) -> None:
    """0 of two colours, 1 of one colour with ribs, 2 parasol with a straight pole, 3 with dots."""
    cloth = pick(rng, *_BRIGHT, (60, 60, 75))
    second = pick(rng, WHITE, *_BRIGHT) if style in (0, 2) else cloth
    rise = rng.uniform(0.75, 0.95) if style != 2 else 0.6
    base, panels = 0.0, rng.choice((4, 5, 6)) if style != 3 else 4
    pole = pick(rng, *_WOOD, (80, 80, 90))
    pen.line([(0, -rise - 0.06), (0, 0.8 if style != 2 else 1.0)], 0.06, pole)
    if style != 2:
        pen.line(arc(0.14, 0.8, 0.14, 0.16, 180, 0, 10), 0.075, pole)
    edges = [-math.cos(math.pi * k / panels) * 0.95 for k in range(panels + 1)]
    for k in range(panels):
        x0, x1 = edges[k], edges[k + 1]
        left = [(x0 * math.cos(t), base - rise * math.sin(t)) for t in (i * math.pi / 24 for i in range(13))]
        right = [(x1 * math.cos(t), base - rise * math.sin(t)) for t in (i * math.pi / 24 for i in range(12, -1, -1))]
        scallop = arc((x0 + x1) / 2, base, (x1 - x0) / 2, -0.09 if style != 2 else 0.06, 0, 180, 8)
        pen.poly([*left, *right, *scallop], cloth if k % 2 == 0 else second)
        if style in (1, 3) and k:
            pen.line(left, 0.035, dark(cloth, 0.35))
    if style == 3:
        spot = light(cloth, 0.8)
        for x, y in (
            (-0.55, -0.3),
            (0.0, -0.25),
            (0.55, -0.3),
            (-0.28, -0.55),
            (0.28, -0.55),
            (-0.75, -0.12),
            (0.3, -0.15),
        ):
            pen.ellipse(x, y * rise / 0.85, 0.08, 0.08, spot, ink=False)
    pen.line([(0, -rise - 0.1), (0, -rise)], 0.05, pole)
