"""A registry of small networks with files to fetch, as a user would write one."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from modelzoo.checkpoints.write_v1 import write_v1
from tests.networks.plain_inception import plain_inception_v1, random_variables

WIDTH, NAMES, SIDE = 0.125, ("ant", "bee", "cat", "dog", "emu", "fox"), 64
CLASSES = 1 + len(NAMES)


class Zoo:
    """Weights, their file, the archive that holds it, and a registry that names them.

    Attributes:
        arrays: the variables.
        checkpoint: a V1 checkpoint of them.
        registry: the registry's file; `base` of its URLs can be another place that serves `folder`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._variable, self.arrays = random_variables(31)
        self.ends(self.picture())
        self.checkpoint = write_v1(folder / "tiny.ckpt", self.arrays)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.add(self.checkpoint, "./tiny.ckpt")
        (folder / "tiny.tar.gz").write_bytes(archive.getvalue())
        self.registry = self.write_registry("registry.json", folder.as_uri())

    def picture(self, seed: int = 0, count: int = 2) -> np.ndarray:
        """(count, SIDE, SIDE, 3) float32 in the network's own range."""
        return np.random.default_rng(seed).uniform(-1, 1, (count, SIDE, SIDE, 3)).astype(np.float32)

    def ends(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """End points by plain operations from the same variables."""
        take = self._variable if not self.arrays else lambda name, shape: self.arrays[name].reshape(shape)
        return plain_inception_v1(x, take, CLASSES, WIDTH)

    def card(self, base: str, **changes: Any) -> dict[str, Any]:
        data = (self.folder / "tiny.tar.gz").read_bytes()
        return {
            "title": "A small Inception V1",
            "task": "classification",
            "framework": "tf-slim",
            "licence": "Apache-2.0",
            "files": [
                {
                    "name": "tiny.tar.gz",
                    "role": "archive",
                    "urls": [{"url": f"{base}/tiny.tar.gz"}],
                    "size": len(data),
                    "digests": {"sha256": hashlib.sha256(data).hexdigest()},
                    "members": [{"path": "tiny.ckpt", "role": "weights"}],
                }
            ],
            "build": {"network": "inception_v1", "args": {"width": WIDTH}},
            "inputs": [
                {
                    "name": "input",
                    "shape": [SIDE, SIDE, 3],
                    "dtype": "float32",
                    "colour": "RGB",
                    "layout": "NHWC",
                    "preprocess": {"family": "inception", "mean": [127.5] * 3, "std": [127.5] * 3},
                }
            ],
            "outputs": [{"name": "Logits", "kind": "logits", "classes": CLASSES}],
            "labels": {"names": list(NAMES), "offset": 1, "count": CLASSES},
            **changes,
        }

    def write_registry(self, name: str, base: str) -> Path:
        card = self.card(base)
        wrong = json.loads(json.dumps(card["files"]))
        wrong[0]["digests"]["sha256"] = "0" * 64
        bare = {key: value for key, value in card.items() if key != "labels"}
        bare["inputs"] = [{key: value for key, value in card["inputs"][0].items() if key != "preprocess"}]
        models = {
            "tiny": {**card, "aliases": ["small"]},
            "tiny-probabilities": self.card(base, outputs=[{**card["outputs"][0], "kind": "probabilities"}]),
            "tiny-wrong": self.card(base, files=wrong),
            "tiny-bare": bare,
            "tiny-odd": self.card(base, build={"network": "inception_v1", "args": {"wdith": 1}}),
            "no-files": self.card(base, files=[]),
            "by-converter": self.card(base, build={"converter": "darknet", "needs": ["converter darknet"]}),
        }
        path = self.folder / name
        path.write_text(json.dumps({"schema_version": 1, "models": models}))
        return path
