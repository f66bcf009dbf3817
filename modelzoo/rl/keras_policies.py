"""Policies from Keras HDF5 files that others trained: convolutions and dense layers, restored by arrays' shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelzoo.errors import CheckpointFormatError, UsageError, WeightsMismatchError
from modelzoo.rl.architecture import Architecture
from modelzoo.rl.frames import FrameStack
from modelzoo.rl.policy import Actor, DensePolicy, Policy, policy_of

if TYPE_CHECKING:
    from modelzoo.rl.environment import Environment

__all__ = ["SomeActions", "load_keras_policy"]

Layer = tuple[str, np.ndarray, np.ndarray]


class SomeActions:
    """A policy that knows some of an environment's actions only.

    Args:
        policy: values its own actions.
        actions: which of the environment's these are, in their order.
        count: of the environment's actions.
    """

    def __init__(self, policy: Policy, actions: Sequence[int], count: int) -> None:
        self.policy, self.actions = policy, list(actions)
        self._none = np.full(count, -np.inf, np.float32)

    def refresh(self) -> None:
        self.policy.refresh()

    def values(self, observation: np.ndarray) -> np.ndarray:
        values = self._none.copy()
        values[self.actions] = self.policy.values(observation)
        return values


def load_keras_policy(
    path: str | Path,
    environment: Environment,
    *,
    actions: Sequence[int] | None = None,
    newest_first: bool = False,
) -> Actor:
    """The greedy policy of a Keras file, weights only or not, of convolutions and dense layers.

    A file of weights does not say all. Taken are: ReLU behind hidden layers; convolutions without padding and with the
    stride of the published networks, half their kernel (8 / 4, 4 / 2, 3 / 1); pictures scaled to 0..1. The last layer's
    numbers may be Q values, logits or what goes into a softmax: the best action is the same. Dense layers need no
    TensorFlow.

    Args:
        path: of the `.h5` file.
        environment: it is to act in.
        actions: which of the environment's actions its outputs stand for; None = all, in their order.
        newest_first: whether it saw stacked frames with the newest one first.

    Raises:
        CheckpointFormatError: no Keras file, or a damaged one.
        WeightsMismatchError: the layers do not fit the environment's observations and actions, or one another.
        UsageError: layers of other kinds, actions that the environment does not have.
    """
    layers = _layers(Path(path).expanduser())
    _check_actions(actions, environment)
    count = environment.actions if actions is None else len(actions)
    convolutions = [layer for layer in layers if layer[1].ndim == 4]
    shape = environment.observation_shape
    found = [
        (int(kernel.shape[-1]), int(kernel.shape[0]), max(1, kernel.shape[0] // 2)) for _, kernel, _ in convolutions
    ]
    widths = [int(kernel.shape[-1]) for _, kernel, _ in layers[len(convolutions) :]]
    if not widths:
        raise UsageError("The file has no dense layer that gives actions.", received=str(path))
    architecture = Architecture(tuple(widths[:-1]), tuple(found))
    wanted = architecture.shapes(shape, count)
    _check(path, layers, wanted, environment, count)
    if newest_first:
        layers = _turned(layers, environment)
    policy: Policy
    if convolutions:
        network = architecture.build(shape, environment.frame_dtype.name, environment.scale, count, 0)
        from modelzoo.rl.dqn import named_weights

        arrays = [array for _, kernel, bias in layers for array in (kernel, bias)]
        for variable, array in zip(named_weights(network).values(), arrays, strict=True):
            variable.assign(array)
        policy = policy_of(network)
    else:
        policy = DensePolicy([(kernel, bias) for _, kernel, bias in layers], scale=environment.scale)
    if actions is not None:
        policy = SomeActions(policy, actions, environment.actions)
    return Actor(policy, FrameStack(environment.frame_shape, environment.frame_dtype, environment.stack))


def _layers(path: Path) -> list[Layer]:
    """(name, kernel, bias) of the layers, convolutions first."""
    from modelzoo.checkpoints import open_checkpoint
    from modelzoo.checkpoints.keras_layers import saved_layers

    with open_checkpoint(path) as opened:
        saved = saved_layers(opened)
        if saved is None:
            raise CheckpointFormatError(
                "The file does not say which layers it holds.", received=str(path), hint="a Keras 1 or 2 .h5 is read"
            )
        layers: list[Layer] = []
        for name, weights in saved:
            arrays = [np.array(opened[weight], np.float32) for weight in weights]
            ranks = [array.ndim for array in arrays]
            after_dense = bool(layers) and layers[-1][1].ndim == 2
            square = bool(arrays) and arrays[0].shape[:1] == arrays[0].shape[1:2]
            if ranks != [2, 1] and not (ranks == [4, 1] and square and not after_dense):
                shapes = ", ".join(str(array.shape) for array in arrays)
                raise UsageError(
                    f"Layer {name!r} is no dense layer, and no square convolution before those.",
                    received=f"{path}: {shapes}",
                    hint="policies of convolutions and dense layers with biases are restored",
                )
            layers.append((name, arrays[0], arrays[1]))
    return layers


def _check_actions(actions: Sequence[int] | None, environment: Environment) -> None:
    if actions is None:
        return
    known = range(environment.actions)
    if not actions or len(set(actions)) != len(actions) or any(action not in known for action in actions):
        raise UsageError(
            f"The actions of {environment.spec.id} are 0 to {environment.actions - 1}, each named once.",
            received=", ".join(map(str, actions)) or "none",
        )


def _check(
    path: str | Path, layers: list[Layer], wanted: dict[str, tuple[int, ...]], environment: Environment, count: int
) -> None:
    shapes = list(wanted.values())
    mismatched = []
    for number, (name, kernel, bias) in enumerate(layers):
        expected = shapes[2 * number : 2 * number + 2]
        if [kernel.shape, bias.shape] != expected and number < len(layers) - 1:
            mismatched.append(f"{name}: file {kernel.shape} and {bias.shape}, expected {expected[0]}")
    name, kernel, bias = layers[-1]
    if bias.shape != kernel.shape[1:]:
        mismatched.append(f"{name}: file kernel {kernel.shape} and bias {bias.shape}")
    if kernel.shape[0] != shapes[-2][0]:
        mismatched.append(f"{name}: file {kernel.shape}, expected ({shapes[-2][0]}, ...)")
    if kernel.shape[1] != count:
        why = "; one number is a value, as of a critic" if kernel.shape[1] == 1 else ""
        mismatched.append(f"{name}: {kernel.shape[1]} outputs, {count} actions{why}")
    if mismatched:
        raise WeightsMismatchError(
            f"The policy in {Path(path).name} is not one for {environment.spec.id}.",
            mismatched=mismatched,
            hint="choose the environment that it was trained in; of some of its actions say which",
        )


def _turned(layers: list[Layer], environment: Environment) -> list[Layer]:
    """The first layer for frames in the other order: the channels of one grey frame are one."""
    name, kernel, bias = layers[0]
    if len(environment.frame_shape) != 2 or kernel.ndim != 4:
        raise UsageError("Only stacked grey frames have a newest one first.", received=environment.spec.id)
    return [(name, np.ascontiguousarray(kernel[:, :, ::-1]), bias), *layers[1:]]
