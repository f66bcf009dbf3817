"""Other people's models as TensorFlow: front ends read a format into a hub graph, lowerings make TensorFlow of it.

In comes a file of another framework, out goes a Keras model, a function or a SavedModel with the source's own names.
Nothing a file brings along is ever run. Importing this package imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.conversion import convert as convert

__all__ = ["convert"]


def __getattr__(name: str) -> Any:
    if name == "convert":
        from converters.conversion import convert

        return convert
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
