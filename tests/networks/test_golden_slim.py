"""Inception, ResNet, VGG and the small networks against the original: every end point that TF-slim itself computed."""

from __future__ import annotations

import json

import numpy as np
import pytest

import modelzoo as mz
from modelzoo.checkpoints.write_v1 import write_v1
from tests.data_folder import DATA, needs_data
from tests.networks.golden import Golden, values_of

LOGITS = {
    # network -> the end point that the model returns
    "inception_v2": "Logits",
    "inception_v3": "Logits",
    "inception_v4": "Logits",
    "inception_resnet_v2": "Logits",
    **{f"resnet_v{v}_{n}": f"resnet_v{v}_{n}/spatial_squeeze" for v in (1, 2) for n in (50, 101, 152)},
    "vgg_16": "vgg_16/fc8",
    "vgg_19": "vgg_19/fc8",
    "alexnet_v2": "alexnet_v2/fc8",
    "overfeat": "overfeat/fc8",
    "cifarnet": "Logits",
    "lenet": "Logits",
}
END_POINTS = {
    "inception_v2": 19,
    "inception_v3": 23,
    "inception_v4": 27,
    "inception_resnet_v2": 17,
    **{f"resnet_v{v}_{n}": ends for v in (1, 2) for n, ends in ((50, 77), (101, 145), (152, 213))},
    "vgg_16": 21,
    "vgg_19": 24,
    "alexnet_v2": 11,
    "overfeat": 11,
    "cifarnet": 9,
    "lenet": 9,
}
QUICK = ("inception_v2", "inception_v3", "resnet_v1_50", "resnet_v2_50", "cifarnet", "lenet")
NETS = [net if net in QUICK else pytest.param(net, marks=pytest.mark.slow) for net in LOGITS]


@needs_data
@pytest.mark.parametrize("net", NETS)
def test_every_end_point_of_a_checkpoint_is_slims(net, tmp_path):
    golden = Golden(net)
    path = write_v1(tmp_path / f"{net}.ckpt", golden.weights)
    fx = mz.load_pretrained(net, weights=path, features="all")
    assert len(golden.end_points) == END_POINTS[net]
    assert list(fx.taps) == golden.end_points, "slim's names, in the network's order"
    ends = values_of(fx, golden.x)
    golden.assert_all_match(ends, LOGITS[net])
    model = mz.load_pretrained(net, weights=path)
    assert model.card.outputs[0].name == LOGITS[net]
    assert np.array_equal(np.asarray(model(golden.x)), ends[LOGITS[net]])


@needs_data
@pytest.mark.parametrize("net", ["inception_v3", "resnet_v2_50", "cifarnet"])
def test_every_variable_of_the_checkpoint_is_somewhere(net):
    golden = Golden(net)
    model = mz.networks.build(net, arrays=golden.weights)
    assert set(model.variable_names.values()) == set(golden.shapes)
    floats = sum(int(np.prod(golden.shapes[name])) for name in model.variable_names.values())
    assert floats == golden.meta["n_floats"]


@needs_data
@pytest.mark.parametrize(
    ("net", "variable", "before", "at"),
    [
        (
            "resnet_v1_50",
            "block2/unit_1/bottleneck_v1/shortcut/BatchNorm/beta",
            "block1",
            "block2/unit_1/bottleneck_v1",
        ),
        ("resnet_v2_50", "block3/unit_2/bottleneck_v2/preact/gamma", "block3/unit_1/bottleneck_v2", "block3"),
    ],
)
def test_a_fault_in_one_layer_is_seen_from_there_on(net, variable, before, at, tmp_path):
    golden = Golden(net)
    weights = golden.weights
    weights[f"{net}/{variable}"] = weights[f"{net}/{variable}"] + 0.2
    fx = mz.load_pretrained(net, weights=write_v1(tmp_path / "off.ckpt", weights), features="all")
    ends = values_of(fx, golden.x)
    statuses = {row[0]: row[2] for row in golden.rows(ends[LOGITS[net]], ends)}
    assert statuses[f"{net}/{before}"] == "ok"
    assert statuses[f"{net}/{at}"] == statuses[f"{net}/block4"] == statuses["(logits)"] == "FAIL"


@needs_data
def test_every_network_of_the_golden_set_is_a_card():
    assert DATA is not None
    nets = sorted(path.stem for path in (DATA / "slim" / "variables").glob("*.json"))
    assert len(nets) >= 29
    assert set(LOGITS) <= set(nets)
    for net in nets:
        card = mz.info(net)
        listing = json.loads((DATA / "slim" / "dev" / f"{net}.json").read_text())
        assert list(card.inputs[0].shape) == listing["input_shape"][1:], net
        assert card.outputs[0].classes == listing["num_classes"], net
