"""Gradual unfreezing: from the head towards the input, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from modelzoo.errors import UsageError

if TYPE_CHECKING:
    from modelzoo.finetune.backbone import Backbone

__all__ = ["GradualUnfreezing", "build_optimizer", "check_schedule"]


class GradualUnfreezing(keras.callbacks.Callback):
    """Freezes a backbone until another tap from given epochs on (Howard & Ruder 2018, arXiv:1801.06146).

    Args:
        backbone: of the model that is fitted.
        schedule: {epoch (from 0): True = all frozen, a tap's name = frozen until there, False = nothing frozen}.

    The optimiser is built for all variables of the model before the first step, so that unfreezing neither loses nor
    invents state, and a resumed run at epoch k has what an uninterrupted one has.

    Raises:
        UsageError: the schedule is empty or its epochs are no whole numbers.
        UnknownTapError: a name is no tap.
    """

    def __init__(self, backbone: Backbone, schedule: Mapping[int, bool | str]) -> None:
        super().__init__()
        check_schedule(backbone, schedule)
        self.backbone = backbone
        self.schedule = dict(sorted(schedule.items()))

    def at(self, epoch: int) -> bool | str | None:
        """What is frozen in an epoch; None before the first entry."""
        return next((what for first, what in reversed(self.schedule.items()) if first <= epoch), None)

    def on_train_begin(self, logs: Any = None) -> None:
        build_optimizer(self.model, self.backbone)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        wanted = self.at(epoch)
        if wanted is not None and wanted != self.backbone.frozen_until:
            self.backbone.freeze(wanted)
            # The variables that a step updates are fixed when it is traced.
            self.model.make_train_function(force=True)
            self.model.make_test_function(force=True)


def check_schedule(backbone: Backbone, schedule: Mapping[int, bool | str]) -> None:
    """Raise what is wrong with a schedule before anything is trained."""
    from modelzoo.features.taps import choose_taps

    if not schedule or any(not isinstance(epoch, int) or epoch < 0 for epoch in schedule):
        raise UsageError("A schedule says from which epoch (0, 1, ...) on what is frozen.", received=repr(schedule))
    taps = [what for what in schedule.values() if isinstance(what, str)]
    choose_taps(taps, backbone._known, (), backbone.name)


def build_optimizer(model: Any, backbone: Backbone) -> None:
    """Build the optimiser of a compiled model for everything that may be trained, also what is frozen now."""
    optimizer = model.optimizer
    if optimizer.built:
        return
    ours = {id(variable) for variable in backbone.network.variables}
    head = [variable for variable in model.trainable_variables if id(variable) not in ours]
    optimizer.build([*backbone.variables, *head])
    optimizer.built = True
