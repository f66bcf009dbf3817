"""The vocabulary of TF-slim's model files: scoped convolutions, pools and end points, as stock Keras layers.

A network is written as in its slim source: each call names a scope; variables are found in the checkpoint under
`<root>/<scope>/weights`, `.../BatchNorm/beta` and so on; the value after the activation is the tap `<scope>`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from converters.keras.names import legal_name
from converters.keras.powers import divided_by_power
from converters.keras.taps import Tap
from modelzoo.networks.kernels import use_direct_kernel
from modelzoo.networks.weights import ArraySource

POOLED = "pooled"
"""Name of the layer that pools the last map of a network without its classifier; it is no tap of slim's."""

PREDICTIONS = {"Logits": "Predictions", "logits": "predictions", "spatial_squeeze": "predictions"}
"""Last part of an output's name -> slim's end point that is the softmax of it; VGG and its like have none."""

_SCOPED_END_POINT = re.compile(
    r"(vgg_\d+|alexnet_v2|overfeat)/"
    r"|resnet_v\d_\d+/(?!pool1$|postnorm$|.*/preact$)"
    r"|layer_\d+/"
)
"""Names with a slash that slim lists among its end points; of the others it lists those without one."""


def find_taps(model: keras.Model) -> dict[str, Tap]:
    """The taps of a model that was saved and loaded again, from its layers' names alone.

    Layer names are slim's scopes made legal, and no scope holds a dot of its own. A layer named after its own class
    (`Conv2d_1a_7x7.Conv2D`) is a part of the scope before the dot, not its value. slim's `Predictions` is the softmax
    of `Logits`; our models end before it, so it is built anew. An auxiliary head is no part of a saved model.

    Args:
        model: a functional model that `modelzoo.networks.build` made, however often it was saved since.

    Returns:
        {name: Tap}, end points in the network's order.
    """
    taps: dict[str, Tap] = {}
    for layer, tensor in _in_order(model.outputs[0]):
        scope = layer.name.replace(".", "/")
        dropped = isinstance(layer, keras.layers.Dropout) and "/" in scope
        if _is_part(layer) or dropped or layer.name == POOLED or isinstance(layer, keras.layers.InputLayer):
            continue
        taps[scope] = Tap(scope, tensor, "/" not in scope or bool(_SCOPED_END_POINT.match(scope)))
    for name in [name for name, tap in taps.items() if tap.tensor is model.outputs[0]]:
        predictions = PREDICTIONS.get(name.rpartition("/")[2])
        if predictions is not None:
            softmax = keras.layers.Softmax(name=predictions)
            taps[predictions] = Tap(predictions, softmax(taps[name].tensor), True)
    return taps


def _in_order(output: Any) -> list[tuple[Any, Any]]:
    """The layers that `output` comes from and their values, as a network was written: a branch whole, then the next.

    `model.layers` is sorted by depth, which tears branches apart.
    """
    layers: dict[int, tuple[Any, Any]] = {}
    pending: list[tuple[Any, bool]] = [(output, False)]
    while pending:
        tensor, ready = pending.pop()
        layer, node = tensor._keras_history[:2]
        if id(layer) in layers:
            continue
        if ready:
            layers[id(layer)] = layer, tensor
            continue
        pending.append((tensor, True))
        pending += [(parent, False) for parent in reversed(layer._inbound_nodes[node].input_tensors)]
    return [(layer, tensor) for layer, tensor in layers.values() if isinstance(layer, keras.layers.Layer)]


def _is_part(layer: Any) -> bool:
    scope, _, last = layer.name.rpartition(".")
    return bool(scope) and last in (type(layer).__name__, "BatchNorm")


@dataclass
class BatchNorm:
    """How a family normalises: moments of `keras.layers.BatchNormalization` in slim's terms."""

    decay: float = 0.999
    epsilon: float = 0.001
    gamma: bool = False


@dataclass
class SlimNetwork:
    """One network under construction: where its arrays come from, and the taps met so far.

    Args:
        source: the arrays.
        root: the scope in front of every variable's name, without a slash at the end; may be empty.
        batch_norm: the family's normalisation; None = convolutions have biases.
        activation: layer factory `name -> layer` that ends a convolution.
    """

    source: ArraySource
    root: str
    batch_norm: BatchNorm | None = None
    activation: Callable[[str], Any] = field(default=lambda name: keras.layers.ReLU(name=name))
    taps: dict[str, Tap] = field(default_factory=dict)
    source_names: dict[str, str] = field(default_factory=dict)
    variable_names: dict[str, str] = field(default_factory=dict)

    # -- naming ---------------------------------------------------------------------------------------------------

    def tap(self, name: str, tensor: Any, *, end_point: bool = True) -> Any:
        """Record `tensor` as the value of tap `name` and return it."""
        self.taps[name] = Tap(name, tensor, end_point)
        return tensor

    def layer_name(self, scope: str) -> str:
        """The layer name of a scope, remembered so that `source_names` leads back."""
        name = legal_name(scope)
        self.source_names[name] = scope
        return name

    def variable(self, scope: str, kind: str) -> str:
        """The checkpoint's name of a variable: `<root>/<scope>/<kind>`."""
        return "/".join(part for part in (self.root, scope, kind) if part)

    # -- layers ---------------------------------------------------------------------------------------------------

    def apply(self, layer: Any, x: Any, arrays: Mapping[str, tuple[Any, ...]]) -> Any:
        """Call `layer` on `x` while the initialisers named in `arrays` give the file's arrays.

        Args:
            layer: an unbuilt Keras layer.
            x: its symbolic input.
            arrays: attribute of the layer (`kernel_initializer`) -> checkpoint name, the shape there, and, where the
                layer's own differs, what makes its array of the checkpoint's.
        """
        one_cell = isinstance(layer, keras.layers.Conv2D) and tuple(x.shape[1:3]) == (1, 1)
        if one_cell or isinstance(layer, keras.layers.BatchNormalization):
            use_direct_kernel(layer)
        stock: dict[str, Any] = {}
        given: dict[str, Any] = {}
        for attribute, wanted in arrays.items():
            array = self.source.initializer(*wanted)
            if array is not None:
                given[attribute] = array
                stock[attribute] = getattr(layer, attribute)
        # An initialiser is nothing that Keras tracks, so its own costly __setattr__ may be left out.
        vars(layer).update(given)
        try:
            y = layer(x)
        finally:
            vars(layer).update(stock)
        for attribute, (name, *_) in arrays.items():
            self.variable_names[f"{layer.name}/{attribute.removesuffix('_initializer')}"] = name
        return y

    def conv2d(
        self,
        x: Any,
        filters: int,
        kernel: int | tuple[int, int],
        scope: str,
        *,
        stride: int = 1,
        rate: int = 1,
        padding: str = "same",
        normalize: bool = True,
        activate: bool = True,
        end_point: bool = False,
        new: bool = False,
    ) -> Any:
        """slim.conv2d: convolution, BatchNorm (or bias), activation; the tap `scope` is the value after all three.

        Args:
            x: (N, H, W, C).
            filters: output channels.
            kernel: height and width of the window.
            scope: slim's scope, relative to the root.
            stride: of both axes.
            rate: distance of the window's cells, 1 = a dense window; only at stride 1.
            padding: `same` or `valid`, as TensorFlow defines them.
            normalize: BatchNorm instead of a bias, if the family normalises.
            activate: whether the family's activation follows.
            end_point: whether slim lists the value among its end points.
            new: a head that the checkpoint does not hold: it keeps Keras' initialisers.
        """
        norm = self.batch_norm if normalize else None
        name = self.layer_name(scope)
        part = f"{name}.Conv2D"
        conv = keras.layers.Conv2D(
            filters,
            kernel,
            strides=stride,
            padding=padding,
            dilation_rate=rate,
            use_bias=norm is None,
            name=name if norm is None and not activate else part,
        )
        x = self.apply(conv, x, {} if new else self._conv_arrays(conv, x, scope))
        if norm is not None:
            x = self.normalize(x, f"{scope}/BatchNorm", norm, name=None if activate else name)
        if activate:
            x = self.activation(name)(x)
        return self.tap(scope, x, end_point=end_point)

    def fully_connected_conv2d(self, x: Any, filters: int, kernel: int, scope: str, *, end_point: bool = False) -> Any:
        """slim.conv2d, VALID, whose window is meant to cover the map: a matrix product where it does.

        A convolution of one cell multiplies the same numbers, but its kernels (VGG's fc6: 411 MB) are rearranged at
        each call; the array of the checkpoint lies as the matrix does.

        Args:
            x, filters, scope, end_point: as for `conv2d`.
            kernel: height and width of the window.

        Returns:
            (N, H - kernel + 1, W - kernel + 1, filters).
        """
        if tuple(x.shape[1:3]) != (kernel, kernel):
            return self.conv2d(x, filters, kernel, scope, padding="valid", end_point=end_point)
        name = self.layer_name(scope)
        inputs = kernel * kernel * x.shape[-1]
        layer = keras.layers.Dense(filters, name=f"{name}.Dense")
        arrays = {
            "kernel_initializer": (
                self.variable(scope, "weights"),
                (kernel, kernel, x.shape[-1], filters),
                lambda array: array.reshape(inputs, filters),
            ),
            "bias_initializer": (self.variable(scope, "biases"), (filters,)),
        }
        x = keras.layers.Reshape((1, 1, inputs), name=f"{name}.Reshape")(x)
        x = self.activation(name)(self.apply(layer, x, arrays))
        return self.tap(scope, x, end_point=end_point)

    def conv2d_same(self, x: Any, filters: int, kernel: int, scope: str, *, stride: int = 1, **options: Any) -> Any:
        """resnet_utils.conv2d_same: strided, it pads by the window alone, where TensorFlow's SAME looks at the map too.

        Args:
            x, filters, scope, stride, options: as for `conv2d`.
            kernel: height and width of the window; `(kernel - 1) // 2` zeros come before, the rest after.
        """
        if stride == 1:
            return self.conv2d(x, filters, kernel, scope, **options)
        before = (kernel - 1) // 2
        pad = (before, kernel - 1 - before)
        x = keras.layers.ZeroPadding2D((pad, pad), name=self.layer_name(scope) + ".ZeroPadding2D")(x)
        return self.conv2d(x, filters, kernel, scope, stride=stride, padding="valid", **options)

    def separable_conv2d(
        self, x: Any, filters: int, kernel: int, scope: str, *, multiplier: int, stride: int, end_point: bool = False
    ) -> Any:
        """slim.separable_conv2d without a normaliser: depthwise, pointwise, bias, activation.

        Args:
            x, filters, kernel, scope, stride, end_point: as for `conv2d`.
            multiplier: depthwise channels for each of the input; channel c gives c * multiplier and those after it.
        """
        name = self.layer_name(scope)
        layer = keras.layers.SeparableConv2D(
            filters,
            kernel,
            strides=stride,
            padding="same",
            depth_multiplier=multiplier,
            name=f"{name}.SeparableConv2D",
        )
        channels = x.shape[-1]
        arrays = {
            "depthwise_initializer": (
                self.variable(scope, "depthwise_weights"),
                (kernel, kernel, channels, multiplier),
            ),
            "pointwise_initializer": (
                self.variable(scope, "pointwise_weights"),
                (1, 1, channels * multiplier, filters),
            ),
            "bias_initializer": (self.variable(scope, "biases"), (filters,)),
        }
        x = self.apply(layer, x, arrays)
        for weight in ("depthwise", "pointwise"):  # Keras' names of these weights are not those of the initialisers
            self.variable_names[f"{layer.name}/{weight}_kernel"] = self.variable_names.pop(f"{layer.name}/{weight}")
        return self.tap(scope, self.activation(name)(x), end_point=end_point)

    def fully_connected(
        self,
        x: Any,
        units: int,
        scope: str,
        *,
        name: str | None = None,
        activate: bool = True,
        new: bool = False,
    ) -> Any:
        """slim.fully_connected: x times weights, plus biases, activation; the value is an end point.

        Args:
            x: (N, C).
            units: length of the result.
            scope: of the variables, relative to the root.
            name: of the value, if slim does not call it by its scope.
            activate: whether the family's activation follows.
            new: a head that the checkpoint does not hold: it keeps Keras' initialisers.
        """
        name = scope if name is None else name
        legal = self.layer_name(name)
        layer = keras.layers.Dense(units, name=f"{legal}.Dense" if activate else legal)
        arrays = {
            "kernel_initializer": (self.variable(scope, "weights"), (x.shape[-1], units)),
            "bias_initializer": (self.variable(scope, "biases"), (units,)),
        }
        x = self.apply(layer, x, {} if new else arrays)
        return self.tap(name, self.activation(legal)(x) if activate else x)

    def squeezed_logits(self, x: Any, classes: int, scope: str, name: str, *, new: bool = False) -> Any:
        """The classifier of most families: a 1x1 convolution on a 1x1 map, squeezed.

        Args:
            x: (N, 1, 1, C).
            classes: width of the logits.
            scope: of the convolution, relative to the root; a tap where `name` is another.
            name: slim's end point of the squeezed logits.
            new: the checkpoint does not hold the classifier: it keeps Keras' initialisers.

        Returns:
            Logits, (N, classes).
        """
        legal = self.layer_name(scope)
        conv = keras.layers.Conv2D(classes, 1, name=f"{legal}.Conv2D" if scope == name else legal)
        x = self.apply(conv, x, {} if new else self._conv_arrays(conv, x, scope))
        if scope != name:
            self.tap(scope, x, end_point=bool(_SCOPED_END_POINT.match(scope)))
        return self.tap(name, keras.layers.Reshape((classes,), name=self.layer_name(name))(x))

    def softmax(self, logits: Any, name: str = "Predictions") -> Any:
        """slim's end point with the probabilities; no model's output, but a tap."""
        return self.tap(name, keras.layers.Softmax(name=self.layer_name(name))(logits))

    def _conv_arrays(self, conv: Any, x: Any, scope: str) -> dict[str, tuple[str, tuple[int, ...]]]:
        arrays = {
            "kernel_initializer": (self.variable(scope, "weights"), (*conv.kernel_size, x.shape[-1], conv.filters))
        }
        if conv.use_bias:
            arrays["bias_initializer"] = (self.variable(scope, "biases"), (conv.filters,))
        return arrays

    def normalize(self, x: Any, scope: str, norm: BatchNorm | None = None, *, name: str | None = None) -> Any:
        """slim.batch_norm over the channels of `x`, with variables below `scope`, in a layer called `name`."""
        norm = norm or self.batch_norm or BatchNorm()
        channels = (x.shape[-1],)
        layer = keras.layers.BatchNormalization(
            momentum=norm.decay, epsilon=norm.epsilon, scale=norm.gamma, name=name or self.layer_name(scope)
        )
        arrays = {
            "beta_initializer": (self.variable(scope, "beta"), channels),
            "moving_mean_initializer": (self.variable(scope, "moving_mean"), channels),
            "moving_variance_initializer": (self.variable(scope, "moving_variance"), channels),
        }
        if norm.gamma:
            arrays["gamma_initializer"] = (self.variable(scope, "gamma"), channels)
        return self.apply(layer, x, arrays)

    def max_pool(self, x: Any, size: int, scope: str, *, stride: int = 2, padding: str = "valid") -> Any:
        """slim.max_pool2d; slim's defaults are stride 2 and VALID."""
        layer = keras.layers.MaxPooling2D(size, strides=stride, padding=padding, name=self.layer_name(scope))
        return layer(x)

    def avg_pool(self, x: Any, size: int, scope: str, *, stride: int = 2, padding: str = "valid") -> Any:
        """slim.avg_pool2d; padded cells are not counted in the divisor."""
        layer = keras.layers.AveragePooling2D(size, strides=stride, padding=padding, name=self.layer_name(scope))
        return layer(x)

    def global_pool(self, x: Any, name: str = "global_pool") -> Any:
        """The mean over the map, (N, 1, 1, C); an end point."""
        return self.tap(name, keras.layers.GlobalAveragePooling2D(keepdims=True, name=self.layer_name(name))(x))

    def dropout(self, x: Any, rate: float, scope: str) -> Any:
        """slim.dropout, in terms of what is dropped: 1 - slim's keep_prob."""
        return keras.layers.Dropout(rate, name=self.layer_name(scope))(x)

    def local_response_normalization(self, x: Any, radius: int, alpha: float, beta: float) -> Any:
        """tf.nn.lrn with bias 1: x / (1 + alpha * s) ** beta, s the sum of squares of 2 radius + 1 channels around.

        Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", NIPS 2012, section 3.3;
        here of what Keras has, none of which has weights: a band matrix adds up the channels around.
        """
        numbers = np.arange(x.shape[-1])
        band = np.where(np.abs(numbers[:, None] - numbers) <= radius, np.float32(alpha), np.float32(0))
        s = keras.ops.add(keras.ops.matmul(keras.ops.square(x), band), 1.0)
        return divided_by_power(x, s, beta)

    def alias(self, name: str, x: Any) -> Any:
        """A second name for a value: slim lists the last unit of a block under the block's name too."""
        return self.tap(name, keras.layers.Identity(name=self.layer_name(name))(x))

    def concat(self, parts: list[Any], scope: str) -> Any:
        """Join branches on the channel axis."""
        return keras.layers.Concatenate(axis=-1, name=self.layer_name(scope))(parts)
