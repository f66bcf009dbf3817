"""The wheel, the source distribution and an editable install all find the registry and the bundled checkpoint."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROBE = """
import modelzoo, pathlib
card = modelzoo.info("inception_v1_scenes")
place = modelzoo.fetch("inception_v1_scenes", cache={cache!r}, offline=True)
print(pathlib.Path(modelzoo.__file__).parent)
print(len(modelzoo.list_models()), place.files["weights"].name)
"""


def build(source: Path, out: Path, kind: str) -> Path:
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = out.iterdir()
    return made


def probe(package_path: Path, tmp_path: Path) -> None:
    """Run modelzoo from `package_path` and from nowhere else (`-I` ignores the checkout)."""
    code = f"import sys; sys.path.insert(0, {str(package_path)!r})\n" + PROBE.format(cache=str(tmp_path / "cache"))
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    where, summary = done.stdout.strip().splitlines()[-2:]
    assert Path(where) == package_path / "modelzoo"
    assert int(summary.split()[0]) >= 40


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="runs from a checkout")
def test_wheel_from_the_checkout_and_from_the_source_distribution(tmp_path):
    sdist = build(ROOT, tmp_path / "sdist", "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    from_sdist = build(unpacked, tmp_path / "wheel-of-sdist", "wheel")
    from_checkout = build(ROOT, tmp_path / "wheel", "wheel")
    with zipfile.ZipFile(from_sdist) as one, zipfile.ZipFile(from_checkout) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        names = set(one.namelist())
        assert {"modelzoo/registry.json", "modelzoo/py.typed", "modelzoo/registry/schema.json"} <= names
        one.extractall(tmp_path / "site")
    assert from_sdist.stat().st_size < 8 * 2**20
    probe(tmp_path / "site", tmp_path)


def test_the_checkout_itself_works_as_an_editable_install_sees_it(tmp_path):
    probe(ROOT, tmp_path)
