"""Where the values of variables lie in a checkpoint: read from the restoring operators of the graph, which never run.

Every TensorFlow graph that can be restored says so itself: `RestoreV2` lists names in the checkpoint, and an
assignment takes each result to a variable, in SavedModels of TF 1 and TF 2 and in MetaGraphs alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import trackable_object_graph_pb2

from converters.tensorflow.graph import FlatGraph, Ref
from converters.tensorflow.plan import VARIABLES
from converters.tensorflow.weights import Weight, static_value
from modelzoo.checkpoints import Checkpoint, open_checkpoint
from modelzoo.errors import CheckpointFormatError, WeightsMismatchError

__all__ = ["Place", "attach_values", "restored_names"]

_ASSIGNMENTS = ("Assign", "AssignVariableOp")
_RESTORING = ("RestoreV2", "Restore", "RestoreSlice")


@dataclass(frozen=True)
class Place:
    """A tensor of a checkpoint, or the part of one that a slice (`10 4 0,5:-`) names."""

    name: str
    slice: str = ""


def restored_names(flat: FlatGraph) -> dict[tuple[str, str], Place]:
    """(function, node) of each variable that the graph restores -> its place in the checkpoint."""
    found: dict[tuple[str, str], Place] = {}
    for node in flat.nodes.values():
        if node.op not in _ASSIGNMENTS or len(node.inputs) != 2:
            continue
        variable = flat.nodes.get(flat.origin(node.inputs[0]).node)
        place = _restored(flat, node.inputs[1])
        if variable is not None and variable.op in VARIABLES and place is not None:
            found.setdefault(variable.source, place)
    return found


def _restored(flat: FlatGraph, ref: Ref) -> Place | None:
    ref = flat.origin(ref)
    node = flat.nodes.get(ref.node)
    if node is None or node.op not in _RESTORING or len(node.inputs) < 2:
        return None
    names = static_value(flat, node.inputs[1])
    slices = static_value(flat, node.inputs[2]) if len(node.inputs) > 2 else None
    if names is None or not 0 <= ref.output < names.size:
        return None
    part = slices.reshape(-1)[ref.output] if slices is not None and ref.output < slices.size else b""
    return Place(_text(names.reshape(-1)[ref.output]), _text(part))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def attach_values(
    weights: list[Weight], places: Mapping[tuple[str, str], Place], checkpoint: Path | None
) -> Checkpoint | None:
    """Give each variable among `weights` the reader of its values.

    Args:
        weights: constants have their values already.
        places: from `restored_names`.
        checkpoint: prefix of the checkpoint, or None.

    Returns:
        The open checkpoint, for the caller to close, or None where nothing was needed.

    Raises:
        WeightsMismatchError: variables without values, or of another shape or type; all are listed.
        CheckpointError: the checkpoint cannot be read.
    """
    wanted = [weight for weight in weights if weight.read is None]
    if not wanted:
        return None
    if checkpoint is None:
        raise WeightsMismatchError(
            "The graph has variables, and no checkpoint holds their values.",
            missing=[weight.name for weight in wanted],
            hint="freeze the graph, or give the SavedModel's folder or the .meta file beside its checkpoint",
        )
    arrays = open_checkpoint(checkpoint)
    try:
        by_full_name = _full_names(arrays)
        missing, mismatched = [], []
        for weight in wanted:
            place = next((places[source] for source in weight.sources if source in places), None)
            if place is None:
                place = Place(by_full_name.get(weight.name, weight.name))
            if place.name not in arrays:
                missing.append(f"{weight.name} ({place.name})" if place.name != weight.name else weight.name)
                continue
            info = arrays.entries[place.name]
            shape = _sliced_shape(place.slice, info.shape)
            if weight.shape == (-1,):
                weight.shape = shape or ()
            if shape != weight.shape or info.dtype != weight.dtype:
                mismatched.append(
                    f"{weight.name}: file {info.dtype} {list(shape or info.shape)}, graph {weight.dtype}"
                    f" {list(weight.shape)}"
                )
                continue
            weight.read = _reader(arrays, place)
        if missing or mismatched:
            raise WeightsMismatchError(
                f"The checkpoint {checkpoint.name!r} does not fit its graph.",
                missing=missing,
                mismatched=mismatched,
                hint="fetch the whole model again",
            )
    except BaseException:
        arrays.close()
        raise
    return arrays


def _full_names(arrays: Checkpoint) -> dict[str, str]:
    """Names of variables -> keys, of a checkpoint that is written by objects (TF 2)."""
    data = arrays.object_graph
    if data is None:
        return {}
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    try:
        graph.ParseFromString(data)
    except DecodeError as error:
        raise CheckpointFormatError(
            "The object graph of the checkpoint is damaged.", received=str(arrays.path), hint="fetch it again"
        ) from error
    values = [item for node in graph.nodes for item in node.attributes if item.name == "VARIABLE_VALUE"]
    return {item.full_name: item.checkpoint_key for item in values}


def _reader(arrays: Checkpoint, place: Place) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        array = arrays[place.name]
        return array[_extents(place.slice, array.shape)] if place.slice else array

    return read


_SLICE = re.compile(r"(?:\d+ )*(?:-|\d+,\d+)(?::(?:-|\d+,\d+))*")


def _extents(text: str, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """`10 4 0,5:-` -> the slices of an array of shape (10, 4)."""
    parts = text.split(" ")[-1].split(":")
    made = []
    for part in parts:
        if part == "-":
            made.append(slice(None))
        else:
            start, length = (int(number) for number in part.split(","))
            made.append(slice(start, start + length))
    return tuple(made)


def _sliced_shape(text: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    if not text:
        return shape
    if _SLICE.fullmatch(text) is None or len(text) > 2000:
        return None
    extents = _extents(text, shape)
    if len(extents) != len(shape):
        return None
    sizes = []
    for extent, size in zip(extents, shape, strict=True):
        start, stop, _ = extent.indices(size)
        if extent.stop is not None and extent.stop > size:
            return None
        sizes.append(stop - start)
    return tuple(sizes)
