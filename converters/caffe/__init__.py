"""Caffe front end: prototxt and caffemodel in, hub graph of standard ONNX operators out.

Every blob is a tensor of its own name, with the value that it has in the end. A layer type of your own becomes known by
`layer_type`, which registers a function of (builder, layer, *bottoms) that returns the tops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from converters.caffe.layer import Layer, layer_type

if TYPE_CHECKING:
    from converters.caffe.builder import Builder, Value
    from converters.caffe.graph import load_caffe
    from converters.caffe.network import Network, read_network
    from converters.caffe.translate import translate

__all__ = ["Builder", "Layer", "Network", "Value", "layer_type", "load_caffe", "read_network", "translate"]

_HOMES = {
    "Builder": "builder",
    "Network": "network",
    "Value": "builder",
    "load_caffe": "graph",
    "read_network": "network",
    "translate": "translate",
}


def __getattr__(name: str) -> Any:
    # onnx and protobuf are imported only when a network is read.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"converters.caffe.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
