"""ResNet V1 and V2 as TF-slim defines them.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (arXiv:1512.03385), table 1, and "Identity
Mappings in Deep Residual Networks", ECCV 2016 (arXiv:1603.05027), figure 4 (e). slim strides in the last unit of
blocks 1 to 3, in the 3x3 convolution, where the paper strides in the first unit of blocks 2 to 4. The beta variants
have DeepLab's root, three 3x3 convolutions in place of one of 7x7.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

from modelzoo.networks.separable import Strides
from modelzoo.networks.slim import BatchNorm, SlimNetwork
from modelzoo.networks.weights import ArraySource

UNITS: dict[int, tuple[int, int, int, int]] = {
    # units of blocks 1 to 4: the columns of the paper's table 1, and the deepest network of the second paper
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
BATCH_NORM = BatchNorm(decay=0.997, epsilon=1e-5, gamma=True)


def _resnet(
    x: Any,
    source: ArraySource,
    *,
    version: int,
    layers: int,
    include_top: bool = True,
    classes: int = 1000,
    new_head: bool = False,
    output_stride: int | None = None,
    beta: bool = False,
) -> tuple[Any, SlimNetwork]:
    """Build a ResNet on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32: RGB minus the mean of ImageNet for V1, in [-1, 1] for V2 and the beta variants.
        source: the arrays, by slim's variable names.
        version: 1 or 2: where BatchNorm and ReLU stand in a unit.
        layers: key of `UNITS`.
        include_top: whether mean and classifier follow the last map.
        classes: width of the logits.
        new_head: the classifier is not in the checkpoint and keeps Keras' initialisers.
        output_stride: 8 or 16 keeps a larger last map, by dilated convolutions; None and 32: as published.
        beta: DeepLab's root.

    Returns:
        The output, logits (N, classes) or the last map (N, H/32, W/32, 2048), and the network with its taps. The
        map is `block4` of V1, `postnorm` of V2.

    Raises:
        UsageError: another output_stride.
    """
    root = f"resnet_v{version}_{layers}"
    net = SlimNetwork(source, "", BATCH_NORM)
    strides = Strides(output_stride)
    stride, _ = strides.next(2)
    if beta:
        x = net.conv2d_same(x, 64, 3, f"{root}/conv1_1", stride=stride, end_point=True)
        x = net.conv2d(x, 64, 3, f"{root}/conv1_2", end_point=True)
        x = net.conv2d(x, 128, 3, f"{root}/conv1_3", end_point=True)
    else:
        plain = version == 2  # its first unit brings its own BatchNorm and ReLU
        x = net.conv2d_same(
            x, 64, 7, f"{root}/conv1", stride=stride, normalize=not plain, activate=not plain, end_point=True
        )
    stride, _ = strides.next(2)
    x = net.max_pool(x, 3, f"{root}/pool1", stride=stride, padding="same")
    net.tap(f"{root}/pool1", x, end_point=False)
    unit = _unit_v1 if version == 1 else _unit_v2
    for block, units in enumerate(UNITS[layers], 1):
        for number in range(1, units + 1):
            stride, rate = strides.next(2 if number == units and block < 4 else 1)
            scope = f"{root}/block{block}/unit_{number}/bottleneck_v{version}"
            x = unit(net, x, 32 << block, scope, stride, rate)
        x = net.alias(f"{root}/block{block}", x)
    if version == 2:
        x = _normalized(net, x, f"{root}/postnorm")
    if not include_top:
        return x, net

    x = net.global_pool(x)
    x = net.squeezed_logits(x, classes, f"{root}/logits", "logits" if beta else f"{root}/spatial_squeeze", new=new_head)
    net.softmax(x, "predictions")
    return x, net


def _unit_v1(net: SlimNetwork, x: Any, depth: int, scope: str, stride: int, rate: int) -> Any:
    """Bottleneck: 1x1, 3x3, 1x1 convolutions with BatchNorm, the shortcut added before the last ReLU."""
    if x.shape[-1] == 4 * depth:
        shortcut = _subsample(net, x, stride, scope)
    else:
        shortcut = net.conv2d(x, 4 * depth, 1, f"{scope}/shortcut", stride=stride, activate=False, end_point=True)
    x = net.conv2d(x, depth, 1, f"{scope}/conv1", end_point=True)
    x = net.conv2d_same(x, depth, 3, f"{scope}/conv2", stride=stride, rate=rate, end_point=True)
    x = net.conv2d(x, 4 * depth, 1, f"{scope}/conv3", activate=False, end_point=True)
    name = net.layer_name(scope)
    x = keras.layers.Add(name=f"{name}.Add")([shortcut, x])
    return net.tap(scope, keras.layers.ReLU(name=name)(x))


def _unit_v2(net: SlimNetwork, x: Any, depth: int, scope: str, stride: int, rate: int) -> Any:
    """Bottleneck with BatchNorm and ReLU before the convolutions, and nothing after the sum."""
    preact = _normalized(net, x, f"{scope}/preact")
    plain: dict[str, Any] = {"normalize": False, "activate": False, "end_point": True}
    if x.shape[-1] == 4 * depth:
        shortcut = _subsample(net, x, stride, scope)
    else:
        shortcut = net.conv2d(preact, 4 * depth, 1, f"{scope}/shortcut", stride=stride, **plain)
    x = net.conv2d(preact, depth, 1, f"{scope}/conv1", end_point=True)
    x = net.conv2d_same(x, depth, 3, f"{scope}/conv2", stride=stride, rate=rate, end_point=True)
    x = net.conv2d(x, 4 * depth, 1, f"{scope}/conv3", **plain)
    return net.tap(scope, keras.layers.Add(name=net.layer_name(scope))([shortcut, x]))


def _subsample(net: SlimNetwork, x: Any, stride: int, scope: str) -> Any:
    """Every `stride`-th pixel: the shortcut of a unit that keeps its depth has no weights."""
    if stride == 1:
        return x
    name = net.layer_name(f"{scope}/shortcut")
    return keras.layers.MaxPooling2D(1, strides=stride, name=f"{name}.MaxPooling2D")(x)


def _normalized(net: SlimNetwork, x: Any, scope: str) -> Any:
    """BatchNorm with a scope of its own, and ReLU."""
    name = net.layer_name(scope)
    x = net.normalize(x, scope, name=f"{name}.BatchNorm")
    return net.tap(scope, keras.layers.ReLU(name=name)(x), end_point=False)


resnet_v1_50 = partial(_resnet, version=1, layers=50)
resnet_v1_101 = partial(_resnet, version=1, layers=101)
resnet_v1_152 = partial(_resnet, version=1, layers=152)
resnet_v1_200 = partial(_resnet, version=1, layers=200)
resnet_v1_50_beta = partial(_resnet, version=1, layers=50, beta=True)
resnet_v1_101_beta = partial(_resnet, version=1, layers=101, beta=True)
resnet_v2_50 = partial(_resnet, version=2, layers=50)
resnet_v2_101 = partial(_resnet, version=2, layers=101)
resnet_v2_152 = partial(_resnet, version=2, layers=152)
resnet_v2_200 = partial(_resnet, version=2, layers=200)
