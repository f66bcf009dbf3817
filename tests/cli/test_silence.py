"""What TensorFlow writes while it is imported: kept off standard error, and shown when the import fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from modelzoo.cli.silence import silence_tensorflow
silence_tensorflow()
import logging, tensorflow
logging.getLogger("tensorflow").warning("deprecated")
print(tensorflow.VALUE, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("source", "code", "shown", "hidden"),
    [
        ("import os; os.write(2, b'banner'); VALUE = 'after'", 0, "after", "banner"),
        ("import os; os.write(2, b'banner'); raise ImportError('no libcuda')", 1, "banner", "after"),
    ],
    ids=["imported", "failed"],
)
def test_an_import_is_silent_unless_it_fails(tmp_path: Path, source: str, code: int, shown: str, hidden: str) -> None:
    (tmp_path / "tensorflow.py").write_text(source)
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert shown in done.stderr
    assert hidden not in done.stderr
    assert "deprecated" not in done.stderr
