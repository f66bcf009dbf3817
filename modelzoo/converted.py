"""Cards whose files hold the architecture too: Caffe networks, ONNX models and TensorFlow graphs as Keras models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import UsageError
from modelzoo.registry import Card

if TYPE_CHECKING:
    import keras

__all__ = ["build_converted", "caffe_files", "check_converted"]


def build_converted(
    card: Card, path: Path | None, *, input_shape: Any, graph: Callable[[], Path | None] | None = None, **options: Any
) -> keras.Model:
    """A model whose file holds the architecture too; its batch is left open.

    `graph` brings the card's own description of the architecture, where the weights lie in a file of their own.
    """
    from converters.keras import to_keras

    assert path is not None  # `check_converted` refused it
    name = card.name.replace("/", ".")
    if card.build.converter == "caffe":
        return to_keras(_caffe_graph(card, path, input_shape, graph), name=name)
    if card.build.converter == "tensorflow":
        return _build_tensorflow(card, path, input_shape, name)
    from converters.graph import load_graph

    hub = load_graph(path)
    own = [value.name or "" for value in hub.graph.inputs if value.name not in hub.graph.initializers]
    first = card.inputs[0].name if card.inputs else ""
    shapes: dict[str, tuple[int | None, ...]] = {}
    if input_shape is not None and (first in own or len(own) == 1):
        height, width, channels = input_shape
        source = (channels, height, width) if card.inputs[0].layout == "NCHW" else (height, width, channels)
        shapes[first if first in own else own[0]] = (None, *source)
    return to_keras(hub, inputs=shapes, name=name)


def _build_tensorflow(card: Card, path: Path, input_shape: Any, name: str) -> keras.Model:
    """A TensorFlow graph as a Keras model that gives the card's first output, where the graph has it."""
    from converters.tensorflow import keras_graph

    shapes: dict[str, tuple[int | None, ...]] = {}
    if input_shape is not None and card.inputs:
        height, width, channels = input_shape
        first = card.inputs[0].layout == "NCHW"
        shapes[card.inputs[0].name] = (None, channels, height, width) if first else (None, height, width, channels)
    return keras_graph(path, name=name, inputs=shapes, outputs=[item.name for item in card.outputs[:1]])


def _caffe_graph(card: Card, path: Path, input_shape: Any, graph: Callable[[], Path | None] | None) -> Any:
    """The hub graph of a caffemodel: its prototxt is the card's, or lies beside a file of the user's own."""
    from converters.caffe import load_caffe

    weights, prototxt = caffe_files(path)
    if prototxt is None:
        prototxt = graph() if graph is not None else None
    shapes: dict[str, tuple[int, ...]] | None = None
    if input_shape is not None and card.inputs:
        height, width, channels = input_shape
        if height is None or width is None:
            raise UsageError(
                f"{card.name!r} is a Caffe network, in which every size is fixed.",
                received=f"input_shape={input_shape}",
                hint="give numbers: input_shape=(224, 224, 3)",
            )
        shapes = {card.inputs[0].name: (1, channels, height, width)}
    return load_caffe(weights if prototxt is None else prototxt, weights, inputs=shapes)


def caffe_files(path: Path) -> tuple[Path, Path | None]:
    """(weights, prototxt beside them): `path` is the weight file, or a folder with one of each."""
    if path.is_dir():
        found = sorted([*path.glob("*.caffemodel"), *path.glob("*.caffemodel.h5")])
        if len(found) != 1:
            raise UsageError(
                "A folder of a Caffe network holds one caffemodel.",
                received=f"{path}: {', '.join(item.name for item in found) or 'none'}",
                hint="pass the path of the file itself",
            )
        path = found[0]
    beside = path.parent
    stem = path.name.removesuffix(".h5").removesuffix(".caffemodel")
    for name in ("deploy.prototxt", f"{stem}.prototxt", f"{stem}_deploy.prototxt", f"{stem}-deploy.prototxt"):
        if (beside / name).is_file():
            return path, beside / name
    only = list(beside.glob("*.prototxt"))
    return path, only[0] if len(only) == 1 else None


def check_converted(card: Card, weights: Any, options: Mapping[str, Any]) -> None:
    """Refuse what a graph that comes whole cannot do."""
    if weights is None:
        raise UsageError(
            f"{card.name!r} is a file that holds architecture and weights together, so there is no network without it.",
            received="weights=None",
            hint="leave weights out, or pass the path of such a file",
        )
    asked = [key for key in ("classes", "pooling") if options[key] is not None]
    asked += [] if options["include_top"] else ["include_top"]
    if asked:
        raise UsageError(
            f"{card.name!r} is converted as a whole: where its head begins is not known.",
            received=", ".join(f"{key}={options[key]!r}" for key in asked),
            hint="features=[TAP], pooling='avg' gives what a head of your own stands on; modelzoo taps lists the taps",
        )
