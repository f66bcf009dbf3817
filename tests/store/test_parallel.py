"""Several files of a model at once."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace

import pytest

from modelzoo.errors import DigestError, NetworkError
from modelzoo.store.parallel import run_all
from modelzoo.store.retries import Stopped
from tests.store.conftest import QUICK, pinned, some_bytes, visible
from tests.store.fault_server import Fault

PARTS = [some_bytes(200_000, seed) for seed in range(4)]


def parts_of(server, *faults: Fault):
    slowly = faults or (Fault(pause=0.02),) * 4
    return [
        pinned(data, server.serve(f"/{n}", data, always=fault), name=f"part{n}")
        for n, (data, fault) in enumerate(zip(PARTS, slowly, strict=True))
    ]


def test_files_of_a_model_come_at_the_same_time_and_in_order(server, make_store):
    begun, at_once = set(), []

    def note(name, done, total):
        begun.add(name)
        if done == total:
            at_once.append(len(begun))

    fetched = make_store(progress=note).fetch("net", parts_of(server))
    assert [path.read_bytes() for _, _, path in fetched.all] == PARTS
    assert at_once[0] == 4, "all had begun before the first was complete"
    assert len(server.seen) == 4


def test_no_more_than_the_policy_says(server, make_store):
    running, most, lock = set(), [0], threading.Lock()

    def note(name, done, total):
        with lock:
            running.add(name)
            most[0] = max(most[0], len(running))
            if done == total:
                running.discard(name)

    make_store(policy=replace(QUICK, parallel=2), progress=note).fetch("net", parts_of(server))
    assert most[0] == 2


def test_progress_is_told_from_one_thread_at_a_time(server, make_store):
    inside, clashes = [], []

    def note(name, done, total):
        clashes.extend(inside)
        inside.append(name)
        threading.Event().wait(0.001)
        inside.clear()

    make_store(progress=note).fetch("net", parts_of(server))
    assert clashes == []


def test_a_failure_stops_the_others_which_keep_what_they_have(server, make_store):
    slow, broken = Fault(pause=0.2, chunk=20_000), Fault(status=404)
    sources = parts_of(server, slow, slow, broken, slow)
    with pytest.raises(NetworkError, match=r"part2 of net.*no URL delivered"):
        make_store().fetch("net", sources)
    assert visible(make_store().root) == []
    server.seen.clear()
    sources = parts_of(server, *[Fault()] * 4)
    kept = [one.kept for one in make_store().plan("net", sources)]
    assert sum(kept) > 0 and max(kept) < 200_000
    make_store().fetch("net", sources)
    assert {one.path: one.range for one in server.seen} == {
        f"/{n}": f"bytes={size}-" if size else None for n, size in enumerate(kept)
    }


def test_a_file_that_is_wrong_is_an_error_of_its_own(server, make_store):
    with pytest.raises(DigestError, match="part1 of net"):
        make_store().fetch("net", parts_of(server, Fault(), Fault(flip=1), Fault(), Fault()))


def test_the_first_failure_in_the_order_of_tasks_is_the_error():
    both = threading.Barrier(2)

    def fails(error: Exception) -> None:
        both.wait(10)
        raise error

    with pytest.raises(ValueError):
        run_all([lambda: fails(ValueError()), lambda: fails(KeyError())], 2, threading.Event())


def test_the_same_file_under_two_names_is_downloaded_once(server, store):
    one = pinned(PARTS[0], server.serve("/f", PARTS[0], always=Fault(pause=0.01)), name="one")
    fetched = store.fetch("net", [one, replace(one, name="other", role="labels")])
    assert [path.read_bytes() for path in fetched.files.values()] == [PARTS[0]] * 2
    assert len(server.seen) == 1
    assert all(path.lstat().st_nlink == 1 for path in fetched.files.values())


def test_an_interrupt_stops_all(server, make_store):
    told: list[str] = []

    def interrupt(name, done, total):
        if done > 100_000 and not told:
            told.append(name)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make_store(progress=interrupt).fetch("net", parts_of(server, *[Fault(pause=0.1)] * 4))
    assert visible(make_store().root) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("modelzoo-fetch")]
    assert sum(one.kept for one in make_store().plan("net", parts_of(server))) > 100_000
    assert len(make_store().fetch("net", parts_of(server)).all) == 4


def test_results_keep_their_order_and_what_was_stopped_is_no_error():
    stop = threading.Event()
    assert run_all([lambda n=n: n for n in range(9)], 3, stop) == list(range(9))
    assert not stop.is_set()

    def waits() -> int:
        assert stop.wait(10)
        raise Stopped

    def fails() -> int:
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        run_all([waits, fails, waits], 3, stop)
