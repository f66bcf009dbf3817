"""MobileNet V1 as TF-slim defines it.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(arXiv:1704.04861), table 1, with ReLU6 in place of ReLU.
"""

from __future__ import annotations

from typing import Any

import keras

from modelzoo.networks.separable import Strides, check_width, depthwise_conv2d, mobilenet_head
from modelzoo.networks.slim import BatchNorm, SlimNetwork
from modelzoo.networks.weights import ArraySource

PAIRS: tuple[tuple[int, int], ...] = (
    # stride of the depthwise convolution, channels of the pointwise one: the rows of the paper's table 1
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (1, 512),
    (2, 1024),
    (1, 1024),
)


def relu6(name: str) -> Any:
    """The activation of MobileNet V1 and V2: min(max(x, 0), 6)."""
    return keras.layers.ReLU(6.0, name=name)


def mobilenet_v1(
    x: Any,
    source: ArraySource,
    *,
    include_top: bool = True,
    classes: int = 1001,
    new_head: bool = False,
    width: float = 1.0,
    output_stride: int | None = None,
) -> tuple[Any, SlimNetwork]:
    """Build MobileNet V1 on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32 in [-1, 1].
        source: the arrays, by slim's variable names.
        include_top: whether the classifier follows `Conv2d_13_pointwise`.
        classes: width of the logits.
        new_head: the classifier is not in the checkpoint and keeps Keras' initialisers.
        width: multiplies the channels of every layer (`max(8, int(channels * width))`); published: 0.25 to 1.
        output_stride: 8 or 16 keeps a larger map, by dilated depthwise convolutions; None and 32: as published.

    Returns:
        The output, logits (N, classes) or `Conv2d_13_pointwise` (N, H/32, W/32, 1024 * width), and the network with
        its taps.

    Raises:
        UsageError: a width that is no positive number, another output_stride.
    """
    check_width(width)
    net = SlimNetwork(source, "MobilenetV1", BatchNorm(decay=0.9997, gamma=True), relu6)
    strides = Strides(output_stride)

    def depth(channels: int) -> int:
        return max(8, int(channels * width))

    stride, _ = strides.next(2)
    x = net.conv2d(x, depth(32), 3, "Conv2d_0", stride=stride, end_point=True)
    for number, (stride, channels) in enumerate(PAIRS, 1):
        stride, rate = strides.next(stride)
        scope = f"Conv2d_{number}_depthwise"
        x = depthwise_conv2d(net, x, 3, scope, scope, stride=stride, rate=rate)
        x = net.conv2d(x, depth(channels), 1, f"Conv2d_{number}_pointwise", end_point=True)
    if not include_top:
        return x, net

    # Up to 224 x 224 the map fits slim's window of 7 x 7, which shrinks to it; beyond, slim's global_pool covers it.
    fits = all(side is not None and side <= 7 for side in x.shape[1:3])
    pool = "AvgPool_1a" if fits else "global_pool"
    return mobilenet_head(net, x, pool, classes, dropout=0.001, new=new_head), net
