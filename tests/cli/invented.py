"""Checkpoints with random numbers under TF-Slim's names, packed and described by a card as published ones are."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np


def inception_v1_arrays(*, width: float = 1.0, classes: int = 1001, seed: int = 1) -> dict[str, np.ndarray]:
    """Every variable of the network, as it asks for them itself; scaled so that activations neither die nor grow."""
    import keras

    from modelzoo.networks.inception_v1 import inception_v1
    from modelzoo.networks.weights import ArraySource, FromArray

    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}

    class Inventing(ArraySource):
        def initializer(self, name: str, shape: Any, change: Any = None) -> FromArray:
            numbers = rng.standard_normal(shape, np.float32)
            if len(shape) == 4:
                numbers *= np.float32((2.0 / np.prod(shape[:3])) ** 0.5)
            elif name.endswith("moving_variance"):
                numbers = np.abs(numbers) + np.float32(0.5)
            else:
                numbers *= np.float32(0.1)
            arrays[name] = numbers
            return FromArray(numbers)

    inception_v1(keras.Input((64, 64, 3)), Inventing(None), width=width, classes=classes)
    return arrays


def packed(checkpoint: Path, *, level: int = 9) -> bytes:
    """A tar.gz with the checkpoint as its one member, the same bytes every time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=level) as tar:
        member = tarfile.TarInfo(checkpoint.name)
        member.size = checkpoint.stat().st_size
        with checkpoint.open("rb") as file:
            tar.addfile(member, file)
    return buffer.getvalue()


def card(archive: bytes, url: str, *, member: str, width: float, size: int, names: list[str]) -> dict[str, Any]:
    """A card as the registry's own: pinned archive, one member, class names on the card."""
    return {
        "title": "A small network with random numbers",
        "task": "classification",
        "framework": "tf-slim",
        "format": "tf-checkpoint-v1",
        "licence": "Apache-2.0",
        "aliases": ["tiny"],
        "files": [
            {
                "name": "tiny.tar.gz",
                "role": "archive",
                "urls": [{"url": url, "kind": "original"}],
                "size": len(archive),
                "digests": {"sha256": hashlib.sha256(archive).hexdigest()},
                "members": [{"path": member, "role": "weights"}],
            }
        ],
        "build": {"network": "inception_v1", "args": {"width": width}},
        "inputs": [
            {
                "name": "input",
                "shape": [size, size, 3],
                "colour": "RGB",
                "layout": "NHWC",
                "preprocess": {"family": "inception", "size": [size, size]},
            }
        ],
        "outputs": [{"name": "Logits", "kind": "logits", "classes": len(names)}],
        "labels": {"names": names},
        "taps": ["Conv2d_2c_3x3", "Mixed_3c", "Mixed_4f"],
    }


def registry_file(path: Path, **cards: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"schema_version": 1, "models": cards}, indent=1), encoding="utf-8")
    return path
