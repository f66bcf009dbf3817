"""A registry behind a URL: one copy, asked again only when told to, never replaced by what is no registry."""

from __future__ import annotations

import gzip
import json
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modelzoo import errors
from modelzoo.registry import info, list_models, remote
from tests.store.fault_server import Fault, fault_server

CARD = {"title": "Mine", "task": "embedding", "framework": "onnx", "licence": "MIT"}


class Server(ThreadingHTTPServer):
    """Serves `body` with an ETag; `log` holds (status, If-None-Match) of every answer."""

    daemon_threads = True

    def __init__(self):
        self.body = json.dumps({"schema_version": 1, "models": {"mine": CARD}}).encode()
        self.status = 200
        self.etag = True
        self.gzip = False
        self.promised = 0  # bytes more than are sent
        self.location: str | None = None
        self.log = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/registry.json"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server = self.server
        tag, date = f'"{hash(server.body)}"', "Wed, 21 Oct 2015 07:28:00 GMT"
        given = self.headers.get("If-None-Match")
        same = given == tag if server.etag else self.headers.get("If-Modified-Since") == date
        status = 304 if server.status == 200 and same else server.status
        if server.location is not None:
            status = 302
        server.log.append((status, given))
        self.send_response(status)
        self.send_header(*(("ETag", tag) if server.etag else ("Last-Modified", date)))
        if status == 302:
            self.send_header("Location", server.location or "")
        body = server.body if status == 200 else b""
        if server.gzip:
            self.send_header("Content-Encoding", "gzip")
            body = gzip.compress(body)
        self.send_header("Content-Length", str(len(body) + server.promised))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODELZOO_REGISTRY", raising=False)
    monkeypatch.delenv("MODELZOO_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Server()
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_it_is_fetched_once_and_then_read_from_the_cache(server):
    for _ in range(3):
        assert info("mine", registries=[server.url]).title == "Mine"
    assert [status for status, _ in server.log] == [200]


def test_refresh_asks_conditionally(server):
    list_models(registries=[server.url])
    list_models(registries=[server.url], refresh=True)
    assert [status for status, _ in server.log] == [200, 304]
    server.body = json.dumps({"schema_version": 1, "models": {"yours": CARD}}).encode()
    assert "yours" in list_models(registries=[server.url], refresh=True)
    assert [status for status, _ in server.log] == [200, 304, 200]


def test_a_copy_that_was_damaged_is_fetched_anew(server, tmp_path):
    list_models(registries=[server.url])
    (copy,) = (tmp_path / "cache" / "registry" / "url").glob("*.json")
    copy.write_bytes(copy.read_bytes().replace(b"Mine", b"Evil"))
    assert info("mine", registries=[server.url]).title == "Mine"
    assert server.log == [(200, None), (200, None)]


def test_without_an_etag_the_date_is_asked_for(server):
    server.etag = False
    list_models(registries=[server.url])
    list_models(registries=[server.url], refresh=True)
    assert [status for status, _ in server.log] == [200, 304]


def test_offline_never_asks(server, monkeypatch):
    monkeypatch.setenv("MODELZOO_OFFLINE", "1")
    with pytest.raises(errors.OfflineError):
        list_models(registries=[server.url])
    monkeypatch.delenv("MODELZOO_OFFLINE")
    list_models(registries=[server.url])
    monkeypatch.setenv("MODELZOO_OFFLINE", "1")
    assert "mine" in list_models(registries=[server.url], refresh=True)
    assert len(server.log) == 1


TWICE = {"schema_version": 1, "models": {"a": {**CARD, "aliases": ["b"]}, "b": CARD}}
MORE = (
    (200, b'{"schema_version": 2, "models": {}}'),
    (200, json.dumps(TWICE).encode()),
    (200, b"\xff" * 99),
    (500, b""),
)


def test_a_server_that_fails_leaves_the_copy(server, caplog):
    list_models(registries=[server.url])
    for status, body in ((503, b""), (200, b"<html>"), (200, b'{"schema_version": 1, "models": {"mine": {}}}'), *MORE):
        server.status, server.body = status, body
        assert "mine" in list_models(registries=[server.url], refresh=True)
    assert "the copy in the cache is used" in caplog.text


@pytest.mark.parametrize(
    "status,body,error",
    [
        (404, b"", errors.NetworkError),
        (200, b"<html>", errors.RegistryFormatError),
        (200, b'{"schema_version": 9, "models": {}}', errors.RegistryVersionError),
        (304, b"", errors.NetworkError),
    ],
)
def test_without_a_copy_the_failure_is_said(server, status, body, error):
    server.status, server.body = status, body
    for _ in range(2):  # nothing of it was kept
        with pytest.raises(error):
            list_models(registries=[server.url])
    assert len(server.log) == 2


def test_a_body_that_is_cut_off_is_no_registry(server):
    server.promised = 10
    with pytest.raises(errors.NetworkError):
        list_models(registries=[server.url])


def test_a_body_without_an_end_is_given_up(server, monkeypatch):
    monkeypatch.setattr(remote, "_LARGEST", 100)
    server.body = b" " * 1000 + server.body
    with pytest.raises(errors.RegistryFormatError, match="has more than"):
        list_models(registries=[server.url])


def test_a_body_that_only_drips_is_given_up(server, monkeypatch):
    monkeypatch.setattr(remote, "_LONGEST", 0.0)
    with pytest.raises(errors.NetworkError, match="did not arrive within"):
        list_models(registries=[server.url])


def test_it_may_be_compressed(server):
    server.gzip = True
    assert "mine" in list_models(registries=[server.url])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with the openssl program")
def test_the_way_does_not_lead_from_https_to_http(server, tmp_path, monkeypatch):
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "1",
    ]
    subprocess.run([*make, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    secure = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    threading.Thread(target=secure.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    try:
        address = secure.url.replace("http:", "https:")
        secure.location = server.url
        with pytest.raises(errors.NetworkError, match="from https to http"):
            list_models(registries=[address])
        secure.location = None
        assert "mine" in list_models(registries=[address])
    finally:
        secure.shutdown()
        secure.server_close()


def test_nobody_there_is_a_network_error_without_the_password(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(errors.NetworkError) as caught:
        list_models(registries=[server.url.replace("http://", "http://me:secret@")])
    assert "secret" not in str(caught.value)


SECRETS = ("authorization", "x-key")


@pytest.fixture
def two_hosts(monkeypatch, server):
    """A registry's host, with a login written down for it, and another one that it can lead to."""
    with fault_server() as here, fault_server() as there:
        login = {here.url: {"Authorization": "Bearer 0123", "X-Key": "4567"}}
        monkeypatch.setenv("MODELZOO_AUTH", json.dumps(login))
        yield here, there


def test_a_login_is_sent_to_the_host_that_it_is_for(two_hosts, server):
    here, there = two_hosts
    for host in two_hosts:
        host.serve("/registry.json", server.body)
        assert "mine" in list_models(registries=[f"{host.url}/registry.json"])
    assert [here.seen[0].headers.get(name) for name in SECRETS] == ["Bearer 0123", "4567"]
    assert [there.seen[0].headers.get(name) for name in SECRETS] == [None, None]


def test_a_login_does_not_follow_a_redirect_to_another_host(two_hosts, server):
    here, there = two_hosts
    there.serve("/registry.json", server.body)
    here.serve("/moved", b"", [Fault(status=302, headers={"Location": f"{there.url}/registry.json"})])
    url = f"{here.url.replace('http://', 'http://me:secret@')}/moved"
    assert "mine" in list_models(registries=[url])
    assert here.seen[0].headers["x-key"] == "4567"
    assert [there.seen[0].headers.get(name) for name in (*SECRETS, "cookie")] == [None, None, None]


def test_a_login_of_netrc_is_not_used(two_hosts, server, tmp_path, monkeypatch):
    there = two_hosts[1]
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    there.serve("/registry.json", server.body)
    list_models(registries=[f"{there.url}/registry.json"])
    assert "authorization" not in there.seen[0].headers


@pytest.mark.parametrize("status", [401, 403])
def test_a_host_that_asks_for_a_login_says_where_it_goes(two_hosts, status):
    there = two_hosts[1]
    there.serve("/registry.json", b"", always=Fault(status=status))
    with pytest.raises(errors.NetworkError) as caught:
        list_models(registries=[f"{there.url}/registry.json?key=89ab"])
    assert "auth.toml" in str(caught.value.hint)
    assert "89ab" not in str(caught.value)


def test_redirects_without_an_end_are_given_up(two_hosts):
    here = two_hosts[0]
    here.serve("/a", b"", always=Fault(status=302, headers={"Location": "/a"}))
    with pytest.raises(errors.NetworkError, match="redirects more than"):
        list_models(registries=[f"{here.url}/a"])


def test_an_encoding_that_blows_up_is_stopped(server, monkeypatch):
    server.gzip = True
    server.body = b" " * (80 << 20) + server.body
    with pytest.raises(errors.RegistryError, match="has more than"):
        list_models(registries=[server.url])
