"""Prototxt: the syntax of protobuf's text format, its errors, and fields that no message of ours has."""

import math

import pytest

from converters.caffe.schema import new
from converters.caffe.text import parse_prototxt, read_prototxt
from modelzoo.errors import ConversionError, InvalidGraphError
from tests.data_folder import DATA, needs_data


def layer(inside):
    return parse_prototxt(f"layer {{ {inside} }}").net.layer[0]


@needs_data
def test_every_prototxt_of_the_data_folder_reads_as_protobuf_reads_it():
    text_format = pytest.importorskip("google.protobuf.text_format")
    assert DATA is not None
    paths = sorted(DATA.rglob("*.prototxt"))
    assert len(paths) > 300
    for path in paths:
        expected = text_format.Parse(path.read_text("utf-8"), new("NetParameter"))
        assert read_prototxt(path).net == expected, path


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "a" bottom: "x" bottom: "y" }',
        "layer < name: 'a' bottom: 'x' bottom: 'y' >",
        'layer: { name: "a", bottom: ["x", "y"]; };',
        '# first\nlayer{name:"a"bottom:["x"]bottom:"y"} # last',
        "\ufefflayer { name: 'a' bottom: [ 'x' , 'y' ] }",
        r'layer { name: "\x61" bottom: "" "x" bottom: "\171" }',
        'layer: [ { name: "a" bottom: "x" bottom: "y" } ]',
    ],
)
def test_one_network_in_many_spellings(text):
    made = parse_prototxt(text).net
    assert made == new("NetParameter", layer=[new("LayerParameter", name="a", bottom=["x", "y"])])


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1.0),
        ("-1.5", -1.5),
        ("- 2", -2.0),
        ("1e-3f", 1e-3),
        ("1.f", 1.0),
        (".5", 0.5),
        ("2E+2", 200.0),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
    ],
)
def test_floating_point_numbers(written, value):
    assert layer(f"relu_param {{ negative_slope: {written} }}").relu_param.negative_slope == pytest.approx(value)


def test_not_a_number():
    assert math.isnan(layer("relu_param { negative_slope: nan }").relu_param.negative_slope)


@pytest.mark.parametrize(("written", "value"), [("12", 12), ("0x1F", 31), ("017", 15), ("0", 0), ("-3", -3)])
def test_integers(written, value):
    assert layer(f"softmax_param {{ axis: {written} }}").softmax_param.axis == value


@pytest.mark.parametrize("written", ["true", "True", "t", "1"])
def test_true(written):
    assert layer(f"pooling_param {{ global_pooling: {written} }}").pooling_param.global_pooling


@pytest.mark.parametrize("written", ["false", "False", "f", "0"])
def test_false(written):
    assert not layer(f"convolution_param {{ bias_term: {written} }}").convolution_param.bias_term


@pytest.mark.parametrize("written", ["AVE", "1"])
def test_enums_by_name_and_by_number(written):
    assert layer(f"pooling_param {{ pool: {written} }}").pooling_param.pool == 1


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r'"a\n\t\\\"\'\?"', "a\n\t\\\"'?"),
        (r'"\303\251 \u00e9 \U000000e9"', "é é é"),
        ('"one" \'two\'\n"three"', "onetwothree"),
        ("'it''s'", "its"),
        ('"# no comment"', "# no comment"),
        ('"é漢"', "é漢"),
    ],
)
def test_strings(written, value):
    assert layer(f"name: {written}").name == value


def test_comments_may_be_of_any_encoding():
    data = b'# \xc4\xe3\xba\xc3\nlayer { name: "\xc3\xa9" } # \xff'
    assert parse_prototxt(data).net.layer[0].name == "é"
    assert parse_prototxt(b'name: "\xe9"').net.name == "é"


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ('layer { name: "fc" inner_product_param { num_outputs: 3 } }', "'fc'.*num_outputs", "num_output"),
        ('layer { name: "c" type: "Convolution" convolution_parm { } }', "convolution_parm", "convolution_param"),
        ('layer { name: "a" tpye: "ReLU" }', "tpye", "'type'"),
        ("nane: 1", "NetParameter has no field 'nane'", "name"),
        ("base_lr: 0.1", "base_lr", "solver"),
        ("layer { type: ReLU }", "quotes", 'type: "ReLU"'),
        ('layers { type: "RELU" }', "without quotes", "RELU"),
        ("layers { type: RELLU }", "list of names", "RELU"),
        ('layer { type: "ReLU" blobs_lr: 1 }', "blobs_lr", "older format"),
        ('layer { name: "a"', "not closed", None),
        ('layer { name: "a" >', "field of LayerParameter", None),
        ('name: "a\n"', "does not end on its line", None),
        ('name: "a" name: "b"', "given twice", None),
        ("layer { relu_param { } relu_param { } }", "given twice", None),
        ("layer { relu_param { negative_slope: big } }", "is a number", None),
        ("layer { convolution_param { num_output: -1 } }", r"lies in 0 \.\.", None),
        ("layer { convolution_param { num_output: 4294967296 } }", "lies in", None),
        ("layer { convolution_param { num_output: 1.5 } }", "is an integer", None),
        ("layer { softmax_param { axis: 089 } }", "is an integer", None),
        ("force_backward: maybe", "true or false", None),
        ('name: ["a"]', "one value, not a list", None),
        ("layer { relu_param: [ { } ] }", "not a list", None),
        ("layer: 3", "is a message", "layer {"),
        ("input_dim: [1, 2", "',' or '\\]'", None),
        ("input_dim 1", "':' is expected", None),
        ("input_dim: 1x", "runs into", None),
        ('name: "\\q"', "escape", None),
        ('name: "\\ud800"', "no character", None),
        ("@", "no meaning", None),
        ("}", "name of a field", None),
        ("layer { name: \"c\" clip_param { min: 1 } }", "'c'.*max", None),
        ("layer " + "{ mine " * 200, "deep", None),
    ],
)  # fmt: skip
def test_errors_say_where_and_what(text, what, hint):
    with pytest.raises(InvalidGraphError, match=what) as caught:
        parse_prototxt(text, name="net.prototxt")
    assert str(caught.value).startswith("net.prototxt, line ")
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_line_and_column_count_characters():
    with pytest.raises(InvalidGraphError, match="line 3, column 13 in layer 'é'"):
        parse_prototxt('layer { name: "é"\n# 漢\n  top: "漢字" ? }', name="x")


def test_a_binary_file_is_told_from_text(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"\x0a\x03net\xa2\x06\x00\x00\x00")
    with pytest.raises(InvalidGraphError, match="binary"):
        read_prototxt(path)
    with pytest.raises(ConversionError, match="cannot be read"):
        read_prototxt(tmp_path / "missing.prototxt")


def test_fields_of_ones_own_layers_are_kept():
    text = """
    layer { name: "a" type: "ReLU" }
    layer {
      name: "m" type: "Mine" convolution_param { num_output: 3 }
      mine_param { size: 3 name: "x" ratio: 0.5 ratio: 2 part { on: true } part: { on: false } sides: [1, 2]
                   mode: FAST low: -inf big: 0x10 }
      mine_flag: -3
    }
    layer { name: "n" type: "NormalizeTwice" norm_param { across_spatial: false power: 4 } }
    """
    definition = parse_prototxt(text)
    first, second, third = definition.net.layer
    assert definition.others_of(first) == {}
    assert second.convolution_param.num_output == 3
    assert definition.others_of(second) == {
        "mine_param": {
            "size": 3,
            "name": "x",
            "ratio": [0.5, 2],
            "part": [{"on": True}, {"on": False}],
            "sides": [1, 2],
            "mode": "FAST",
            "low": -math.inf,
            "big": 16,
        },
        "mine_flag": -3,
    }
    assert not third.norm_param.across_spatial
    assert definition.others_of(third) == {"norm_param": {"power": 4}}


def test_a_slip_in_a_forks_parameters_is_no_field_of_ones_own():
    with pytest.raises(InvalidGraphError, match="acros_spatial"):
        parse_prototxt('layer { name: "n" type: "Normalize" norm_param { acros_spatial: false } }')
