"""A refresh of a signed registry that is killed, and several at once: what is trusted is one state or the other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="signed registries need the extra `signed`")

from modelzoo.registry import trusted
from modelzoo.registry.verification import add_signed
from tests.registry.publishing import Publisher, serving

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("MODELZOO_REGISTRY", "MODELZOO_OFFLINE", "MODELZOO_AUTH", "MODELZOO_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        yield server


def use(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("MODELZOO_CONFIG", str(home / "config"))
    monkeypatch.setenv("MODELZOO_CACHE", str(home / "cache"))


def test_a_refresh_killed_anywhere_leaves_the_old_state_or_the_new_one(served, tmp_path, monkeypatch):
    """The registry is signed anew by a new key in between, so that every role and the root change."""
    publisher = Publisher(tmp_path / "publisher")
    before = tmp_path / "before"
    use(monkeypatch, before)
    served.show(publisher.sign("one"))
    add_signed(served.url, root=publisher.root)
    publisher.rotate("second")
    served.show(publisher.sign("one", "two"))
    (tmp_path / "tmp").mkdir()
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.registry.killable"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
    )

    def refresh(home: Path, at: int) -> int:
        assert worker.stdin is not None
        assert worker.stdout is not None
        order = {"url": served.url, "config": str(home / "config"), "cache": str(home / "cache"), "at": at}
        worker.stdin.write(json.dumps(order) + "\n")
        worker.stdin.flush()
        return int(worker.stdout.readline())

    try:
        shutil.copytree(before, tmp_path / "whole")
        steps = refresh(tmp_path / "whole", 0)
        assert steps > 40
        seen = set()
        for at in range(1, steps + 1, 3):
            home = tmp_path / f"killed-{at}"
            shutil.copytree(before, home)
            assert refresh(home, at) == -1
            use(monkeypatch, home)
            names = served.names(offline=True)
            seen.add(tuple(names))
            assert names in (["one"], ["one", "two"])
            assert trusted.read(served.url).version == {1: 1, 2: 3}[len(names)]
            assert served.names(refresh=True) == ["one", "two"]
        assert seen == {("one",), ("one", "two")}
    finally:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait(30)


def test_several_refreshes_at_once_end_with_the_newest(served, tmp_path, monkeypatch):
    publisher = Publisher(tmp_path / "publisher")
    use(monkeypatch, tmp_path)
    served.show(publisher.sign("one"))
    add_signed(served.url, root=publisher.root)
    served.show(publisher.sign("one", "two"))
    code = (
        "import sys; from modelzoo.registry import load_registries\n"
        f"print(load_registries([{served.url!r}], refresh=True, environment=False, builtin=False).names())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)
    ]
    assert {one.communicate(timeout=60)[0].strip() for one in running} == {"['one', 'two']"}
    assert trusted.read(served.url).version == 2
    assert not list((tmp_path / "config").rglob("*.part"))
