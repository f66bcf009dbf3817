"""Processes that are killed, interrupted, or want the same thing at once."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from modelzoo.errors import LockTimeoutError, NetworkError
from modelzoo.store import Member, Source, Store, locks
from tests.store.conftest import QUICK, pinned, some_bytes, visible
from tests.store.fault_server import Fault, FaultServer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

DATA = some_bytes(400_000)
CKPT = some_bytes(150_000, seed=1)
ROOT = Path(__file__).resolve().parents[2]


def as_json(sources: list[Source]) -> list[dict[str, object]]:
    return [{**vars(one), "members": [(m.path, m.role, m.name) for m in one.members]} for one in sources]


class Killable:
    """Talks to killable.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.store.killable"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def fetch(self, root: Path, key: str, sources: list[Source], at: int) -> int:
        """How many things a fetch in a process of its own did; -1: it was killed at the `at`-th."""
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"root": str(root), "key": key, "sources": as_json(sources), "at": at}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture
def killable() -> Iterator[Killable]:
    program = Killable()
    yield program
    program.close()


def archive_and_file(server: FaultServer, pause: float = 0.0) -> list[Source]:
    """A file, and an archive with one wanted member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("net.ckpt")
        info.size = len(CKPT)
        archive.addfile(info, io.BytesIO(CKPT))
    packed = gzip.compress(buffer.getvalue(), mtime=0)
    slowly = Fault(pause=pause)
    return [
        pinned(DATA, server.serve("/f", DATA, always=slowly), name="net.bin", role="graph"),
        pinned(packed, server.serve("/a", packed, always=slowly), name="a.tar.gz", role="archive",
               members=(Member("net.ckpt", "weights", "deep/net.ckpt"),)),
    ]  # fmt: skip


def test_after_a_kill_midway_one_request_brings_the_rest(server, root, killable, store):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(pause=0.005)]))
    at = 1
    while killable.fetch(root, "net", [source], at) == -1 and store.plan("net", [source])[0].kept < 100_000:
        at += 5
        server.serve("/f", DATA, [Fault(pause=0.005)])
    kept = store.plan("net", [source])[0].kept
    assert 100_000 <= kept < len(DATA) and visible(root) == []
    server.seen.clear()
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert server.ranges("/f") == [f"bytes={kept}-"]
    assert not list((root / "partial").iterdir())


def check_after_kill(root: Path, sources: list[Source]) -> None:
    """No byte that a user or the store may take for verified is wrong."""
    right = {sha256(DATA).hexdigest(), sha256(CKPT).hexdigest(), *(one.digests["sha256"] for one in sources)}
    for path in visible(root):
        assert sha256(path.read_bytes()).hexdigest() in right, path
    located = Store(root).locate("net", sources)
    if located is not None:
        assert located.files["graph"].read_bytes() == DATA and located.files["weights"].read_bytes() == CKPT


def orphans(root: Path, known: Iterable[Path]) -> list[Path]:
    """Files that nobody needs: neither a model's nor the cache's own."""
    own = {"CACHEDIR.TAG", "net.json"}
    return [
        path
        for path in root.rglob("*")
        if path.is_file() and path not in set(known) and path.suffix not in (".at", ".lock") and path.name not in own
    ]


def killed_runs(server: FaultServer, tmp_path: Path, killable: Killable, seed: int, count: int) -> None:
    sources = archive_and_file(server)
    rng = random.Random(seed)
    things = killable.fetch(tmp_path / "whole", "net", sources, 0)
    assert things > 50
    killed = 0
    for run in range(count):
        root = tmp_path / f"run{run}"
        for _ in range(rng.choice((1, 1, 2, 3))):
            killed += killable.fetch(root, "net", sources, rng.randrange(1, things)) == -1
            check_after_kill(root, sources)
        store = Store(root, policy=QUICK, progress=False)
        held = {path.name for path in visible(root)}
        before = len(server.gets("/f"))
        fetched = store.fetch("net", sources)
        assert fetched.files["graph"].read_bytes() == DATA
        assert fetched.files["weights"].read_bytes() == CKPT
        assert len(server.gets("/f")) - before <= (sha256(DATA).hexdigest() not in held)
        assert all(path.lstat().st_nlink == 1 for path in fetched.files.values())
        assert orphans(root, fetched.files.values()) == [], "the next call clears up"
        assert {verdict.status for verdict in store.verify()} == {"ok"}
        store.prune()
        assert sorted(visible(root)) == sorted(fetched.files.values())
        assert not list((root / "partial").iterdir())
    assert killed >= count // 2


def test_kills_at_random_moments_leave_nothing_wrong_and_lose_nothing_verified(server, tmp_path, killable):
    killed_runs(server, tmp_path, killable, seed=20240501, count=25)


@pytest.mark.slow
def test_many_kills_at_random_moments(server, tmp_path, killable):
    killed_runs(server, tmp_path, killable, seed=7, count=500)


def test_two_processes_download_a_file_once(server, root):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(pause=0.02)]))
    programs = [Killable() for _ in range(2)]
    try:
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda program: program.fetch(root, "net", [source], 0), programs))
    finally:
        for program in programs:
            program.close()
    assert min(done) > 0
    assert len(server.seen) == 1
    assert visible(root) == [root / "models" / "net" / "net.bin"]


def racing(count: int, work: Callable[[int], object]) -> list[object]:
    barrier = threading.Barrier(count)

    def run(number: int) -> object:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_two_models_that_share_a_file_download_it_once(server, make_store):
    source = pinned(DATA, server.serve("/f", DATA, always=Fault(pause=0.005)))
    found = racing(4, lambda number: make_store().fetch(f"net{number}", [source]).files["weights"].read_bytes())
    assert found == [DATA] * 4 and len(server.seen) == 1


def test_locks_that_do_nothing_cost_downloads_but_no_bytes(server, make_store, monkeypatch):
    import contextlib

    monkeypatch.setattr(locks, "held", lambda *args, **kwargs: contextlib.nullcontext())
    sources = archive_and_file(server, pause=0.002)
    found = racing(4, lambda number: make_store().fetch("net", sources))
    assert len(set(map(str, found))) == 1
    fetched = make_store().locate("net", sources)
    assert fetched.files["graph"].read_bytes() == DATA and fetched.files["weights"].read_bytes() == CKPT
    assert {verdict.status for verdict in make_store().verify()} == {"ok"}


def test_whoever_holds_a_lock_without_getting_on_is_named(server, root, make_store):
    source = pinned(DATA, server.serve("/f", DATA))
    impatient = make_store(policy=replace(QUICK, lock_wait=0.2))
    with (
        locks.held(root / "locks" / "model-net.lock", 1.0),
        pytest.raises(LockTimeoutError, match=f"process {os.getpid()} on"),
    ):
        impatient.fetch("net", [source])
    impatient.fetch("net", [source])


def test_an_interrupt_keeps_what_has_arrived(server, root, make_store):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(pause=0.01)]))

    def interrupt(name: str, done: int, total: int | None) -> None:
        if done > 100_000:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make_store(progress=interrupt).fetch("net", [source])
    kept = make_store().plan("net", [source])[0].kept
    assert kept > 100_000 and visible(root) == []
    make_store().fetch("net", [source])
    assert server.ranges("/f") == [None, f"bytes={kept}-"]


def test_a_process_that_is_still_at_work_keeps_its_partial_file(server, root, make_store):
    """Without locks, a second process works on a copy, and sweeps nothing that is alive."""
    source = pinned(DATA, server.serve("/f", DATA, always=Fault(pause=0.005)))
    inner: list[object] = []

    def meanwhile(name: str, done: int, total: int | None) -> None:
        if done > 100_000 and not inner:
            inner.append(None)
            identity = f"sha256-{source.digests['sha256']}"
            before = sorted((root / "partial").glob(f"{identity}.*"))
            assert make_store().prune().partials == 0
            assert sorted((root / "partial").glob(f"{identity}.*")) == before

    assert make_store(progress=meanwhile).fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert inner


def test_a_forked_child_takes_nothing_from_its_parent(server, root, make_store):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=100_000)] * 9))
    with pytest.raises(NetworkError):
        make_store(policy=replace(QUICK, rounds=1)).fetch("net", [source])
    server.serve("/f", DATA)
    child = os.fork()
    if child == 0:
        try:
            make_store().fetch("net", [source])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert make_store().locate("net", [source]) is not None
