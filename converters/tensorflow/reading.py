"""A path -> GraphDef and what its file says about it: signature, checkpoint, assets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from modelzoo.errors import CheckpointFormatError, UnsafeFileError, UsageError

__all__ = ["Source", "asset_path", "read_source"]

_SAVED_MODEL = "saved_model"
_DEFAULT_SIGNATURE = "serving_default"
_INITIAL_SIGNATURE = "__saved_model_init_op"


@dataclass
class Source:
    """A graph as its file holds it.

    Attributes:
        graph: the GraphDef.
        name: of the file or folder, without its ending.
        inputs, outputs: name in the signature -> tensor name; None without a signature.
        meta: the MetaGraph around the graph, or None.
        checkpoint: where the variables' values lie: a prefix, or None.
        folder: below which assets may lie, or None.
    """

    graph: graph_pb2.GraphDef
    name: str
    inputs: dict[str, str] | None = None
    outputs: dict[str, str] | None = None
    meta: meta_graph_pb2.MetaGraphDef | None = None
    checkpoint: Path | None = None
    folder: Path | None = None
    assets: dict[str, str] = field(default_factory=dict)


def read_source(
    path: str | os.PathLike[str], *, tags: Sequence[str], signature: str | None, wants_signature: bool
) -> Source:
    """Read a frozen graph (`.pb`, `.pbtxt`), a SavedModel (folder) or a MetaGraph (`.meta`).

    Args:
        path: the file or folder.
        tags: which MetaGraph of a SavedModel.
        signature: which of its signatures; None = `serving_default`, or the only one.
        wants_signature: whether a MetaGraph without a usable signature is refused.

    Raises:
        CheckpointFormatError: the path is absent, damaged or holds no TensorFlow graph.
        UsageError: the SavedModel has no such tags or signature.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        for ending in (".pb", ".pbtxt"):
            if (place / (_SAVED_MODEL + ending)).is_file():
                return _saved_model(place / (_SAVED_MODEL + ending), tags, signature, wants_signature)
        raise CheckpointFormatError(
            f"The folder {place.name!r} is no SavedModel: it has no saved_model.pb.",
            received=str(place),
            hint="give a SavedModel's folder, a .pb, .pbtxt or .meta file",
        )
    if place.stem == _SAVED_MODEL:
        return _saved_model(place, tags, signature, wants_signature)
    data = _bytes(place)
    if place.suffix == ".meta":
        meta = _parse(meta_graph_pb2.MetaGraphDef(), data, place)
        return _meta_graph(meta, place, place.with_suffix(""), signature, wants_signature)
    graph = _parse(graph_pb2.GraphDef(), data, place)
    if not graph.node:
        raise CheckpointFormatError(
            f"The file {place.name!r} holds no TensorFlow graph: it is truncated or of another format.",
            received=f"{place} ({len(data)} bytes)",
            hint="fetch it again",
        )
    return Source(graph, place.stem)


def _bytes(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError as error:
        raise CheckpointFormatError(
            f"The model {place.name!r} cannot be read ({error.strerror}).", received=str(place), hint="check the path"
        ) from error


def _parse(message: Any, data: bytes, place: Path) -> Any:
    """`data` as the message: binary, or text where the name or the bytes say so."""
    as_text = place.suffix in (".pbtxt", ".pbtext", ".textproto")
    try:
        if as_text:
            return text_format.Parse(data.decode("utf-8"), message)
        message.ParseFromString(data)
    except (DecodeError, text_format.ParseError, UnicodeDecodeError, RecursionError, ValueError) as error:
        if not as_text and _looks_like_text(data):
            return _parse(type(message)(), data, place.with_suffix(".pbtxt"))
        raise CheckpointFormatError(
            f"The file {place.name!r} is truncated or no TensorFlow {type(message).__name__}.",
            received=f"{place} ({len(data)} bytes)",
            hint="fetch it again",
        ) from error
    return message


def _looks_like_text(data: bytes) -> bool:
    return any(data.lstrip().startswith(key) for key in (b"node {", b"node:", b"versions {", b"library {"))


def _saved_model(place: Path, tags: Sequence[str], signature: str | None, wants_signature: bool) -> Source:
    data = _bytes(place)
    model: saved_model_pb2.SavedModel = _parse(saved_model_pb2.SavedModel(), data, place)
    wanted = set(tags)
    held = [sorted(meta.meta_info_def.tags) for meta in model.meta_graphs]
    if not held:
        raise CheckpointFormatError(
            f"The SavedModel {place.parent.name!r} holds no graph: it is truncated.",
            received=f"{place} ({len(data)} bytes)",
            hint="fetch it again",
        )
    chosen = [meta for meta in model.meta_graphs if set(meta.meta_info_def.tags) == wanted]
    if not chosen:
        raise UsageError(
            f"The SavedModel {place.parent.name!r} has no graph tagged {sorted(wanted)}.",
            received=str(sorted(wanted)),
            hint="its graphs are tagged " + "; ".join(map(str, held)),
        )
    variables = place.parent / "variables" / "variables"
    has_variables = variables.with_name("variables.index").is_file()
    source = _meta_graph(chosen[0], place, variables if has_variables else None, signature, wants_signature)
    source.name = place.parent.resolve().name
    source.folder = place.parent.resolve()
    return source


def _meta_graph(
    meta: meta_graph_pb2.MetaGraphDef,
    place: Path,
    checkpoint: Path | None,
    signature: str | None,
    wants_signature: bool,
) -> Source:
    if not meta.graph_def.node:
        raise CheckpointFormatError(
            f"The file {place.name!r} holds no graph: it is truncated or of another format.",
            received=str(place),
            hint="fetch it again",
        )
    source = Source(meta.graph_def, place.stem, meta=meta, checkpoint=checkpoint)
    for asset in meta.asset_file_def:
        source.assets[asset.tensor_info.name.split(":")[0]] = asset.filename
    usable = [name for name in meta.signature_def if name != _INITIAL_SIGNATURE and meta.signature_def[name].outputs]
    name = signature
    if name is None:
        name = _DEFAULT_SIGNATURE if _DEFAULT_SIGNATURE in usable else usable[0] if len(usable) == 1 else None
    if name is None or name not in usable:
        if not wants_signature and signature is None:
            return source
        raise UsageError(
            f"{place.name} has no signature {name!r}." if name else f"Which outputs of {place.name} are meant?",
            received=name,
            hint=f"its signatures: {', '.join(sorted(usable))}"
            if usable
            else "say it: outputs=[tensor names], on the command line --outputs NAME",
        )
    chosen = meta.signature_def[name]
    source.inputs = {key: _tensor_name(key, info) for key, info in sorted(chosen.inputs.items())}
    source.outputs = {key: _tensor_name(key, info) for key, info in sorted(chosen.outputs.items())}
    return source


def _tensor_name(key: str, info: meta_graph_pb2.TensorInfo) -> str:
    if info.WhichOneof("encoding") != "name":
        raise UsageError(
            f"{key!r} of the signature is a sparse or composite tensor.",
            hint="name its parts with inputs=[...] and outputs=[...]",
        )
    return info.name


def asset_path(source: Source, node: str, content: bytes) -> Path:
    """The file that a table is read from: a regular file inside the SavedModel's folder.

    Args:
        source: the SavedModel.
        node: name of the constant that names the file.
        content: its value.

    Raises:
        UnsafeFileError: it lies elsewhere, or is a link.
        CheckpointFormatError: it is absent.
    """
    name = source.assets.get(node)
    given = content.decode("utf-8", "replace") if name is None else name
    parts = Path(given.replace("\\", "/")).parts
    outside = not parts or Path(given).is_absolute() or ".." in parts or ":" in given or "\0" in given
    if source.folder is None or outside:
        raise UnsafeFileError(
            "A table asks for a file outside of the model's folder.",
            received=given,
            hint="the vocabulary must lie in the SavedModel's assets folder",
        )
    path = source.folder if name is None else source.folder / "assets"
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise UnsafeFileError("A table asks for a file behind a symbolic link.", received=given)
    if not path.is_file():
        raise CheckpointFormatError(
            f"The asset {given!r} is missing.", received=str(path), hint="fetch the whole folder again"
        )
    return path
