"""`transform_param` as the preprocessing of a card."""

import json

import numpy as np
import pytest

from converters.caffe.preprocessing import preprocessing
from converters.caffe.text import parse_prototxt
from modelzoo.errors import InvalidGraphError
from modelzoo.preprocess import Preprocess, read_mean
from tests.data_folder import DATA, needs_data


def transform(text):
    return parse_prototxt(f"layer {{ transform_param {{ {text} }} }}").net.layer[0].transform_param


@needs_data
def test_caffes_own_transformer_is_matched():
    assert DATA is not None
    folder = DATA / "caffe" / "preprocess"
    cases = json.loads((DATA / "caffe" / "manifest-preprocess.json").read_text())["cases"]
    assert len(cases) == 11
    for case in cases:
        stored = np.load(folder / case["input"])  # channels first, BGR
        card = preprocessing(transform(case["transform_param"]), channels=stored.shape[0])
        # A card counts a single mean for three channels; of grey pictures the fields are read as they are.
        preprocess = (Preprocess.from_card if len(stored) == 3 else Preprocess.from_dict)(card)
        if "mean_file" in card:
            preprocess = preprocess.with_mean_image(read_mean(folder / card["mean_file"]))
        found = np.moveaxis(preprocess(np.moveaxis(stored, 0, -1)[:, :, ::-1]), -1, 1)
        np.testing.assert_array_equal(found, np.load(folder / case["output"]), err_msg=case["id"])


def test_pictures_of_another_size_are_resized_before_the_crop():
    card = preprocessing(transform("crop_size: 227 mean_value: 104 mean_value: 117 mean_value: 123"), resize=256)
    made = Preprocess.from_card(card)
    assert (made.size, made.geometry, made.resize, made.mean) == ((227, 227), "warp_crop", 256, (104, 117, 123))
    assert json.loads(json.dumps(card)) == card


def test_without_a_crop_the_picture_becomes_as_large_as_the_input():
    made = Preprocess.from_card(preprocessing(None, size=(12, 15)))
    assert (made.size, made.geometry, made.mean, made.colour) == ((12, 15), "warp", (), "BGR")
    ssd = transform("mean_value: 104 resize_param { height: 300 width: 200 }")
    made = Preprocess.from_card(preprocessing(ssd))
    assert (made.size, made.geometry, made.mean) == ((300, 200), "warp", (104, 104, 104))


@pytest.mark.parametrize(
    ("text", "how", "what"),
    [
        ("mean_value: 1 mean_file: 'm'", {}, "exclude each other"),
        ("mean_value: 1 mean_value: 2", {}, "2 mean values for 3 channels"),
        ("crop_size: 3", {"size": (3, 4)}, "another size"),
    ],
)
def test_contradictions_are_refused(text, how, what):
    with pytest.raises(InvalidGraphError, match=what):
        preprocessing(transform(text), **how)
