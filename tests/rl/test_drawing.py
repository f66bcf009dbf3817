"""Learning curves and episodes as pictures, and the log they are drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from modelzoo.errors import CheckpointFormatError, DiskError, MissingExtraError, UsageError
from modelzoo.rl.drawing import draw_curve, write_gif
from modelzoo.rl.environment import make
from modelzoo.rl.evaluation import play
from modelzoo.rl.frames import FrameStack
from modelzoo.rl.log import Row, RunLog, read_log
from modelzoo.rl.policy import Actor, DensePolicy
from tests.rl.environments import CATCH, CORRIDOR, PLANES

BLUE = (31, 92, 166)


def still(environment) -> Actor:
    """An actor that always takes the middle action of three."""
    width = int(np.prod(environment.observation_shape))
    policy = DensePolicy([(np.zeros((width, 3), np.float32), np.array([0, 1, 0], np.float32))])
    return Actor(policy, FrameStack(environment.frame_shape, environment.frame_dtype, environment.stack))


def line(path) -> tuple[np.ndarray, np.ndarray]:
    """Where the line of means is: its rows and columns, below the legend."""
    pixels = np.asarray(Image.open(path).convert("RGB"))[40:]
    return np.nonzero((pixels == BLUE).all(-1))


def test_a_curve_rises_with_the_returns(tmp_path):
    rows = [Row(10 * n, n, float(n), 10, 0.1) for n in range(1, 200)]
    draw_curve([*rows, Row(2000, evaluation=150.0)], tmp_path / "up.png", title="X")
    draw_curve([Row(row.step, row.episode, -row.total) for row in rows], tmp_path / "down.png")
    for name, sign in (("up", -1), ("down", 1)):
        y, x = line(tmp_path / f"{name}.png")
        assert np.sign(np.corrcoef(x, y)[0, 1]) == sign and len(x) > 500
    assert Image.open(tmp_path / "up.png").size == (900, 480)


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [-21.0, -20.5], [1e6, 3.0], [1e-7, -1e-7]])
def test_curves_of_any_returns(tmp_path, values):
    draw_curve([Row(n, n, value, 1) for n, value in enumerate(values, 1)], tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).std() > 0


def test_no_episode_no_curve(tmp_path):
    with pytest.raises(UsageError):
        draw_curve([Row(10, evaluation=3.0)], tmp_path / "a.png")
    with pytest.raises(DiskError):
        draw_curve([Row(10, 1, 3.0)], tmp_path / "nowhere" / "a.png")


@pytest.mark.parametrize("name,size", [(CATCH, (20, 20)), (PLANES, (20, 20))])
def test_an_episode_as_a_gif(tmp_path, name, size):
    environment = make(name, draw=True)
    pictures, total = play(still(environment), environment, seed=1)
    assert len(pictures) == 5 and total in (-1, 1)
    write_gif(pictures, tmp_path / "a.gif", rate=10)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5 and image.size == size and image.info["duration"] == 100
        image.seek(3)
        shown = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(shown - pictures[3]).max() < 24


def test_long_episodes_keep_their_time(tmp_path):
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 256, (4, 4, 3), np.uint8) for _ in range(90)]
    write_gif(pictures, tmp_path / "a.gif", rate=50, most=40)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 30 and image.info["duration"] == 60


def test_what_draws_nothing(monkeypatch):
    environment = make(CORRIDOR, draw=True)
    with pytest.raises(UsageError, match="draws no pictures"):
        environment.picture(environment.reset(0))
    environment = make(CATCH)  # not asked to draw: its frames are pictures all the same
    assert environment.picture(environment.reset(0)).shape == (20, 20, 3)
    import sys

    monkeypatch.setitem(sys.modules, "pygame", None)
    pole = make("CartPole-v1", draw=True)
    with pytest.raises(MissingExtraError, match="pygame"):
        pole.picture(pole.reset(0))


def test_a_log_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "log.csv"
    rows = [Row(3, 1, 2.5, 3, 0.99, None), Row(5, evaluation=1 / 3), Row(9, 2, -1.0, 6, 0.1, 1e-9)]
    log = RunLog(path)
    for row in rows:
        log.add(row)
    log.close()
    assert read_log(path) == rows
    assert path.read_text().splitlines()[0] == "step,episode,return,length,exploration,loss,evaluation"
    with path.open("a") as file:
        file.write("12,3,1.0")  # killed while it wrote
    assert read_log(path) == rows
    later = RunLog(path, until=5)
    later.add(rows[2])
    later.close()
    assert read_log(path) == rows


@pytest.mark.parametrize("text", ["", "a,b\n", "step,episode\n1,2\n"])
def test_what_is_no_log(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(CheckpointFormatError):
        read_log(tmp_path / "log.csv")
