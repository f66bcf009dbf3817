"""The torso: a pretrained network that turns stacked frames into features, frozen or trained on later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from modelzoo.errors import UsageError
from modelzoo.rl.frames import palette

if TYPE_CHECKING:
    from modelzoo.rl.environment import Environment

__all__ = ["Torso"]


class Torso:
    """A pretrained network up to a tap, with an adapter for what an environment shows.

    Frames become the network's pictures: one grey frame three times, or three stacked grey frames as the three
    channels, the oldest first; planes of a small map, each in a colour of its own. They are resized as a whole
    (bilinear where they grow or shrink; maps by nearest neighbours) and then scaled as the network's card says.

    Args:
        source: a name for `load_pretrained`, a keras.Model with `preprocess`, or a finetune.Backbone of one tap.
        tap: whose features; None = what enters the classifier.
        side: of the picture in pixels; None = the network's own.
        grid: a map of features is averaged to about grid x grid places; None = as it is.
        **options: of `load_pretrained`, where `source` is a name.

    Attributes:
        backbone: the network; frozen until `unfreeze`.
        width: numbers in the features of one observation, whose scale is 1 (layer normalisation without weights).

    Raises:
        UsageError: a network without a stated preprocessing, of another input than pictures, or with several taps.
        Whatever `load_pretrained` raises.
    """

    def __init__(
        self, source: Any, *, tap: str | None = None, side: int | None = None, grid: int | None = 4, **options: Any
    ) -> None:
        from modelzoo.finetune import Backbone

        if grid is not None and (type(grid) is not int or grid < 1):
            raise UsageError("Features are averaged to a positive number of places.", received=repr(grid))
        if side is not None:
            if not isinstance(source, str) or type(side) is not int or side < 1:
                raise UsageError("The side of the picture goes with a model's name.", received=repr(side))
            options["input_shape"] = (side, side, 3)
        if isinstance(source, Backbone):
            if options or tap is not None:
                raise UsageError("A backbone has its tap already.", received=repr(source))
            self.backbone = source
            self.backbone.freeze(True)
        else:
            self.backbone = Backbone(source, tap=tap, freeze=True, batch_norm="inference", **options)
        self.grid, self.side = grid, side
        self._named = (source, dict(options)) if isinstance(source, str) else None
        name = self.backbone.name
        if not self.backbone.single:
            raise UsageError("A torso has one tap.", received=", ".join(self.backbone.taps))
        if self.backbone.preprocess is None:
            raise UsageError(f"Nobody states how {name!r} wants its pictures prepared.")
        shape = tuple(self.backbone.model.inputs[0].shape[1:])
        if len(shape) != 3 or shape[-1] != 3 or None in shape:
            raise UsageError(
                f"{name!r} takes no pictures of three channels and one size.",
                received=f"input {shape}",
                hint="say side=64, or choose another network",
            )
        self.picture_shape: tuple[int, int, int] = shape
        preprocess = self.backbone.preprocess
        if getattr(preprocess, "mean_image", None) is not None or getattr(preprocess, "mean_file", None):
            raise UsageError(f"{name!r} subtracts a mean picture, which a torso does not do.")
        self._features = self.backbone.model(self.backbone.model.inputs[0])
        self.width = int(self._pooled(self._features).shape[-1])

    @property
    def name(self) -> str:
        """Of the pretrained network."""
        return self.backbone.name

    def check(self, environment: Environment) -> None:
        """Whether what an environment shows can be made a picture for the network.

        Raises:
            UsageError: it cannot.
        """
        shown = f"observations {environment.observation_shape} of {environment.spec.id}"
        if environment.kind not in ("picture", "planes"):
            raise UsageError(
                f"The torso {self.name!r} looks at pictures, and the environment shows none.",
                received=shown,
                hint="train without a torso, or choose an environment of pixels (ALE, MinAtar)",
            )
        if environment.kind == "picture" and environment.stack not in (1, 3):
            raise UsageError(
                "A torso takes one grey frame, or three as its three channels.",
                received=shown,
                hint="stack=3",
            )
        if environment.kind == "planes" and environment.stack != 1:
            raise UsageError("Planes are shown to a torso one map at a time.", received=shown, hint="stack=1")

    def features(self, x: Any, kind: str) -> Any:
        """Features (N, width) of a symbolic stacked observation (N, H, W, C), uint8 or maps of 0..1."""
        return self._pooled(self.backbone.model(self._picture(x, kind)))

    def encode(self, environment: Environment) -> Any:
        """A function of one observation -> float32 (width,), traced once; the weights stay as they are then."""
        import tensorflow as tf

        spec = tf.TensorSpec([1, *environment.observation_shape], tf.as_dtype(environment.frame_dtype))
        kind = environment.kind
        function = tf.function(lambda x: self.features(x, kind), input_signature=[spec], autograph=False)
        traced = function.get_concrete_function()

        def encode(observation: np.ndarray) -> np.ndarray:
            return traced(tf.constant(observation[None])).numpy()[0]

        return encode

    def as_dict(self) -> dict[str, Any]:
        """JSON values: what `from_dict` builds it of, and the fingerprint of weights and preprocessing."""
        from modelzoo.finetune.feature_cache import fingerprint

        card = self.backbone.card
        return {
            "name": None if card is None else card.name,
            "tap": next(iter(self.backbone.taps)),
            "side": self.side,
            "grid": self.grid,
            "fingerprint": fingerprint(self.backbone),
        }

    def again(self) -> Torso:
        """A second one with variables of its own, for a target network."""
        import keras

        from modelzoo.finetune import Backbone

        (tap,) = self.backbone.taps
        if self._named is not None:
            name, options = self._named
            return Torso(name, tap=tap, grid=self.grid, **options)
        network = self.backbone.network
        copy = keras.models.clone_model(network)
        for own, other in zip(copy.weights, network.weights, strict=True):
            own.assign(other)
        taps = getattr(network, "taps", None) or {}
        for attribute, value in (("card", self.backbone.card), ("preprocess", self.backbone.preprocess)):
            object.__setattr__(copy, attribute, value)
        if taps:
            object.__setattr__(copy, "taps", _found_again(taps, copy))
        return Torso(Backbone(copy, tap=tap, batch_norm="inference"), grid=self.grid)

    def _pooled(self, x: Any) -> Any:
        import keras

        if len(x.shape) == 4 and self.grid is not None:
            pool = tuple(max(1, -(-side // self.grid)) for side in x.shape[1:3])
            x = keras.ops.average_pool(x, pool, strides=pool, padding="same")
        x = keras.ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))
        mean = keras.ops.mean(x, axis=-1, keepdims=True)
        spread = keras.ops.sqrt(keras.ops.var(x, axis=-1, keepdims=True) + 1e-6)
        return (x - mean) / spread

    def _picture(self, x: Any, kind: str) -> Any:
        """The network's own input (N, height, width, 3), float32."""
        import keras

        ops, how = keras.ops, self.backbone.preprocess
        x = ops.cast(x, "float32")
        if kind == "planes":
            x = ops.clip(ops.matmul(x, ops.convert_to_tensor(palette(x.shape[-1]))), 0.0, 255.0)
        elif x.shape[-1] == 1:
            x = ops.repeat(x, 3, axis=-1)
        size = self.picture_shape[:2]
        if tuple(x.shape[1:3]) != size:
            method = "nearest" if kind == "planes" else "bilinear"
            x = ops.image.resize(x, size, interpolation=method, antialias=method == "bilinear")
        if how.colour == "BGR":
            x = ops.flip(x, axis=-1)
        x = x * (how.multiply / how.divide)
        if how.mean:
            x = x - ops.convert_to_tensor(np.array(how.mean, np.float32))
        if how.std:
            x = x / ops.convert_to_tensor(np.array(how.std, np.float32))
        if how.standardise:
            axes = (1, 2, 3)
            least = 1 / float(np.prod(self.picture_shape)) ** 0.5
            spread = ops.maximum(ops.std(x, axis=axes, keepdims=True), least)
            x = (x - ops.mean(x, axis=axes, keepdims=True)) / spread
        return x * how.scale if how.scale != 1 else x


def _found_again(taps: dict[str, Any], copy: Any) -> dict[str, Any]:
    """The taps of a network in its clone, whose layers have the same names."""
    from dataclasses import replace

    layers = {layer.name: layer for layer in copy.layers}
    found = {}
    for name, tap in taps.items():
        history = tap.tensor._keras_history
        layer = layers.get(history.operation.name)
        if layer is not None:
            tensors = layer._inbound_nodes[history.node_index].output_tensors
            found[name] = replace(tap, tensor=tensors[history.tensor_index])
    return found
