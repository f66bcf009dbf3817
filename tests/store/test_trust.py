"""Files that nothing strong verifies, and the promise that offline means offline."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from hashlib import md5, sha256

import pytest

from modelzoo.errors import CacheError, DigestError, NetworkError, OfflineError, UnpinnedError
from modelzoo.store import Source
from tests.store.conftest import pinned, some_bytes, visible
from tests.store.fault_server import Fault

DATA = some_bytes(100_000)


def loose(*urls: str, **digests: str) -> Source:
    return Source("net.bin", "weights", urls, None, digests)


def test_without_a_strong_digest_nothing_is_fetched_unasked(server, store):
    source = loose(server.serve("/f", DATA), md5=md5(DATA).hexdigest())
    with pytest.raises(UnpinnedError, match="md5 can be forged") as caught:
        store.fetch("net", [source])
    assert "--trust-first-use" in caught.value.hint
    assert not server.seen and not store.plan("net", [source])[0].pinned


def test_the_first_use_is_recorded_and_binds(server, store):
    source = loose(server.serve("/f", DATA))
    store.fetch("net", [source], trust_first_use=True)
    recorded = json.loads((store.root / "lock.json").read_text())["models"]["net"]["net.bin"]
    assert (recorded["sha256"], recorded["size"]) == (sha256(DATA).hexdigest(), len(DATA))
    assert store.plan("net", [source])[0].pinned

    store.remove("net")
    store.fetch("net", [source])  # without trust: the record verifies it

    store.remove("net")
    server.serve("/f", some_bytes(100_000, seed=1))
    for trust in (False, True):
        with pytest.raises(DigestError):
            store.fetch("net", [source], trust_first_use=trust)
    assert visible(store.root) == []


def test_a_wrong_weak_digest_is_an_error_even_when_trusting(server, store):
    with pytest.raises(DigestError, match="md5"):
        store.fetch("net", [loose(server.serve("/f", DATA), md5="0" * 32)], trust_first_use=True)
    assert not (store.root / "lock.json").exists()


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Fault(body=b"<html>please log in</html>"), "HTML page"),
        (Fault(body=b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
        (Fault(length="none", cut=500), "does not say how long"),
        (Fault(cut=500, length="chunked"), "cut"),
        (Fault(headers={"Content-Encoding": "br"}), "sent as br"),
    ],
)
def test_what_is_clearly_wrong_is_never_trusted(server, store, fault, cause):
    source = loose(server.serve("/f", DATA, always=fault))
    with pytest.raises(NetworkError, match=cause):
        store.fetch("net", [source], trust_first_use=True)
    assert not (store.root / "lock.json").exists() and visible(store.root) == []


def test_records_that_cannot_be_read_are_not_passed_over(server, store):
    source = loose(server.serve("/f", DATA))
    store.root.mkdir()
    for text in ("{", "[]", '{"version": 2}', '{"version": 1, "models": {"net": {"net.bin": {"sha256": "../x"}}}}'):
        (store.root / "lock.json").write_text(text)
        with pytest.raises(CacheError, match="first use cannot be read"):
            store.fetch("net", [source], trust_first_use=True)


def test_what_was_trusted_for_one_url_does_not_serve_another(server, mirror, store):
    """Two registries may use one name; without digests only the URL tells their files apart."""
    store.fetch("net", [loose(server.serve("/f", DATA))], trust_first_use=True)
    assert store.locate("net", [loose(mirror.serve("/f", DATA[1:]))]) is None


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.mark.usefixtures("no_sockets")
def test_offline_opens_no_socket(make_store):
    source = pinned(DATA, "https://files.example/f?key=secret")
    with pytest.raises(OfflineError, match=r"net\.bin of net") as caught:
        make_store(offline=True).fetch("net", [source])
    assert caught.value.received == "https://files.example/f?..."


@pytest.mark.usefixtures("no_sockets")
def test_the_environment_can_say_offline(make_store, monkeypatch):
    monkeypatch.setenv("MODELZOO_OFFLINE", "1")
    with pytest.raises(OfflineError):
        make_store().fetch("net", [pinned(DATA, "https://files.example/f")])
    monkeypatch.setenv("MODELZOO_OFFLINE", "no")
    assert not make_store().offline


@pytest.mark.usefixtures("no_sockets")
def test_offline_serves_what_is_cached_and_what_is_local(make_store, tmp_path):
    (tmp_path / "f").write_bytes(DATA)
    source = replace(
        pinned(DATA, "https://files.example/f"), urls=("https://files.example/f", (tmp_path / "f").as_uri())
    )
    first = make_store(offline=True).fetch("net", [source])
    (tmp_path / "f").unlink()
    assert make_store(offline=True).fetch("net", [source]) == first
