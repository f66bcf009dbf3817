"""Learning rates by layer: multipliers on top of any Keras optimiser."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from modelzoo.errors import UsageError

if TYPE_CHECKING:
    from modelzoo.finetune.backbone import Backbone

__all__ = ["LayerwiseOptimizer", "discriminative"]


class _Scaled:
    """Mixin over a Keras optimiser: each variable's learning rate, and weight decay with it, times a factor."""

    factors: Mapping[str, float]
    _factor = 1.0

    def build(self, variables: Sequence[Any]) -> None:
        self._by_index = [float(self.factors.get(variable.path, 1.0)) for variable in variables]
        super().build(variables)  # type: ignore[misc]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        # Under tf.distribute the variable is TensorFlow's own, which has an index and no path.
        factor = self._by_index[self._get_variable_index(variable)]  # type: ignore[attr-defined]
        super().update_step(gradient, variable, learning_rate * factor)  # type: ignore[misc]

    def _get_current_learning_rate(self) -> Any:
        rate = super()._get_current_learning_rate()  # type: ignore[misc]
        return rate if self._factor == 1.0 else rate * self._factor

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        if getattr(self, "weight_decay", None) is None:
            return
        groups: dict[float, list[Any]] = {}
        for variable in variables:
            groups.setdefault(self._by_index[self._get_variable_index(variable)], []).append(variable)  # type: ignore[attr-defined]
        try:
            for self._factor, some in groups.items():
                super()._apply_weight_decay(some)  # type: ignore[misc]
        finally:
            self._factor = 1.0


@functools.lru_cache(None)
def _scaled(kind: Any) -> Any:
    return type(f"Layerwise{kind.__name__}", (_Scaled, kind), {})


@keras.saving.register_keras_serializable(package="modelzoo", name="LayerwiseOptimizer")
class LayerwiseOptimizer(keras.optimizers.Optimizer):
    """Any Keras optimiser with a factor on the learning rate of each variable.

    It goes where an optimiser goes: `compile`, `fit`, learning-rate callbacks and schedules, LossScaleOptimizer,
    tf.distribute and `.keras` files.

    Args:
        inner: a Keras optimiser that has not been used yet; it is copied from its configuration.
        factors: {path of a variable: factor}; variables that are not named have 1.
        name: of the optimiser.

    Raises:
        UsageError: `inner` is no optimiser or has been used, or a factor is negative.
    """

    built: bool

    def __init__(self, inner: Any, factors: Mapping[str, float], name: str | None = None) -> None:
        if isinstance(inner, str):
            inner = keras.optimizers.get(inner)
        if not isinstance(inner, keras.optimizers.Optimizer) or isinstance(inner, LayerwiseOptimizer):
            raise UsageError("Learning-rate factors go on top of a Keras optimiser.", received=type(inner).__name__)
        if inner.built:
            raise UsageError(
                "The optimiser has been used already.", received=inner.name, hint="pass a new one; its state is kept"
            )
        wrong = [path for path, factor in factors.items() if not float(factor) >= 0]
        if wrong:
            raise UsageError("A factor is 0 or more.", received=f"{wrong[0]}: {factors[wrong[0]]}")
        super().__init__(learning_rate=0.0, name=name or "layerwise")
        self.kind: Any = inner.__class__
        self.factors = {str(path): float(factor) for path, factor in factors.items()}
        self.inner = _scaled(self.kind).from_config(inner.get_config())
        self.inner.factors = self.factors

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state of these variables; later steps may update any part of them."""
        self.inner.build(variables)
        super().build(variables)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """One update; the variables may be fewer than those it was built with."""
        if not self.built:
            self.build(list(trainable_variables or ()))
            self.built = True
        self.inner.built = True
        self.inner.apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Not called: `inner` updates."""
        self.inner.update_step(gradient, variable, learning_rate)

    @property
    def variables(self) -> list[Any]:
        return self.inner.variables

    @property
    def iterations(self) -> Any:
        return self.inner.iterations

    @property
    def learning_rate(self) -> Any:
        return self.inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner.learning_rate = value

    def scale_loss(self, loss: Any) -> Any:
        return self.inner.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        self.inner.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        plain = self.kind.from_config(self.inner.get_config())
        return {
            "name": self.name,
            "inner": keras.saving.serialize_keras_object(plain),
            "factors": dict(self.factors),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> LayerwiseOptimizer:
        config = dict(config)
        inner = keras.saving.deserialize_keras_object(config.pop("inner"), custom_objects=custom_objects)
        return cls(inner, **config)


def discriminative(
    backbone: Backbone, *, decay: float = 0.5, rate: float = 1.0, groups: int | None = None
) -> dict[str, float]:
    """Factors that fall with the distance from the head (Howard & Ruder 2018, arXiv:1801.06146).

    Args:
        backbone: whose stages are counted.
        decay: factor from one group to the one before it, in (0, 1].
        rate: factor of the last group, relative to the head's 1.
        groups: how many groups of neighbouring stages there are; None = every stage is one, at most 16.

    Returns:
        {path of a variable: factor}, for `LayerwiseOptimizer`.

    Raises:
        UsageError: numbers out of range.
    """
    if not 0 < decay <= 1:
        raise UsageError("The decay of learning rates lies in (0, 1].", received=decay)
    if not rate >= 0:
        raise UsageError("A factor is 0 or more.", received=rate)
    count = len(backbone.stages)
    number = min(count, 16) if groups is None else groups
    if count and number < 1:
        raise UsageError("There is at least one group.", received=groups)
    factors = {}
    for place, stage in enumerate(backbone.stages):
        group = place * min(number, count) // count
        for variable in stage.variables:
            factors[variable.path] = rate * decay ** (min(number, count) - 1 - group)
    return factors
