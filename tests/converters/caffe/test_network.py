"""Reading a network: which layers count, what comes in and in which shape."""

import json

import pytest

from converters.caffe.layer import TRANSLATORS
from converters.caffe.network import read_network
from modelzoo.errors import CheckpointFormatError, ConversionError, InvalidGraphError, UsageError
from tests.converters.caffe.files import write_caffemodel, write_prototxt
from tests.data_folder import DATA, needs_data

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }\n'


@pytest.fixture
def read(tmp_path):
    def reader(text, *args, **kwargs):
        return read_network(write_prototxt(tmp_path / "net.prototxt", text), *args, **kwargs)

    return reader


def names(network):
    return [layer.name for layer in network.layers]


@needs_data
def test_every_golden_network_has_the_goldens_inputs():
    assert DATA is not None
    count = 0
    for suite in ("cases", "fork", "nets"):
        for case in json.loads((DATA / "caffe" / f"manifest-{suite}.json").read_text())["cases"]:
            folder = DATA / "caffe" / suite / case["dir"]
            network = read_network(folder / case.get("convert_prototxt", case["prototxt"]))
            shapes = dict(network.inputs)
            for name, one in (case.get("inputs") or {}).items():
                assert shapes[name] == tuple(one["shape"]), case["id"]
            count += 1
    assert count == 287


# ---- phase, level, stage ----

RULES = INPUT + "".join(
    f'layer {{ name: "{name}" type: "ReLU" bottom: "data" top: "{name}" {rules} }}\n'
    for name, rules in {
        "always": "",
        "train": "include { phase: TRAIN }",
        "test": "include { phase: TEST }",
        "no_train": "exclude { phase: TRAIN }",
        "either": "include { phase: TRAIN } include { stage: 'deploy' }",
        "both": "include { stage: 'deploy' stage: 'fast' }",
        "not_deploy": "include { not_stage: 'deploy' }",
        "low": "include { max_level: 1 }",
        "high": "include { min_level: 2 }",
        "out": "exclude { min_level: 2 } exclude { stage: 'deploy' }",
    }.items()
)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, "always test no_train not_deploy low out"),
        ({"phase": "train"}, "always train either not_deploy low out"),
        ({"stages": ["deploy"]}, "always test no_train either low"),
        ({"stages": ["deploy", "fast"]}, "always test no_train either both low"),
        ({"level": 2}, "always test no_train not_deploy high"),
        ({"level": -1}, "always test no_train not_deploy low out"),
    ],
)
def test_rules(read, how, expected):
    assert names(read(RULES, **how)) == expected.split()


def test_the_networks_own_state_counts_but_its_phase(read):
    network = read("state { phase: TRAIN level: 2 stage: 'deploy' }" + RULES)
    assert names(network) == ["always", "test", "no_train", "either", "high"]
    assert network.phase == "test"


def test_rules_of_both_kinds_are_refused(read):
    with pytest.raises(InvalidGraphError, match="both include and exclude"):
        read(INPUT + 'layer { name: "a" type: "ReLU" include { } exclude { } }')


def test_an_unknown_phase_is_refused(read):
    with pytest.raises(UsageError, match="phase"):
        read(INPUT, phase="TEST")


# ---- inputs ----

RELU = 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }\n'


@pytest.mark.parametrize(
    "text",
    [
        INPUT + RELU,
        'input: "data" input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 5 ' + RELU,
        'input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 } ' + RELU,
        'layer { name: "d" type: "MemoryData" top: "data" memory_data_param { batch_size: 2 channels: 3 height: 4'
        " width: 5 } }" + RELU,
        'layer { name: "d" type: "ImageData" top: "data" image_data_param { batch_size: 2 new_height: 4 new_width: 5 }'
        " }" + RELU,
        'layer { name: "d" type: "Data" top: "data" data_param { batch_size: 2 } transform_param { crop_h: 4 crop_w: 5'
        " force_color: true } }" + RELU,
    ],
)
def test_where_shapes_stand(read, text):
    network = read(text)
    assert network.inputs == [("data", (2, 3, 4, 5))]
    assert names(network) == ["r"]
    assert read(text, inputs={"data": (7, 1, 2, 2)}).inputs == [("data", (7, 1, 2, 2))]


def test_one_shape_for_all_tops_or_one_for_each(read):
    two = 'layer { name: "i" type: "Input" top: "a" top: "b" input_param { shape { dim: 1 } %s } }'
    assert read(two % "").inputs == [("a", (1,)), ("b", (1,))]
    assert read(two % "shape { dim: 2 }").inputs == [("a", (1,)), ("b", (2,))]
    with pytest.raises(InvalidGraphError, match="2 tops and 3 shapes"):
        read(two % "shape { dim: 2 } shape { dim: 2 }")


LOSS = 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "data" bottom: "label" top: "l" }\n'


def test_labels_are_one_number_a_picture(read):
    text = 'layer { name: "d" type: "Data" top: "data" top: "label" data_param { batch_size: 8 } }' + LOSS
    assert read(text, inputs={"data": (2, 3, 4, 4), "label": (2,)}).inputs[1] == ("label", (2,))
    assert read(text, inputs={"data": (2, 3), "label": (2, 9)}).inputs[1] == ("label", (2, 9))


def test_a_data_layer_of_unknown_shape_says_what_to_give(read):
    text = (
        'layer { name: "d" type: "Data" top: "data" top: "label" data_param { batch_size: 8 }'
        " transform_param { crop_size: 27 } }" + LOSS
    )
    with pytest.raises(ConversionError, match=r"'data' is not known.*'d'") as caught:
        read(text)
    assert "inputs={'data': (8, 3, 27, 27)}" in caught.value.hint
    hdf5 = 'layer { name: "d" type: "HDF5Data" top: "data" top: "part" hdf5_data_param { batch_size: 2 } }' + RELU
    with pytest.raises(ConversionError, match="'data'"):
        read(hdf5)
    # What nobody reads needs no shape.
    assert read(hdf5, inputs={"data": (2, 3)}).inputs == [("data", (2, 3))]


def test_layers_of_ones_own_that_read_data(read):
    text = 'layer { name: "d" type: "Python" top: "data" python_param { module: "m" layer: "L" } }' + RELU
    assert read(text, inputs={"data": (1, 2)}).inputs == [("data", (1, 2))]
    TRANSLATORS["MadeUp"] = lambda g, layer: None
    try:
        network = read('layer { name: "d" type: "MadeUp" top: "data" }' + RELU)
    finally:
        del TRANSLATORS["MadeUp"]
    assert names(network) == ["d", "r"]
    assert network.inputs == []


def test_a_blob_that_only_another_phase_writes_can_be_given(read):
    text = 'layer { name: "d" type: "Data" top: "data" include { phase: TRAIN } }' + RELU
    assert read(text, inputs={"data": (1, 2)}).inputs == [("data", (1, 2))]
    with pytest.raises(ConversionError, match="'data' is not known"):
        read('input: "data" ' + RELU)
    assert read('input: "data" ' + RELU, inputs={"data": [4]}).inputs == [("data", (4,))]


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ({"dat": (1,)}, "no input 'dat'"),
        ({"r": (1,)}, "no input 'r'"),
        ({"data": (0, 3)}, "sizes from 1 on"),
        ({"data": "ab"}, "sizes from 1 on"),
        ({"data": 3}, "sizes from 1 on"),
    ],
)
def test_shapes_that_make_no_sense(read, inputs, what):
    with pytest.raises(ConversionError, match=what):
        read(INPUT + RELU, inputs=inputs)


def test_constants_stay_layers(read):
    text = INPUT + 'layer { name: "c" type: "DummyData" top: "c" dummy_data_param { shape { dim: 1 } } }'
    network = read(text)
    assert network.inputs == [("data", (2, 3, 4, 5))]
    assert names(network) == ["c"]


def test_the_preprocessing_is_that_of_the_phases_data_layer(read):
    text = "".join(
        f'layer {{ name: "d" type: "Data" top: "data" include {{ phase: {phase} }}'
        f" transform_param {{ scale: {scale} }} }}\n"
        for phase, scale in (("TRAIN", 2), ("TEST", 3))
    )
    network = read(text + RELU, inputs={"data": (1, 3, 4, 4)})
    assert network.transform.scale == 3
    assert read(INPUT + RELU).transform is None


def test_what_a_layer_carries(read):
    layer = read(INPUT + 'layer { name: "m" type: "Mine" bottom: "data" top: "a" top: "b" mine { size: 2 } }').layers[0]
    assert (layer.name, layer.type, layer.bottoms, layer.tops) == ("m", "Mine", ("data",), ("a", "b"))
    assert layer.unknown == {"mine": {"size": 2}}
    assert layer.stored == 0


@pytest.mark.parametrize("text", ["", "  \n", 'name: "x"', "# nothing"])
def test_a_network_without_layers(read, text):
    with pytest.raises(InvalidGraphError, match="no layers"):
        read(text)


# ---- from a caffemodel alone ----


@needs_data
def test_a_caffemodel_holds_its_network():
    assert DATA is not None
    folder = DATA / "caffe" / "nets" / "cifar10_quick"
    network = read_network(folder / "weights.caffemodel", inputs=None)
    of_text = read_network(folder / "net.prototxt", folder / "weights.caffemodel")
    assert [layer.type for layer in network.layers if layer.type != "Split"] == [layer.type for layer in of_text.layers]
    assert network.inputs == of_text.inputs
    assert network.layers[0].stored == 2


def test_parameters_of_a_fork_need_the_text(tmp_path):
    from modelzoo.checkpoints.wire import pack_field

    layer = pack_field(1, b"up") + pack_field(2, b"Upsample") + pack_field(3, b"x") + pack_field(137, b"\x08\x03")
    path = tmp_path / "net.caffemodel"
    path.write_bytes(pack_field(1, b"net") + pack_field(100, layer))
    with pytest.raises(ConversionError, match="only its fork") as caught:
        read_network(path)
    assert "prototxt" in caught.value.hint


def test_a_damaged_caffemodel_is_refused(tmp_path):
    path = write_caffemodel(tmp_path / "x.caffemodel", {"a": [[1.0, 2.0]]})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises((CheckpointFormatError, InvalidGraphError)):
        read_network(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConversionError, match="cannot be read"):
        read_network(tmp_path / "net.prototxt")
