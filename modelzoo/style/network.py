"""A pretrained network as a function from a picture of any size to the maps at some taps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from modelzoo.errors import ImageError, ModelzooError, UsageError
from modelzoo.features.taps import TapInfo, choose_taps, describe_taps
from modelzoo.finetune.backbone import taps_of
from modelzoo.style.pixels import network_input

__all__ = ["POOLINGS", "TapNetwork", "open_network"]

POOLINGS = ("avg", "max")
"""What may stand in for the network's own pooling."""


_EVERY_WINDOW = 32
"""Pixels that hold the windows of every usual network's first layers."""


def open_network(backbone: Any, options: Mapping[str, Any] | None = None) -> tuple[Any, Any, Any]:
    """The network behind what a user calls a backbone.

    Args:
        backbone: a functional keras.Model, a `FeatureExtractor`, a `modelzoo.finetune.Backbone`, or a model's name.
        options: of `load_pretrained`, where it is a name.

    Returns:
        (network, preprocess or None, card or None).

    Raises:
        UsageError: none of these.
        Whatever `load_pretrained` raises.
    """
    import keras

    if isinstance(backbone, str):
        from modelzoo.pretrained import load_pretrained

        backbone = load_pretrained(backbone, **(options or {}))
    elif options:
        raise UsageError("Options of load_pretrained go with a name.", received=", ".join(options))
    network = getattr(backbone, "network", backbone)
    if not isinstance(network, keras.Model):
        network = getattr(backbone, "model", None)
    if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
        raise UsageError(
            "A backbone is a functional Keras model, a feature extractor or a model's name.",
            received=type(backbone).__name__,
            hint='StyleTransfer(modelzoo.load_pretrained("inception_v1"))',
        )
    return network, getattr(backbone, "preprocess", None), getattr(backbone, "card", None)


def known_taps(network: Any) -> dict[str, Any]:
    """{name: symbolic tensor}: the network's taps, else the outputs of a feature extractor or of each layer."""
    if not getattr(network, "taps", None) and isinstance(network.output, dict):
        return dict(network.output)
    return taps_of(network)


class TapNetwork:
    """From pixels to the maps at some taps, for pictures of any size and with any pooling.

    The layers of the network are called as they are, in inference mode: nothing is copied, and neither their weights
    nor the graph they belong to changes. Padding is what it is at the network's own size; a Caffe network that rounds
    sizes up may so differ by one row at its border from the same network converted for another size.

    Args:
        network: functional keras.Model of one picture input, channels last.
        taps: names of maps.
        preprocess: the network's `Preprocess`.
        pooling: see `exchange_pooling`; None: the network's own.
        name: of the network, for messages.

    Attributes:
        taps: {name: TapInfo}.

    Raises:
        UnknownTapError: a name is no tap of the network.
        UsageError: a tap that is no map, several inputs, an input that is no RGB or grey picture of floats, or a
            pooling that cannot be exchanged.
    """

    def __init__(
        self, network: Any, taps: Sequence[str], *, preprocess: Any, pooling: str | None = None, name: str | None = None
    ) -> None:
        import keras

        self.name: str = name or network.name
        self.pooling: str | None = None
        self._preprocess = preprocess
        self._prepared = network_input(preprocess)
        self.channels = 1 if preprocess.colour == "GREY" else 3
        _check_input(network, self.channels, self.name)
        known = known_taps(network)
        names = choose_taps(taps, known, (), self.name)
        if not names:
            raise UsageError("No tap was asked for.", received=repr(taps))
        select = getattr(network, "select_taps", None)
        tensors = select(names) if select is not None else {tap: known[tap] for tap in names}
        self.taps: dict[str, TapInfo] = describe_taps({tap: tensors[tap] for tap in names})
        flat = [
            info.name
            for info in self.taps.values()
            if len(info.shape) != 4 or info.channels is None or info.shape[1:3] == (1, 1)
        ]
        if flat:
            raise UsageError(
                f"The tap {flat[0]!r} of {self.name} is no map: it has no height and width.",
                received=f"shape {self.taps[flat[0]].shape}",
                hint=f"choose earlier taps: modelzoo taps {self.name}",
            )
        self._function = keras.Function(list(network.inputs), {tap: tensors[tap] for tap in names})
        if pooling is not None:
            self.exchange_pooling(pooling)

    def __repr__(self) -> str:
        return f"TapNetwork({self.name!r}, taps={list(self.taps)}, pooling={self.pooling!r})"

    @property
    def has_pooling(self) -> bool:
        """Whether max or average pooling over windows lies before the taps."""
        waiting = list(self._function.operations)
        while waiting:
            operation = waiting.pop()
            if isinstance(operation, _pooling_layers()):
                return True
            waiting += operation.operations if _is_model(operation) else []
        return False

    def exchange_pooling(self, pooling: str) -> None:
        """Compute `avg` or `max` from now on wherever the network pools over windows.

        Raises:
            UsageError: it is neither of them, or there is no such pooling.
        """
        if pooling not in POOLINGS:
            raise UsageError("Pooling is 'avg' or 'max'.", received=repr(pooling))
        if not self.has_pooling:
            raise UsageError(
                f"{self.name} has no pooling layer before these taps that could be exchanged.",
                hint="leave pooling out; a network that is one graph keeps its own",
            )
        self.pooling = pooling

    @property
    def smallest(self) -> int:
        """Pixels between two positions of the coarsest map: no picture may be narrower."""
        return max([info.stride or 1 for info in self.taps.values()])

    def __call__(self, pixels: Any) -> dict[str, Any]:
        """The maps of pixels.

        Args:
            pixels: (1, H, W, 3) RGB in 0..255, floating point, any H and W.

        Returns:
            {tap: (1, h, w, C)}, differentiable with respect to the pixels; never narrower than float32, in which sums
            over a map do not overflow.
        """
        import tensorflow as tf

        given = tf.cast(self._prepared(pixels), self._function.inputs[0].dtype)
        maps = self._function._run_through_graph([given], operation_fn=self._operation)
        return {tap: tf.cast(value, tf.float32) if value.dtype.size < 4 else value for tap, value in maps.items()}

    def digest(self) -> str:
        """SHA-256 over the taps, the pooling, the preprocessing and every weight on the way."""
        import numpy as np

        digest = hashlib.sha256(repr((list(self.taps), self.pooling, self._preprocess)).encode())
        for operation in self._function.operations:
            for variable in getattr(operation, "variables", ()):
                values = np.ascontiguousarray(variable)
                digest.update(f"{values.dtype} {values.shape} ".encode())
                digest.update(values.reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def _operation(self, operation: Any) -> Any:
        import keras

        if _is_model(operation):
            return lambda x, **kwargs: operation._run_through_graph(x, operation_fn=self._operation)
        if self.pooling is not None and isinstance(operation, _pooling_layers()):
            pool = keras.ops.average_pool if self.pooling == "avg" else keras.ops.max_pool
            return lambda x: pool(x, operation.pool_size, operation.strides, operation.padding, operation.data_format)
        if getattr(operation, "_call_has_training_arg", False):
            return lambda *args, **kwargs: operation(*args, **{**kwargs, "training": False})
        return operation

    def map_sizes(self, height: int, width: int) -> dict[str, tuple[int, int]]:
        """(h, w) of each tap's map for a picture of this size; nothing is computed.

        Raises:
            ImageError: the picture is too small for a tap.
            UsageError: the network is tied to its own size.
        """
        import keras

        picture = keras.KerasTensor((1, height, width, self.channels), dtype="float32")
        failure: Exception | None = None
        sizes: dict[str, tuple[int, int]] = {}
        try:
            found = self._function._run_through_graph([picture], operation_fn=_spec_of)
            sizes = {tap: (int(tensor.shape[1]), int(tensor.shape[2])) for tap, tensor in found.items()}
        except (ValueError, TypeError, ModelzooError) as error:
            failure = error  # Keras counts a window that does not fit as a negative size
        enough = 2 * self.smallest
        if failure is not None and min(height, width) >= max(enough, _EVERY_WINDOW):
            raise UsageError(
                f"{self.name} cannot take a picture of this size.",
                received=f"{width} x {height} pixels",
                hint="a layer before these taps is made for one size: choose earlier taps or another network",
            ) from failure
        if failure is not None or min(height, width) < self.smallest or min(map(min, sizes.values())) < 1:
            deepest = max(self.taps.values(), key=lambda info: info.stride or 1)
            raise ImageError(
                f"A picture is smaller than what the tap {deepest.name!r} of {self.name} needs.",
                received=f"{width} x {height} pixels",
                hint=f"{enough} pixels along each side are enough; or choose taps of a smaller stride",
            )
        return sizes


def _is_model(operation: Any) -> bool:
    """Whether it is a functional model inside the network, whose layers are called one by one too."""
    import keras

    return isinstance(operation, keras.Model) and hasattr(operation, "_run_through_graph")


def _spec_of(operation: Any) -> Any:
    if _is_model(operation):
        return lambda x, **kwargs: operation._run_through_graph(x, operation_fn=_spec_of)
    return operation.compute_output_spec


def _pooling_layers() -> Any:
    import keras

    return (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


def _check_input(network: Any, channels: int, name: str) -> None:
    if len(network.inputs) != 1:
        raise UsageError(f"{name} has {len(network.inputs)} inputs; style needs a network of one picture.")
    (given,) = network.inputs
    shape, dtype = tuple(given.shape), str(given.dtype)
    if len(shape) != 4 or shape[-1] not in (None, channels) or "float" not in dtype:
        raise UsageError(
            f"The input of {name} is no picture of floats with its channels last.",
            received=f"{dtype} {shape}, {channels} channels by its preprocessing",
            hint="networks of load_pretrained that take pictures (None, H, W, 3) do",
        )
