"""MobileNet, NASNet and PNASNet against the original: every end point that TF-slim itself computed."""

from __future__ import annotations

import numpy as np
import pytest

import modelzoo as mz
from modelzoo.checkpoints.write_v1 import write_v1
from tests.data_folder import needs_data
from tests.networks.golden import Golden, values_of

END_POINTS = {
    "mobilenet_v1_0.25_128": 30,
    "mobilenet_v1_0.5_160": 30,
    "mobilenet_v1_1.0_224": 30,
    "mobilenet_v2_0.35_96": 72,
    "mobilenet_v2_1.0_224": 72,
    "mobilenet_v2_1.4_224": 72,
    "mobilenet_v3_large": 66,
    "mobilenet_v3_small": 50,
    "nasnet_mobile": 18,
    "nasnet_large": 24,
    "pnasnet_mobile": 13,
    "pnasnet_large": 16,
}
SLOW = ("mobilenet_v1_1.0_224", "mobilenet_v2_1.4_224", "nasnet_large", "pnasnet_large")
NETS = [pytest.param(net, marks=pytest.mark.slow) if net in SLOW else net for net in END_POINTS]


@needs_data
@pytest.mark.parametrize("net", NETS)
def test_every_end_point_of_a_checkpoint_is_slims(net, tmp_path):
    golden = Golden(net)
    path = write_v1(tmp_path / f"{net}.ckpt", golden.weights)
    fx = mz.load_pretrained(net, weights=path, features="all")
    assert len(golden.end_points) == END_POINTS[net]
    assert sorted(fx.taps) == sorted(golden.end_points), "slim's names and no others"
    ends = values_of(fx, golden.x)
    golden.assert_all_match(ends)
    model = mz.load_pretrained(net, weights=path)
    assert np.array_equal(np.asarray(model(golden.x)), ends["Logits"])
    assert model.count_params() == golden.meta["n_floats"]
    assert set(model.variable_names.values()) == set(golden.shapes)


@needs_data
@pytest.mark.parametrize("net", ["pnasnet_mobile", pytest.param("nasnet_mobile", marks=pytest.mark.slow)])
def test_what_only_training_needs_is_passed_over_and_averages_are_preferred(net, tmp_path):
    golden = Golden(net)
    weights = golden.weights
    assert any(name.startswith("aux_") for name in golden.training_only)
    for name in list(weights):
        weights[f"{name}/ExponentialMovingAverage"] = weights[name]
        weights[f"{name}/RMSProp"] = weights[name] = np.zeros_like(weights[name])
    for name, shape in golden.training_only.items():
        weights[name] = weights[f"{name}/ExponentialMovingAverage"] = np.zeros(shape, np.float32)
    weights["global_step"] = weights["cell_stem_0/comb_iter_0/left/global_step"] = np.array(1, np.int64)
    model = mz.load_pretrained(net, weights=write_v1(tmp_path / "trained.ckpt", weights))
    ((_, _, status),) = golden.rows(np.asarray(model(golden.x)), {})
    assert status == "ok"


@needs_data
@pytest.mark.parametrize(
    ("net", "variable", "before", "at"),
    [
        (
            "mobilenet_v1_0.25_128",
            "MobilenetV1/Conv2d_5_depthwise/BatchNorm/beta",
            "Conv2d_4_pointwise",
            "Conv2d_5_depthwise",
        ),
        (
            "mobilenet_v2_0.35_96",
            "MobilenetV2/expanded_conv_7/project/BatchNorm/gamma",
            "layer_9/depthwise_output",
            "layer_9",
        ),
        (
            "mobilenet_v3_small",
            "MobilenetV3/expanded_conv_3/squeeze_excite/Conv_1/biases",
            "layer_5/depthwise_output",
            "layer_5/output",
        ),
        ("pnasnet_mobile", "cell_2/prev_bn/beta", "Cell_1", "Cell_2"),
    ],
)
def test_a_fault_in_one_layer_is_seen_from_there_on(net, variable, before, at, tmp_path):
    golden = Golden(net)
    weights = golden.weights
    weights[variable] = weights[variable] + 0.3
    fx = mz.load_pretrained(net, weights=write_v1(tmp_path / "off.ckpt", weights), features="all")
    ends = values_of(fx, golden.x)
    statuses = {row[0]: row[2] for row in golden.rows(ends["Logits"], ends)}
    assert statuses[before] == "ok"
    assert statuses[at] == statuses["(logits)"] == "FAIL"
