"""Proposal, ROIPooling and PSROIPooling against loops over regions and bins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from converters.caffe.layers.detection import anchors_of_cell
from tests.converters.caffe.networks import inputs, one, run, tops_of

RNG = np.random.default_rng(17)


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def away(x):
    """Rounded, halves away from 0."""
    return math.copysign(math.floor(abs(x) + 0.5), x)


ROIS = np.array([
    [0, 0, 0, 15, 15], [1, 8, 4, 27, 23], [0, 20, 20, 60, 60],
    [1, 7, 7, 7, 7], [0, 9.5, 2.5, 3, 1], [1, 40, 40, 50, 50],
], np.float32)  # fmt: skip


@pytest.mark.parametrize(("bins", "scale"), [((2, 3), 0.25), ((7, 7), 0.25), ((1, 1), 0.125), ((3, 2), 1.0)])
def test_roi_pooling(bins, scale):
    x = random(2, 3, 8, 10)
    made = one("ROIPooling", f"roi_pooling_param {{ pooled_h: {bins[0]} pooled_w: {bins[1]} spatial_scale: {scale} }}",
               x=x, rois=ROIS)  # fmt: skip
    expected = np.zeros((len(ROIS), 3, *bins))
    for r, (picture, *corners) in enumerate(ROIS):
        x1, y1, x2, y2 = (int(away(np.float32(side * scale))) for side in corners)
        step = max(y2 - y1 + 1, 1) / bins[0], max(x2 - x1 + 1, 1) / bins[1]
        for i, j in np.ndindex(*bins):
            rows = [min(max(math.floor(i * step[0]) + y1, 0), 8), min(max(math.ceil((i + 1) * step[0]) + y1, 0), 8)]
            columns = [
                min(max(math.floor(j * step[1]) + x1, 0), 10),
                min(max(math.ceil((j + 1) * step[1]) + x1, 0), 10),
            ]
            part = x[int(picture), :, rows[0] : rows[1], columns[0] : columns[1]]
            expected[r, :, i, j] = part.max((1, 2)) if part.size else 0
    np.testing.assert_allclose(made, expected, rtol=1e-6)


@pytest.mark.parametrize(("size", "dim", "scale"), [(2, 3, 0.25), (3, 2, 0.25), (3, 1, 0.0625)])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1, 1)])
def test_psroi_pooling(size, dim, scale, shape):
    x = random(2, dim * size**2, 8, 10)
    rois = np.concatenate([ROIS[:5], [[1, -4.5, -3.5, 12.5, 6.49]]]).astype(np.float32)
    said = f"psroi_pooling_param {{ spatial_scale: {scale} output_dim: {dim} group_size: {size} }}"
    made = one("PSROIPooling", said, x=x, rois=rois.reshape(shape))
    expected = np.zeros((len(rois), dim, size, size))
    for r, (picture, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (away(float(side)) for side in corners)
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        w, h = max(x2 - x1, 0.1) / size, max(y2 - y1, 0.1) / size
        for i, j in np.ndindex(size, size):
            rows = [min(max(side, 0), 8) for side in (math.floor(i * h + y1), math.ceil((i + 1) * h + y1))]
            columns = [min(max(side, 0), 10) for side in (math.floor(j * w + x1), math.ceil((j + 1) * w + x1))]
            for d in range(dim):
                part = x[int(picture), (d * size + i) * size + j, rows[0] : rows[1], columns[0] : columns[1]]
                expected[r, d, i, j] = part.mean() if part.size else 0
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


# The anchors of py-faster-rcnn's generate_anchors.py, as its comment lists them (1-based there).
ANCHORS = np.array([
    [-83, -39, 100, 56], [-175, -87, 192, 104], [-359, -183, 376, 200],
    [-55, -55, 72, 72], [-119, -119, 136, 136], [-247, -247, 264, 264],
    [-35, -79, 52, 96], [-79, -167, 96, 184], [-167, -343, 184, 360],
]) - 1  # fmt: skip


def test_anchors():
    np.testing.assert_array_equal(anchors_of_cell(16, (0.5, 1, 2), (8, 16, 32)), ANCHORS)


def proposals(scores, deltas, info, *, stride=16, least=16, before=6000, after=300, nms=0.7, drops=True):
    """Regions and scores, box by box."""
    height, width = scores.shape[2:]
    boxes = []
    for h, w, a in np.ndindex(height, width, 9):
        x1, y1, x2, y2 = ANCHORS[a] + np.array([w, h, w, h]) * stride
        bw, bh = x2 - x1 + 1, y2 - y1 + 1
        dx, dy, dw, dh = deltas[0, 4 * a : 4 * a + 4, h, w].astype(np.float64)
        x, y, pw, ph = dx * bw + x1 + bw / 2, dy * bh + y1 + bh / 2, math.exp(dw) * bw, math.exp(dh) * bh
        box = [x - pw / 2, y - ph / 2, x + pw / 2, y + ph / 2]
        box = [max(min(side, info[1 - i % 2] - 1), 0) for i, side in enumerate(box)]
        large = min(box[2] - box[0], box[3] - box[1]) + 1 >= least * info[2]
        score = float(scores[0, 9 + a, h, w])
        if large or not drops:
            boxes.append((score if large else 0.0, box))
    boxes = sorted(boxes, key=lambda item: -item[0])[:before]

    def iou(a, b):
        w, h = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
        inter = max(w, 0) * max(h, 0)
        areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
        return inter / (sum(areas) - inter)

    kept = []
    for score, box in boxes:
        if all(iou(box, other) <= nms for _, other in kept):
            kept.append((score, box))
    kept = kept[:after]
    return np.array([[0, *box] for _, box in kept]), np.array([score for score, _ in kept])


def rpn(seed):
    rng = np.random.default_rng(seed)
    scores = rng.permutation(18 * 5 * 6).reshape(1, 18, 5, 6) / (18 * 30)
    return {"s": scores.astype(np.float32), "d": rng.normal(size=(1, 36, 5, 6), scale=0.3).astype(np.float32)}


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("", {}),
        (
            "min_size: 40 nms_thresh: 0.5 pre_nms_topn: 100 post_nms_topn: 7",
            {"least": 40, "nms": 0.5, "before": 100, "after": 7},
        ),
    ],
)
def test_proposal(said, options):
    feeds, info = rpn(1), np.array([80, 96, 1.5])
    made = tops_of("Proposal", f"proposal_param {{ {said} }}", tops=("rois", "scores"), **feeds, info=info[None])
    rois, scores = proposals(feeds["s"], feeds["d"], info, drops=False, **options)
    np.testing.assert_allclose(made["rois"], rois, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(made["scores"], scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "settings", ["'feat_stride': 16", "feat_stride: 16\\nscales: [8, 16, 32]", "{'feat_stride': 16}"]
)
def test_proposals_written_in_python(settings):
    feeds, info = rpn(2), np.array([80, 96, 3.0])
    said = f"""python_param {{ module: "rpn.proposal_layer" layer: "ProposalLayer" param_str: "{settings}" }}"""
    made = tops_of("Python", said, tops=("rois", "scores"), **feeds, info=info[None])
    rois, scores = proposals(feeds["s"], feeds["d"], info, drops=True)
    assert 0 < len(rois) < 270
    np.testing.assert_allclose(made["rois"], rois, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(made["scores"], scores[:, None], rtol=1e-5)


def test_layers_behind_proposals_take_any_number_of_regions():
    feeds, info = rpn(3), np.array([80, 96, 1.0])
    x, weights, bias = random(1, 2, 5, 6), random(3, 2 * 2 * 2), random(3)
    text = inputs(s=(1, 18, 5, 6), d=(1, 36, 5, 6), info=(1, 3), x=x.shape)
    text += 'layer { name: "p" type: "Proposal" bottom: "s" bottom: "d" bottom: "info" top: "rois" }'
    text += 'layer { name: "r" type: "ROIPooling" bottom: "x" bottom: "rois" top: "pool" '
    text += "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 } }"
    text += 'layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 3 } }'
    text += 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }'
    made = run(text, {**feeds, "info": info[None], "x": x}, {"fc": [weights, bias]})["prob"]
    rois, _ = proposals(feeds["s"], feeds["d"], info, drops=False)
    pool = one("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 }", x=x, rois=rois)
    scores = np.exp(pool.reshape(len(rois), -1) @ weights.T + bias)
    np.testing.assert_allclose(made, scores / scores.sum(1, keepdims=True), rtol=1e-3, atol=1e-4)


def test_a_network_like_r_fcn():
    feeds, info, x = rpn(4), np.array([80, 96, 1.0]), random(1, 2 * 9, 5, 6)
    text = inputs(s=(1, 18, 5, 6), d=(1, 36, 5, 6), info=(1, 3), x=x.shape)
    text += 'layer { name: "p" type: "Proposal" bottom: "s" bottom: "d" bottom: "info" top: "rois" }'
    text += 'layer { name: "r" type: "PSROIPooling" bottom: "x" bottom: "rois" top: "maps" '
    text += "psroi_pooling_param { spatial_scale: 0.0625 output_dim: 2 group_size: 3 } }"
    text += 'layer { name: "v" type: "Pooling" bottom: "maps" top: "vote" '
    text += "pooling_param { pool: AVE kernel_size: 3 stride: 3 } }"
    text += 'layer { name: "q" type: "Softmax" bottom: "vote" top: "prob" }'
    text += 'layer { name: "z" type: "Reshape" bottom: "prob" top: "y" reshape_param { shape { dim: 0 dim: 2 } } }'
    made = run(text, {**feeds, "info": info[None], "x": x})["y"]
    rois, _ = proposals(feeds["s"], feeds["d"], info, drops=False)
    said = "psroi_pooling_param { spatial_scale: 0.0625 output_dim: 2 group_size: 3 }"
    vote = np.exp(one("PSROIPooling", said, x=x, rois=rois).mean((2, 3)))
    np.testing.assert_allclose(made, vote / vote.sum(1, keepdims=True), rtol=1e-3, atol=1e-4)
