"""Policies from Keras HDF5 files that others trained: dense layers, restored by the shapes of their arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelzoo.errors import CheckpointFormatError, UsageError, WeightsMismatchError
from modelzoo.rl.frames import FrameStack
from modelzoo.rl.policy import Actor, DensePolicy

if TYPE_CHECKING:
    from modelzoo.rl.environment import Environment

__all__ = ["load_keras_policy"]


def load_keras_policy(path: str | Path, environment: Environment) -> Actor:
    """The greedy policy of a Keras file, weights only or not, of dense layers.

    Hidden layers are taken as ReLU, which a file of weights does not say. The last layer's numbers may be Q values,
    logits or what goes into a softmax: the best action is the same. No TensorFlow is needed.

    Args:
        path: of the `.h5` file.
        environment: it is to act in.

    Raises:
        CheckpointFormatError: no Keras file, or a damaged one.
        WeightsMismatchError: the layers do not fit the environment's observations and actions, or one another.
        UsageError: layers that are not dense.
    """
    from modelzoo.checkpoints import open_checkpoint
    from modelzoo.checkpoints.keras_layers import saved_layers

    with open_checkpoint(Path(path).expanduser()) as opened:
        saved = saved_layers(opened)
        if saved is None:
            raise CheckpointFormatError(
                "The file does not say which layers it holds.", received=str(path), hint="a Keras 1 or 2 .h5 is read"
            )
        layers = []
        for name, weights in saved:
            arrays = [np.array(opened[weight], np.float32) for weight in weights]
            if [array.ndim for array in arrays] != [2, 1]:
                shapes = ", ".join(str(array.shape) for array in arrays)
                raise UsageError(
                    f"Layer {name!r} is not a dense layer with a bias.",
                    received=f"{path}: {shapes}",
                    hint="policies of dense layers are restored",
                )
            layers.append((arrays[0], arrays[1]))
    _check(path, [name for name, _ in saved], layers, environment)
    stack = FrameStack(environment.frame_shape, environment.frame_dtype, environment.stack)
    return Actor(DensePolicy(layers), stack)


def _check(
    path: str | Path, names: list[str], layers: list[tuple[np.ndarray, np.ndarray]], environment: Environment
) -> None:
    width = int(np.prod(environment.observation_shape))
    mismatched = []
    for name, (kernel, bias) in zip(names, layers, strict=True):
        if kernel.shape[0] != width or bias.shape != kernel.shape[1:]:
            mismatched.append(f"{name}: file {kernel.shape} and {bias.shape}, expected ({width}, ...)")
        width = kernel.shape[1]
    if width != environment.actions:
        hint = "; one number is a value, as of a critic" if width == 1 else ""
        mismatched.append(f"{names[-1] if names else path}: {width} outputs, {environment.actions} actions{hint}")
    if mismatched:
        raise WeightsMismatchError(
            f"The policy in {Path(path).name} is not one for {environment.spec.id}.",
            mismatched=mismatched,
            hint="choose the environment that it was trained in",
        )
