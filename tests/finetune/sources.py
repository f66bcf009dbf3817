"""One network as three sources: ONNX, a frozen TensorFlow graph, and both of a registry's cards for them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.finetune.networks import SIDE, small_network


def write_sources(folder: Path) -> Path:
    """A registry with `small_onnx` and `small_frozen`, and their files."""
    from converters.emit import write_onnx

    model = small_network()
    write_onnx(model, folder / "small.onnx")
    (folder / "small.pb").write_bytes(_frozen(model))
    cards = {
        "small_onnx": _card(folder / "small.onnx", "onnx", "input"),
        "small_frozen": _card(folder / "small.pb", "tensorflow", "input"),
    }
    path = folder / "registry.json"
    path.write_text(json.dumps({"schema_version": 1, "models": cards}))
    return path


def _frozen(model: Any) -> bytes:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="input")
    traced = tf.function(lambda x: model(x, training=False), input_signature=[spec]).get_concrete_function()
    return convert_variables_to_constants_v2(traced).graph.as_graph_def().SerializeToString()


def _card(path: Path, converter: str, name: str) -> dict[str, Any]:
    data = path.read_bytes()
    return {
        "title": f"A small network, {converter}",
        "task": "classification",
        "framework": converter,
        "licence": "Apache-2.0",
        "files": [
            {
                "name": path.name,
                "role": "graph",
                "urls": [{"url": path.as_uri()}],
                "size": len(data),
                "digests": {"sha256": hashlib.sha256(data).hexdigest()},
            }
        ],
        "build": {"converter": converter},
        "inputs": [
            {
                "name": name,
                "shape": [SIDE, SIDE, 3],
                "dtype": "float32",
                "colour": "RGB",
                "layout": "NHWC",
                "preprocess": {"family": "keras_tf", "size": [SIDE, SIDE]},
            }
        ],
    }
