"""TensorFlow 1's tensor arrays as tensor lists: what a graph calls an array's `flow` is the list itself.

An array lives beside the graph and its gradients need Python objects; a list is a value, and goes through loops.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from converters.tensorflow.graph import Node

__all__ = ["apply_array", "new_array"]


def new_array(node: Node, size: Any) -> Any:
    """The list of a `TensorArrayV3`: `size` () int32 elements, not written yet."""
    return tf.raw_ops.TensorListReserve(
        element_shape=_shape(node, "element_shape"), num_elements=size, element_dtype=_dtype(node, "dtype")
    )


def apply_array(node: Node, inputs: list[Any]) -> list[Any]:
    """The results of an operator on an array.

    Args:
        node: of `TensorArrayReadV3` and its kind.
        inputs: without the handle; the last one is the list.
    """
    *given, flow = inputs
    raw = tf.raw_ops
    if node.op == "TensorArrayWriteV3":
        index, value = given
        return [raw.TensorListSetItem(input_handle=flow, index=index, item=value, resize_if_index_out_of_bounds=True)]
    if node.op == "TensorArrayReadV3":
        unknown = tf.constant(-1, tf.int32)
        dtype = _dtype(node, "dtype")
        return [raw.TensorListGetItem(input_handle=flow, index=given[0], element_shape=unknown, element_dtype=dtype)]
    if node.op == "TensorArrayGatherV3":
        return [
            raw.TensorListGather(
                input_handle=flow,
                indices=given[0],
                element_shape=_shape(node, "element_shape"),
                element_dtype=_dtype(node, "dtype"),
            )
        ]
    if node.op == "TensorArrayScatterV3":
        indices, value = given
        return [raw.TensorListScatterIntoExistingList(input_handle=flow, tensor=value, indices=indices)]
    if node.op == "TensorArrayConcatV3":
        shape = _listed_shape(node, "element_shape_except0")
        element = tf.constant(-1, tf.int32) if shape is None else tf.constant([-1, *shape], tf.int32)
        joined, lengths = raw.TensorListConcatV2(
            input_handle=flow,
            element_shape=element,
            leading_dims=tf.constant([], tf.int64),
            element_dtype=_dtype(node, "dtype"),
        )
        return [joined, lengths]
    if node.op == "TensorArraySplitV3":
        value, lengths = given
        return [raw.TensorListSplit(tensor=value, element_shape=tf.constant(-1, tf.int32), lengths=lengths)]
    return [raw.TensorListLength(input_handle=flow)]  # TensorArraySizeV3


def _dtype(node: Node, key: str) -> tf.DType:
    return tf.as_dtype(node.attr[key].type)


def _listed_shape(node: Node, key: str) -> list[int] | None:
    if key not in node.attr or node.attr[key].shape.unknown_rank:
        return None
    return [dim.size for dim in node.attr[key].shape.dim]


def _shape(node: Node, key: str) -> Any:
    """An element's shape as a list operator takes it; -1 where it, or its rank, is open."""
    shape = _listed_shape(node, key)
    # Older files leave the attribute out, and an empty one could mean either.
    return tf.constant(shape if shape else -1, tf.int32)
