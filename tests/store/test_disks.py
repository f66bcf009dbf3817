"""Real disks: full, without inodes, read-only, several in one cache, laid over each other, and of other users."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelzoo.errors import DiskError, DiskFullError, NetworkError, ReadOnlyError
from modelzoo.store import Policy, Source, Store
from tests.store import disks
from tests.store.conftest import QUICK, pinned, some_bytes, visible
from tests.store.disks import Mount
from tests.store.fault_server import Fault

DATA = some_bytes(2 << 20)


def store_in(root: Path, policy: Policy = QUICK) -> Store:
    return Store(root, policy=policy, progress=False)


def right(root: Path, source: Source, data: bytes = DATA, key: str = "net") -> None:
    """The model can be had, and nothing else is to be seen."""
    fetched = store_in(root).fetch(key, [source])
    assert fetched.files["weights"].read_bytes() == data
    assert all(path.stat().st_size in (len(DATA), len(data)) for path in visible(root))


@pytest.mark.parametrize(
    "disk",
    [
        pytest.param(("tmpfs", "size=1m"), marks=disks.needs("tmpfs"), id="tmpfs"),
        pytest.param(("ext4", str(2 << 20)), marks=disks.needs("ext4"), id="ext4 in a loop device"),
    ],
)
def test_a_disk_that_fills_up_midway_is_an_error_and_what_came_is_kept(server, root, disk):
    kind, options = disk
    source = pinned(DATA, server.serve("/f", DATA, always=Fault(length="chunked")), size=False)

    def check() -> None:
        with pytest.raises(DiskFullError, match=r"no space is left.* [\d,]+ bytes of it are kept") as caught:
            store_in(root).fetch("net", [source])
        assert "MODELZOO_CACHE" in caught.value.hint and visible(root) == []
        kept = store_in(root).plan("net", [source])[0].kept
        assert kept > 100_000
        if kind == "tmpfs":
            disks.remount(root, "size=16m")
            right(root, source)

    disks.run(check, [Mount(root, options, kind)])
    if kind == "tmpfs":  # the server was in the parent of the process that asked
        assert server.ranges("/f")[-1].startswith("bytes=") and len(server.seen) == 2


@disks.needs("tmpfs")
def test_a_disk_that_is_too_small_is_known_before_the_first_byte(server, root):
    source = pinned(DATA, server.serve("/f", DATA))

    def check() -> None:
        with pytest.raises(DiskFullError, match=r"2,097,152 bytes needed, [\d,]+ bytes free"):
            store_in(root).fetch("net", [source])

    disks.run(check, [Mount(root, "size=1m")])
    assert not server.seen


@disks.needs("tmpfs")
@pytest.mark.parametrize("left", [0, 4096, 8192, 16384, 32768])
def test_a_disk_that_is_full_when_all_has_come_loses_nothing(server, root, left):
    """Files of the cache's own find no room at different places: references, manifests, journals."""
    source = pinned(DATA, server.serve("/f", DATA))

    def check() -> None:
        ballast = root / "ballast"

        def fill(name: str, done: int, total: int | None) -> None:
            if done == total and not ballast.exists():
                with ballast.open("wb", buffering=0) as stream:
                    try:
                        while True:
                            stream.write(bytes(4096))
                    except OSError:
                        stream.truncate(max(stream.tell() - left, 0))

        try:
            Store(root, policy=QUICK, progress=fill).fetch("net", [source])
        except DiskFullError as error:
            assert "modelzoo cache prune" in error.hint
        assert all(path.read_bytes() == DATA for path in visible(root))
        ballast.unlink()
        right(root, source)
        assert {verdict.status for verdict in store_in(root).verify()} == {"ok"}

    disks.run(check, [Mount(root, "size=6m")])
    assert server.sent == len(DATA), "verified bytes are not fetched again"


@disks.needs("tmpfs")
@pytest.mark.parametrize("inodes", range(2, 26, 3))
def test_a_disk_without_inodes_is_full_too(server, root, inodes):
    source = pinned(DATA, server.serve("/f", DATA))

    def check() -> None:
        try:
            store_in(root).fetch("net", [source])
        except DiskFullError as error:
            assert "no space is left" in error.what
        assert all(path.read_bytes() == DATA for path in visible(root))
        disks.remount(root, "nr_inodes=1000")
        right(root, source)

    disks.run(check, [Mount(root, f"nr_inodes={inodes}")])


@disks.needs("tmpfs")
def test_a_read_only_disk_serves_what_it_has(server, root):
    source = pinned(DATA, server.serve("/f", DATA))
    other = pinned(DATA[1:], server.serve("/g", DATA[1:]))

    def check() -> None:
        store_in(root).fetch("net", [source])
        disks.remount(root, read_only=True)
        right(root, source)
        assert [verdict.status for verdict in store_in(root).verify()] == ["ok"]
        with pytest.raises(ReadOnlyError, match="Read-only file system") as caught:
            store_in(root).fetch("other", [other])
        assert "MODELZOO_CACHE" in caught.value.hint
        with pytest.raises(ReadOnlyError):
            store_in(root).remove("net")
        right(root, source)

    disks.run(check, [Mount(root)])
    assert len(server.gets("/f")) == 1 and not server.gets("/g")


@disks.needs("tmpfs")
@pytest.mark.parametrize("folder", ["models", "blobs", "manifests", "partial", "locks"])
def test_a_cache_of_several_disks_shows_nothing_wrong_and_says_what_to_do(server, root, folder):
    """What renames would have to cross."""
    source = pinned(DATA, server.serve("/f", DATA))

    def check() -> None:
        try:
            store_in(root).fetch("net", [source])
            assert folder in ("manifests", "locks")
        except DiskError as error:
            assert "one file system" in error.hint and os.strerror(errno.EXDEV) in error.what
            assert all(path.read_bytes() == DATA for path in visible(root))
            for path in (root / folder).rglob("*"):
                if path.is_file():
                    path.unlink()
            disks.unmount(root / folder)
        right(root, source)

    disks.run(check, [Mount(root), Mount(root / folder)])
    if folder == "models":
        assert server.sent == len(DATA)


@disks.needs("overlay")
def test_a_model_of_a_lower_layer_is_replaced(server, root, tmp_path):
    """A cache in the image of a container: its folders cannot be renamed, only written over."""
    below = tmp_path / "layers"
    old, new = pinned(DATA[1:], server.serve("/old", DATA[1:])), pinned(DATA, server.serve("/new", DATA))
    shared = pinned(b"labels", server.serve("/labels", b"labels"), name="labels", role="labels")

    def check() -> None:
        store_in(below / "lower").fetch("net", [old, shared])
        disks.mount_overlay(below, root)
        assert store_in(root).locate("net", [old, shared]) is not None
        fetched = store_in(root).fetch("net", [new, shared])
        assert fetched.files["weights"].read_bytes() == DATA and fetched.files["labels"].read_bytes() == b"labels"
        path = fetched.files["weights"]
        path.chmod(0o644)
        path.write_bytes(bytes(len(DATA)))
        assert [one.status for one in store_in(root).verify()] == ["damaged", "ok"]
        assert store_in(root).fetch("net", [new, shared]).files["weights"].read_bytes() == DATA
        assert store_in(root).remove("net").size and store_in(root).entries() == ()

    disks.run(check, [Mount(below)])
    assert len(server.gets("/labels")) == 1


@disks.needs("nosymfollow")
def test_no_symbolic_link_is_needed(server, root):
    source = pinned(DATA, server.serve("/f", DATA))

    def check() -> None:
        (root / "link").symlink_to(root)
        with pytest.raises(OSError):
            list((root / "link").iterdir())
        right(root, source)
        right(root, source, key="other")
        assert not [path for path in root.rglob("*") if path.is_symlink() and path.name != "link"]

    disks.run(check, [disks.no_symlinks(root)])


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@disks.needs_root
@disks.needs("tmpfs")
def test_a_cache_of_another_user_serves_and_says_whose_it_is(server, public):
    root = public / "cache"
    source = pinned(DATA, server.serve("/f", DATA))
    other = pinned(DATA[1:], server.serve("/g", DATA[1:]))

    def check() -> None:
        store_in(root).fetch("net", [source])
        disks.become(65_533)
        right(root, source)
        assert [verdict.status for verdict in store_in(root).verify()] == ["ok"]
        with pytest.raises(ReadOnlyError, match="belongs to root") as caught:
            store_in(root).fetch("other", [other])
        assert "MODELZOO_CACHE" in caught.value.hint

    disks.run(check, [Mount(root, "mode=0755")])
    assert len(server.gets("/f")) == 1 and not server.gets("/g")


@disks.needs_root
@disks.needs("tmpfs")
def test_a_cache_behind_a_closed_door_is_one_that_cannot_be_written(server, public):
    source = pinned(DATA, server.serve("/f", DATA))
    root = public / "disk" / "cache"

    def check() -> None:
        store_in(root).fetch("net", [source])
        disks.become(65_533)
        store = store_in(root)
        assert store.locate("net", [source]) is None and store.entries() == store.verify() == ()
        assert not store.plan("net", [source])[0].cached
        with pytest.raises(ReadOnlyError, match="Permission denied"):
            store.fetch("net", [source])

    disks.run(check, [Mount(public / "disk", "mode=0700")])
    assert len(server.seen) == 1


@disks.needs_root
@disks.needs("tmpfs")
def test_users_of_one_group_share_a_cache(server, public):
    """One leaves half a file and a whole model; another goes on, links nothing of the first, and looks after both."""
    root = public / "cache"
    source = pinned(DATA, server.serve("/f", DATA))
    half = pinned(DATA[1:], server.serve("/g", DATA[1:], [Fault(cut=500_000)]))

    def in_a_child(user: int, work) -> None:
        disks.run(work, [], user=user)

    def first() -> None:
        store_in(root).fetch("net", [source])
        with pytest.raises(NetworkError):
            store_in(root, Policy(rounds=1)).fetch("half", [half])

    def second() -> None:
        right(root, source)
        right(root, source, key="copy")
        assert store_in(root).plan("half", [half])[0].kept == 500_000
        right(root, half, DATA[1:], key="half")
        assert {verdict.status for verdict in store_in(root).verify()} == {"ok"}
        assert store_in(root).remove("net").keys == ("net",)
        assert store_in(root).prune(max_size=0).keys == ("copy", "half") and visible(root) == []
        assert not list((root / "partial").iterdir())

    def both() -> None:
        in_a_child(65_532, first)
        in_a_child(65_533, second)

    disks.run(both, [Mount(root, "mode=2775,gid=60000")])
    assert server.ranges("/g") == [None, "bytes=500000-"] and len(server.gets("/f")) == 1


@pytest.mark.skipif(os.name != "posix", reason="the longest path of POSIX")
def test_a_path_that_is_too_long_for_the_system_is_named(server, tmp_path):
    source = pinned(DATA, server.serve("/f", DATA))
    root = tmp_path.joinpath(*["d" * 200] * 21)
    with pytest.raises(DiskError, match="File name too long") as caught:
        store_in(root).fetch("net", [source])
    assert "shorter path" in caught.value.hint and not server.seen
    assert store_in(root).locate("net", [source]) is None and store_in(root).entries() == ()


@pytest.mark.parametrize("length", range(3400, 4100, 100))
@pytest.mark.skipif(os.name != "posix", reason="the longest path of POSIX")
def test_a_path_that_becomes_too_long_midway_leaves_nothing_wrong(server, tmp_path, length):
    source = pinned(DATA[:1000], server.serve("/f", DATA[:1000]), name="n" * 200)
    root = tmp_path
    while len(str(root)) < length:
        root = root / ("d" * min(200, length - len(str(root))))
    try:
        fetched = store_in(root).fetch("net", [source])
        assert fetched.files["weights"].read_bytes() == DATA[:1000]
    except DiskError as error:
        assert "File name too long" in error.what
        assert all(path.read_bytes() == DATA[:1000] for path in visible(root))
