"""The join: a name becomes a card, the card files, the files arrays, the arrays a Keras model or feature extractor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.attributes import attach_card
from modelzoo.converted import build_converted, check_converted
from modelzoo.errors import CheckpointError, UnknownNetworkError, UsageError
from modelzoo.registry import Card, card_to_use
from modelzoo.registry.licences import is_accepted, require, terms
from modelzoo.registry.sources import card_sources
from modelzoo.store import Fetched, Source, Store

if TYPE_CHECKING:
    import keras
    import numpy as np

    from modelzoo.features import FeatureExtractor

__all__ = ["builder_of", "fetch", "fetch_card", "load_pretrained", "weight_file"]

_log = logging.getLogger("modelzoo")

CONVERTERS = ("caffe", "onnx", "tensorflow")
"""The converters that cards may ask for."""

LATE_BUILDERS = {
    "char_rnn": "modelzoo.rnn.char_rnn_checkpoint:build_char_rnn",
    "dtln": "modelzoo.rnn.dtln:build_dtln",
    "finetuned": "modelzoo.finetune.loading:build_finetuned",
}
"""Networks that a higher layer builds: found through a text, as the verbs of the command line are."""

Registries = Sequence[str | PathLike[str]]


def fetch(
    name: str,
    *,
    registries: Registries = (),
    cache: str | Path | None = None,
    offline: bool | None = None,
    trust_first_use: bool = False,
    accept_licence: bool = False,
    progress: bool | Callable[[str, int, int | None], None] | None = None,
) -> Fetched:
    """Bring a model's files into the cache, verified, and say where they are.

    Args:
        name: of a card, or an alias.
        registries: files, folders or URLs that are looked at before the built-in registry.
        cache: the cache's folder; None = `MODELZOO_CACHE`, else the platform's place for caches.
        offline: never open a socket; None = as `MODELZOO_OFFLINE` says.
        trust_first_use: take files that nothing strong verifies, and record their digest for the next time.
        accept_licence: you have read the licence of the weights, which restricts their use, and accept it; this is
            recorded, so that it is asked for once.
        progress: a bar (None: only on a terminal), or a function of file name, bytes done and bytes in all.

    Returns:
        `Fetched`: `.path`, the model's folder (it is an os.PathLike), and `.files`, {role: path}.

    Raises:
        UnknownModelError: no registry has the name.
        UsageError: the card has no files to fetch.
        LicenceError: the licence restricts the use of the weights, they are not in the cache, and it was not accepted.
        NetworkError, OfflineError, DigestError, UnpinnedError, ArchiveError, DiskError, CacheError,
        LockTimeoutError: as the names say; see `modelzoo.errors`.
    """
    return fetch_card(
        card_to_use(name, registries=registries),
        cache=cache,
        offline=offline,
        trust_first_use=trust_first_use,
        accept_licence=accept_licence,
        progress=progress,
    )


def fetch_card(
    card: Card,
    *,
    cache: str | Path | None = None,
    offline: bool | None = None,
    trust_first_use: bool = False,
    accept_licence: bool = False,
    progress: Any = None,
) -> Fetched:
    """`fetch` for a card at hand."""
    sources = card_sources(card)
    if not sources:
        raise UsageError(
            f"The card {card.name!r} names no files: nobody published weights for it.",
            received=card.name,
            hint="use a checkpoint of your own: load_pretrained(name, weights=PATH), or weights=None to train it",
        )
    if card.licence == "unknown":
        _log.warning("%s: nobody states the licence of these weights", card.name)
    store = Store(None if cache is None else Path(cache), offline=offline, progress=progress)
    if _to_accept(card, store, sources):
        require(card, accept_licence=accept_licence)
    return store.fetch(card.name, sources, trust_first_use=trust_first_use)


def licence_to_accept(card: Card, *, cache: str | Path | None = None) -> bool:
    """Whether a fetch of the card asks for its licence to be accepted: it restricts the use, and this comes first."""
    return _to_accept(card, Store(None if cache is None else Path(cache)), card_sources(card))


def _to_accept(card: Card, store: Store, sources: Sequence[Source]) -> bool:
    kind = terms(card.licence, card.licence_note).kind
    if kind == "unlisted":
        _log.warning("%s: modelzoo does not know the licence %r: read it before use", card.name, card.licence)
    if kind != "restricted" or is_accepted(card):
        return False
    # A model that was copied here, or is damaged, is known by its name at least.
    return store.locate(card.name, sources) is None and all(entry.key != card.name for entry in store.entries())


def load_pretrained(
    name: str,
    *,
    weights: str | PathLike[str] | None = "card",
    features: Sequence[str] | str | None = None,
    pooling: str | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    include_top: bool = True,
    classes: int | None = None,
    trainable: bool = True,
    registries: Registries = (),
    cache: str | Path | None = None,
    offline: bool | None = None,
    trust_first_use: bool = False,
    accept_licence: bool = False,
    progress: Any = None,
) -> keras.Model | FeatureExtractor:
    """A pretrained network as a Keras model, or as a feature extractor with named taps.

    Args:
        name: of a card, or an alias.
        weights: `"card"` fetches what the card names (once; then the cache has it); a path is a file, a folder or
            a TF checkpoint prefix in any format that a reader knows; None = untrained.
        features: tap names, or `"all"` for the network's end points: a `FeatureExtractor` is returned.
        pooling: `avg` or `max` over height and width: of the taps, or of the last map when `include_top=False`.
        input_shape: (H, W, C) of the network's input, H and W may be None; default: the card's.
        include_top: whether the classifier is part of the model.
        classes: a new classifier of this width, untrained, on the pretrained body.
        trainable: whether the weights are trained; a frozen model also runs its BatchNorm in inference mode.
        registries, cache, offline, trust_first_use, accept_licence, progress: see `fetch`.

    Returns:
        keras.Model: slim networks take (N, H, W, 3) float32 in the card's range and return logits (N, classes); its
        attributes `preprocess`, `labels`, `decode`, `card` and `taps` come from the card. Or a `FeatureExtractor`.

    Raises:
        UnknownModelError, UnknownTapError, UnknownNetworkError: a name nobody knows.
        WeightsMismatchError: the file does not fit the network; all names are listed.
        CheckpointError: the weight file cannot be read.
        UsageError, ArrayError: arguments that contradict each other or the network.
        LicenceError and what else `fetch` raises.
    """
    _check_arguments(weights, features, pooling, include_top)
    card = card_to_use(name, registries=registries)
    builder = builder_of(card)
    options: dict[str, Any] = {
        "input_shape": input_shape if input_shape is not None else _card_shape(card),
        "include_top": include_top,
        "classes": classes,
        "pooling": None if features is not None else pooling,
    }
    _check_network(card, weights, options)
    bring = partial(
        fetch_card,
        cache=cache,
        offline=offline,
        trust_first_use=trust_first_use,
        accept_licence=accept_licence,
        progress=progress,
    )
    if card.build.network in LATE_BUILDERS:
        options["fetch"] = bring
    path: Path | None
    folder: Path | None = None
    if weights is None:
        path = None
    elif weights == "card":
        files = bring(card)
        path, folder = _model_path(card, files), files.path
        options["graph"] = lambda: files.files.get("graph")
    else:
        path = Path(weights).expanduser()
        options["graph"] = lambda: bring(card).files.get("graph")
    model = builder(card, path, **options)
    if not trainable:
        model.trainable = False
    head = None if not include_top else "new" if classes is not None else "own"
    attach_card(model, card, input_shape=input_shape, head=head, folder=folder)
    if features is None:
        return model
    from modelzoo.features import FeatureExtractor

    return FeatureExtractor(
        model, features, pooling=pooling, preprocess=model.preprocess, labels=model.labels, card=card
    )


def _check_arguments(weights: Any, features: Any, pooling: Any, include_top: Any) -> None:
    """Refuse what can be refused before anything is fetched or built."""
    if not (weights is None or (isinstance(weights, (str, PathLike)) and str(weights))):
        raise UsageError('weights is "card", None, or the path of a weight file.', received=repr(weights))
    if pooling not in (None, "avg", "max"):
        raise UsageError("pooling is 'avg', 'max' or None.", received=repr(pooling))
    if not isinstance(include_top, bool):
        raise UsageError("include_top is True or False.", received=repr(include_top))
    names = [features] if isinstance(features, str) else features
    if names is not None and not (isinstance(names, Sequence) and names and all(isinstance(n, str) for n in names)):
        raise UsageError(
            'features is a list of tap names, one name, or "all".',
            received=repr(features),
            hint="modelzoo taps NAME lists them",
        )


def builder_of(card: Card) -> Callable[..., keras.Model]:
    """What makes the model of a card: `builder(card, path, **options)`, with the path of the weights, or None.

    Raises:
        UnknownNetworkError: the card needs a network or converter that this version does not have.
    """
    from modelzoo.networks import KNOWN_NETWORKS

    if card.build.network in KNOWN_NETWORKS and card.build.network not in LATE_BUILDERS:
        return _build_network
    if card.build.converter in CONVERTERS:
        return build_converted
    if card.build.network in LATE_BUILDERS:
        import importlib

        module, _, function = LATE_BUILDERS[card.build.network].partition(":")
        return getattr(importlib.import_module(module), function)
    wanted = card.build.network or card.build.converter
    kind = "network" if card.build.network else "converter"
    raise UnknownNetworkError(
        str(wanted),
        what=f"{card.name!r} needs the {kind} {wanted!r}, which this version of modelzoo does not have.",
        hint=f"its files can be fetched all the same: modelzoo fetch {card.name}",
    )


def _card_shape(card: Card) -> tuple[int | None, ...] | None:
    """(H, W, C) that the card's first input has, or None where the card does not say."""
    if not card.inputs or not card.inputs[0].shape:
        return None
    *sides, channels = card.inputs[0].shape
    return (*sides, 3 if channels is None else channels)


def _check_network(card: Card, weights: Any, options: Mapping[str, Any]) -> None:
    """Refuse arguments that the card's network cannot take before its files are fetched."""
    from modelzoo import networks

    if card.build.converter in CONVERTERS:
        check_converted(card, weights, options)
    if card.build.network in networks.NETWORKS:
        networks.check_arguments(card.build.network, **options, **card.build.args)
    if card.build.network == networks.APPLICATIONS:
        from modelzoo.networks.applications import check_application

        check_application(**options, **card.build.args)


def _build_network(card: Card, path: Path | None, *, graph: Any = None, **options: Any) -> keras.Model:
    from modelzoo import networks

    def build(arrays: Mapping[str, np.ndarray] | None) -> keras.Model:
        make: Any = partial(networks.build, card.build.network or "")
        if card.build.network == networks.APPLICATIONS:
            from modelzoo.networks.applications import build_application as make
        return make(
            arrays=arrays,
            card_classes=card.outputs[0].classes if card.outputs else None,
            name=card.name.replace("/", "."),
            **options,
            **card.build.args,
        )

    if path is None:
        return build(None)
    from modelzoo.checkpoints import open_checkpoint

    with open_checkpoint(path) as arrays:
        return build(arrays)


def _model_path(card: Card, fetched: Fetched) -> Path:
    """What the card's builder opens: a file, or the folder of a SavedModel."""
    graph = fetched.files.get("graph")
    if card.build.converter == "tensorflow" and graph is not None:
        return graph.parent if graph.name.startswith("saved_model.pb") else graph
    return weight_file(fetched)


def weight_file(fetched: Fetched) -> Path:
    """The path that a reader takes: the weights, the index of a TF checkpoint in several files, or a whole graph."""
    for role in ("index", "weights", "graph"):
        if role in fetched.files:
            return fetched.files[role]
    raise CheckpointError(
        "None of the model's files has the role 'weights'.",
        received=", ".join(f"{role}: {path.name}" for role, path in fetched.files.items()),
        hint="mend the card: role 'weights' belongs to the file, or to the archive's member, that holds the numbers",
    )
