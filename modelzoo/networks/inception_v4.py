"""Inception V4 as TF-slim defines it.

Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning"
(arXiv:1602.07261), figures 3 to 9.
"""

from __future__ import annotations

from typing import Any

from modelzoo.networks.inception import auxiliary_head, dense_head, mixed
from modelzoo.networks.slim import BatchNorm, SlimNetwork
from modelzoo.networks.weights import ArraySource

STEM: dict[str, tuple[str, ...]] = {  # figure 3
    "Mixed_3a": ("MaxPool_0a_3x3 /2 valid", "Conv2d_0a_3x3 96 /2 valid"),
    "Mixed_4a": (
        "Conv2d_0a_1x1 64, Conv2d_1a_3x3 96 valid",
        "Conv2d_0a_1x1 64, Conv2d_0b_1x7 64, Conv2d_0c_7x1 64, Conv2d_1a_3x3 96 valid",
    ),
    "Mixed_5a": ("Conv2d_1a_3x3 192 /2 valid", "MaxPool_1a_3x3 /2 valid"),
}
A = (  # figure 4
    "Conv2d_0a_1x1 96",
    "Conv2d_0a_1x1 64, Conv2d_0b_3x3 96",
    "Conv2d_0a_1x1 64, Conv2d_0b_3x3 96, Conv2d_0c_3x3 96",
    "AvgPool_0a_3x3, Conv2d_0b_1x1 96",
)
REDUCTION_A = (  # figure 7
    "Conv2d_1a_3x3 384 /2 valid",
    "Conv2d_0a_1x1 192, Conv2d_0b_3x3 224, Conv2d_1a_3x3 256 /2 valid",
    "MaxPool_1a_3x3 /2 valid",
)
B = (  # figure 5
    "Conv2d_0a_1x1 384",
    "Conv2d_0a_1x1 192, Conv2d_0b_1x7 224, Conv2d_0c_7x1 256",
    "Conv2d_0a_1x1 192, Conv2d_0b_7x1 192, Conv2d_0c_1x7 224, Conv2d_0d_7x1 224, Conv2d_0e_1x7 256",
    "AvgPool_0a_3x3, Conv2d_0b_1x1 128",
)
REDUCTION_B = (  # figure 8
    "Conv2d_0a_1x1 192, Conv2d_1a_3x3 192 /2 valid",
    "Conv2d_0a_1x1 256, Conv2d_0b_1x7 256, Conv2d_0c_7x1 320, Conv2d_1a_3x3 320 /2 valid",
    "MaxPool_1a_3x3 /2 valid",
)
C = (  # figure 6
    "Conv2d_0a_1x1 256",
    "Conv2d_0a_1x1 384, Conv2d_0b_1x3 256 + Conv2d_0c_3x1 256",
    "Conv2d_0a_1x1 384, Conv2d_0b_3x1 448, Conv2d_0c_1x3 512, Conv2d_0d_1x3 256 + Conv2d_0e_3x1 256",
    "AvgPool_0a_3x3, Conv2d_0b_1x1 256",
)
BLOCKS: dict[str, tuple[str, ...]] = {  # figure 9
    **STEM,
    **{f"Mixed_5{k}": A for k in "bcde"},
    "Mixed_6a": REDUCTION_A,
    **{f"Mixed_6{k}": B for k in "bcdefgh"},
    "Mixed_7a": REDUCTION_B,
    **{f"Mixed_7{k}": C for k in "bcd"},
}


def inception_v4(
    x: Any,
    source: ArraySource,
    *,
    include_top: bool = True,
    classes: int = 1001,
    new_head: bool = False,
    aux_logits: bool = True,
) -> tuple[Any, SlimNetwork]:
    """Build Inception V4 on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32 in [-1, 1].
        source: the arrays, by slim's variable names.
        include_top: whether the classifiers follow `Mixed_7d`.
        classes: width of the logits.
        new_head: the classifiers are not in the checkpoint and keep Keras' initialisers.
        aux_logits: whether the tap `AuxLogits` is there, where the input's size allows it (299 x 299 does).

    Returns:
        The output, logits (N, classes) or `Mixed_7d`, (N, 8, 8, 1536) at 299 x 299, and the network with its taps.
    """
    net = SlimNetwork(source, "InceptionV4", BatchNorm(decay=0.9997, epsilon=0.001))
    x = net.conv2d(x, 32, 3, "Conv2d_1a_3x3", stride=2, padding="valid", end_point=True)
    x = net.conv2d(x, 32, 3, "Conv2d_2a_3x3", padding="valid", end_point=True)
    x = net.conv2d(x, 64, 3, "Conv2d_2b_3x3", end_point=True)
    for scope, branches in BLOCKS.items():
        x = mixed(net, x, scope, branches)
    if not include_top:
        return x, net

    if aux_logits:
        grid = net.taps["Mixed_6h"].tensor
        auxiliary_head(net, grid, classes, last="Conv2d_2a", logits="Aux_logits", dense=True, new=new_head)
    return dense_head(net, x, classes, new=new_head), net
