"""Networks written as text, run by both consumers of their hub graph."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.caffe.network import read_network
from converters.caffe.translate import translate

__all__ = ["inputs", "model_of", "one", "run", "tops_of"]


def inputs(**shapes: Sequence[int]) -> str:
    """Input layers of these names and shapes."""
    return "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        + " ".join(f"dim: {size}" for size in shape)
        + " } } }\n"
        for name, shape in shapes.items()
    )


def model_of(text: str, arrays: Mapping[str, Sequence[np.ndarray]] | None = None) -> Any:
    """The hub graph (an `onnx.ModelProto`, checked) of a prototxt and of the learned arrays of its layers."""
    import onnx
    import onnx_ir as ir

    weights = {f"{name}/{index}": array for name, blobs in (arrays or {}).items() for index, array in enumerate(blobs)}
    with tempfile.TemporaryDirectory() as folder:
        prototxt = Path(folder, "net.prototxt")
        prototxt.write_text(text, encoding="utf-8")
        model = translate(read_network(prototxt, weights or None))
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run(
    text: str, feeds: Mapping[str, Any], arrays: Mapping[str, Sequence[np.ndarray]] | None = None
) -> dict[str, np.ndarray]:
    """The network's outputs for float32 inputs, by name.

    onnxruntime and our own function both compute them, and must agree.
    """
    import onnxruntime

    from converters.function import load

    proto = model_of(text, arrays)
    fed = {name: np.asarray(value, np.float32) for name, value in feeds.items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    reference = dict(zip((item.name for item in session.get_outputs()), session.run(None, fed), strict=True))
    found = {name: np.asarray(value) for name, value in load(proto)(fed).items()}
    assert found.keys() == reference.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, reference[name], rtol=1e-4, atol=1e-5, err_msg=name)
    return found


def tops_of(
    kind: str,
    said: str = "",
    arrays: Sequence[np.ndarray] | None = None,
    tops: Sequence[str] = ("y",),
    **feeds: Any,
) -> dict[str, np.ndarray]:
    """The tops of a network of one layer `l`, whose bottoms are `feeds` in their order; `said` are its parameters."""
    text = inputs(**{name: np.shape(value) for name, value in feeds.items()})
    names = " ".join([*(f'bottom: "{name}"' for name in feeds), *(f'top: "{name}"' for name in tops)])
    text += f'layer {{ name: "l" type: "{kind}" {names} {said} }}'
    return run(text, feeds, None if arrays is None else {"l": arrays})


def one(kind: str, said: str = "", arrays: Sequence[np.ndarray] | None = None, **feeds: Any) -> np.ndarray:
    """The only top of a network of one layer."""
    return tops_of(kind, said, arrays, **feeds)["y"]
