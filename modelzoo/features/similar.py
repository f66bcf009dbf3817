"""Nearest neighbours of a picture among others, by the cosine of the angle between their features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelzoo.errors import ImageError, UsageError
from modelzoo.features.drawing import INK, PAPER, RULE, SCALE, SOFT, fitted, paste, scaled, shortened, text_at

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from modelzoo.features.extractor import FeatureExtractor

__all__ = ["Neighbour", "cosines", "draw_sheet", "neighbours"]

Neighbour = tuple[Path, float]
"""A picture and its cosine with the one that was asked for, in [-1, 1]; 1: features of the same direction."""

_TILE = 176
_GAP = 16
_MARGIN = 32
_COLUMNS = 6


def cosines(query: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of the angle between a vector (C,) and each row of (N, C): (N,) in [-1, 1]; 0 where one has no length."""
    a, b = query.astype(np.float64), others.astype(np.float64)
    lengths = np.linalg.norm(a) * np.linalg.norm(b, axis=1)
    return np.clip(np.divide(b @ a, lengths, out=np.zeros(len(b)), where=lengths > 0), -1.0, 1.0)


def neighbours(
    extractor: FeatureExtractor,
    picture: str | Path,
    others: Sequence[Path],
    *,
    count: int = 12,
    batch_size: int = 32,
    progress: bool | None = None,
) -> tuple[list[Neighbour], list[tuple[Path, str]]]:
    """The pictures that look most like one.

    Args:
        extractor: of one tap, whose values are compared; pooled ones tell what is there, maps also where.
        picture: the file to compare with. It is not its own neighbour, a copy of it is.
        others: files to search.
        count: how many at most.
        batch_size: how many pictures go through the network at once.
        progress: a bar; None = only on a terminal.

    Returns:
        (file, cosine), nearest first, equal ones in the order of `others`; and (file, what is wrong) of those that
        are no readable pictures.

    Raises:
        ImageError: `picture` cannot be read, or none of the others can.
        UsageError: the extractor has several taps.
        InputError: maps of different sizes, which cannot be compared without pooling.
    """
    from tqdm import tqdm

    from modelzoo.features.compute import computed, mixed_maps
    from modelzoo.features.decoding import prepared_ahead

    if len(extractor.taps) != 1:
        raise UsageError("Pictures are compared by one tap.", received=", ".join(extractor.taps))
    (tap,) = extractor.taps
    wanted = extractor(picture)[tap]
    paths = [path for path in others if not _same(path, Path(picture))]
    found: list[tuple[float, int]] = []
    skipped: list[tuple[Path, str]] = []
    numbers = range(-(-len(paths) // batch_size))
    disable = None if progress is None else not progress
    with tqdm(total=len(paths), unit="img", disable=disable, desc="similar") as bar:
        for prepared in prepared_ahead(extractor.preprocess, paths, batch_size, numbers):
            skipped += [(paths[position], what) for position, what in prepared.skipped]
            if prepared.rows:
                values = computed(extractor, prepared).features[tap]
                if values.shape[1:] != wanted.shape[1:]:
                    raise mixed_maps(tap, wanted.shape[1:], values.shape[1:])
                near = cosines(wanted.reshape(-1), values.reshape(len(values), -1))
                found += zip((-near).tolist(), prepared.rows, strict=True)
            bar.update(len(prepared.rows) + len(prepared.skipped))
    if not found:
        raise ImageError(
            "There is no other readable picture.",
            received=skipped[0][1] if skipped else str(picture),
            hint="name a folder with pictures",
        )
    # The best of each batch would do, but a million pairs fit into memory.
    return [(paths[position], -far) for far, position in sorted(found)[:count]], skipped


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def draw_sheet(
    picture: NDArray[np.uint8],
    near: Sequence[tuple[NDArray[np.uint8], str, float]],
    *,
    title: str,
    subtitle: str = "",
) -> Image:
    """A contact sheet: the picture that was asked for on the left, its neighbours beside it in reading order.

    Args:
        picture: (H, W, 3), RGB.
        near: picture, caption and cosine of each neighbour, nearest first.
        title: the first line, large.
        subtitle: the line below it.

    Returns:
        An RGB image; six neighbours a row.
    """
    from PIL import Image, ImageDraw

    columns = max(1, min(_COLUMNS, len(near)))
    rows = max(1, -(-len(near) // columns))
    step = _TILE + _GAP
    top = _MARGIN + 66
    left = _MARGIN + step + _GAP
    width = max(left + columns * step - _GAP + _MARGIN, 640)
    height = top + max(rows * (step + 40), step + 40) + _MARGIN - _GAP
    page = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
    draw = ImageDraw.Draw(page)
    text_at(draw, _MARGIN, _MARGIN - 6, shortened(draw, title, width - 2 * _MARGIN, 26), 26)
    text_at(draw, _MARGIN, _MARGIN + 30, shortened(draw, subtitle, width - 2 * _MARGIN, 14), 14, SOFT)
    paste(page, fitted(picture, _TILE), _MARGIN, top)
    text_at(draw, _MARGIN, top + _TILE + 6, "the picture", 13)
    draw.line(scaled(left - _GAP, top, left - _GAP, height - _MARGIN), fill=RULE, width=SCALE)
    for number, (pixels, caption, cosine) in enumerate(near):
        x, y = left + number % columns * step, top + number // columns * (step + 40)
        paste(page, fitted(pixels, _TILE), x, y)
        text_at(draw, x, y + _TILE + 6, f"{cosine:.3f}", 13, INK)
        text_at(draw, x, y + _TILE + 23, shortened(draw, caption, _TILE, 12), 12, SOFT)
    return page
