"""`modelzoo convert`: what it writes, what it says, and its exit codes."""

from __future__ import annotations

import json

import pytest

from modelzoo.cli.root import root
from tests.converters.keras.networks import small_convnet


@pytest.fixture
def source(tmp_path):
    (tmp_path / "net.onnx").write_bytes(small_convnet().SerializeToString())
    return tmp_path / "net.onnx"


def modelzoo(*words) -> int:
    with pytest.raises(SystemExit) as stop:
        root.main([str(word) for word in words])
    return int(stop.value.code or 0)


def test_to_keras_with_a_report(source, tmp_path, capsys):
    out, report = tmp_path / "net.keras", tmp_path / "parity.html"
    assert modelzoo("convert", source, "-o", out, "--verify", "--report", report) == 0
    said = capsys.readouterr().out
    assert str(out) in said and "channels last" in said and "within 0.0001" in said
    assert out.is_file() and "<svg" in report.read_text()


def test_json_says_layouts_and_parity(source, tmp_path, capsys):
    out = tmp_path / "net.keras"
    words = ("--json", "convert", source, "-o", out, "--verify", "--data-format", "source")
    assert modelzoo(*words, "--inputs", "x=?,3,32,32") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["stock_only"] is True
    assert document["layouts"] == {"x": "source", "y": "source"}
    assert document["parity"]["passed"] is True


def test_to_savedmodel_and_to_onnx(source, tmp_path):
    assert modelzoo("-q", "convert", source, "--to", "savedmodel", "-o", tmp_path / "saved") == 0
    assert (tmp_path / "saved" / "saved_model.pb").is_file()
    assert modelzoo("-q", "convert", source, "--to", "onnx", "-o", tmp_path / "again.onnx") == 0
    assert (tmp_path / "again.onnx").is_file()


@pytest.mark.parametrize(("to", "name"), [("savedmodel", "saved"), ("onnx", "again.onnx"), ("python", "net.py")])
def test_what_is_verified_is_said_whatever_is_made(source, tmp_path, capsys, to, name):
    words = ("convert", source, "--to", to, "-o", tmp_path / name, "--verify", "--json")
    assert modelzoo(*words, "--report", tmp_path / "parity.json") == 0
    parity = json.loads(capsys.readouterr().out)["parity"]
    assert parity["passed"] and [row["name"] for row in parity["rows"] if row["kind"] == "output"] == ["y"]
    assert json.loads((tmp_path / "parity.json").read_text()) == parity


@pytest.mark.parametrize("model", [None, 5, b"net.onnx"])
def test_what_is_no_path_is_refused(model):
    import modelzoo as mz

    with pytest.raises(mz.errors.UsageError):
        mz.convert(model)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("model.ckpt-10", "numbers only"),
        ("model.index", "numbers only"),
        ("cat.jpg", "what can be converted"),
        ("folder", "what can be converted"),
        ("net.onnx", "fetch it again"),
        ("gone.onnx", "check the path"),
        ("gone.prototxt", "check the path"),
    ],
)
def test_what_cannot_be_converted_says_what_can(tmp_path, capsys, name, hint):
    if name == "folder":
        (tmp_path / name).mkdir()
    elif not name.startswith("gone"):
        (tmp_path / name).write_bytes(bytes(range(256)))
    assert modelzoo("convert", tmp_path / name, "-o", tmp_path / "net.keras") in (13, 17)
    assert hint in capsys.readouterr().err


CAFFE = """
input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" include { phase: TRAIN } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" include { stage: "deploy" } }
"""


def test_a_caffe_network_without_weights_is_said_to_be_untrained(tmp_path, capsys):
    (tmp_path / "net.prototxt").write_text(CAFFE)
    words = ("convert", tmp_path / "net.prototxt", "--to", "onnx", "-o", tmp_path / "net.onnx")
    assert modelzoo(*words) == 0
    assert "untrained" in capsys.readouterr().err
    assert modelzoo("convert", tmp_path / "net.caffemodel", tmp_path / "net.prototxt", "-o", "x.keras") == 2
    assert f"convert {tmp_path / 'net.prototxt'} {tmp_path / 'net.caffemodel'} -o x.keras" in capsys.readouterr().err


def test_a_caffe_network_to_every_format(tmp_path, capsys):
    (tmp_path / "net.prototxt").write_text(CAFFE)
    net = tmp_path / "net.prototxt"
    assert modelzoo("convert", net, "-o", tmp_path / "net.keras", "--verify") == 0
    assert "fc" in capsys.readouterr().out
    words = ("convert", net, "--stage", "deploy", "--phase", "train", "--to", "python", "-o", tmp_path / "net.py")
    assert modelzoo("-q", *words) == 0
    text = (tmp_path / "net.py").read_text()
    assert "layers.Dropout(" in text and "layers.Softmax(" in text
    assert modelzoo("-q", "convert", net, "--to", "onnx", "-o", tmp_path / "net.onnx") == 0
    assert modelzoo("-q", "convert", net, "--to", "litert", "-o", tmp_path / "net.tflite") == 0
    assert modelzoo("-q", "convert", net, "--to", "litert", "-o", tmp_path / "net.lite") == 2


def test_a_broken_prototxt_says_where(tmp_path, capsys):
    (tmp_path / "net.prototxt").write_text(CAFFE.replace("num_output: 4", "num_outputs: 4"))
    assert modelzoo("convert", tmp_path / "net.prototxt", "-o", tmp_path / "net.keras") != 0
    said = capsys.readouterr().err
    assert "num_outputs" in said and "line 3" in said and "'conv'" in said and "num_output'" in said


@pytest.mark.parametrize(
    "words,code",
    [
        (("-o", "net.keras", "--verify", "--rtol", "0"), 1),
        (("-o", "net.h5"), 2),
        (("-o", "net.keras", "--inputs", "x:3"), 2),
        (("-o", "net.keras", "--inputs", "z=1,3,32,32"), 15),
        (("-o", "net.keras", "--outputs", "nothing"), 3),
        (("-o", "net.keras", "--report", "x.html"), 2),
    ],
)
def test_exit_codes(source, tmp_path, monkeypatch, words, code):
    monkeypatch.chdir(tmp_path)
    assert modelzoo("-q", "convert", source, *words) == code
    if code != 1:
        assert not (tmp_path / "net.keras").exists()


def test_files_that_are_no_model(tmp_path, capsys):
    assert modelzoo("convert", tmp_path / "nothing.onnx", "-o", tmp_path / "x.keras") == 13
    (tmp_path / "broken.onnx").write_bytes(small_convnet().SerializeToString()[:900])
    assert modelzoo("convert", tmp_path / "broken.onnx", "-o", tmp_path / "x.keras") in (13, 17)
    assert modelzoo("convert", "deploy.prototxt", "x.caffemodel", "-o", tmp_path / "x.keras") == 17
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.glob("x.*"))


@pytest.mark.parametrize(
    ("text", "shape"),
    [("a:0=1,3,?,None", ("a:0", (1, 3, None, None))), ("a=b=5", ("a=b", (5,))), ("min_size=", ("min_size", ()))],
)
def test_shapes_on_the_command_line(text, shape):
    from modelzoo.cli.convert import _shape

    assert _shape(text) == shape
