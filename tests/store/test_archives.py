"""Named members come out of archives, and nothing else does."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest

from modelzoo.errors import ArchiveError, DigestError, SizeError
from modelzoo.store import Member, Store
from tests.store.conftest import QUICK, pinned, some_bytes, visible

CKPT, LABELS = some_bytes(200_000), b"cat\ndog\n"


def tar(*entries: tuple[str, bytes] | tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                archive.addfile(info, io.BytesIO(entry[1]))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


GOOD = (("./net/net.ckpt", CKPT), ("net/labels.txt", LABELS), ("net/train.py", b"import os"))
KINDS: dict[str, bytes] = {
    "tar": tar(*GOOD),
    "tar of GNU": tar(*GOOD, format=tarfile.GNU_FORMAT),
    "tar.gz": gzip.compress(tar(*GOOD)),
    "tar.bz2": bz2.compress(tar(*GOOD)),
    "tar.xz": lzma.compress(tar(*GOOD)),
    "zip": zipped(("net/net.ckpt", CKPT), *GOOD[1:]),
}
MEMBERS = (Member("net/net.ckpt", "weights", name="net.ckpt"), Member("net/labels.txt", "labels"))


def fetch(server, store, data: bytes, *members: Member):
    source = pinned(data, server.serve("/a", data), name="a.tar.gz", role="archive", members=members or MEMBERS)
    return store.fetch("net", [source])


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_only_the_named_members_come_out(server, store, data):
    fetched = fetch(server, store, data)
    assert fetched.files["weights"] == fetched.path / "net.ckpt"
    assert fetched.files["weights"].read_bytes() == CKPT
    assert fetched.files["labels"].read_bytes() == LABELS
    assert sorted(visible(store.root)) == sorted([fetched.path / "net.ckpt", fetched.path / "net" / "labels.txt"])
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in fetched.files.values())
    assert fetch(server, store, data) == fetched and len(server.seen) == 1


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_an_archive_without_members_is_kept_as_a_file(server, store, data):
    source = pinned(data, server.serve("/a", data), name="a.tar", role="archive")
    assert store.fetch("net", [source]).files["archive"].read_bytes() == data


def test_a_damaged_member_is_fetched_again_with_its_archive(server, store):
    data = KINDS["tar.gz"]
    path = fetch(server, store, data).files["labels"]
    path.chmod(0o644)
    path.write_bytes(b"rat\nhog\n")
    assert [verdict.status for verdict in store.verify()] == ["ok", "damaged"]
    assert fetch(server, store, data).files["labels"].read_bytes() == LABELS
    assert len(server.seen) == 2


def test_members_are_checked_against_digests_of_their_own(server, store):
    right = Member("net/labels.txt", "labels", size=len(LABELS), digests={"sha256": sha256(LABELS).hexdigest()})
    fetch(server, store, KINDS["zip"], right)
    store.remove("net")
    with pytest.raises(DigestError, match=r"net/labels\.txt"):
        fetch(server, store, KINDS["zip"], replace(right, digests={"sha256": "0" * 64}))
    with pytest.raises(SizeError, match=r"net/labels\.txt"):
        fetch(server, store, KINDS["zip"], replace(right, size=1))


def test_a_missing_member_is_named_with_what_there_is(server, store):
    with pytest.raises(ArchiveError, match=r"no member 'net/other'") as caught:
        fetch(server, store, KINDS["tar.gz"], Member("net/other", "graph"))
    assert "net/net.ckpt" in caught.value.hint and "a.tar.gz of net" in caught.value.what


FIRST = ("net/net.ckpt", CKPT), ("net/labels.txt", LABELS)
UNSAFE: dict[str, bytes | Callable[[], bytes]] = {
    "leads out": tar(*FIRST, ("../../escaped", b"x")),
    "leads out within": tar(*FIRST, ("a/../../escaped", b"x")),
    "absolute": tar(*FIRST, ("/tmp/escaped", b"x")),
    "UNC": tar(*FIRST, ("\\\\server\\share\\escaped", b"x")),
    "drive": tar(*FIRST, ("C:escaped", b"x")),
    "backslashes": tar(*FIRST, ("..\\..\\escaped", b"x")),
    "device name": tar(*FIRST, ("net/NUL.txt", b"x")),
    "symbolic link": tar(*FIRST, link("net/link", "/etc/passwd", tarfile.SYMTYPE)),
    "link first": tar(link("net", "/tmp", tarfile.SYMTYPE), *FIRST),
    "hard link": tar(*FIRST, link("net/link", "net/net.ckpt", tarfile.LNKTYPE)),
    "FIFO": tar(*FIRST, link("net/pipe", "", tarfile.FIFOTYPE)),
    "device": tar(*FIRST, link("net/sda", "", tarfile.BLKTYPE)),
    "long path": tar(*FIRST, ("/".join(["d" * 200] * 30), b"x")),
    "twice the same": tar(*FIRST, ("net/labels.txt", b"other")),
    "collide by case": tar(*FIRST, ("net/LABELS.txt", b"other")),
    "zip leads out": zipped(*FIRST, ("../escaped", b"x")),
    "zip collides by case": zipped(*FIRST, ("net/Labels.txt", b"x")),
}


@pytest.mark.parametrize("data", UNSAFE.values(), ids=UNSAFE)
def test_an_archive_that_is_not_safe_is_refused_whole(server, store, tmp_path, data):
    with pytest.raises(ArchiveError, match="not safe"):
        fetch(server, store, gzip.compress(data) if data[:2] != b"PK" else data)
    assert visible(store.root) == []
    assert not list(tmp_path.rglob("*escaped*"))


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


DAMAGED: dict[str, bytes] = {
    "cut": KINDS["tar.gz"][:-1000],
    "cut in the tar": gzip.compress(KINDS["tar"][:100_000]),
    "no end": gzip.compress(tar(*FIRST)[: 512 * 2 + 200_192 - 300]),
    "flipped in gzip": damaged(KINDS["tar.gz"], 100_000),
    "flipped header": damaged(KINDS["tar"], 10),
    "flipped in bzip2": damaged(KINDS["tar.bz2"], 100_000),
    "flipped in xz": damaged(KINDS["tar.xz"], 100_000),
    "flipped in zip": damaged(KINDS["zip"], 100_000),
    "zip cut": KINDS["zip"][:-30],
    "no archive": CKPT,
    "empty": b"",
    "data after the end": KINDS["tar.gz"] + b"more",
    "data after the tar": gzip.compress(KINDS["tar"] + b"more"),
    "data after the zip": KINDS["zip"] + b"more",
    "data before the zip": b"more" + KINDS["zip"],
    "zip's headers differ": KINDS["zip"].replace(b"net/train.py", b"net/train.pz", 1),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_an_archive_that_is_damaged_is_refused_whole(server, store, data):
    with pytest.raises(ArchiveError):
        fetch(server, store, data)
    assert visible(store.root) == []


@pytest.mark.parametrize("kind", ["gzip", "zip", "xz"])
def test_a_bomb_is_stopped(server, root, kind):
    zeros = tar(("zeros", bytes(30 << 20)), *FIRST)
    data = {
        "gzip": lambda: gzip.compress(zeros),
        "xz": lambda: lzma.compress(zeros),
        "zip": lambda: zipped(("zeros", bytes(30 << 20)), *FIRST),
    }[kind]()
    store = Store(root, policy=replace(QUICK, unpacked_ratio=10.0, unpacked_slack=1 << 20), progress=False)
    with pytest.raises(ArchiveError, match="bomb"):
        fetch(server, store, data)


def test_an_archive_of_too_many_members_is_stopped(server, root):
    store = Store(root, policy=replace(QUICK, most_members=50), progress=False)
    for data in (tar(*((f"f{k}", b"") for k in range(51))), zipped(*((f"f{k}", b"") for k in range(51)))):
        with pytest.raises(ArchiveError, match="more than 50 entries"):
            fetch(server, store, data)


def test_an_archive_inside_an_archive_is_just_a_file(server, store):
    inner = KINDS["zip"]
    fetched = fetch(server, store, tar(("inner.zip", inner)), Member("inner.zip", "weights"))
    assert fetched.files["weights"].read_bytes() == inner


def entry(name: str, size: int = 0, mode: int = 0o644, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, mode
    for field, value in fields.items():
        setattr(info, field, value)
    return info


LINKS = {
    "hard link to a name outside": link("net/link", "../../../etc/passwd", tarfile.LNKTYPE),
    "hard link to an absolute name": link("net/link", "/etc/passwd", tarfile.LNKTYPE),
    "hard link with a name outside": link("../escaped", "net/net.ckpt", tarfile.LNKTYPE),
    "hard link over a wanted member": link("net/net.ckpt", "net/labels.txt", tarfile.LNKTYPE),
    "symbolic link with a name outside": link("../escaped", "net.ckpt", tarfile.SYMTYPE),
    "symbolic link inside": link("net/link", "net.ckpt", tarfile.SYMTYPE),
}


@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize("item", LINKS.values(), ids=LINKS)
def test_no_link_is_made_or_followed(server, store, tmp_path, item, first):
    files = (("net/labels.txt", LABELS),) if item.name == "net/net.ckpt" else FIRST
    data = tar(item, *files) if first else tar(*files, item)
    with pytest.raises(ArchiveError, match="not safe"):
        fetch(server, store, data)
    assert visible(store.root) == [] and not list(tmp_path.rglob("*escaped*"))


def test_the_archive_that_escapes_tarfiles_data_filter_is_stopped(server, store, tmp_path):
    """CVE-2025-4517: folders with long names behind short links, until the real path is longer than PATH_MAX and
    `realpath` ends early; then a link out of the folder, and a file and a hard link through it.
    """
    long, step, parts = "d" * 247, "abcdefghijklmnop", [tarfile.TarInfo("net")]
    parts[0].type = tarfile.DIRTYPE
    path = ""
    for letter in step:
        folder = entry(f"{path}{long}", type=tarfile.DIRTYPE)
        parts += [folder, link(f"{path}{letter}", long, tarfile.SYMTYPE)]
        path += f"{letter}/"
    deep = "/".join(step) + "/" + "l" * 254
    parts.append(link(deep, "../" * len(step), tarfile.SYMTYPE))
    parts.append(link("escape", f"{deep}/../../..", tarfile.SYMTYPE))
    parts.append(link("flag", "escape/escaped", tarfile.LNKTYPE))
    with pytest.raises(ArchiveError, match="not safe"):
        fetch(server, store, tar(*parts, ("flag", b"escaped"), *FIRST))
    with pytest.raises(ArchiveError, match="not safe"):
        fetch(server, store, tar(*FIRST, *parts, ("flag", b"escaped")))
    assert visible(store.root) == [] and not list(tmp_path.rglob("*escaped*"))


def test_modes_and_owners_of_members_do_not_count(server, store):
    """setuid, setgid, sticky, writable for all, and of somebody else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in FIRST:
            archive.addfile(entry(name, len(data), 0o7777, uid=0, gid=0, uname="root"), io.BytesIO(data))
    for path in fetch(server, store, buffer.getvalue()).files.values():
        assert path.stat().st_mode & 0o7777 == 0o444


SPARSE = {
    "GNU type": entry("net/hole", type=b"S"),
    "pax 0.1": entry("net/hole", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)}),
    "pax 1.0": entry("net/hole", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.realsize": str(1 << 40)}),
}


@pytest.mark.parametrize("item", SPARSE.values(), ids=SPARSE)
def test_sparse_files_are_refused(server, store, item):
    with pytest.raises(ArchiveError, match="sparse file"):
        fetch(server, store, tar(*FIRST, item))


def test_a_size_out_of_all_measure_is_refused(server, store):
    """In a header that is right but for its size: 2 to the 62 bytes."""
    block = bytearray(entry("net/net.ckpt").tobuf())
    block[124:136] = b"\x80" + (1 << 62).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    with pytest.raises(ArchiveError, match="out of all measure"):
        fetch(server, store, bytes(block) + bytes(1024))


def test_a_million_members_are_not_waited_for(server, store):
    """Half a gigabyte of headers in half a megabyte; reading stops at the bound."""
    folders = gzip.compress(entry("net/folder", type=tarfile.DIRTYPE).tobuf()[:512] * 2000, mtime=0)
    data = folders * 500 + gzip.compress(bytes(1024), mtime=0)
    with pytest.raises(ArchiveError, match="more than 10,000 entries"):
        fetch(server, store, data)


def test_a_zip_that_states_a_million_members_is_refused_unread(server, store):
    data = bytearray(zipped(*FIRST))
    at = data.rindex(b"PK\5\6")
    data[at + 8 : at + 12] = (60_000).to_bytes(2, "little") * 2
    with pytest.raises(ArchiveError, match="more than 10,000 entries"):
        fetch(server, store, bytes(data))
