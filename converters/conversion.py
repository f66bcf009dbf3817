"""`convert()`: one call from a model file of another framework to what TensorFlow users work with.

Caffe networks and ONNX models become a hub graph first, and everything else is made of that. TensorFlow graphs stay
graphs, their constants now variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.emit.publishing import publish
from modelzoo.errors import UsageError

__all__ = ["TARGETS", "convert", "convert_and_report"]

TARGETS = ("keras", "function", "savedmodel", "onnx", "litert", "python")

#: Target -> suffix of the file it is kept in.
_SUFFIXES = {"keras": ".keras", "onnx": ".onnx", "litert": ".tflite", "python": ".py"}

#: Suffixes of Caffe's files; what has none of them is looked at by the ONNX front end, which says what is wrong.
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
        model: path of an `.onnx` file or of a Caffe network (`.prototxt`, or a `.caffemodel` that describes its
            network too), a TensorFlow graph (`.pb`, `.pbtxt`, `.meta` beside its checkpoint, the folder of a
            SavedModel), or a `ModelProto`.
        weights: of a Caffe network: a `.caffemodel` or HDF5 file. None: every layer is filled as the network says.
        to: "keras" a model of stock layers; "function" a callable by source names in the source's layout, for the
            whole operator set; "savedmodel" a folder; "onnx" the checked model; "litert" a `.tflite` file; "python" a
            readable Keras source with its weights beside it, which runs alone. A TensorFlow graph becomes a Keras model
            of one layer, a function or a SavedModel.
        out: where to write it: `.keras`, a folder for "savedmodel", `.onnx`, `.tflite`, `.py`. None: only the object
            is returned.
        inputs: input name -> shape in the source's layout, None = dynamic; instead of the declared shapes.
        outputs: tensor or node names instead of the model's outputs.
        phase: of a Caffe network: "test", or "train" for the layers of training, with its dropout and batch statistics.
        stages, level: of a Caffe network's state.
        data_format: "channels_last", or "source" to keep the source's layout at the borders (Keras, SavedModel).
        verify: run source and result on random inputs before anything is written; a model's or function's `.report` is
            a `ParityReport`. For "savedmodel", "litert" and "python" the result is the Keras model that is written
            down. The source is run by onnxruntime, a Caffe network by OpenCV where it is installed and can run it, a
            TensorFlow graph by a session of TensorFlow 1.
        rtol: largest error of an output, relative to the reference's largest magnitude.

    Returns:
        The `keras.Model`, the function or the `ModelProto`; the path for "savedmodel", "litert" and "python".

    Raises:
        ConversionError, InvalidGraphError, UnsupportedOperatorError: the model cannot be converted.
        CheckpointFormatError, UnsafeFileError: the file is damaged, or reaches for other files.
        ParityError: with `verify`, an output differs by more than `rtol`; the report is attached.
        UsageError: arguments that make no sense together.
    """
    return convert_and_report(
        model,
        weights,
        to=to,
        out=out,
        inputs=inputs,
        outputs=outputs,
        phase=phase,
        stages=stages,
        level=level,
        data_format=data_format,
        verify=verify,
        rtol=rtol,
    )[0]


def convert_and_report(
    model: Any,
    weights: str | os.PathLike[str] | None,
    *,
    to: str,
    out: str | os.PathLike[str] | None,
    inputs: Mapping[str, Sequence[int | None]] | None,
    outputs: Sequence[str] | None,
    phase: str,
    stages: Sequence[str],
    level: int,
    data_format: str,
    verify: bool,
    rtol: float,
) -> tuple[Any, Any]:
    """(what `convert` gives, the `ParityReport` of `verify` or None): a path cannot carry its report."""
    if not isinstance(model, str | os.PathLike) and not hasattr(model, "graph"):
        raise UsageError("A model to convert is a path, or a ModelProto of ONNX.", received=type(model).__name__)
    caffe = _is_caffe(model, weights)
    _check(model, to, out, caffe, phase)
    name = Path(model).name if isinstance(model, str | os.PathLike) else (model.graph.name or "model")
    if not caffe and isinstance(model, str | os.PathLike):
        from converters.tensorflow import is_tensorflow

        if is_tensorflow(model):
            return _convert_tensorflow(model, to, out, inputs, outputs, verify, rtol)
    source, shapes = model, inputs
    if caffe:
        from converters.caffe.graph import load_caffe

        source = load_caffe(
            model,
            weights,
            phase=phase,
            stages=stages,
            level=level,
            inputs=_whole(inputs),
            for_keras=to not in ("function", "onnx"),
        )
        shapes = None
    check = _Verification(source, name, shapes, rtol, (model, weights) if caffe else None) if verify else None
    made: Any
    report = None
    if to == "onnx":
        made = _to_onnx(source)
        report = check.of_onnx(made) if check else None
    elif to == "function":
        from converters.function import load

        made = load(source, outputs=outputs)
        report = check.of_function(made) if check else None
    else:
        from converters.keras import to_keras

        made = to_keras(source, inputs=shapes, outputs=outputs, data_format=data_format, name=Path(name).stem)
        report = check.of_keras(made) if check else None
    if report is not None:
        report.raise_if_failed()
    if to == "onnx":
        if out is not None:
            publish(Path(out), lambda path: Path(path).write_bytes(made.SerializeToString()), folder=False)
        return made, report
    object.__setattr__(made, "report", report)
    if to == "savedmodel":
        return publish(Path(out or ""), lambda path: made.export(path, verbose=False), folder=True), report
    if to in ("litert", "python"):
        from converters.emit import write_litert, write_python

        return (write_litert if to == "litert" else write_python)(made, Path(out or "")), report
    if to == "keras" and out is not None:
        publish(Path(out), made.save, folder=False)
    return made, report


def _convert_tensorflow(
    model: str | os.PathLike[str], to: str, out: Any, inputs: Any, outputs: Any, verify: bool, rtol: float
) -> tuple[Any, Any]:
    """A TensorFlow graph does not go through the hub: its operators are what is wanted."""
    from converters.tensorflow import convert_graph, export_graph

    if to in ("litert", "onnx", "python"):
        raise UsageError(
            f"A TensorFlow graph cannot become {to}.",
            received=str(model),
            hint="to='keras', 'savedmodel' or, in Python, 'function'",
        )
    name = Path(model).resolve().stem
    made = convert_graph(model, to=to, inputs=inputs, outputs=outputs, name=name, verify=verify, rtol=rtol)
    if to == "savedmodel":
        return publish(Path(out), lambda path: export_graph(made, path), folder=True), getattr(made, "report", None)
    if to == "keras" and out is not None:
        publish(Path(out), made.save, folder=False)
    return made, getattr(made, "report", None)


def _is_caffe(model: Any, weights: Any) -> bool:
    return isinstance(model, str | os.PathLike) and (weights is not None or Path(model).suffix in _CAFFE)


def _check(model: Any, to: str, out: Any, caffe: bool, phase: str) -> None:
    if to not in TARGETS:
        raise UsageError(f"There is no target {to!r}.", received=repr(to), hint=f"to is one of {', '.join(TARGETS)}")
    if to == "savedmodel" and out is None:
        raise UsageError("A SavedModel is a folder: say where it goes.", hint="out='folder', on the command line -o")
    if to in ("litert", "python") and out is None:
        raise UsageError(f"to={to!r} writes a file: say where it goes.", hint=f"out='NAME{_SUFFIXES[to]}'")
    suffix = _SUFFIXES.get(to)
    if suffix is not None and out is not None and Path(out).suffix != suffix:
        raise UsageError(f"{to} is kept in a {suffix} file.", received=str(out), hint=f"name it NAME{suffix}")
    if not caffe and phase != "test":
        raise UsageError("Only a Caffe network has phases.", received=f"phase={phase!r}")


def _whole(inputs: Mapping[str, Sequence[int | None]] | None) -> dict[str, tuple[int, ...]] | None:
    """Shapes for Caffe, whose sizes are all known: one picture where the number is left open."""
    if inputs is None:
        return None
    whole = {}
    for name, shape in inputs.items():
        sizes = [1 if index == 0 and size is None else size for index, size in enumerate(shape)]
        known = tuple(size for size in sizes if size is not None)
        if len(known) != len(sizes):
            raise UsageError(
                "Only the first axis of a Caffe network's input may be open.",
                received=f"{name}={tuple(shape)}",
                hint="give its height and width",
            )
        whole[name] = known
    return whole


def _to_onnx(model: Any) -> Any:
    import onnx_ir as ir

    from converters.graph import load_graph

    return ir.to_proto(load_graph(model))


class _Verification:
    """What is needed to run the source later, taken before the source is made into something else."""

    def __init__(self, model: Any, name: str, shapes: Any, rtol: float, caffe: tuple[Any, Any] | None) -> None:
        import onnx
        import onnx_ir as ir

        from converters.parity import sample_inputs

        self.folder: Path | None = None
        if isinstance(model, ir.Model):
            self.proto = ir.to_proto(model)
        elif isinstance(model, onnx.ModelProto):
            self.proto = model
        else:
            self.proto = onnx.ModelProto.FromString(Path(model).read_bytes())
            self.folder = Path(model).parent
        self.name, self.rtol, self.caffe = name, rtol, caffe
        self.inputs = sample_inputs(self.proto, shapes)

    def of_function(self, function: Any) -> Any:
        from converters.function.values import as_numpy
        from converters.graph.naming import SOURCE_NAME

        own = {
            prop.value: item.name
            for item in self.proto.graph.output
            for prop in item.metadata_props
            if prop.key == SOURCE_NAME
        }

        def run(inputs: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
            return {own.get(key, key): as_numpy(value) for key, value in function(dict(inputs)).items()}

        return self._compare(run, [own.get(key, key) for key in function.output_names], [])

    def of_onnx(self, made: Any) -> Any:
        from converters.parity import run_onnx

        def run(inputs: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
            return run_onnx(made, names, inputs)

        return self._compare(run, [item.name for item in made.graph.output], [])

    def of_keras(self, made: Any) -> Any:
        import keras
        import numpy as np
        import tensorflow as tf

        from converters.function.values import as_numpy
        from converters.keras.held import channels_last

        produced = [item for node in self.proto.graph.node for item in node.output]
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
                array = as_numpy(tf.convert_to_tensor(value))
                if made.layouts.get(key) == "channels_last":
                    array = np.moveaxis(array, -1, 1)
                computed[key] = array
            return computed

        return self._compare(run, outputs, taps)

    def _compare(self, run: Any, outputs: list[str], taps: list[str]) -> Any:
        from converters.parity import check_parity

        reference = None
        if self.caffe is not None:
            from converters.caffe.opencv import run_opencv

            reference = run_opencv(*self.caffe, self.inputs, outputs)
        return check_parity(
            self.proto,
            run,
            inputs=self.inputs,
            outputs=outputs,
            taps=taps,
            rtol=self.rtol,
            model=self.name,
            folder=self.folder,
            reference=reference,
        )
