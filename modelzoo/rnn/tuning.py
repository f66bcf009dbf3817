"""Fine-tuning over sequences: the features of frozen steps are computed once, unfrozen ones in every epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import ArrayError, UsageError
from modelzoo.finetune.backbone import Backbone
from modelzoo.finetune.feature_cache import fingerprint
from modelzoo.finetune.over_time import LENGTHS, STEPS, through_time
from modelzoo.finetune.pictures import Batches
from modelzoo.finetune.precision import set_precision, with_loss_scale
from modelzoo.finetune.rates import LayerwiseOptimizer
from modelzoo.finetune.seeding import seed_generators, seed_layers
from modelzoo.finetune.training import FineTuner

if TYPE_CHECKING:
    import numpy as np

    from modelzoo.finetune.heads import Head
    from modelzoo.rnn.sequences import Sequences

__all__ = ["SequenceTuner", "raw_steps"]

_IN_MEMORY = 512 * 2**20  # bytes of prepared steps that are kept instead of being made again each epoch


class SequenceTuner(FineTuner):
    """A backbone over every step, a head over the steps' features, and how they are trained.

    Args:
        backbone: with one tap, shared, not copied; `raw_steps(channels)` where the steps are the features.
        head: over sequences, `sequence` or `mean`.
        steps, masked: of the `Sequences` that are trained with: padded length, and whether some are shorter.
        optimizer, learning_rate, factors, loss, precision, seed: see `FineTuner`.

    Attributes:
        model: keras.Model, steps (N, T, ...) and, where masked, lengths (N,) -> logits (N, classes).
        head_model: the same from features (N, T, C); it shares the head with `model`.

    Raises:
        UsageError: several taps, a head that takes no sequences or gives an answer a step, a network of open sizes.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        *,
        steps: int,
        masked: bool = False,
        optimizer: Any = None,
        learning_rate: float = 1e-3,
        factors: Mapping[str, float] | None = None,
        loss: Any = None,
        precision: str = "float32",
        seed: int = 0,
    ) -> None:
        import keras

        if not backbone.single:
            raise UsageError("A head stands on one tap.", received=", ".join(backbone.taps))
        if not isinstance(seed, int) or seed < 0:
            raise UsageError("A seed is a whole number, 0 or more.", received=repr(seed))
        if backbone.preprocess is None:
            backbone.preprocess = _AsTheyAre(backbone.name)
        self.backbone, self.head, self.seed, self.precision = backbone, head, seed, precision
        self.steps, self.masked = steps, masked
        self.model, self.head_model = through_time(
            backbone, head, steps, masked=masked, name=f"{backbone.network.name}_finetuned"
        )
        if len(self.head_model.output.shape) != 2:
            raise UsageError(
                "The head gives an answer at every step, and a sequence has one class.",
                received=f"logits {tuple(self.head_model.output.shape)}",
                hint="leave every_step out; TruncatedBPTT trains on an answer a step",
            )
        self.head_layers = list(self.head_model.layers)
        seed_layers(self.head_layers, seed)
        seed_generators(backbone.layers, seed)
        set_precision(self.model, precision)
        inner = optimizer if optimizer is not None else keras.optimizers.Adam(learning_rate)
        self.optimizer = with_loss_scale(LayerwiseOptimizer(inner, factors or {}), precision)
        self.loss = loss if loss is not None else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._cache = None

    def fit(self, train: Any, validation: Any = None, **options: Any) -> dict[str, list[float]]:
        """Train on sequences, or go on where an interrupted run with the same settings was.

        Args:
            train, validation: `Sequences` of the steps and masking that the model was made for.
            **options: of `FineTuner.fit`: epochs, batch_size (sequences in a step of the optimiser), schedule,
                augment (of prepared steps (N, T, ...)), folder, callbacks, progress.

        Returns:
            {"loss", "accuracy", "val_loss", "val_accuracy"}: a number an epoch.

        Raises:
            UsageError: sequences of another length or number of classes, options that make no sense.
            CheckpointFormatError: the folder holds an interrupted run of other settings.
            ImageError, ArrayError: a step cannot be read, or is of another shape than the network takes.
        """
        for data in (train, validation) if validation is not None else (train,):
            self._fits(data)
        return super().fit(train, validation, **options)

    def logits(self, sequences: Any, *, batch_size: int = 8) -> np.ndarray:
        """(N, classes) float32 of sequences, in their order.

        Raises:
            UsageError: sequences of another length than the model's.
            ImageError, ArrayError: a step cannot be read.
        """
        import numpy as np

        self._fits(sequences)
        if not len(sequences):
            return np.zeros((0, self.head.classes), np.float32)
        kept = self._cache is not None and self.backbone.frozen and self._cache.key == fingerprint(self.backbone)
        fetch = self._inputs(sequences, kept, False)
        model = self.head_model if kept else self.model
        parts = []
        for start in range(0, len(sequences), batch_size):
            x = fetch(range(start, min(start + batch_size, len(sequences))))
            parts.append(np.asarray(model.predict_on_batch(x), np.float32))
        return np.concatenate(parts)

    def _fits(self, data: Sequences) -> None:
        if (data.steps, data.masked and not self.masked) != (self.steps, False):
            raise UsageError(
                "The model was made for sequences of another length.",
                received=f"{data.steps} steps{', masked' if data.masked else ''}",
                hint=f"the model takes {self.steps} steps, {'masked' if self.masked else 'all of them given'}",
            )

    def _settings(self, train: Any, batch_size: int, schedule: Any) -> dict[str, Any]:
        listing = hashlib.sha256()
        for title, label, item in zip(train.titles, train.labels, train.items, strict=True):
            listing.update(f"{label} {title} {len(item)}\n".encode())
            for step in item:
                listing.update(step.name.encode() if isinstance(step, Path) else step.tobytes())
        facts = super()._settings(train.as_folder(), batch_size, schedule)
        facts.pop("set of pictures")
        return {**facts, "steps": self.steps, "masked": self.masked, "set of sequences": listing.hexdigest()}

    def _data(
        self, train: Any, validation: Any, size: int, features: bool, augment: Any, progress: Any
    ) -> tuple[Batches, Any]:
        import numpy as np

        inputs = self._inputs(train, features, progress)
        labels = np.asarray(train.labels, np.int32)

        def fetch(indices: Sequence[int]) -> tuple[Any, Any]:
            x = inputs(indices)
            if augment is not None:
                generator = np.random.default_rng([self.seed, batches.epoch, *indices[:1]])
                given = x[STEPS] if self.masked else x
                changed = np.asarray(augment(given, generator), np.float32)
                x = {**x, STEPS: changed} if self.masked else changed
            return x, labels[list(indices)]

        batches = _SequenceBatches(len(train), fetch, size, self.seed)
        if validation is None:
            return batches, None
        held = self._inputs(validation, features, progress)
        truth = np.asarray(validation.labels, np.int32)
        last = _SequenceBatches(len(validation), lambda some: (held(some), truth[list(some)]), size, self.seed)
        return batches, last.dataset()

    def _inputs(self, data: Sequences, features: bool, progress: Any) -> Callable[[Sequence[int]], Any]:
        """Indices -> a batch as the model takes it, short sequences padded; each distinct step is computed once."""
        import numpy as np

        steps, places = _distinct(data)
        rows: np.ndarray | None = None
        if features:
            rows = self._step_features(steps, progress)
        else:
            first = self._one_step(steps[0])
            if first.nbytes * len(steps) <= _IN_MEMORY:
                rows = np.concatenate([self._prepared(steps[n : n + 32]) for n in range(0, len(steps), 32)])

        def batch(indices: Sequence[int]) -> Any:
            x: np.ndarray | None = None
            for row, n in enumerate(indices):
                own = rows[places[n]] if rows is not None else self._prepared([steps[place] for place in places[n]])
                if x is None:
                    x = np.zeros((len(indices), self.steps, *own.shape[1:]), own.dtype)
                x[row, : len(own)] = own
                # Padding does not count in the head; what the backbone's BatchNorm sees of it are real steps.
                x[row, len(own) :] = own[-1]
            lengths = np.asarray([len(places[n]) for n in indices], np.int32)
            return {STEPS: x, LENGTHS: lengths} if self.masked else x

        return batch

    def _step_features(self, steps: Sequence[Any], progress: Any) -> np.ndarray:
        import numpy as np

        assert self._cache is not None
        self._one_step(steps[0])
        if isinstance(steps[0], Path):
            found = self._cache.features(steps, progress=progress)
        else:
            found = np.concatenate([self._cache._compute(steps[n : n + 64]) for n in range(0, len(steps), 64)])
        # What `vector` does in the model: maps are averaged, the rest is one row.
        return found.mean(axis=(1, 2)) if found.ndim == 4 else found.reshape(len(found), -1)

    def _one_step(self, step: Any) -> np.ndarray:
        """A prepared step, (1, ...).

        Raises:
            ArrayError: the network takes another shape.
        """
        prepared = self._prepared([step])
        wanted = tuple(self.backbone.network.inputs[0].shape[1:])
        if tuple(prepared.shape[1:]) != wanted:
            raise ArrayError(
                f"{self.backbone.name!r} takes steps of another shape.",
                received=str(tuple(prepared.shape[1:])),
                hint=f"each step is {wanted}",
            )
        return prepared


class _AsTheyAre:
    """The preprocessing of a network for which nobody states one: steps are the arrays that it takes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return "as they are"

    def __call__(self, steps: Sequence[Any]) -> np.ndarray:
        import numpy as np

        if isinstance(steps[0], str | Path):
            raise UsageError(f"Nobody states how {self.name!r} wants its pictures prepared.", received=str(steps[0]))
        return np.stack([np.asarray(step) for step in steps])


def raw_steps(*shape: int) -> Backbone:
    """A backbone without weights: each step, an array of this shape, is its own feature.

    Raises:
        UsageError: no positive sizes.
    """
    import keras

    if not shape or any(not isinstance(size, int) or size < 1 for size in shape):
        raise UsageError("A step has positive sizes.", received=repr(shape))
    step = keras.Input(shape, name="step")
    return Backbone(keras.Model(step, keras.layers.Identity(name="same")(step), name="raw"), tap="same")


class _SequenceBatches(Batches):
    """Batches whose inputs may be named."""

    def dataset(self) -> Any:
        import tensorflow as tf

        spec = tf.nest.map_structure(lambda item: tf.TensorSpec((None, *item.shape[1:]), item.dtype), self.fetch([0]))
        data = tf.data.Dataset.from_generator(lambda: iter(self), output_signature=spec).prefetch(1)
        return data.apply(tf.data.experimental.assert_cardinality(len(self)))


def _distinct(data: Sequences) -> tuple[list[Any], list[Any]]:
    """(the steps, each file once; for every sequence the numbers of its steps)."""
    import numpy as np

    steps: list[Any] = []
    known: dict[Path, int] = {}
    places = []
    for item in data.items:
        own = []
        for step in item:
            number = known.setdefault(step, len(steps)) if isinstance(step, Path) else len(steps)
            if number == len(steps):
                steps.append(step)
            own.append(number)
        places.append(np.asarray(own, np.int64))
    return steps, places
