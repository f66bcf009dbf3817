"""MobileNet V2 as TF-slim defines it.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018 (arXiv:1801.04381), table 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from modelzoo.networks.mobilenet_v1 import relu6
from modelzoo.networks.separable import Strides, check_width, conv2d, depthwise_conv2d, divisible_depth, mobilenet_head
from modelzoo.networks.slim import BatchNorm, SlimNetwork
from modelzoo.networks.weights import ArraySource

STAGES: tuple[tuple[int, int, int, int], ...] = (
    # t: factor of the expansion, c: channels, n: blocks, s: stride of the first; the columns of the paper's table 2
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(
    x: Any,
    source: ArraySource,
    *,
    include_top: bool = True,
    classes: int = 1001,
    new_head: bool = False,
    width: float = 1.0,
    output_stride: int | None = None,
) -> tuple[Any, SlimNetwork]:
    """Build MobileNet V2 on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32 in [-1, 1].
        source: the arrays, by slim's variable names.
        include_top: whether the classifier follows `layer_19`.
        classes: width of the logits.
        new_head: the classifier is not in the checkpoint and keeps Keras' initialisers.
        width: multiplies the channels of every layer, rounded to multiples of 8; only the last convolution is never
            thinner than the paper's. Published: 0.35 to 1.4.
        output_stride: 8 or 16 keeps a larger map, by dilated depthwise convolutions; None and 32: as published.

    Returns:
        The output, logits (N, classes) or `layer_19` (N, H/32, W/32, 1280), and the network with its taps.

    Raises:
        UsageError: a width that is no positive number, another output_stride.
    """
    check_width(width)
    net = SlimNetwork(source, "MobilenetV2", BatchNorm(decay=0.997, gamma=True), relu6)
    strides = Strides(output_stride)

    stride, _ = strides.next(2)
    x = conv2d(net, x, divisible_depth(32 * width), 3, "Conv", "layer_1", stride=stride)
    number = 0
    for factor, channels, blocks, first in STAGES:
        for block in range(blocks):
            stride, rate = strides.next(first if block == 0 else 1)
            x = expanded_conv(
                net,
                x,
                number,
                expanded=x.shape[-1] if factor == 1 else divisible_depth(x.shape[-1] * factor),
                filters=divisible_depth(channels * width),
                stride=stride,
                rate=rate,
            )
            number += 1
    x = conv2d(net, x, divisible_depth(1280 * max(1.0, width)), 1, "Conv_1", "layer_19")
    if not include_top:
        return x, net
    return mobilenet_head(net, x, "global_pool", classes, dropout=0.2, new=new_head), net


def expanded_conv(
    net: SlimNetwork,
    x: Any,
    number: int,
    *,
    expanded: int,
    filters: int,
    stride: int,
    rate: int,
    kernel: int = 3,
    transform: Callable[[Any, str], Any] | None = None,
) -> Any:
    """The inverted residual of MobileNet V2 and V3: expand, filter each channel, project, add the input.

    Args:
        net: the network; its activation follows the expansion and the depthwise convolution.
        x: (N, H, W, C).
        number: of the block, from 0; block k is slim's `expanded_conv_k`, and its layer k + 2.
        expanded: channels between expansion and projection; nothing is expanded where that is C.
        filters: output channels.
        stride, rate, kernel: of the depthwise convolution.
        transform: (value, scope of the block) -> what is projected in its place.

    Returns:
        (N, H/stride, W/stride, filters).
    """
    scope = f"expanded_conv_{number}" if number else "expanded_conv"
    layer = f"layer_{number + 2}"
    residual = x if stride == 1 and x.shape[-1] == filters else None
    if expanded > x.shape[-1]:
        x = conv2d(net, x, expanded, 1, f"{scope}/expand", f"{layer}/expansion_output")
    depthwise = f"{scope}/depthwise"
    x = depthwise_conv2d(net, x, kernel, depthwise, f"{layer}/depthwise_output", stride=stride, rate=rate)
    if transform is not None:
        x = transform(x, scope)
    project, output = f"{scope}/project", f"{layer}/output"
    if residual is None:
        x = conv2d(net, x, filters, 1, project, output, activate=False)
    else:
        x = conv2d(net, x, filters, 1, project, project, activate=False, end_point=False)
        x = net.tap(output, keras.layers.Add(name=net.layer_name(output))([x, residual]))
    return net.alias(layer, x)
