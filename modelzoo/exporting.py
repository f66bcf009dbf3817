"""A model as a file that other programs read, compared with the model on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import ConversionError, UsageError

if TYPE_CHECKING:
    import keras
    import numpy as np

    from converters.parity import ParityReport

__all__ = ["TARGETS", "export_model", "sample_pictures"]

TARGETS = ("onnx", "savedmodel", "litert", "python")


def export_model(
    model: keras.Model, to: str, out: str | Path, *, rtol: float = 1e-4, verify: bool = True, name: str | None = None
) -> tuple[Path, ParityReport | None]:
    """Write a functional Keras model in another format.

    Args:
        model: as `load_pretrained` gives it; inputs and outputs keep their layout (channels last).
        to: one of `TARGETS`. In ONNX every normalisation behind a convolution is folded into it.
        out: NAME.onnx, NAME.tflite, NAME.py (its weights go beside it), or the folder of a SavedModel.
        rtol: largest accepted error of an output, relative to the largest magnitude of the model's own.
        verify: run the result (by onnxruntime, TensorFlow, LiteRT) and the model on the same random inputs.
        name: of the model, for messages.

    Returns:
        The path written, and the report; None without `verify` and for Python source, which holds the model's own
        layers and numbers. The report may say that it did not pass: `report.raise_if_failed()` raises.

    Raises:
        ConversionError: the format cannot say something in the model.
        UsageError: an unknown target, or a place that cannot be written.
        DiskError: the file system refuses.
    """
    out = Path(out)
    if to not in TARGETS:
        raise UsageError(f"There is no target {to!r}.", received=repr(to), hint=f"to is one of {', '.join(TARGETS)}")
    if to == "python":
        from converters.emit import write_python

        return write_python(model, out), None
    from converters.emit.borders import Borders

    borders = Borders.of(model)
    path = _WRITERS[to](model, out)
    if not verify:
        return path, None
    import numpy as np
    import onnx

    from converters.parity import check_parity

    given = sample_pictures(model)
    wanted = [np.asarray(value) for value in borders.call(model, given)]
    inputs = dict(zip(borders.input_names, given, strict=True))
    reference = ("the Keras model", dict(zip(borders.output_names, wanted, strict=True)))
    report = check_parity(
        onnx.ModelProto(),
        lambda fed, _: _RUNNERS[to](path, model, borders, fed),
        inputs=inputs,
        outputs=list(borders.output_names),
        taps=[],
        rtol=rtol,
        model=name or model.name,
        reference=reference,
    )
    return path, report


def sample_pictures(model: keras.Model, seed: int = 0) -> list[np.ndarray]:
    """Inputs to compare with: real numbers of a standard normal distribution, whole ones 0..255; open sides are 224.

    Args:
        model: functional.
        seed: of the numbers.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    given = []
    for tensor in model.inputs:
        # LiteRT closes an open batch at 1.
        shape = [1 if axis == 0 else 224 if size is None else size for axis, size in enumerate(tensor.shape)]
        if str(tensor.dtype).startswith("float"):
            given.append(generator.standard_normal(shape).astype(tensor.dtype))
        else:
            given.append(generator.integers(0, 256, shape).astype(tensor.dtype))
    return given


def _write_onnx(model: Any, out: Path) -> Path:
    import onnx
    import onnx_ir as ir
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    from converters.emit import write_onnx
    from converters.emit.publishing import publish
    from converters.graph import load_graph
    from converters.graph.batch_norm import fold_batch_norms
    from converters.graph.merging import merge_constants

    hub = load_graph(write_onnx(model))
    merge_constants(hub, products=False)
    fold_batch_norms(hub)
    RemoveUnusedNodesPass()(hub)  # initialisers that were merged into others too
    proto = ir.to_proto(hub)
    try:
        onnx.checker.check_model(proto)
        content = proto.SerializeToString()
    except ValueError as error:
        raise ConversionError(
            "An ONNX file in one piece ends at 2 GiB.", received=str(error), hint="export it with --to savedmodel"
        ) from error
    return publish(out, lambda path: Path(path).write_bytes(content))


def _write_saved(model: Any, out: Path) -> Path:
    from converters.emit.publishing import publish

    return publish(out, lambda path: model.export(path, verbose=False), folder=True)


def _write_litert(model: Any, out: Path) -> Path:
    from converters.emit import write_litert

    return write_litert(model, out)


def _run_onnx(path: Path, model: Any, borders: Any, fed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(fed)), strict=True))


def _run_saved(path: Path, model: Any, borders: Any, fed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import keras
    import numpy as np
    import tensorflow as tf

    saved = tf.saved_model.load(str(path))
    values = [tf.convert_to_tensor(fed[name]) for name in borders.input_names]
    result = saved.serve(borders.packed(model, values))
    return dict(zip(borders.output_names, map(np.asarray, keras.tree.flatten(result)), strict=True))


def _run_litert(path: Path, model: Any, borders: Any, fed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import numpy as np
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    runner = interpreter.get_signature_runner()
    layers = [tensor._keras_history.operation.name for tensor in borders.inputs]
    result = runner(**{layer: fed[name] for layer, name in zip(layers, borders.input_names, strict=True)})
    return {name: np.asarray(value) for name, value in result.items()}


_WRITERS = {"onnx": _write_onnx, "savedmodel": _write_saved, "litert": _write_litert}
_RUNNERS = {"onnx": _run_onnx, "savedmodel": _run_saved, "litert": _run_litert}
