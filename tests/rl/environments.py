"""Small environments that the tests register: a game of pixels, a corridor of states, and some that do not fit."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

SIDE = 20
CATCH, CORRIDOR, WORDS, PLANES = "Catch-v0", "Corridor-v0", "Words-v0", "CatchPlanes-v0"


class Catch(gymnasium.Env):
    """A ball falls, a paddle below moves left, stays or moves right: +1 where it is caught, -1 where it is not."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, planes: bool = False) -> None:
        self.render_mode, self.planes = render_mode, planes
        self.action_space = spaces.Discrete(3)
        if planes:
            self.observation_space = spaces.Box(0, 1, (5, 5, 2), bool)
        else:
            self.observation_space = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.ball, self.row, self.paddle = int(self.np_random.integers(5)), 0, 2
        return self._show(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.paddle = min(4, max(0, self.paddle + int(action) - 1))
        self.row += 1
        ended = self.row == 4
        reward = (1.0 if self.ball == self.paddle else -1.0) if ended else 0.0
        return self._show(), reward, ended, False, {}

    def render(self) -> np.ndarray:
        return self._picture()

    def _show(self) -> np.ndarray:
        if not self.planes:
            return self._picture()
        planes = np.zeros((5, 5, 2), bool)
        planes[self.row, self.ball, 0] = planes[4, self.paddle, 1] = True
        return planes

    def _picture(self) -> np.ndarray:
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        picture[4 * self.row : 4 * self.row + 4, 4 * self.ball : 4 * self.ball + 4] = (255, 200, 0)
        picture[16:, 4 * self.paddle : 4 * self.paddle + 4] = (0, 120, 255)
        return picture


class Corridor(gymnasium.Env):
    """States 10..14 in a row; the last one pays 1. It is cut off after 12 steps."""

    def __init__(self) -> None:
        self.observation_space = spaces.Discrete(5, start=10)
        self.action_space = spaces.Discrete(2, start=-1)
        self.render_mode = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.steps = 0
        return 10, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.place = min(4, max(0, self.place + (1 if action == 0 else -1)))
        return 10 + self.place, float(self.place == 4), self.place == 4, self.steps == 12, {}


class Words(gymnasium.Env):
    """Observations of several parts."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Discrete(3)})
        self.action_space = spaces.Discrete(2)
        self.render_mode = None


def register() -> None:
    """Make the ids known to Gymnasium, once in a process."""
    for name, made, options in (
        (CATCH, Catch, {}),
        (PLANES, Catch, {"planes": True}),
        (CORRIDOR, Corridor, {}),
        (WORDS, Words, {}),
    ):
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=made, kwargs=options)
