"""The two optimisers as runs over one objective: a step, the pixels so far, and a state that can be put away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelzoo.style.lbfgs import LBFGS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modelzoo.style.objective import Objective

    Values = NDArray[np.float32]

__all__ = ["OPTIMIZERS", "AdamRun", "LBFGSRun"]


class AdamRun:
    """Adam on the pixels, one traced step each; pixels are cut to 0..255 after it, as `clip` of projected descent.

    Args:
        objective: what is minimised.
        start: (H, W, C) in 0..255.
        learning_rate: about how many grey levels a pixel moves in a step.
        memory: not used; L-BFGS's.
    """

    converged = False

    def __init__(self, objective: Objective, start: Values, *, learning_rate: float, memory: int) -> None:
        import keras
        import tensorflow as tf

        self._pixels = keras.Variable(start[None], dtype="float32", trainable=True, name="pixels")
        # Gradients of single pixels are far below Keras' usual epsilon, which would turn Adam into plain descent.
        self._adam = keras.optimizers.Adam(learning_rate, epsilon=1e-14)
        self._adam.build([self._pixels])

        def step() -> tuple[Any, Any]:
            total, gradient, terms = objective.differentiate(self._pixels.value)
            self._adam.apply([gradient], [self._pixels])
            self._pixels.assign(tf.clip_by_value(self._pixels.value, 0.0, 255.0))
            return total, terms

        self._step = tf.function(step).get_concrete_function()

    def step(self) -> tuple[float, list[float]]:
        """(total, terms) of the pixels before the step, which it then makes."""
        total, terms = self._step()
        return float(total), terms.numpy().tolist()

    @property
    def pixels(self) -> Values:
        """(H, W, C), a copy."""
        import numpy as np

        return np.array(self._pixels.value.numpy()[0])

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on, as arrays."""
        import numpy as np

        slots = {f"slot/{n:02d}": np.array(variable.value.numpy()) for n, variable in enumerate(self._adam.variables)}
        return {"x": np.array(self._pixels.value.numpy()), **slots}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state of `state()`."""
        import numpy as np

        self._pixels.assign(np.asarray(state["x"]))
        for number, variable in enumerate(self._adam.variables):
            variable.assign(np.asarray(state[f"slot/{number:02d}"]))


class LBFGSRun:
    """L-BFGS on the pixels, which may leave 0..255 on the way; every step asks the traced function once or a few times.

    Args:
        objective: what is minimised.
        start: (H, W, C) in 0..255.
        learning_rate: root mean square of the first step, in grey levels.
        memory: pairs of differences that are kept.
    """

    def __init__(self, objective: Objective, start: Values, *, learning_rate: float, memory: int) -> None:
        self._objective = objective
        self._seen: dict[float, list[float]] = {}
        self._lbfgs = LBFGS(self._evaluate, start[None], memory=memory, first_step=learning_rate)

    def _evaluate(self, x: Any) -> tuple[float, Any]:
        import numpy as np
        import tensorflow as tf

        total, gradient, terms = self._objective.value_and_gradient(tf.constant(x))
        value = float(total)
        self._seen[value] = terms.numpy().tolist()
        return value, np.array(gradient)

    @property
    def converged(self) -> bool:
        """Whether no step makes the loss smaller any more."""
        return self._lbfgs.converged

    def step(self) -> tuple[float, list[float]]:
        """(total, terms) of the pixels before the step, which it then makes."""
        before = self._lbfgs.value
        terms = self._seen[before]
        value = self._lbfgs.step()
        self._seen = {value: self._seen[value]}
        return before, terms

    @property
    def pixels(self) -> Values:
        """(H, W, C), a copy."""
        import numpy as np

        return np.array(self._lbfgs.x[0])

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on, as arrays."""
        import numpy as np

        return {**self._lbfgs.state(), "terms": np.array(self._seen[self._lbfgs.value], np.float64)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state of `state()`."""
        self._lbfgs.restore(state)
        self._seen = {self._lbfgs.value: [float(term) for term in state["terms"]]}


OPTIMIZERS: dict[str, type[AdamRun] | type[LBFGSRun]] = {"adam": AdamRun, "lbfgs": LBFGSRun}
"""By the names that users give."""
