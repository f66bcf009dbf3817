"""TensorFlow graphs (GraphDef, SavedModel, MetaGraph) -> callables and Keras models whose weights can be trained.

In comes a frozen graph, a SavedModel folder or a MetaGraph with its checkpoint; out goes a `GraphModule`. Only
operators of an allow-list are run, functions of the graph's library included; constants and variables of the file
become variables; any tensor of the graph is a tap under its own name. Restoring operators are read, never run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.tensorflow.appearance import is_tensorflow
    from converters.tensorflow.conversion import convert_graph, export_graph, keras_graph
    from converters.tensorflow.module import GraphModule, load

_HOME = {
    "GraphModule": "module",
    "convert_graph": "conversion",
    "export_graph": "conversion",
    "is_tensorflow": "appearance",
    "keras_graph": "conversion",
    "load": "module",
}

__all__ = ["GraphModule", "convert_graph", "export_graph", "is_tensorflow", "keras_graph", "load"]


def __getattr__(name: str) -> Any:
    # TensorFlow is imported only when somebody asks for a model.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"converters.tensorflow.{_HOME[name]}"), name)
