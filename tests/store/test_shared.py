"""Caches of others, which are read and never written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelzoo.errors import OfflineError
from modelzoo.store import Source, Store
from tests.store.conftest import QUICK, pinned, some_bytes, visible

DATA = some_bytes(100_000)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path / "shared"


@pytest.fixture
def theirs(shared) -> Store:
    return Store(shared, policy=QUICK, progress=False)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")}


def test_what_a_shared_cache_holds_is_used_where_it_lies(server, theirs, shared, make_store):
    source = pinned(DATA, server.serve("/f", DATA))
    theirs.fetch("net", [source])
    before = snapshot(shared)
    store = make_store(shared=[shared], offline=True)
    assert store.locate("net", [source]).path == shared / "models" / "net"
    assert store.plan("net", [source])[0].cached
    assert store.fetch("net", [source]).files["weights"] == shared / "models" / "net" / "net.bin"
    assert store.entries() == () and not store.root.exists(), "it is not ours to list or to remove"
    assert snapshot(shared) == before and len(server.seen) == 1


def test_its_bytes_serve_other_models_by_copies(server, theirs, shared, make_store):
    source = pinned(DATA, server.serve("/f", DATA))
    labels = pinned(b"cat", server.serve("/l", b"cat"), name="labels", role="labels")
    theirs.fetch("net", [source])
    before = snapshot(shared)
    fetched = make_store(shared=[shared]).fetch("other", [source, labels])
    assert fetched.files["weights"] == make_store().root / "models" / "other" / "net.bin"
    assert fetched.files["weights"].read_bytes() == DATA and len(server.gets("/f")) == 1
    assert snapshot(shared) == before
    assert {path.stat().st_nlink for path in (fetched.files["weights"], shared / "models/net/net.bin")} == {1}


@pytest.mark.parametrize("how", ["touched", "damaged", "gone", "a link"])
def test_what_is_not_as_its_owner_verified_it_is_hashed_or_fetched(server, theirs, shared, store, make_store, how):
    source = pinned(DATA, server.serve("/f", DATA))
    path = theirs.fetch("net", [source]).files["weights"]
    path.chmod(0o644)
    if how == "touched":
        os.utime(path, (1, 1))
    elif how == "damaged":
        path.write_bytes(DATA[::-1])
    else:
        path.rename(shared / "moved")
        if how == "a link":
            path.symlink_to(shared / "moved")
    before = snapshot(shared)
    fetched = make_store(shared=[shared]).fetch("net", [source])
    assert fetched.path == store.root / "models" / "net" and fetched.files["weights"].read_bytes() == DATA
    assert len(server.seen) == (1 if how == "touched" else 2)
    assert snapshot(shared) == before


def test_it_is_believed_only_where_a_digest_binds(server, theirs, shared, make_store):
    loose = Source("f", "weights", (server.serve("/f", DATA),), None, {})
    theirs.fetch("net", [loose], trust_first_use=True)
    assert make_store(shared=[shared]).locate("net", [loose]) is None


def test_several_are_named_as_in_path(server, theirs, shared, make_store, tmp_path, monkeypatch):
    source = pinned(DATA, server.serve("/f", DATA))
    theirs.fetch("net", [source])
    monkeypatch.setenv("MODELZOO_SHARED_CACHE", os.pathsep.join([str(tmp_path / "absent"), str(shared), ""]))
    assert make_store(offline=True).fetch("net", [source]).path == shared / "models" / "net"
    with pytest.raises(OfflineError):
        make_store(offline=True, shared=[]).fetch("net", [source])


def test_the_own_cache_goes_first(server, theirs, shared, store, make_store):
    source = pinned(DATA, server.serve("/f", DATA))
    for one in (theirs, store):
        one.fetch("net", [source])
    assert make_store(shared=[shared]).fetch("net", [source]).path == store.root / "models" / "net"
    assert len(visible(store.root)) == 1
