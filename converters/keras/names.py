"""Source names as layer names, and the way back."""

from __future__ import annotations

import re

__all__ = ["LayerNames", "legal_name"]


def legal_name(name: str) -> str:
    """A source name as a Keras layer name: `/` becomes `.`, other characters outside [A-Za-z0-9_.-] become `_`."""
    legal = re.sub(r"[^A-Za-z0-9_.-]", "_", name.replace("/", "."))
    return legal if re.match(r"[A-Za-z0-9.]", legal) else "." + legal


class LayerNames:
    """The names of a model's layers: legal, unique, each leading back to the source.

    Attributes:
        source_names: layer name -> source name.
    """

    def __init__(self) -> None:
        self.source_names: dict[str, str] = {}
        self._folded: set[str] = set()

    def new(self, source: str, part: str | None = None) -> str:
        """A new layer name for a source name, with `.part` behind it for helpers, and a number on collision."""
        wanted = legal_name(source) + (f".{part}" if part else "")
        name, number = wanted, 0
        while name.casefold() in self._folded:  # weights files on Windows and macOS know no case
            number += 1
            name = f"{wanted}_{number}"
        self._folded.add(name.casefold())
        self.source_names[name] = source
        return name

    def drop(self, name: str) -> None:
        """Take a name back: another layer does what this one was made for."""
        self._folded.discard(name.casefold())
        del self.source_names[name]
