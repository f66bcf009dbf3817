"""Disks that are full, read-only or unreliable, and caches that somebody else changed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelzoo.errors import CacheError, DiskError, DiskFullError, ReadOnlyError
from modelzoo.store import disk, posix
from tests.store.conftest import pinned, some_bytes, visible
from tests.store.fault_server import Fault

DATA = some_bytes(300_000)


def failing(monkeypatch, owner, name, number, *, after=0, when=lambda *args: True):
    """Lets the function `name` of `owner` fail with the error `number` after some calls."""
    real, calls = getattr(owner, name), [0]

    def call(*args, **kwargs):
        if when(*args):
            calls[0] += 1
            if calls[0] > after:
                raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=["full", "quota", "damaged"])
def test_a_disk_that_fills_up_midway_costs_nothing_that_was_fetched(server, store, monkeypatch, number):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(pause=0.005)]))
    with monkeypatch.context() as patch:
        failing(patch, os, "write", number, after=2, when=lambda handle, data: len(data) > 1000)
        with pytest.raises(DiskError, match="bytes of it are kept") as caught:
            store.fetch("net", [source])
    assert isinstance(caught.value, DiskFullError) == (number != errno.EIO)
    if number != errno.EIO:
        assert "modelzoo cache prune" in caught.value.hint and "needed" in caught.value.what
    assert visible(store.root) == []
    kept = store.plan("net", [source])[0].kept
    assert kept > 0
    store.fetch("net", [source])
    assert server.ranges("/f") == [None, f"bytes={kept}-"]


@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [
        (os, "fsync", errno.ENOSPC),
        (Path, "replace", errno.ENOSPC),
        (Path, "rename", errno.EXDEV),
        (os, "link", errno.EPERM),
    ],
    ids=["fsync", "replace", "rename across devices", "no hard links"],
)
def test_a_failure_while_publishing_shows_nothing_wrong(server, store, monkeypatch, owner, name, number):
    source = pinned(DATA, server.serve("/f", DATA))
    with monkeypatch.context() as patch:
        failing(patch, owner, name, number)
        try:
            store.fetch("net", [source])
        except DiskError:
            assert store.locate("net", [source]) is None
    for path in visible(store.root):
        assert path.read_bytes() == DATA
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert server.sent == len(DATA), "verified bytes are not fetched again"


def test_too_little_space_is_known_before_the_first_byte(server, store, monkeypatch):
    monkeypatch.setattr(disk, "free_space", lambda folder: 1000)
    with pytest.raises(DiskFullError, match="300,000 bytes needed, 1,000 bytes free"):
        store.fetch("net", [pinned(DATA, server.serve("/f", DATA))])
    assert not server.seen


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_limit_of_the_system_is_an_error_of_ours(server, root):
    code = (
        "import resource, signal, sys, pathlib\n"
        "from modelzoo.store import Source, Store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "source = Source('f', 'weights', (sys.argv[2],), int(sys.argv[3]), {'sha256': sys.argv[4]})\n"
        "try:\n    Store(pathlib.Path(sys.argv[1])).fetch('net', [source])\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    source = pinned(DATA, server.serve("/f", DATA))
    command = [sys.executable, "-c", code, str(root), source.urls[0], str(source.size), source.digests["sha256"]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("DiskFullError Cannot write a download: no space is left")
    assert "100,000 bytes of it are kept" in done.stdout
    assert visible(root) == []


def test_a_cache_that_may_not_be_written_serves_what_it_has(server, store, monkeypatch):
    source = pinned(DATA, server.serve("/f", DATA))
    other = pinned(DATA[1:], server.serve("/g", DATA[1:]))
    store.fetch("net", [source])
    times = store.entries()
    with monkeypatch.context() as patch:
        for owner, name in ((Path, "mkdir"), (os, "utime"), (os, "open"), (Path, "replace")):
            failing(patch, owner, name, errno.EROFS, when=lambda *args: len(args) < 2 or args[1] != os.O_RDONLY)
        assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
        with pytest.raises(ReadOnlyError, match="belongs to") as caught:
            store.fetch("other", [other])
    assert "MODELZOO_CACHE" in caught.value.hint
    assert store.entries() == times


def test_a_copy_of_a_cache_is_as_good_as_the_original(server, store, root, tmp_path, make_store):
    source = pinned(DATA, server.serve("/f", DATA))
    store.fetch("net", [source])
    path = store.fetch("net", [source]).files["weights"]
    os.utime(path, ns=(1, 1))
    assert store.locate("net", [source]) is None, "it may have been touched"
    assert make_store(offline=True).fetch("net", [source]).files["weights"] == path
    assert store.locate("net", [source]) is not None, "it was hashed, and that was noted"


def test_a_file_changed_in_the_cache_is_fetched_anew(server, store):
    source = pinned(DATA, server.serve("/f", DATA))
    path = store.fetch("net", [source]).files["weights"]
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.write(b"\0\0\0\0")
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    (isolated,) = (store.root / "quarantine").iterdir()
    assert isolated.read_bytes()[:4] == b"\0\0\0\0"
    assert len(server.seen) == 2


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_in_the_place_of_an_entry_is_not_followed(server, store, tmp_path, what):
    source = pinned(DATA, server.serve("/f", DATA))
    fetched = store.fetch("net", [source])
    outside = tmp_path / "outside"
    shutil.copytree(fetched.path, outside)
    if what == "file":
        fetched.files["weights"].unlink()
        fetched.files["weights"].symlink_to(outside / "net.bin")
    else:
        shutil.rmtree(fetched.path)
        fetched.path.symlink_to(outside)
    assert store.locate("net", [source]) is None
    again = store.fetch("net", [source])
    assert not again.path.is_symlink() and not again.files["weights"].is_symlink()
    assert (outside / "net.bin").read_bytes() == DATA, "what the link led to is left alone"
    assert len(server.seen) == 2


@pytest.mark.parametrize("what", ["blob", "partial", "journal", "manifest", "model"])
@pytest.mark.parametrize("right", [True, False], ids=["to the right bytes", "to others"])
def test_no_link_that_somebody_leaves_in_the_cache_is_written_through(server, store, tmp_path, what, right):
    """Whatever lies behind it stays as it is, and what the model's folder gets are files of its own."""
    source = pinned(DATA, server.serve("/f", DATA))
    digest = source.digests["sha256"]
    places = {
        "blob": store.root / "blobs" / "sha256" / digest[:2] / digest,
        "partial": store.root / "partial" / f"sha256-{digest}.abcdefabcdef.part",
        "journal": store.root / "partial" / f"sha256-{digest}.abcdefabcdef.journal",
        "manifest": store.root / "manifests" / "net.json",
        "model": store.root / "models" / "net",
    }
    outside = tmp_path / "outside"
    if what == "model":
        outside.mkdir()
        (outside / "net.bin").write_bytes(DATA if right else b"mine")
    else:
        outside.write_bytes(DATA if right else b"mine")
    places[what].parent.mkdir(parents=True)
    places[what].symlink_to(outside)
    fetched = store.fetch("net", [source])
    assert fetched.files["weights"].read_bytes() == DATA and len(server.seen) == 1
    assert not fetched.path.is_symlink() and not fetched.files["weights"].is_symlink()
    held = outside / "net.bin" if what == "model" else outside
    assert held.read_bytes() == (DATA if right else b"mine")
    assert [one.status for one in store.verify()] == ["ok"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 1}', '{"version": 99, "key": "net"}'])
def test_a_manifest_that_cannot_be_read_costs_no_download(server, store, damage):
    source = pinned(DATA, server.serve("/f", DATA))
    store.fetch("net", [source])
    (store.root / "manifests" / "net.json").write_text(damage)
    assert store.entries() == () and store.locate("net") is None
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert len(server.seen) == 1


def test_a_cache_deleted_underneath_is_an_error_and_the_next_fetch_works(server, root, make_store):
    source = pinned(DATA, server.serve("/f", DATA))
    gone = make_store(progress=lambda name, done, total: shutil.rmtree(root, ignore_errors=True))
    with pytest.raises(CacheError, match="was the cache deleted"):
        gone.fetch("net", [source])
    assert make_store().fetch("net", [source]).files["weights"].read_bytes() == DATA


@pytest.mark.parametrize("symbolic", [True, False], ids=["symbolic", "hard"])
def test_neither_symbolic_nor_hard_links_are_needed(server, store, monkeypatch, symbolic):
    """As on FAT, or on Windows without its developer mode."""
    failing(monkeypatch, os, "symlink" if symbolic else "link", errno.EPERM)
    source = pinned(DATA, server.serve("/f", DATA))
    for key in ("net", "other"):
        fetched = store.fetch(key, [source])
        assert fetched.files["weights"].read_bytes() == DATA and fetched.files["weights"].lstat().st_nlink == 1
    assert len(server.seen) == 1 and {one.status for one in store.verify()} == {"ok"}
    assert not [path for path in store.root.rglob("*") if path.is_symlink()]


def test_names_that_a_disk_takes_for_one_never_meet(server, store):
    """All names that the cache itself makes are lower-case, so that they are as different as their models."""
    for key in ("net", "a.b/net", "con", "ns/aux.v1"):
        store.fetch(key, [pinned(DATA, server.serve("/f", DATA), name="Net.BIN")])
    own = [path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.name != "Net.BIN"]
    made = [name for name in own if name != "CACHEDIR.TAG"]
    assert all(name == name.lower() for name in made) and len(made) == len(set(made))
    assert {"models/con~", "models/ns+aux.v1", "models/a.b+net"} <= set(made)


def test_a_real_file_is_not_opened_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "target").write_bytes(b"x")
    with pytest.raises(OSError):
        posix.open_regular(tmp_path / "link")
