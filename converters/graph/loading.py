"""Path or `ModelProto` -> checked `onnx_ir.Model`, without copying a single initialiser."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from converters.graph.checks import check_opsets, check_values, sort_nodes
from converters.graph.external import attach_external_data
from converters.graph.naming import name_nodes
from converters.graph.reading import attach_weights, split_weights
from modelzoo.checkpoints.damage import Damage
from modelzoo.errors import CheckpointFormatError, InvalidGraphError

__all__ = ["load_graph"]

#: Beside "" ONNX writes "ai.onnx" for its own domain; inside it is "".
_DEFAULT_DOMAIN = "ai.onnx"


def load_graph(model: str | os.PathLike[str] | onnx.ModelProto | ir.Model) -> ir.Model:
    """Load an ONNX model into the hub form.

    Args:
        model: path of an `.onnx` file (its external data beside it), or a model in memory. A `ModelProto` must not
            have external data; an `onnx_ir.Model` is checked and sorted in place.

    Returns:
        The model with sorted, named nodes. Initialisers and tensor attributes are views of the bytes read.

    Raises:
        CheckpointFormatError: the file is absent, truncated or no ONNX model.
        UnsafeFileError: external data outside of the model's folder.
        InvalidGraphError: cycles, missing inputs, two sources of one name, unknown element types.
    """
    if isinstance(model, ir.Model):
        loaded, folder = model, None
    elif isinstance(model, onnx.ModelProto):
        loaded, folder = _deserialise(model), None
    else:
        path = Path(model)
        proto, arrays = _read(path)
        loaded, folder = _deserialise(proto), path.parent.resolve()
        attach_weights(loaded, arrays)
    if not isinstance(model, ir.Model):
        attach_external_data(loaded, folder)
    _one_default_domain(loaded)
    for graph in loaded.graphs():
        sort_nodes(graph)
    for function in loaded.functions.values():
        sort_nodes(function.graph)
        check_values(function)
    name_nodes(loaded)
    check_values(loaded.graph)
    check_opsets(loaded)
    return loaded


def _read(path: Path) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model without its big initialisers, and these: views of the mapped file."""
    proto = onnx.ModelProto()
    arrays: dict[str, np.ndarray] = {}
    try:
        with path.open("rb") as file:
            # An empty file cannot be mapped. The map lives as long as an array looks into it.
            if os.fstat(file.fileno()).st_size:
                view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                try:
                    rest, arrays = split_weights(view)
                except Damage:
                    proto.ParseFromString(view)  # which says what is wrong
                else:
                    proto.ParseFromString(rest)
    except OSError as error:
        raise CheckpointFormatError(
            f"The model {path.name!r} cannot be read ({error.strerror}).", received=str(path), hint=_instead(path)
        ) from error
    except DecodeError as error:
        raise CheckpointFormatError(
            f"The file {path.name!r} is truncated or no ONNX model.",
            received=f"{path} ({path.stat().st_size} bytes)",
            hint="fetch it again" if path.suffix == ".onnx" else _instead(path),
        ) from error
    if not proto.HasField("graph"):
        raise CheckpointFormatError(
            f"The file {path.name!r} holds no graph: it is truncated or no ONNX model.",
            received=f"{path} ({path.stat().st_size} bytes)",
            hint="fetch it again" if path.suffix == ".onnx" else _instead(path),
        )
    return proto, arrays


def _instead(path: Path) -> str:
    """What to give in the place of a path that is no ONNX file."""
    if ".ckpt" in path.name or path.suffix == ".index" or path.with_name(f"{path.name}.index").is_file():
        return (
            "a checkpoint holds numbers only: convert its graph, the .meta beside it, or load the numbers into a "
            "network that modelzoo has: load_pretrained(NAME, weights=PATH)"
        )
    if path.suffix == ".onnx" and not path.is_dir():
        return "check the path"
    return (
        "what can be converted: an .onnx file, a .prototxt with its .caffemodel, a TensorFlow .pb, .pbtxt or .meta, "
        "the folder of a SavedModel"
    )


def _deserialise(proto: onnx.ModelProto) -> ir.Model:
    try:
        return ir.from_proto(_without_map_types(proto))
    except Exception as error:
        raise InvalidGraphError(
            "The ONNX model contradicts its own format.",
            received=_root(error),
            hint="export the model again, or look at it with onnx.checker.check_model",
        ) from error


def _without_map_types(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model, its maps (of ai.onnx.ml) without a declared type: the hub has no type for them."""
    graph = proto.graph
    if not any(_is_map(item.type) for item in (*graph.input, *graph.output, *graph.value_info)):
        return proto
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    for item in (*copied.graph.input, *copied.graph.output, *copied.graph.value_info):
        if _is_map(item.type):
            item.ClearField("type")
    return copied


def _is_map(kind: onnx.TypeProto) -> bool:
    form = kind.WhichOneof("value")
    if form in ("sequence_type", "optional_type"):
        return _is_map(getattr(kind, form).elem_type)
    return form == "map_type"


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _one_default_domain(model: ir.Model) -> None:
    imports: list[Any] = [model.opset_imports, *(function.opset_imports for function in model.functions.values())]
    for table in imports:
        if _DEFAULT_DOMAIN in table:
            table[""] = table.pop(_DEFAULT_DOMAIN)
    for graph in [*model.graphs(), *(function.graph for function in model.functions.values())]:
        for node in graph:
            if node.domain == _DEFAULT_DOMAIN:
                node.domain = ""
