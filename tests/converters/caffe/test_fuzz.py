"""Arbitrary and mutated prototxts and caffemodels: our errors or a network, in bounded time."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.caffe.network import read_network
from converters.caffe.schema import message_class
from converters.caffe.text import parse_prototxt
from converters.caffe.upgrade import upgrade
from modelzoo.errors import ModelzooError
from tests.converters.caffe.files import blob

MORE = int(os.environ.get("MODELZOO_FUZZ", "1"))
SMALL = settings(
    max_examples=60 * MORE, deadline=5000, derandomize=MORE == 1, suppress_health_check=list(HealthCheck), database=None
)

V2 = """name: "net" state { level: 1 stage: "s" }
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" param { name: "w" share_mode: PERMISSIVE lr_mult: 1e-1f }
  convolution_param { num_output: 2 kernel_size: [3, 3] weight_filler { type: 'xavier' } } include { phase: TEST } }
layer < name: "r" type: "ReLU" bottom: "c" top: "c" relu_param { negative_slope: 0x1 } exclude { min_level: 4 } >
layer { name: "m" type: "Mine" bottom: "c" top: "m" mine { a: 1 b: [ "x", "y" ] c { d: -inf } } } # end
"""
V1 = """name: "net" input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "d" type: IMAGE_DATA top: "x" top: "label" image_data_param { batch_size: 2 crop_size: 4 } }
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 param: "w"
  convolution_param { num_output: 2 kernel_size: 3 } }
"""
V0 = """input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "p" type: "padding" pad: 1 } bottom: "data" top: "p" }
layers { layer { name: "c" type: "conv" num_output: 2 kernelsize: 3 biasterm: false } bottom: "p" top: "c" }
"""
PIECES = """layer layers { } < > [ ] : ; , - "x" 'y' name type bottom top 1 0x2 017 1e9 inf nan true TEST CONVOLUTION
convolution_param num_output kernel_size input input_dim include phase state mine # \\ " """


def network_or_error(text):
    try:
        upgrade(parse_prototxt(text).net)
    except ModelzooError as error:
        assert str(error)


@SMALL
@given(st.lists(st.sampled_from([*PIECES.split(), "\n"]), max_size=40))
def test_any_sequence_of_tokens(pieces):
    network_or_error(" ".join(pieces))


@SMALL
@given(st.one_of(st.text(), st.binary()))
def test_any_text(text):
    network_or_error(text)


@st.composite
def mutated(draw, data):
    """The bytes with some of them changed, cut out or doubled."""
    made = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(made) - 1)) if made else 0
        how = draw(st.integers(0, 3))
        if how == 0 and made:
            made[at] = draw(st.integers(0, 255))
        elif how == 1:
            del made[at : at + draw(st.integers(1, 40))]
        elif how == 2:
            made[at:at] = made[at : at + draw(st.integers(1, 40))]
        else:
            made[at:at] = draw(st.binary(max_size=4))
    return bytes(made)


@SMALL
@given(st.sampled_from([V2, V1, V0]).flatmap(lambda text: mutated(text.encode())))
def test_mutated_networks(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.prototxt"
    path.write_bytes(data)
    look_at(path)


def caffemodels():
    for text in (V2, V1, V0):
        net = parse_prototxt(text).net
        for layer in [*net.layer, *net.layers]:
            (
                layer.layer if layer.DESCRIPTOR.fields_by_name.get("layer") and layer.HasField("layer") else layer
            ).blobs.append(blob([[1.0, 2.0], [3.0, 4.0]], legacy=layer.name == "c"))
        yield net.SerializeToString()


@SMALL
@given(st.sampled_from(list(caffemodels())).flatmap(mutated))
def test_mutated_caffemodels(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.caffemodel"
    path.write_bytes(data)
    look_at(path)
    text = tmp_path_factory.getbasetemp() / "whole.prototxt"
    text.write_text(V2, encoding="utf-8")
    look_at(text, path)


@SMALL
@given(st.binary(max_size=200))
def test_any_bytes_as_weights(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.caffemodel"
    path.write_bytes(data)
    look_at(path, path)


def look_at(prototxt, weights=None):
    """Read, and ask for arrays as translators do."""
    try:
        network = read_network(prototxt, weights, inputs=None)
        for layer in network.layers:
            layer.blob(0, (2, 2), layer.message.convolution_param.weight_filler)
        network.check_weights()
    except ModelzooError as error:
        assert str(error)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "layer { mine " + "{ a " * 100_000,
        "layer { mine: [" * 50_000,
        "layer { mine { " + "a: 1 " * 200_000 + "} }",
        "layer { " + " ".join(f"name_{n}: 1" for n in range(20_000)) + " }",
        "name: " + '"a" ' * 200_000,
        "layer { " + "x" * 2_000_000 + ": 1 }",
        "input_dim: " + "9" * 1_000_000,
        "layer { relu_param { negative_slope: " + "9" * 1_000_000 + " } }",
        "#" * 2_000_000,
    ],
    ids=["deep", "lists", "repeated", "unknown", "string", "long name", "long integer", "long float", "comment"],
)
def test_large_texts_end_soon(text):
    network_or_error(text)


def test_a_message_is_what_it_was():
    """The corpus of this file is sound: what is not mutated is read."""
    for data in caffemodels():
        assert message_class("NetParameter").FromString(data).ByteSize() == len(data)
    for text in (V2, V1, V0):
        assert upgrade(parse_prototxt(text).net).layer
