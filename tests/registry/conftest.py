"""What a person has added or set must not matter to the tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELZOO_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("MODELZOO_MIRROR", raising=False)
