"""Which axes count pictures: those are open in the graph, and other numbers of pictures come out right."""

import numpy as np
import onnx
import pytest

from tests.converters.caffe.networks import inputs, model_of

RNG = np.random.default_rng(0)


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def first_sizes(proto: onnx.ModelProto):
    return {item.name: item.type.tensor_type.shape.dim[0].dim_param for item in proto.graph.input}


@pytest.mark.parametrize(
    ("kind", "said", "shapes"),
    [
        ("Bias", "bias_param { axis: 3 }", {"x": (1, 3, 2, 1), "other": (1,)}),
        ("Scale", "scale_param { axis: 2 }", {"x": (3, 2, 3, 4), "other": (3, 4)}),
        ("InfogainLoss", "", {"x": (1, 4), "label": (1,), "other": (1, 1, 4, 4)}),
        ("BatchReindex", "", {"x": (3, 4), "other": (3,)}),
        ("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", {"x": (2, 3, 4, 4), "other": (2, 5)}),
    ],
)
def test_what_lies_along_other_axes_counts_no_pictures(kind, said, shapes):
    names = "".join(f' bottom: "{name}"' for name in shapes)
    proto = model_of(inputs(**shapes) + f'layer {{ name: "l" type: "{kind}"{names} top: "y" {said} }}')
    sizes = first_sizes(proto)
    assert sizes.pop("other") == ""
    assert set(sizes.values()) == {"N"}


def test_twice_as_many_pictures_as_the_network_says():
    from converters.function import load

    text = inputs(x=(3, 2, 3, 4), other=(3, 4)) + (
        'layer { name: "l" type: "Scale" bottom: "x" bottom: "other" top: "y" scale_param { axis: 2 } }'
    )
    x, other = random(6, 2, 3, 4), random(3, 4)
    np.testing.assert_allclose(load(model_of(text))({"x": x, "other": other})["y"], x * other, rtol=1e-6)


def test_constants_that_stand_for_pictures_fix_their_number():
    constant = 'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 2 dim: 3 } } }\n'
    total = 'layer { name: "e" type: "Eltwise" bottom: "x" bottom: "d" top: "y" }'
    assert first_sizes(model_of(inputs(x=(2, 3)) + constant + total)) == {"x": ""}
