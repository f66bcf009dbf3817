"""What the numbers of an extraction depend on: two runs whose settings are equal give the same file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelzoo.features.extractor import FeatureExtractor

__all__ = ["differences", "settings_of"]

_WORDS = {
    "journal": "the version of the journal",
    "tensorflow": "the version of TensorFlow",
    "device": "the kind of device",
    "model": "the model",
    "weights": "the weights",
    "taps": "the taps",
    "pooling": "the pooling",
    "preprocess": "the preprocessing",
    "batch_size": "the batch size",
    "pictures": "how many pictures there are",
    "inputs": "the pictures (names, sizes or times of change)",
}


def settings_of(extractor: FeatureExtractor, paths: Sequence[Path], batch_size: int) -> dict[str, Any]:
    """Settings as JSON values, see `_WORDS`. Files are known by path, size and time of change: none is read."""
    import tensorflow as tf

    return {
        "journal": 1,
        "tensorflow": tf.__version__,
        "device": "GPU" if tf.config.list_physical_devices("GPU") else "CPU",
        "model": extractor.model.name,
        "weights": _weights_digest(extractor),
        "taps": list(extractor.taps),
        "pooling": extractor.pooling,
        "preprocess": _preprocess_digest(extractor.preprocess),
        "batch_size": batch_size,
        "pictures": len(paths),
        "inputs": _inputs_digest(paths),
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """In words, what differs between two settings."""
    return [_WORDS.get(key, key) for key in {**old, **new} if old.get(key) != new.get(key)]


def _weights_digest(extractor: FeatureExtractor) -> str:
    """SHA-256 over the kind of each layer and over every weight, in the network's order."""
    import numpy as np

    digest = hashlib.sha256()
    for layer in extractor.model.layers:
        # Not its name: Keras numbers those that have none of their own anew in every process.
        facts = [str(getattr(layer, name, "")) for name in ("strides", "padding", "dilation_rate", "pool_size")]
        digest.update(f"{type(layer).__name__} {' '.join(facts)}\n".encode())
    for weight in extractor.model.weights:
        values = np.ascontiguousarray(weight)
        digest.update(f"{values.dtype} {values.shape}\n".encode())
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _preprocess_digest(preprocess: Any) -> str:
    # Of a function of the user's own the name has to do: its repr holds an address, which differs in every process.
    own = getattr(preprocess, "__qualname__", type(preprocess).__qualname__)
    text = repr(preprocess) if is_dataclass(preprocess) else own
    mean = getattr(preprocess, "mean_image", None)
    return text if mean is None else f"{text} mean {hashlib.sha256(mean.tobytes()).hexdigest()}"


def _inputs_digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            facts = path.stat()
            digest.update(f"{facts.st_size} {facts.st_mtime_ns} ".encode())
        except (OSError, ValueError):
            digest.update(b"missing ")
        digest.update(os.fsencode(path))
        digest.update(b"\0")
    return digest.hexdigest()
