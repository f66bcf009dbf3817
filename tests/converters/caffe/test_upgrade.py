"""Older formats -> today's, as Caffe's own upgrade_net_proto_text does."""

import json

import pytest

from converters.caffe.text import parse_prototxt, read_prototxt
from converters.caffe.upgrade import upgrade
from modelzoo.errors import InvalidGraphError
from tests.data_folder import DATA, needs_data


def upgraded(text):
    return upgrade(parse_prototxt(text).net)


def network(text):
    return parse_prototxt(text).net


@needs_data
def test_caffes_own_upgrades_are_reproduced():
    assert DATA is not None
    names = json.loads((DATA / "caffe" / "manifest-upgrade.json").read_text())
    assert len(names) == 9
    for name in names:
        source = read_prototxt(DATA / "caffe" / "upgrade" / f"{name}.in.prototxt").net
        expected = read_prototxt(DATA / "caffe" / "upgrade" / f"{name}.upgraded.prototxt").net
        before = source.SerializeToString(deterministic=True)
        assert upgrade(source) == expected, name
        assert source.SerializeToString(deterministic=True) == before
        assert upgrade(expected) == expected


def test_todays_networks_stay_as_they_are():
    net = network('name: "n" layer { name: "a" type: "ReLU" bottom: "x" top: "x" }')
    assert upgrade(net) == net


def test_inputs_become_the_first_layer():
    made = upgraded('input: "a" input_shape { dim: 1 dim: 2 } layer { name: "r" type: "ReLU" bottom: "a" top: "b" }')
    assert [(layer.name, layer.type) for layer in made.layer] == [("input", "Input"), ("r", "ReLU")]
    assert list(made.layer[0].input_param.shape[0].dim) == [1, 2]
    assert not made.input and not made.input_shape


def test_an_input_without_a_shape_is_dropped():
    made = upgraded('input: "a" layer { name: "r" type: "ReLU" bottom: "a" top: "b" }')
    assert [layer.name for layer in made.layer] == ["r"]
    assert not made.input


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('layer { name: "a" } layers { name: "b" }', "both `layer` and `layers`"),
        ('input: "a" input_dim: 1 input_dim: 3 input_dim: 4 layer { }', "too few sizes"),
        ('input: "a" input: "b" input_shape { dim: 1 } layer { }', "too few sizes"),
        ('layers { layer { name: "a" type: "convolution" } }', "'convolution'"),
        ('layers { layer { name: "a" type: "relu" } bottom: "x" top: "y" }', "no layer before it writes"),
        (
            'input: "x" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }'
            ' layers { layer { name: "a" type: "relu" } bottom: "p" top: "y" }',
            "reads a padding layer",
        ),
    ],
)
def test_contradictions_are_refused(text, what):
    with pytest.raises(InvalidGraphError, match=what):
        upgraded(text)


def test_data_parameters_of_v1_move_only_where_something_is_to_move():
    plain = 'layers { name: "d" type: DATA top: "x" data_param { source: "s" } }'
    assert not upgraded(plain).layer[0].HasField("transform_param")
    both = plain + ' layers { name: "e" type: IMAGE_DATA top: "y" image_data_param { crop_size: 3 } }'
    first, second = upgraded(both).layer
    assert first.HasField("transform_param") and not first.transform_param.HasField("crop_size")
    assert second.transform_param.crop_size == 3 and not second.image_data_param.HasField("crop_size")


def test_the_oldest_data_layer():
    made = upgraded(
        'layers { layer { name: "d" type: "data" source: "s" meanfile: "m" batchsize: 5 cropsize: 27 mirror: true'
        ' scale: 0.5 rand_skip: 7 } top: "data" top: "label" }'
    )
    assert made == network(
        'layer { name: "d" type: "Data" top: "data" top: "label" transform_param { scale: 0.5 mirror: true'
        ' crop_size: 27 mean_file: "m" } data_param { source: "s" batch_size: 5 rand_skip: 7 } }'
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SIGMOID_CROSS_ENTROPY_LOSS", "SigmoidCrossEntropyLoss"),
        ("HDF5_OUTPUT", "HDF5Output"),
        ("IM2COL", "Im2col"),
        ("SOFTMAX_LOSS", "SoftmaxWithLoss"),
        ("MULTINOMIAL_LOGISTIC_LOSS", "MultinomialLogisticLoss"),
        ("ELTWISE", "Eltwise"),
        ("MVN", "MVN"),
        ("RELU", "ReLU"),
        ("DUMMY_DATA", "DummyData"),
    ],
)
def test_names_of_types(old, new):
    assert upgraded(f"layers {{ type: {old} }}").layer[0].type == new


def test_forks_names_of_parameters_become_caffes():
    made = upgraded(
        'layer { name: "a" type: "Convolution" convolution_param { num_output: 1 hole: 4 } }'
        'layer { name: "b" type: "Convolution" convolution_param { num_output: 1 hole_h: 2 hole_w: 3 } }'
        'layer { name: "c" type: "Pooling" pooling_param { kernel_size: 2 ceil_mode: false } }'
    )
    assert list(made.layer[0].convolution_param.dilation) == [4]
    assert list(made.layer[1].convolution_param.dilation) == [2, 3]
    assert (
        made.layer[2]
        == network('layer { name: "c" type: "Pooling" pooling_param { kernel_size: 2 round_mode: FLOOR } }').layer[0]
    )


def test_fields_of_other_names_stay_with_their_layer():
    definition = parse_prototxt(
        'input: "x" input_shape { dim: 1 } layer { type: "A" } layer { type: "B" mine { size: 2 } bottom: "x" }'
    )
    made = upgrade(definition.net)
    assert [definition.others_of(layer) for layer in made.layer] == [{}, {}, {"mine": {"size": 2}}]
