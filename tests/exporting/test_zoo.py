"""Every network of slim's, and a Caffe network, as an ONNX file that onnxruntime reads like the model itself."""

from __future__ import annotations

import json

import pytest

import modelzoo as mz
from modelzoo.checkpoints.write_v1 import write_v1
from modelzoo.exporting import export_model
from tests.data_folder import DATA, needs_data
from tests.networks.golden import BADLY_CONDITIONED, Golden

NETS = (
    *("inception_v1", "inception_v2", "inception_v3", "inception_v4", "inception_resnet_v2"),
    *(f"resnet_v{version}_{depth}" for version in (1, 2) for depth in (50, 101, 152)),
    *("vgg_16", "vgg_19", "alexnet_v2", "overfeat", "cifarnet", "lenet"),
    *("mobilenet_v1_0.25_128", "mobilenet_v1_0.5_160", "mobilenet_v1_1.0_224"),
    *("mobilenet_v2_0.35_96", "mobilenet_v2_1.0_224", "mobilenet_v2_1.4_224"),
    *("mobilenet_v3_large", "mobilenet_v3_small"),
    *("nasnet_mobile", "nasnet_large", "pnasnet_mobile", "pnasnet_large"),
)
QUICK = ("cifarnet", "lenet", "mobilenet_v2_0.35_96", "mobilenet_v3_small")
FAMILIES = (
    *("convnexttiny", "densenet121", "efficientnetb0", "efficientnetv2b0", "inceptionresnetv2", "inceptionv3"),
    *("mobilenet", "mobilenetv2", "mobilenetv3small", "nasnetmobile", "resnet50", "resnet50v2", "vgg16", "xception"),
)
TOLERANCES = json.loads((DATA / "slim" / "tolerances.json").read_text()) if DATA is not None else {}


@needs_data
@pytest.mark.parametrize("net", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETS])
def test_onnxruntime_computes_what_the_network_computes(net, tmp_path):
    golden = Golden(net)
    weights = write_v1(tmp_path / "net.ckpt", golden.weights)
    model = mz.load_pretrained(net, weights=weights, input_shape=golden.x.shape[1:])
    limit = TOLERANCES[net] if net in BADLY_CONDITIONED else 1e-4
    path, report = export_model(model, "onnx", tmp_path / "net.onnx", rtol=limit)
    assert report is not None
    report.raise_if_failed()
    assert path.stat().st_size < 1.02 * 4 * model.count_params() + 2**20, "weights are written once"


@pytest.mark.parametrize(
    "name", [n if n == "mobilenetv2" else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES]
)
def test_each_family_of_keras_applications_is_exported(name, tmp_path):
    model = mz.load_pretrained(name, weights=None)
    _, report = export_model(model, "onnx", tmp_path / "net.onnx")
    assert report is not None
    report.raise_if_failed()


@needs_data
def test_a_caffe_network_goes_back_to_onnx(tmp_path):
    from converters.conversion import convert

    assert DATA is not None
    folder = DATA / "models" / "squeezenet_v1.1"
    model = convert(folder / "deploy.prototxt", folder / "squeezenet.caffemodel", to="keras")
    _, report = export_model(model, "onnx", tmp_path / "net.onnx")
    assert report is not None
    report.raise_if_failed()


@needs_data
def test_the_golden_set_has_no_other_network():
    assert DATA is not None
    assert sorted(NETS) == sorted(path.stem for path in (DATA / "slim" / "variables").glob("*.json"))
