"""`Builder`: a hub graph under construction; every value knows its shape, as Caffe's blobs do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper, shape_inference

from converters.graph.naming import CONSTANT
from modelzoo.errors import ConversionError

__all__ = ["OPSET", "Builder", "Value"]

OPSET = 21
"""The operator set that Caffe networks are translated into; onnxruntime has MaxRoiPool up to this one."""

_DOMAINS = {"": OPSET, "ai.onnx.ml": 3}

#: Types whose contents a later shape may depend on.
_SMALL = 64


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph.

    Attributes:
        node: the hub's own value.
        shape: one size for each axis; None where only running the network tells it (Filter, DetectionOutput).
    """

    node: ir.Value
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape, where every size is known."""
        return self.sizes_from(0)

    def sizes_from(self, first: int, end: int | None = None) -> tuple[int, ...]:
        """The sizes of some axes, where they are known."""
        known = tuple(size for size in self.shape[first:end] if size is not None)
        if len(known) != len(self.shape[first:end]):
            raise ConversionError(
                "A layer needs the size of its input, and only running the network tells it.",
                received=f"shape {self.shape}",
                hint="layers behind Filter or DetectionOutput must not depend on the number of rows",
            )
        return known


@dataclass(frozen=True, eq=False)
class _Learned:
    """The initialiser of a learned array: the array in the shape `form`, transposed after that if so."""

    value: Value
    form: tuple[int, ...]
    transposed: bool


class Builder:
    """Operators by name: `g.Conv(x, w, b, strides=[2, 2])` appends a node and returns its `Value`.

    Values, NumPy arrays, numbers and lists can be operands: what is no `Value` becomes a constant (a plain float or int
    takes the type of the first `Value` operand). `outputs=n` returns a tuple of n values; None leaves an operand out.
    Shapes come from ONNX' own inference, node by node.
    """

    def __init__(self, name: str) -> None:
        self.graph = ir.Graph([], [], nodes=[], opset_imports=dict(_DOMAINS), name=name)
        self.layer = ""
        """The layer that is being translated: nodes and constants are called after it."""
        self.batch_is_fixed = False
        """Whether some node holds the number of pictures as a constant."""
        self._count = 0
        self._learned: dict[str, _Learned] = {}

    def __getattr__(self, op: str) -> Any:
        if not op[:1].isupper():
            raise AttributeError(op)

        def append(*operands: Any, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
            return self.op(op, *operands, outputs=outputs, domain=domain, **attributes)

        return append

    def input(self, name: str, shape: Sequence[int], dtype: Any = np.float32) -> Value:
        """A new input of the graph."""
        value = ir.Value(name=name, shape=ir.Shape(list(shape)), type=ir.TensorType(_ir_type(np.dtype(dtype))))
        self.graph.inputs.append(value)
        return Value(value, tuple(shape), np.dtype(dtype))

    def constant(self, array: Any, dtype: Any = None) -> Value:
        """An array that is no weight: shapes, axes, anchors; no training changes it."""
        self._count += 1
        made = self.weight(f"{self.layer}/constant_{self._count}", np.asarray(array, dtype))
        made.node.metadata_props[CONSTANT] = "true"
        return made

    def weight(self, name: str, array: np.ndarray) -> Value:
        """An initialiser; asked for twice under one name it is one tensor (shared parameters).

        Another array of that name, or another shape of it, is a tensor of its own: `fc/0`, `fc/0.2`.
        """
        own, count = name, 1
        while (known := self.graph.initializers.get(own)) is not None and not _is_array(known, array):
            count += 1
            own = f"{name}.{count}"
        if known is None:
            tensor = ir.Tensor(array, name=own)
            known = ir.Value(name=own, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
            self.graph.register_initializer(known)
        return Value(known, tuple(int(size) for size in array.shape), array.dtype)

    def blob(
        self,
        layer: Any,
        index: int,
        shape: Sequence[int],
        filler: Any = None,
        *,
        view: Sequence[int] | None = None,
        transposed: bool = False,
    ) -> Value:
        """The layer's learned array `index` (see `Layer.blob`), in the shape `view` if given, or transposed.

        It is one initialiser in the form that was asked for first; another layer that shares it in another form gets
        it reshaped or transposed by a node, so that training keeps one array.
        """
        name, array = layer.blob(index, shape, filler)
        form = tuple(array.shape if view is None else view)
        known = self._learned.get(name)
        if known is None or math.prod(known.form) != array.size:
            own = np.ascontiguousarray(array.T) if transposed else array.reshape(form)
            value = self.weight(f"{name}.T" if transposed else name, own)
            self._learned.setdefault(name, _Learned(value, form, transposed))
            return value
        if (known.form, known.transposed) == (form, transposed):
            return known.value
        value = self.not_batch(self.Transpose(known.value)) if known.transposed else known.value
        if value.shape != form:
            value = self.not_batch(self.Reshape(value, self.constant(form, np.int64)))
        return self.not_batch(self.Transpose(value)) if transposed else value

    def op(self, op: str, *operands: Any, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Append a node.

        Returns:
            One `Value`, or a tuple of `outputs` of them.

        Raises:
            ConversionError: ONNX' own inference refuses the operands.
        """
        kind = next((item.dtype for item in operands if isinstance(item, Value)), np.dtype(np.float32))
        values = [None if item is None else self._operand(item, kind) for item in operands]
        while values and values[-1] is None:
            values.pop()
        kept = {key: item for key, item in attributes.items() if item is not None}
        results = self._infer(op, domain, values, kept, outputs)
        made = self.node(op, values, [_attribute(key, item) for key, item in kept.items()], results, domain=domain)
        return made[0] if outputs == 1 else tuple(made)

    def node(
        self,
        op: str,
        values: Sequence[Value | None],
        attributes: Sequence[ir.Attr],
        results: Sequence[tuple[tuple[int | None, ...], np.dtype[Any]]],
        *,
        domain: str = "",
    ) -> list[Value]:
        """Append a node of which the shape and type of each result are known."""
        self._count += 1
        stem = f"{self.layer}/{op}_{self._count}"
        inputs = [None if item is None else item.node for item in values]
        node = ir.Node(domain, op, inputs, list(attributes), num_outputs=len(results), name=stem)
        self.graph.append(node)
        made = []
        for index, (out, (shape, dtype)) in enumerate(zip(node.outputs, results, strict=True)):
            out.name = stem if len(results) == 1 else f"{stem}.{index}"
            out.shape = ir.Shape(list(shape))
            out.type = ir.TensorType(_ir_type(dtype))
            made.append(Value(out, shape, dtype))
        return made

    def reshape(self, x: Value, shape: Sequence[int | None]) -> Value:
        """Reshape in C order to the sizes given; where the first axis stays, any number of pictures may come.

        The first size may be None where that of `x` is.
        """
        if x.shape == tuple(shape):
            return x
        target = [0 if size is None else int(size) for size in shape]
        if target and x.rank and x.shape[0] == shape[0]:
            target[0] = 0
        elif x.node.const_value is None:
            self.batch_is_fixed = True
        return self.Reshape(x, self.constant(target, np.int64))

    def not_batch(self, value: Value, axis: int = 0) -> Value:
        """The same value; the graph says nothing of its size on `axis`.

        For a first axis that is as long as the batch and does not count pictures, and for other axes whose size follows
        from their number.
        """
        dims: list[Any] = list(value.node.shape.dims)
        if dims:
            dims[axis] = None
        value.node.shape = ir.Shape(dims)
        return value

    def _operand(self, item: Any, kind: np.dtype[Any]) -> Value:
        if isinstance(item, Value):
            return item
        if isinstance(item, np.ndarray):
            return self.constant(item)
        if isinstance(item, int | float) and not isinstance(item, bool):
            return self.constant(item, kind)
        return self.constant(np.asarray(item, np.int64 if all(isinstance(one, int) for one in item) else kind))

    def _infer(
        self, op: str, domain: str, values: list[Value | None], attributes: dict[str, Any], outputs: int
    ) -> list[tuple[tuple[int | None, ...], np.dtype[Any]]]:
        schema = onnx.defs.get_schema(op, _DOMAINS[domain], domain)
        names = [f"i{index}" if value is not None else "" for index, value in enumerate(values)]
        proto = helper.make_node(op, names, [f"o{index}" for index in range(outputs)], domain=domain)
        for key, item in attributes.items():
            proto.attribute.append(helper.make_attribute(key, item))
        types, data = {}, {}
        for name, value in zip(names, values, strict=True):
            if value is None:
                continue
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            types[name] = helper.make_tensor_type_proto(kind, value.shape)
            constant = value.node.const_value
            if constant is not None and constant.size <= _SMALL:
                data[name] = numpy_helper.from_array(constant.numpy())
        try:
            found = shape_inference.infer_node_outputs(
                schema, proto, types, data, opset_imports=[helper.make_opsetid(key, no) for key, no in _DOMAINS.items()]
            )
        except shape_inference.InferenceError as error:
            raise ConversionError(
                f"Layer {self.layer!r} does not fit its input ({op}: {str(error).strip().splitlines()[-1]})",
                received=", ".join("-" if value is None else str(list(value.shape)) for value in values),
                hint="check the layer's parameters, and the input's shape: inputs={NAME: SHAPE}",
            ) from error
        results = []
        for index in range(outputs):
            if f"o{index}" not in found:
                raise ConversionError(f"The shape of {op} in layer {self.layer!r} is not known.", received=op)
            tensor = found[f"o{index}"].tensor_type
            shape = tuple(axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim)
            results.append((shape, np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))))
        return results


def _is_array(value: ir.Value, array: np.ndarray) -> bool:
    held = value.const_value
    return held is not None and held.shape == ir.Shape(array.shape) and np.array_equal(held.numpy(), array)


def _ir_type(dtype: np.dtype[Any]) -> ir.DataType:
    return ir.DataType.from_numpy(dtype)


def _attribute(name: str, item: Any) -> ir.Attr:
    return ir.AttrFloat32(name, item) if isinstance(item, float) else ir.convenience.convert_attribute(name, item)
