"""Each family against the framework that its networks come from, on the same pixels."""

from __future__ import annotations

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from modelzoo.errors import ArrayError
from modelzoo.preprocess import FAMILIES, Preprocess, read_mean, resize
from tests.data_folder import DATA, needs_data
from tests.preprocess.pictures import encoded, rgb

SIZES = [(61, 83), (300, 411), (411, 300), (224, 224), (500, 257)]
"""Height and width of the pictures."""


def tf1_bilinear(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    return tf.compat.v1.image.resize_bilinear(image[None], size, align_corners=False)[0]


# -- TF-slim ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("side", [128, 224, 299])
def test_inception_equals_slims_operations_to_the_bit(shape, side):
    """inception_preprocessing.preprocess_for_eval with central_fraction 0.875."""
    image = rgb(1, *shape)
    x = tf.image.convert_image_dtype(image, tf.float32)
    x = tf1_bilinear(tf.image.central_crop(x, 0.875), (side, side))
    expected = ((x - 0.5) * 2.0).numpy()
    found = Preprocess("inception", (side, side))(image)
    assert found.shape == (1, side, side, 3) and found.dtype == np.float32
    np.testing.assert_array_equal(found[0], expected)


def test_slims_bilinear_is_not_tensorflow_2s():
    """A reader who takes `tf.image.resize` is off by far more than rounding."""
    image = rgb(1, 300, 411)
    ours = resize(image, (224, 224), "tf1_bilinear")
    assert np.abs(ours - tf.image.resize(image, (224, 224)).numpy()).max() > 5


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_vgg_equals_slims_operations_to_the_bit(shape):
    """vgg_preprocessing.preprocess_for_eval: shorter side 256, centre 224, mean subtracted."""
    image = rgb(2, *shape)
    height, width = shape
    scale = tf.constant(256.0) / tf.cast(min(height, width), tf.float32)
    target = [int(tf.math.rint(tf.cast(side, tf.float32) * scale)) for side in (height, width)]
    x = tf1_bilinear(tf.cast(image, tf.float32), tuple(target)).numpy()
    top, left = (target[0] - 224) // 2, (target[1] - 224) // 2
    expected = x[top : top + 224, left : left + 224] - np.array([123.68, 116.78, 103.94], np.float32)
    np.testing.assert_array_equal(Preprocess("vgg")(image)[0], expected)


@pytest.mark.parametrize("shape", [(32, 32), (40, 57), (20, 50)], ids=str)
def test_cifarnet_standardises_each_picture(shape):
    image = rgb(3, *shape)
    x = tf.image.resize_with_crop_or_pad(tf.cast(image, tf.float32), 32, 32)
    expected = tf.image.per_image_standardization(x).numpy()
    np.testing.assert_allclose(Preprocess("cifarnet")(image)[0], expected, rtol=1e-5, atol=2e-6)


def test_lenet_takes_one_grey_channel():
    grey = rgb(4, 28, 28)[:, :, :1]
    expected = (grey.astype(np.float32) - 128) / 128
    np.testing.assert_array_equal(Preprocess("lenet")(grey)[0], expected)
    colour = rgb(4, 28, 28)
    luma = np.asarray(Image.fromarray(colour).convert("L")).astype(np.float32)[..., None]
    np.testing.assert_array_equal(Preprocess("lenet")(colour)[0], (luma - 128) / 128)


# -- Keras ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("mode", ["tf", "caffe", "torch"])
def test_keras_families_equal_preprocess_input(tmp_path, shape, mode):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(rgb(5, *shape)))
    loaded = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    expected = keras.applications.imagenet_utils.preprocess_input(loaded.copy()[None], mode=mode)
    found = Preprocess(f"keras_{mode}")(path)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if mode != "caffe" else 1e-5)


def test_what_is_inside_the_model_is_left_to_it(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(rgb(5, 100, 90)))
    expected = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    np.testing.assert_array_equal(Preprocess("inside")(path)[0], expected)


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_rescale_equals_resize_and_rescaling(shape):
    image = rgb(6, *shape)
    expected = np.asarray(keras.layers.Rescaling(1 / 255)(tf.image.resize(image, (224, 224))))
    np.testing.assert_array_equal(Preprocess("rescale")(image)[0], expected)


# -- torchvision ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [*SIZES, (257, 256), (333, 1000)], ids=str)
def test_torch_equals_torchvisions_steps(shape):
    """Resize(256), CenterCrop(224), ToTensor, Normalize, written down from torchvision's functional API with Pillow."""
    image = rgb(7, *shape)
    height, width = shape
    target = (int(256 * width / height), 256) if width > height else (256, int(256 * height / width))
    small = np.asarray(Image.fromarray(image).resize(target, Image.Resampling.BILINEAR))
    top, left = round((small.shape[0] - 224) / 2.0), round((small.shape[1] - 224) / 2.0)
    x = small[top : top + 224, left : left + 224].astype(np.float32) / np.float32(255)
    expected = (x - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    np.testing.assert_array_equal(Preprocess("torch")(image)[0], expected)


# -- Caffe ------------------------------------------------------------------------------------------------------------


@needs_data
def test_caffes_own_transformer_is_matched():
    assert DATA is not None
    folder = DATA / "caffe" / "preprocess"
    cases = json.loads((DATA / "caffe" / "manifest-preprocess.json").read_text())["cases"]
    assert len(cases) == 11
    for case in cases:
        stored = np.load(folder / case["input"])  # channels first, BGR
        image = np.moveaxis(stored, 0, -1)[:, :, ::-1]
        said = re.findall(r'(\w+): (?:"([^"]+)"|([\d.]+))', case["transform_param"])
        numbers = {key: [float(v) for k, _, v in said if k == key and v] for key, _, _ in said}
        crop = numbers.get("crop_size")
        files = [name for key, name, _ in said if key == "mean_file"]
        preprocess = Preprocess(
            "caffe",
            (int(crop[0]), int(crop[0])) if crop else None,
            geometry="crop" if crop else "keep",
            colour="GREY" if stored.shape[0] == 1 else "BGR",
            mean=() if files else tuple(numbers.get("mean_value", ())),
            scale=numbers.get("scale", [1.0])[0],
            mean_file=files[0] if files else None,
        )
        if files:
            preprocess = preprocess.with_mean_image(read_mean(folder / files[0]))
        expected = np.load(folder / case["output"])
        found = np.moveaxis(preprocess(image), -1, 1)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=case["id"])


@needs_data
def test_a_mean_picture_is_what_caffe_read():
    assert DATA is not None
    folder = DATA / "caffe" / "preprocess"
    expected = np.moveaxis(np.load(folder / "mean_expected_1x3xHxW.npy")[0], 0, -1)
    for name in ("mean.binaryproto", "mean_newshape.binaryproto"):
        np.testing.assert_array_equal(read_mean(folder / name), expected)


@needs_data
def test_the_imagenet_mean_takes_the_place_of_mean_values():
    assert DATA is not None
    mean = read_mean(DATA / "labels" / "imagenet_mean.binaryproto")
    assert mean.shape == (256, 256, 3)
    assert mean.mean((0, 1)) == pytest.approx([104.0, 116.7, 122.7], abs=0.1)  # BGR
    preprocess = Preprocess("caffe", (227, 227), mean_file="imagenet_mean.binaryproto").with_mean_image(mean)
    image = rgb(8, 256, 256)
    expected = image[14:241, 14:241, ::-1].astype(np.float32) - mean[14:241, 14:241]
    np.testing.assert_array_equal(preprocess(image)[0], expected)


def test_caffe_is_bgr_minus_its_mean():
    image = rgb(9, 256, 256)
    expected = image[16:240, 16:240, ::-1].astype(np.float32) - np.float32([104, 117, 123])
    np.testing.assert_array_equal(Preprocess("caffe")(image)[0], expected)


def opencv_by_hand(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """cv2.INTER_LINEAR on bytes, pixel by pixel from resize.cpp: 11-bit weights, shifts by 4, 16 and 2."""

    def places(old: int, new: int) -> list[tuple[int, int, int]]:
        result = []
        for target in range(new):
            at = float(np.float32((target + 0.5) * (1.0 / (new / old)) - 0.5))
            low = int(np.floor(at))
            share = np.float32(at) - np.float32(low)
            pair = [int(np.rint(np.float32(w) * np.float32(2048))) for w in (np.float32(1) - share, share)]
            result.append((low, *pair))
        return result

    out = np.zeros((height, width, image.shape[2]), np.uint8)
    rows, columns = image.shape[:2]
    for y, (top, w0, w1) in enumerate(places(rows, height)):
        upper, lower = image[min(max(top, 0), rows - 1)], image[min(max(top + 1, 0), rows - 1)]
        for x, (left, v0, v1) in enumerate(places(columns, width)):
            if left < 0:
                left, v0, v1 = 0, 2048, 0
            if left >= columns - 1:
                left, v0, v1 = columns - 1, 2048, 0
            right = min(left + 1, columns - 1)
            for c in range(image.shape[2]):
                a = int(upper[left, c]) * v0 + int(upper[right, c]) * v1
                b = int(lower[left, c]) * v0 + int(lower[right, c]) * v1
                out[y, x, c] = (((w0 * (a >> 4)) >> 16) + ((w1 * (b >> 4)) >> 16) + 2) >> 2
    return out


@pytest.mark.parametrize("size", [(40, 50), (61, 40), (100, 97), (7, 200)], ids=str)
def test_opencvs_resize_is_its_integer_arithmetic(size):
    image = rgb(10)
    np.testing.assert_array_equal(resize(image, size, "opencv_bilinear"), opencv_by_hand(image, *size))


def test_opencvs_resize_stays_beside_exact_interpolation():
    image = rgb(10, 120, 90)
    exact = tf.image.resize(image, (77, 64)).numpy()
    assert np.abs(resize(image, (77, 64), "opencv_bilinear") - exact).max() <= 1
    halves = image.reshape(60, 2, 45, 2, 3).mean((1, 3))
    assert np.abs(resize(image, (60, 45), "opencv_bilinear") - halves).max() <= 0.5
    np.testing.assert_array_equal(resize(image, (120, 90), "opencv_bilinear"), image)


# -- resizing alone ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(224, 224), (40, 50), (61, 83), (1, 1), (300, 20)], ids=str)
def test_tensorflows_two_bilinears_are_equal_to_the_bit(size):
    image = rgb(11)
    np.testing.assert_array_equal(resize(image, size, "tf1_bilinear"), tf1_bilinear(image, size).numpy())
    np.testing.assert_array_equal(
        resize(image, size, "half_pixel_bilinear"), tf.image.resize(image, size, antialias=False).numpy()
    )


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos", "box"])
def test_pillows_filters_are_pillows(name):
    image = rgb(12)
    expected = Image.fromarray(image).resize((50, 40), Image.Resampling[name.upper()])
    np.testing.assert_array_equal(resize(image, (40, 50), name), np.asarray(expected))


# -- all families -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_paths_bytes_arrays_and_lists(tmp_path, name):
    image = rgb(13, 64, 80) if name in ("lenet", "cifarnet") else rgb(13, 300, 280)
    data = encoded(image)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    preprocess = Preprocess(name)
    expected = preprocess(image)
    assert expected.dtype == np.float32 and expected.flags.c_contiguous and len(expected) == 1
    assert expected.shape[1:3] == FAMILIES[name].size
    for form in (path, str(path), data, image[None], [path], (image,)):
        np.testing.assert_array_equal(preprocess(form), expected)
    np.testing.assert_array_equal(preprocess([image, data]), np.concatenate([expected, expected]))


def test_a_crop_larger_than_the_picture_is_refused():
    with pytest.raises(ArrayError, match="smaller than the crop"):
        Preprocess("caffe", (224, 224), geometry="crop")(rgb(0, 100, 300))
