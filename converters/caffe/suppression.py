"""Non maximum suppression: of boxes sorted by score, those stay that overlap no better one too much."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.control import loop

__all__ = ["adaptive", "filled", "suppressed"]

_FLOAT, _BOOL = 1, 9


def filled(g: Builder, like: Value, value: Any, dtype: Any = np.float32) -> Value:
    """A tensor of the shape of `like` that holds one value."""
    one = g.constant(value, dtype)
    return g.node("Expand", [one, g.Shape(like)], [], [(like.shape, one.dtype)])[0]


def suppressed(g: Builder, boxes: Value, scores: Value, threshold: float, least: float | None) -> Value:
    """Which boxes stay.

    Args:
        g: the graph.
        boxes: (N, C, K, 4) of xmin, ymin, xmax, ymax, by falling score.
        scores: (N, C, K).
        threshold: a box goes where its overlap (intersection over union) with a better one that stays is larger.
        least: boxes whose score is not larger do not count; None = all count.

    Returns:
        (N, C, K) of bool.
    """
    count = scores.sizes[2]
    found = g.NonMaxSuppression(
        g.not_batch(g.Reshape(_proper(g, boxes), [-1, count, 4])),
        g.not_batch(g.Reshape(scores, [-1, 1, count])),
        g.constant([count], np.int64),
        g.constant([threshold], np.float32),
        None if least is None else g.constant([least], np.float32),
    )  # (M, 3): picture and class as one number, 0, place
    table = g.not_batch(g.Reshape(filled(g, scores, 0), [-1, count]))
    ones = filled(g, g.Gather(found, 0, axis=1), 1)
    kept = g.not_batch(g.ScatterND(table, g.Gather(found, [0, 2], axis=1), ones))
    return g.Cast(g.Reshape(kept, [-1, *scores.sizes[1:]]), to=_BOOL)


def adaptive(g: Builder, boxes: Value, scores: Value, threshold: float, least: float | None, eta: float) -> Value:
    """`suppressed` with a threshold that is multiplied by `eta` at each box that stays, while it is above 0.5."""
    boxes = _proper(g, boxes)
    low, high = g.Split(boxes, axis=3, num_outputs=2, outputs=2)
    area = g.ReduceProd(g.Sub(high, low), [3], keepdims=0)  # (N, C, K)
    places = g.constant(np.arange(scores.sizes[2]))
    counts = None if least is None else g.Greater(scores, least)

    def step(b: Builder, number: Value, kept: Value, limit: Value) -> tuple[list[Value], list[Value]]:
        at = b.Unsqueeze(number, [0])
        sides = b.Relu(b.Sub(b.Min(high, b.Gather(high, at, axis=2)), b.Max(low, b.Gather(low, at, axis=2))))
        shared = b.ReduceProd(sides, [3], keepdims=0)
        union = b.Sub(b.Add(area, b.Gather(area, at, axis=2)), shared)
        above = b.And(b.Greater(shared, 0.0), b.Greater(shared, b.Mul(limit, union)))
        hits = b.ReduceMax(b.Cast(b.And(kept, above), to=_FLOAT), [2], keepdims=1)
        stays = b.Less(hits, 0.5)  # (N, C, 1)
        if counts is not None:
            stays = b.And(stays, b.Gather(counts, at, axis=2))
        kept = b.Or(kept, b.And(stays, b.Equal(places, number)))
        return [kept, b.Where(b.And(stays, b.Greater(limit, 0.5)), b.Mul(limit, eta), limit)], []

    first = filled(g, g.Gather(scores, [0], axis=2), threshold)
    (kept, _), _ = loop(g, step, scores.sizes[2], [filled(g, scores, False, np.bool_), first])
    return kept


def _proper(g: Builder, boxes: Value) -> Value:
    """Boxes with a corner on the wrong side have no area and overlap nothing: all their numbers become 0."""
    low, high = g.Split(boxes, axis=boxes.rank - 1, num_outputs=2, outputs=2)
    right = g.Cast(g.LessOrEqual(low, high), to=_FLOAT)
    both = g.ReduceMin(right, [boxes.rank - 1], keepdims=1)
    return g.Where(g.Cast(both, to=_BOOL), boxes, g.constant(0, np.float32))
