"""External data of ONNX tensors: only regular, single-link files inside the model's own folder are opened.

A model names the files that hold its big tensors. A hostile one names `/etc/shadow`, `../secret` or a link that
leads there, so every location is checked before onnx-ir maps it (onnx's security advisories CVE-2022-25882 and
CVE-2024-27318 are about this very step).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx_ir as ir

from modelzoo.errors import CheckpointFormatError, UnsafeFileError

__all__ = ["attach_external_data"]


def attach_external_data(model: ir.Model, folder: Path | None) -> None:
    """Point every external tensor of `model` at its file in `folder` after checking that the file is safe.

    Args:
        model: the model; its tensors are changed in place.
        folder: the model's folder, or None when the model did not come from a file.

    Raises:
        UnsafeFileError: a location is absolute, leaves the folder, or is a link.
        CheckpointFormatError: a file is absent or shorter than the tensors that it should hold.
    """
    checked: dict[str, int] = {}
    for tensor in _external_tensors(model):
        location = str(tensor.location)
        if folder is None:
            raise UnsafeFileError(
                f"Tensor {tensor.name!r} keeps its values in another file, and the model came without a folder.",
                received=location,
                hint="give the path of the model instead of a ModelProto",
            )
        if location not in checked:
            checked[location] = _safe_size(folder, location, tensor.name or "?")
        offset, length = tensor.offset or 0, tensor.length
        needed = offset + (tensor.nbytes if length is None else length)
        if offset < 0 or (length is not None and length < tensor.nbytes) or needed > checked[location]:
            raise CheckpointFormatError(
                f"Tensor {tensor.name!r} lies outside of its file {location!r} ({checked[location]} bytes).",
                received=f"offset {offset}, length {length}, needs {tensor.nbytes} bytes",
                hint="fetch the file again: it is truncated or belongs to another model",
            )
        tensor.base_dir = str(folder)


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
        for node in graph:
            yield from _attribute_tensors(node)
    for function in model.functions.values():
        for node in function.all_nodes():
            yield from _attribute_tensors(node)


def _attribute_tensors(node: ir.Node) -> Iterator[ir.ExternalTensor]:
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        values = attribute.value if attribute.type == ir.AttributeType.TENSORS else (attribute.value,)
        yield from (value for value in values if isinstance(value, ir.ExternalTensor))


def _safe_size(folder: Path, location: str, tensor: str) -> int:
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    parts = posix.parts + windows.parts
    if not location or posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in parts:
        raise UnsafeFileError(
            f"Tensor {tensor!r} asks for a file outside of the model's folder.",
            received=location,
            hint="external data must be a plain relative path below the folder of the model",
        )
    path = folder
    try:
        for part in posix.parts:
            path = path / part
            if path.is_symlink():
                raise UnsafeFileError(
                    f"Tensor {tensor!r} asks for a file behind a symbolic link.",
                    received=location,
                    hint="put a real file beside the model",
                )
        status = path.lstat()
    except OSError as error:
        raise CheckpointFormatError(
            f"The file {location!r} with the values of tensor {tensor!r} cannot be opened ({error.strerror}).",
            received=str(path),
            hint="fetch the model again together with its external data",
        ) from error
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise UnsafeFileError(
            f"Tensor {tensor!r} asks for something that is not a regular file with a single link.",
            received=location,
            hint="put a plain copy of the file beside the model",
        )
    return status.st_size
