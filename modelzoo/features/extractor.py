"""The feature extractor: pictures or uint8 arrays in, one float32 array a tap out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import UsageError
from modelzoo.features.taps import TapInfo, choose_taps, describe_taps
from modelzoo.networks.kernels import use_direct_kernel, uses_direct_kernel

if TYPE_CHECKING:
    import keras
    import numpy as np

    from modelzoo.features.extract import Extraction

_ROWS = 4  # the network computes multiples of so many pictures
_LANES = 16  # floats of the widest vectors of a processor


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
            chosen = {name: _pooled(x, pooling) if len(x.shape) == 4 else x for name, x in chosen.items()}
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
        step = checked_batch_size(batch_size)
        parts = [x[i : i + step] for i in range(0, max(len(x), 1), step)] if several else [x]
        results = [self.run(self._prepared(part)) for part in parts]
        return {name: np.concatenate([result[name] for result in results]) for name in self.taps}

    def need_preprocess(self) -> None:
        """Raises UsageError where nobody states how pictures become the network's input."""
        if self.preprocess is None:
            raise UsageError(
                f"Nobody states how {self.model.name} wants its pictures prepared.",
                hint="prepare them yourself and use fx.model(x), which takes the network's own input",
            )
        if len(self.model.inputs) != 1 or len(self.model.inputs[0].shape) != 4:
            raise UsageError(
                f"{self.model.name} takes no single pictures.",
                received=", ".join(f"{tensor.name} {tuple(tensor.shape)}" for tensor in self.model.inputs),
                hint="fx.model(x) takes the network's own input",
            )

    def _prepared(self, pictures: Any) -> np.ndarray:
        """The network's own input, (N, H, W, 3), of one picture or several."""
        self.need_preprocess()
        return self.preprocess(pictures)

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Features of a preprocessed batch (N, H, W, 3) in the network's own range, as NumPy arrays.

        The network is traced once, with batch and sides left open, and the same graph serves every later call:
        single pictures and long runs give the same numbers.
        """
        import numpy as np
        import tensorflow as tf

        fixed = self.model.input.shape[0]  # of networks that were exported for one batch size
        if self._run is None:
            spec = tf.TensorSpec([fixed, *self.model.input.shape[1:]], self.model.input.dtype)
            self._run = tf.function(lambda x: self.model(x, training=False), input_signature=[spec])
        # TensorFlow chooses how it multiplies and adds by the number of rows: a lone row is a vector to a dense layer,
        # and means of small batches are split elsewhere. Among multiples of four the bits were found to be the same.
        step = fixed or -(-len(batch) // _ROWS) * _ROWS
        parts = []
        for start in range(0, len(batch), step):
            rows = batch[start : start + step]
            filled = rows if len(rows) == step else np.concatenate([rows, np.repeat(rows[-1:], step - len(rows), 0)])
            result = self._run(tf.convert_to_tensor(filled))
            parts.append({name: np.asarray(result[name], np.float32)[: len(rows)] for name in self.taps})
        return parts[0] if len(parts) == 1 else {n: np.concatenate([part[n] for part in parts]) for n in self.taps}

    def extract(
        self,
        inputs: Any,
        out: str | Path,
        *,
        batch_size: int = 32,
        progress: bool | None = None,
        column: str | None = None,
        restart: bool = False,
        engine: str = "local",
        address: str | None = None,
        workers: int | None = None,
    ) -> Extraction:
        """Features of many pictures into a file, resumable; see `modelzoo.features.extract.extract`."""
        from modelzoo.features.extract import extract

        return extract(
            self,
            inputs,
            out,
            batch_size=batch_size,
            progress=progress,
            column=column,
            restart=restart,
            engine=engine,
            address=address,
            workers=workers,
        )

    def __getstate__(self) -> dict[str, Any]:
        # The network crosses process borders as a .keras archive; the traced function stays behind.
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            self.model.save(path)
            archive = path.read_bytes()
        kept = {k: v for k, v in self.__dict__.items() if k not in ("model", "_run")}
        direct = [layer.name for layer in self.model.layers if uses_direct_kernel(layer)]
        return {**kept, "archive": archive, "direct": direct}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import tempfile

        import keras

        self.__dict__.update({k: v for k, v in state.items() if k not in ("archive", "direct")})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            path.write_bytes(state["archive"])
            self.model = keras.models.load_model(path, compile=False)
        for name in state["direct"]:  # the same kernels give the same bits
            use_direct_kernel(self.model.get_layer(name))
        self._run = None


def _pooled(maps: Any, pooling: str) -> Any:
    """(N, C) of symbolic maps (N, H, W, C)."""
    import keras

    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D()(maps)
    channels = maps.shape[-1]
    odd = -channels % _LANES if channels else 0
    if odd:
        # Means are added up in vectors of channels. Where these reach over the end of a picture's own channels, the
        # bits of a mean depend on its picture's place in the batch.
        maps = keras.ops.pad(maps, [[0, 0], [0, 0], [0, 0], [0, odd]])
    means = keras.layers.GlobalAveragePooling2D()(maps)
    return means[:, :channels] if odd else means


def checked_batch_size(value: Any) -> int:
    """`value`; UsageError unless it is a positive whole number."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError("batch_size is a positive whole number.", received=repr(value))
    return value
