"""Small clips that only their order tells apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def clip_folder(root: Path, count: int = 6, lengths: tuple[int, ...] = (4,), seed: int = 0) -> Path:
    """`brighter` and `darker`: the same grey levels, rising or falling; clip k has lengths[k % len] frames."""
    from PIL import Image

    generator = np.random.default_rng(seed)
    for number in range(count):
        length = lengths[number % len(lengths)]
        levels = np.sort(generator.integers(0, 256, length))
        noise = generator.integers(-6, 7, (length, 12, 10, 3))
        for name, order in (("brighter", levels), ("darker", levels[::-1])):
            folder = root / name / f"clip {number}"
            folder.mkdir(parents=True)
            for k, level in enumerate(order):
                pixels = np.clip(level + noise[k], 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"frame{k + 8}.png")  # 8, 9, 10, 11: natural order matters
    return root
