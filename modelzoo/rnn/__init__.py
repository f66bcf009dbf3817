"""Sequences: recurrent heads over the steps of clips, series and audio, and pretrained recurrent networks.

In comes a folder of sequences by class, a long series or a text; out goes a head over a backbone's features, trained
and kept as `modelzoo.finetune` keeps its results, or a recurrent network that was trained on. Frozen backbones compute
each step once; truncated backpropagation through time carries a network over sequences that are too long for one step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelzoo.rnn.audio import LogMel as LogMel
    from modelzoo.rnn.audio import RawWindows as RawWindows
    from modelzoo.rnn.audio import read_wav as read_wav
    from modelzoo.rnn.carried import Carried as Carried
    from modelzoo.rnn.carried import carried_network as carried_network
    from modelzoo.rnn.char_rnn import CharRNN as CharRNN
    from modelzoo.rnn.clips import clip_logits as clip_logits
    from modelzoo.rnn.dtln import load_dtln as load_dtln
    from modelzoo.rnn.frames import read_clips as read_clips
    from modelzoo.rnn.sequences import Sequences as Sequences
    from modelzoo.rnn.series import load_series as load_series
    from modelzoo.rnn.series import read_series as read_series
    from modelzoo.rnn.truncated import TruncatedBPTT as TruncatedBPTT
    from modelzoo.rnn.tuning import SequenceTuner as SequenceTuner
    from modelzoo.rnn.tuning import raw_steps as raw_steps
    from modelzoo.rnn.vocabulary import Vocabulary as Vocabulary

_HOME = {
    "Carried": "carried",
    "CharRNN": "char_rnn",
    "LogMel": "audio",
    "RawWindows": "audio",
    "SequenceTuner": "tuning",
    "Sequences": "sequences",
    "TruncatedBPTT": "truncated",
    "Vocabulary": "vocabulary",
    "carried_network": "carried",
    "clip_logits": "clips",
    "load_dtln": "dtln",
    "load_series": "series",
    "raw_steps": "tuning",
    "read_clips": "frames",
    "read_series": "series",
    "read_wav": "audio",
}

__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'modelzoo.rnn' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"modelzoo.rnn.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
