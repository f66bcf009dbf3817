"""Inception V1 (GoogLeNet) as TF-slim defines it.

Szegedy et al., "Going deeper with convolutions", CVPR 2015 (arXiv:1409.4842), table 1, with slim's changes:
BatchNorm in place of biases and of local response normalisation, a 3x3 convolution in the branch that the paper
calls 5x5, and no auxiliary heads.
"""

from __future__ import annotations

from typing import Any

from modelzoo.networks.slim import BatchNorm, SlimNetwork
from modelzoo.networks.weights import ArraySource

BLOCKS: dict[str, tuple[int, tuple[int, int], tuple[int, int], int]] = {
    # name: 1x1, (3x3 reduce, 3x3), (5x5 reduce, "5x5"), pool projection: the columns of the paper's table 1
    "Mixed_3b": (64, (96, 128), (16, 32), 32),
    "Mixed_3c": (128, (128, 192), (32, 96), 64),
    "Mixed_4b": (192, (96, 208), (16, 48), 64),
    "Mixed_4c": (160, (112, 224), (24, 64), 64),
    "Mixed_4d": (128, (128, 256), (24, 64), 64),
    "Mixed_4e": (112, (144, 288), (32, 64), 64),
    "Mixed_4f": (256, (160, 320), (32, 128), 128),
    "Mixed_5b": (256, (160, 320), (32, 128), 128),
    "Mixed_5c": (384, (192, 384), (48, 128), 128),
}


def inception_v1(
    x: Any,
    source: ArraySource,
    *,
    include_top: bool = True,
    classes: int = 1001,
    new_head: bool = False,
    width: float = 1.0,
) -> tuple[Any, SlimNetwork]:
    """Build Inception V1 on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32 in [-1, 1].
        source: the arrays, by slim's variable names.
        include_top: whether the classifier follows `Mixed_5c`.
        classes: width of the logits.
        new_head: the classifier is not in the checkpoint and keeps Keras' initialisers.
        width: multiplies the channels of every layer (`max(1, int(channels * width))`); 1 is the paper's network.

    Returns:
        The output, logits (N, classes) or `Mixed_5c` (N, H/32, W/32, 1024), and the network with its taps.
    """
    net = SlimNetwork(source, "InceptionV1", BatchNorm(decay=0.9997, epsilon=0.001))

    def depth(channels: int) -> int:
        return max(1, int(channels * width))

    def pool(x: Any, size: int, scope: str) -> Any:
        return net.tap(scope, net.max_pool(x, size, scope, padding="same"))

    x = net.conv2d(x, depth(64), 7, "Conv2d_1a_7x7", stride=2, end_point=True)
    x = pool(x, 3, "MaxPool_2a_3x3")
    x = net.conv2d(x, depth(64), 1, "Conv2d_2b_1x1", end_point=True)
    x = net.conv2d(x, depth(192), 3, "Conv2d_2c_3x3", end_point=True)
    x = pool(x, 3, "MaxPool_3a_3x3")
    for scope, (one, three, five, projection) in BLOCKS.items():
        if scope == "Mixed_4b":
            x = pool(x, 3, "MaxPool_4a_3x3")
        elif scope == "Mixed_5b":
            x = pool(x, 2, "MaxPool_5a_2x2")
        # The released checkpoints carry a slip of the pen: this one scope says 0a where its sisters say 0b.
        last = "Conv2d_0a_3x3" if scope == "Mixed_5b" else "Conv2d_0b_3x3"
        branch_0 = net.conv2d(x, depth(one), 1, f"{scope}/Branch_0/Conv2d_0a_1x1")
        branch_1 = net.conv2d(x, depth(three[0]), 1, f"{scope}/Branch_1/Conv2d_0a_1x1")
        branch_1 = net.conv2d(branch_1, depth(three[1]), 3, f"{scope}/Branch_1/Conv2d_0b_3x3")
        branch_2 = net.conv2d(x, depth(five[0]), 1, f"{scope}/Branch_2/Conv2d_0a_1x1")
        branch_2 = net.conv2d(branch_2, depth(five[1]), 3, f"{scope}/Branch_2/{last}")
        branch_3 = net.max_pool(x, 3, f"{scope}/Branch_3/MaxPool_0a_3x3", stride=1, padding="same")
        net.tap(f"{scope}/Branch_3/MaxPool_0a_3x3", branch_3, end_point=False)
        branch_3 = net.conv2d(branch_3, depth(projection), 1, f"{scope}/Branch_3/Conv2d_0b_1x1")
        x = net.tap(scope, net.concat([branch_0, branch_1, branch_2, branch_3], scope))
    if not include_top:
        return x, net

    # At 224 x 224 the map is 7 x 7 and slim's window covers it; at any other size its global_pool does.
    scope = "AvgPool_0a_7x7" if tuple(x.shape[1:3]) == (7, 7) else "global_pool"
    x = net.dropout(net.global_pool(x, scope), 0.2, "Logits/Dropout_0b")
    x = net.squeezed_logits(x, classes, "Logits/Conv2d_0c_1x1", "Logits", new=new_head)
    net.softmax(x)
    return x, net
