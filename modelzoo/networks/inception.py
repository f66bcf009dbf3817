"""What Inception V2, V3, V4 and Inception-ResNet V2 share: a notation for branches, a stem, and the heads.

A branch is written as its steps, in the source's names:

    "Conv2d_0a_1x1 64, Conv2d_0b_3x3 96, Conv2d_1a_3x3 96 /2 valid"

Each step is the name of its scope, for a convolution its channels, then what is not the default: `/2` for stride 2,
`valid` for VALID padding, `3x3` for a window that the name misstates. Two convolutions of the same value whose
results are joined stand with a plus between them: `"Conv2d_0b_1x3 384 + Conv2d_0b_3x1 384"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras

from modelzoo.networks.slim import SlimNetwork

Depth = Callable[[int], int]
"""Published number of channels -> that of this network."""


def as_published(channels: int) -> int:
    """The depth of a network that is as wide as the published one."""
    return channels


def at_least_16(width: float) -> Depth:
    """The depth of slim's Inception V2 and V3: max(16, int(channels * width))."""
    return lambda channels: max(16, int(channels * width))


def mixed(net: SlimNetwork, x: Any, scope: str, branches: Sequence[str], depth: Depth = as_published) -> Any:
    """An Inception block: all branches on the same value, joined on the channels; an end point.

    Args:
        net: the network.
        x: (N, H, W, C).
        scope: of the block; branch k has `<scope>/Branch_<k>`.
        branches: in this module's notation.
        depth: what becomes of a published number of channels.
    """
    return net.tap(scope, net.concat(each_branch(net, x, scope, branches, depth), scope))


def each_branch(
    net: SlimNetwork, x: Any, scope: str, branches: Sequence[str], depth: Depth = as_published, rate: int = 1
) -> list[Any]:
    """The values of a block's branches before they are joined.

    Args:
        net, x, scope, branches, depth: as for `mixed`.
        rate: distance of the cells in every convolution's window.
    """
    ends = []
    for k, branch in enumerate(branches):
        inside, y = f"{scope}/Branch_{k}", x
        for step in branch.split(", "):
            joined = [_step(net, y, inside, part, depth, rate) for part in step.split(" + ")]
            y = joined[0] if len(joined) == 1 else net.concat(joined, f"{inside}/Concatenate")
        ends.append(y)
    return ends


def _step(net: SlimNetwork, x: Any, scope: str, step: str, depth: Depth, rate: int) -> Any:
    name, *words = step.split()
    inside = f"{scope}/{name}"
    window = re.search(r"(\d+)x(\d+)$", next((word for word in words if "x" in word), name))
    assert window is not None, step
    kernel = int(window[1]), int(window[2])
    stride = 2 if "/2" in words else 1
    padding = "valid" if "valid" in words else "same"
    if name.startswith("Conv"):
        return net.conv2d(x, depth(int(words[0])), kernel, inside, stride=stride, rate=rate, padding=padding)
    pool = net.max_pool if name.startswith("MaxPool") else net.avg_pool
    return net.tap(inside, pool(x, kernel[0], inside, stride=stride, padding=padding), end_point=False)


def stem(net: SlimNetwork, x: Any, depth: Depth = as_published) -> Any:
    """The first layers of Inception V3 and Inception-ResNet V2, eight times smaller: (N, 35, 35, 192) at 299 x 299."""
    x = net.conv2d(x, depth(32), 3, "Conv2d_1a_3x3", stride=2, padding="valid", end_point=True)
    x = net.conv2d(x, depth(32), 3, "Conv2d_2a_3x3", padding="valid", end_point=True)
    x = net.conv2d(x, depth(64), 3, "Conv2d_2b_3x3", end_point=True)
    x = net.tap("MaxPool_3a_3x3", net.max_pool(x, 3, "MaxPool_3a_3x3"))
    x = net.conv2d(x, depth(80), 1, "Conv2d_3b_1x1", padding="valid", end_point=True)
    x = net.conv2d(x, depth(192), 3, "Conv2d_4a_3x3", padding="valid", end_point=True)
    return net.tap("MaxPool_5a_3x3", net.max_pool(x, 3, "MaxPool_5a_3x3"))


def auxiliary_head(
    net: SlimNetwork,
    x: Any,
    classes: int,
    *,
    last: str,
    logits: str,
    dense: bool,
    new: bool,
    depth: Depth = as_published,
) -> None:
    """The auxiliary classifier (Szegedy et al., arXiv:1512.00567, section 4): the tap `AuxLogits`, (N, classes).

    Its second convolution covers the whole map. The weights are for one of 5 x 5, so at other sizes of the input,
    where slim has a head of another shape or none, there is no tap.

    Args:
        net: the network.
        x: (N, H, W, C), the map that the head stands on.
        classes: width of the logits.
        last: name of the second convolution.
        logits: name of the classifier.
        dense: whether that is dense, else a 1x1 convolution.
        new: the checkpoint does not hold the classifier.
        depth: what becomes of a published number of channels.
    """
    if any(side is None or (side - 5) // 3 + 1 != 5 for side in x.shape[1:3]):
        return
    pool = "AuxLogits/AvgPool_1a_5x5"
    x = net.tap(pool, net.avg_pool(x, 5, pool, stride=3), end_point=False)
    x = net.conv2d(x, depth(128), 1, "AuxLogits/Conv2d_1b_1x1")
    x = net.conv2d(x, depth(768), 5, f"AuxLogits/{last}", padding="valid")
    if dense:
        x = keras.layers.Flatten(name=net.layer_name("AuxLogits/Flatten"))(x)
        net.fully_connected(x, classes, f"AuxLogits/{logits}", name="AuxLogits", activate=False, new=new)
    else:
        net.squeezed_logits(x, classes, f"AuxLogits/{logits}", "AuxLogits", new=new)


def averaged_head(net: SlimNetwork, x: Any, window: int, classes: int, *, new: bool) -> Any:
    """The head of Inception V2 and V3: mean, dropout, and the classifier as a 1x1 convolution.

    Args:
        net: the network.
        x: (N, H, W, C), the last map.
        window: slim's average window, which shrinks to a smaller map; a larger one has slim's global_pool.
        classes: width of the logits.
        new: the checkpoint does not hold the classifier.

    Returns:
        Logits, (N, classes).
    """
    fits = all(side is not None and side <= window for side in x.shape[1:3])
    x = net.global_pool(x, "AvgPool_1a" if fits else "global_pool")
    x = net.tap("PreLogits", net.dropout(x, 0.2, "PreLogits"))
    x = net.squeezed_logits(x, classes, "Logits/Conv2d_1c_1x1", "Logits", new=new)
    net.softmax(x)
    return x


def dense_head(net: SlimNetwork, x: Any, classes: int, *, new: bool) -> Any:
    """The head of Inception V4 and Inception-ResNet V2: mean, dropout, and a dense classifier.

    Args:
        net: the network.
        x: (N, H, W, C), the last map.
        classes: width of the logits.
        new: the checkpoint does not hold the classifier.

    Returns:
        Logits, (N, classes).
    """
    x = net.dropout(net.global_pool(x), 0.2, "Logits/Dropout_1b")
    x = net.tap("PreLogitsFlatten", keras.layers.Flatten(name=net.layer_name("PreLogitsFlatten"))(x))
    x = net.fully_connected(x, classes, "Logits/Logits", name="Logits", activate=False, new=new)
    net.softmax(x)
    return x
