"""Layers of detectors with regions of interest: Proposal, ROIPooling, PSROIPooling.

Girshick, "Fast R-CNN", 2015; Ren et al., "Faster R-CNN", 2015; Dai et al., "R-FCN", 2016. Boxes here are in pixels of
the picture and include their last pixel: x1 = x2 is one pixel wide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import refusal

_FLOAT = 1
_RATIOS = (0.5, 1.0, 2.0)
_SCALES = (8.0, 16.0, 32.0)


@layer_type("ROIPooling")
def roi_pooling(g: Builder, layer: Layer, x: Value, regions: Value) -> Value:
    """The maximum in each of pooled_h x pooled_w bins of each region, 0 in an empty one: (R, C, pooled_h, pooled_w).

    Regions (R, 5) are picture, x1, y1, x2, y2; times spatial_scale they are rounded to cells, halves away from 0.
    """
    param = layer.message.roi_pooling_param
    if x.rank != 4 or not param.pooled_h or not param.pooled_w:
        raise refusal(
            layer,
            "needs an input (N, C, H, W), pooled_h and pooled_w.",
            received=f"{list(x.shape)}, {param.pooled_h} x {param.pooled_w}",
        )
    made = g.MaxRoiPool(
        x,
        _regions(g, layer, regions),
        pooled_shape=[int(param.pooled_h), int(param.pooled_w)],
        spatial_scale=float(param.spatial_scale),
    )
    return g.not_batch(made)


@layer_type("PSROIPooling")
def psroi_pooling(g: Builder, layer: Layer, x: Value, regions: Value) -> Value:
    """The mean in each of k x k bins, each bin from channels of its own, 0 in an empty one: (R, output_dim, k, k)."""
    param = layer.message.psroi_pooling_param
    size, dim = int(param.group_size), int(param.output_dim)
    if x.rank != 4 or not size or not dim or x.sizes_from(1, 2) != (dim * size**2,):
        raise refusal(
            layer,
            f"needs output_dim * group_size ** 2 = {dim * size**2} channels.",
            received=list(x.shape),
            hint="check psroi_pooling_param and the layer before it",
        )
    rois = _regions(g, layer, regions)
    picture, corners = g.Split(rois, [1, 4], axis=1, outputs=2)
    corners = _rounded(g, corners)
    start, end = g.Split(corners, axis=1, num_outputs=2, outputs=2)  # x, y
    scale = float(param.spatial_scale)
    start, end = g.Mul(start, scale), g.Mul(g.Add(end, 1.0), scale)
    bin_size = g.Div(g.Max(g.Sub(end, start), g.constant(0.1, np.float32)), float(size))
    inside, counts = [], []
    height, width = x.sizes_from(2)
    for axis, cells in ((0, width), (1, height)):
        first, step = (g.Gather(item, [axis], axis=1) for item in (start, bin_size))  # (R, 1)
        low = g.Clip(g.Floor(g.Add(g.Mul(np.arange(size, dtype=np.float32)[None], step), first)), 0.0, float(cells))
        high = g.Clip(
            g.Ceil(g.Add(g.Mul(np.arange(1, size + 1, dtype=np.float32)[None], step), first)), 0.0, float(cells)
        )
        at = np.arange(cells, dtype=np.float32)[None, None]
        within = g.And(g.LessOrEqual(g.Unsqueeze(low, [2]), at), g.Less(at, g.Unsqueeze(high, [2])))
        inside.append(g.Cast(within, to=_FLOAT))  # (R, bins, cells)
        counts.append(g.Relu(g.Sub(high, low)))

    # Sums of rows of cells for all regions at once: (k, R, N * W) times (k, N * W, dim * k * H).
    images = g.Range(g.constant(0, np.int64), g.Squeeze(g.Shape(x, start=0, end=1), [0]), g.constant(1, np.int64))
    own = g.Cast(g.Equal(picture, g.Unsqueeze(g.Cast(images, to=_FLOAT), [0])), to=_FLOAT)  # (R, N)
    masks = g.Mul(g.Unsqueeze(own, [1, 3]), g.Unsqueeze(inside[0], [2]))  # (R, k, N, W)
    masks = g.Reshape(g.Transpose(masks, perm=[1, 0, 2, 3]), [size, 0, -1])
    maps = g.Transpose(g.Reshape(x, [0, dim, size, size, height, width]), perm=[3, 0, 5, 1, 2, 4])
    maps = g.Reshape(maps, [size, -1, dim * size * height])
    for item, axis in ((masks, 2), (maps, 1)):
        g.not_batch(item, axis)
    rows = g.Transpose(
        g.Reshape(g.MatMul(masks, maps), [size, 0, dim, size, height]), perm=[1, 2, 3, 0, 4]
    )  # (R, dim, k, k, H)
    total = g.ReduceSum(g.Mul(rows, g.Unsqueeze(inside[1], [1, 3])), [4], keepdims=0)
    area = g.Mul(g.Unsqueeze(counts[1], [1, 3]), g.Unsqueeze(counts[0], [1, 2]))
    return g.not_batch(g.Div(total, g.Max(area, 1.0)))


@layer_type("Proposal")
def proposal(g: Builder, layer: Layer, scores: Value, offsets: Value, info: Value) -> tuple[Value, Value]:
    """Regions (R, 5) after non maximum suppression, and their scores (R,).

    Scores (1, 2 A, H, W) are those of the background, then those of A anchors; offsets (1, 4 A, H, W); info holds the
    picture's height and width and its scale. Boxes below min_size get the score 0, as in the layer written in C++.
    """
    param = layer.message.proposal_param
    anchors = anchors_of_cell(param.base_size, list(param.ratio) or _RATIOS, list(param.scale) or _SCALES)
    boxes, found, large = _boxes(
        g, layer, (scores, offsets, info), anchors, float(param.feat_stride), float(param.min_size)
    )
    found = g.Mul(found, g.Cast(large, to=_FLOAT))
    limits = int(param.pre_nms_topn), int(param.post_nms_topn), float(param.nms_thresh)
    return _best(g, boxes, found, limits, None)


def python_proposal(g: Builder, layer: Layer, settings: dict[str, object], *bottoms: Value) -> tuple[Value, Value]:
    """`rpn.proposal_layer.ProposalLayer` with its defaults for tests: regions (R, 5) and their scores (R, 1).

    Boxes below 16 pixels of the original picture are dropped; of 6000 boxes 300 are kept, which overlap at most 0.7.
    """
    scales = settings.get("scales", _SCALES)
    stride = settings.get("feat_stride", 16)
    if not isinstance(scales, Sequence) or not isinstance(stride, int):
        raise refusal(layer, "has a param_str of another form.", received=settings, hint="'feat_stride': 16")
    anchors = anchors_of_cell(16, _RATIOS, [float(item) for item in scales])
    boxes, found, large = _boxes(g, layer, bottoms, anchors, float(stride), 16.0)
    found = g.Where(large, found, g.constant(-np.inf, np.float32))
    regions, scores = _best(g, boxes, found, (6000, 300, 0.7), float(np.finfo(np.float32).min))
    return regions, g.Unsqueeze(scores, [1])


def anchors_of_cell(base: float, ratios: Sequence[float], scales: Sequence[float]) -> np.ndarray:
    """Boxes x1, y1, x2, y2 around the cell 0, 0, each ratio (height / width) in each scale, (A, 4).

    Sides are rounded to pixels before they are scaled.
    """
    made = []
    for ratio in ratios:
        width = np.round(np.sqrt(base * base / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            half = (np.array([width, height]) * scale - 1) / 2
            centre = (base - 1) / 2
            made.append([*(centre - half), *(centre + half)])
    return np.array(made, np.float32)


def _boxes(
    g: Builder, layer: Layer, bottoms: Sequence[Value], anchors: np.ndarray, stride: float, least: float
) -> tuple[Value, Value, Value]:
    """Boxes (H * W * A, 4), their scores, and whether both sides are at least `least`."""
    if len(bottoms) != 3:
        raise refusal(layer, "needs scores, offsets and the picture's size.", received=", ".join(layer.bottoms))
    scores, offsets, info = bottoms
    count = len(anchors)
    if scores.rank != 4 or scores.sizes[:2] != (1, 2 * count) or offsets.shape != (1, 4 * count, *scores.shape[2:]):
        raise refusal(
            layer,
            f"needs one picture, with {2 * count} scores and {4 * count} offsets a cell.",
            received=f"{list(scores.shape)} and {list(offsets.shape)}",
            hint="check the anchors; one picture at a time",
        )
    g.batch_is_fixed = True
    height, width = scores.sizes[2:]
    corner = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 1, 2) * stride
    table = (np.tile(corner, (1, 1, 2)) + anchors).reshape(-1, 4).astype(np.float32)
    sides = table[:, 2:] - table[:, :2] + 1
    centres = table[:, :2] + np.float32(0.5) * sides

    rows = g.not_batch(g.Reshape(g.Transpose(offsets, perm=[0, 2, 3, 1]), [height * width * count, 4]))
    shift, stretch = g.Split(rows, axis=1, num_outputs=2, outputs=2)
    centre = g.Add(g.Mul(shift, sides), centres)
    half = g.Mul(g.Mul(g.Exp(stretch), sides), 0.5)
    sizes = g.not_batch(g.Reshape(info, [-1]))
    last = g.Sub(g.Gather(sizes, [1, 0, 1, 0], axis=0), 1.0)
    boxes = g.Max(g.Min(g.Concat(g.Sub(centre, half), g.Add(centre, half), axis=1), last), 0.0)

    low, high = g.Split(boxes, axis=1, num_outputs=2, outputs=2)
    scale = g.Gather(sizes, [3, 2] if info.sizes[-1] == 4 else [2, 2], axis=0)
    fits = g.GreaterOrEqual(g.Add(g.Sub(high, low), 1.0), g.Mul(scale, least))
    large = g.Equal(g.ReduceMin(g.Cast(fits, to=_FLOAT), [1], keepdims=0), 1.0)
    own = g.Slice(scores, [count], [2 * count], [1])
    found = g.not_batch(g.Reshape(g.Transpose(own, perm=[0, 2, 3, 1]), [height * width * count]))
    return boxes, found, large


def _best(
    g: Builder, boxes: Value, scores: Value, limits: tuple[int, int, float], least: float | None
) -> tuple[Value, Value]:
    """Regions (R, 5) and scores (R,): of the `before` best those that overlap little, and the `after` best of these."""
    before, after, threshold = limits
    count = boxes.sizes[0]
    before = min(before, count) if before > 0 else count
    after = min(after, before) if after > 0 else before
    scores, places = g.TopK(scores, [before], axis=0, outputs=2)
    boxes = g.Gather(boxes, places, axis=0)
    # With the last pixel counted in, areas and overlaps are those of boxes one pixel longer.
    longer = g.Add(boxes, np.array([0, 0, 1, 1], np.float32))
    chosen = g.NonMaxSuppression(
        g.not_batch(g.Unsqueeze(longer, [0])),
        g.not_batch(g.Unsqueeze(scores, [0, 1])),
        g.constant([after], np.int64),
        g.constant([threshold], np.float32),
        None if least is None else g.constant([least], np.float32),
    )
    index = g.Gather(chosen, 2, axis=1)
    return g.Pad(g.Gather(boxes, index, axis=0), [0, 1, 0, 0], 0.0), g.Gather(scores, index, axis=0)


def _regions(g: Builder, layer: Layer, regions: Value) -> Value:
    """(R, 5)."""
    if regions.rank < 2 or math.prod(regions.sizes_from(1)) != 5:
        raise refusal(
            layer,
            "needs regions (R, 5): picture, x1, y1, x2, y2.",
            received=list(regions.shape),
            hint="swap the bottoms",
        )
    return g.not_batch(g.reshape(g.not_batch(regions), (regions.shape[0], 5)))


def _rounded(g: Builder, x: Value) -> Value:
    """x to whole numbers, halves away from 0."""
    size = g.Abs(x)
    whole = g.Floor(size)
    up = g.Cast(g.GreaterOrEqual(g.Sub(size, whole), 0.5), to=_FLOAT)
    return g.Mul(g.Sign(x), g.Add(whole, up))
