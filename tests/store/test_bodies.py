"""Bodies that are cut, changed, too long, something else, or encoded: healed where possible, refused where not."""

from __future__ import annotations

import gzip
from dataclasses import replace
from hashlib import sha256

import pytest

from modelzoo.errors import DigestError, NetworkError, SizeError
from modelzoo.store import Source, Store
from tests.store.conftest import QUICK, pinned, some_bytes, visible
from tests.store.fault_server import Fault

DATA = some_bytes(300_000)
PAGE = b"\n<!DOCTYPE html><html><p>quota exceeded</p></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 300000\n"

HEALED = {
    "cut with a length": [Fault(cut=100_000)],
    "cut while chunked": [Fault(cut=100_000, length="chunked")],
    "cut without a length": [Fault(cut=100_000, length="none")],
    "cut three times": [Fault(cut=100_000), Fault(cut=50_000), Fault(cut=1)],
    "reset": [Fault(cut=100_000, reset=True)],
    "no answer at all": [Fault(cut=0, length="none")],
    "length too short": [Fault(length=1000)],
    "length too long": [Fault(length=400_000)],
    "chunked": [Fault(length="chunked")],
    "no length": [Fault(length="none")],
    "one byte flipped": [Fault(flip=150_000)],
    "a page once": [Fault(body=PAGE)],
    "encoded by a proxy": [Fault(encode=True)],
    "encoded without a length": [Fault(encode=True, length="none")],
    "encoded and cut": [Fault(encode=True, cut=100_000)],
    "encoding that is damaged": [Fault(body=b"no gzip", headers={"Content-Encoding": "gzip"})],
}


@pytest.mark.parametrize("size", [True, False], ids=["size known", "size unknown"])
@pytest.mark.parametrize("faults", HEALED.values(), ids=HEALED)
def test_a_fault_that_passes_is_healed(server, store, faults, size):
    fetched = store.fetch("net", [pinned(DATA, server.serve("/f", DATA, faults), size=size)])
    assert fetched.files["weights"].read_bytes() == DATA
    assert not list((store.root / "partial").iterdir())


REFUSED = {
    "one byte flipped": (Fault(flip=150_000), DigestError, "expected"),
    "a page of HTML": (Fault(body=PAGE), SizeError, "HTML page"),
    "a Git LFS pointer": (Fault(body=POINTER), SizeError, "Git LFS pointer"),
    "a body that never ends": (Fault(endless=True, length="none"), SizeError, "more than"),
    "too short, and says so": (Fault(body=DATA[:1000]), SizeError, "1,000 bytes instead of 300,000"),
    "too short while chunked": (Fault(body=DATA[:1000], length="chunked"), SizeError, "1,000 bytes instead"),
    "another encoding": (Fault(headers={"Content-Encoding": "br"}), NetworkError, "sent as br"),
    "cut again and again": (Fault(cut=0), NetworkError, "cut"),
}


@pytest.mark.parametrize(("fault", "error", "cause"), REFUSED.values(), ids=REFUSED)
def test_a_fault_that_stays_is_an_error_that_names_it_and_keeps_nothing(server, store, fault, error, cause):
    url = server.serve("/f", DATA, always=fault)
    with pytest.raises(error, match=cause) as caught:
        store.fetch("net", [pinned(DATA, url)])
    assert url in str(caught.value) and "net.bin of net" in str(caught.value) and caught.value.hint
    assert visible(store.root) == []
    assert store.plan("net", [pinned(DATA, url)])[0].kept == 0
    assert len(server.seen) <= QUICK.rounds


def test_wrong_bytes_are_asked_for_twice_and_then_no_more(server, store):
    with pytest.raises(DigestError):
        store.fetch("net", [pinned(DATA, server.serve("/f", DATA, always=Fault(flip=0)))])
    assert len(server.seen) == 2


def test_pages_and_pointers_are_told_without_a_size_too(server, store):
    for body, what in ((PAGE, "HTML page"), (POINTER, "LFS pointer")):
        with pytest.raises(DigestError, match=what):
            store.fetch("net", [pinned(DATA, server.serve("/f", DATA, always=Fault(body=body)), size=False)])


def test_an_archive_said_to_be_encoded_is_not_decoded_twice(server, store):
    """Some servers mark .tar.gz files as gzip-encoded: then the body as sent is the file."""
    data = gzip.compress(DATA, mtime=0)
    faults = [Fault(headers={"Content-Encoding": "x-gzip"})]
    fetched = store.fetch("net", [pinned(data, server.serve("/a.tar.gz", data, faults), name="a.tar.gz")])
    assert fetched.files["weights"].read_bytes() == data
    assert len(server.seen) == 1


def test_an_archive_that_a_proxy_encodes_again_is_decoded_once(server, store):
    data = gzip.compress(DATA, mtime=0)
    fetched = store.fetch("net", [pinned(data, server.serve("/a.tgz", data, always=Fault(encode=True)), name="a.tgz")])
    assert fetched.files["weights"].read_bytes() == data


@pytest.mark.parametrize("size", [True, False], ids=["size known", "size unknown"])
def test_an_encoding_bomb_is_stopped(server, root, size):
    bomb = gzip.compress(bytes(20 << 20))
    url = server.serve("/f", DATA, always=Fault(body=bomb, headers={"Content-Encoding": "gzip"}))
    store = Store(root, policy=replace(QUICK, unpacked_slack=1 << 20, unpacked_ratio=10.0), progress=False)
    with pytest.raises((SizeError, NetworkError)):
        store.fetch("net", [pinned(DATA, url, size=size)])
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 4 << 20


def test_a_body_that_never_ends_is_stopped_where_no_size_is_known(server, root):
    url = server.serve("/f", DATA, always=Fault(endless=True, length="none"))
    store = Store(root, policy=replace(QUICK, longest_body=1 << 20), progress=False)
    with pytest.raises(SizeError, match="more than 1,048,576 bytes"):
        store.fetch("net", [pinned(DATA, url, size=False)])


def test_an_empty_file_is_a_file(server, store):
    source = Source("empty", "labels", (server.serve("/f", b""),), 0, {"sha256": sha256(b"").hexdigest()})
    assert store.fetch("net", [source]).files["labels"].read_bytes() == b""


def test_weak_digests_are_checked_beside_strong_ones(server, store):
    source = pinned(DATA, server.serve("/f", DATA))
    wrong = replace(source, digests={**source.digests, "md5": "0" * 32})
    with pytest.raises(DigestError, match="md5"):
        store.fetch("net", [wrong])
