"""LeNet and CifarNet as TF-slim defines them: two convolutions, and dense layers on the flattened map.

LeCun et al., "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 86 (1998), in slim with ReLU, max
pools and wider layers; Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009), as cuda-convnet
has it.
"""

from __future__ import annotations

from typing import Any

import keras

from modelzoo.networks.slim import SlimNetwork
from modelzoo.networks.weights import ArraySource


def lenet(
    x: Any, source: ArraySource, *, include_top: bool = True, classes: int = 10, new_head: bool = False
) -> tuple[Any, SlimNetwork]:
    """Build LeNet on the symbolic input `x`.

    Args:
        x: (N, H, W, 1), float32 in [-1, 1]; the dense layers of a checkpoint fit 28 x 28 alone.
        source: the arrays, by slim's variable names.
        include_top: whether the dense layers follow `pool2`.
        classes: width of the logits.
        new_head: fc4, the last layer, is not in the checkpoint and keeps Keras' initialisers.

    Returns:
        The output, logits (N, classes) or `pool2` (N, H/4, W/4, 64), and the network with its taps.
    """
    net = SlimNetwork(source, "LeNet")
    x = net.conv2d(x, 32, 5, "conv1", end_point=True)
    x = net.tap("pool1", net.max_pool(x, 2, "pool1"))
    x = net.conv2d(x, 64, 5, "conv2", end_point=True)
    x = net.tap("pool2", net.max_pool(x, 2, "pool2"))
    if not include_top:
        return x, net

    x = net.tap("Flatten", keras.layers.Flatten(name=net.layer_name("Flatten"))(x))
    x = net.fully_connected(x, 1024, "fc3")
    x = net.tap("dropout3", net.dropout(x, 0.5, "dropout3"))
    x = net.fully_connected(x, classes, "fc4", name="Logits", activate=False, new=new_head)
    net.softmax(x)
    return x, net


def cifarnet(
    x: Any, source: ArraySource, *, include_top: bool = True, classes: int = 10, new_head: bool = False
) -> tuple[Any, SlimNetwork]:
    """Build CifarNet on the symbolic input `x`.

    Args:
        x: (N, H, W, 3), float32, each image with mean 0 and deviation 1; the dense layers of a checkpoint fit
            32 x 32 alone.
        source: the arrays, by slim's variable names.
        include_top: whether the dense layers follow `pool2`.
        classes: width of the logits.
        new_head: the last layer is not in the checkpoint and keeps Keras' initialisers.

    Returns:
        The output, logits (N, classes) or `pool2` (N, H/4, W/4, 64), and the network with its taps.
    """
    net = SlimNetwork(source, "CifarNet")
    x = net.conv2d(x, 64, 5, "conv1", end_point=True)
    x = net.tap("pool1", net.max_pool(x, 2, "pool1"))
    x = net.local_response_normalization(x, 4, 0.001 / 9.0, 0.75)
    x = net.conv2d(x, 64, 5, "conv2", end_point=True)
    x = net.local_response_normalization(x, 4, 0.001 / 9.0, 0.75)
    x = net.tap("pool2", net.max_pool(x, 2, "pool2"))
    if not include_top:
        return x, net

    x = net.tap("Flatten", keras.layers.Flatten(name=net.layer_name("Flatten"))(x))
    x = net.fully_connected(x, 384, "fc3")
    x = net.dropout(x, 0.5, "fc3/Dropout")
    x = net.fully_connected(x, 192, "fc4")
    x = net.fully_connected(x, classes, "logits", name="Logits", activate=False, new=new_head)
    net.softmax(x)
    return x, net
