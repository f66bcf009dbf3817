"""The numbers of a deep Q-network's training, their defaults for a kind of observation, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from modelzoo.errors import UsageError, nearest
from modelzoo.rl.schedule import Schedule

__all__ = ["DQNSettings"]


@dataclass(frozen=True)
class DQNSettings:
    """How a deep Q-network learns; counts are environment steps where nothing else is said.

    Attributes:
        steps: of the whole run.
        seed: of weights, exploration, replay and environment.
        double: the online network chooses the next action, the target network values it (van Hasselt et al. 2016).
        n_step: rewards before the target network's value.
        discount: of a reward that comes a step later.
        learning_rate, adam_epsilon, clip_norm: of Adam; `clip_norm` is the largest global norm of a gradient.
        batch_size: transitions in a gradient step.
        buffer_size: frames that the replay buffer keeps.
        learning_starts: steps before the first gradient step.
        train_every: steps between two calls of the learner.
        updates: gradient steps in a call.
        target_every: gradient steps between two copies into the target network; 0 = `target_rate` instead.
        target_rate: share of the online weights that enters the target network at each gradient step (soft update).
        exploration: share of random actions.
        clip_rewards: learn from the sign of each reward (Mnih et al. 2015); returns are reported as they are.
        evaluate_every, evaluate_episodes: how often the greedy policy is tried, and for how many episodes; 0 = never.
        evaluate_exploration: share of random actions in those.
        checkpoint_every: the state is kept, and the environment made anew, at the first end of an episode after so
            many steps; 0 = never.

    Raises:
        UsageError: a number that makes no sense; its name is said.
    """

    steps: int = 50_000
    seed: int = 0
    double: bool = True
    n_step: int = 3
    discount: float = 0.99
    learning_rate: float = 1e-3
    adam_epsilon: float = 1e-7
    clip_norm: float = 10.0
    batch_size: int = 64
    buffer_size: int = 50_000
    learning_starts: int = 1_000
    train_every: int = 256
    updates: int = 128
    target_every: int = 128
    target_rate: float = 1.0
    exploration: Schedule = field(default_factory=lambda: Schedule(1.0, 0.04, 8_000))
    clip_rewards: bool = False
    evaluate_every: int = 2_500
    evaluate_episodes: int = 10
    evaluate_exploration: float = 0.0
    checkpoint_every: int = 10_000

    def __post_init__(self) -> None:
        least = {"steps": 1, "n_step": 1, "batch_size": 1, "buffer_size": 3, "train_every": 1, "updates": 1}
        least |= {"evaluate_episodes": 1}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name == "exploration":
                if not isinstance(value, Schedule):
                    raise UsageError("exploration is a Schedule.", received=repr(value))
            elif entry.type == "bool":
                if not isinstance(value, bool):
                    raise UsageError(f"{entry.name} is True or False.", received=repr(value))
            elif entry.type == "int":
                smallest = least.get(entry.name, 0)
                if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                    raise UsageError(f"{entry.name} is a whole number from {smallest}.", received=repr(value))
            elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise UsageError(f"{entry.name} is a number.", received=repr(value))
        shares = ("discount", "target_rate", "evaluate_exploration")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} lies in 0..1.", received=repr(getattr(self, name)))
        for name in ("learning_rate", "adam_epsilon", "clip_norm"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is positive.", received=repr(getattr(self, name)))
        for value in (self.exploration.start, self.exploration.end):
            if not 0 <= value <= 1:
                raise UsageError("The share of random actions lies in 0..1.", received=repr(self.exploration))
        if self.target_every == 0 and self.target_rate == 0:
            raise UsageError("The target network would never change.", received="target_every=0, target_rate=0")
        if self.n_step + 2 >= self.buffer_size:
            raise UsageError(
                "The replay buffer holds less than one return.",
                received=f"buffer_size={self.buffer_size}, n_step={self.n_step}",
            )

    @classmethod
    def for_kind(cls, kind: str, **changes: Any) -> DQNSettings:
        """Defaults for what an environment shows (`Environment.kind`), with changes.

        Vectors: many gradient steps at once, seldom, since an episode teaches little while it goes on. Pictures and
        maps: a gradient step every fourth step, a target network that is copied rarely (Mnih et al. 2015).

        Raises:
            UsageError: there is no such number, or it makes no sense.
        """
        unknown = [name for name in changes if name not in cls.__dataclass_fields__]
        if unknown:
            near = nearest(unknown[0], cls.__dataclass_fields__)
            raise UsageError(
                f"There is no setting {unknown[0]!r}.", hint=f"did you mean {near[0]!r}?" if near else None
            )
        steps = changes.get("steps", cls.steps)
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise UsageError("steps is a whole number from 1.", received=repr(steps))
        defaults: dict[str, Any] = {"exploration": Schedule(1.0, 0.04, max(1, round(0.16 * steps)))}
        if kind in ("picture", "planes"):
            defaults = {
                "exploration": Schedule(1.0, 0.05, max(1, steps // 5)),
                "learning_rate": 1e-4 if kind == "picture" else 2.5e-4,
                "batch_size": 32,
                "learning_starts": min(5_000, max(1, steps // 20)),
                "train_every": 4,
                "updates": 1,
                "target_every": 250,
                "buffer_size": 100_000,
                "clip_rewards": kind == "picture",
                "evaluate_every": max(1, steps // 10),
                "evaluate_exploration": 0.01,
            }
        return replace(cls(), **{**defaults, **changes})

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {**values, "exploration": self.exploration.as_dict()}

    @classmethod
    def from_dict(cls, raw: Any) -> DQNSettings:
        """From a description.

        Raises:
            UsageError: it is none.
        """
        if not isinstance(raw, Mapping) or set(raw) != {*cls.__dataclass_fields__}:
            raise UsageError("The settings are not those of a deep Q-network.", received=repr(raw)[:200])
        return cls(**{**raw, "exploration": Schedule.from_dict(raw["exploration"])})
