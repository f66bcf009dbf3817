"""The goldens of the data folder: weights and input by the recipe, and the check against what TF-slim computed."""

from __future__ import annotations

import importlib.util
import json
from types import ModuleType
from typing import Any

import numpy as np

from tests.data_folder import DATA

BADLY_CONDITIONED = ("resnet_v1_152", "inception_v4", "pnasnet_large", "nasnet_large", "resnet_v2_152")
"""Networks whose rounding grows with depth, even against exact arithmetic: their first third is held to 1e-3."""


def from_data(name: str) -> ModuleType:
    """A module of the data folder, imported where it lies."""
    assert DATA is not None
    spec = importlib.util.spec_from_file_location(f"slim_{name}", DATA / "slim" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Golden:
    """One network: its weights and input, and the check against what slim computed from them.

    Args:
        net: a key of the golden set.
    """

    def __init__(self, net: str) -> None:
        assert DATA is not None
        self.net = net
        self.folder = DATA / "slim"
        self._recipe = from_data("recipe")
        self.meta = json.loads((self.folder / "dev" / f"{net}.json").read_text())
        listing = json.loads((self.folder / "variables" / f"{net}.json").read_text())
        self.shapes: dict[str, list[int]] = {v["name"]: v["shape"] for v in listing["variables"]}
        self.training_only: dict[str, list[int]] = dict(listing["train_only_variables"])
        self.x: np.ndarray = self._recipe.image_batch(self.meta["input_shape"], self.meta["seed"])
        self.top5 = self.meta["top5"]
        self.end_points = [row["name"] for row in self.meta["endpoints"]]

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """All variables, made anew at each call: some networks have gigabytes of them."""
        seed = self.meta["seed"]
        return {name: self._recipe.variable(self.net, name, shape, seed) for name, shape in self.shapes.items()}

    def rows(self, logits: np.ndarray, end_points: dict[str, np.ndarray]) -> list[tuple[str, float, str]]:
        """(end point, error, "ok" or what is wrong), the logits first; end points that slim has not are left out."""
        return from_data("check").check(str(self.folder / "dev"), self.net, logits, end_points)

    def assert_all_match(self, end_points: dict[str, np.ndarray], logits: str = "Logits") -> float:
        """Assert that every end point of slim's is there and right, `logits` all of it, and return the worst error."""
        rows = self.rows(end_points[logits], end_points)
        assert len(rows) == len(self.end_points) + 1, "every end point, and the logits once more in full"
        assert [row for row in rows if row[2] != "ok"] == []
        if self.net in BADLY_CONDITIONED:
            first_third = rows[1 : 1 + len(self.end_points) // 3]
            assert [row for row in first_third if row[1] > 1e-3] == []
        assert np.argsort(-end_points[logits], axis=1)[:, :5].tolist() == self.top5
        return max(row[1] for row in rows)


def values_of(fx: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """The values of an extractor's taps for a network's own input."""
    return {name: np.asarray(value) for name, value in fx.model(x).items()}
