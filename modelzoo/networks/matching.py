"""Which array of a file belongs to which weight of a model."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelzoo.checkpoints import Checkpoint
from modelzoo.checkpoints.keras_layers import saved_layers
from modelzoo.checkpoints.object_graph import names_in_model
from modelzoo.networks.array_names import (
    ArrayName,
    array_name,
    canonical_kind,
    is_training_leftover,
    natural_key,
    prefer_averages,
)
from modelzoo.networks.model_weights import ModelWeight, find_by_structure, model_weights, weights_of_layer

__all__ = ["Arrays", "by_name", "by_order", "take_arrays"]

_KINDS_IN_ORDER = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "embeddings", "gamma", "beta",
                   "bias", "mean", "variance")  # fmt: skip


@dataclass(frozen=True)
class Arrays:
    """The arrays of a file that may be weights.

    Attributes:
        sources: name of a variable -> name of the array to take for it (its moving average where there is one).
        names: name of a variable -> what it is called for the matching (`rename` comes in between).
        layers: the file's own list of layers and their arrays, where it has one.
        ordered: whether the file keeps its arrays in the order in which they were given.
        ignored: names that are no weights.
        dropped: names that `rename` leaves out.
    """

    sources: dict[str, str]
    names: dict[str, str]
    layers: list[tuple[str, list[str]]] | None
    ordered: bool
    ignored: tuple[str, ...]
    dropped: tuple[str, ...] = ()


def take_arrays(arrays: Mapping[str, Any], rename: Callable[[str], str | None] | None = None) -> Arrays:
    """Sort a file's arrays into weights and what training left behind.

    Args:
        arrays: a checkpoint, or any mapping from names to arrays.
        rename: from a variable's name in the file to the name that is looked for; None = none of the model's.
    """
    in_model = names_in_model(arrays) if isinstance(arrays, Checkpoint) else {}
    entries = getattr(arrays, "entries", None)
    texts = {name for name, entry in entries.items() if entry.dtype == "string"} if entries is not None else set()
    ignored = [name for name in arrays if name in texts or is_training_leftover(in_model.get(name, name))]
    skipped = set(ignored)
    sources = prefer_averages(name for name in arrays if name not in skipped)
    names: dict[str, str] = {}
    dropped: list[str] = []
    for name in list(sources):
        plain = in_model[name] if name in in_model and is_training_leftover(name) else name
        new = rename(plain) if rename is not None else plain
        if new is None:
            dropped.append(sources.pop(name))
        else:
            names[name] = new
    ordered = getattr(arrays, "format", "mapping") in ("mapping", "npz", "npy")
    return Arrays(sources, names, saved_layers(arrays), ordered, tuple(ignored), tuple(dropped))


# -- by name ----------------------------------------------------------------------------------------------------------


def by_name(model: Any, arrays: Arrays, *, caffe: bool = False) -> tuple[list[tuple[ModelWeight, str]], list[str]]:
    """Pairs of weights and arrays that mean the same.

    The surest way goes first: equal names, the place in the model's structure, layer and kind; then the same with
    scopes in front that only one side has. A step pairs only what it finds exactly once on both sides.

    Returns:
        (weight, name of the variable in the file) in the model's order, and the file's variables that nobody wants.
    """
    weights = model_weights(model)
    pairs: dict[int, str] = {}  # number of the weight -> name
    left = dict(arrays.names)

    def pair(number: int, name: str) -> None:
        pairs[number] = name
        del left[name]

    known: dict[str, int] = {}
    for at, weight in enumerate(weights):
        known.setdefault(weight.path, at)
    known.update({weight.name: at for at, weight in enumerate(weights)})
    own_names = getattr(model, "variable_names", None) or {}
    known.update({own_names[w.path]: at for at, w in enumerate(weights) if w.path in own_names})
    for name, wanted in list(left.items()):
        place = known.get(wanted, known.get(re.sub(r":\d+$", "", wanted)))
        if place is not None and place not in pairs:
            pair(place, name)

    by_variable = {id(weight.variable): number for number, weight in enumerate(weights)}
    for name, wanted in list(left.items()):
        place = by_variable.get(id(find_by_structure(model, wanted)))
        if place is not None and place not in pairs:
            pair(place, name)

    layer_of = {name: layer for layer, names in arrays.layers or [] for name in names}
    meanings = {
        name: array_name(wanted, layer_of.get(name) if wanted == name else None) for name, wanted in left.items()
    }
    for keys_of_weight, keys_of_array in _steps(weights, meanings, caffe):
        wanted_by: dict[Any, list[int]] = defaultdict(list)
        for number, weight in enumerate(weights):
            if number not in pairs:
                for key in keys_of_weight(weight):
                    wanted_by[key].append(number)
        offered: dict[Any, list[str]] = defaultdict(list)
        for name in left:
            for key in keys_of_array(meanings[name]):
                offered[key].append(name)
        for key, numbers in wanted_by.items():
            names = [name for name in offered.get(key, ()) if name in left]
            numbers = [number for number in numbers if number not in pairs]
            if len(names) == 1 and len(numbers) == 1:
                pair(numbers[0], names[0])
    return [(weights[number], pairs[number]) for number in sorted(pairs)], list(left)


_Keys = Callable[[Any], Iterable[Any]]


def _steps(
    weights: Sequence[ModelWeight], meanings: Mapping[str, ArrayName], caffe: bool
) -> Iterable[tuple[_Keys, _Keys]]:
    """(keys of a weight, keys of an array) of each step; equal keys mean the same."""
    counts: dict[str, int] = defaultdict(int)  # arrays that have only a number, by scope
    for meaning in meanings.values():
        if meaning.kinds[0].isdigit():
            for scope in meaning.scopes:
                counts[scope] += 1

    def kinds(weight: ModelWeight, scope: str) -> Iterable[str]:
        yield from weight.kinds
        number, count = weight.place
        # Numbers are trusted where they can only mean Keras' own order; Caffe's BatchNorm has another.
        plain = weight.kinds[-1] in ("kernel", "bias", "alpha", "embeddings")
        if plain or (not caffe and counts.get(scope) == count):
            yield str(number)

    def last(key: str) -> str:
        return key.rpartition("/")[2]

    def of_weight(number: int) -> _Keys:
        return lambda w: [(scope, kind) for scope in w.scopes[number : number + 1] for kind in kinds(w, scope)]

    def of_array(number: int) -> _Keys:
        return lambda a: [(scope, kind) for scope in a.scopes for kind in a.kinds[number : number + 1]]

    for kind_number in (0, 1, 2):  # first what the name says outright, then what it may also mean
        for scope_number in (0, 1):
            yield of_weight(scope_number), of_array(kind_number)
    # Words are parted otherwise: `Mixed_3b/Branch_0` and the layer `Mixed_3b.Branch_0`.
    yield (
        lambda w: {(_flat(scope), kind) for scope in w.scopes for kind in kinds(w, scope)},
        lambda a: {(_flat(scope), kind) for scope in a.scopes for kind in a.kinds},
    )
    # A scope in front of the file's names (`vgg_16/conv1`), then one in front of the model's (`backbone/conv1`).
    yield (
        lambda w: {(_flat(scope), kind) for scope in w.scopes for kind in kinds(w, scope)},
        lambda a: {(_flat(end), kind) for scope in a.scopes for end in _ends(scope) for kind in a.kinds},
    )
    yield (
        lambda w: {(_flat(end), kind) for scope in w.scopes for end in _ends(scope) for kind in kinds(w, scope)},
        lambda a: {(_flat(scope), kind) for scope in a.scopes for kind in a.kinds},
    )


def _flat(key: str) -> str:
    return key.replace("/", "_")


def _ends(key: str) -> list[str]:
    """The key and what is left of it without its first scopes."""
    parts = key.split("/")
    return ["/".join(parts[at:]) for at in range(len(parts))]


# -- by order ---------------------------------------------------------------------------------------------------------


def by_order(
    model: Any, arrays: Arrays, is_wanted: Callable[[str], bool]
) -> tuple[list[tuple[ModelWeight, str]], list[str]]:
    """The first weight gets the first array, and so on, whatever they are called.

    The model's order is that of its layers, in each what is trained first. The file's is that of its layers where it
    lists them, else of its arrays where the format keeps their order, else that of their names, numbers counted.

    Args:
        is_wanted: whether a name, of a weight or of a variable in the file, takes part.

    Returns:
        As `by_name`; pairs end where either side does.
    """
    weights = {id(weight.variable): weight for weight in model_weights(model)}
    ordered: list[ModelWeight] = []
    for variable in [variable for layer in model.layers for variable in weights_of_layer(layer)] + list(model.weights):
        weight = weights.pop(id(variable), None)
        if weight is not None and is_wanted(weight.name) and is_wanted(weight.path):
            ordered.append(weight)
    names = [name for name in _order(arrays) if is_wanted(name)]
    pairs = list(zip(ordered, names, strict=False))
    return pairs, names[len(pairs) :]


def _order(arrays: Arrays) -> list[str]:
    if arrays.layers is not None:
        listed = [name for _, names in arrays.layers for name in names if name in arrays.sources]
        return listed + [name for name in arrays.sources if name not in set(listed)]
    if arrays.ordered:
        return list(arrays.sources)

    def key(name: str) -> Any:
        scope, _, last = name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").rpartition("/")
        kind = canonical_kind(re.sub(r":\d+$", "", last))
        known = kind in _KINDS_IN_ORDER
        return natural_key(scope), _KINDS_IN_ORDER.index(kind) if known else math.inf, natural_key(last)

    return sorted(arrays.sources, key=key)
