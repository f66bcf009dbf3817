"""Boxes and regions of interest."""

from __future__ import annotations

import tensorflow as tf

from converters.function.table import Tensor, op
from converters.function.values import shape_of
from converters.function.wider import cast_back

__all__: list[str] = []


@op("NonMaxSuppression", since=10)
def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    max_output_boxes_per_class: Tensor | None = None,
    iou_threshold: Tensor | None = None,
    score_threshold: Tensor | None = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    if center_point_box:
        centre, half = boxes[..., :2], boxes[..., 2:] / 2
        # x, y of the centre and the sizes -> y1, x1, y2, x2
        boxes = tf.concat([(centre - half)[..., ::-1], (centre + half)[..., ::-1]], -1)
    shape = tf.shape(scores)
    batches, classes, count = shape[0], shape[1], shape[2]
    most = tf.zeros((), tf.int64)
    if max_output_boxes_per_class is not None:
        most = tf.reshape(tf.cast(max_output_boxes_per_class, tf.int64), ())
    most = tf.cast(tf.clip_by_value(most, 0, tf.cast(count, tf.int64)), tf.int32)
    overlap = tf.zeros(()) if iou_threshold is None else tf.reshape(iou_threshold, ())
    least = tf.constant(float("-inf")) if score_threshold is None else tf.reshape(score_threshold, ())

    def of_one_class(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found = tf.raw_ops.NonMaxSuppressionV4(
            boxes=boxes[number // classes],
            scores=scores[number // classes, number % classes],
            max_output_size=most,
            iou_threshold=overlap,
            score_threshold=least,
            pad_to_max_output_size=True,
        )
        return found.selected_indices, found.valid_outputs

    numbers = tf.range(batches * classes)
    kinds = (tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32))
    chosen, valid = tf.map_fn(of_one_class, numbers, fn_output_signature=kinds)
    chosen = tf.reshape(chosen, tf.stack([batches * classes, most]))
    rows = tf.broadcast_to(numbers[:, None], tf.shape(chosen))
    table = tf.stack([rows // tf.maximum(classes, 1), rows % tf.maximum(classes, 1), chosen], -1)
    return tf.cast(tf.boolean_mask(table, tf.sequence_mask(valid, most)), tf.int64)


@op("RoiAlign", since=10)
def roi_align_10(
    x: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    return _roi_align(x, rois, batch_indices, mode, (output_height, output_width), sampling_ratio, spatial_scale, False)


@op("RoiAlign", since=16)
def roi_align(
    x: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Tensor:
    half = coordinate_transformation_mode == "half_pixel"
    return _roi_align(x, rois, batch_indices, mode, (output_height, output_width), sampling_ratio, spatial_scale, half)


def _roi_align(
    x: tf.Tensor,
    rois: tf.Tensor,
    images: tf.Tensor,
    mode: str,
    bins: tuple[int, int],
    ratio: int,
    spatial_scale: float,
    half: bool,
) -> tf.Tensor:
    wide = tf.float64 if x.dtype == tf.float64 else tf.float32
    corners = tf.cast(rois, wide) * tf.cast(spatial_scale, wide) - (0.5 if half else 0.0)
    lows, weights, highs, counts = [], [], [], []
    for axis in range(2):
        size = tf.shape(x)[2 + axis]
        start, end = corners[:, 1 - axis], corners[:, 3 - axis]
        extent = end - start if half else tf.maximum(end - start, 1.0)
        step = extent / bins[axis]
        # Samples a bin; where they depend on the region, the largest number is drawn and the rest not counted.
        count = tf.cast(tf.math.ceil(step), tf.int32) if ratio <= 0 else tf.fill(tf.shape(start), ratio)
        most = tf.maximum(tf.reduce_max(count), 0)
        sample = (tf.cast(tf.range(most), wide) + 0.5)[None, None, :]
        offset = tf.cast(tf.range(bins[axis]), wide)[None, :, None] * step[:, None, None]
        share = tf.math.divide_no_nan(sample, tf.cast(count, wide)[:, None, None])
        places = start[:, None, None] + offset + share * step[:, None, None]  # (regions, bins, samples)
        valid = (places >= -1.0) & (places <= tf.cast(size, wide))
        valid &= (tf.range(most)[None, :] < count[:, None])[:, None, :]
        places = tf.clip_by_value(places, 0.0, tf.cast(size - 1, wide))
        low = tf.cast(tf.floor(places), tf.int32)
        lows.append(low)
        highs.append(tf.minimum(low + 1, size - 1))
        part = places - tf.floor(places)
        weights.append((tf.where(valid, 1 - part, 0.0), tf.where(valid, part, 0.0)))
        counts.append(count)
    shape = shape_of(x)
    cells = tf.reshape(tf.transpose(tf.cast(x, wide), (0, 2, 3, 1)), tf.stack([-1, shape[1]]))
    image = tf.cast(images, tf.int32) * tf.cast(shape[2] * shape[3], tf.int32)
    parts = []
    for row, row_weight in zip((lows[0], highs[0]), weights[0], strict=True):
        for column, column_weight in zip((lows[1], highs[1]), weights[1], strict=True):
            place = row[:, :, :, None, None] * tf.cast(shape[3], tf.int32) + column[:, None, None, :, :]
            value = tf.gather(cells, place + image[:, None, None, None, None])
            weight = row_weight[:, :, :, None, None] * column_weight[:, None, None, :, :]
            parts.append(value * weight[..., None])  # (regions, bins, samples, bins, samples, C)
    if mode == "avg":
        total = tf.reduce_sum(tf.add_n(parts), (2, 4))
        made = total / tf.cast(tf.maximum(counts[0] * counts[1], 1), wide)[:, None, None, None]
    else:
        # ONNX takes the largest of the weighted corners, not of the interpolated values.
        rows, columns = tf.sequence_mask(counts[0]), tf.sequence_mask(counts[1])
        inside = rows[:, None, :, None, None] & columns[:, None, None, None, :]
        best = tf.where(inside[..., None], tf.reduce_max(tf.stack(parts), 0), tf.cast(wide.min, wide))
        made = tf.reduce_max(best, (2, 4))
    made = tf.transpose(made, (0, 3, 1, 2))
    return cast_back(tf.ensure_shape(made, [rois.shape[0], x.shape[1], *bins]), x)


@op("MaxRoiPool")
def max_roi_pool(x: Tensor, rois: Tensor, *, pooled_shape: list[int], spatial_scale: float = 1.0) -> Tensor:
    wide = tf.float64 if x.dtype == tf.float64 else tf.float32
    image = tf.cast(x, wide)

    def of_one_region(roi: tf.Tensor) -> tf.Tensor:
        # (C, H, W): one spatial axis after the other becomes bins
        value = image[tf.cast(roi[0], tf.int32)]
        for axis in range(2):
            size = tf.shape(value)[1 + axis]
            # Half cells are rounded away from zero.
            start = tf.cast(tf.floor(roi[2 - axis] * spatial_scale + 0.5), tf.int32)
            end = tf.cast(tf.floor(roi[4 - axis] * spatial_scale + 0.5), tf.int32)
            step = tf.cast(tf.maximum(end - start + 1, 1), wide) / pooled_shape[axis]
            bins = tf.cast(tf.range(pooled_shape[axis]), wide)
            low = tf.clip_by_value(tf.cast(tf.floor(bins * step), tf.int32) + start, 0, size)
            high = tf.clip_by_value(tf.cast(tf.math.ceil((bins + 1) * step), tf.int32) + start, 0, size)
            at = tf.range(size)[None, :]
            inside = (at >= low[:, None]) & (at < high[:, None])  # (bins, cells)
            if axis == 0:
                value = tf.reduce_max(tf.where(inside[None, :, :, None], value[:, None], wide.min), 2)
            else:
                value = tf.reduce_max(tf.where(inside[None, None], value[:, :, None], wide.min), 3)
        return tf.where(value <= wide.min, tf.zeros_like(value), value)

    spec = tf.TensorSpec([x.shape[1], *pooled_shape], wide)
    return cast_back(tf.map_fn(of_one_region, tf.cast(rois, wide), fn_output_signature=spec), x)
