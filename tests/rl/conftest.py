"""The reinforcement learning tests are skipped, naming what to install, where Gymnasium is not."""

from __future__ import annotations

import pytest

pytest.importorskip("gymnasium", reason='needs gymnasium: pip install "modelzoo[rl]"')

from tests.rl.environments import register


@pytest.fixture(autouse=True)
def _environments() -> None:
    register()
