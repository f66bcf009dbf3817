"""VGG, AlexNet and OverFeat as TF-slim defines them: convolutions with biases, and a classifier of convolutions.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv:1409.1556),
table 1; Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (arXiv:1404.5997), figure 2;
Sermanet et al., "OverFeat" (arXiv:1312.6229), table 1. slim's AlexNet has no local response normalisation.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from modelzoo.networks.slim import SlimNetwork
from modelzoo.networks.weights import ArraySource


def _vgg(
    x: Any,
    source: ArraySource,
    *,
    layers: int,
    include_top: bool = True,
    classes: int = 1000,
    new_head: bool = False,
) -> tuple[Any, SlimNetwork]:
    """Build VGG on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32, RGB minus the mean of ImageNet (123.68, 116.78, 103.94).
        source: the arrays, by slim's variable names.
        layers: 16 or 19, the paper's configurations D and E.
        include_top: whether fc6, fc7 and fc8 follow `pool5`.
        classes: width of the logits.
        new_head: fc8 is not in the checkpoint and keeps Keras' initialisers.

    Returns:
        The output, logits (N, classes) or `pool5` (N, H/32, W/32, 512), and the network with its taps.
    """
    name = f"vgg_{layers}"
    net = SlimNetwork(source, "")
    deep = 3 if layers == 16 else 4
    for block, (convolutions, depth) in enumerate(((2, 64), (2, 128), (deep, 256), (deep, 512), (deep, 512)), 1):
        for k in range(1, convolutions + 1):
            x = net.conv2d(x, depth, 3, f"{name}/conv{block}/conv{block}_{k}", end_point=True)
        x = net.tap(f"{name}/pool{block}", net.max_pool(x, 2, f"{name}/pool{block}"))
    if not include_top:
        return x, net
    return _classifier(net, x, name, fc6=(4096, 7), classes=classes, new=new_head), net


def alexnet_v2(
    x: Any, source: ArraySource, *, include_top: bool = True, classes: int = 1000, new_head: bool = False
) -> tuple[Any, SlimNetwork]:
    """Build AlexNet V2, with one tower, on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32, RGB minus the mean of ImageNet.
        source: the arrays, by slim's variable names.
        include_top: whether fc6, fc7 and fc8 follow `pool5`.
        classes: width of the logits.
        new_head: fc8 is not in the checkpoint and keeps Keras' initialisers.

    Returns:
        The output, logits (N, classes) or `pool5`, (N, 5, 5, 256) at 224 x 224, and the network with its taps.
    """
    name = "alexnet_v2"
    net = SlimNetwork(source, "")
    x = net.conv2d(x, 64, 11, f"{name}/conv1", stride=4, padding="valid", end_point=True)
    x = net.tap(f"{name}/pool1", net.max_pool(x, 3, f"{name}/pool1"))
    x = net.conv2d(x, 192, 5, f"{name}/conv2", end_point=True)
    x = net.tap(f"{name}/pool2", net.max_pool(x, 3, f"{name}/pool2"))
    for k, depth in ((3, 384), (4, 384), (5, 256)):
        x = net.conv2d(x, depth, 3, f"{name}/conv{k}", end_point=True)
    x = net.tap(f"{name}/pool5", net.max_pool(x, 3, f"{name}/pool5"))
    if not include_top:
        return x, net
    return _classifier(net, x, name, fc6=(4096, 5), classes=classes, new=new_head), net


def overfeat(
    x: Any, source: ArraySource, *, include_top: bool = True, classes: int = 1000, new_head: bool = False
) -> tuple[Any, SlimNetwork]:
    """Build OverFeat, the paper's fast model, on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32, RGB minus the mean of ImageNet.
        source: the arrays, by slim's variable names.
        include_top: whether fc6, fc7 and fc8 follow `pool5`.
        classes: width of the logits.
        new_head: fc8 is not in the checkpoint and keeps Keras' initialisers.

    Returns:
        The output, logits (N, classes) or `pool5`, (N, 6, 6, 1024) at 231 x 231, and the network with its taps.
    """
    name = "overfeat"
    net = SlimNetwork(source, "")
    x = net.conv2d(x, 64, 11, f"{name}/conv1", stride=4, padding="valid", end_point=True)
    x = net.tap(f"{name}/pool1", net.max_pool(x, 2, f"{name}/pool1"))
    x = net.conv2d(x, 256, 5, f"{name}/conv2", padding="valid", end_point=True)
    x = net.tap(f"{name}/pool2", net.max_pool(x, 2, f"{name}/pool2"))
    for k, depth in ((3, 512), (4, 1024), (5, 1024)):
        x = net.conv2d(x, depth, 3, f"{name}/conv{k}", end_point=True)
    x = net.tap(f"{name}/pool5", net.max_pool(x, 2, f"{name}/pool5"))
    if not include_top:
        return x, net
    return _classifier(net, x, name, fc6=(3072, 6), classes=classes, new=new_head), net


def _classifier(net: SlimNetwork, x: Any, name: str, *, fc6: tuple[int, int], classes: int, new: bool) -> Any:
    """Fully connected layers as convolutions: `fc6` covers the published map, and more than one cell is averaged.

    Args:
        net: the network.
        x: (N, H, W, C), the last map.
        name: of the network, its outermost scope.
        fc6: depth, and height and width of the window.
        classes: width of the logits.
        new: the checkpoint does not hold fc8.

    Returns:
        Logits, (N, classes).
    """
    depth, window = fc6
    x = net.fully_connected_conv2d(x, depth, window, f"{name}/fc6", end_point=True)
    x = net.dropout(x, 0.5, f"{name}/dropout6")
    x = net.fully_connected_conv2d(x, 4096, 1, f"{name}/fc7", end_point=True)
    if tuple(x.shape[1:3]) != (1, 1):
        x = net.global_pool(x)
    x = net.dropout(x, 0.5, f"{name}/dropout7")
    return net.squeezed_logits(x, classes, f"{name}/fc8", f"{name}/fc8", new=new)


vgg_16 = partial(_vgg, layers=16)
vgg_19 = partial(_vgg, layers=19)
