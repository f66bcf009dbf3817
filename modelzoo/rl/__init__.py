"""Reinforcement learning on Gymnasium's environments: deep Q-networks, from small vectors or on a pretrained torso.

In comes the id of an environment; out goes a folder with a description (JSON) and weights (safetensors), which `play`
and `eval` open. An algorithm is put together of pieces that others share, a file each: `environment`, `frames`,
`replay`, `schedule`, `policy`, `learner`, `runner`, `evaluation`. Nothing here pickles, or runs what a file brings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelzoo.rl.architecture import Architecture as Architecture
    from modelzoo.rl.dqn import DQN as DQN
    from modelzoo.rl.environment import EnvironmentSpec as EnvironmentSpec
    from modelzoo.rl.environment import make as make
    from modelzoo.rl.evaluation import evaluate as evaluate
    from modelzoo.rl.folder import load_agent as load_agent
    from modelzoo.rl.keras_policies import load_keras_policy as load_keras_policy
    from modelzoo.rl.learner import QLearner as QLearner
    from modelzoo.rl.policy import Actor as Actor
    from modelzoo.rl.replay import ReplayBuffer as ReplayBuffer
    from modelzoo.rl.runner import Runner as Runner
    from modelzoo.rl.schedule import Schedule as Schedule
    from modelzoo.rl.settings import DQNSettings as DQNSettings
    from modelzoo.rl.torso import Torso as Torso
    from modelzoo.rl.training import train_dqn as train_dqn

_HOME = {
    "Actor": "policy",
    "Architecture": "architecture",
    "DQN": "dqn",
    "DQNSettings": "settings",
    "EnvironmentSpec": "environment",
    "QLearner": "learner",
    "ReplayBuffer": "replay",
    "Runner": "runner",
    "Schedule": "schedule",
    "Torso": "torso",
    "evaluate": "evaluation",
    "load_agent": "folder",
    "load_keras_policy": "keras_policies",
    "make": "environment",
    "train_dqn": "training",
}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelzoo.rl' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"modelzoo.rl.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
