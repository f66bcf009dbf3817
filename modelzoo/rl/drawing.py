"""Pictures of a run: its learning curve as PNG, an episode as GIF. Drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.errors import DiskError, UsageError
from modelzoo.rl.log import Row

__all__ = ["draw_curve", "write_gif"]

_INK, _PALE, _LINE, _MARK = (40, 40, 40), (190, 205, 225), (31, 92, 166), (205, 80, 30)


def draw_curve(rows: Sequence[Row], path: str | Path, *, title: str = "", size: tuple[int, int] = (900, 480)) -> None:
    """The returns of a run over its steps: each episode, their running mean, and the evaluations.

    Args:
        rows: of its log.
        path: of the PNG.
        title: above it.
        size: width and height in pixels.

    Raises:
        UsageError: no episode has ended yet.
        DiskError: the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    episodes = [(row.step, row.total) for row in rows if row.total is not None]
    tried = [(row.step, row.evaluation) for row in rows if row.evaluation is not None]
    if not episodes:
        raise UsageError("No episode has ended yet, so there is no learning curve.", hint="train for more steps")
    width, height = size
    left, top, right, bottom = 70, 40, width - 20, height - 50
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(14)
    values = [value for _, value in [*episodes, *tried]]
    ticks = _ticks(min(values), max(values))
    low, high = min(ticks[0], min(values)), max(ticks[-1], max(values))
    most = max(step for step, _ in [*episodes, *tried])

    def at(step: float, value: float) -> tuple[float, float]:
        return left + (right - left) * step / most, bottom - (bottom - top) * (value - low) / (high - low)

    for tick in ticks:
        _, y = at(0, tick)
        draw.line([(left, y), (right, y)], (225, 225, 225))
        draw.text((left - 8, y), f"{tick:g}", _INK, font, anchor="rm")
    for tick in (tick for tick in _ticks(0, most) if tick <= most):
        x, _ = at(tick, low)
        draw.line([(x, bottom), (x, bottom + 5)], _INK)
        draw.text((x, bottom + 8), f"{tick:,.0f}", _INK, font, anchor="mt")
    draw.rectangle([left, top, right, bottom], outline=_INK)
    for step, value in episodes:
        x, y = at(step, value)
        draw.ellipse([x - 1.5, y - 1.5, x + 1.5, y + 1.5], _PALE)
    means = _running([value for _, value in episodes], 20)
    draw.line([at(step, mean) for (step, _), mean in zip(episodes, means, strict=True)], _LINE, 2)
    for step, value in tried:
        x, y = at(step, value)
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], _MARK)
    draw.text((left, 12), title, _INK, font)
    # From the right: the widths of texts depend on the font.
    x = float(right)
    for text, colour in (("evaluation", _MARK), ("mean of 20 episodes", _LINE), ("episode", _PALE)):
        x -= draw.textlength(text, font)
        draw.text((x, 12), text, _INK, font)
        x -= 14
        draw.ellipse([x, 16, x + 8, 24], colour)
        x -= 16
    draw.text(((left + right) / 2, height - 8), "steps", _INK, font, anchor="ms")
    _save(image, Path(path), "PNG")


def write_gif(pictures: Sequence[np.ndarray], path: str | Path, *, rate: int = 30, most: int = 600) -> None:
    """An episode as an endless GIF of at most `most` pictures.

    Args:
        pictures: uint8 (H, W, 3) of each step.
        path: of the GIF.
        rate: pictures a second; longer episodes leave some out and keep their time.
        most: pictures in the file.

    Raises:
        DiskError: the file cannot be written.
    """
    from PIL import Image

    apart = -(-len(pictures) // most)
    shown = [Image.fromarray(picture).quantize(64) for picture in pictures[::apart]]
    # Browsers slow down what is quicker than 20 ms.
    duration = max(20, round(1000 * apart / rate))
    first, *rest = shown
    _save(first, Path(path), "GIF", save_all=True, append_images=rest, duration=duration, loop=0, optimize=False)


def _save(image: Any, path: Path, kind: str, **options: Any) -> None:
    beside = path.with_name(f".{path.name}.part")
    try:
        image.save(beside, kind, **options)
        beside.replace(path)
    except OSError as error:
        raise DiskError(f"The picture cannot be written: {error.strerror or error}.", received=str(path)) from error
    finally:
        beside.unlink(missing_ok=True)


def _running(values: Sequence[float], count: int) -> list[float]:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - count, 0)
    return ((sums[ends] - sums[starts]) / (ends - starts)).tolist()


def _ticks(low: float, high: float) -> list[float]:
    """Some five round numbers that span low..high."""
    spread = max(high - low, 1e-9 * max(1.0, abs(high)), 1e-9)
    unit = 10 ** np.floor(np.log10(spread / 5))
    step = unit * next(factor for factor in (1, 2, 5, 10) if spread / (unit * factor) <= 6)
    first, last = np.floor(low / step), np.ceil(high / step)
    return [float(number * step) for number in np.arange(first, max(last, first + 1) + 1)]
