"""Whatever the bytes of an archive: the wanted members, or our own error; nothing else is written, and it ends."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelzoo.errors import ArchiveError, DigestError
from modelzoo.store import Member, Policy
from modelzoo.store.archives import extract
from tests.store.test_archives import KINDS, MEMBERS, link, tar, zipped

SMALL = (("net/net.ckpt", b"weights" * 99), ("net/labels.txt", b"cat\ndog\n"))
POLICY = Policy(most_members=100, unpacked_ratio=10.0, unpacked_slack=1 << 20)
often = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def seeds() -> dict[str, bytes]:
    """Small archives of every kind."""
    made = {"tar": tar(*SMALL), "gnu": tar(*SMALL, format=tarfile.GNU_FORMAT), "zip": zipped(*SMALL)}
    made["links"] = tar(*SMALL, link("net/link", "net.ckpt", tarfile.SYMTYPE))
    made["long"] = tar(("d" * 150 + "/" + "f" * 150, b"x"), *SMALL)
    return made


SEEDS = seeds()


def unpack(data: bytes, members: tuple[Member, ...] = MEMBERS) -> list[bytes] | None:
    """The members' bytes, None if it was refused; afterwards there is nothing but them."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)
        archive = folder / "archive"
        archive.write_bytes(data)
        inside = folder / "a" / "b" / "c" / "inside"
        targets = [inside / member.target for member in members]
        try:
            hashers = extract(archive, members, targets, POLICY)
            found = [target.read_bytes() for target in targets]
            assert [hasher.length for hasher in hashers] == [len(one) for one in found]
        except (ArchiveError, DigestError):
            targets, found = [], None
        left = {path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}
        assert left == {archive, *targets}
        assert sum(path.stat().st_size for path in targets) <= len(data) * 10 + (1 << 20)
        return found


@pytest.mark.parametrize("data", [*KINDS.values(), *SEEDS.values()], ids=[*KINDS, *(f"small {name}" for name in SEEDS)])
def test_the_seeds_are_what_is_taken_for_granted(data):
    assert (unpack(data) is None) == (data == SEEDS["links"])


@pytest.mark.parametrize("kind", SEEDS)
@often
@given(data=st.data())
def test_damaged_archives(kind, data):
    unpack(damaged(data, SEEDS[kind]))


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_damaged_compression(kind, data):
    import bz2
    import gzip
    import lzma

    pack = {"tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}[kind]
    found = unpack(damaged(data, pack(SEEDS["tar"])))
    assert found is None or found == [content for _, content in SMALL], "check sums hold"


FIELDS = {
    "name": (0, 100), "mode": (100, 108), "size": (124, 136), "type": (156, 157), "link": (157, 257),
    "magic": (257, 265), "prefix": (345, 500),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["tar", "gnu", "links", "long"])
@often
@given(data=st.data())
def test_tar_headers_that_lie_behind_right_check_sums(kind, data):
    content = bytearray(SEEDS[kind])
    headers = [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]
    for at in data.draw(st.lists(st.sampled_from(headers), min_size=1, max_size=2, unique=True)):
        for name in data.draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=3, unique=True)):
            first, end = FIELDS[name]
            content[at + first : at + end] = field(data, name, end - first)
        content[at + 148 : at + 156] = b" " * 8
        content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
    unpack(bytes(content))


def field(data: st.DataObject, name: str, width: int) -> bytes:
    """A value for a field of a tar header."""
    if name == "type":
        return bytes([data.draw(st.sampled_from(list(b"01234567xgLKSMVDX\0z")))])
    if name in ("size", "mode"):
        large = [b"77777777777", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-1", b"9", b""]
        value = data.draw(st.sampled_from(large) | st.integers(0, 1 << 34).map(lambda n: b"%o" % n))
    else:
        names = [b"../x", b"/x", b"C:\\x", b"net/net.ckpt", b"NET/NET.CKPT", b"net/net.ckpt/x", b"net", b"con", b"\xff"]
        value = data.draw(st.sampled_from(names) | st.binary(max_size=width))
    return value[:width].ljust(width, b"\0")


@often
@given(
    st.lists(st.tuples(st.sampled_from(["path", "size", "linkpath", "GNU.sparse.map", "x"]), st.text(max_size=20))),
    st.booleans(),
)
def test_any_extended_header(records, everywhere):
    info = tarfile.TarInfo("pax")
    info.type = tarfile.XGLTYPE if everywhere else tarfile.XHDTYPE
    body = b"".join(
        b"%d %b\n" % (len(line) + 4, line) for line in (f"{key}={value}".encode() for key, value in records)
    )
    info.size = len(body)
    unpack(info.tobuf(tarfile.USTAR_FORMAT) + body.ljust(-(-len(body) // 512) * 512, b"\0") + SEEDS["tar"])


@often
@given(data=st.data())
def test_zip_directories_that_lie(data):
    """Numbers of the central directory and of local headers, with names and bytes left as they are."""
    content = bytearray(SEEDS["zip"])
    places = [at for mark in (b"PK\1\2", b"PK\3\4", b"PK\5\6") for at in positions(content, mark)]
    for at in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        offset = data.draw(st.integers(4, 45))
        value = data.draw(st.sampled_from([0, 1, 8, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, len(content)]))
        width = data.draw(st.sampled_from([2, 4]))
        content[at + offset : at + offset + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    unpack(bytes(content))


def positions(content: bytes | bytearray, mark: bytes) -> list[int]:
    found, at = [], content.find(mark)
    while at >= 0:
        found.append(at)
        at = content.find(mark, at + 1)
    return found


@pytest.mark.filterwarnings("ignore:Duplicate name")
@often
@given(st.lists(st.tuples(st.text(min_size=1, max_size=30), st.binary(max_size=50)), max_size=6), st.booleans())
def test_archives_of_any_names(entries, as_zip):
    if as_zip:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, content in entries:
                archive.writestr(zipfile.ZipInfo(name.replace("\0", "") or "x"), content)
        unpack(out.getvalue())
    else:
        unpack(tar(*((name.replace("\0", "") or "x", content) for name, content in entries)))


@often
@given(
    st.sampled_from([b"", b"PK\3\4", b"PK\5\6", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", SEEDS["tar"][:512]]),
    st.binary(max_size=700),
)
def test_any_bytes(head, body):
    unpack(head + body)


def damaged(data: st.DataObject, good: bytes) -> bytes:
    """A few bytes changed, lost, doubled or put in."""
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["change", "cut", "insert", "double", "end"]))
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        if kind == "change" and content:
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 600))]
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        elif kind == "double":
            content[at:at] = content[at : at + data.draw(st.integers(1, 600))]
        elif kind == "end":
            del content[at:]
    return bytes(content)
