"""What the tests of the command line share: a process-free way to run it, a clean environment, a small model."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelzoo.cli.root import root
from tests.cli import invented

NAMES = ["cat", "dog", "boat", "tree", "house"]


@dataclass(frozen=True)
class Ran:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("MODELZOO_REGISTRY", "MODELZOO_OFFLINE", "MODELZOO_DEBUG", "MODELZOO_MIRROR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELZOO_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def run() -> Run:
    """Run a command line in this process: `run("list", "--json")`."""

    def run(*words: str | Path) -> Ran:
        # With bytes below, as real streams have them: click writes some completions as bytes.
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
            root.main([str(word) for word in words], prog_name="modelzoo")
        code = stop.value.code
        said, complained = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
        assert "Traceback" not in complained
        return Ran(code if isinstance(code, int) else 0, said, complained)

    return run


@dataclass(frozen=True)
class Tiny:
    """A model of an eighth of the width: its checkpoint, the archive around it, its card and a registry with that."""

    checkpoint: Path
    archive: Path
    card: dict[str, Any]
    registry: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    from modelzoo.checkpoints.write_v1 import write_v1

    folder = tmp_path_factory.mktemp("tiny")
    checkpoint = write_v1(folder / "tiny.ckpt", invented.inception_v1_arrays(width=0.125, classes=len(NAMES)))
    archive = folder / "tiny.tar.gz"
    archive.write_bytes(invented.packed(checkpoint, level=1))
    card = invented.card(
        archive.read_bytes(), archive.as_uri(), member=checkpoint.name, width=0.125, size=64, names=NAMES
    )
    return Tiny(checkpoint, archive, card, invented.registry_file(folder / "registry.json", tiny_v1=card))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A PNG of 80 x 60 pixels, coloured noise."""
    return draw(tmp_path / "picture.png")


def draw(path: Path, seed: int = 0) -> Path:
    import numpy as np
    from PIL import Image

    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    return path
