"""Cards and registries against the JSON Schema (`schema.json`, draft 2020-12), with errors that a person can act on."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from modelzoo.errors import RegistryFormatError, nearest
from modelzoo.registry.card import DEEPEST
from modelzoo.registry.loading import load_registries
from modelzoo.registry.registry_file import SCHEMA_VERSION, models_of

__all__ = ["schema", "validate_card", "validate_registry"]

_MOST_SHOWN = 160


@functools.cache
def schema() -> Any:
    """The JSON Schema of a registry file; the definition of a card is its `$defs/card`."""
    return json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))


@functools.cache
def _validator(part: str) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator({"$defs": schema()["$defs"], "$ref": f"#/$defs/{part}"})


def validate_card(name: str, raw: Any, *, where: str = "the registry") -> None:
    """Check the card `name`; it returns nothing where all is well.

    Args:
        name: of the card.
        raw: its JSON object.
        where: the registry's place, for the message.

    Raises:
        RegistryFormatError: the message names the card, the field in it, what was found and what is allowed.
    """
    _raise_first("name", name, f"{where}: the name of a card")
    if _deeper(raw, DEEPEST):
        raise RegistryFormatError(f"{where}: card {name!r} is nested more than {DEEPEST} levels deep.")
    _raise_first("card", raw, f"{where}: card {name!r}")


def validate_registry(registry: Any, *, where: str = "the registry") -> None:
    """Check a whole registry.

    Args:
        registry: parsed JSON, or what `load_registries` takes: the path of a file or folder, or a URL.
        where: its place, for the message; a path or URL is its own.

    Raises:
        RegistryFormatError: the first card that is not what the schema says, or an alias that is taken.
        RegistryVersionError: it is written for another major version.
        RegistryError: there is no such file.
    """
    if isinstance(registry, str | os.PathLike):
        for one in load_registries([registry], environment=False, builtin=False).registries:
            validate_registry({"schema_version": SCHEMA_VERSION, "models": one.models}, where=one.location)
        return
    models = models_of(registry, where)
    for name, raw in models.items():
        validate_card(name, raw, where=where)
    refuse_taken_aliases(models, where)


def refuse_taken_aliases(models: Mapping[str, Any], where: str) -> None:
    """Raise RegistryFormatError where an alias is a name or another card's alias too."""
    taken = set(models)
    for name, raw in models.items():
        for alias in raw.get("aliases", ()):
            if alias in taken:
                raise RegistryFormatError(
                    f"{where}: card {name!r} has an alias that is already taken.",
                    received=alias,
                    hint="names and aliases are unique in a registry.",
                )
            taken.add(alias)


def _deeper(value: Any, levels: int) -> bool:
    """Whether arrays and objects lie more than `levels` deep in each other."""
    layer = [value]
    for _ in range(levels):
        layer = [
            item
            for one in layer
            if isinstance(one, Mapping | list | tuple)
            for item in (one.values() if isinstance(one, Mapping) else one)
        ]
        if not layer:
            return False
    return True


def _raise_first(part: str, value: Any, subject: str) -> None:
    from jsonschema.exceptions import best_match

    error = best_match(_validator(part).iter_errors(value))
    if error is None:
        return
    place = _place(error.absolute_path)
    at = f", field {place}" if place else ""
    raise RegistryFormatError(
        f"{subject}{at}: {_sentence(error)}.",
        received=_shown(error.instance),
        hint=_hint(error, part),
    )


def _place(path: Any) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if part.isprintable() else repr(part))
    return text


_KINDS = {
    "object": "a JSON object",
    "array": "a JSON array",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}

_SENTENCES: dict[str, Callable[[Any, Any], str]] = {
    "required": lambda wanted, got: f"lacks {', '.join(repr(name) for name in wanted if name not in got)}",
    "type": lambda wanted, got: (
        "must be "
        + " or ".join(_KINDS.get(kind, f"a {kind}") for kind in ([wanted] if isinstance(wanted, str) else wanted))
    ),
    "enum": lambda wanted, got: "must be one of " + ", ".join(map(repr, wanted)),
    "minimum": lambda wanted, got: f"must be at least {wanted}",
    "maximum": lambda wanted, got: f"must be at most {wanted}",
    "exclusiveMinimum": lambda wanted, got: f"must be more than {wanted}",
    "minLength": lambda wanted, got: "must not be empty",
    "maxLength": lambda wanted, got: f"must have at most {wanted} characters",
    "minItems": lambda wanted, got: f"must have at least {wanted} values, not {len(got)}",
    "maxItems": lambda wanted, got: f"must have at most {wanted} values, not {len(got)}",
    "uniqueItems": lambda wanted, got: "names something twice",
}
"""What a rule of the schema wants, in words: (the rule's value, what was found) -> the end of a sentence."""


def _sentence(error: Any) -> str:
    title = error.schema.get("title")
    if error.validator == "pattern":
        return f"must be {title}"
    if error.validator == "not":
        return f"says {error.validator_value['title']}"
    if error.validator == "additionalProperties":
        return f"has a key that is not known there: {', '.join(map(repr, _unknown(error)))}"
    sentence = _SENTENCES.get(error.validator)
    return sentence(error.validator_value, error.instance) if sentence else "is not what docs/registry.md says"


def _unknown(error: Any) -> list[str]:
    return sorted(set(error.instance) - set(error.schema.get("properties", ())))


def _hint(error: Any, part: str) -> str:
    meant = None
    if error.validator == "enum" and isinstance(error.instance, str):
        meant = nearest(error.instance, [item for item in error.validator_value if isinstance(item, str)], 1)
    elif error.validator == "additionalProperties":
        meant = nearest(_unknown(error)[0], error.schema["properties"], 1)
    if meant:
        return f"did you mean {meant[0]!r}?"
    return _described(part, error.absolute_path) or "docs/registry.md lists the fields of a card."


def _described(part: str, path: Iterable[str | int]) -> str | None:
    """What the schema says of the field at `path`."""
    node: Any = schema()["$defs"][part]
    for step in path:
        node = {**_definition(node), **node}
        node = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, {})
    return node.get("description") or _definition(node).get("description")


def _definition(node: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = node.get("$ref")
    return schema()["$defs"][reference.rpartition("/")[2]] if reference else {}


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    if not text.isprintable():  # a lone surrogate would make the message itself fail
        text = json.dumps(value, default=str)
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."
