"""The project as an `onnx.backend.base.Backend`: what ONNX's own test-suite runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

from converters.function import GraphFunction, load
from converters.function.values import as_numpy

__all__ = ["FunctionBackend", "FunctionRep", "prepare", "run_model", "supports_device"]


class FunctionRep(BackendRep):
    """A model ready to run through `converters.function`."""

    def __init__(self, function: GraphFunction) -> None:
        self.function = function

    def run(self, inputs: Sequence[Any] | Mapping[str, Any], **kwargs: Any) -> list[Any]:
        """Run on inputs in the graph's order (those with initialisers last, if at all) or by name; NumPy out."""
        if not isinstance(inputs, Mapping):
            names = (*self.function.input_names, *self.function.optional_names)
            inputs = dict(zip(names, inputs, strict=False))
        outputs = self.function(inputs)
        return [as_numpy(outputs[name]) for name in self.function.output_names]


class FunctionBackend(Backend):
    """ONNX models through the operator table, on the CPU."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> FunctionRep:
        return FunctionRep(load(model))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> list[Any]:
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        arrays = [np.asarray(item) for item in inputs]
        names = [name for name in node.input if name]
        infos = [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in zip(names, arrays, strict=True)
        ]
        outs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", infos, outs)
        return cls.prepare(onnx.helper.make_model(graph), device).run(dict(zip(names, arrays, strict=True)))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"


prepare = FunctionBackend.prepare
run_model = FunctionBackend.run_model
supports_device = FunctionBackend.supports_device
