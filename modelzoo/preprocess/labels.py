"""Class names, and scores turned into them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modelzoo.errors import ArrayError, InputError, nearest
from modelzoo.preprocess.decode import describe

__all__ = ["Labels", "Prediction", "softmax"]

_PACKAGE, _FOLDER, _ENDING = "modelzoo.preprocess", "class_names", ".tsv"
_ALIASES = {
    "imagenet_1000": "imagenet",
    "imagenet_1001": "imagenet",
    "imagenet1k": "imagenet",
    "ilsvrc2012": "imagenet",
}
_SYNSET = re.compile(r"(n\d{8})[ \t]+(.+)")

BACKGROUND = "background"
"""Name of the classes below `offset`: TF-slim's networks with 1001 outputs have it at index 0."""


class Prediction(NamedTuple):
    """One guess.

    Attributes:
        label: name of the class.
        probability: 0..1.
        index: position of the class among the network's outputs, background included.
    """

    label: str
    probability: float
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a guess


@dataclass(frozen=True)
class Labels:
    """The names of a classifier's outputs.

    Attributes:
        names: names of the real classes, in order.
        offset: index of the first of them among the outputs; 1 where index 0 is the background.
        synsets: WordNet identifiers (`n01440764`) beside the names, where the source has them; else empty.
    """

    names: tuple[str, ...]
    offset: int = 0
    synsets: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.names, str) or not all(isinstance(name, str) for name in self.names):
            raise InputError("Labels are a sequence of names.", received=type(self.names).__name__)
        if not isinstance(self.offset, int) or isinstance(self.offset, bool) or self.offset < 0:
            raise InputError("The offset of labels is a number of outputs, 0 or more.", received=repr(self.offset))
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "synsets", tuple(self.synsets))
        if not self.names:
            raise InputError("Labels without a name.", hint="leave the labels out where there are none")
        if self.synsets and len(self.synsets) != len(self.names):
            raise InputError(f"{len(self.synsets)} synsets for {len(self.names)} names.")

    def __len__(self) -> int:
        """The number of outputs: background and classes."""
        return self.offset + len(self.names)

    def __getitem__(self, index: int) -> str:
        """The name of output `index`; IndexError past the end, so that labels can be iterated over."""
        if index < 0 or index >= len(self):
            raise IndexError(index)
        return self.names[index - self.offset] if index >= self.offset else BACKGROUND

    def decode(self, scores: Any, top: int = 5, kind: str = "logits") -> list[list[Prediction]]:
        """The best classes of each picture.

        Args:
            scores: (N, K), (N, 1, 1, K), or (K,) for one picture, real numbers; K is `len(self)`.
            top: how many classes for each picture, at most K.
            kind: `logits` (a softmax in float64 makes them probabilities) or `probabilities` (taken as they are).

        Returns:
            N lists of `Prediction`, the most probable first; among equals the lower index first.

        Raises:
            ArrayError: scores of another shape or number of classes, or with NaN.
            InputError: an unknown `kind`, or `top` below 1.
        """
        if kind not in ("logits", "probabilities"):
            raise InputError(
                f"Scores of the kind {kind!r} cannot be turned into labels.", hint="logits and probabilities can"
            )
        if not isinstance(top, int | np.integer) or isinstance(top, bool) or top < 1:
            raise InputError("`top` is the number of classes to name, 1 or more.", received=repr(top))
        array = np.asarray(scores)
        if array.ndim == 1:
            array = array[None]
        if array.ndim == 4 and array.shape[1:3] == (1, 1):
            # A fully convolutional classifier leaves (N, 1, 1, K).
            array = array.reshape(array.shape[0], array.shape[-1])
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            raise ArrayError("Scores are real numbers of the shape (N, K).", received=describe(scores))
        if array.shape[1] != len(self):
            raise ArrayError(
                f"There are {array.shape[1]} scores a picture and {len(self)} labels.",
                received=describe(array),
                hint=f"the labels have {len(self.names)} names after {self.offset} background outputs",
            )
        values = array.astype(np.float64)
        if np.isnan(values).any() or np.isposinf(values).any():
            raise ArrayError("Scores hold NaN or infinity.", received=describe(array))
        if kind == "logits":
            values = softmax(values)
        order = np.argsort(-values, axis=1, kind="stable")[:, : int(top)]
        return [
            [Prediction(self[int(index)], float(row[index]), int(index)) for index in indices]
            for row, indices in zip(values, order, strict=True)
        ]

    @classmethod
    def load(cls, dataset: str = "imagenet", *, offset: int = 0) -> Labels:
        """The names of a data set that come with the package: `imagenet` (1000 names).

        Args:
            dataset: name of the data set.
            offset: index of the first real class among the outputs, 1 after a background class.

        Raises:
            InputError: no such data set, with the nearest names.
        """
        from importlib import resources

        name = _ALIASES.get(dataset, dataset)
        folder = resources.files(_PACKAGE) / _FOLDER
        known = [entry.name.removesuffix(_ENDING) for entry in folder.iterdir() if entry.name.endswith(_ENDING)]
        if name not in known:
            close = nearest(str(dataset), [*known, *_ALIASES])
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
            raise InputError(f"There are no labels of the data set {dataset!r}.", hint=hint)
        text = (folder / f"{name}{_ENDING}").read_text(encoding="utf-8")
        # Only our own files have remarks; in a user's file a line with # is the name of a class.
        lines = [line for line in text.splitlines() if not line.startswith("# ")]
        return _parse("\n".join(lines), dataset, offset)

    @classmethod
    def imagenet(cls, *, offset: int = 0) -> Labels:
        """The 1000 classes of ILSVRC-2012 with their WordNet synsets; `offset=1` for networks with a background."""
        return cls.load("imagenet", offset=offset)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, offset: int = 0) -> Labels:
        """Names from a text file: one a line, optionally after a WordNet identifier and a tab or space."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The labels {path} cannot be read: {error}.") from error
        return _parse(text, str(path), offset)

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, folder: str | os.PathLike[str] | None = None) -> Labels:
        """Reads the `labels` mapping of a card.

        Args:
            mapping: one of `dataset` (with the package), `names` (inline) and `file` (a text file in `folder`);
                `offset`, 0 if left out; `count`, checked against what is found.
            folder: where `file` lies: the model's fetched files.

        Raises:
            InputError: none of the three, or another number of names than `count` says.
        """
        if not isinstance(mapping, Mapping):
            raise InputError("Labels are described by a mapping.", received=type(mapping).__name__)
        offset = mapping.get("offset") or 0
        names: Sequence[str] | None = mapping.get("names")
        if names:
            labels = cls(tuple(names) if not isinstance(names, str) else names, offset)  # type: ignore[arg-type]
        elif mapping.get("file"):
            if folder is None:
                raise InputError(
                    "The labels are in a file of the model.", received=mapping["file"], hint="fetch it first"
                )
            labels = cls.from_file(Path(folder) / str(mapping["file"]), offset=offset)
        elif mapping.get("dataset"):
            labels = cls.load(mapping["dataset"], offset=offset)
        else:
            raise InputError("Labels need a dataset, names or a file.", received=dict(mapping))
        count = mapping.get("count")
        if count is not None and count not in (len(labels), len(labels.names)):
            raise InputError(f"The card says {count} labels; there are {len(labels.names)}, offset {offset}.")
        return labels


def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(x) over its sum along the last axis, shifted by the maximum so that nothing overflows."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _parse(text: str, name: str, offset: int) -> Labels:
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    matches = [_SYNSET.fullmatch(line) for line in lines]
    if lines and all(matches):
        pairs = [match.groups() for match in matches if match]
        return Labels(tuple(pair[1] for pair in pairs), offset, tuple(pair[0] for pair in pairs))
    if not lines:
        raise InputError(f"The labels {name} are empty.")
    return Labels(tuple(lines), offset)
