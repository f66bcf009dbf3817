"""Channels-first nodes, which TensorFlow has no full set of CPU kernels for, with their channels last in between.

The tensors keep the source's layout and names; TensorFlow's own optimiser cancels what transpositions meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tensorflow.core.framework import graph_pb2, types_pb2

from converters.tensorflow.graph import Node

__all__ = ["add_channels_last", "channels_first"]

#: Operator -> position of the input that lies channels first.
_OPERATORS = {
    "AvgPool": 0,
    "AvgPool3D": 0,
    "BiasAdd": 0,
    "Conv2D": 0,
    "Conv2DBackpropInput": 2,
    "Conv3D": 0,
    "DepthToSpace": 0,
    "DepthwiseConv2dNative": 0,
    "FusedBatchNorm": 0,
    "FusedBatchNormV2": 0,
    "FusedBatchNormV3": 0,
    "MaxPool": 0,
    "MaxPool3D": 0,
    "SpaceToDepth": 0,
}

#: Attributes with one number an axis.
_PER_AXIS = ("dilations", "ksize", "strides")


def channels_first(node: Node) -> bool:
    """Whether a node's pictures or volumes lie channels first."""
    return (
        node.op in _OPERATORS
        and "data_format" in node.attr
        and node.attr["data_format"].s in (b"NCHW", b"NCDHW")
        and len(node.inputs) > _OPERATORS[node.op]
    )


def add_channels_last(
    piece: graph_pb2.GraphDef, node: Node, inner_name: str, inputs: Sequence[str], copy: Callable[[Any], None]
) -> None:
    """Add `node` with its channels last between two transpositions; the second one has its name.

    Args:
        piece: grows by the nodes.
        node: for which `channels_first` holds.
        inner_name: of the node with its channels last, whose further outputs have no layout.
        inputs: what it reads, as `piece` calls it.
        copy: copies the attributes of `node` to a new one.
    """
    flat = node.attr["data_format"].s == b"NCHW"
    rank = 4 if flat else 5
    last = [0, *range(2, rank), 1]
    first = [0, rank - 1, *range(1, rank - 1)]
    position = _OPERATORS[node.op]
    given = list(inputs)
    _transpose(piece, f"{inner_name}_input", given[position], last, node, f"{inner_name}_last")
    given[position] = f"{inner_name}_input:0"
    if node.op == "Conv2DBackpropInput":  # the sizes of its result are an input
        _constant(piece, f"{inner_name}_axes", last)
        _constant(piece, f"{inner_name}_axis", [0], scalar=True)
        sizes = piece.node.add(name=f"{inner_name}_sizes", op="GatherV2")
        sizes.input.extend([given[0], f"{inner_name}_axes:0", f"{inner_name}_axis:0"])
        for key in ("Tparams", "Tindices", "Taxis"):
            sizes.attr[key].type = types_pb2.DT_INT32
        given[0] = f"{inner_name}_sizes:0"
    inner = piece.node.add(name=inner_name, op=node.op)
    copy(inner)
    inner.attr["data_format"].s = b"NHWC" if flat else b"NDHWC"
    for key in _PER_AXIS:
        if key in node.attr and len(node.attr[key].list.i) == rank:
            numbers = list(node.attr[key].list.i)
            del inner.attr[key].list.i[:]
            inner.attr[key].list.i.extend(numbers[axis] for axis in last)
    if "explicit_paddings" in node.attr and len(node.attr["explicit_paddings"].list.i) == 2 * rank:
        numbers = list(node.attr["explicit_paddings"].list.i)
        del inner.attr["explicit_paddings"].list.i[:]
        inner.attr["explicit_paddings"].list.i.extend(
            number for axis in last for number in numbers[2 * axis : 2 * axis + 2]
        )
    inner.input.extend(given)
    _transpose(piece, node.name, f"{inner_name}:0", first, node, f"{inner_name}_first")


def _transpose(piece: graph_pb2.GraphDef, name: str, source: str, axes: list[int], node: Node, order: str) -> None:
    _constant(piece, order, axes)
    made = piece.node.add(name=name, op="Transpose")
    made.input.extend([source, f"{order}:0"])
    made.attr["T"].type = node.attr["T"].type
    made.attr["Tperm"].type = types_pb2.DT_INT32


def _constant(piece: graph_pb2.GraphDef, name: str, values: list[int], *, scalar: bool = False) -> None:
    made = piece.node.add(name=name, op="Const")
    made.attr["dtype"].type = types_pb2.DT_INT32
    tensor = made.attr["value"].tensor
    tensor.dtype = types_pb2.DT_INT32
    tensor.int_val.extend(values)
    if not scalar:
        tensor.tensor_shape.dim.add(size=len(values))
