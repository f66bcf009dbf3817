"""Inception V1 once more, from raw arrays and tf.nn operations alone: what the network's values are checked against.

Written from the paper's table 1 and slim's variable names, sharing nothing with `modelzoo.networks`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

Variable = Callable[[str, Sequence[int]], np.ndarray]
"""Gives the array of a variable, by its name in the checkpoint and its shape."""

MIXED = {
    "3b": "64 96 128 16 32 32",
    "3c": "128 128 192 32 96 64",
    "4b": "192 96 208 16 48 64",
    "4c": "160 112 224 24 64 64",
    "4d": "128 128 256 24 64 64",
    "4e": "112 144 288 32 64 64",
    "4f": "256 160 320 32 128 128",
    "5b": "256 160 320 32 128 128",
    "5c": "384 192 384 48 128 128",
}


def random_variables(seed: int) -> tuple[Variable, dict[str, np.ndarray]]:
    """Variables made up as they are asked for, and the mapping in which they gather.

    Filters have mean 0 and the gain of a ReLU, so that no layer dies or explodes.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}

    def variable(name: str, shape: Sequence[int]) -> np.ndarray:
        kind = name.rsplit("/", 1)[-1]
        if kind == "weights":
            value = rng.normal(0, np.sqrt(2.5 / np.prod(shape[:-1])), shape)
        elif kind == "moving_variance":
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(0, 0.1, shape)
        made[name] = value.astype(np.float32)
        return made[name]

    return variable, made


def plain_inception_v1(
    x: np.ndarray, variable: Variable, classes: int = 1001, width: float = 1.0
) -> dict[str, np.ndarray]:
    """All end points of inception_v1 for a batch.

    Args:
        x: (N, H, W, 3) float32.
        variable: where the arrays come from.
        classes: width of the logits.
        width: multiplies every layer's channels.

    Returns:
        {slim's end point: array}; the pooled map is `AvgPool_0a_7x7` at 7 x 7 and `global_pool` at all other sizes.
    """
    ends: dict[str, tf.Tensor] = {}

    def conv(x: tf.Tensor, channels: int, side: int, scope: str, stride: int = 1) -> tf.Tensor:
        channels = max(1, int(channels * width))
        scope = f"InceptionV1/{scope}"
        y = tf.nn.conv2d(x, variable(f"{scope}/weights", (side, side, x.shape[-1], channels)), stride, "SAME")
        mean = variable(f"{scope}/BatchNorm/moving_mean", (channels,))
        variance = variable(f"{scope}/BatchNorm/moving_variance", (channels,))
        beta = variable(f"{scope}/BatchNorm/beta", (channels,))
        return tf.nn.relu((y - mean) / tf.sqrt(variance + 0.001) + beta)

    def pool(x: tf.Tensor, side: int, stride: int) -> tf.Tensor:
        return tf.nn.max_pool2d(x, side, stride, "SAME")

    h = tf.constant(x)
    h = ends["Conv2d_1a_7x7"] = conv(h, 64, 7, "Conv2d_1a_7x7", 2)
    h = ends["MaxPool_2a_3x3"] = pool(h, 3, 2)
    h = ends["Conv2d_2b_1x1"] = conv(h, 64, 1, "Conv2d_2b_1x1")
    h = ends["Conv2d_2c_3x3"] = conv(h, 192, 3, "Conv2d_2c_3x3")
    h = ends["MaxPool_3a_3x3"] = pool(h, 3, 2)
    for block, row in MIXED.items():
        if block == "4b":
            h = ends["MaxPool_4a_3x3"] = pool(h, 3, 2)
        if block == "5b":
            h = ends["MaxPool_5a_2x2"] = pool(h, 2, 2)
        a, b1, b2, c1, c2, d = map(int, row.split())
        at = f"Mixed_{block}"
        odd = "0a" if block == "5b" else "0b"  # the released checkpoints call it so
        h = ends[at] = tf.concat(
            [
                conv(h, a, 1, f"{at}/Branch_0/Conv2d_0a_1x1"),
                conv(conv(h, b1, 1, f"{at}/Branch_1/Conv2d_0a_1x1"), b2, 3, f"{at}/Branch_1/Conv2d_0b_3x3"),
                conv(conv(h, c1, 1, f"{at}/Branch_2/Conv2d_0a_1x1"), c2, 3, f"{at}/Branch_2/Conv2d_{odd}_3x3"),
                conv(pool(h, 3, 1), d, 1, f"{at}/Branch_3/Conv2d_0b_1x1"),
            ],
            axis=-1,
        )
    pooled = "AvgPool_0a_7x7" if h.shape[1:3] == (7, 7) else "global_pool"
    h = ends[pooled] = tf.reduce_mean(h, (1, 2), keepdims=True)
    head = "InceptionV1/Logits/Conv2d_0c_1x1"
    weights = variable(f"{head}/weights", (1, 1, h.shape[-1], classes))
    ends["Logits"] = tf.nn.conv2d(h, weights, 1, "VALID")[:, 0, 0] + variable(f"{head}/biases", (classes,))
    ends["Predictions"] = tf.nn.softmax(ends["Logits"])
    return {name: value.numpy() for name, value in ends.items()}
