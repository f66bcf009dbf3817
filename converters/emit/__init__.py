"""Keras models as files that others read: Python source with safetensors, LiteRT, ONNX.

In comes a functional `keras.Model` of stock layers; out goes a file that is whole or not there. No text that comes
from a model's file is ever run or written as code: names are quoted, identifiers are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.emit.litert import write_litert
    from converters.emit.onnx import write_onnx
    from converters.emit.python_source import write_python

__all__ = ["write_litert", "write_onnx", "write_python"]

_HOMES = {"write_litert": "litert", "write_onnx": "onnx", "write_python": "python_source"}


def __getattr__(name: str) -> Any:
    # TensorFlow is imported only when somebody asks for a writer.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"converters.emit.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
