"""The hub: an ONNX model as an `onnx_ir.Model` that has been checked, sorted and named.

In comes a path or a `ModelProto`; out goes an `onnx_ir.Model` in which every input of every node is produced
before it is read, every node has a name, and initialisers are views of the file's bytes (no copies).
It never computes anything and never runs code that a file brings along.
"""

from converters.graph.loading import load_graph
from converters.graph.naming import tensor_names

__all__ = ["load_graph", "tensor_names"]
