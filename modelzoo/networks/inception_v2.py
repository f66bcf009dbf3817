"""Inception V2 (BN-Inception) as TF-slim defines it.

Ioffe and Szegedy, "Batch Normalization" (arXiv:1502.03167), appendix, figure 5, with slim's changes: the first
convolution is separable, and no auxiliary heads.
"""

from __future__ import annotations

from typing import Any

from modelzoo.networks.inception import at_least_16, averaged_head, mixed
from modelzoo.networks.slim import BatchNorm, SlimNetwork
from modelzoo.networks.weights import ArraySource

BLOCKS: dict[str, tuple[int, tuple[int, int], tuple[int, int], tuple[str, int]]] = {
    # name: 1x1, (3x3 reduce, 3x3), (double 3x3 reduce, double 3x3), (pool, its projection): the figure's columns
    "Mixed_3b": (64, (64, 64), (64, 96), ("Avg", 32)),
    "Mixed_3c": (64, (64, 96), (64, 96), ("Avg", 64)),
    "Mixed_4b": (224, (64, 96), (96, 128), ("Avg", 128)),
    "Mixed_4c": (192, (96, 128), (96, 128), ("Avg", 128)),
    "Mixed_4d": (160, (128, 160), (128, 160), ("Avg", 96)),
    "Mixed_4e": (96, (128, 192), (160, 192), ("Avg", 96)),
    "Mixed_5b": (352, (192, 320), (160, 224), ("Avg", 128)),
    "Mixed_5c": (352, (192, 320), (192, 224), ("Max", 128)),
}
REDUCTIONS: dict[str, tuple[str, tuple[int, int], tuple[int, int]]] = {
    # before this block: name, (3x3 reduce, 3x3), (double 3x3 reduce, double 3x3), all with stride 2, and a max pool
    "Mixed_4b": ("Mixed_4a", (128, 160), (64, 96)),
    "Mixed_5b": ("Mixed_5a", (128, 192), (192, 256)),
}


def inception_v2(
    x: Any,
    source: ArraySource,
    *,
    include_top: bool = True,
    classes: int = 1001,
    new_head: bool = False,
    width: float = 1.0,
) -> tuple[Any, SlimNetwork]:
    """Build Inception V2 on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32 in [-1, 1].
        source: the arrays, by slim's variable names.
        include_top: whether the classifier follows `Mixed_5c`.
        classes: width of the logits.
        new_head: the classifier is not in the checkpoint and keeps Keras' initialisers.
        width: multiplies the channels of every layer (`max(16, int(channels * width))`); 1 is the paper's network.

    Returns:
        The output, logits (N, classes) or `Mixed_5c` (N, H/32, W/32, 1024), and the network with its taps.
    """
    net = SlimNetwork(source, "InceptionV2", BatchNorm(decay=0.9997, epsilon=0.001))
    depth = at_least_16(width)

    first = depth(64)
    x = net.separable_conv2d(x, first, 7, "Conv2d_1a_7x7", multiplier=min(first // 3, 8), stride=2, end_point=True)
    x = net.tap("MaxPool_2a_3x3", net.max_pool(x, 3, "MaxPool_2a_3x3", padding="same"))
    x = net.conv2d(x, depth(64), 1, "Conv2d_2b_1x1", end_point=True)
    x = net.conv2d(x, depth(192), 3, "Conv2d_2c_3x3", end_point=True)
    x = net.tap("MaxPool_3a_3x3", net.max_pool(x, 3, "MaxPool_3a_3x3", padding="same"))
    for scope, (one, three, double, (pool, projection)) in BLOCKS.items():
        if scope in REDUCTIONS:
            name, strided, twice = REDUCTIONS[scope]
            branches = (
                f"Conv2d_0a_1x1 {strided[0]}, Conv2d_1a_3x3 {strided[1]} /2",
                f"Conv2d_0a_1x1 {twice[0]}, Conv2d_0b_3x3 {twice[1]}, Conv2d_1a_3x3 {twice[1]} /2",
                "MaxPool_1a_3x3 /2",
            )
            x = mixed(net, x, name, branches, depth)
        x = mixed(
            net,
            x,
            scope,
            (
                f"Conv2d_0a_1x1 {one}",
                f"Conv2d_0a_1x1 {three[0]}, Conv2d_0b_3x3 {three[1]}",
                f"Conv2d_0a_1x1 {double[0]}, Conv2d_0b_3x3 {double[1]}, Conv2d_0c_3x3 {double[1]}",
                f"{pool}Pool_0a_3x3, Conv2d_0b_1x1 {projection}",
            ),
            depth,
        )
    if not include_top:
        return x, net
    return averaged_head(net, x, 7, classes, new=new_head), net
