"""A pen that draws shapes given in an object's own coordinates: x to the right, y down, the object within [-1, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

__all__ = ["Colour", "Pen", "Point", "arc", "mix", "smooth"]

Point = tuple[float, float]
Colour = tuple[int, int, int]
_NOTHING = (0, 0, 0, 0)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour that lies `share` (0..1) of the way from `a` to `b`, sRGB values in 0..255."""
    red, green, blue = (max(0, min(255, round(x + (y - x) * share))) for x, y in zip(a, b, strict=True))
    return red, green, blue


def arc(cx: float, cy: float, rx: float, ry: float, start: float, end: float, count: int = 24) -> list[Point]:
    """`count` + 1 points on an ellipse from `start` to `end` degrees (0 = right, 90 = down)."""
    angles = [math.radians(start + (end - start) * i / count) for i in range(count + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def smooth(points: Sequence[Point], *, closed: bool = True, steps: int = 6) -> list[Point]:
    """A curve through `points`: uniform Catmull-Rom splines, `steps` points a span."""
    count = len(points)
    curve: list[Point] = []
    for i in range(count if closed else count - 1):
        if closed:
            a, b, c, d = (points[(i + k) % count] for k in (-1, 0, 1, 2))
        else:
            a, b, c, d = (points[min(max(i + k, 0), count - 1)] for k in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            x, y = (
                0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t * t + (3 * q - p - 3 * r + s) * t**3)
                for p, q, r, s in zip(a, b, c, d, strict=True)
            )
            curve.append((x, y))
    if not closed:
        curve.append(points[-1])
    return curve


class Pen:
    """Draws onto an RGBA layer through an affine map of object coordinates to pixels.

    Args:
        layer: RGBA image that is drawn on; fills replace what is below (smooth edges come from supersampling).
        matrix: (a, b, c, d, e, f): pixel x = a*x + b*y + c, pixel y = d*x + e*y + f.
        ink: colour of an outline around each shape, None for none.
        ink_width: its width in object units.
    """

    def __init__(
        self,
        layer: Image.Image,
        matrix: tuple[float, float, float, float, float, float],
        ink: Colour | None = None,
        ink_width: float = 0.05,
    ) -> None:
        self.layer = layer
        self.matrix = matrix
        self.ink = ink
        self.ink_width = ink_width
        self._draw = ImageDraw.Draw(layer)
        a, b, _, d, e, _ = matrix
        self._scale = math.sqrt(abs(a * e - b * d))

    def moved(self, dx: float = 0, dy: float = 0, scale: float = 1, angle: float = 0, flip: bool = False) -> Pen:
        """A pen for a part: its coordinates are flipped, scaled, turned by `angle` degrees, then shifted."""
        a, b, c, d, e, f = self.matrix
        cos, sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
        side = -1 if flip else 1
        g, h, i, j = side * cos, -sin, side * sin, cos
        matrix = (a * g + b * i, a * h + b * j, a * dx + b * dy + c, d * g + e * i, d * h + e * j, d * dx + e * dy + f)
        return Pen(self.layer, matrix, self.ink, self.ink_width / scale)

    def poly(self, points: Sequence[Point], fill: Colour, *, ink: bool = True) -> None:
        """A filled polygon."""
        pixels = self._pixels(points)
        self._draw.polygon(pixels, fill=(*fill, 255))
        if ink and self.ink is not None:
            width = max(1, round(self.ink_width * self._scale))
            self._draw.line([*pixels, *pixels[:2]], fill=(*self.ink, 255), width=width, joint="curve")

    def blob(self, points: Sequence[Point], fill: Colour, *, ink: bool = True) -> None:
        """A filled closed curve through `points`."""
        self.poly(smooth(points), fill, ink=ink)

    def ellipse(
        self, cx: float, cy: float, rx: float, ry: float, fill: Colour, *, angle: float = 0, ink: bool = True
    ) -> None:
        """A filled ellipse with half axes `rx`, `ry`, turned by `angle` degrees."""
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        ring = arc(0, 0, rx, ry, 0, 360, 36)[:-1]
        self.poly([(cx + x * cos - y * sin, cy + x * sin + y * cos) for x, y in ring], fill, ink=ink)

    def pie(self, cx: float, cy: float, rx: float, ry: float, start: float, end: float, fill: Colour) -> None:
        """The part of an ellipse between two angles and its chord or, below a half turn, its centre."""
        centre = [(cx, cy)] if abs(end - start) < 180 else []
        self.poly([*centre, *arc(cx, cy, rx, ry, start, end)], fill)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, *, ink: bool = True) -> None:
        """A filled rectangle."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, ink=ink)

    def line(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A polyline with round ends, `width` in object units."""
        pixels = self._pixels(points)
        thick = max(1, round(width * self._scale))
        self._draw.line(pixels, fill=(*fill, 255), width=thick, joint="curve")
        radius = thick / 2
        for x, y in (pixels[0], pixels[-1]):
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*fill, 255))

    def ribbon(self, points: Sequence[Point], widths: Sequence[float], fill: Colour, *, ink: bool = True) -> None:
        """A band along `points` whose half width at point i is `widths[i]`."""
        left: list[Point] = []
        right: list[Point] = []
        for i, ((x, y), half) in enumerate(zip(points, widths, strict=True)):
            (x0, y0), (x1, y1) = points[max(i - 1, 0)], points[min(i + 1, len(points) - 1)]
            length = math.hypot(x1 - x0, y1 - y0) or 1.0
            nx, ny = -(y1 - y0) / length * half, (x1 - x0) / length * half
            left.append((x + nx, y + ny))
            right.append((x - nx, y - ny))
        self.poly([*smooth(left, closed=False), *reversed(smooth(right, closed=False))], fill, ink=ink)

    def erase(self, cx: float, cy: float, rx: float, ry: float) -> None:
        """Makes an ellipse transparent again."""
        self._draw.polygon(self._pixels(arc(cx, cy, rx, ry, 0, 360, 36)), fill=_NOTHING)

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        a, b, c, d, e, f = self.matrix
        return [(a * x + b * y + c, d * x + e * y + f) for x, y in points]
