"""From a fine-tuned model's card back to the model: the base network, blank, a head, and one file of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import RegistryFormatError, UsageError, WeightsMismatchError
from modelzoo.finetune.backbone import Backbone
from modelzoo.finetune.heads import LOGITS, Head

if TYPE_CHECKING:
    import keras

    from modelzoo.registry import Card

__all__ = ["build_finetuned", "load_folder"]


def build_finetuned(
    card: Card,
    path: Path | None,
    *,
    input_shape: Any = None,
    include_top: bool = True,
    classes: int | None = None,
    pooling: str | None = None,
    fetch: Callable[[Card], Any] | None = None,
    **_: Any,
) -> keras.Model:
    """Build the model of a card that `write_result` wrote. `pretrained` calls it for `build.network = "finetuned"`.

    Args:
        card: of the fine-tuned model.
        path: of its safetensors, files that a converter needs lie beside it; None = an untrained head, on a base
            that is untrained too where it is a network of ours.
        input_shape: (H, W, C) instead of the one it was trained with, where the base network takes it.
        include_top, classes, pooling: only their defaults: the head is part of the model.
        fetch: brings the files of the base's card, where a converter needs them.

    Returns:
        The network's own input -> logits; with a head over sequences {"steps", "lengths"} or steps alone -> logits.
        `taps` are those of the base before the head, and `Logits`.

    Raises:
        UsageError: arguments that it does not take.
        RegistryFormatError: the card does not say base, tap and head.
        WeightsMismatchError: the file does not fit; all names are listed.
    """
    if not include_top or classes is not None or pooling is not None:
        raise UsageError(
            f"{card.name!r} was trained as a whole, head included.",
            received=f"include_top={include_top}, classes={classes}, pooling={pooling!r}",
            hint="fine-tune its base for another head; features=[TAP] gives what is before the head",
        )
    base, args = _description(card)
    head = Head.from_dict(args["head"])
    from modelzoo.networks.blank import blank_weights

    with nullcontext() if path is None else blank_weights():
        network = _base(base, args["base"], path, input_shape, fetch)
        backbone = Backbone(network, tap=args["tap"], pooling=args.get("pooling"), freeze=False)
        model = _model(backbone, head, args.get("sequence"), card.name.replace("/", "."))
    if path is not None:
        _assign(model, path)
    taps = _taps(network, model)
    names = {**getattr(network, "source_names", {}), LOGITS: "Logits"}
    for attribute, value in (("taps", taps), ("source_names", names)):
        object.__setattr__(model, attribute, value)
    return model


def load_folder(folder: str | Path) -> keras.Model:
    """The model of a result folder, wherever it was moved to, with `preprocess`, `labels`, `decode` and `card`.

    Raises:
        RegistryFormatError, RegistryError: the folder has no card of a fine-tuned model.
        UsageError, WeightsMismatchError, CheckpointError: see `build_finetuned`.
    """
    from modelzoo.attributes import attach_card
    from modelzoo.finetune.result import CARD, NETWORK, WEIGHTS
    from modelzoo.registry import load_registries

    root = Path(folder).expanduser()
    (registry,) = load_registries([root / CARD], environment=False, builtin=False).registries
    found = [name for name, raw in registry.models.items() if raw.get("build", {}).get("network") == NETWORK]
    if len(found) != 1:
        raise RegistryFormatError("The folder holds no card of one fine-tuned model.", received=str(root))
    card = registry.card(found[0])
    model = build_finetuned(card, root / WEIGHTS)
    attach_card(model, card, input_shape=None, head="own", folder=root)
    return model


def _model(backbone: Backbone, head: Head, sequence: Any, name: str) -> Any:
    import keras

    if sequence is None:
        return keras.Model(backbone.network.input, head(backbone.output), name=name)
    from modelzoo.finetune.over_time import through_time

    try:
        steps, masked = sequence["steps"], bool(sequence["masked"])
    except (KeyError, TypeError):
        raise RegistryFormatError(
            f"The card of {name!r} does not say how long its sequences are.",
            received=repr(sequence)[:200],
            hint="build.args.sequence holds steps and masked, as `modelzoo finetune --head rnn` writes them",
        ) from None
    return through_time(backbone, head, steps, masked=masked, name=name)[0]


def _description(card: Card) -> tuple[Card, Mapping[str, Any]]:
    from modelzoo.registry import Card

    args = card.build.args
    try:
        base = args["base"]
        found = Card.from_dict(base["name"], base["card"])
        _ = args["tap"], args["head"]
    except (KeyError, TypeError):
        raise RegistryFormatError(
            f"Card {card.name!r} does not say of what the fine-tuned model was made.",
            hint="build.args holds base, tap and head, as `modelzoo finetune` writes them",
        ) from None
    return found, args


def _base(base: Card, said: Mapping[str, Any], path: Path | None, input_shape: Any, fetch: Any) -> Any:
    """The base network: blank where it is ours, from its own files where a converter makes it."""
    from modelzoo import pretrained

    builder = pretrained.builder_of(base)
    trained = tuple(said.get("input_shape") or ())
    # The card of a sequence says (T, H, W, C), which is the shape of no picture.
    shape = input_shape if input_shape is not None and len(input_shape) == 3 else trained
    if len(shape) != 3:
        shape = None
    options: dict[str, Any] = {"input_shape": shape, "include_top": True, "classes": None, "pooling": None}
    if base.build.converter is None:
        return builder(base, None, **options)
    bring = fetch or pretrained.fetch_card
    names = list(said.get("files") or ())
    if names and path is None:
        raise UsageError(
            f"The network of {base.name!r} is made of files that lie beside the weights.",
            received="weights=None",
            hint="leave weights out",
        )
    if names and path is not None:
        own = next((n for n in names if Path(n).suffix not in (".prototxt", ".pbtxt")), names[0])
        return builder(base, path.parent / own, graph=lambda: bring(base).files.get("graph"), **options)
    files = bring(base)
    return builder(base, pretrained.weight_file(files), graph=lambda: files.files.get("graph"), **options)


def _assign(model: Any, path: Path) -> None:
    import numpy as np

    from modelzoo.checkpoints import open_checkpoint
    from modelzoo.networks.model_weights import model_weights
    from modelzoo.networks.restore import assign

    weights = {weight.name: weight for weight in model_weights(model)}
    with open_checkpoint(path) as arrays:
        missing = [name for name in weights if name not in arrays]
        unexpected = [name for name in arrays if name not in weights]
        mismatched = [
            f"{name}: file {tuple(arrays.entries[name].shape)}, network {weight.shape}"
            for name, weight in weights.items()
            if name in arrays and tuple(arrays.entries[name].shape) != weight.shape
        ]
        if missing or unexpected or mismatched:
            raise WeightsMismatchError(
                "The weights are not those of the network that the card describes.",
                missing=missing,
                unexpected=unexpected,
                mismatched=mismatched,
            )
        for name, weight in weights.items():
            assign(weight.variable, np.asarray(arrays[name]))


def _taps(network: Any, model: Any) -> dict[str, Any]:
    """The base's taps that the model still computes, and the head's logits."""
    from converters.keras.taps import Tap
    from modelzoo.finetune.walking import layers_before

    inside = {id(layer) for layer in layers_before([model.output])}
    kept = {
        name: tap
        for name, tap in (getattr(network, "taps", None) or {}).items()
        if {id(layer) for layer in layers_before([tap.tensor])} <= inside
    }
    return {**kept, "Logits": Tap("Logits", model.output, True)}
