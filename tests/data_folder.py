"""Where the test data lies: `MODELZOO_TEST_DATA`, else `../shared` beside the checkout; absent on most machines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_FOLDER = Path(os.environ.get("MODELZOO_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared")

DATA: Path | None = _FOLDER if (_FOLDER / "slim" / "recipe.py").is_file() else None
"""The folder, or None where it is absent."""

needs_data = pytest.mark.skipif(
    DATA is None, reason=f"needs the test data folder (set MODELZOO_TEST_DATA; looked at {_FOLDER})"
)
"""Marks a test that reads the data folder; it is skipped, with the place looked at, where there is none."""
