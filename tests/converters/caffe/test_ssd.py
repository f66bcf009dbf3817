"""Permute, Normalize, PriorBox and DetectionOutput of SSD against loops over boxes and classes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelzoo.errors import ConversionError
from tests.converters.caffe.networks import inputs, model_of, one, run

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (1, 0), (3,), (), (0, 1, 2, 3)])
def test_permute(order):
    x = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    whole = [*order, *(axis for axis in range(4) if axis not in order)]
    said = "permute_param { " + " ".join(f"order: {axis}" for axis in order) + " }"
    np.testing.assert_array_equal(one("Permute", said, x=x), x.transpose(whole))


def test_an_order_that_names_an_axis_twice_is_refused():
    text = inputs(x=(2, 3, 4)) + 'layer { name: "p" type: "Permute" bottom: "x" top: "y" permute_param '
    with pytest.raises(ConversionError, match="order"):
        model_of(text + "{ order: 1 order: 1 } }")


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("eps", [1e-10, 0.5])
def test_normalize(across, shared, eps):
    x = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    scale = RNG.normal(size=() if shared else (3,)).astype(np.float32)
    said = f"norm_param {{ across_spatial: {str(across).lower()} channel_shared: {str(shared).lower()} eps: {eps} }}"
    norm = np.sqrt((x**2).sum((1, 2, 3) if across else 1, keepdims=True) + eps)
    expected = x / norm * (scale if shared else scale[:, None, None])
    np.testing.assert_allclose(one("Normalize", said, [scale], x=x), expected, rtol=1e-5, atol=1e-6)


def test_normalize_without_weights_starts_from_its_filler():
    x = RNG.normal(size=(1, 3, 2, 2)).astype(np.float32)
    norm = np.sqrt((x**2).sum(1, keepdims=True))
    said = "norm_param { across_spatial: false channel_shared: false scale_filler { value: 20 } }"
    np.testing.assert_allclose(one("Normalize", said, x=x), 20 * x / norm, rtol=1e-5)
    said = "norm_param { across_spatial: false }"
    np.testing.assert_allclose(one("Normalize", said, x=x), x / norm, rtol=1e-5)


def prior_boxes(
    cells, image, *, mins, maxs=(), ratios=(), flip=True, clip=False, variance=(0.1,), step=None, offset=0.5
):
    """(1, 2, H * W * P * 4), box by box."""
    kinds = [1.0]
    for ratio in ratios:
        if all(abs(ratio - known) >= 1e-6 for known in kinds):
            kinds += [ratio, 1 / ratio] if flip else [ratio]
    step_y, step_x = step or (image[0] / cells[0], image[1] / cells[1])
    boxes = []
    for row in range(cells[0]):
        for column in range(cells[1]):
            x, y = (column + offset) * step_x, (row + offset) * step_y
            for index, least in enumerate(mins):
                least = int(least)
                shapes = [(least, least)]
                if maxs:
                    shapes.append((math.sqrt(least * int(maxs[index])),) * 2)
                shapes += [(least * r**0.5, least / r**0.5) for r in kinds[1:]]
                for w, h in shapes:
                    box = [
                        (x - w / 2) / image[1],
                        (y - h / 2) / image[0],
                        (x + w / 2) / image[1],
                        (y + h / 2) / image[0],
                    ]
                    boxes.append([min(max(side, 0), 1) for side in box] if clip else box)
    boxes = np.array(boxes)
    variances = np.broadcast_to(variance if len(variance) == 4 else variance[0], boxes.shape)
    return np.stack([boxes.ravel(), variances.ravel()])[None]


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("min_size: 30", {"mins": [30]}),
        ("min_size: 30.9 clip: true", {"mins": [30], "clip": True}),
        ("min_size: 10 min_size: 20 max_size: 20 max_size: 41", {"mins": [10, 20], "maxs": [20, 41]}),
        (
            "min_size: 20 max_size: 35 aspect_ratio: 2 aspect_ratio: 3 aspect_ratio: 2 aspect_ratio: 1",
            {"mins": [20], "maxs": [35], "ratios": [2, 3]},
        ),
        ("min_size: 20 aspect_ratio: 0.5 flip: false", {"mins": [20], "ratios": [0.5], "flip": False}),
        ("min_size: 20 step: 16 offset: 0", {"mins": [20], "step": (16, 16), "offset": 0}),
        ("min_size: 20 step_h: 8 step_w: 10", {"mins": [20], "step": (8, 10)}),
        ("min_size: 8 variance: 0.3", {"mins": [8], "variance": (0.3,)}),
        (
            "min_size: 8 variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2",
            {"mins": [8], "variance": (0.1, 0.1, 0.2, 0.2)},
        ),
    ],
)
def test_prior_box(said, options):
    made = one("PriorBox", f"prior_box_param {{ {said} }}", x=np.zeros((2, 4, 3, 5)), image=np.zeros((2, 3, 60, 80)))
    expected = prior_boxes((3, 5), (60, 80), **options)
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("said", "size"), [("img_size: 64", (64, 64)), ("img_h: 50 img_w: 70", (50, 70))])
def test_the_size_of_the_picture_may_be_written(said, size):
    made = one("PriorBox", f"prior_box_param {{ min_size: 12 {said} }}", x=np.zeros((1, 4, 3, 5)))
    np.testing.assert_allclose(made, prior_boxes((3, 5), size, mins=[12]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "said", ["", "min_size: 0", "min_size: 9 max_size: 9", "min_size: 9 step_h: 2", "min_size: 9 variance: 0"]
)
def test_prior_boxes_that_caffe_refuses(said):
    text = inputs(x=(1, 4, 3, 5), image=(1, 3, 9, 9))
    text += 'layer { name: "l" type: "PriorBox" bottom: "x" bottom: "image" top: "y" '
    with pytest.raises(ConversionError):
        model_of(text + f"prior_box_param {{ {said} }} }}")


# ---- DetectionOutput ----


def overlap(a, b):
    if b[0] > a[2] or b[2] < a[0] or b[1] > a[3] or b[3] < a[1]:
        return 0.0
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0

    def size(box):
        return 0.0 if box[2] < box[0] or box[3] < box[1] else (box[2] - box[0]) * (box[3] - box[1])

    return w * h / (size(a) + size(b) - w * h)


def decode(prior, variance, offset, code, encoded):
    v = [1, 1, 1, 1] if encoded else variance
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    scaled = [v[i] * offset[i] for i in range(4)]
    if code == "CORNER":
        return [prior[i] + scaled[i] for i in range(4)]
    if code == "CORNER_SIZE":
        return [prior[i] + scaled[i] * (w, h)[i % 2] for i in range(4)]
    x, y = (prior[0] + prior[2]) / 2 + scaled[0] * w, (prior[1] + prior[3]) / 2 + scaled[1] * h
    w, h = math.exp(scaled[2]) * w, math.exp(scaled[3]) * h
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def detections(loc, conf, prior, *, classes, share=True, background=0, code="CORNER", encoded=False, nms=0.3, eta=1.0,
               top_k=-1, keep=-1, least=None):  # fmt: skip
    """Rows as Caffe writes them."""
    count = prior.shape[2] // 4
    priors, variances = prior.reshape(2, count, 4).astype(np.float64)
    rows = []
    for picture in range(len(loc)):
        offsets = loc[picture].reshape(count, 1 if share else classes, 4).astype(np.float64)
        scores = conf[picture].reshape(count, classes)
        kept = []
        for label in range(classes):
            if label == background:
                continue
            boxes = [
                decode(priors[p], variances[p], offsets[p, 0 if share else label], code, encoded) for p in range(count)
            ]
            order = [
                p for p in np.argsort(-scores[:, label], kind="stable") if least is None or scores[p, label] > least
            ]
            chosen, limit = [], nms
            for p in order if top_k < 0 else order[:top_k]:
                if all(overlap(boxes[p], boxes[q]) <= limit for q in chosen):
                    chosen.append(p)
                    if eta < 1 and limit > 0.5:
                        limit *= eta
            kept += [(scores[p, label], label, p, boxes[p]) for p in chosen]
        if -1 < keep < len(kept):
            kept = sorted(sorted(kept, key=lambda item: -item[0])[:keep], key=lambda item: item[1])
        rows += [[picture, label, score, *box] for score, label, _, box in kept]
    if not rows:
        rows = [[picture, *[-1] * 6] for picture in range(len(loc))]
    return np.array(rows)[None, None]


def said(*, classes, share=True, background=0, code="CORNER", encoded=False, nms=0.3, eta=1.0, top_k=-1, keep=-1,
         least=None):  # fmt: skip
    inner = f"nms_threshold: {nms} eta: {eta}" + ("" if top_k < 0 else f" top_k: {top_k}")
    return (
        f"detection_output_param {{ num_classes: {classes} share_location: {str(share).lower()} code_type: {code} "
        f"background_label_id: {background} variance_encoded_in_target: {str(encoded).lower()} keep_top_k: {keep} "
        f"nms_param {{ {inner} }} {'' if least is None else f'confidence_threshold: {least}'} }}"
    )


def scene(pictures=1, classes=4, count=30, *, share=True, seed=0):
    """Offsets, scores and priors of boxes that overlap a lot."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 0.5, (count, 2)), rng.uniform(0.2, 0.5, (count, 2))
    prior = np.stack([np.concatenate([corner, corner + size], 1), np.tile([0.1, 0.1, 0.2, 0.2], (count, 1))])
    loc = rng.normal(size=(pictures, count * (1 if share else classes) * 4))
    conf = rng.permutation(pictures * count * classes).reshape(pictures, -1) / (pictures * count * classes)
    return tuple(item.astype(np.float32) for item in (loc, conf, prior.reshape(1, 2, -1)))


@pytest.mark.parametrize(
    "options",
    [
        {"classes": 4},
        {"classes": 4, "code": "CENTER_SIZE", "nms": 0.45, "top_k": 15, "keep": 8, "least": 0.1},
        {"classes": 4, "code": "CORNER_SIZE", "keep": 5},
        {"classes": 4, "code": "CENTER_SIZE", "encoded": True, "nms": 0.6},
        {"classes": 4, "code": "CORNER", "encoded": True},
        {"classes": 4, "code": "CORNER_SIZE", "encoded": True, "top_k": 7},
        {"classes": 4, "share": False, "code": "CENTER_SIZE", "keep": 10},
        {"classes": 3, "share": False, "background": 1, "top_k": 9},
        {"classes": 3, "background": -1, "nms": 0.0},
        {"classes": 2, "nms": 0.8, "eta": 0.9, "code": "CENTER_SIZE"},
        {"classes": 4, "nms": 0.9, "eta": 0.7, "top_k": 20, "keep": 12, "least": 0.3, "code": "CENTER_SIZE"},
        {"classes": 4, "nms": 0.5, "eta": 0.5},
        {"classes": 4, "least": 2.0},
        {"classes": 4, "keep": 0},
        {"classes": 2, "nms": 1.0, "keep": 200},
    ],
    ids=lambda options: "-".join(f"{key}={value}" for key, value in options.items()),
)
@pytest.mark.parametrize("pictures", [1, 3])
def test_detection_output(options, pictures):
    loc, conf, prior = scene(pictures, options["classes"], share=options.get("share", True))
    made = one("DetectionOutput", said(**options), loc=loc, conf=conf, prior=prior)
    expected = detections(loc, conf, prior, **options)
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def test_boxes_with_corners_on_the_wrong_side_overlap_nothing():
    prior = np.array([[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 0.1, 0.1], [0.1, 0.1, 0.5, 0.5], [0.3, 0.3, 0.3, 0.3]])
    prior = np.stack([prior, np.full((4, 4), 0.1)]).reshape(1, 2, -1).astype(np.float32)
    loc, conf = np.zeros((1, 16), np.float32), np.array([[0, 0.9, 0, 0.8, 0, 0.7, 0, 0.6]], np.float32)
    made = one("DetectionOutput", said(classes=2), loc=loc, conf=conf, prior=prior)
    np.testing.assert_allclose(made[0, 0, :, 2], [0.9, 0.8, 0.6], rtol=1e-6)
    made = one("DetectionOutput", said(classes=2, nms=0.7, eta=0.9), loc=loc, conf=conf, prior=prior)
    np.testing.assert_allclose(made[0, 0, :, 2], [0.9, 0.8, 0.6], rtol=1e-6)


def test_of_equal_scores_the_first_box_wins():
    loc, conf, prior = scene(1, 3, 8)  # more than 16 boxes are another matter: test_sorting.py
    conf[:] = 0.5
    for options in ({"classes": 3, "top_k": 4}, {"classes": 3, "keep": 3}, {"classes": 3, "nms": 0.9, "eta": 0.6}):
        made = one("DetectionOutput", said(**options), loc=loc, conf=conf, prior=prior)
        np.testing.assert_allclose(made, detections(loc, conf, prior, **options), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"keep": 6}, {"nms": 0.8, "eta": 0.9}, {"least": 2.0}])
def test_more_pictures_than_the_prototxt_says(options):
    """Priors are computed from the sizes of blobs here, so the number of pictures is open."""
    features, image = (1, 2, 3, 4), (1, 3, 30, 40)
    count = 3 * 4 * 3
    text = inputs(image=image, features=features, loc=(1, count * 4), conf=(1, count * 3))
    text += 'layer { name: "p" type: "PriorBox" bottom: "features" bottom: "image" top: "p" prior_box_param { '
    text += 'min_size: 9 aspect_ratio: 2 } } layer { name: "d" type: "DetectionOutput" bottom: "loc" bottom: "conf" '
    text += f'bottom: "p" top: "d" {said(classes=3, **options)} }}'
    rng = np.random.default_rng(5)
    feeds = {"image": np.zeros((2, *image[1:])), "features": np.zeros((2, *features[1:]))}
    loc = rng.normal(size=(2, count * 4)).astype(np.float32)
    conf = (rng.permutation(2 * count * 3).reshape(2, -1) / (2 * count * 3)).astype(np.float32)
    made = run(text, {**feeds, "loc": loc, "conf": conf})["d"]
    prior = prior_boxes((3, 4), (30, 40), mins=[9], ratios=[2]).astype(np.float32)
    np.testing.assert_allclose(made, detections(loc, conf, prior, classes=3, **options), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 5}, "offsets and 5 scores"),
        ({"classes": 4, "nms": -1}, "nms_param"),
        ({"classes": 4, "eta": 2}, "eta"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(options, message):
    loc, conf, prior = scene()
    text = inputs(loc=loc.shape, conf=conf.shape, prior=prior.shape)
    text += 'layer { name: "d" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior" top: "d" '
    text += said(**options) + " }"
    with pytest.raises(ConversionError, match=message) as caught:
        model_of(text)
    assert caught.value.hint
