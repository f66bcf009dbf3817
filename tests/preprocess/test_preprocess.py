"""`Preprocess` itself: what it takes and refuses, what a card says to it, other sizes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelzoo.errors import ArrayError, CheckpointFormatError, ImageError, InputError
from modelzoo.preprocess import FAMILIES, Preprocess, read_mean
from tests.preprocess.pictures import rgb

REGISTRY = Path(__file__).resolve().parents[2] / "registry.json"
IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}


# -- what it takes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (rgb().astype(np.float32), "fx.model"),
        (rgb().astype(np.int64), "astype"),
        (rgb()[:, :, 0], "height, width, channels"),
        (np.dstack([rgb(), rgb()[:, :, :1]]), "alpha"),
        (rgb()[:, :, :1], "repeat"),
        (np.moveaxis(rgb(), -1, 0), "channels last"),
        (np.zeros((0, 5, 3), np.uint8), "height, width, channels"),
        (np.zeros((0, 5, 5, 3), np.uint8), "no picture"),
        (np.zeros((2, 2, 5, 5, 3), np.uint8), "height, width, channels"),
        ([], "no picture"),
        (Image.fromarray(rgb()), "numpy.asarray"),
        (None, "path"),
        (3, "path"),
        ([rgb(), rgb().astype(float)], "position 1"),
        ([rgb()[None]], "position 0"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value.replace(" ", "_"),
)
def test_what_is_no_picture_is_refused_with_a_way_out(value, says):
    with pytest.raises(ArrayError) as caught:
        Preprocess("inception")(value)
    assert says in str(caught.value)


def test_a_file_that_is_no_picture_is_an_image_error(tmp_path):
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(ImageError, match=r"a\.jpg"):
        Preprocess("inception")([rgb(), tmp_path / "a.jpg"])


def test_pictures_are_not_changed():
    image = rgb()
    before = image.copy()
    for name in FAMILIES:
        if name not in ("lenet",):
            Preprocess(name, (48, 48))(image)
    np.testing.assert_array_equal(image, before)


def test_without_a_size_pictures_of_one_batch_have_one_size():
    keep = Preprocess("keras_tf", geometry="keep")
    assert keep(rgb(0, 20, 30)).shape == (1, 20, 30, 3)
    with pytest.raises(ArrayError, match="different sizes"):
        keep([rgb(0, 20, 30), rgb(0, 21, 30)])


def test_exif_is_followed_where_the_fields_say_so(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb(1, 40, 60)).save(tmp_path / "a.jpg", exif=exif.tobytes())
    plain = Preprocess("keras_tf", geometry="keep")
    assert plain(tmp_path / "a.jpg").shape == (1, 40, 60, 3)
    assert dataclasses.replace(plain, exif=True)(tmp_path / "a.jpg").shape == (1, 60, 40, 3)


# -- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "family"),
        ({"family": "inceptoin"}, "'inception'"),
        ({"family": "vgg", "sise": [2, 2]}, "'size'"),
        ({"family": "vgg", "size": [224]}, "height, width"),
        ({"family": "vgg", "size": [224, -1]}, "positive"),
        ({"family": "vgg", "size": [224.5, 224]}, "positive"),
        ({"family": "vgg", "interpolation": "bilinaer"}, "'bilinear'"),
        ({"family": "vgg", "geometry": "wrap"}, "'warp'"),
        ({"family": "vgg", "colour": "RBG"}, "channel order"),
        ({"family": "vgg", "std": [0, 1, 1]}, "zero"),
        ({"family": "vgg", "mean": [1, 2]}, "2 values for 3 channels"),
        ({"family": "vgg", "mean": "red"}, "number"),
        ({"family": "vgg", "scale": float("nan")}, "finite"),
        ({"family": "inception", "crop": 1.5}, "(0, 1]"),
        ({"family": "vgg", "resize": 100}, "not below the crop"),
        ({"family": "caffe", "mean": [1, 2, 3], "mean_file": "mean.binaryproto"}, "exclude"),
        ({"family": "inception", "crop": 0.5, "crop_fraction": 0.5}, "twice"),
    ],
    ids=lambda value: str(value)[:48],
)
def test_fields_that_make_no_sense_are_refused(fields, says):
    with pytest.raises(InputError) as caught:
        Preprocess.from_dict(fields)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_preprocessing_writes_what_it_reads(name):
    for preprocess in (
        Preprocess(name),
        Preprocess(name, (96, 64)),
        Preprocess(name, geometry="keep", mean=(1.0,), std=(3.0,)),
    ):
        assert Preprocess.from_dict(json.loads(json.dumps(preprocess.as_dict()))) == preprocess


def test_another_order_of_channels_turns_the_mean_round():
    image = rgb()
    rgb_order, bgr_order = Preprocess("vgg")(image), Preprocess("vgg", colour="BGR")(image)
    np.testing.assert_array_equal(bgr_order, rgb_order[..., ::-1])


def test_another_size_keeps_the_proportion_of_the_resize_before_the_crop():
    larger = Preprocess("torch").with_size(448, 448)
    assert (larger.size, larger.resize) == ((448, 448), 512)
    assert Preprocess("torch").with_size(200, 200).resize == 256
    assert Preprocess("inception").with_size(96, 128)(rgb()).shape == (1, 96, 128, 3)


# -- cards ------------------------------------------------------------------------------------------------------------


def test_every_card_of_the_registry_can_be_followed():
    cards = json.loads(REGISTRY.read_text())["models"]
    image, followed = rgb(1, 120, 100), 0
    for name, card in cards.items():
        for given in card.get("inputs", []):
            said = given.get("preprocess")
            if said is None:
                continue
            height, width, channels = given["shape"]
            preprocess = Preprocess.from_card({**said, "colour": given.get("colour")})
            if followed % 10 == 0:
                assert preprocess(image).shape == (1, height or 224, width or 224, channels or 3), name
            followed += 1
    assert followed >= 40


@pytest.mark.parametrize(
    ("said", "family"),
    [
        (
            {
                "family": "inception",
                "crop_fraction": 0.875,
                "interpolation": "bilinear",
                "half_pixel_centers": False,
                "mean": [127.5] * 3,
                "std": [127.5] * 3,
            },
            "inception",
        ),
        ({"family": "vgg", "resize_side": 256, "half_pixel_centers": False, "mean": [123.68, 116.78, 103.94]}, "vgg"),
        ({"family": "keras_tf", "interpolation": "nearest", "mean": [127.5], "std": [127.5]}, "keras_tf"),
        ({"family": "keras_torch", **IMAGENET}, "keras_torch"),
        ({"family": "torch", "resize_side": 256, "interpolation": "bilinear", **IMAGENET}, "torch"),
        ({"family": "caffe", "resize": [256, 256], "interpolation": "bilinear", "mean": [104, 117, 123]}, "caffe"),
        ({"family": "rescale", "std": [255.0]}, "rescale"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_card_that_says_what_its_family_does_is_that_family_to_the_bit(said, family):
    assert Preprocess.from_card({**said, "size": [224, 224]}) == Preprocess(family, (224, 224))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ("lenet", "cifarnet")])
def test_a_cards_own_mean_and_std_are_in_pixels(name):
    image = rgb(2, 256, 256)
    mean, std = [10.0, 20.0, 30.0], [2.0, 4.0, 8.0]
    found = Preprocess.from_card({"family": name, "size": [128, 128], "mean": mean, "std": std})(image)
    pixels = Preprocess.from_card({"family": name, "size": [128, 128], "mean": [0.0] * 3, "std": [1.0] * 3})(image)
    assert pixels.min() >= 0 and 200 < pixels.max() <= 255.001
    np.testing.assert_allclose(found, (pixels - np.float32(mean)) / np.float32(std), rtol=1e-4, atol=1e-3)


def test_a_cards_shorter_side_keeps_the_aspect_ratio():
    image = rgb(3, 300, 600)
    by_side = Preprocess.from_card({"family": "caffe", "resize_side": 256})
    assert by_side.geometry == "slim_short_side" and by_side.interpolation == "opencv_bilinear"
    middle = rgb(3, 300, 600)[:, 150:450]
    apart = by_side(image) - Preprocess.from_card({"family": "caffe", "resize_side": 256})(middle)
    assert np.abs(apart).max() <= 1


@pytest.mark.parametrize(
    "said",
    [
        {"family": "caffe", "resize": [256, 256], "resize_side": 256},
        {"family": "caffe", "resize": [256, 300]},
        {"size": [2, 2]},
        {"family": "torch", "mean": ["a"]},
    ],
    ids=str,
)
def test_a_card_that_contradicts_itself_is_refused(said):
    with pytest.raises(InputError):
        Preprocess.from_card(said)


# -- mean pictures ----------------------------------------------------------------------------------------------------


def test_a_mean_file_has_to_be_read_before_the_first_picture():
    waiting = Preprocess("caffe", mean_file="mean.binaryproto")
    with pytest.raises(InputError, match=r"mean\.binaryproto"):
        waiting(rgb())
    mean = np.full((256, 256, 3), 7.0, np.float32)
    assert waiting.with_mean_image(mean)(np.full((256, 256, 3), 9, np.uint8)).max() == 2.0


def test_a_mean_picture_of_another_size_is_refused():
    with pytest.raises(ArrayError, match="as large as"):
        Preprocess("caffe").with_mean_image(np.zeros((128, 128, 3)))(rgb())
    with pytest.raises(ArrayError):
        Preprocess("caffe").with_mean_image(np.zeros((256, 256)))
    with pytest.raises(InputError, match="no place"):
        Preprocess("inception").with_mean_image(np.zeros((256, 256, 3)))


@pytest.mark.parametrize("layout", ["HWC", "CHW", "NCHW"])
def test_a_mean_picture_may_be_an_npy_file(tmp_path, layout):
    mean = np.random.default_rng(0).uniform(0, 255, (9, 11, 3)).astype(np.float32)
    stored = mean if layout == "HWC" else np.moveaxis(mean, -1, 0)
    np.save(tmp_path / "mean.npy", stored[None] if layout == "NCHW" else stored)
    np.testing.assert_array_equal(read_mean(tmp_path / "mean.npy"), mean)


@pytest.mark.parametrize("data", [b"", b"\x08", b"\x0b", b"\x93NUMPY", b"text of no kind", bytes(range(256))], ids=repr)
def test_a_damaged_mean_picture_is_refused(tmp_path, data):
    (tmp_path / "mean.binaryproto").write_bytes(data)
    with pytest.raises(CheckpointFormatError, match="mean"):
        read_mean(tmp_path / "mean.binaryproto")
    with pytest.raises(CheckpointFormatError):
        read_mean(tmp_path / "missing")
