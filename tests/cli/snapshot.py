"""What a person sees, kept in files: a change of it shows up in review.

`MODELZOO_UPDATE_SNAPSHOTS=1 pytest tests/cli` writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "snapshots"


def assert_snapshot(name: str, text: str) -> None:
    """Compare `text` with `snapshots/NAME.txt`."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("MODELZOO_UPDATE_SNAPSHOTS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"snapshots/{path.name} differs"
