"""What does not compute does not import what computes."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "tensorflow",
    "keras",
    "numpy",
    "requests",
    "tqdm",
    "jsonschema",
    "rich",
    "importlib.metadata",
    "PIL",
    "h5py",
    "onnx",
    "converters",
}

PROGRAM = """
import sys
from modelzoo.cli.root import root
try:
    root.main(sys.argv[1:], prog_name="modelzoo")
except SystemExit as stop:
    assert stop.code == 0, stop.code
print(*sys.modules, sep="\\n", file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "--version",
        "list",
        "list inception* --json",
        "info inception_v1",
        "info inception_v1 --json",
        "cache path",
        "cache list --json",
        "completion bash",
        "fetch --help",
        "classify --help",
        "features --help",
        "demo --help",
        "convert --help",
    ],
)
def test_light_verbs_import_nothing_heavy(words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words.split()], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout
    assert not HEAVY & set(done.stderr.split())
