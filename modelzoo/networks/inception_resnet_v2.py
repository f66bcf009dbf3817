"""Inception-ResNet V2 as TF-slim defines it.

Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning"
(arXiv:1602.07261), figures 15 to 19, with the stem of Inception V3 in place of figure 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from modelzoo.errors import UsageError
from modelzoo.networks.inception import auxiliary_head, dense_head, each_branch, mixed, stem
from modelzoo.networks.slim import BatchNorm, SlimNetwork
from modelzoo.networks.weights import ArraySource

MIXED_5B = (
    "Conv2d_1x1 96",
    "Conv2d_0a_1x1 48, Conv2d_0b_5x5 64",
    "Conv2d_0a_1x1 64, Conv2d_0b_3x3 96, Conv2d_0c_3x3 96",
    "AvgPool_0a_3x3, Conv2d_0b_1x1 64",
)
BLOCK_35 = (  # figure 16
    "Conv2d_1x1 32",
    "Conv2d_0a_1x1 32, Conv2d_0b_3x3 32",
    "Conv2d_0a_1x1 32, Conv2d_0b_3x3 48, Conv2d_0c_3x3 64",
)
REDUCTION_A = (  # figure 7
    "Conv2d_1a_3x3 384 /2 valid",
    "Conv2d_0a_1x1 256, Conv2d_0b_3x3 256, Conv2d_1a_3x3 384 /2 valid",
    "MaxPool_1a_3x3 /2 valid",
)
BLOCK_17 = (  # figure 17
    "Conv2d_1x1 192",
    "Conv2d_0a_1x1 128, Conv2d_0b_1x7 160, Conv2d_0c_7x1 192",
)
REDUCTION_B = (  # figure 18
    "Conv2d_0a_1x1 256, Conv2d_1a_3x3 384 /2 valid",
    "Conv2d_0a_1x1 256, Conv2d_1a_3x3 288 /2 valid",
    "Conv2d_0a_1x1 256, Conv2d_0b_3x3 288, Conv2d_1a_3x3 320 /2 valid",
    "MaxPool_1a_3x3 /2 valid",
)
BLOCK_8 = (  # figure 19
    "Conv2d_1x1 192",
    "Conv2d_0a_1x1 192, Conv2d_0b_1x3 224, Conv2d_0c_3x1 256",
)


def inception_resnet_v2(
    x: Any,
    source: ArraySource,
    *,
    include_top: bool = True,
    classes: int = 1001,
    new_head: bool = False,
    output_stride: int | None = None,
    aux_logits: bool = True,
) -> tuple[Any, SlimNetwork]:
    """Build Inception-ResNet V2 on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32 in [-1, 1].
        source: the arrays, by slim's variable names.
        include_top: whether the classifiers follow `Conv2d_7b_1x1`.
        classes: width of the logits.
        new_head: the classifiers are not in the checkpoint and keep Keras' initialisers.
        output_stride: 8 keeps the maps of Mixed_6a and after at an eighth of the input, by dilated convolutions, and
            ends at `PreAuxLogits`; None and 16: as published.
        aux_logits: whether the tap `AuxLogits` is there, where the input's size allows it (299 x 299 does).

    Returns:
        The output, logits (N, classes) or `Conv2d_7b_1x1`, (N, 8, 8, 1536) at 299 x 299, and the network with its
        taps.

    Raises:
        UsageError: another output_stride, or 8 with the classifier.
    """
    if output_stride not in (None, 8, 16):
        raise UsageError("output_stride is 8, 16 or None.", received=repr(output_stride))
    dilated = output_stride == 8
    if dilated and include_top:
        raise UsageError(
            "With output_stride=8 the network ends at PreAuxLogits, so it has no classifier.",
            received="output_stride=8, include_top=True",
            hint="pass include_top=False",
        )
    net = SlimNetwork(source, "InceptionResnetV2", BatchNorm(decay=0.9997, epsilon=0.001))
    x = mixed(net, stem(net, x), "Mixed_5b", MIXED_5B)
    for k in range(1, 11):
        x = _residual(net, x, f"Repeat/block35_{k}", BLOCK_35, scale=0.17)
    reduction = [branch.replace(" /2", "") for branch in REDUCTION_A] if dilated else REDUCTION_A
    x = mixed(net, x, "Mixed_6a", reduction)
    for k in range(1, 21):
        x = _residual(net, x, f"Repeat_1/block17_{k}", BLOCK_17, scale=0.10, rate=2 if dilated else 1)
    grid = x = net.alias("PreAuxLogits", x)
    if dilated:
        return x, net
    x = mixed(net, x, "Mixed_7a", REDUCTION_B)
    for k in range(1, 10):
        x = _residual(net, x, f"Repeat_2/block8_{k}", BLOCK_8, scale=0.20)
    x = _residual(net, x, "Block8", BLOCK_8, activate=False)
    x = net.conv2d(x, 1536, 1, "Conv2d_7b_1x1", end_point=True)
    if not include_top:
        return x, net

    if aux_logits:
        auxiliary_head(net, grid, classes, last="Conv2d_2a_5x5", logits="Logits", dense=True, new=new_head)
    return dense_head(net, x, classes, new=new_head), net


def _residual(
    net: SlimNetwork,
    x: Any,
    scope: str,
    branches: Sequence[str],
    *,
    scale: float = 1.0,
    activate: bool = True,
    rate: int = 1,
) -> Any:
    """x + scale * up(branches), ReLU; `up` is a 1x1 convolution with bias to the depth of `x` (section 3.3)."""
    name = net.layer_name(scope)
    up = net.concat(each_branch(net, x, scope, branches, rate=rate), f"{scope}/Concatenate")
    up = net.conv2d(up, x.shape[-1], 1, f"{scope}/Conv2d_1x1", normalize=False, activate=False)
    if scale != 1.0:
        up = keras.layers.Rescaling(scale, name=f"{name}.Rescaling")(up)
    x = keras.layers.Add(name=f"{name}.Add")([x, up])
    return net.tap(scope, keras.layers.ReLU(name=name)(x), end_point=False) if activate else x
