"""modelzoo: pretrained networks of TF-Slim, Caffe, ONNX and Keras as Keras models with named taps.

A registry entry becomes verified bytes, verified bytes become named arrays, named arrays become a
Keras model with named taps, and a model becomes features or a fine-tuned head.

Importing this package imports neither TensorFlow nor NumPy; each name below is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "attach": "modelzoo.attributes",
    "convert": "converters",
    "errors": "modelzoo.errors",
    "fetch": "modelzoo.pretrained",
    "info": "modelzoo.registry",
    "list_models": "modelzoo.registry",
    "load_pretrained": "modelzoo.pretrained",
    "restore": "modelzoo.networks.restore",
}

__all__ = ["__version__", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from converters import convert as convert
    from modelzoo import errors as errors
    from modelzoo.attributes import attach as attach
    from modelzoo.networks.restore import restore as restore
    from modelzoo.pretrained import fetch as fetch
    from modelzoo.pretrained import load_pretrained as load_pretrained
    from modelzoo.registry import info as info
    from modelzoo.registry import list_models as list_models


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelzoo' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(_HOME[name])
    value = module if name == "errors" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
