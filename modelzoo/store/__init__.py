"""Where the bytes are: `Source`s (URLs, size, digests) come in, folders of verified, read-only files go out.

A file becomes visible only by a rename after its digest matched, whatever is killed, cut off or filled up meanwhile;
locks between processes only save work. The store knows nothing of cards, and never runs what it fetches.

Importing the package imports none of its modules, and no module imports requests or tqdm before a download begins.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modelzoo.store.paths import cache_root as cache_root
    from modelzoo.store.policy import Policy as Policy
    from modelzoo.store.source import Fetched as Fetched
    from modelzoo.store.source import Member as Member
    from modelzoo.store.source import PlannedFile as PlannedFile
    from modelzoo.store.source import Source as Source
    from modelzoo.store.store import Store as Store
    from modelzoo.store.upkeep import Entry as Entry
    from modelzoo.store.upkeep import Removal as Removal
    from modelzoo.store.upkeep import Usage as Usage
    from modelzoo.store.upkeep import Verdict as Verdict

_HOME = {
    "Entry": "upkeep",
    "Fetched": "source",
    "Member": "source",
    "PlannedFile": "source",
    "Policy": "policy",
    "Removal": "upkeep",
    "Source": "source",
    "Store": "store",
    "Usage": "upkeep",
    "Verdict": "upkeep",
    "cache_root": "paths",
}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelzoo.store' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"modelzoo.store.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
