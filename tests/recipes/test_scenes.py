"""Drawn scenes: the same everywhere, one for every class and style, and the held-out style is held out."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recipes.scenes import CLASSES, HELD_OUT_STYLE, scene

ROOT = Path(__file__).resolve().parents[2]
STYLES = range(HELD_OUT_STYLE + 1)

#: Class, seed, size and style of a few pictures: every class, every style.
FEW = [(name, 10 * number, 40 + 8 * (number % 3), number % 4) for number, name in enumerate(CLASSES)]

DIGESTS = """
from tests.recipes.test_scenes import FEW, digest
print("\\n".join(digest(*one) for one in FEW))
"""


def digest(name: str, seed: int, size: int, style: int | None) -> str:
    return hashlib.sha256(scene(name, seed, size, style=style).tobytes()).hexdigest()


def test_another_process_draws_the_same_pictures() -> None:
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", DIGESTS], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [digest(*one) for one in FEW]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", CLASSES)
def test_every_class_draws_in_every_style(name: str, style: int) -> None:
    picture = scene(name, 3, 64, style=style)
    assert (picture.dtype, picture.shape) == (np.uint8, (64, 64, 3))
    assert picture.std() > 5, "the picture is blank"
    others = [scene(name, 3, 64, style=other) for other in STYLES if other != style]
    assert all((picture != other).any() for other in others), "two styles draw the same picture"
    assert (picture != scene(name, 4, 64, style=style)).any(), "two seeds draw the same picture"


@pytest.mark.parametrize("name", CLASSES)
def test_without_a_style_the_seed_chooses_one_and_never_the_held_out_one(name: str) -> None:
    chosen = set()
    for seed in range(12):
        picture = scene(name, seed, 32)
        chosen |= {style for style in STYLES if (scene(name, seed, 32, style=style) == picture).all()}
    assert len(chosen) >= 2
    assert HELD_OUT_STYLE not in chosen


@pytest.mark.parametrize("name", ["cat", "sailing boat"])
def test_a_seed_shows_the_same_scene_at_every_size(name: str) -> None:
    for seed in range(4):
        small = scene(name, seed, 64).astype(float)
        large = np.asarray(Image.fromarray(scene(name, seed, 256)).reduce(4), float)
        assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.8, seed
