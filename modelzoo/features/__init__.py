"""Features: named values inside a network (taps), from one picture, from many, or into a file.

`FeatureExtractor` is what `modelzoo.load_pretrained(..., features=[...])` returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["FeatureExtractor", "TapInfo", "describe_taps", "extract"]

if TYPE_CHECKING:
    from modelzoo.features.extract import extract as extract
    from modelzoo.features.extractor import FeatureExtractor as FeatureExtractor
    from modelzoo.features.taps import TapInfo as TapInfo
    from modelzoo.features.taps import describe_taps as describe_taps

_HOME = {"FeatureExtractor": "extractor", "TapInfo": "taps", "describe_taps": "taps", "extract": "extract"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelzoo.features' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"modelzoo.features.{_HOME[name]}"), name)
