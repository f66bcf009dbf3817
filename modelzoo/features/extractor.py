"""The feature extractor: pictures or uint8 arrays in, one float32 array a tap out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import UsageError
from modelzoo.features.taps import TapInfo, choose_taps, describe_taps

if TYPE_CHECKING:
    import keras
    import numpy as np


class FeatureExtractor:
    """A network with named taps, preprocessing attached.

    Args:
        model: the network; its `taps` are {name: tap with .tensor and .end_point}.
        features: tap names, one name, or `"all"` for the network's end points.
        pooling: `avg` or `max` over height and width of each map; None = whole maps.
        preprocess: turns paths and uint8 arrays into the network's own input.
        labels: of the classifier, or None.
        card: the registry's card.

    Attributes:
        taps: {name: TapInfo} of the chosen taps; shapes are those before pooling.
        model: plain keras.Model, from the network's own input (N, H, W, 3) to {tap: tensor}.

    Raises:
        UnknownTapError: a name is no tap of the network.
    """

    def __init__(
        self,
        model: keras.Model,
        features: Sequence[str] | str,
        *,
        pooling: str | None = None,
        preprocess: Any = None,
        labels: Any = None,
        card: Any = None,
    ) -> None:
        import keras

        if pooling not in (None, "avg", "max"):
            raise UsageError("pooling is 'avg', 'max' or None.", received=repr(pooling))
        tensors = {name: tap.tensor for name, tap in model.taps.items()}
        ends = [name for name, tap in model.taps.items() if tap.end_point]
        names = choose_taps(features, tensors, ends, card.name if card is not None else model.name)
        if not names:
            raise UsageError("No tap was asked for.", received=repr(features), hint="features=['...'] or 'all'")
        chosen = {name: tensors[name] for name in names}
        self.taps: dict[str, TapInfo] = describe_taps(chosen)
        if hasattr(model, "select_taps"):  # one layer gives all taps: ask it for these alone
            chosen = model.select_taps(names)
        self.pooling = pooling
        if pooling is not None:
            layer = keras.layers.GlobalAveragePooling2D if pooling == "avg" else keras.layers.GlobalMaxPooling2D
            chosen = {name: layer()(x) if len(x.shape) == 4 else x for name, x in chosen.items()}
        self.model = keras.Model(model.input, chosen, name=f"{model.name}_features")
        self.preprocess = preprocess
        self.labels = labels
        self.card = card
        self._run: Any = None

    def __repr__(self) -> str:
        return f"FeatureExtractor({self.model.name}, taps={list(self.taps)}, pooling={self.pooling!r})"

    def __call__(self, x: Any, *, batch_size: int = 32) -> dict[str, np.ndarray]:
        """Features of one picture or of several.

        Args:
            x: a path, a list of paths, or uint8 RGB of shape (H, W, 3) or (N, H, W, 3); lists may mix sizes.
            batch_size: how many pictures go through the network at once.

        Returns:
            {tap: float32 array}, (N, H, W, C) or, pooled and for vectors, (N, C); N = 1 for one picture.

        Raises:
            ImageError: a file is no picture.
            ArrayError: an array is of another dtype or shape; for floats use `.model`, which takes the network's
                own input.
            UsageError: the network has no preprocessing, or `batch_size` is below 1.
        """
        import numpy as np

        several = isinstance(x, (list, tuple)) or getattr(x, "ndim", 0) == 4
        step = _checked_batch_size(batch_size)
        parts = [x[i : i + step] for i in range(0, max(len(x), 1), step)] if several else [x]
        results = [self.run(self._prepared(part)) for part in parts]
        return {name: np.concatenate([result[name] for result in results]) for name in self.taps}

    def _prepared(self, pictures: Any) -> np.ndarray:
        """The network's own input, (N, H, W, 3), of one picture or several."""
        if self.preprocess is None:
            raise UsageError(
                f"Nobody states how {self.model.name} wants its pictures prepared.",
                hint="prepare them yourself and use fx.model(x), which takes the network's own input",
            )
        return self.preprocess(pictures)

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Features of a preprocessed batch (N, H, W, 3) in the network's own range, as NumPy arrays.

        The network is traced once, with batch and sides left open, and the same graph serves every later call:
        single pictures and long runs give the same numbers.
        """
        import numpy as np
        import tensorflow as tf

        if self._run is None:
            spec = tf.TensorSpec([None, *self.model.input.shape[1:]], self.model.input.dtype)
            self._run = tf.function(lambda x: self.model(x, training=False), input_signature=[spec])
        result = self._run(tf.convert_to_tensor(batch))
        return {name: np.asarray(result[name], np.float32) for name in self.taps}

    def batches(self, items: Sequence[Any], batch_size: int) -> Iterator[dict[str, np.ndarray]]:
        """Features of `items`, in order, a batch at a time; the next batch is decoded while one is computed."""
        from concurrent.futures import ThreadPoolExecutor

        batch_size = _checked_batch_size(batch_size)
        groups = [list(items[i : i + batch_size]) for i in range(0, len(items), batch_size)]
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._prepared, groups[0]) if groups else None
            for k in range(len(groups)):
                assert ahead is not None
                batch = ahead.result()
                ahead = pool.submit(self._prepared, groups[k + 1]) if k + 1 < len(groups) else None
                yield self.run(batch)

    def extract(
        self, inputs: Any, out: str | Path, *, batch_size: int = 32, progress: bool | None = None
    ) -> Mapping[str, tuple[int, ...]]:
        """Features of many pictures into a file; see `modelzoo.features.extract.extract`."""
        from modelzoo.features.extract import extract

        return extract(self, inputs, out, batch_size=batch_size, progress=progress)


def _checked_batch_size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError("batch_size is a positive whole number.", received=repr(value))
    return value
