"""A network that writes text character by character: restored, read from, trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import CheckpointFormatError, InputError, UsageError, WeightsMismatchError
from modelzoo.finetune.checkpoint import Checkpoint, write_arrays
from modelzoo.rnn.carried import carried_network
from modelzoo.rnn.truncated import TruncatedBPTT
from modelzoo.rnn.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DESCRIPTION", "WEIGHTS", "CharRNN"]

DESCRIPTION = "char_rnn.json"
"""The file of a saved network that says what it is made of."""

WEIGHTS = "char_rnn.safetensors"

_CHUNK = 512  # characters that are read at once


class CharRNN:
    """A recurrent network from characters to the next character (Graves 2013, arXiv:1308.0850).

    Args:
        vocabulary: the characters that it knows.
        cell: `lstm`, `gru` or `simple`.
        units: width of each recurrent layer.
        embedding: width of a learnt embedding of characters; 0 = one-hot vectors.
        dropout: share of the channels that each recurrent layer does not see while it is trained.
        seed: of initial weights and of dropout.

    Attributes:
        network: `Carried`: {"inputs": (N, T) int32, states} -> {"outputs": logits (N, T, characters), states}.
        model: its keras.Model.

    Raises:
        UsageError: an unknown cell, or sizes that make no sense.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        cell: str = "lstm",
        units: Sequence[int] = (128, 128),
        embedding: int = 0,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        import keras

        from modelzoo.finetune.seeding import seed_layers

        if not 0 <= dropout < 1:
            raise UsageError("Dropout is a share in [0, 1).", received=dropout)
        if not isinstance(embedding, int) or embedding < 0:
            raise UsageError("The width of an embedding is 0 or more.", received=repr(embedding))
        self.vocabulary = vocabulary
        self.facts: dict[str, Any] = {
            "cell": cell,
            "units": [int(width) for width in units],
            "embedding": embedding,
            "dropout": float(dropout),
        }
        self.seed = seed
        characters = keras.Input((None,), dtype="int32", name="inputs")
        if embedding:
            features = keras.layers.Embedding(len(vocabulary), embedding, name="embedding")(characters)
        else:
            features = keras.ops.one_hot(characters, len(vocabulary))
        self.network = carried_network(
            characters,
            features,
            cell=cell,
            units=self.facts["units"],
            outputs=len(vocabulary),
            dropout=dropout,
            # The older form, that of published checkpoints; the newer one only serves cuDNN.
            options={"reset_after": False} if cell == "gru" else None,
            name="char_rnn",
        )
        self.model: Any = self.network.model
        seed_layers(self.model.layers, seed)
        self._run: Any = None

    @classmethod
    def load(cls, path: str | PathLike[str], *, vocabulary: Vocabulary | None = None, **options: Any) -> CharRNN:
        """Restore a network that was saved here, or a TensorFlow 1 checkpoint of a character RNN.

        Args:
            path: a folder, or the prefix of a checkpoint.
            vocabulary: of the checkpoint; None = `vocab.json` beside it.
            **options: of `restore_checkpoint`, where it is a checkpoint: cell, forget_bias.

        Raises:
            CheckpointError: it cannot be read, or holds no such network.
            WeightsMismatchError: arrays and description do not fit.
            InputError: the vocabulary cannot be read.
        """
        place = Path(path).expanduser()
        if (place / DESCRIPTION).is_file():
            return cls._load_saved(place)
        from modelzoo.rnn.char_rnn_checkpoint import restore_checkpoint

        return restore_checkpoint(place, vocabulary, **options)

    @classmethod
    def pretrained(cls, name: str = "char_rnn_shakespeare", **options: Any) -> CharRNN:
        """The network of a card, whose files are fetched first.

        Args:
            name: of a card.
            **options: of `load`, and those of `modelzoo.fetch`: registries, cache, offline, trust_first_use, progress.

        Raises:
            Whatever `modelzoo.fetch` and `load` raise.
        """
        from modelzoo.pretrained import fetch

        own = {key: options.pop(key) for key in ("vocabulary", "cell", "forget_bias") if key in options}
        return cls.load(fetch(name, **options), **own)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write the network; `load` opens the folder.

        Raises:
            DiskError: it cannot be written.
        """
        out = Path(folder).expanduser()
        facts = {**self.facts, "characters": list(self.vocabulary.characters)}
        write_arrays(out / WEIGHTS, self.arrays(), {"format": "keras"})
        from modelzoo.features.files import complete_or_nothing, disk_errors

        with disk_errors(out), complete_or_nothing(out / DESCRIPTION) as beside:
            beside.write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """{name of a weight: its values}."""
        import numpy as np

        from modelzoo.networks.model_weights import model_weights

        return {weight.name: np.asarray(weight.variable) for weight in model_weights(self.model)}

    def assign(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set all weights.

        Raises:
            WeightsMismatchError: names or shapes differ; nothing is changed then.
        """
        from modelzoo.networks.model_weights import model_weights

        weights = {weight.name: weight for weight in model_weights(self.model)}
        missing = [name for name in weights if name not in arrays]
        unexpected = [name for name in arrays if name not in weights]
        mismatched = [
            f"{name}: file {tuple(arrays[name].shape)}, network {weight.shape}"
            for name, weight in weights.items()
            if name in arrays and tuple(arrays[name].shape) != weight.shape
        ]
        if missing or unexpected or mismatched:
            raise WeightsMismatchError(
                "The weights are of another character RNN.",
                missing=missing,
                unexpected=unexpected,
                mismatched=mismatched,
            )
        for name, weight in weights.items():
            weight.variable.assign(arrays[name])

    # -- reading and writing text ---------------------------------------------------------------------------------

    def log_probabilities(self, text: str) -> np.ndarray:
        """(len(text) - 1,) float64: the natural logarithm of each character's probability after those before it.

        Raises:
            InputError: fewer than two characters, or some that the vocabulary does not have.
        """
        import numpy as np

        ids = self.vocabulary.encode(text)
        if len(ids) < 2:
            raise InputError("A text of two characters or more is needed.", received=repr(text))
        state = self.network.zeros(1)
        parts = []
        for start in range(0, len(ids) - 1, _CHUNK):
            some = ids[start : min(start + _CHUNK, len(ids) - 1)]
            logits, state = self._forward(some[None], state)
            scores = np.asarray(logits[0], np.float64)
            top = scores.max(axis=1)
            total = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
            parts.append(scores[np.arange(len(some)), ids[start + 1 : start + 1 + len(some)]] - total)
        return np.concatenate(parts)

    def perplexity(self, text: str) -> float:
        """exp of the mean negative log-probability of each character but the first, the state carried throughout.

        Raises:
            InputError: see `log_probabilities`.
        """
        import math

        return math.exp(-float(self.log_probabilities(text).mean()))

    def generate(self, prefix: str, count: int, *, temperature: float = 1.0, seed: int = 0) -> str:
        """Go on writing.

        Args:
            prefix: what was written before, one character or more.
            count: characters to write.
            temperature: logits are divided by it; below 1 more of the likely characters, 0 the likeliest only.
            seed: of the draws; the same seed writes the same text.

        Returns:
            The `count` characters that follow the prefix.

        Raises:
            InputError: no prefix, or one with characters that the vocabulary does not have.
            UsageError: a count or temperature below 0.
        """
        import numpy as np

        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise UsageError("The number of characters is 0 or more.", received=repr(count))
        if not temperature >= 0 or temperature == float("inf"):
            raise UsageError("The temperature is 0 or more.", received=temperature)
        ids = self.vocabulary.encode(prefix)
        if not len(ids):
            raise InputError("There is nothing to go on from.", received=repr(prefix), hint='a prefix, "\\n" at least')
        generator = np.random.default_rng(seed)
        state = self.network.zeros(1)
        logits: Any = None
        for start in range(0, len(ids), _CHUNK):
            logits, state = self._forward(ids[None, start : start + _CHUNK], state)
        written: list[int] = []
        while len(written) < count:
            scores = np.asarray(logits[0, -1], np.float64)
            if temperature == 0:
                chosen = int(scores.argmax())
            else:
                # Gumbel's trick: the maximum of perturbed logits is a draw from their softmax.
                chosen = int((scores / temperature + generator.gumbel(size=len(scores))).argmax())
            written.append(chosen)
            if len(written) < count:
                logits, state = self._forward(np.asarray([[chosen]], np.int32), state)
        return self.vocabulary.decode(written)

    # -- training -------------------------------------------------------------------------------------------------

    def fit(
        self,
        text: str,
        validation: str | None = None,
        *,
        epochs: int = 1,
        batch_size: int = 20,
        window: int = 50,
        back: int | None = None,
        learning_rate: float = 2e-3,
        optimizer: Any = None,
        clip_norm: float | None = 5.0,
        folder: str | PathLike[str] | None = None,
        progress: bool | None = False,
    ) -> dict[str, list[float]]:
        """Train on, by truncated backpropagation through time, or go on where an interrupted run was.

        Args:
            text: is cut into `batch_size` passages that are read side by side; the state is carried through each.
            validation: a text whose perplexity is measured after each epoch.
            epochs: in all, those of the interrupted run included.
            batch_size: passages.
            window: characters from one update to the next.
            back: characters that a gradient goes back, `window` or more; None = `window`.
            learning_rate: of the default optimiser, Adam.
            optimizer: a Keras optimiser that has not been used; None = Adam.
            clip_norm: the gradient's global norm is cut to it; None = as it is.
            folder: where the checkpoint is kept after every epoch; None = nowhere.
            progress: a bar; None = on a terminal.

        Returns:
            {"perplexity", and "val_perplexity" with a validation text}: a number an epoch. The first is of the
            weights as they were at each character.

        Raises:
            InputError: a text that is too short, or has characters that the vocabulary does not have.
            UsageError: numbers that make no sense.
            CheckpointFormatError: the folder holds a run of other settings.
        """
        import math

        import keras
        from tqdm import tqdm

        inputs, targets = self._passages(text, epochs, batch_size)
        if validation is not None and len(self.vocabulary.encode(validation)) < 2:
            raise InputError("A text of two characters or more is needed.", received=repr(validation))
        if optimizer is not None and optimizer.built:
            raise UsageError("The optimiser has been used already.", received=optimizer.name, hint="pass a new one")
        chosen = optimizer if optimizer is not None else keras.optimizers.Adam(learning_rate)
        settings = self._settings(text, batch_size, window, back, clip_norm, chosen)
        trainer = TruncatedBPTT(self.network, _character_losses, chosen, every=window, back=back, clip_norm=clip_norm)
        self.model.compile(optimizer=chosen, jit_compile=False)
        done, history, kept = 0, dict[str, list[float]](), None
        if folder is not None:
            kept = Checkpoint(Path(folder).expanduser() / "checkpoint.safetensors", settings)
            facts = kept.facts()
            if facts is not None:
                kept.restore(self.model)
                done, history = facts["epoch"], facts["history"]
        disable = None if progress is None else not progress
        for epoch in range(done, epochs):
            with tqdm(total=inputs.shape[1], unit="char", disable=disable, desc=f"epoch {epoch + 1}") as bar:
                loss = trainer.epoch(inputs, targets, after_update=lambda n, bar=bar: bar.update(n - bar.n))  # type: ignore[misc]
            history.setdefault("perplexity", []).append(math.exp(loss))
            if validation is not None:
                history.setdefault("val_perplexity", []).append(self.perplexity(validation))
            if kept is not None:
                kept.save(self.model, epoch=epoch + 1, history=history)
        return history

    def _passages(self, text: str, epochs: int, batch_size: int) -> tuple[Any, Any]:
        """Characters and the ones after them, (passages, L) each."""
        import numpy as np

        for what, value in (("epochs", epochs), ("batch_size", batch_size)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{what} is a positive whole number.", received=repr(value))
        ids = self.vocabulary.encode(text)
        length = (len(ids) - 1) // batch_size
        if length < 1:
            raise InputError(
                f"The text is too short for {batch_size} passages.",
                received=f"{len(ids)} characters",
                hint="a longer text, or a smaller batch_size",
            )
        starts = np.arange(batch_size)[:, None] * length + np.arange(length)
        return ids[starts], ids[starts + 1]

    def _settings(
        self, text: str, batch_size: int, window: int, back: int | None, clip: float | None, optimizer: Any
    ) -> dict[str, Any]:
        import hashlib

        from modelzoo.finetune.training import optimizer_facts

        return {
            "network": self.facts,
            "vocabulary": "".join(self.vocabulary.characters),
            "seed": self.seed,
            "batch size": batch_size,
            "window": window,
            "back": back,
            "clip norm": clip,
            "optimizer": optimizer_facts(optimizer),
            "text": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        }

    def _forward(self, ids: Any, state: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        import tensorflow as tf

        if self._run is None:
            states = {name: tf.TensorSpec((None, width), tf.float32) for name, width in self.network.widths.items()}
            self._run = tf.function(
                lambda x, before: self.network(x, before),
                input_signature=[tf.TensorSpec((None, None), tf.int32), states],
            )
        return self._run(tf.convert_to_tensor(ids, tf.int32), dict(state))

    @classmethod
    def _load_saved(cls, folder: Path) -> CharRNN:
        import numpy as np

        from modelzoo.checkpoints import open_checkpoint

        try:
            facts = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
            vocabulary = Vocabulary(facts.pop("characters"))
            network = cls(vocabulary, **facts)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointFormatError(
                "The description of a character RNN is damaged.", received=f"{folder / DESCRIPTION}: {error}"
            ) from error
        with open_checkpoint(folder / WEIGHTS) as arrays:
            network.assign({name: np.asarray(arrays[name]) for name in arrays})
        return network


def _character_losses(targets: Any, logits: Any) -> Any:
    import tensorflow as tf

    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)
