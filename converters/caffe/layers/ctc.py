"""Decoding for connectionist temporal classification (Graves et al., 2006): CTCGreedyDecoder and CTCDecoder."""

from __future__ import annotations

import numpy as np

from converters.caffe.builder import Builder, Value
from converters.caffe.layer import Layer, layer_type
from converters.caffe.layers.parameters import refusal

_FLOAT, _INT64 = 1, 7


@layer_type("CTCGreedyDecoder", "CTCDecoder")
def ctc_greedy_decoder(g: Builder, layer: Layer, scores: Value, going: Value, *others: Value) -> tuple[Value, ...]:
    """The best class of each step, without blanks and repetitions: (N, T, 1, 1), -1 behind the end.

    Scores are (T, N, C); `going` (T, N) is 0 where a new sequence begins, which ends the one before it. Second top
    (N, 1, 1, 1): minus the sum of the best scores; their product in CTCDecoder.
    """
    if layer.unknown.get("ctc_decoder_param", {}).get("decoding", 0):
        raise refusal(layer, "searches prefixes.", received="decoding: 1", hint="write decoding: 0 for the best path")
    if others or len(layer.tops) > 2:
        raise refusal(
            layer,
            "is asked for its accuracy, which is a measure of tests.",
            received=f"{len(layer.bottoms)} bottoms, {len(layer.tops)} tops",
            hint="leave out the third bottom and the top of the accuracy",
        )
    if scores.rank < 3 or going.shape[:2] != scores.shape[:2]:
        raise refusal(
            layer,
            "needs scores (T, N, C) and indicators (T, N).",
            received=f"{list(scores.shape)} and {list(going.shape)}",
        )
    param = layer.message.ctc_decoder_param
    steps, count, classes = scores.sizes[:3]
    blank = param.blank_index if param.blank_index >= 0 else classes - 1
    g.batch_is_fixed = True
    # Time becomes the second axis: (N, T).
    table = g.Transpose(g.reshape(scores, (steps, count, classes)), perm=[1, 0, 2])
    going = g.Transpose(g.reshape(going, (steps, count)), perm=[1, 0])
    best = g.ArgMax(table, axis=2, keepdims=0)
    first = np.arange(steps) == 0
    ends = g.Cast(g.And(g.Equal(going, 0.0), ~first[None]), to=_INT64)
    within = g.Equal(g.CumSum(ends, g.constant(1, np.int64)), 0)
    said = g.And(within, g.Not(g.Equal(best, blank)))
    if param.ctc_merge_repeated and steps > 1:
        before = g.Concat(g.constant(np.full((count, 1), -1), np.int64), g.Slice(best, [0], [steps - 1], [1]), axis=1)
        said = g.And(said, g.Not(g.Equal(best, before)))
    # What is said moves to the front; everything else goes to one place behind the end, which is cut off.
    place = g.Sub(g.CumSum(g.Cast(said, to=_INT64), g.constant(1, np.int64)), 1)
    empty = g.constant(np.full((count, steps + 1), -1, np.float32))
    made = g.ScatterElements(empty, g.Where(said, place, g.constant(steps, np.int64)), g.Cast(best, to=_FLOAT), axis=1)
    sequences = g.Unsqueeze(g.Slice(made, [0], [steps], [1]), [2, 3])
    top = g.ReduceMax(table, [2], keepdims=0)
    if layer.type == "CTCDecoder":
        total = g.ReduceProd(g.Where(within, top, g.constant(1, np.float32)), [1], keepdims=1)
    else:
        total = g.Neg(g.ReduceSum(g.Where(within, top, g.constant(0, np.float32)), [1], keepdims=1))
    return sequences, g.Unsqueeze(total, [2, 3])
