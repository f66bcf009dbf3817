"""Inception V3 as TF-slim defines it.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016 (arXiv:1512.00567), table 1.
"""

from __future__ import annotations

from typing import Any

from modelzoo.networks.inception import at_least_16, auxiliary_head, averaged_head, mixed, stem
from modelzoo.networks.slim import BatchNorm, SlimNetwork
from modelzoo.networks.weights import ArraySource


def _factorized(inner: int) -> tuple[str, ...]:
    """A block of the 17 x 17 grid (the paper's figure 6): 7 x 7 windows as 1 x 7 and 7 x 1."""
    return (
        "Conv2d_0a_1x1 192",
        f"Conv2d_0a_1x1 {inner}, Conv2d_0b_1x7 {inner}, Conv2d_0c_7x1 192",
        f"Conv2d_0a_1x1 {inner}, Conv2d_0b_7x1 {inner}, Conv2d_0c_1x7 {inner}, Conv2d_0d_7x1 {inner}, "
        "Conv2d_0e_1x7 192",
        "AvgPool_0a_3x3, Conv2d_0b_1x1 192",
    )


BLOCKS: dict[str, tuple[str, ...]] = {
    # The released checkpoints carry slips of the pen: scopes that misstate their window, and sisters named otherwise.
    "Mixed_5b": (
        "Conv2d_0a_1x1 64",
        "Conv2d_0a_1x1 48, Conv2d_0b_5x5 64",
        "Conv2d_0a_1x1 64, Conv2d_0b_3x3 96, Conv2d_0c_3x3 96",
        "AvgPool_0a_3x3, Conv2d_0b_1x1 32",
    ),
    "Mixed_5c": (
        "Conv2d_0a_1x1 64",
        "Conv2d_0b_1x1 48, Conv_1_0c_5x5 64",
        "Conv2d_0a_1x1 64, Conv2d_0b_3x3 96, Conv2d_0c_3x3 96",
        "AvgPool_0a_3x3, Conv2d_0b_1x1 64",
    ),
    "Mixed_5d": (
        "Conv2d_0a_1x1 64",
        "Conv2d_0a_1x1 48, Conv2d_0b_5x5 64",
        "Conv2d_0a_1x1 64, Conv2d_0b_3x3 96, Conv2d_0c_3x3 96",
        "AvgPool_0a_3x3, Conv2d_0b_1x1 64",
    ),
    "Mixed_6a": (
        "Conv2d_1a_1x1 384 3x3 /2 valid",
        "Conv2d_0a_1x1 64, Conv2d_0b_3x3 96, Conv2d_1a_1x1 96 3x3 /2 valid",
        "MaxPool_1a_3x3 /2 valid",
    ),
    "Mixed_6b": _factorized(128),
    "Mixed_6c": _factorized(160),
    "Mixed_6d": _factorized(160),
    "Mixed_6e": _factorized(192),
    "Mixed_7a": (
        "Conv2d_0a_1x1 192, Conv2d_1a_3x3 320 /2 valid",
        "Conv2d_0a_1x1 192, Conv2d_0b_1x7 192, Conv2d_0c_7x1 192, Conv2d_1a_3x3 192 /2 valid",
        "MaxPool_1a_3x3 /2 valid",
    ),
    "Mixed_7b": (
        "Conv2d_0a_1x1 320",
        "Conv2d_0a_1x1 384, Conv2d_0b_1x3 384 + Conv2d_0b_3x1 384",
        "Conv2d_0a_1x1 448, Conv2d_0b_3x3 384, Conv2d_0c_1x3 384 + Conv2d_0d_3x1 384",
        "AvgPool_0a_3x3, Conv2d_0b_1x1 192",
    ),
    "Mixed_7c": (
        "Conv2d_0a_1x1 320",
        "Conv2d_0a_1x1 384, Conv2d_0b_1x3 384 + Conv2d_0c_3x1 384",
        "Conv2d_0a_1x1 448, Conv2d_0b_3x3 384, Conv2d_0c_1x3 384 + Conv2d_0d_3x1 384",
        "AvgPool_0a_3x3, Conv2d_0b_1x1 192",
    ),
}


def inception_v3(
    x: Any,
    source: ArraySource,
    *,
    include_top: bool = True,
    classes: int = 1001,
    new_head: bool = False,
    width: float = 1.0,
    aux_logits: bool = True,
) -> tuple[Any, SlimNetwork]:
    """Build Inception V3 on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32 in [-1, 1].
        source: the arrays, by slim's variable names.
        include_top: whether the classifiers follow `Mixed_7c`.
        classes: width of the logits.
        new_head: the classifiers are not in the checkpoint and keep Keras' initialisers.
        width: multiplies the channels of every layer (`max(16, int(channels * width))`); 1 is the paper's network.
        aux_logits: whether the tap `AuxLogits` is there, where the input's size allows it (299 x 299 does).

    Returns:
        The output, logits (N, classes) or `Mixed_7c`, (N, 8, 8, 2048) at 299 x 299, and the network with its taps.
    """
    net = SlimNetwork(source, "InceptionV3", BatchNorm(decay=0.9997, epsilon=0.001))
    depth = at_least_16(width)
    x = stem(net, x, depth)
    for scope, branches in BLOCKS.items():
        x = mixed(net, x, scope, branches, depth)
    if not include_top:
        return x, net

    if aux_logits:
        grid = net.taps["Mixed_6e"].tensor
        auxiliary_head(
            net, grid, classes, last="Conv2d_2a_5x5", logits="Conv2d_2b_1x1", dense=False, new=new_head, depth=depth
        )
    return averaged_head(net, x, 8, classes, new=new_head), net
