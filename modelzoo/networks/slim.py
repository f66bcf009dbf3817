"""The vocabulary of TF-slim's model files: scoped convolutions, pools and end points, as stock Keras layers.

A network is written as in its slim source: each call names a scope; variables are found in the checkpoint under
`<root>/<scope>/weights`, `.../BatchNorm/beta` and so on; the value after the activation is the tap `<scope>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from converters.keras.names import legal_name
from converters.keras.taps import Tap
from modelzoo.networks.weights import ArraySource

POOLED = "pooled"
"""Name of the layer that pools the last map of a network without its classifier; it is no tap of slim's."""


def find_taps(model: keras.Model) -> dict[str, Tap]:
    """The taps of a model that was saved and loaded again, from its layers' names alone.

    Layer names are slim's scopes made legal, and no scope holds a dot of its own. slim's `Predictions` is the softmax
    of `Logits`; our models end before it, so it is built anew.

    Args:
        model: a functional model that `modelzoo.networks.build` made, however often it was saved since.

    Returns:
        {name: Tap}, end points in the network's order.
    """
    taps: dict[str, Tap] = {}
    for layer in model.layers:
        inside = layer.name.rpartition(".")[2] in ("Conv2D", "BatchNorm")  # before the activation
        if inside or layer.name == POOLED or isinstance(layer, (keras.layers.InputLayer, keras.layers.Dropout)):
            continue
        scope = layer.name.replace(".", "/")
        taps[scope] = Tap(scope, layer.output, "/" not in scope)
    if "Logits" in taps and "Predictions" not in taps:
        softmax = keras.layers.Softmax(name="Predictions")
        taps["Predictions"] = Tap("Predictions", softmax(taps["Logits"].tensor), True)
    return taps


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

    def apply(self, layer: Any, x: Any, arrays: Mapping[str, tuple[str, tuple[int, ...]]]) -> Any:
        """Call `layer` on `x` while the initialisers named in `arrays` give the file's arrays.

        Args:
            layer: an unbuilt Keras layer.
            x: its symbolic input.
            arrays: attribute of the layer (`kernel_initializer`) -> checkpoint name and expected shape.
        """
        stock: dict[str, Any] = {}
        given: dict[str, Any] = {}
        for attribute, (name, shape) in arrays.items():
            array = self.source.initializer(name, shape)
            if array is not None:
                given[attribute] = array
                stock[attribute] = getattr(layer, attribute)
        # An initialiser is nothing that Keras tracks, so its own costly __setattr__ may be left out.
        vars(layer).update(given)
        try:
            y = layer(x)
        finally:
            vars(layer).update(stock)
        for attribute, (name, _) in arrays.items():
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
            padding: `same` or `valid`, as TensorFlow defines them.
            normalize: BatchNorm instead of a bias, if the family normalises.
            activate: whether the family's activation follows.
            end_point: whether slim lists the value among its end points.
            new: a head that the checkpoint does not hold: it keeps Keras' initialisers.
        """
        norm = self.batch_norm if normalize else None
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        name = self.layer_name(scope)
        plain = norm is None and not activate
        conv = keras.layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding=padding,
            use_bias=norm is None,
            name=name if plain else name + ".Conv2D",
        )
        arrays: dict[str, tuple[str, tuple[int, ...]]] = {}
        if not new:
            arrays["kernel_initializer"] = (self.variable(scope, "weights"), (*size, x.shape[-1], filters))
            if norm is None:
                arrays["bias_initializer"] = (self.variable(scope, "biases"), (filters,))
        x = self.apply(conv, x, arrays)
        if norm is not None:
            x = self.normalize(x, f"{scope}/BatchNorm", norm)
        if activate:
            x = self.activation(name)(x)
        return self.tap(scope, x, end_point=end_point)

    def normalize(self, x: Any, scope: str, norm: BatchNorm | None = None) -> Any:
        """slim.batch_norm over the channels of `x`, with variables below `scope`."""
        norm = norm or self.batch_norm or BatchNorm()
        channels = (x.shape[-1],)
        layer = keras.layers.BatchNormalization(
            momentum=norm.decay, epsilon=norm.epsilon, scale=norm.gamma, name=self.layer_name(scope)
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

    def concat(self, parts: list[Any], scope: str) -> Any:
        """Join branches on the channel axis."""
        return keras.layers.Concatenate(axis=-1, name=self.layer_name(scope))(parts)
