"""Functions before and after every step and epoch, as one Keras callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

__all__ = ["Hooks"]

Hook = Callable[[int, Mapping[str, Any]], None]


class Hooks(keras.callbacks.Callback):
    """Calls functions of (number, logs) around steps and epochs; `number` counts from 0.

    Args:
        before_step, after_step: around every optimiser step; the number is that of the batch in its epoch.
        before_epoch, after_epoch: around every epoch.

    A hook that sets `model.stop_training` through its own reference ends the training, as in any Keras callback.
    """

    def __init__(
        self,
        *,
        before_step: Hook | None = None,
        after_step: Hook | None = None,
        before_epoch: Hook | None = None,
        after_epoch: Hook | None = None,
    ) -> None:
        super().__init__()
        self._hooks = {
            "before_step": before_step,
            "after_step": after_step,
            "before_epoch": before_epoch,
            "after_epoch": after_epoch,
        }

    def _call(self, which: str, number: int, logs: Mapping[str, Any] | None) -> None:
        hook = self._hooks[which]
        if hook is not None:
            hook(number, dict(logs or {}))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._call("before_step", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._call("after_step", batch, logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._call("before_epoch", epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._call("after_epoch", epoch, logs)
