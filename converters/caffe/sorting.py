"""The order in which the C++ standard library's `std::sort` leaves equal scores.

Caffe picks the best boxes of a picture by `std::sort`, which is not stable: which of several equal scores come first,
and which fall off the end, follows from its steps. Those of libstdc++ (introsort: Musser, "Introspective sorting and
selection algorithms", 1997) are: partition by the median of three while a stretch is longer than 16, then insertion
sort, which is stable. All stretches of one depth are partitioned at once here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.control import loop

__all__ = ["sorted_places"]

_SHORT = 16
"""libstdc++'s `_S_threshold`: shorter stretches are left to the insertion sort."""

_INT64, _BOOL = 7, 9


def sorted_places(g: Builder, scores: Value, count: Value) -> Value:
    """Places of scores by falling score, equal ones as `std::sort` leaves them.

    libstdc++ gives up after 2 log2(n) depths and sorts what is still long by a heap; only scores made to defeat the
    median of three get there, and are sorted stably here.

    Args:
        g: the graph.
        scores: (N, M), in each row the `count` first ones are to be sorted, the others are -inf.
        count: (N, 1) of int64, at most M.

    Returns:
        (N, M) of int64: `GatherElements(scores, places, axis=1)` falls.
    """
    length = scores.sizes_from(1)[0]
    natural = g.Expand(g.constant(np.arange(length)[None]), g.Shape(scores))  # (N, M)
    first = g.Mul(natural, 0)
    last = g.Expand(count, g.Shape(scores))
    depth = 2 * int(math.log2(max(length, 1)))

    def longer(b: Builder, first: Value, last: Value) -> Value:
        return b.Greater(b.Sub(last, first), _SHORT)

    def goes_on(b: Builder, scores: Value, places: Value, first: Value, last: Value) -> Value:
        return b.Cast(b.ReduceMax(b.Cast(longer(b, first, last), to=_INT64), keepdims=0), to=_BOOL)

    def partition(
        b: Builder, _: Value, scores: Value, places: Value, first: Value, last: Value
    ) -> tuple[list[Value], list[Value]]:
        at = b.Add(b.Mul(first, 0), np.arange(length)[None])
        long = b.And(longer(b, first, last), b.And(b.GreaterOrEqual(at, first), b.Less(at, last)))

        def of(table: Value, index: Value) -> Value:
            return b.GatherElements(table, b.Clip(index, 0, length - 1), axis=1)

        # The median of the second, the middle and the last element changes places with the first one.
        chosen = _median(b, scores, first, last, of)
        source = b.Where(b.And(long, b.Equal(at, first)), chosen, at)
        source = b.Where(b.And(long, b.Equal(at, chosen)), first, source)
        scores, places = of(scores, source), of(places, source)
        pivot = of(scores, first)

        # From the left the scan stops at what is not better, from the right at what is not worse; the k-th stops of
        # both sides change places while they have not met.
        inner = b.And(long, b.Greater(at, first))
        low = b.Cast(b.And(inner, b.LessOrEqual(scores, pivot)), to=_INT64)
        high = b.Cast(b.And(inner, b.GreaterOrEqual(scores, pivot)), to=_INT64)
        lows, highs = b.CumSum(low, np.array(1)), b.CumSum(high, np.array(1))
        low_rank = b.Add(first, b.Sub(lows, of(lows, first)))
        high_rank = b.Add(first, b.Sub(b.Add(of(highs, b.Sub(last, 1)), high), highs))
        from_left = _stops(b, at, low, low_rank, length)
        from_right = _stops(b, at, high, high_rank, -1)
        right, left = of(from_right, low_rank), of(from_left, high_rank)
        goes_right = b.And(b.Greater(low, 0), b.Less(at, right))
        goes_left = b.And(b.Greater(high, 0), b.Less(left, at))
        source = b.Where(goes_right, right, b.Where(goes_left, left, at))
        swaps = b.CumSum(b.Cast(goes_right, to=_INT64), np.array(1))
        swapped = b.Sub(of(swaps, b.Sub(last, 1)), of(swaps, first))
        met = b.Where(b.Greater(swapped, 0), of(from_right, b.Add(first, swapped)), np.array(length))
        cut = b.Min(of(from_left, b.Add(b.Add(first, swapped), 1)), met)
        behind = b.GreaterOrEqual(at, cut)
        first = b.Where(b.And(long, behind), cut, first)
        last = b.Where(b.And(long, b.Not(behind)), cut, last)
        return [of(scores, source), of(places, source), first, last], []

    states = [scores, natural, first, last]
    if length > _SHORT:
        states, _ = loop(g, partition, depth, states, goes_on=goes_on)
    _, order = g.TopK(states[0], [length], axis=1, outputs=2)
    return g.GatherElements(states[1], order, axis=1)


def _median(b: Builder, scores: Value, first: Value, last: Value, of: Any) -> Value:
    """Where the median of a stretch's second, middle and last score is; of equal ones the one that libstdc++ takes."""
    x, y, z = b.Add(first, 1), b.Add(first, b.Div(b.Sub(last, first), 2)), b.Sub(last, 1)
    at_x, at_y, at_z = of(scores, x), of(scores, y), of(scores, z)
    falls = b.Where(b.Greater(at_y, at_z), y, b.Where(b.Greater(at_x, at_z), z, x))
    rises = b.Where(b.Greater(at_x, at_z), x, b.Where(b.Greater(at_y, at_z), z, y))
    return b.Where(b.Greater(at_x, at_y), falls, rises)


def _stops(b: Builder, at: Value, stops: Value, rank: Value, none: int) -> Value:
    """At `first + k`: where the k-th stop of the stretch is; `none` where there are fewer."""
    nowhere = at.sizes_from(1)[0]
    table = b.Pad(b.Add(b.Mul(at, 0), none), [0, 0, 0, 1], none)  # one column more for what is no stop
    index = b.Where(b.Greater(stops, 0), rank, np.array(nowhere))
    return b.Slice(b.ScatterElements(table, index, at, axis=1), [0], [nowhere], [1])
