"""Layers of SSD: Permute, Normalize, PriorBox, DetectionOutput.

Liu et al., "SSD: Single Shot MultiBox Detector", 2016; the semantics are those of the branch `ssd` of weiliu89/caffe.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import choice, constant_filler, refusal
from converters.caffe.sorting import sorted_places
from converters.caffe.suppression import adaptive, suppressed

_FLOAT, _INT64 = 1, 7


@layer_type("Permute")
def permute(g: Builder, layer: Layer, x: Value) -> Value:
    """The axes in a new order; those that `order` does not name follow in their own."""
    order = [int(axis) for axis in layer.message.permute_param.order]
    if len(set(order)) != len(order) or any(axis >= x.rank for axis in order):
        raise refusal(layer, "has no order of axes.", received=order, hint=f"name each of {x.rank} axes at most once")
    order += [axis for axis in range(x.rank) if axis not in order]
    if order == list(range(x.rank)):
        return x
    g.batch_is_fixed |= order[0] != 0
    return g.Transpose(x, perm=order)


@layer_type("Normalize")
def normalize(g: Builder, layer: Layer, x: Value) -> Value:
    """x / sqrt(sum of squares + eps), over the channels or over the whole picture, times a learned scale."""
    param = layer.message.norm_param
    if x.rank < 2:
        raise refusal(layer, "needs an input with channels (axis 1).", received=list(x.shape))
    axes = list(range(1, x.rank)) if param.across_spatial else [1]
    norm = g.Sqrt(g.Add(g.ReduceSumSquare(x, axes, keepdims=1), float(param.eps)))
    filler = param.scale_filler if param.HasField("scale_filler") else constant_filler(param.scale_filler, 1.0)
    channels = 1 if param.channel_shared else x.sizes_from(1, 2)[0]
    shape = () if param.channel_shared else (channels,)
    return g.Mul(g.Div(x, norm), g.blob(layer, 0, shape, filler, view=(channels, *[1] * (x.rank - 2))))


@layer_type("PriorBox")
def prior_box(g: Builder, layer: Layer, features: Value, image: Value | None = None) -> Value:
    """Boxes around each cell and their variances, (1, 2, H * W * P * 4): a constant, as it depends on sizes only."""
    param = layer.message.prior_box_param
    height, width = _size_of_image(layer, param, image)
    rows, columns = features.sizes_from(2) if features.rank == 4 else (0, 0)
    if not rows * columns:
        raise refusal(layer, "needs features (N, C, H, W).", received=list(features.shape))
    shapes = _shapes_of_boxes(layer, param)
    step_y, step_x = _steps(layer, param, (rows, columns), (height, width))
    f32 = np.float32
    offset = f32(param.offset)
    y = (np.arange(rows, dtype=f32) + offset) * f32(step_y)
    x = (np.arange(columns, dtype=f32) + offset) * f32(step_x)
    centre = np.stack(np.broadcast_arrays(x[None, :, None], y[:, None, None]), -1).astype(np.float64)  # (H, W, 1, 2)
    half = np.array(shapes, f32).astype(np.float64) / 2
    boxes = np.concatenate([centre - half, centre + half], -1) / (width, height, width, height)
    boxes = boxes.astype(f32)
    if param.clip:
        boxes = np.clip(boxes, 0, 1)
    variance = np.array(param.variance or [0.1], f32)
    if variance.size not in (1, 4) or (variance <= 0).any():
        raise refusal(layer, "has wrong variances.", received=variance.tolist(), hint="write one or four, above 0")
    made = np.stack([boxes.reshape(-1), np.broadcast_to(variance, boxes.shape).reshape(-1)])[None]
    return g.not_batch(g.Identity(g.constant(made)))


def _size_of_image(layer: Layer, param: Any, image: Value | None) -> tuple[int, int]:
    if param.HasField("img_h") or param.HasField("img_w"):
        size = int(param.img_h), int(param.img_w)
    elif param.HasField("img_size"):
        size = int(param.img_size), int(param.img_size)
    elif image is not None and image.rank == 4:
        size = image.sizes_from(2, 3)[0], image.sizes_from(3)[0]
    else:
        raise refusal(layer, "needs the picture as its second bottom.", hint="or write img_h and img_w")
    if min(size) < 1:
        raise refusal(layer, "has an empty picture.", received=size, hint="write both img_h and img_w")
    return size


def _steps(layer: Layer, param: Any, cells: tuple[int, int], image: tuple[int, int]) -> tuple[float, float]:
    """Distance of two cells in pixels, y and x."""
    if param.HasField("step_h") or param.HasField("step_w"):
        steps = param.step_h, param.step_w
    elif param.HasField("step"):
        steps = param.step, param.step
    else:
        return image[0] / cells[0], image[1] / cells[1]
    if min(steps) <= 0:
        raise refusal(layer, "has a step of 0.", received=steps, hint="write both step_h and step_w, or none")
    return steps


def _shapes_of_boxes(layer: Layer, param: Any) -> list[tuple[float, float]]:
    """Width and height of each box of a cell, in pixels: for each min_size itself, the mean size, the ratios."""
    smallest, largest = [float(item) for item in param.min_size], [float(item) for item in param.max_size]
    if not smallest or min(smallest) <= 0:
        raise refusal(
            layer, "has no min_size above 0.", received=smallest, hint="write prior_box_param { min_size: ... }"
        )
    if largest and (len(largest) != len(smallest) or any(b <= a for a, b in zip(smallest, largest, strict=True))):
        raise refusal(
            layer, "has max_sizes that do not fit.", received=largest, hint="one above each min_size, or none"
        )
    ratios: list[float] = [1.0]
    for item in param.aspect_ratio:
        ratio = float(item)
        if ratio <= 0:
            raise refusal(layer, "has an aspect_ratio of 0 or less.", received=ratio, hint="write width / height")
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios += [ratio, float(np.float32(1 / ratio))] if param.flip else [ratio]
    made = []
    for index, size in enumerate(smallest):
        least = float(int(size))  # Caffe keeps sizes as integers
        made.append((least, least))
        if largest:
            mean = math.sqrt(least * int(largest[index]))
            made.append((mean, mean))
        made += [(least * math.sqrt(r), least / math.sqrt(r)) for r in ratios if abs(r - 1) >= 1e-6]
    return made


@layer_type("DetectionOutput")
def detection_output(g: Builder, layer: Layer, locations: Value, scores: Value, priors: Value, *others: Value) -> Value:
    """Boxes after non maximum suppression, (1, 1, K, 7): picture, label, score, xmin, ymin, xmax, ymax.

    Rows are sorted by picture, label and falling score. Where no box is kept at all there is one row a picture: its
    number, then -1 six times.
    """
    if len(others) > 1:
        raise refusal(
            layer,
            f"has {3 + len(others)} bottoms, so it belongs to a fork other than SSD (RefineDet, ...).",
            received=", ".join(layer.bottoms),
            hint="take the blobs before it as outputs, or register a translator for this type",
        )
    param = layer.message.detection_output_param
    classes, background = int(param.num_classes), int(param.background_label_id)
    count = priors.sizes[-1] // 4
    own = 1 if param.share_location else classes
    found = math.prod(locations.sizes_from(1)), math.prod(scores.sizes_from(1))
    if not classes or found != (count * own * 4, count * classes):
        raise refusal(
            layer,
            f"needs {own} x 4 offsets and {classes} scores for each of {count} priors.",
            received=f"{found[0]} offsets, {found[1]} scores",
            hint="check num_classes and share_location, and the sizes of its bottoms",
        )
    labels = [label for label in range(classes) if label != background]
    top_k = int(param.nms_param.top_k) if param.nms_param.HasField("top_k") else -1
    best = min(top_k, count) if top_k > -1 else count
    if not labels or not best:
        raise refusal(layer, "keeps no box.", received=f"{classes} classes, top_k {top_k}", hint="raise them")

    boxes = _decoded(g, layer, g.Reshape(locations, [0, count, own, 4]), priors, count)  # (N, L, P, 4)
    scores = _summed_in_order(g, scores, classes)
    scores = g.Transpose(g.Reshape(scores, [0, count, classes]), perm=[0, 2, 1])
    if len(labels) < classes:
        scores = g.Gather(scores, labels, axis=1)
        boxes = boxes if own == 1 else g.Gather(boxes, labels, axis=1)
    # The best of each class, (N, C, K): by falling score, of equal ones the first.
    scores, places = g.TopK(scores, [best], axis=2, outputs=2)
    if own == 1:
        boxes = g.Expand(boxes, [1, len(labels), 1, 1])
    boxes = g.GatherElements(boxes, g.Expand(g.Unsqueeze(places, [3]), [1, 1, 1, 4]), axis=2)
    chosen, counts = _chosen(g, _kept(g, layer, boxes, scores), scores, int(param.keep_top_k))
    return _rows(g, locations, chosen, counts, scores, boxes, labels)


def _summed_in_order(g: Builder, scores: Value, classes: int) -> Value:
    """The same scores; where they come from a Softmax over the classes, its sum is taken class by class as Caffe's is.

    Scores near 1 differ by their last bits only, and equal ones are not chosen as unequal ones are (`sorting`).
    """
    node = scores.node.producer()
    while node is not None and node.op_type in ("Reshape", "Flatten", "Identity"):
        source = node.inputs[0]
        node = None if source is None else source.producer()
    if node is None or node.op_type != "Softmax" or not (source := node.inputs[0]):
        return scores
    shape, axis = tuple(source.shape or ()), node.attributes["axis"].as_int()
    if not shape or axis % len(shape) != len(shape) - 1 or shape[-1] != classes:
        return scores
    x = Value(source, tuple(size if isinstance(size, int) else None for size in shape), scores.dtype)
    power = g.Exp(g.Sub(x, g.ReduceMax(x, [-1], keepdims=1)))
    total = g.Slice(g.CumSum(power, np.array(x.rank - 1)), [-1], [np.iinfo(np.int64).max], [-1])
    return g.Div(power, total)


def _decoded(g: Builder, layer: Layer, offsets: Value, priors: Value, count: int) -> Value:
    """Offsets (N, P, L, 4) to the priors -> boxes (N, L, P, 4) of xmin, ymin, xmax, ymax."""
    param = layer.message.detection_output_param
    table = g.not_batch(g.Reshape(priors, [2, count, 1, 4]))
    prior, variance = (g.not_batch(item) for item in g.Split(table, axis=0, num_outputs=2, outputs=2))  # (1, P, 1, 4)
    if not param.variance_encoded_in_target:
        offsets = g.Mul(variance, offsets)
    low, high = g.Split(prior, axis=3, num_outputs=2, outputs=2)
    size = g.Sub(high, low)
    code = choice(param, "code_type")
    if code == "CORNER":
        boxes = g.Add(prior, offsets)
    elif code == "CORNER_SIZE":
        boxes = g.Add(prior, g.Mul(offsets, g.Concat(size, size, axis=3)))
    else:
        shift, stretch = g.Split(offsets, axis=3, num_outputs=2, outputs=2)
        centre = g.Add(g.Mul(shift, size), g.Mul(g.Add(low, high), 0.5))
        half = g.Mul(g.Mul(g.Exp(stretch), size), 0.5)
        boxes = g.Concat(g.Sub(centre, half), g.Add(centre, half), axis=3)
    return g.Transpose(boxes, perm=[0, 2, 1, 3])


def _kept(g: Builder, layer: Layer, boxes: Value, scores: Value) -> Value:
    """Which of the sorted boxes stay, (N, C, K) of bool."""
    param = layer.message.detection_output_param
    threshold, eta = float(param.nms_param.nms_threshold), float(param.nms_param.eta)
    if threshold < 0 or not 0 < eta <= 1:
        raise refusal(
            layer,
            "has a wrong nms_param.",
            received=f"nms_threshold {threshold}, eta {eta}",
            hint="nms_threshold >= 0, 0 < eta <= 1",
        )
    least = float(param.confidence_threshold) if param.HasField("confidence_threshold") else None
    if eta < 1 and threshold > 0.5:
        return adaptive(g, boxes, scores, threshold, least, eta)
    return suppressed(g, boxes, scores, min(threshold, 1.0), least)


def _chosen(g: Builder, kept: Value, scores: Value, most: int) -> tuple[Value, Value]:
    """The boxes of each picture by label and falling score.

    Args:
        g: the graph.
        kept: which boxes stay, (N, C, K) of bool.
        scores: (N, C, K).
        most: if a picture has more, its best ones; -1 = all.

    Returns:
        Places in C * K (N, M) of int64, and how many of them count, (N, 1) of int64.
    """
    kept = g.Flatten(kept, axis=1)
    length = kept.sizes_from(1)[0]
    number = g.Cast(kept, to=_INT64)
    counts = g.ReduceSum(number, [1], keepdims=1)
    _, places = g.TopK(number, [length], axis=1, outputs=2)  # those that stay come first, in their order
    if not -1 < most < length:
        return places, counts
    if most == 0:
        return places, g.Mul(counts, 0)
    found = g.GatherElements(
        g.Flatten(g.Where(g.Reshape(kept, [0, *scores.sizes_from(1)]), scores, np.array(-np.inf, np.float32))),
        places,
        axis=1,
    )
    too_many = g.Greater(counts, most)
    order = sorted_places(g, found, g.Where(too_many, counts, np.array(0)))
    best = g.Slice(g.Where(too_many, g.GatherElements(places, order, axis=1), places), [0], [most], [1])
    counts = g.Min(counts, most)
    # By label; those of one label stay in their order, and what does not count goes last.
    label = g.Where(
        g.Less(np.arange(most)[None], counts), g.Div(best, scores.sizes_from(2)[0]), np.array(scores.sizes_from(1)[0])
    )
    _, order = g.TopK(label, [most], axis=1, largest=0, outputs=2)
    return g.GatherElements(best, order, axis=1), counts


def _rows(
    g: Builder, batch: Value, chosen: Value, counts: Value, scores: Value, boxes: Value, labels: list[int]
) -> Value:
    """The rows of what was chosen; `batch` is any value that has N as its first axis."""
    where = g.NonZero(g.Less(np.arange(chosen.sizes_from(1)[0])[None], counts))  # (2, R)
    at = g.Transpose(where, perm=[1, 0])
    place = g.GatherND(chosen, at)  # (R,)
    number = g.Gather(where, 0, axis=0)
    at = g.Concat(*(g.Unsqueeze(item, [1]) for item in (number, place)), axis=1)
    picture = g.Unsqueeze(g.Cast(number, to=_FLOAT), [1])
    label = g.Unsqueeze(g.Gather(np.array(labels, np.float32), g.Div(place, scores.sizes_from(2)[0]), axis=0), [1])
    score = g.Unsqueeze(g.GatherND(g.Flatten(scores, axis=1), at), [1])
    found = g.Concat(picture, label, score, g.GatherND(g.Reshape(boxes, [0, -1, 4]), at), axis=1)
    count = g.Shape(batch, start=0, end=1)
    numbers = g.Cast(g.Range(g.constant(0, np.int64), g.Squeeze(count, [0]), g.constant(1, np.int64)), to=_FLOAT)
    none = g.Pad(g.Unsqueeze(numbers, [1]), [0, 0, 0, 6], -1.0)
    length = g.Shape(found, start=0, end=1)
    rows = g.Slice(g.Concat(found, none, axis=0), [0], g.Where(g.Equal(length, [0]), count, length), [0])
    return g.not_batch(g.Unsqueeze(rows, [0, 1]))
