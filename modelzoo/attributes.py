"""What a card says of a model, as the model's attributes: `preprocess`, `labels`, `decode`, `card`, `taps`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import UsageError
from modelzoo.registry import Card, card_to_use

if TYPE_CHECKING:
    import keras

    from modelzoo.preprocess import Labels, Prediction, Preprocess

__all__ = ["attach", "attach_card", "card_labels", "card_preprocess"]


@dataclass(frozen=True)
class _Decoder:
    """`model.decode`: classifier output -> the best classes of each picture, with their probabilities."""

    labels: Labels
    kind: str

    def __call__(self, out: Any, top: int = 5) -> list[list[Prediction]]:
        """The best classes.

        Args:
            out: (N, classes) or (classes,), what the model returned.
            top: how many.

        Returns:
            For each of the N: up to `top` of (label, probability in 0..1, class index), best first.

        Raises:
            ArrayError: `out` is of another shape or number of classes, or holds NaN.
            InputError: `top` is below 1.
        """
        return self.labels.decode(out, top=top, kind=self.kind)


def attach(model: keras.Model, name: str, *, registries: Sequence[str | PathLike[str]] = ()) -> keras.Model:
    """Put `preprocess`, `labels`, `decode`, `card` and `taps` back on a model that was saved and loaded again.

    Args:
        model: e.g. from `keras.models.load_model`; it is changed in place and returned.
        name: of the card it came from.
        registries: see `fetch`.

    Raises:
        UnknownModelError: no registry has the name.
        UsageError: `model` is no Keras model, or one whose input is not known yet.
    """
    import keras

    from modelzoo.networks import APPLICATIONS
    from modelzoo.networks.applications import application_taps
    from modelzoo.networks.slim import find_taps

    card = card_to_use(name, registries=registries)
    if not isinstance(model, keras.Model) or not hasattr(model, "inputs") or not model.inputs:
        raise UsageError(
            "attach takes a Keras model whose input is known.",
            received=type(model).__name__,
            hint="keras.models.load_model(path) of what model.save(path) wrote gives one",
        )
    shape = tuple(model.inputs[0].shape[1:])
    if card.build.network == APPLICATIONS:
        taps = application_taps(model, card.build.args["application"])
        top = model.outputs[0].shape[-1] == (card.outputs[0].classes if card.outputs else None)
    else:
        taps = find_taps(model)
        top = bool(card.outputs) and card.outputs[0].name in taps
    object.__setattr__(model, "taps", taps)
    head = None
    if top or (card.outputs and card.outputs[0].name in taps):
        head = "own" if model.outputs[0].shape[-1] == card.outputs[0].classes else "new"
    attach_card(model, card, input_shape=shape if len(shape) == 3 else None, head=head)
    return model


def attach_card(
    model: keras.Model,
    card: Card,
    *,
    input_shape: tuple[int | None, ...] | None,
    head: str | None,
    folder: Path | None = None,
) -> None:
    """Set the attributes; `head` is the card's "own" classifier, a "new" one, or None without one."""
    labels = card_labels(card, folder) if head == "own" else None
    kind = card.outputs[0].kind if card.outputs else "logits"
    decode = None
    if labels is not None:
        decode = _Decoder(labels, kind)
    elif head == "new":
        from modelzoo.preprocess import Labels

        width = int(model.outputs[0].shape[-1])
        decode = _Decoder(Labels(tuple(f"class {k}" for k in range(width))), kind)
    # Not through Keras' __setattr__: none of these is state of the model.
    for key, value in {
        "card": card,
        "preprocess": card_preprocess(card, input_shape, folder),
        "labels": labels,
        "decode": decode,
    }.items():
        object.__setattr__(model, key, value)


def card_preprocess(
    card: Card, input_shape: Sequence[int | None] | None = None, folder: Path | None = None
) -> Preprocess | None:
    """From pictures to the network's input, as the card says.

    Args:
        card: any card.
        input_shape: (H, W, C) of the network's input, where it is not the card's; None sides leave the card's size.
        folder: the fetched files, where the card's mean picture lies.

    Returns:
        None where the card does not say.
    """
    if not card.inputs or card.inputs[0].preprocess is None:
        return None
    from modelzoo.preprocess import Preprocess, read_mean

    own = card.inputs[0]
    assert own.preprocess is not None
    fields = own.preprocess.as_dict()
    if own.colour and "colour" not in fields:
        fields["colour"] = own.colour
    if "size" not in fields and None not in own.shape[:2]:
        fields["size"] = list(own.shape[:2])
    preprocess = Preprocess.from_card(fields)
    if preprocess.mean_file is not None and folder is not None:
        preprocess = preprocess.with_mean_image(read_mean(folder / preprocess.mean_file))
    if input_shape is not None and None not in input_shape[:2]:
        height, width = (int(side or 0) for side in input_shape[:2])
        preprocess = preprocess.with_size(height, width)
    return preprocess


def card_labels(card: Card, folder: Path | None = None) -> Labels | None:
    """What the classes are called, or None where the card does not say.

    Args:
        card: any card.
        folder: the fetched files, where the card's own file of labels lies; without it such labels are None.
    """
    said = card.labels
    if said is None or not (said.names or said.dataset or (said.file and folder is not None)):
        return None
    from modelzoo.preprocess import Labels

    return Labels.from_dict(said.as_dict(), folder=folder)
