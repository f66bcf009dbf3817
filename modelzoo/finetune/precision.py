"""Mixed precision of one model, with no global policy changed."""

from __future__ import annotations

from typing import Any

from modelzoo.errors import UsageError
from modelzoo.finetune.heads import LOGITS

__all__ = ["POLICIES", "set_precision", "with_loss_scale"]

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


def set_precision(model: Any, policy: str) -> None:
    """Let the stock layers of a model compute in another precision; variables stay float32.

    Args:
        model: a Keras model; the logits of a head stay in float32, so that losses and answers are exact enough.
        policy: one of `POLICIES`.

    Raises:
        UsageError: an unknown policy.
    """
    import keras

    if policy not in POLICIES:
        raise UsageError("There is no such precision.", received=policy, hint=" | ".join(POLICIES))
    for layer in model._flatten_layers(include_self=False):
        stock = type(layer).__module__.startswith("keras.")
        if stock and not list(layer._layers) and layer.name != LOGITS and layer.variable_dtype == "float32":
            layer.dtype_policy = keras.DTypePolicy(policy)
    for function in ("train_function", "test_function", "predict_function"):
        if getattr(model, function, None) is not None:
            setattr(model, function, None)


def with_loss_scale(optimizer: Any, policy: str) -> Any:
    """The optimiser that float16 needs, whose small gradients would else vanish; others stay as they are."""
    import keras

    return keras.optimizers.LossScaleOptimizer(optimizer) if policy == "mixed_float16" else optimizer
