"""Depthwise and separable convolutions in slim's vocabulary, and what the MobileNets share: depths, strides, a head."""

from __future__ import annotations

from typing import Any

import keras

from modelzoo.errors import UsageError
from modelzoo.networks.slim import SlimNetwork


def conv2d(
    net: SlimNetwork,
    x: Any,
    filters: int,
    kernel: int,
    scope: str,
    tap: str,
    *,
    stride: int = 1,
    normalize: bool = True,
    activate: bool = True,
    end_point: bool = True,
) -> Any:
    """slim.conv2d whose value is not called by its scope: MobileNet V2 and V3 count their layers.

    Args:
        net: the network.
        x: (N, H, W, C).
        filters: output channels.
        kernel: height and width of the window.
        scope: slim's scope, relative to the root.
        tap: name of the value.
        stride: of both axes.
        normalize: BatchNorm instead of a bias.
        activate: whether the network's activation follows.
        end_point: whether slim lists the value among its end points.

    Returns:
        (N, H/stride, W/stride, filters).
    """
    layer = keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        use_bias=not normalize,
        name=net.layer_name(f"{scope}/Conv2D"),
    )
    shape = (kernel, kernel, x.shape[-1], filters)
    arrays: dict[str, tuple[str, tuple[int, ...]]] = {"kernel_initializer": (net.variable(scope, "weights"), shape)}
    if not normalize:
        arrays["bias_initializer"] = (net.variable(scope, "biases"), (filters,))
    x = net.apply(layer, x, arrays)
    name = net.layer_name(tap)
    if normalize:
        x = net.normalize(x, f"{scope}/BatchNorm", name=None if activate else name)
    if activate:
        x = net.activation(name)(x)
    return net.tap(tap, x, end_point=end_point)


def depthwise_conv2d(
    net: SlimNetwork, x: Any, kernel: int, scope: str, tap: str, *, stride: int = 1, rate: int = 1
) -> Any:
    """slim.separable_conv2d without a number of filters: a window for each channel, BatchNorm, activation.

    Args:
        net, x, kernel, scope, stride: as for `conv2d`.
        tap: name of the value, an end point of slim's.
        rate: distance of the window's cells, 1 = dense; only with stride 1.

    Returns:
        (N, H/stride, W/stride, C).
    """
    layer = keras.layers.DepthwiseConv2D(
        kernel,
        strides=stride,
        padding="same",
        dilation_rate=rate,
        use_bias=False,
        name=net.layer_name(f"{scope}/DepthwiseConv2D"),
    )
    shape = (kernel, kernel, x.shape[-1], 1)
    x = net.apply(layer, x, {"depthwise_initializer": (net.variable(scope, "depthwise_weights"), shape)})
    _rename_variables(net, layer, {"depthwise": "kernel"})
    x = net.normalize(x, f"{scope}/BatchNorm")
    return net.tap(tap, net.activation(net.layer_name(tap))(x))


def separable_conv2d(net: SlimNetwork, x: Any, filters: int, kernel: int, scope: str, *, stride: int = 1) -> Any:
    """slim.separable_conv2d: a window for each channel and a 1x1 convolution, nothing between or after them.

    Args:
        net, x, filters, kernel, scope, stride: as for `conv2d`.

    Returns:
        (N, H/stride, W/stride, filters).
    """
    layer = keras.layers.SeparableConv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False, name=net.layer_name(scope)
    )
    channels = x.shape[-1]
    arrays = {
        "depthwise_initializer": (net.variable(scope, "depthwise_weights"), (kernel, kernel, channels, 1)),
        "pointwise_initializer": (net.variable(scope, "pointwise_weights"), (1, 1, channels, filters)),
    }
    x = net.apply(layer, x, arrays)
    _rename_variables(net, layer, {"depthwise": "depthwise_kernel", "pointwise": "pointwise_kernel"})
    return net.tap(scope, x, end_point=False)


def _rename_variables(net: SlimNetwork, layer: Any, names: dict[str, str]) -> None:
    """Keras names these variables otherwise than their initialisers."""
    for initializer, variable in names.items():
        net.variable_names[f"{layer.name}/{variable}"] = net.variable_names.pop(f"{layer.name}/{initializer}")


def check_width(width: float) -> None:
    """Raise UsageError unless `width`, which multiplies the channels of every layer, is a positive number."""
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width < float("inf"):
        raise UsageError("width is a positive number.", received=repr(width), hint="1.0 is the paper's network")


def divisible_depth(channels: float) -> int:
    """The multiple of 8 nearest to `channels`, at least 8, and the next one where that takes more than a tenth away."""
    depth = max(8, int(channels + 4) // 8 * 8)
    return depth if depth >= 0.9 * channels else depth + 8


class Strides:
    """The strides of a network's layers, one after the other, when the map shall not become smaller than wanted.

    Past `output_stride` a layer that would stride keeps the map's size, and the windows of those after it spread out
    by what it left out (Chen et al., "DeepLab", arXiv:1606.00915, section 3.1), so the weights stay as they are.

    Args:
        output_stride: 8, 16 or 32: pixels of the input for each cell of the last map; None = as published.

    Raises:
        UsageError: another value.
    """

    def __init__(self, output_stride: int | None = None) -> None:
        if output_stride not in (None, 8, 16, 32):
            raise UsageError("output_stride is 8, 16, 32 or None.", received=repr(output_stride))
        self._wanted = output_stride
        self._reached = 1
        self._rate = 1

    def next(self, stride: int) -> tuple[int, int]:
        """(stride, rate) of the layer that is published with `stride`."""
        if self._reached == self._wanted:
            rate = self._rate
            self._rate *= stride
            return 1, rate
        self._reached *= stride
        return stride, 1


def mobilenet_head(net: SlimNetwork, x: Any, pool: str, classes: int, *, dropout: float, new: bool) -> Any:
    """The mean over the map, dropout, and the classifier as a 1x1 convolution, which all MobileNets end in.

    Args:
        net: the network.
        x: (N, H, W, C), the last map.
        pool: slim's end point of the mean.
        classes: width of the logits.
        dropout: the part that training drops.
        new: the checkpoint does not hold the classifier.

    Returns:
        Logits, (N, classes).
    """
    x = net.dropout(net.global_pool(x, pool), dropout, "Logits/Dropout")
    x = net.squeezed_logits(x, classes, "Logits/Conv2d_1c_1x1", "Logits", new=new)
    net.softmax(x)
    return x
