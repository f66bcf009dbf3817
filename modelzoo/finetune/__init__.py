"""Fine-tuning: a pretrained backbone, a head, and what trains them on Keras' own `fit`.

In comes a name or a Keras model with taps; out goes a folder with a card of its own and safetensors, which
`load_pretrained` opens like any other model. Modules that train in another way (sequences, style, reinforcement)
stand on the same pieces: `Backbone`, `Head`, `LayerwiseOptimizer`, `GradualUnfreezing`, `FeatureCache`, `Checkpoint`.
Nothing here draws, pickles or runs code that a file brings along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelzoo.finetune.backbone import Backbone as Backbone
    from modelzoo.finetune.checkpoint import Checkpoint as Checkpoint
    from modelzoo.finetune.feature_cache import FeatureCache as FeatureCache
    from modelzoo.finetune.heads import Head as Head
    from modelzoo.finetune.hooks import Hooks as Hooks
    from modelzoo.finetune.loading import load_folder as load_folder
    from modelzoo.finetune.pictures import ClassFolder as ClassFolder
    from modelzoo.finetune.precision import set_precision as set_precision
    from modelzoo.finetune.rates import LayerwiseOptimizer as LayerwiseOptimizer
    from modelzoo.finetune.rates import discriminative as discriminative
    from modelzoo.finetune.result import register as register
    from modelzoo.finetune.result import write_result as write_result
    from modelzoo.finetune.training import FineTuner as FineTuner
    from modelzoo.finetune.unfreezing import GradualUnfreezing as GradualUnfreezing

_HOME = {
    "Backbone": "backbone",
    "Checkpoint": "checkpoint",
    "ClassFolder": "pictures",
    "FeatureCache": "feature_cache",
    "FineTuner": "training",
    "GradualUnfreezing": "unfreezing",
    "Head": "heads",
    "Hooks": "hooks",
    "LayerwiseOptimizer": "rates",
    "discriminative": "rates",
    "load_folder": "loading",
    "register": "result",
    "set_precision": "precision",
    "write_result": "result",
}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelzoo.finetune' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"modelzoo.finetune.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
