"""Fine-tuning on Keras' own `fit`: frozen phases on features that are computed once, the others on pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import UsageError
from modelzoo.finetune.checkpoint import Checkpoint
from modelzoo.finetune.feature_cache import FeatureCache
from modelzoo.finetune.heads import Head
from modelzoo.finetune.hooks import Hooks
from modelzoo.finetune.pictures import Batches, ClassFolder
from modelzoo.finetune.precision import set_precision, with_loss_scale
from modelzoo.finetune.rates import LayerwiseOptimizer
from modelzoo.finetune.seeding import seed_generators, seed_layers
from modelzoo.finetune.unfreezing import build_optimizer, check_schedule

if TYPE_CHECKING:
    import numpy as np

    from modelzoo.finetune.backbone import Backbone

__all__ = ["FineTuner", "optimizer_facts"]

_log = logging.getLogger("modelzoo")

_IN_MEMORY = 512 * 2**20  # bytes of prepared pictures that are kept instead of being decoded again each epoch


class FineTuner:
    """A backbone with one tap, a head on it, and how they are trained.

    Args:
        backbone: shared, not copied.
        head: what is put on the tap; its output are logits.
        optimizer: any Keras optimiser, not used yet; None = Adam.
        learning_rate: of the default optimiser.
        factors: {path of a variable: factor of the learning rate}, see `discriminative`.
        loss: a Keras loss on (labels, logits); None = sparse categorical cross-entropy.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
        seed: of the head's weights, of Dropout and of the order of examples.

    Made and fitted under `strategy.scope()`, together with its backbone, it is trained by that strategy.

    Attributes:
        model: keras.Model, the network's own input -> logits.
        head_model: keras.Model, features -> logits; it shares the head with `model`.
        optimizer: one for both.

    Raises:
        UsageError: several taps, or a head that does not take the tap's shape.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        *,
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
        self.backbone, self.head, self.seed, self.precision = backbone, head, seed, precision
        logits = head(backbone.output)
        self.model = keras.Model(backbone.network.input, logits, name=f"{backbone.network.name}_finetuned")
        ours = {id(layer) for layer in backbone.layers}
        self.head_layers = [layer for layer in self.model.layers if id(layer) not in ours and layer.weights]
        self.head_layers += [layer for layer in self.model.layers if id(layer) not in ours and not layer.weights]
        seed_layers(self.head_layers, seed)
        seed_generators(backbone.layers, seed)
        set_precision(self.model, precision)
        features = keras.Input(tuple(backbone.output.shape[1:]), dtype=backbone.output.dtype, name="features")
        self.head_model = keras.Model(features, _again(backbone.output, logits, features), name="head")
        inner = optimizer if optimizer is not None else keras.optimizers.Adam(learning_rate)
        self.optimizer = with_loss_scale(LayerwiseOptimizer(inner, factors or {}), precision)
        self.loss = loss if loss is not None else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._cache: FeatureCache | None = None

    def fit(
        self,
        train: ClassFolder,
        validation: ClassFolder | None = None,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        schedule: Mapping[int, bool | str] | None = None,
        augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
        folder: str | Path | None = None,
        callbacks: Sequence[Any] = (),
        progress: bool | None = False,
    ) -> dict[str, list[float]]:
        """Train, or go on where an interrupted run with the same settings was.

        Args:
            train, validation: pictures with classes.
            epochs: in all, those of the interrupted run included.
            batch_size: pictures in a step.
            schedule: {epoch: True | tap | False}, what is frozen from then on; None = as the backbone is now.
            augment: changes a prepared batch (N, H, W, C); it must return float32 and draw from its generator only.
            folder: where features and the checkpoint (after every epoch) are kept; None = nowhere.
            callbacks: Keras callbacks; they see one training whose epochs count on over the phases.
            progress: bars; None = on a terminal.

        Returns:
            {"loss", "accuracy", "val_loss", "val_accuracy"}: a number an epoch.

        Raises:
            UsageError: numbers or a schedule that make no sense, another number of classes than the head has.
            CheckpointFormatError: the folder holds an interrupted run of other settings.
            ImageError: a file is no picture.
        """
        phases = self._checked(train, validation, epochs, batch_size, schedule)
        kept = None
        history: dict[str, list[float]] = {}
        done = 0
        self._compile(self.model)
        build_optimizer(self.model, self.backbone)
        if folder is not None:
            kept = Checkpoint(Path(folder) / "checkpoint.safetensors", self._settings(train, batch_size, schedule))
            facts = kept.facts()
            if facts is not None:
                kept.restore(self.model)
                done, history = facts["epoch"], facts["history"]
                _log.info("going on after epoch %d of %s", done, kept.path)

        def after_epoch(epoch: int, logs: Mapping[str, Any]) -> None:
            for key, value in logs.items():
                history.setdefault(key, []).append(float(value))
            if kept is not None:
                kept.save(self.model, epoch=epoch + 1, history=history)

        for start, end, frozen in phases:
            self.backbone.freeze(frozen)
            if end <= done:
                continue
            with_features = self.backbone.frozen and augment is None
            if with_features:
                # Its fingerprint is that of the weights as they are now, trained or not.
                self._cache = FeatureCache(self.backbone, None if folder is None else Path(folder) / "features")
            model = self.head_model if with_features else self.model
            self._compile(model)
            batches, held = self._data(train, validation, batch_size, with_features, augment, progress)
            result = model.fit(
                batches.dataset(),
                shuffle=False,
                validation_data=held,
                initial_epoch=max(start, done),
                epochs=end,
                verbose=2 if progress else 0,
                callbacks=[batches.callback(), *callbacks, Hooks(after_epoch=after_epoch)],
            )
            if len(result.epoch) < end - max(start, done):
                break  # a callback ended it
        return history

    def logits(self, pictures: Sequence[Path], *, batch_size: int = 32) -> np.ndarray:
        """(N, classes) float32 of pictures, in their order."""
        import numpy as np

        if not len(pictures):
            return np.zeros((0, self.head.classes), np.float32)
        parts = []
        for start in range(0, len(pictures), batch_size):
            batch = self._prepared(pictures[start : start + batch_size])
            parts.append(np.asarray(self.model.predict_on_batch(batch), np.float32))
        return np.concatenate(parts)

    def _compile(self, model: Any) -> None:
        model.compile(optimizer=self.optimizer, loss=self.loss, metrics=["accuracy"], jit_compile=False)

    def _checked(
        self, train: ClassFolder, validation: Any, epochs: int, batch_size: int, schedule: Any
    ) -> list[tuple[int, int, bool | str]]:
        """What is wrong is said before anything is computed; [(first epoch, end, what is frozen)]."""
        for what, value in (("epochs", epochs), ("batch_size", batch_size)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{what} is a positive whole number.", received=repr(value))
        if len(train.names) != self.head.classes:
            raise UsageError(
                "The head has another number of classes than the pictures.",
                received=f"{self.head.classes} and {len(train.names)}",
            )
        if validation is not None and validation.names != train.names:
            raise UsageError("Training and validation have other classes.", received=", ".join(validation.names)[:200])
        if self.backbone.preprocess is None:
            raise UsageError(f"Nobody states how {self.backbone.name!r} wants its pictures prepared.")
        plan = {0: self.backbone.frozen_until, **(schedule or {})}
        check_schedule(self.backbone, plan)
        starts = sorted(epoch for epoch in plan if epoch < epochs)
        ends = [*starts[1:], epochs]
        return [(start, end, plan[start]) for start, end in zip(starts, ends, strict=True)]

    def _settings(self, train: ClassFolder, batch_size: int, schedule: Any) -> dict[str, Any]:
        import hashlib

        listing = "\n".join(f"{label} {path.name}" for path, label in zip(train.paths, train.labels, strict=True))
        return {
            "backbone": self.backbone.name,
            "tap": list(self.backbone.taps),
            "pooling": self.backbone.pooling,
            "batch norm": self.backbone.batch_norm,
            "head": self.head.as_dict(),
            "seed": self.seed,
            "batch size": batch_size,
            "precision": self.precision,
            "optimizer": optimizer_facts(self.optimizer),
            "schedule": sorted((schedule or {}).items()),
            "set of pictures": hashlib.sha256(listing.encode()).hexdigest(),
        }

    def _prepared(self, pictures: Sequence[Path]) -> np.ndarray:
        assert self.backbone.preprocess is not None
        return self.backbone.preprocess(list(pictures))

    def _data(
        self, train: ClassFolder, validation: ClassFolder | None, size: int, features: bool, augment: Any, progress: Any
    ) -> tuple[Batches, Any]:
        """Batches to train on, and what to validate with, as `fit` takes them."""
        import numpy as np

        inputs = self._features if features else self._pictures
        x = inputs(train, progress)
        labels = np.asarray(train.labels, np.int32)

        def fetch(indices: Sequence[int]) -> tuple[Any, Any]:
            batch = x[indices] if isinstance(x, np.ndarray) else self._prepared([train.paths[n] for n in indices])
            if augment is not None:
                generator = np.random.default_rng([self.seed, batches.epoch, *indices[:1]])
                batch = np.asarray(augment(batch, generator), np.float32)
            return batch, labels[indices]

        batches = Batches(len(train), fetch, size, self.seed)
        if validation is None:
            return batches, None
        held = inputs(validation, progress)
        truth = np.asarray(validation.labels, np.int32)

        def fetch_held(indices: Sequence[int]) -> tuple[Any, Any]:
            some = (
                held[indices]
                if isinstance(held, np.ndarray)
                else self._prepared([validation.paths[n] for n in indices])
            )
            return some, truth[indices]

        return batches, Batches(len(validation), fetch_held, size, self.seed).dataset()

    def _features(self, pictures: ClassFolder, progress: Any) -> np.ndarray:
        assert self._cache is not None
        return self._cache.features(pictures.paths, progress=progress)

    def _pictures(self, pictures: ClassFolder, progress: Any) -> np.ndarray | None:
        """All prepared pictures where they fit into memory; None: decode them batch by batch."""
        first = self._prepared(pictures.paths[:1])
        if first.nbytes * len(pictures) > _IN_MEMORY:
            return None
        import numpy as np

        return np.concatenate([self._prepared(pictures.paths[n : n + 32]) for n in range(0, len(pictures), 32)])


def _again(start: Any, end: Any, features: Any) -> Any:
    """`end` computed from `features` in the place of `start`, by the same layers."""
    import keras

    return keras.Model(start, end)(features) if start is not end else features


def optimizer_facts(optimizer: Any) -> dict[str, Any]:
    """What an optimiser is, without names that depend on how many were made before."""
    config = optimizer.get_config()

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if key not in ("name", "registered_name")}
        return value

    facts = plain(config)
    assert isinstance(facts, dict)
    return facts
