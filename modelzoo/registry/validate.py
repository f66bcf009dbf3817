"""Cards and registries against the JSON Schema (`schema.json`, draft 2020-12), with errors that a person can act on."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelzoo.errors import RegistryFormatError, nearest
from modelzoo.registry.loading import check_version

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
    _raise_first("name", name, f"{where}: the name of a card", name)
    _raise_first("card", raw, f"{where}: card {name!r}", raw)


def validate_registry(registry: Any, *, where: str = "the registry") -> None:
    """Check a whole registry, given as parsed JSON.

    Raises:
        RegistryFormatError: the first card that is not what the schema says.
        RegistryVersionError: it is written for another major version.
    """
    if not isinstance(registry, Mapping):
        raise RegistryFormatError(
            f"{where} is not a registry: a JSON object is needed.", received=type(registry).__name__
        )
    check_version(registry.get("schema_version"), where)
    models = registry.get("models")
    if not isinstance(models, Mapping):
        raise RegistryFormatError(
            f"{where} has no `models` object.",
            received=sorted(registry),
            hint='a registry is {"schema_version": 1, "models": {name: card}}.',
        )
    for name, raw in models.items():
        validate_card(name, raw, where=where)


def _raise_first(part: str, value: Any, subject: str, whole: Any) -> None:
    from jsonschema.exceptions import best_match

    try:
        error = best_match(_validator(part).iter_errors(value))
    except RecursionError:
        raise RegistryFormatError(f"{subject} is nested too deeply.") from None
    if error is None:
        return
    place = _place(error.absolute_path)
    at = f", field {place}" if place else ""
    raise RegistryFormatError(
        f"{subject}{at}: {_sentence(error)}.",
        received=_shown(error.instance),
        hint=_hint(error) or "docs/registry.md lists the fields of a card.",
    )


def _place(path: Any) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _sentence(error: Any) -> str:
    """What the schema wants, in words."""
    rule, wanted = error.validator, error.validator_value
    if rule == "required":
        missing = [name for name in wanted if name not in error.instance]
        return f"lacks {', '.join(map(repr, missing))}"
    if rule == "type":
        names = {"object": "a JSON object", "array": "a JSON array", "integer": "a whole number", "null": "null"}
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return "must be " + " or ".join(names.get(kind, f"a {kind}") for kind in kinds)
    if rule == "enum":
        return "must be one of " + ", ".join(map(repr, wanted))
    if rule == "pattern":
        return f"does not have the form {wanted}"
    if rule == "additionalProperties":
        return "has a key that is not known there"
    if rule == "uniqueItems":
        return "names something twice"
    if rule == "not":
        return "says both network and converter, and only one can build it"
    return str(error.message)


def _hint(error: Any) -> str | None:
    if error.validator == "enum" and isinstance(error.instance, str):
        near = nearest(error.instance, [item for item in error.validator_value if isinstance(item, str)], 1)
        return f"did you mean {near[0]!r}?" if near else None
    description = error.schema.get("description") if isinstance(error.schema, Mapping) else None
    return description if isinstance(description, str) else None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."
