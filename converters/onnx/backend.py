"""The project as an `onnx.backend.base.Backend`: what ONNX's own test-suite runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

from converters.function import GraphFunction, load
from converters.function.values import as_numpy, as_tensor

__all__ = ["FunctionBackend", "FunctionRep", "KerasBackend", "KerasRep", "prepare", "run_model", "supports_device"]


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


class KerasRep(BackendRep):
    """A model ready to run through `converters.keras`, with the source's layout outside."""

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        self.model = model
        self.names = tuple(names)

    def run(self, inputs: Sequence[Any] | Mapping[str, Any], **kwargs: Any) -> list[Any]:
        """Run on inputs in the graph's order or by name; NumPy out."""
        import tensorflow as tf

        from converters.keras.held import channels_last

        given = inputs if isinstance(inputs, Mapping) else dict(zip(self.names, inputs, strict=False))
        fed = {}
        for name in self.model.input_sources:
            array = np.asarray(given[name])
            if self.model.layouts[name] == "channels_last":
                array = array.transpose(channels_last(array.ndim))
            fed[name] = as_tensor(array)
        several = isinstance(self.model.input, Mapping)
        made = self.model(fed if several else next(iter(fed.values())), training=False)
        results = made if isinstance(made, Mapping) else {self.model.output_sources[0]: made}
        return [self._as_in_source(name, as_numpy(tf.convert_to_tensor(value))) for name, value in results.items()]

    def _as_in_source(self, name: str, array: np.ndarray) -> np.ndarray:
        narrow = self.model.narrow_types.get(name)
        array = array if narrow is None else array.astype(np.dtype(getattr(ml_dtypes, narrow)))
        return np.moveaxis(array, -1, 1) if self.model.layouts[name] == "channels_last" else array


class KerasBackend(FunctionBackend):
    """ONNX models as Keras models, on the CPU. Sequences, optionals and open ranks are beyond it."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Any:
        from converters.keras import to_keras

        initial = {item.name for item in model.graph.initializer}
        names = [item.name for item in model.graph.input]
        # Those with an initialiser come last, as for a function: they are not fed.
        return KerasRep(to_keras(model), sorted(names, key=lambda name: name in initial))


prepare = FunctionBackend.prepare
run_model = FunctionBackend.run_model
supports_device = FunctionBackend.supports_device
