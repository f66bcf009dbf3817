"""What is minimised: content, style and variation of a picture, by one traced function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelzoo.style.losses import content_loss, gram_matrix, relative_loss, style_loss, total_variation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelzoo.style.network import TapNetwork

__all__ = ["Objective", "Weights"]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much each part of the loss counts.

    Attributes:
        content, style, variation: factors of the three parts.
        content_taps, style_taps: {tap: its share of the part}, summing to 1.
        relative: losses are taken relative to their targets; False: as published.
    """

    content: float
    style: float
    variation: float
    content_taps: Mapping[str, float]
    style_taps: Mapping[str, float]
    relative: bool


class Objective:
    """The loss of a picture of one size; its targets are computed once, here.

    Args:
        network: gives the maps.
        content: (H, W, 3) RGB in 0..255, the size of the result.
        styles: (h, w, 3) each, any sizes.
        blend: share of each style, summing to 1.
        weights: of the parts and taps.
        grey: the picture that is optimised has one channel, seen by the network as three equal ones.

    Attributes:
        names: of the terms: `content TAP`, `style TAP`, `variation`, before their weights.
        factors: of the terms in the total, in the same order.
        traces: how often the function was traced.
    """

    def __init__(
        self,
        network: TapNetwork,
        content: NDArray[np.floating],
        styles: Sequence[NDArray[np.floating]],
        blend: Sequence[float],
        weights: Weights,
        *,
        grey: bool = False,
    ) -> None:
        import tensorflow as tf

        self.network, self.weights, self.grey = network, weights, grey
        self.traces = 0
        shares = zip(blend, styles, strict=True)
        self._blend = [(share, self._grams(style)) for share, style in shares if share] if weights.style else []
        self._content: dict[str, Any] = {}
        if weights.content:
            found = _computed(network.__call__, content)
            self._content = {tap: tf.identity(found[tap]) for tap in weights.content_taps}
        parts = [(f"content {tap}", weights.content * weights.content_taps[tap]) for tap in self._content]
        if self._blend:
            parts += [(f"style {tap}", weights.style * share) for tap, share in weights.style_taps.items()]
        parts += [("variation", weights.variation)] if weights.variation else []
        self.names = [name for name, _ in parts]
        self.factors = [factor for _, factor in parts]
        self._traced: dict[Any, Any] = {}

    def _grams(self, style: NDArray[np.floating]) -> dict[str, Any]:

        def grams(pixels: Any) -> dict[str, Any]:
            maps = self.network(pixels)
            return {tap: gram_matrix(maps[tap]) for tap in self.weights.style_taps}

        return dict(_computed(grams, style))

    def terms(self, picture: Any) -> Any:
        """The terms of a picture, before their weights.

        Args:
            picture: tensor (1, H, W, 3), or (1, H, W, 1) where `grey`, in 0..255.

        Returns:
            (T,) in the order of `names`.
        """
        import tensorflow as tf

        values = []
        if self._content or self._blend:
            seen = tf.repeat(picture, 3, axis=-1) if self.grey else picture
            maps = self.network(seen)
            of_maps: Any = relative_loss if self.weights.relative else content_loss
            values += [of_maps(maps[tap], target) for tap, target in self._content.items()]
            of_grams: Any = relative_loss if self.weights.relative else style_loss
            for tap in self.weights.style_taps if self._blend else ():
                gram = gram_matrix(maps[tap])
                values.append(tf.add_n([share * of_grams(gram, grams[tap]) for share, grams in self._blend]))
        if self.weights.variation:
            values.append(total_variation(picture))
        return tf.stack([tf.cast(value, picture.dtype) for value in values])

    def differentiate(self, picture: Any) -> tuple[Any, Any, Any]:
        """(total, gradient with the shape of `picture`, terms (T,)), to be called inside a function that is traced."""
        import tensorflow as tf

        self.traces += 1
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(picture)
            terms = self.terms(picture)
            total = tf.reduce_sum(terms * tf.constant(self.factors, terms.dtype))
        return total, tape.gradient(total, picture), terms

    def value_and_gradient(self, picture: Any) -> tuple[Any, Any, Any]:
        """(total, gradient with the shape of `picture`, terms (T,)); traced once for a shape."""
        import tensorflow as tf

        key = (picture.dtype, tuple(picture.shape))
        if key not in self._traced:
            # One trace made on purpose; TensorFlow warns of functions that are made anew for every run.
            spec = tf.TensorSpec(picture.shape, picture.dtype)
            self._traced[key] = tf.function(self.differentiate).get_concrete_function(spec)
        total, gradient, terms = self._traced[key](picture)
        return total, gradient, terms


def _computed(function: Callable[[Any], Any], picture: NDArray[np.floating]) -> Any:
    """`function` of one picture, as a graph: eagerly all maps of the network would be held at once."""
    import tensorflow as tf

    batch = tf.constant(picture[None], tf.float32)
    return tf.function(function).get_concrete_function(tf.TensorSpec(batch.shape, batch.dtype))(batch)
