"""TLS: certificates that are unknown or expired, authorities of one's own, ways out of it, and proxies before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelzoo.errors import NetworkError
from modelzoo.store import Source
from tests.store import certificates
from tests.store.conftest import pinned, some_bytes, visible
from tests.store.fault_server import Fault, FaultServer, fault_server

pytestmark = certificates.needs_openssl

DATA = some_bytes(100_000)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory):
    return certificates.make(tmp_path_factory.mktemp("tls") / "good")


@pytest.fixture
def certificate(authority) -> Path:
    return authority[0]


@pytest.fixture
def secure(authority) -> Iterator[FaultServer]:
    with fault_server(tls=authority[1]) as running:
        yield running


def test_an_unknown_certificate_is_refused_until_the_user_names_its_authority(
    secure, certificate, tmp_path, store, monkeypatch
):
    source = pinned(DATA, secure.serve("/f", DATA))
    with pytest.raises(NetworkError, match="certificate is not accepted") as caught:
        store.fetch("net", [source])
    assert len(caught.value.attempts) == 1 and "REQUESTS_CA_BUNDLE" in str(caught.value)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent.pem"))
    with pytest.raises(NetworkError, match="CA"):
        store.fetch("net", [source])
    assert not secure.seen
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "CURL_CA_BUNDLE"])
def test_other_variables_name_an_authority_too(secure, certificate, store, monkeypatch, variable):
    monkeypatch.setenv(variable, str(certificate))
    store.fetch("net", [pinned(DATA, secure.serve("/f", DATA))])


def test_an_expired_certificate_is_refused_though_its_authority_is_known(tmp_path, store, monkeypatch):
    certificate, context = certificates.make(tmp_path / "old", expired=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with fault_server(tls=context) as old:
        with pytest.raises(NetworkError, match=r"certificate is not accepted: .*expired") as caught:
            store.fetch("net", [pinned(DATA, old.serve("/f", DATA))])
        assert "check the clock" in caught.value.hint and len(caught.value.attempts) == 1
        assert not old.seen and visible(store.root) == []


def test_a_certificate_for_another_host_is_refused(authority, certificate, store, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with fault_server(host="127.0.0.2", tls=authority[1]) as other:
        with pytest.raises(NetworkError, match="certificate is not accepted"):
            store.fetch("net", [pinned(DATA, other.serve("/f", DATA))])
        assert not other.seen


def test_without_a_strong_digest_no_redirect_leaves_tls(secure, certificate, server, store, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    plain = server.serve("/f", DATA)
    url = secure.serve("/f", DATA, always=Fault(status=302, headers={"Location": plain}))
    loose = Source("net.bin", "weights", (url,), None, {})
    with pytest.raises(NetworkError, match="from https to http") as caught:
        store.fetch("net", [loose], trust_first_use=True)
    assert not server.seen and visible(store.root) == [] and caught.value.hint
    store.fetch("net", [pinned(DATA, url)])  # the digest protects it, whatever the way


def test_a_proxy_is_asked_for_a_tunnel(secure, certificate, server, store, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, server.url.replace("http://", "http://user:secret@"))
    store.fetch("net", [pinned(DATA, secure.serve("/f", DATA))])
    (asked,) = server.seen
    assert asked.path == secure.url.removeprefix("https://")
    assert asked.headers["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert "proxy-authorization" not in secure.seen[0].headers


@pytest.mark.parametrize("status", [407, 403, 502])
def test_a_proxy_that_refuses_a_tunnel_is_named(secure, certificate, server, store, monkeypatch, status):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, server.url)
    server.serve(secure.url.removeprefix("https://"), b"", always=Fault(status=status))
    with pytest.raises(NetworkError, match=f"the proxy refused: .*{status}") as caught:
        store.fetch("net", [pinned(DATA, secure.serve("/f", DATA))])
    assert "NO_PROXY" in str(caught.value) and not secure.seen
    assert len(server.seen) == 1 or status != 407, "a password is not guessed"


def test_headers_for_a_host_are_not_sent_without_encryption(secure, certificate, server, store, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    hosts = [one.url.partition("//")[2] for one in (secure, server)]
    monkeypatch.setenv("MODELZOO_AUTH", json.dumps(dict.fromkeys(hosts, "Bearer abc")))
    plain = server.serve("/f", DATA)
    store.fetch("net", [pinned(DATA, secure.serve("/f", DATA, [Fault(status=302, headers={"Location": plain})]))])
    assert secure.seen[0].headers["authorization"] == "Bearer abc"
    assert "authorization" not in server.seen[0].headers
