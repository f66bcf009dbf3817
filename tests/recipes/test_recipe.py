"""The recipe itself: what it does to pictures while it trains, and a whole run in miniature."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recipes.inception_v1_scenes import ARCHIVE, HELD_OUT_SEED, MEMBER, Settings, batches, lit, moved, pack
from recipes.scenes import CLASSES, scene

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--pictures", "4", "--held-out", "1", "--epochs", "1", "--drawn", "64", "--size", "48", "--batch", "16"]


def pictures(count: int, side: int = 40) -> np.ndarray:
    drawn = np.stack([scene(CLASSES[k % len(CLASSES)], k, side) for k in range(count)])
    return drawn.astype(np.float32) / 127.5 - 1


def test_neutral_draws_leave_a_picture_as_it_is() -> None:
    few = pictures(3)
    place = np.tile(np.float32([1, 0.5, 0.5, 0.9, 0.5, 0.5]), (3, 1))
    assert np.abs(np.asarray(moved(few, place, 40)) - few).max() < 1e-4
    light = np.tile(np.float32([0.5, 0.5, 0.5, 0.5, 0.8, 0.5]), (3, 1))
    assert np.abs(np.asarray(lit(few, light)) - few).max() < 1e-5


def test_a_draw_below_a_half_mirrors() -> None:
    few = pictures(2)
    place = np.tile(np.float32([1, 0.5, 0.5, 0.1, 0.5, 0.5]), (2, 1))
    assert np.abs(np.asarray(moved(few, place, 40)) - few[:, :, ::-1]).max() < 1e-4


def test_the_smallest_crop_is_the_middle_when_nothing_shifts_it() -> None:
    few = pictures(2)
    place = np.tile(np.float32([0, 0.5, 0.5, 0.9, 0.5, 0.5]), (2, 1))
    assert np.abs(np.asarray(moved(few, place, 24)) - few[:, 8:32, 8:32]).max() < 1e-4  # 60 % of 40 pixels


def test_no_saturation_is_grey_and_no_light_leaves_the_range() -> None:
    few = pictures(4)
    grey = np.asarray(lit(few, np.tile(np.float32([0.5, 0.5, 0.5, 0.5, 0.1, 0.5]), (4, 1))))
    assert np.ptp(grey, axis=-1).max() < 1e-6
    for extreme in (0.0, 0.999):
        light = np.asarray(lit(few, np.full((4, 6), extreme, np.float32)))
        assert light.min() >= -1 and light.max() <= 1


def test_batches_are_the_same_every_time_and_carry_the_right_labels() -> None:
    settings = Settings(pictures=1, drawn=40, size=32, batch=8)
    drawn = np.stack([scene(name, 0, 40) for name in CLASSES])
    labels = np.arange(len(CLASSES), dtype=np.int32)
    first, again = (list(batches(drawn, labels, settings).take(3).as_numpy_iterator()) for _ in range(2))
    for (x, y), (same_x, same_y) in zip(first, again, strict=True):
        assert (x.shape, y.shape) == ((8, 32, 32, 3), (8, len(CLASSES)))
        assert (x == same_x).all() and (y == same_y).all()
        assert (y.sum(-1) == 1).all()
    seen = np.concatenate([y.argmax(-1) for _, y in first[:2]])
    assert sorted(seen) == list(range(len(CLASSES))), "one round shows every picture once"
    assert not (first[0][0] == first[2][0]).all()


def test_held_out_seeds_are_none_of_the_training() -> None:
    assert Settings().pictures <= HELD_OUT_SEED


def test_archives_do_not_depend_on_who_packs_them_and_when(tmp_path: Path) -> None:
    for folder, mtime in (("a", 1), ("b", 10**9)):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "x.ckpt"
        file.write_bytes(b"numbers" * 100)
        os.utime(file, (mtime, mtime))
        pack(file, tmp_path / f"{folder}.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


@pytest.mark.slow
def test_a_whole_run_twice_gives_the_same_files(tmp_path: Path) -> None:
    said = []
    for out in ("one", "two"):
        command = [sys.executable, "-m", "recipes.inception_v1_scenes", "--out", tmp_path / out]
        done = subprocess.run(
            [*map(str, command), "--work", str(tmp_path / "work"), *TINY],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout[done.stdout.index("{") :]))
        assert sorted(path.name for path in (tmp_path / out).iterdir()) == ["demo.png", ARCHIVE]
    assert said[0]["file"] == said[1]["file"]
    assert said[0]["accuracy"] == said[1]["accuracy"]
    assert said[0]["file"]["member"]["path"] == MEMBER
    assert (tmp_path / "one" / ARCHIVE).stat().st_size == said[0]["file"]["size"]
    assert len(list((tmp_path / "work").glob("*.npy"))) == 1, "the second run takes the pictures of the first"
