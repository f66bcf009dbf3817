"""Networks that other people trained or wrote down: converted, compared with onnxruntime tap by tap."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from converters import convert
from tests.data_folder import DATA, needs_data

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

#: Light networks of onnx -> layout changes that are the network's own (shuffles of channels).
NETWORKS = {
    "bvlc_alexnet": 0,
    "densenet121": 0,
    "inception_v1": 0,
    "inception_v2": 0,
    "resnet50": 0,
    "shufflenet": 16,
    "squeezenet": 0,
    "vgg19": 0,
    "zfnet512": 0,
}
QUICK = ("inception_v1", "shufflenet", "squeezenet")


def check(name: str) -> None:
    made = convert(LIGHT / f"light_{name}.onnx", verify=True)
    assert made.stock_only
    assert sum(type(layer).__name__ in ("Permute", "Transpose") for layer in made.layers) == NETWORKS[name]
    assert len(made.report.rows) > 20


@pytest.mark.parametrize("name", QUICK)
def test_a_light_network_is_stock_layers_without_transpositions(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in QUICK])
def test_the_larger_light_networks_too(name):
    check(name)


#: Real models -> whether stock pieces are enough.
REAL = {
    "ultraface_slim/version-slim-320.onnx": True,
    "ultraface_slim/version-slim-320_without_postprocessing.onnx": True,
    "samplenet/samplenet.onnx": True,
    "onnx_small/super_resolution.onnx": True,
    "dtln/model_1.onnx": True,
    "dtln/model_2.onnx": True,
    "onnx_small/shufflenet-v2-12-int8.onnx": False,
}


@needs_data
@pytest.mark.parametrize("path", REAL)
def test_a_real_model_agrees_with_onnxruntime(path):
    made = convert(DATA / "models" / path, verify=True)  # type: ignore[operator]
    assert made.report.passed
    assert made.stock_only == REAL[path]


@needs_data
def test_a_model_of_the_first_opset_converts():
    # onnxruntime no longer runs opset 1, so both lowerings are held against each other.
    import numpy as np

    path = DATA / "models" / "onnx_small" / "model.onnx"  # type: ignore[operator]
    x = np.random.default_rng(0).standard_normal((1, 1, 28, 28)).astype(np.float32)
    wanted = next(iter(convert(path, to="function")({"Input3": x}).values()))
    got = convert(path)(x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * float(np.abs(wanted).max()))
