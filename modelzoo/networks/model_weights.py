"""The weights of a Keras model under the names by which weight files may know them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelzoo.networks.array_names import OBJECT_SUFFIX, canonical_kind, scope_key

__all__ = ["ModelWeight", "find_by_structure", "model_weights", "weights_of_layer"]


@dataclass(frozen=True)
class ModelWeight:
    """One weight of a model.

    Attributes:
        name: `layer/kernel`, with the layers around it in front (`backbone/conv1/kernel`); unique in the model.
        path: Keras' own path, which may begin with the model's name.
        variable: the Keras variable.
        layer: the layer whose weight it is; the model itself for weights of its own.
        scopes: keys (see `array_names.scope_key`) of its layer, the likeliest first.
        kinds: what files may call it, the likeliest first (`kernel`, `depthwise_kernel`).
        place: (number among the layer's weights, how many it has), in the order of Keras' HDF5 files.
    """

    name: str
    path: str
    variable: Any
    layer: Any
    scopes: tuple[str, ...]
    kinds: tuple[str, ...]
    place: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(size) for size in self.variable.shape)


def weights_of_layer(layer: Any) -> list[Any]:
    """A layer's weights in the order of Keras' HDF5 files: those that are trained, then the others.

    Which they are is told by the variables, not by `layer.trainable`: a frozen layer keeps its order.
    """
    learns = {id(variable) for owner in layer._flatten_layers() for variable in owner._trainable_variables}
    own = list(layer.weights)
    return [w for w in own if id(w) in learns] + [w for w in own if id(w) not in learns]


def model_weights(model: Any) -> list[ModelWeight]:
    """Every weight of a model once, in the order of its layers.

    Args:
        model: a built keras.Model; nested models are entered, composite layers are not.
    """
    found: list[ModelWeight] = []
    seen: set[int] = set()
    names: set[str] = set()

    def add(layer: Any, chain: tuple[str, ...], weights: Sequence[Any]) -> None:
        for number, variable in enumerate(weights):
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            inside = _inside(variable.path, chain[-1] if chain else "")
            name = "/".join((*chain, *inside))
            if name in names:
                name = variable.path
            while name in names:
                name += "'"
            names.add(name)
            scopes = [scope_key((*chain, *inside[:-1])), scope_key(variable.path.split("/")[:-1])]
            kinds = _kinds(layer, variable)
            found.append(
                ModelWeight(
                    name,
                    variable.path,
                    variable,
                    layer,
                    tuple(dict.fromkeys(scope for scope in scopes if scope)),
                    kinds,
                    (number, len(weights)),
                )
            )

    for layer, chain in _leaves(model, ()):
        add(layer, chain, weights_of_layer(layer))
    add(model, (), [weight for weight in model.weights if id(weight) not in seen])
    return found


def _leaves(model: Any, chain: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    import keras

    for layer in model.layers:
        inner = (*chain, layer.name)
        if isinstance(layer, keras.Model) and layer.layers:
            yield from _leaves(layer, inner)
            direct = layer._trainable_variables + layer._non_trainable_variables
            if direct:
                yield _Direct(layer, direct), inner
        elif layer.weights:
            yield layer, inner


class _Direct:
    """The weights that a nested model has of its own, beside those of its layers."""

    def __init__(self, model: Any, weights: list[Any]) -> None:
        self.name, self.weights, self._trainable_variables = model.name, weights, model._trainable_variables

    def _flatten_layers(self) -> list[Any]:
        return [self]


def _inside(path: str, layer: str) -> tuple[str, ...]:
    """What is behind the layer's own name in a variable's path, the variable's name at least."""
    parts = path.split("/")
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == layer:
            return tuple(parts[at + 1 :])
    return tuple(parts[-1:])


def _kinds(layer: Any, variable: Any) -> tuple[str, ...]:
    kind = canonical_kind(variable.name)
    kinds = [kind]
    if kind == "kernel" and "Depthwise" in type(layer).__name__:
        kinds.insert(0, "depthwise_kernel")
    elif kind == "embeddings":
        kinds += ["kernel"]
    elif kind == "variable":  # a weight that nobody named
        kinds += ["gamma"] if "Scale" in type(layer).__name__ else []
    return tuple(kinds)


# -- names that tell the way through the model's own structure -----------------------------------------------------

_KERAS_3 = re.compile(r"(^|/)vars/\d+$")


def find_by_structure(model: Any, name: str) -> Any | None:
    """The variable to which a name leads that says where it is in the model, not what it is called.

    `layers/dense_1/vars/0` of Keras 3 (the second Dense among the layers, its first weight),
    `model/layer_with_weights-0/kernel/.ATTRIBUTES/VARIABLE_VALUE` of TensorFlow, attributes of subclassed models.

    Args:
        model: a built keras.Model.
        name: as the file has it.

    Returns:
        The variable, or None where the name is of another kind or leads nowhere. Only attributes that hold layers,
        variables, lists and dictionaries are looked at; no property is called.
    """
    if name.endswith(OBJECT_SUFFIX):
        parts = [_unescaped(part) for part in name.removesuffix(OBJECT_SUFFIX).split("/")]
        starts = range(min(len(parts), 3))  # the root's own names in front: `model/`, `model/_functional/`
    elif _KERAS_3.search(name):
        parts = name.split("/")
        starts = range(1)
    else:
        return None
    for start in starts:
        if (found := _follow(model, parts[start:])) is not None:
            return found
    return None


def _unescaped(part: str) -> str:
    """A part of a name in an object-based checkpoint, where `.S` stands for a slash and `..` for a dot."""
    return re.sub(r"\.[.S]", lambda found: "/" if found[0] == ".S" else ".", part)


def _follow(place: Any, parts: Sequence[str]) -> Any | None:
    import keras

    for at, part in enumerate(parts):
        if place is None:
            return None
        if part == "vars" and at == len(parts) - 2 and isinstance(place, keras.Layer):
            return _item(list(place._trainable_variables + place._non_trainable_variables), parts[-1])
        if part == "_functional" and isinstance(place, keras.Model):
            continue
        place = _step(place, part)
    return place if isinstance(place, keras.Variable) else None


def _step(place: Any, part: str) -> Any | None:
    """One step on the way: a layer by number, a list's member, an attribute."""
    import keras

    if isinstance(place, keras.Model):
        if found := re.fullmatch(r"layer_with_weights-(\d+)", part):
            return _item([layer for layer in place.layers if layer.weights], found[1])
        if part in ("layers", "_layer_checkpoint_dependencies", "_layers"):
            return list(place.layers)
        if part == "_operations":
            # A Sequential has its input in front of its layers, although it does not list it.
            inputs = [None] if isinstance(place, keras.Sequential) else []
            return inputs + list(getattr(place, "operations", place.layers))
    if isinstance(place, Mapping):
        return place.get(part, _item(list(place.values()), part))
    if isinstance(place, (list, tuple)):
        return _item(place, part)
    held = vars(place) if isinstance(place, keras.Layer) else {}
    # Keras 2 calls the weight of a depthwise convolution what Keras 3 calls its kernel.
    for attribute in (part, f"_{part}", part.lstrip("_"), part.removeprefix("depthwise_")):
        value = held.get(attribute)
        if isinstance(value, (keras.Layer, keras.Variable, list, tuple, Mapping)):
            return value
    return None


def _item(items: Sequence[Any], part: str) -> Any | None:
    """A member by its number, or by its class in small letters with a number (`batch_normalization_1`)."""
    if part.isdigit():
        return items[int(part)] if int(part) < len(items) else None
    counts: dict[str, int] = {}
    for item in items:
        name = "container" if isinstance(item, (list, tuple, Mapping)) else _snake(type(item).__name__)
        number = counts[name] = counts.get(name, -1) + 1
        if part == (f"{name}_{number}" if number else name):
            return item
    return None


def _snake(name: str) -> str:
    """The name of a class in small letters, as Keras 3 writes it in its files."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
