"""A layer as the call of its class that makes it: the arguments that are not the class's own defaults."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from converters.emit.literals import Arguments, Call, literal, quoted
from modelzoo.errors import ConversionError

__all__ = ["LayerArguments", "stock_class"]

#: Arguments that are read without their name where they come first.
_LEADING = frozenset(("cropping", "dims", "padding", "pool_size", "rate", "size", "target_shape"))

#: Modules whose objects a layer's config may hold.
_PUBLIC = {
    "keras": keras,
    "keras.layers": keras.layers,
    "keras.initializers": keras.initializers,
    "keras.regularizers": keras.regularizers,
    "keras.constraints": keras.constraints,
}


def stock_class(layer: Any) -> type:
    """The class of a layer that `keras.layers` has under the same name and that holds no Python of its own.

    Raises:
        ConversionError: it is another class.
    """
    kind = type(layer)
    if getattr(keras.layers, kind.__name__, None) is kind and kind.__name__ not in ("Lambda", "TFSMLayer", "JaxLayer"):
        return kind
    what = "a model in the model" if isinstance(layer, keras.Model) else f"of class {kind.__module__}.{kind.__name__}"
    raise ConversionError(
        f"The layer {layer.name!r} is {what}, which a file of stock Keras layers cannot say.",
        received=kind.__name__,
        hint='convert the model with to="function" or to="savedmodel"',
    )


class LayerArguments:
    """What a layer's class is called with, so that a layer of the same config comes out.

    Attributes:
        config: every argument of the class -> its value, strings, numbers, tuples of them, or `Code`.
        shown: the arguments that must be written; the others follow from these.
        positional: how many of the first of `shown` are written without their name.
    """

    def __init__(self, kind: type, config: dict[str, Any]) -> None:
        config = {key: value for key, value in config.items() if key not in ("name", "build_config")}
        signature = list(inspect.signature(kind.__init__).parameters.values())[1:]  # type: ignore[misc]
        first: list[str] = []
        for parameter in signature:
            required = (
                parameter.default is inspect.Parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            )
            if parameter.name not in config or not (required or (parameter.name in _LEADING and not first)):
                break
            first.append(parameter.name)
        rest = [p.name for p in signature if p.name in config and p.name not in first]
        rest += [key for key in config if key not in first and key not in rest]
        needed = set(first) | {p.name for p in signature if p.default is p.empty and p.name in config}
        needed = _sufficient(kind, config, needed)
        values = {key: _simplified(kind, config, key, needed) for key in (*first, *rest)}
        self.config = {key: _written(value, key) for key, value in values.items()}
        self.shown = [key for key in (*first, *rest) if key in needed]
        self.positional = len(first)

    @classmethod
    def of(cls, layer: Any, known: dict[Any, LayerArguments]) -> LayerArguments:
        """The arguments of a stock layer, its name left out; `known` holds those of layers like it."""
        kind, config = stock_class(layer), layer.get_config()
        key = (kind, repr({name: value for name, value in config.items() if name != "name"}))
        if key not in known:
            try:
                known[key] = cls(kind, config)
            except ConversionError as error:
                error.what = f"The layer {layer.name!r}: {error.what}"
                error.args = (error.what,)
                raise
            except (TypeError, ValueError) as error:
                raise ConversionError(
                    f"The layer {layer.name!r} ({kind.__name__}) cannot be written as Python source.",
                    received=str(error).splitlines()[0][:200],
                    hint='convert the model with to="savedmodel"',
                ) from error
        return known[key]

    def arguments(self) -> Arguments:
        """What must be written, for a layer inside another."""
        return [
            (None if place < self.positional else key, literal(self.config[key]))
            for place, key in enumerate(self.shown)
        ]


def _config(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """The config of the layer that `given` makes, under the default policy."""
    made = kind(**{"dtype": "float32", "name": "layer", **{key: _alive(value) for key, value in given.items()}})
    config = made.get_config()
    return {key: value for key, value in config.items() if key not in ("name", "build_config")}


def _alive(value: Any) -> Any:
    """Objects of Keras' own in a config, made."""
    if isinstance(value, dict) and value.get("module") in _PUBLIC and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    return [_alive(item) for item in value] if isinstance(value, list) else value


def _sufficient(kind: type, config: dict[str, Any], needed: set[str]) -> set[str]:
    """`needed` and what else has to be given for the layer's config to come out."""
    for _ in range(3):
        made = _config(kind, {key: config[key] for key in needed})
        missing = {key for key, value in config.items() if key not in needed and made.get(key) != value}
        if not missing:
            return needed
        needed = needed | missing
    raise ConversionError(
        f"A {kind.__name__} layer does not come out of its own config.", hint='convert it with to="savedmodel"'
    )


def _simplified(kind: type, config: dict[str, Any], key: str, needed: set[str]) -> Any:
    """3 for (3, 3), 1 for ((1, 1), (1, 1)), where the layer is the same."""
    value = config[key]
    if not isinstance(value, tuple | list) or key in ("axis", "target_shape", "output_shape"):
        return value
    flat = keras.tree.flatten(value)
    if not flat or any(item != flat[0] or not isinstance(item, int) for item in flat):
        return tuple(value) if isinstance(value, list) and key != "axis" else value
    try:
        made = _config(kind, {**{item: config[item] for item in needed}, key: flat[0]})
    except (TypeError, ValueError):
        return value
    return flat[0] if made.get(key) == value else value


def _dtype(value: Any) -> str | None:
    """The name of a plain dtype policy; None where it is more than a name."""
    if isinstance(value, dict):
        inner = value.get("config", {})
        return str(inner["name"]) if value.get("class_name") == "DTypePolicy" and set(inner) == {"name"} else None
    return value if isinstance(value, str) else None


def _written(value: Any, key: str) -> Any:
    """A config's value as what is written: objects of Keras become calls of their classes."""
    if key == "dtype" and _dtype(value) is not None:
        return _dtype(value)
    if isinstance(value, dict) and "class_name" in value:
        return _object(value)
    if isinstance(value, dict):
        return {name: _written(item, "") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_written(item, "") for item in value)
    return value


def _object(config: dict[str, Any]) -> Call:
    module, name, inner = config.get("module"), config["class_name"], config.get("config")
    home = _PUBLIC.get(str(module))
    kind = getattr(home, str(name), None)
    if config.get("registered_name") not in (None, name) or not isinstance(kind, type) or not isinstance(inner, dict):
        raise ConversionError(
            f"{name!r} is no object of Keras' own.", received=f"module {module!r}", hint='use to="savedmodel"'
        )
    if module == "keras.layers":
        made = LayerArguments(stock_class(keras.saving.deserialize_keras_object(config)), inner)
        return Call.of(f"layers.{name}", [*made.arguments(), ("name", quoted(inner["name"]))])
    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(kind.__init__).parameters.items()  # type: ignore[misc]
    }
    given: Arguments = [(k, literal(v)) for k, v in inner.items() if k not in defaults or defaults[k] != v]
    return Call.of(f"{module}.{name}", given)
