"""MobileNet V3, large and small, and their minimalistic variants, as TF-slim defines them.

Howard et al., "Searching for MobileNetV3", ICCV 2019 (arXiv:1905.02244), tables 1 and 2. The minimalistic variants are
slim's own: no squeeze-and-excite, no hard-swish, no window of 5x5.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import keras

from modelzoo.networks.mobilenet_v2 import expanded_conv
from modelzoo.networks.separable import Strides, check_width, conv2d, divisible_depth, mobilenet_head
from modelzoo.networks.slim import BatchNorm, SlimNetwork
from modelzoo.networks.weights import ArraySource

Block = tuple[int, int, int, bool, str, int]

# kernel, expansion size, output channels, squeeze-and-excite, nonlinearity, stride: the paper's tables 1 and 2
LARGE: tuple[Block, ...] = (
    (3, 16, 16, False, "RE", 1),
    (3, 64, 24, False, "RE", 2),
    (3, 72, 24, False, "RE", 1),
    (5, 72, 40, True, "RE", 2),
    (5, 120, 40, True, "RE", 1),
    (5, 120, 40, True, "RE", 1),
    (3, 240, 80, False, "HS", 2),
    (3, 200, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1),
    (3, 480, 112, True, "HS", 1),
    (3, 672, 112, True, "HS", 1),
    (5, 672, 160, True, "HS", 2),
    (5, 960, 160, True, "HS", 1),
    (5, 960, 160, True, "HS", 1),
)
SMALL: tuple[Block, ...] = (
    (3, 16, 16, True, "RE", 2),
    (3, 72, 24, False, "RE", 2),
    (3, 88, 24, False, "RE", 1),
    (5, 96, 40, True, "HS", 2),
    (5, 240, 40, True, "HS", 1),
    (5, 240, 40, True, "HS", 1),
    (5, 120, 48, True, "HS", 1),
    (5, 144, 48, True, "HS", 1),
    (5, 288, 96, True, "HS", 2),
    (5, 576, 96, True, "HS", 1),
    (5, 576, 96, True, "HS", 1),
)

GATE = 0.16667
"""Slope of the gate of squeeze-and-excite: slim's figure, which is not 1/6."""


def hard_swish(name: str) -> Any:
    """x * relu6(x + 3) / 6."""
    return keras.layers.Activation("hard_silu", name=name)


def minimalistic(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The blocks with windows of 3x3, ReLU, and without squeeze-and-excite."""
    return tuple((3, expanded, channels, False, "RE", stride) for _, expanded, channels, _, _, stride in blocks)


def mobilenet_v3(
    x: Any,
    source: ArraySource,
    *,
    blocks: tuple[Block, ...],
    last: tuple[int, int],
    nonlinearity: str = "HS",
    include_top: bool = True,
    classes: int = 1001,
    new_head: bool = False,
    width: float = 1.0,
    output_stride: int | None = None,
) -> tuple[Any, SlimNetwork]:
    """Build a MobileNet V3 on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32 in [-1, 1].
        source: the arrays, by slim's variable names.
        blocks: the rows of the paper's table.
        last: channels of the two convolutions behind the blocks, before and after the mean over the map.
        nonlinearity: of the convolutions outside the blocks.
        include_top: whether the mean over the map, `Conv_2` and the classifier follow `Conv_1`.
        classes: width of the logits.
        new_head: the classifier is not in the checkpoint and keeps Keras' initialisers.
        width: multiplies the channels of every layer but `Conv_2`, rounded to multiples of 8; published: 0.75 and 1.
        output_stride: 8 or 16 keeps a larger map, by dilated depthwise convolutions; None and 32: as published.

    Returns:
        The output, logits (N, classes) or the map of `Conv_1` (N, H/32, W/32, 960 * width, of the small network
        576 * width), and the network with its taps.

    Raises:
        UsageError: a width that is no positive number, another output_stride.
    """
    check_width(width)
    relu = SlimNetwork(source, "MobilenetV3", BatchNorm(decay=0.997, gamma=True))
    nets = {"RE": relu, "HS": replace(relu, activation=hard_swish)}  # two views of one network
    net = nets[nonlinearity]
    strides = Strides(output_stride)

    before = 16
    stride, _ = strides.next(2)
    x = conv2d(net, x, divisible_depth(before * width), 3, "Conv", "layer_1", stride=stride)
    for number, (kernel, expanded, channels, excite, activation, stride) in enumerate(blocks):
        stride, rate = strides.next(stride)
        x = expanded_conv(
            nets[activation],
            x,
            number,
            expanded=divisible_depth(x.shape[-1] * (expanded / before)),
            filters=divisible_depth(channels * width),
            kernel=kernel,
            stride=stride,
            rate=rate,
            transform=partial(squeeze_excite, relu) if excite else None,
        )
        before = channels
    layer = len(blocks) + 2
    x = conv2d(net, x, divisible_depth(last[0] * width), 1, "Conv_1", f"layer_{layer}")
    if not include_top:
        return x, net

    x = net.global_pool(x, f"layer_{layer + 1}")
    # What is behind the mean costs little at run time: slim's published narrow networks keep it whole.
    x = conv2d(net, x, last[1], 1, "Conv_2", f"layer_{layer + 2}", normalize=False)
    return mobilenet_head(net, x, "global_pool", classes, dropout=0.2, new=new_head), net


def squeeze_excite(net: SlimNetwork, x: Any, scope: str) -> Any:
    """Weigh each channel by what the means of all channels say (Hu et al., arXiv:1709.01507).

    Args:
        net: the network, with ReLU.
        x: (N, H, W, C).
        scope: of the block.

    Returns:
        x * relu6(s + 3) * 0.16667, s computed from x's means through C/4 channels; the shape of x.
    """
    scope = f"{scope}/squeeze_excite"
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True, name=net.layer_name(f"{scope}/GlobalAveragePooling2D"))(x)
    gate = net.conv2d(gate, divisible_depth(x.shape[-1] / 4), 1, f"{scope}/Conv", normalize=False)
    gate = net.conv2d(gate, x.shape[-1], 1, f"{scope}/Conv_1", normalize=False, activate=False)
    gate = keras.layers.Rescaling(GATE, offset=3 * GATE, name=net.layer_name(f"{scope}/Rescaling"))(gate)
    gate = keras.layers.ReLU(6 * GATE, name=net.layer_name(f"{scope}/ReLU"))(gate)
    return keras.layers.Multiply(name=net.layer_name(f"{scope}/Multiply"))([x, gate])


mobilenet_v3_large = partial(mobilenet_v3, blocks=LARGE, last=(960, 1280))
mobilenet_v3_small = partial(mobilenet_v3, blocks=SMALL, last=(576, 1024))
mobilenet_v3_large_minimalistic = partial(mobilenet_v3, blocks=minimalistic(LARGE), last=(960, 1280), nonlinearity="RE")
mobilenet_v3_small_minimalistic = partial(mobilenet_v3, blocks=minimalistic(SMALL), last=(576, 1024), nonlinearity="RE")
