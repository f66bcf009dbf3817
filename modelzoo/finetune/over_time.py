"""A backbone over the steps of a sequence, and a head over its features: one network for every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelzoo.errors import UsageError

if TYPE_CHECKING:
    from modelzoo.finetune.backbone import Backbone
    from modelzoo.finetune.heads import Head

__all__ = ["EACH_STEP", "LENGTHS", "STEPS", "through_time"]

STEPS = "steps"
"""Name of the input that holds the steps, (N, T, ...) each as the network takes it."""

LENGTHS = "lengths"
"""Name of the input that says how many steps of each sequence are not padding, (N,) int32."""

EACH_STEP = "each_step"
"""Name of the layer that is the backbone: its weights are `each_step/...` in a file."""


def through_time(backbone: Backbone, head: Head, steps: int, *, masked: bool, name: str) -> tuple[Any, Any]:
    """Put a head on the features of every step.

    All steps of a batch go through the backbone together, as pictures of a larger batch, so that BatchNormalization
    sees them together too.

    Args:
        backbone: with one tap; maps are averaged.
        head: that takes sequences (N, T, C).
        steps: T; shorter sequences are padded with anything.
        masked: whether lengths are given; else every sequence has T steps.
        name: of the model.

    Returns:
        (model, head model): {"steps": (N, T, ...), "lengths": (N,)} -> logits, or only (N, T, ...) where nothing is
        masked; the head model takes features (N, T, C) in the place of the steps and shares the head.

    Raises:
        UsageError: no positive number of steps, a network of several inputs, of open sizes or of a fixed batch, a head
            that takes no sequences.
    """
    import keras

    from modelzoo.finetune.heads import vector

    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise UsageError("A sequence has a positive number of steps.", received=repr(steps))
    if len(backbone.network.inputs) != 1:
        raise UsageError(
            "A network over the steps of a sequence has one input.",
            received=", ".join(tensor.name for tensor in backbone.network.inputs),
        )
    entry = backbone.network.inputs[0]
    batch, *inner = entry.shape
    if batch is not None:
        raise UsageError(
            f"{backbone.name!r} takes {batch} at a time, and the steps of all sequences go through it together.",
            received=str(tuple(entry.shape)),
            hint="a network whose batch is open",
        )
    if None in inner:
        raise UsageError(
            f"{backbone.name!r} takes steps of any size, and a sequence needs one.",
            received=str(tuple(inner)),
            hint="Backbone(NAME, input_shape=(224, 224, 3))",
        )
    each = keras.Model(backbone.network.inputs, vector(backbone.output), name=EACH_STEP)
    width = int(each.outputs[0].shape[-1])
    found = keras.Input((steps, width), dtype=each.outputs[0].dtype, name=STEPS)
    rest = [_lengths()] if masked else []
    logits = head(found, mask=_mask(found, rest[0]) if rest else None)
    head_model = keras.Model(_named(found, rest), logits, name="head")

    given = keras.Input((steps, *inner), dtype=entry.dtype, name=STEPS)
    rest = [_lengths()] if masked else []
    flat = each(keras.ops.reshape(given, (-1, *inner)))
    features = keras.ops.reshape(flat, (-1, steps, width))
    return keras.Model(_named(given, rest), head_model(_named(features, rest)), name=name), head_model


def _lengths() -> Any:
    import keras

    return keras.Input((), dtype="int32", name=LENGTHS)


def _named(first: Any, rest: list[Any]) -> Any:
    return {STEPS: first, LENGTHS: rest[0]} if rest else first


def _mask(features: Any, lengths: Any) -> Any:
    """(N, T) bool, of stock operations without a constant."""
    from keras import ops

    place = ops.cumsum(ops.ones_like(features[:, :, 0], dtype="int32"), axis=1)
    return ops.less_equal(place, ops.expand_dims(lengths, 1))
