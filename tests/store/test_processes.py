"""Processes that are killed, interrupted, or want the same thing at once."""

from __future__ import annotations

import errno
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
import time
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
            start_new_session=True,
        )  # fmt: skip

    def fetch(self, root: Path, key: str, sources: list[Source], at: int) -> int:
        """How many things a fetch in a process of its own did; -1: it was killed at the `at`-th."""
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"root": str(root), "key": key, "sources": as_json(sources), "at": at}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, root: Path, key: str, sources: list[Source]) -> int:
        """`fetch`, of which `kill` may make nothing (then 0)."""
        try:
            return self.fetch(root, key, sources, 0)
        except ValueError:
            return 0

    def kill(self) -> None:
        """Ends the program and its child at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

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
    """Files that nobody needs: neither a model's nor the cache's own (of these, those of locks stay in any case)."""
    own = {"CACHEDIR.TAG", "net.json"}
    kinds = {".at", ".lock", ".holder"}
    return [
        path
        for path in root.rglob("*")
        if path.is_file() and path not in set(known) and path.suffix not in kinds and path.name not in own
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
        server.settle()
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


@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_race_download_a_file_once(server, root, count):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(pause=0.02)]))
    programs = [Killable() for _ in range(count)]
    try:
        with ThreadPoolExecutor(count) as pool:
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


def test_when_the_holder_of_a_lock_dies_whoever_waits_goes_on_with_its_bytes(server, root, make_store, killable):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(stall=200_000)]))
    for_long = replace(QUICK, read_timeout=30.0, lock_wait=30.0)
    with ThreadPoolExecutor(2) as pool:
        program = Killable()
        holder = pool.submit(program.start, root, "net", [source])
        wait_until(lambda: make_store().plan("net", [source])[0].kept == 200_000)
        waiter = pool.submit(make_store(policy=for_long).fetch, "net", [source])
        wait_until(lambda: waiter.running())
        assert len(server.seen) == 1, "who waits asks for nothing"
        program.kill()
        assert waiter.result(20).files["weights"].read_bytes() == DATA
        holder.result(20)
    assert server.ranges("/f") == [None, "bytes=200000-"]


NO_LOCKS = {"silently": 0, "not supported": errno.EOPNOTSUPP, "none left": errno.ENOLCK, "unknown": errno.ENOSYS}


@pytest.mark.parametrize("number", NO_LOCKS.values(), ids=NO_LOCKS)
def test_file_systems_without_locks_cost_downloads_but_no_bytes(server, make_store, monkeypatch, number):
    """As NFS and Lustre can be mounted: `flock` succeeds and does nothing, or fails."""
    import fcntl

    def flock(handle: int, operation: int) -> None:
        if number:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    sources = archive_and_file(server, pause=0.002)
    found = racing(4, lambda count: make_store().fetch("net", sources))
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_told_to_end_leaves_its_bytes_to_the_next(server, root, store, number):
    """Ctrl-C ends with a KeyboardInterrupt; the other signals end the process where it is."""
    source = pinned(DATA, server.serve("/f", DATA, [Fault(stall=200_000)]))
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, root, json.dumps(as_json([source]))], cwd=ROOT,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    wait_until(lambda: store.plan("net", [source])[0].kept == 200_000)
    program.send_signal(number)
    _, errors = program.communicate(timeout=20)
    assert program.returncode == -number
    assert errors == "" or errors.rstrip().endswith("KeyboardInterrupt")
    assert visible(root) == []
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert server.ranges("/f") == [None, "bytes=200000-"]
    assert orphans(root, visible(root)) == []


PROGRAM = """
import json, sys
from pathlib import Path
from modelzoo.store import Policy, Store
from tests.store.killable import sources_of
Store(Path(sys.argv[1]), policy=Policy(), progress=False).fetch("net", sources_of(json.loads(sys.argv[2])))
"""


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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


def test_a_child_forked_in_the_middle_of_a_download_waits_for_it(server, root, make_store):
    """It has copies of its parent's locks and files, and must neither hold the ones nor write the others."""
    source = pinned(DATA, server.serve("/f", DATA, [Fault(pause=0.02)]))
    children: list[int] = []

    def fork(name: str, done: int, total: int | None) -> None:
        if done > 100_000 and not children:
            children.append(os.fork())
            if children[0] == 0:
                code = 1
                try:
                    code = make_store().fetch("net", [source]).files["weights"].read_bytes() != DATA
                finally:
                    os._exit(code)

    assert make_store(progress=fork).fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert os.waitpid(children[0], 0)[1] == 0
    assert len(server.seen) == 1 and {one.status for one in make_store().verify()} == {"ok"}


def test_the_child_of_a_process_that_was_killed_goes_on(server, root, make_store):
    """The lock of the parent lives on in the child, which does not hold it."""
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=200_000, pause=0.01), Fault(stall=1000)]))
    parent = os.fork()
    if parent == 0:

        def fork(name: str, done: int, total: int | None) -> None:
            if done > 100_000:
                if os.fork() == 0:
                    while os.getppid() == mine:
                        time.sleep(0.01)
                    try:
                        Store(root, policy=QUICK, progress=False).fetch("net", [source])
                    finally:
                        os._exit(0)
                os.kill(mine, signal.SIGKILL)

        mine = os.getpid()
        try:
            make_store(progress=fork).fetch("net", [source])
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(parent, 0)[1]) == signal.SIGKILL
    wait_until(lambda: make_store().locate("net", [source]) is not None)
    assert make_store().locate("net", [source]).files["weights"].read_bytes() == DATA


YEARS = 10 * 365 * 86_400.0


@pytest.mark.parametrize("skew", [-YEARS, YEARS], ids=["slow", "fast"])
def test_a_clock_that_is_years_off_changes_nothing(server, root, make_store, monkeypatch, skew):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=100_000)]))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + skew)
    with pytest.raises(NetworkError):
        make_store(policy=replace(QUICK, rounds=1)).fetch("net", [source])
    make_store().fetch("net", [source])
    assert server.ranges("/f") == [None, "bytes=100000-"]
    monkeypatch.undo()
    assert make_store().locate("net", [source]) is not None
    assert make_store().prune(older_than=3600.0).keys == (), "it was used just now, by the clock of its disk"


@pytest.mark.parametrize("skew", [-YEARS, YEARS], ids=["slow", "fast"])
def test_what_another_machine_is_writing_is_not_taken_from_it_whatever_the_clocks(
    server, root, make_store, monkeypatch, skew
):
    """Its age counts by the clock that stamps files, not by ours."""
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=100_000)]))
    with pytest.raises(NetworkError):
        make_store(policy=replace(QUICK, rounds=1)).fetch("net", [source])
    (part,) = (root / "partial").glob("*.part")
    journal = part.with_suffix(".journal")
    journal.write_text(journal.read_text().replace('"owner": ""', '"owner": "elsewhere|boot|pid:[1]|7|7"'))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + skew)
    assert make_store().prune().partials == 0
    assert make_store().fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert part.stat().st_size == 100_000, "it was copied"
    assert server.ranges("/f") == [None, "bytes=100000-"]
    monkeypatch.undo()
    old = real() - 2 * 86_400
    for path in (part, journal):
        os.utime(path, (old, old))
    assert make_store().prune().partials == 1


def test_times_of_the_future_are_no_reason_to_keep_or_to_trust(server, store):
    source = pinned(DATA, server.serve("/f", DATA))
    path = store.fetch("net", [source]).files["weights"]
    later = time.time() + YEARS
    for touched in (path, store.root / "manifests" / "net.json"):
        os.utime(touched, (later, later))
    assert store.locate("net", [source]) is None
    assert store.prune(max_size=0, dry_run=True).keys == ("net",)
    assert store.fetch("net", [source]).files["weights"] == path and len(server.seen) == 1


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
