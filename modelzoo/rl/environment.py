"""Environments: from a Gymnasium id to frames for a replay buffer; what does not fit is said before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelzoo.errors import MissingExtraError, NotFoundError, UsageError
from modelzoo.rl.frames import grey, planes_picture, resized

__all__ = ["KINDS", "Environment", "EnvironmentSpec", "episode_seed", "make"]

KINDS = ("vector", "one-hot", "picture", "planes")
"""What an observation is: numbers, one of n states, a uint8 picture, or a map of other numbers (H, W, C)."""

TRAINING, SELECTION, EVALUATION = range(3)
"""Streams of seeds, so that no episode is met in two of them."""

_SIDE = 84  # of grey frames (Mnih et al. 2015)
_PICTURE = 16  # pixels; what is smaller is a map


@dataclass(frozen=True)
class EnvironmentSpec:
    """What an environment is, as data.

    Attributes:
        id: Gymnasium's name for it.
        options: of the environment, JSON values, for example {"is_slippery": false}.
        stack: frames in an observation; None = 4 of pictures, else 1.
        size: (height, width) of grey pictures; None = 84 x 84, or as they are where they are smaller.

    Raises:
        UsageError: they make no sense.
    """

    id: str
    options: Mapping[str, Any] = field(default_factory=dict)
    stack: int | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id or ":" in self.id:
            raise UsageError(
                "An environment is named by an id that is registered with Gymnasium.",
                received=repr(self.id),
                hint="import the module that registers your own, then give its id without the module's name",
            )
        if self.stack is not None and not (type(self.stack) is int and 1 <= self.stack <= 64):
            raise UsageError("An observation has 1 to 64 frames.", received=repr(self.stack))
        size = self.size
        if size is not None and (
            len(size) != 2 or any(type(side) is not int or not 1 <= side <= 2048 for side in size)
        ):
            raise UsageError("The size of frames is height and width, 1 to 2048 pixels.", received=repr(self.size))

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them."""
        size = None if self.size is None else list(self.size)
        return {"id": self.id, "options": dict(self.options), "stack": self.stack, "size": size}

    @classmethod
    def from_dict(cls, raw: Any) -> EnvironmentSpec:
        """From a description.

        Raises:
            UsageError: it is none.
        """
        try:
            size = None if raw["size"] is None else tuple(raw["size"])
            return cls(raw["id"], dict(raw["options"]), raw["stack"], size)
        except (KeyError, TypeError, ValueError):
            raise UsageError("An environment is described by id, options, stack, size.", received=repr(raw)) from None


class Environment:
    """A Gymnasium environment whose observations are frames of one shape, and whose actions are 0..n-1.

    Args:
        environment: of Gymnasium.
        spec: what it is.

    Attributes:
        kind: one of `KINDS`.
        frame_shape: (n,), (H, W) of a grey picture, or (H, W, C).
        frame_dtype: uint8 of pictures and binary planes, else float32.
        scale: what a frame is multiplied with to lie in 0..1; 1 where it is no picture.
        stack: frames in an observation.
        observation_shape: of the stacked frames, as a network sees them.
        actions: how many there are.

    Raises:
        UsageError: continuous actions, or observations that are no single array.
    """

    def __init__(self, environment: Any, spec: EnvironmentSpec) -> None:
        from gymnasium import spaces

        self.spec = spec
        self._environment = environment
        self._action_start = 0
        space = environment.action_space
        if not isinstance(space, spaces.Discrete):
            raise UsageError(
                f"Q-learning chooses among a number of actions, and those of {spec.id} are not Discrete.",
                received=str(space),
                hint="choose an environment with discrete actions",
            )
        self.actions, self._action_start = int(space.n), int(space.start)
        seen = environment.observation_space
        shape: tuple[int, ...]
        dtype: np.dtype[Any]
        if isinstance(seen, spaces.Discrete):
            self.kind, shape, dtype = "one-hot", (int(seen.n),), np.dtype(np.float32)
            self._state_start = int(seen.start)
        elif isinstance(seen, spaces.Box):
            self.kind, shape, dtype = _box(seen)
        else:
            raise UsageError(
                f"The observations of {spec.id} are no single array.",
                received=str(seen)[:200],
                hint="Box and Discrete spaces are understood",
            )
        self.scale = 1.0
        if self.kind == "picture":
            whole = (int(shape[0]), int(shape[1]))
            self._size = spec.size or ((_SIDE, _SIDE) if max(whole) > _SIDE else whole)
            shape, self.scale = self._size, 1 / 255
        elif spec.size is not None:
            raise UsageError(f"The observations of {spec.id} are no pictures that have a size.", received=str(seen))
        elif dtype == np.uint8 and seen.dtype == np.uint8:
            self.scale = 1 / 255
        self.frame_shape: tuple[int, ...] = tuple(shape)
        self.frame_dtype = dtype
        self.stack = spec.stack if spec.stack is not None else 4 if self.kind == "picture" else 1

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """(n * stack,), (H, W, stack) of grey pictures, (H, W, C * stack) of maps."""
        if len(self.frame_shape) == 2:
            return (*self.frame_shape, self.stack)
        return (*self.frame_shape[:-1], self.frame_shape[-1] * self.stack)

    def as_dict(self) -> dict[str, Any]:
        """The spec and what follows from it, JSON values: what a network of another environment does not fit."""
        return {
            **self.spec.as_dict(),
            "kind": self.kind,
            "observation": list(self.observation_shape),
            "actions": self.actions,
        }

    def reset(self, seed: int) -> np.ndarray:
        """Begin an episode that a seed determines; its first frame."""
        observation, _ = self._environment.reset(seed=seed)
        return self._frame(observation)

    def again(self) -> np.ndarray:
        """Begin the next episode, which the last `reset` determines; its first frame."""
        observation, _ = self._environment.reset()
        return self._frame(observation)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool]:
        """Act: the next frame, the reward, whether the episode has ended (terminated), whether it was cut off."""
        observation, reward, terminated, truncated, _ = self._environment.step(self._action_start + action)
        return self._frame(observation), float(reward), bool(terminated), bool(truncated)

    def picture(self, frame: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3): what the environment draws, or else the frame itself.

        Raises:
            MissingExtraError: the environment draws by a package that is not installed.
            UsageError: it draws nothing, and its frames are no pictures.
        """
        drawn = None
        if self._environment.render_mode == "rgb_array":
            drawn = _explained(self.spec.id, self._environment.render)
        if drawn is not None:
            return np.asarray(drawn, np.uint8)
        if self.kind == "planes":
            return planes_picture(frame)
        if self.kind == "picture":
            return np.repeat(frame[..., None], 3, axis=-1)
        raise UsageError(f"{self.spec.id} draws no pictures.", hint="evaluate it instead: modelzoo dqn eval")

    def close(self) -> None:
        """Give back what it holds."""
        self._environment.close()

    def _frame(self, observation: Any) -> np.ndarray:
        if self.kind == "vector":
            return np.asarray(observation, self.frame_dtype).reshape(self.frame_shape)
        if self.kind == "one-hot":
            frame = np.zeros(self.frame_shape, np.float32)
            frame[int(observation) - self._state_start] = 1
            return frame
        if self.kind == "picture":
            return resized(grey(observation) if observation.ndim == 3 else observation, self._size)
        return np.asarray(observation, self.frame_dtype)


def make(spec: EnvironmentSpec | str, *, draw: bool = False) -> Environment:
    """An environment by its id.

    Args:
        spec: what it is, or only its id.
        draw: whether `picture` shows what the environment draws.

    Raises:
        MissingExtraError: Gymnasium, or the package of the environment, is not installed.
        NotFoundError: no environment has this id; the nearest ones are named.
        UsageError: the environment cannot be made, has continuous actions, or observations that are no single array.
    """
    spec = EnvironmentSpec(spec) if isinstance(spec, str) else spec
    try:
        import gymnasium
    except ImportError as error:
        raise MissingExtraError("rl", "gymnasium", "Reinforcement learning") from error
    _register(spec.id)
    if spec.id not in gymnasium.registry:
        unknown = NotFoundError(spec.id, gymnasium.registry, what=f"There is no environment {spec.id!r}.")
        unknown.hint = unknown.hint or (
            "an id of gymnasium, as CartPole-v1, or of Atari or MinAtar, as ALE/Pong-v5 and MinAtar/Breakout-v1, "
            "for which: pip install 'modelzoo[atari]'"
        )
        raise unknown
    # The checker costs more than a step of a small environment; PassiveEnvChecker is for those who write one.
    options = {**spec.options, "disable_env_checker": True}
    if draw and _explained(spec.id, lambda: _draws(gymnasium.registry[spec.id].entry_point)):
        options["render_mode"] = "rgb_array"
    made = _explained(spec.id, lambda: gymnasium.make(spec.id, **options))
    try:
        return Environment(made, spec)
    except BaseException:
        made.close()
        raise


def episode_seed(seed: int, stream: int, number: int = 0) -> int:
    """A seed for `reset`: of a run's seed, what it is for (`TRAINING`, `SELECTION`, `EVALUATION`), and a number."""
    return int(np.random.SeedSequence([seed, stream, number]).generate_state(1)[0] >> 1)


def _box(space: Any) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """Kind, shape and dtype of frames."""
    shape = tuple(int(side) for side in space.shape)
    number = np.dtype(np.uint8) if space.dtype in (np.uint8, np.bool_) else np.dtype(np.float32)
    picture = space.dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3)))
    if picture and min(shape[:2]) >= _PICTURE:
        return "picture", shape, number
    if len(shape) == 3:
        return "planes", shape, number
    return "vector", (max(1, int(np.prod(shape))),), number


def _draws(entry_point: Any) -> bool:
    """Whether an environment is asked to draw: not MinAtar, which draws by a package that nothing else needs."""
    from gymnasium.envs.registration import load_env_creator

    if str(entry_point).startswith("minatar"):
        return False
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    return "rgb_array" in (getattr(creator, "metadata", None) or {}).get("render_modes", ())


def _explained(name: str, action: Any) -> Any:
    """What `action` gives; Gymnasium's errors become ours."""
    import gymnasium

    try:
        return action()
    except gymnasium.error.DependencyNotInstalled as error:
        package = "pygame" if "pygame" in str(error) else "that its message names"
        raise MissingExtraError("rl", package, f"{name}") from error
    except (gymnasium.error.Error, ImportError, TypeError, ValueError, AssertionError) as error:
        raise UsageError(f"The environment {name} cannot be made.", received=str(error)[:300]) from error


def _register(name: str) -> None:
    """Packages that register environments only when they are asked to."""
    namespace = name.partition("/")[0]
    if namespace == "ALE":
        try:
            import ale_py
        except ImportError as error:
            raise MissingExtraError("atari", "ale-py", f"The environment {name}") from error
        import gymnasium

        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        gymnasium.register_envs(ale_py)
    elif namespace == "MinAtar":
        import gymnasium

        if not any(known.startswith("MinAtar/") for known in gymnasium.registry):
            _register_minatar(name)


def _register_minatar(name: str) -> None:
    import logging

    root = logging.getLogger()
    silent = logging.NullHandler()
    # Importing it without its drawing package logs by the root logger, which would set up logging for everybody.
    root.addHandler(silent)
    try:
        from minatar.gym import register_envs
    except ImportError as error:
        raise MissingExtraError("atari", "minatar", f"The environment {name}") from error
    finally:
        root.removeHandler(silent)
    register_envs()
