"""What exists: model cards, where they come from, and how one finds them.

In comes JSON (the built-in `registry.json` and a user's own registries), out come frozen `Card`s. A card is data:
this package never runs anything that a card says, fetches no weights and builds no network. It turns a card's files
into the `Source`s that `modelzoo.store` fetches, and that is as far as it goes.

Importing the package imports none of its modules: each public name is loaded when it is first used, so that `list`
costs no more than reading a small index.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modelzoo.registry.card import (
        Accuracy as Accuracy,
    )
    from modelzoo.registry.card import (
        Build as Build,
    )
    from modelzoo.registry.card import (
        Card as Card,
    )
    from modelzoo.registry.card import (
        File as File,
    )
    from modelzoo.registry.card import (
        Input as Input,
    )
    from modelzoo.registry.card import (
        Labels as Labels,
    )
    from modelzoo.registry.card import (
        Member as Member,
    )
    from modelzoo.registry.card import (
        Output as Output,
    )
    from modelzoo.registry.card import (
        Preprocessing as Preprocessing,
    )
    from modelzoo.registry.card import (
        Provenance as Provenance,
    )
    from modelzoo.registry.card import (
        Url as Url,
    )
    from modelzoo.registry.check import Problem as Problem
    from modelzoo.registry.check import check_entry as check_entry
    from modelzoo.registry.check import check_registry as check_registry
    from modelzoo.registry.index import Summary as Summary
    from modelzoo.registry.loading import Registries as Registries
    from modelzoo.registry.loading import load_registries as load_registries
    from modelzoo.registry.registry_file import Registry as Registry
    from modelzoo.registry.search import card_to_use as card_to_use
    from modelzoo.registry.search import info as info
    from modelzoo.registry.search import list_models as list_models
    from modelzoo.registry.search import summaries as summaries
    from modelzoo.registry.sources import card_sources as card_sources
    from modelzoo.registry.validate import validate_card as validate_card
    from modelzoo.registry.validate import validate_registry as validate_registry

_HOME = {
    "Accuracy": "card",
    "Build": "card",
    "Card": "card",
    "File": "card",
    "Input": "card",
    "Labels": "card",
    "Member": "card",
    "Output": "card",
    "Preprocessing": "card",
    "Problem": "check",
    "Provenance": "card",
    "Registries": "loading",
    "Registry": "registry_file",
    "Summary": "index",
    "Url": "card",
    "card_sources": "sources",
    "card_to_use": "search",
    "check_entry": "check",
    "check_registry": "check",
    "info": "search",
    "list_models": "search",
    "load_registries": "loading",
    "summaries": "search",
    "validate_card": "validate",
    "validate_registry": "validate",
}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelzoo.registry' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"modelzoo.registry.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
