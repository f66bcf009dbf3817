"""What a user reads of a network that is wrong: file, line and layer, what was found, what to write instead."""

import numpy as np
import pytest

from converters.caffe.graph import load_caffe
from modelzoo.errors import ConversionError, InvalidGraphError, UnsupportedOperatorError, WeightsMismatchError
from tests.converters.caffe.files import write_prototxt
from tests.converters.caffe.networks import inputs

HEAD = inputs(x=(2, 3, 8, 8), half=(2, 3, 4, 4))


def refused(tmp_path, text, weights=None):
    """The error, whose message begins with the place of the layer `l`: the line before the last."""
    path = write_prototxt(tmp_path / "deploy.prototxt", HEAD + "# a comment\n\n" + text)
    with pytest.raises((ConversionError, WeightsMismatchError)) as caught:
        load_caffe(path, weights)
    assert str(caught.value).startswith("deploy.prototxt, line 5"), str(caught.value)
    return caught.value


def layer(kind, said="", bottoms="x", tops="y"):
    names = "".join(f' bottom: "{name}"' for name in bottoms.split()) + "".join(f' top: "{t}"' for t in tops.split())
    return f'layer {{ name: "l" type: "{kind}"{names}\n {said} }}\n'


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (layer("Convolutoin"), "'l' is of type 'Convolutoin'", "did you mean 'Convolution'"),
        (layer("Mine"), "'l' is of type 'Mine'", "layer_type registers"),
        (layer(""), "'l' has no type", "write it"),
        (layer("ReLU", "include { phase: TEST } exclude { phase: TRAIN }"), "both include and exclude", "leave one"),
        (layer("ReLU", bottoms=""), "has 0 bottoms", "it takes 1"),
        (layer("ReLU", bottoms="x x"), "has 2 bottoms", "it takes 1"),
        (layer("Crop"), "has 1 bottoms", "it takes 2"),
        (layer("Scale", bottoms="x x x"), "has 3 bottoms", "it takes 1 to 2"),
        (layer("Filter", bottoms=""), "has 0 bottoms", "it takes 1 or more"),
        (layer("ReLU", tops=""), "has 0 tops, and its type gives 1", "one top for each result"),
        (layer("ReLU", tops="a b"), "has 2 tops, and its type gives 1", "one top for each result"),
        (layer("Silence", tops="a"), "has 1 tops, and its type gives 0", "leave out its tops"),
        (layer("Convolution", "convolution_param { kernel_size: 3 }"), "has no output", "write num_output"),
        (layer("Convolution", "convolution_param { num_output: 2 }"), "0 numbers in kernel_size", "write kernel_size"),
        (
            layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 stride_h: 2 }"),
            "stride or dilation of 0",
            "both of",
        ),
        (
            layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }", bottoms="x x"),
            "has 2 bottoms and 1 tops",
            "one top for each bottom",
        ),
        (layer("Pooling", "pooling_param { kernel_size: 3 pad_w: 1 }"), "needs pad, or else", "pad_h and pad_w"),
        (
            layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 stride_h: 2 stride_w: 2 }"),
            "needs stride",
            "once",
        ),
        (layer("Concat", bottoms="x half"), "joins along axis 1 blobs whose other axes differ", "check the axis"),
        (layer("ReLU", bottoms="z"), "reads the blob 'z'", "blobs so far"),
        (layer("ReLU", tops="half"), "Blob 'half' is written by layer 'l'", "in place"),
        (layer("Softmax", "softmax_param { axis: 4 }"), "works on axis 4", "check the layer's axis"),
    ],
)
def test_place_reason_and_remedy(tmp_path, text, what, hint):
    error = refused(tmp_path, text)
    assert what in error.what
    assert "'l'" in error.what
    assert hint in error.hint


def test_kinds_of_errors(tmp_path):
    assert isinstance(refused(tmp_path, layer("")), InvalidGraphError)
    unknown = refused(tmp_path, layer("Mine"))
    assert isinstance(unknown, UnsupportedOperatorError)
    assert (unknown.node, unknown.operator) == ("l", "Mine")


def test_arrays_of_another_shape(tmp_path):
    text = layer("Convolution", "convolution_param { num_output: 2 kernel_size: 3 }")
    error = refused(tmp_path, text, {"l/0": np.zeros((2, 3, 5, 5)), "l/1": np.zeros(2)})
    assert error.mismatched == ("l/0: file (2, 3, 5, 5), network (2, 3, 3, 3)",)


def test_of_layers_of_one_name_the_line_is_that_of_the_wrong_one(tmp_path):
    train = 'layer { name: "l" type: "ReLU" bottom: "x" top: "y" include { phase: TRAIN } }\n'
    path = write_prototxt(tmp_path / "net.prototxt", HEAD + train + layer("Softmax", "softmax_param { axis: 9 }"))
    with pytest.raises(ConversionError, match=r"^net\.prototxt, line 4: Layer 'l' \(Softmax\)"):
        load_caffe(path)


def test_lines_of_older_formats(tmp_path):
    old = 'input: "x"\ninput_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4\n'
    v1 = 'layers { name: "l" type: SOFTMAX bottom: "x" top: "y" softmax_param { axis: 9 } }'
    v0 = 'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }\n'
    v0 += 'layers { layer { name: "l" type: "conv" kernelsize: 3 num_output: 1 group: 2 } bottom: "p" top: "y" }'
    for text, line in ((v1, 3), (v0, 4)):
        with pytest.raises(ConversionError, match=rf"^net\.prototxt, line {line}: Layer 'l'"):
            load_caffe(write_prototxt(tmp_path / "net.prototxt", old + text))
