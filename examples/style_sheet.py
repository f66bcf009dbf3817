"""A contact sheet of style transfer: every content in every style by every backbone.

    python examples/style_sheet.py --content cat.jpg elephant.jpg --style wave.jpg tiles.png \\
        --backbone inception_v1_scenes --backbone bvlc_googlenet=weights.caffemodel -o sheet.png

Without --content it is the picture that comes with the package, without --style what `drawn_styles` draws. A style may
also be `strokes` or `mosaic`. A backbone is a model's name, with a weight file of one's own behind `=`. Each backbone
is a block: the contents down, the styles across.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from drawn_styles import STYLES
from PIL import Image, ImageDraw

import modelzoo as mz
from modelzoo.features.drawing import PAPER, RULE, SCALE, SOFT, fitted, paste, scaled, shortened, text_at
from modelzoo.preprocess import decode_image
from modelzoo.style import StyleTransfer

TILE, GAP, MARGIN, TOP = 150, 10, 24, 70


def draw(
    contents: Sequence[tuple[str, np.ndarray]],
    styles: Sequence[tuple[str, np.ndarray]],
    blocks: Sequence[tuple[str, str, dict[tuple[int, int], np.ndarray]]],
    title: str,
) -> Image.Image:
    """The sheet: `blocks` are (backbone, a line about it, {(content, style): picture})."""
    step = TILE + GAP
    width = 2 * MARGIN + (1 + len(styles)) * step
    block = (len(contents)) * step + 54
    page = Image.new("RGB", (width * SCALE, (TOP + step + 24 + len(blocks) * block + MARGIN) * SCALE), PAPER)
    ink = ImageDraw.Draw(page)
    text_at(ink, MARGIN, MARGIN - 6, shortened(ink, title, width - 2 * MARGIN, 22), 22)
    y = TOP
    text_at(ink, MARGIN, y + TILE / 2, "styles", 14, SOFT)
    for column, (name, picture) in enumerate(styles, start=1):
        paste(page, fitted(picture, TILE), MARGIN + column * step, y)
        text_at(ink, MARGIN + column * step, y + TILE + 4, shortened(ink, name, TILE, 11), 11, SOFT)
    y += step + 24
    for backbone, line, made in blocks:
        ink.line(scaled(MARGIN, y, width - MARGIN, y), fill=RULE, width=SCALE)
        text_at(ink, MARGIN, y + 8, backbone, 16)
        text_at(ink, MARGIN, y + 29, shortened(ink, line, width - 2 * MARGIN, 11), 11, SOFT)
        y += 50
        for row, (_, picture) in enumerate(contents):
            paste(page, fitted(picture, TILE), MARGIN, y + row * step)
            for column in range(len(styles)):
                paste(page, fitted(made[row, column], TILE), MARGIN + (column + 1) * step, y + row * step)
        y += len(contents) * step + 4
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sample = Path(mz.__file__).parent / "bundled" / "demo.png"
    parser.add_argument("--content", nargs="+", type=Path, default=[sample])
    parser.add_argument("--style", nargs="+", default=list(STYLES), metavar="FILE|strokes|mosaic")
    parser.add_argument("--backbone", action="append", metavar="NAME[=FILE]", help="repeatable")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--style-weight", type=float)
    parser.add_argument("--preserve-colours", choices=["luminance", "match"])
    parser.add_argument("--optimizer", choices=["lbfgs", "adam"], default="lbfgs")
    parser.add_argument("-o", "--out", type=Path, default=Path("style-sheet.png"))
    arguments = parser.parse_args()
    contents = [(path.name, decode_image(path)) for path in arguments.content]
    styles = [(Path(name).name, STYLES[name]() if name in STYLES else decode_image(name)) for name in arguments.style]
    options: dict[str, Any] = {"size": arguments.size, "optimizer": arguments.optimizer}
    options["preserve_colours"] = arguments.preserve_colours
    if arguments.style_weight is not None:
        options["style_weight"] = arguments.style_weight
    blocks = []
    for backbone in arguments.backbone or ["inception_v1_scenes"]:
        name, _, file = backbone.partition("=")
        transfer = StyleTransfer(mz.load_pretrained(name, weights=file or "card"), **options)
        made: dict[tuple[int, int], np.ndarray] = {}
        begin = time.perf_counter()
        for row, (_, content) in enumerate(contents):
            for column, (_, style) in enumerate(styles):
                made[row, column] = transfer.run(content, style, steps=arguments.steps, progress=None)
                first, last = transfer.history[0]["total"], transfer.history[-1]["total"]
                print(f"{name}: {contents[row][0]} + {styles[column][0]}: loss {first:.3g} -> {last:.3g}", flush=True)
        seconds = (time.perf_counter() - begin) / len(made)
        taps = ", ".join(transfer.weights.style_taps)
        blocks.append((name, f"{seconds:.0f} s a picture; style: {taps}", made))
    title = f"{arguments.steps} steps of {arguments.optimizer}, {arguments.size} pixels"
    draw(contents, styles, blocks, title).save(arguments.out)
    print(arguments.out)


if __name__ == "__main__":
    main()
