"""`convert()`: one call from a model file of another framework to what TensorFlow users work with."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelzoo.errors import ConversionError, DiskError, UsageError

__all__ = ["TARGETS", "convert"]

TARGETS = ("keras", "function", "savedmodel", "onnx")

#: Suffix -> front end; what has none of them is looked at by the ONNX front end, which says what is wrong.
_CAFFE = (".prototxt", ".caffemodel")


def convert(
    model: Any,
    weights: str | os.PathLike[str] | None = None,
    *,
    to: str = "keras",
    out: str | os.PathLike[str] | None = None,
    inputs: Mapping[str, Sequence[int | None]] | None = None,
    outputs: Sequence[str] | None = None,
    phase: str = "test",
    stages: Sequence[str] = (),
    level: int = 0,
    data_format: str = "channels_last",
    verify: bool = False,
    rtol: float = 1e-4,
) -> Any:
    """Convert a model to Keras, a function, a SavedModel or ONNX.

    Args:
        model: path of an `.onnx` file, or a `ModelProto`.
        weights: a second file, for formats that keep architecture and numbers apart (Caffe).
        to: "keras" a model of stock layers; "function" a callable by source names in the source's layout, for the
            whole operator set; "savedmodel" a folder; "onnx" the checked model.
        out: where to write it: `.keras`, a folder for "savedmodel", `.onnx`. None: only the object is returned.
        inputs: input name -> shape in the source's layout, None = dynamic; instead of the declared shapes.
        outputs: tensor or node names instead of the model's outputs.
        phase, stages, level: of a Caffe network.
        data_format: "channels_last", or "source" to keep the source's layout at the borders (Keras, SavedModel).
        verify: run source and result on random inputs; the object's `.report` is a `ParityReport`.
        rtol: largest error of an output, relative to the reference's largest magnitude.

    Returns:
        The `keras.Model`, the function or the `ModelProto`; the path for "savedmodel".

    Raises:
        ConversionError, InvalidGraphError, UnsupportedOperatorError: the model cannot be converted.
        CheckpointFormatError, UnsafeFileError: the file is damaged, or reaches for other files.
        ParityError: with `verify`, an output differs by more than `rtol`; the report is attached.
        UsageError: arguments that make no sense together.
    """
    _check(model, weights, to, out)
    made: Any
    name = Path(model).name if isinstance(model, str | os.PathLike) else (model.graph.name or "model")
    if to == "onnx":
        return _to_onnx(model, out)
    if to == "function":
        from converters.function import load

        made = load(model, outputs=outputs)
        report = _verify_function(model, made, name, inputs, outputs, rtol) if verify else None
    else:
        from converters.keras import to_keras

        made = to_keras(model, inputs=inputs, outputs=outputs, data_format=data_format, name=Path(name).stem)
        report = _verify_keras(model, made, name, inputs, rtol) if verify else None
    object.__setattr__(made, "report", report)
    if report is not None:
        report.raise_if_failed()
    if to == "savedmodel":
        return _publish(Path(out or ""), made.export, folder=True)
    if to == "keras" and out is not None:
        _publish(Path(out), made.save, folder=False)
    return made


def _check(model: Any, weights: Any, to: str, out: Any) -> None:
    if to not in TARGETS:
        raise UsageError(f"There is no target {to!r}.", received=repr(to), hint=f"to is one of {', '.join(TARGETS)}")
    if to == "savedmodel" and out is None:
        raise UsageError("A SavedModel is a folder: say where it goes.", hint="out='folder', on the command line -o")
    if to == "keras" and out is not None and Path(out).suffix != ".keras":
        raise UsageError("Keras keeps a model in a .keras file.", received=str(out), hint="name it NAME.keras")
    suffix = Path(model).suffix if isinstance(model, str | os.PathLike) else ""
    if suffix in _CAFFE or weights is not None:
        raise ConversionError(
            "Caffe models cannot be converted by this version.",
            received=str(model),
            hint="ONNX files can: modelzoo convert MODEL.onnx",
        )


def _publish(out: Path, write: Callable[[str], Any], *, folder: bool) -> Path:
    """Let `write` make `out` beside itself first, so that it appears whole or not at all."""
    out = out.expanduser()
    if folder and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("The folder for the SavedModel is not empty.", received=str(out), hint="choose another -o")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            made = Path(scratch) / out.name
            write(str(made))
            if folder and out.exists():
                out.rmdir()
            made.replace(out)
    except OSError as error:
        raise DiskError(f"Cannot write the converted model: {error.strerror or error}.", received=str(out)) from error
    return out


def _to_onnx(model: Any, out: Any) -> Any:
    import onnx_ir as ir

    from converters.graph import load_graph

    proto = ir.to_proto(load_graph(model))
    if out is not None:
        _publish(Path(out), lambda path: Path(path).write_bytes(proto.SerializeToString()), folder=False)
    return proto


def _source(model: Any) -> tuple[Any, Path | None]:
    import onnx

    if isinstance(model, onnx.ModelProto):
        return model, None
    proto = onnx.ModelProto.FromString(Path(model).read_bytes())
    return proto, Path(model).parent


def _verify_function(
    model: Any, function: Any, name: str, shapes: Any, outputs: Sequence[str] | None, rtol: float
) -> Any:
    from converters.function.values import as_numpy
    from converters.parity import check_parity, sample_inputs

    proto, folder = _source(model)

    def run(inputs: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
        return {key: as_numpy(value) for key, value in function(dict(inputs)).items()}

    given = sample_inputs(proto, shapes)
    wanted = list(function.output_names)
    return check_parity(proto, run, inputs=given, outputs=wanted, taps=[], rtol=rtol, model=name, folder=folder)


def _verify_keras(model: Any, made: Any, name: str, shapes: Any, rtol: float) -> Any:
    import keras
    import numpy as np

    from converters.keras.held import channels_last
    from converters.parity import check_parity, sample_inputs

    proto, folder = _source(model)
    produced = [item for node in proto.graph.node for item in node.output]
    outputs = list(made.output_sources)
    taps = [item for item in produced if item in made.taps and item not in outputs]
    feeds = made.input if isinstance(made.input, dict) else {made.input_sources[0]: made.input}
    results = made.output if isinstance(made.output, dict) else {outputs[0]: made.output}
    probe = keras.Model(feeds, {**{tap: made.taps[tap].tensor for tap in taps}, **results})

    def run(inputs: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
        fed = {}
        for key, value in inputs.items():
            last = made.layouts[key] == "channels_last"
            fed[key] = np.transpose(value, channels_last(value.ndim)) if last else value
        computed = {}
        for key, value in probe(fed, training=False).items():
            array = np.asarray(value)
            if made.layouts.get(key) == "channels_last":
                array = np.moveaxis(array, -1, 1)
            computed[key] = array
        return computed

    return check_parity(
        proto,
        run,
        inputs=sample_inputs(proto, shapes),
        outputs=outputs,
        taps=taps,
        rtol=rtol,
        model=name,
        folder=folder,
    )
