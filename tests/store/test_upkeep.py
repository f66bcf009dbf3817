"""Listing, verifying, removing and pruning."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from modelzoo.errors import NetworkError, UnknownModelError, UsageError
from modelzoo.store import Removal, Store
from tests.store.conftest import QUICK, pinned, some_bytes, visible
from tests.store.fault_server import Fault

ONE, OTHER = some_bytes(200_000), some_bytes(100_000, seed=1)


@pytest.fixture
def two(server, store):
    """Two models; `one` was used long ago."""
    sources = {"one": [pinned(ONE, server.serve("/one", ONE))], "ns/other": [pinned(OTHER, server.serve("/o", OTHER))]}
    for key, own in sources.items():
        store.fetch(key, own)
    long_ago = time.time() - 1000
    os.utime(store.root / "manifests" / "one.json", (long_ago, long_ago))
    return sources


def test_entries_say_what_is_there(store, two):
    other, one = store.entries()
    assert (one.key, one.path, one.size, one.files) == ("one", store.root / "models" / "one", 200_000, ("net.bin",))
    assert (other.key, other.size) == ("ns/other", 100_000)
    assert time.time() - one.used > 900 > time.time() - other.used
    assert time.time() - one.verified < 900


def test_the_size_of_the_cache_is_told_by_what_it_is_for(server, store, two):
    half = pinned(ONE[1:], server.serve("/half", ONE[1:], always=Fault(cut=50_000)), name="half")
    whole = pinned(OTHER[1:], server.serve("/whole", OTHER[1:]), name="whole", role="labels")
    with pytest.raises(NetworkError):
        Store(store.root, policy=replace(QUICK, rounds=1, parallel=1), progress=False).fetch("third", [whole, half])
    path = store.locate("one").files["weights"]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    store.verify()
    used = store.usage()
    assert (used.models, used.quarantine, used.blobs) == (100_000, len(b"damaged"), len(OTHER[1:]))
    assert 50_000 < used.partial < 52_000 and 0 < used.other < 10_000 and used.free > 0
    assert used.total == sum(entry.lstat().st_size for entry in store.root.rglob("*") if entry.is_file())
    os.link(store.locate("ns/other").files["weights"], store.root / "blobs" / "again")
    assert store.usage().models == 100_000 and store.usage().total == used.total, "a second name takes no room"


def test_the_size_of_nothing_is_nothing(store):
    assert store.usage().total == 0 and not store.root.exists()


def test_a_use_is_noted(store, two):
    store.fetch("one", two["one"])
    assert time.time() - store.entries()[1].used < 900


def test_an_empty_cache_is_empty(store):
    assert store.entries() == store.verify() == ()
    assert store.prune(max_size=0) == Removal((), 0, 0)
    assert not store.root.exists()


def test_verify_finds_what_is_damaged_or_missing_and_fetch_mends_it(server, store, two):
    path = store.locate("one").files["weights"]
    status = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(150_000)
        stream.write(bytes([ONE[150_000] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as bit rot does: nothing else shows it
    store.locate("ns/other").files["weights"].unlink()

    by_key = {verdict.key: verdict for verdict in store.verify()}
    assert by_key["one"].status == "damaged" and "sha256 is" in by_key["one"].detail
    assert by_key["ns/other"].status == "missing"
    assert not path.exists() and len(list((store.root / "quarantine").iterdir())) == 1

    for key, sources in two.items():
        assert store.locate(key, sources) is None
        store.fetch(key, sources)
    assert {verdict.status for verdict in store.verify()} == {"ok"}
    assert (len(server.gets("/one")), len(server.gets("/o"))) == (2, 2)


def test_verify_looks_at_the_models_it_is_given(store, two):
    assert [verdict.key for verdict in store.verify(["one"])] == ["one"]
    with pytest.raises(UnknownModelError, match="not in the cache") as caught:
        store.verify(["onee"])
    assert caught.value.suggestions == ("one",)


def test_verifying_is_noted_and_is_no_use(store, two):
    before = store.entries()[1]
    store.verify()
    after = store.entries()[1]
    assert after.verified > before.verified and abs(after.used - before.used) < 1e-3


def test_remove_takes_one_model_and_frees_its_bytes(store, two):
    assert store.remove("one") == Removal(("one",), 200_000, 0)
    assert [entry.key for entry in store.entries()] == ["ns/other"]
    assert not (store.root / "models" / "one").exists()
    with pytest.raises(UnknownModelError):
        store.remove("one")
    with pytest.raises(UsageError):
        store.remove("../one")


def test_prune_takes_the_least_recently_used_first(store, two):
    assert store.prune(max_size=300_000).keys == ()
    planned = store.prune(max_size=299_999, dry_run=True)
    assert planned == Removal(("one",), 200_000, 0) and len(store.entries()) == 2
    assert store.prune(max_size=299_999).keys == ("one",)
    assert store.prune(max_size=0).keys == ("ns/other",)
    assert visible(store.root) == [] and store.entries() == ()


def test_prune_takes_what_was_not_used_for_long(store, two):
    assert store.prune(older_than=900).keys == ("one",)


def test_prune_sweeps_what_nothing_refers_to(server, store, two):
    half = pinned(ONE[1:], server.serve("/half", ONE[1:], always=Fault(cut=50_000)), name="half")
    whole = pinned(OTHER[1:], server.serve("/whole", OTHER[1:]), name="whole", role="labels")
    with pytest.raises(NetworkError):
        Store(store.root, policy=replace(QUICK, rounds=1, parallel=1), progress=False).fetch("third", [whole, half])
    assert len(visible(store.root)) == 3
    planned = store.prune(dry_run=True)
    removed = store.prune()
    assert removed == planned == Removal((), 50_000 + len(OTHER[1:]), 1)
    assert len(visible(store.root)) == 2 and not list((store.root / "partial").iterdir())
    assert {verdict.status for verdict in store.verify()} == {"ok"}


def test_prune_leaves_alone_what_is_being_fetched(server, store, make_store, two):
    removed = []
    busy = make_store(progress=lambda name, done, total: removed.append(make_store().prune(max_size=0)))
    data = some_bytes(50_000, seed=2)
    fetched = busy.fetch("third", [pinned(data, server.serve("/third", data))])
    assert fetched.files["weights"].read_bytes() == data
    assert removed[0].partials == 0 and set(removed[0].keys) == {"one", "ns/other"}
