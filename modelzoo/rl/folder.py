"""A run's folder: agent.json, the weights of the best policy, log and curve; and back to a policy that acts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelzoo.errors import CheckpointFormatError, UsageError, WeightsMismatchError
from modelzoo.rl.architecture import Architecture
from modelzoo.rl.checkpoint import write_whole
from modelzoo.rl.environment import Environment, EnvironmentSpec
from modelzoo.rl.frames import FrameStack
from modelzoo.rl.policy import Actor, DensePolicy, policy_of

if TYPE_CHECKING:
    from modelzoo.rl.torso import Torso

__all__ = ["AGENT", "CURVE", "LOG", "TRAINING", "WEIGHTS", "SavedAgent", "load_agent", "load_torso"]

AGENT, WEIGHTS, LOG, CURVE, TRAINING = "agent.json", "policy.safetensors", "log.csv", "curve.png", "training"
"""Names in the folder; `TRAINING` is the folder of the state that a run goes on from."""

_VERSION = 1


@dataclass(frozen=True)
class SavedAgent:
    """A policy from a folder.

    Attributes:
        spec: of the environment it was trained in.
        description: the whole `agent.json`.
        actor: takes its best actions.
    """

    spec: EnvironmentSpec
    description: Mapping[str, Any]
    actor: Actor


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write `agent.json`, whole or not at all.

    Raises:
        DiskError: it cannot be written.
    """
    text = json.dumps({"schema_version": _VERSION, "algorithm": "dqn", **description}, indent=1) + "\n"
    write_whole(folder / AGENT, text.encode())


def read_description(folder: str | Path) -> dict[str, Any]:
    """`agent.json` of a folder.

    Raises:
        CheckpointFormatError: there is none, or it is damaged, or of a later version.
    """
    path = Path(folder).expanduser() / AGENT
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict) or raw["algorithm"] != "dqn":
            raise ValueError("no deep Q-network")
        for key in ("environment", "network", "settings", "torso", "unfreeze"):
            _ = raw[key]
        version = raw["schema_version"]
    except FileNotFoundError:
        raise CheckpointFormatError(
            "The folder holds no agent.", received=str(folder), hint="modelzoo dqn train ENV -o FOLDER makes one"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointFormatError("The description of the agent is damaged.", received=str(path)) from error
    if version != _VERSION:
        raise CheckpointFormatError(
            "The agent was written by another version of modelzoo.", received=f"schema_version {version!r}"
        )
    return raw


def load_torso(said: Any, torso: Torso | None = None, **options: Any) -> Torso | None:
    """The torso that a description names, or the one at hand where it is the same.

    Args:
        said: `torso` of a description.
        torso: at hand, where the network is the user's own.
        **options: of `load_pretrained`.

    Raises:
        CheckpointFormatError: the description is damaged, or the torso's weights are other ones.
        UsageError: nobody says where the torso is.
    """
    if said is None:
        return None
    from modelzoo.rl.torso import Torso

    try:
        name, tap, side, grid, known = (said[key] for key in ("name", "tap", "side", "grid", "fingerprint"))
    except (KeyError, TypeError):
        raise CheckpointFormatError("The description of the torso is damaged.", received=repr(said)[:200]) from None
    if torso is None and name is None:
        raise UsageError("The agent stands on a network of the user's own.", hint="load_agent(folder, torso=...)")
    found = torso if torso is not None else Torso(name, tap=tap, side=side, grid=grid, **options)
    if found.as_dict()["fingerprint"] != known:
        raise CheckpointFormatError(
            "The torso is not the one that the agent was trained on: weights, tap or preprocessing differ.",
            received=found.name,
        )
    return found


def load_agent(
    folder: str | Path, *, environment: Environment | None = None, torso: Torso | None = None, **options: Any
) -> SavedAgent:
    """The best policy of a run.

    Args:
        folder: that `train_dqn` wrote.
        environment: it is to act in; None = the one that it was trained in.
        torso: the pretrained network, where it is the user's own.
        **options: of `load_pretrained`, for a torso with a card.

    Raises:
        CheckpointFormatError: the folder is damaged or holds no agent, or no policy yet.
        UsageError: the environment is another one than the policy is for.
        WeightsMismatchError: the weights are not those of the network that the description says.
    """
    from modelzoo.checkpoints import open_checkpoint
    from modelzoo.rl.environment import make

    root = Path(folder).expanduser()
    said = read_description(root)
    try:
        spec, architecture = EnvironmentSpec.from_dict(said["environment"]), Architecture.from_dict(said["network"])
        _ = said["environment"]["observation"], said["environment"]["actions"]
    except (UsageError, KeyError, TypeError) as error:
        raise CheckpointFormatError("The description of the agent is damaged.", received=str(root)) from error
    if not (root / WEIGHTS).is_file():
        raise CheckpointFormatError(
            "The run has kept no policy yet.", received=str(root), hint="modelzoo dqn train ... --resume goes on"
        )
    own = environment if environment is not None else make(spec)
    try:
        check_same(said["environment"], own)
        with open_checkpoint(root / WEIGHTS) as opened:
            arrays = {name: np.array(opened[name]) for name in opened}
        actor = _actor(own, architecture, arrays, load_torso(said["torso"], torso, **options), said["unfreeze"])
    finally:
        if environment is None:
            own.close()
    return SavedAgent(spec, said, actor)


def check_same(said: Mapping[str, Any], environment: Environment) -> None:
    """Raise where an agent was trained for another environment than this one.

    Raises:
        UsageError: another id, or other observations or actions.
    """
    now = environment.as_dict()
    for key in ("id", "kind", "observation", "actions"):
        if said.get(key) != now[key]:
            raise UsageError(
                "The agent was trained in another environment.",
                received=f"{key}: {said.get(key)!r} there, {now[key]!r} now",
                hint=f"it plays {said.get('id')}",
            )


def _actor(
    environment: Environment,
    architecture: Architecture,
    arrays: Mapping[str, np.ndarray],
    torso: Torso | None,
    unfreeze: Any,
) -> Actor:
    from modelzoo.rl.dqn import assign_all, named_weights, whole_network

    stack = FrameStack(environment.frame_shape, environment.frame_dtype, environment.stack)
    shape = environment.observation_shape if torso is None else (torso.width,)
    whole = torso is not None and unfreeze is not None
    _check_shapes(architecture.shapes(shape, environment.actions), arrays, whole)
    if torso is not None and whole:
        network = whole_network(environment, torso, architecture, 0)
        assign_all(named_weights(network), arrays, _OTHERS)
        return Actor(policy_of(network), stack)
    encode = None if torso is None else torso.encode(environment)
    scale = environment.scale if torso is None else 1.0
    if not architecture.convolutions:
        return Actor(_dense_policy(arrays, scale), stack, encode)
    network = architecture.build(shape, environment.frame_dtype.name, scale, environment.actions, 0)
    assign_all(named_weights(network), arrays, _OTHERS)
    return Actor(policy_of(network), stack, encode)


_OTHERS = "The weights are not those of the network that the description says."


def _check_shapes(wanted: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray], whole: bool) -> None:
    """Before anything is built: a description may ask for a network of any size, the file has what it has."""
    missing = [name for name in wanted if name not in arrays]
    unexpected = [name for name in arrays if name not in wanted and not (whole and name.startswith("torso/"))]
    mismatched = [
        f"{name}: file {arrays[name].shape}, network {shape}"
        for name, shape in wanted.items()
        if name in arrays and arrays[name].shape != shape
    ]
    if missing or unexpected or mismatched:
        raise WeightsMismatchError(_OTHERS, missing=missing, unexpected=unexpected, mismatched=mismatched)


def _dense_policy(arrays: Mapping[str, np.ndarray], scale: float) -> DensePolicy:
    """Straight from the arrays: no TensorFlow is needed to run dense layers."""
    names = {name.partition("/")[0] for name in arrays}

    def those(*layers: str) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(arrays[f"{name}/kernel"], arrays[f"{name}/bias"]) for name in layers if name in names]

    hidden = [f"hidden_{number}" for number in range(1, len(names) + 1)]
    value, advantage = those("value_hidden", "value"), those("advantage_hidden", "advantage")
    return DensePolicy(those(*hidden, "q_values"), value, advantage, scale=scale)
