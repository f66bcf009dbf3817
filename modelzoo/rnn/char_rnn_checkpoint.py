"""TensorFlow 1 checkpoints of character RNNs: `MultiRNNCell` over one-hot vectors or an embedding, and a softmax."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import CheckpointError, InputError, UsageError, WeightsMismatchError
from modelzoo.rnn import tf_cells
from modelzoo.rnn.char_rnn import CharRNN
from modelzoo.rnn.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FORGET_BIAS", "VOCABULARY", "build_char_rnn", "restore_checkpoint"]

FORGET_BIAS = 0.0
"""What the published programs give their `BasicLSTMCell`: tensorflow-char-rnn says `forget_bias=0.0`."""

VOCABULARY = "vocab.json"

_CELL = re.compile(r"(?:.*/)?cell_(\d+)/(basic_lstm_cell|lstm_cell|gru_cell|basic_rnn_cell)/(.+)")
_KINDS = {"basic_lstm_cell": "lstm", "lstm_cell": "lstm", "gru_cell": "gru", "basic_rnn_cell": "simple"}
_PARTS = {
    "lstm": ("kernel", "bias"),
    "simple": ("kernel", "bias"),
    "gru": ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"),
}


def restore_checkpoint(
    path: str | Path, vocabulary: Vocabulary | None = None, *, forget_bias: float = FORGET_BIAS
) -> CharRNN:
    """Make the network that a checkpoint holds.

    Its shape is read off the arrays: cells `cell_0`, `cell_1`, ... of one kind, `softmax_w` and `softmax_b`, and an
    `embedding` where characters are not one-hot. What training left behind (Adam's slots) is passed over.

    Args:
        path: a prefix, a file of it, or the folder.
        vocabulary: None = `vocab.json` in the folder.
        forget_bias: of `BasicLSTMCell`, folded into the biases; the file does not say it.

    Raises:
        CheckpointError: it cannot be read, or holds no such network.
        WeightsMismatchError: its arrays do not fit each other.
        InputError: no vocabulary, or one of another size.
    """
    import numpy as np

    from modelzoo.checkpoints import open_checkpoint

    place = Path(path).expanduser()
    if vocabulary is None:
        beside = (place if place.is_dir() else place.parent) / VOCABULARY
        if not beside.is_file():
            raise InputError(
                "The checkpoint's vocabulary is missing.",
                received=str(beside),
                hint="pass vocabulary=Vocabulary.read(path)",
            )
        vocabulary = Vocabulary.read(beside)
    with open_checkpoint(place) as arrays:
        wanted = [name for name in arrays if not re.search(r"/Adam(_\d+)?$|/(Momentum|RMSProp)(_\d+)?$", name)]
        found = {name: np.asarray(arrays[name]) for name in wanted if _is_ours(name)}
    cell, layers = _layers(found, forget_bias, str(place))
    softmax = [_only(found, part, str(place)) for part in ("softmax_w", "softmax_b")]
    embedding = next((array for name, array in found.items() if name.rpartition("/")[2] == "embedding"), None)
    if softmax[1].shape != (len(vocabulary),):
        raise InputError(
            "The vocabulary is not that of the checkpoint.",
            received=f"{len(vocabulary)} characters, {softmax[1].shape[0] if softmax[1].ndim else 0} outputs",
        )
    network = CharRNN(
        vocabulary,
        cell=cell,
        units=[int(layer[1].shape[0]) for layer in layers],
        embedding=0 if embedding is None else int(embedding.shape[-1]),
    )
    named = {"logits/kernel": softmax[0], "logits/bias": softmax[1]}
    named |= {} if embedding is None else {"embedding/embeddings": embedding}
    for number, values in enumerate(layers, 1):
        inside = f"{cell}_{number}/{'simple_rnn' if cell == 'simple' else cell}_cell"
        named |= dict(zip((f"{inside}/kernel", f"{inside}/recurrent_kernel", f"{inside}/bias"), values, strict=True))
    network.assign(named)
    return network


def _is_ours(name: str) -> bool:
    return bool(_CELL.fullmatch(name)) or name.rpartition("/")[2] in ("softmax_w", "softmax_b", "embedding")


def _layers(found: Mapping[str, np.ndarray], forget_bias: float, place: str) -> tuple[str, list[list[np.ndarray]]]:
    """(the cell, kernel, recurrent kernel and bias of each layer)."""
    parts: dict[int, dict[str, np.ndarray]] = {}
    kinds = set()
    for name, array in found.items():
        match = _CELL.fullmatch(name)
        if match is not None:
            kinds.add(_KINDS[match[2]])
            parts.setdefault(int(match[1]), {})[match[3]] = array
    if len(kinds) != 1 or sorted(parts) != list(range(len(parts))):
        raise CheckpointError(
            "The checkpoint holds no stack of recurrent cells of one kind.",
            received=f"{place}: {', '.join(sorted(kinds)) or 'no cell'}",
            hint="cells are called .../cell_0/basic_lstm_cell/kernel, as tf.contrib.rnn.MultiRNNCell names them",
        )
    (cell,) = kinds
    missing = [f"cell_{n}/{part}" for n in parts for part in _PARTS[cell] if part not in parts[n]]
    if missing:
        raise WeightsMismatchError("The checkpoint lacks arrays of its cells.", missing=missing)
    layers = []
    for number in range(len(parts)):
        arrays = [parts[number][part] for part in _PARTS[cell]]
        if cell == "lstm":
            layers.append(tf_cells.basic_lstm(arrays[0], arrays[1], forget_bias=forget_bias))
        elif cell == "gru":
            layers.append(tf_cells.gru(*arrays))
        else:
            layers.append(tf_cells.basic_rnn(*arrays))
    return cell, layers


def _only(found: Mapping[str, Any], part: str, place: str) -> np.ndarray:
    named = [array for name, array in found.items() if name.rpartition("/")[2] == part]
    if len(named) != 1:
        raise CheckpointError(f"The checkpoint has {len(named)} arrays called {part!r}.", received=place)
    return named[0]


def build_char_rnn(card: Any, path: Path | None, **_: Any) -> Any:
    """The keras.Model of a card whose `build.network` is `char_rnn`; its `char_rnn` attribute is the `CharRNN`.

    `build.args` may say `forget_bias`.

    Raises:
        UsageError: no weights, which say what the network is made of.
        Whatever `restore_checkpoint` raises.
    """
    if path is None:
        raise UsageError(
            f"The shape of {card.name!r} is read off its weights.",
            received="weights=None",
            hint="CharRNN(Vocabulary.of(text)) is an untrained network",
        )
    network = restore_checkpoint(path, **dict(card.build.args))
    object.__setattr__(network.model, "char_rnn", network)
    return network.model
