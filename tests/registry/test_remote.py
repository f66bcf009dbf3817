"""A registry behind a URL: one copy, asked again only when told to, never replaced by what is no registry."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from modelzoo import errors
from modelzoo.registry import info, list_models

CARD = {"title": "Mine", "task": "embedding", "framework": "onnx", "licence": "MIT"}


class Server(ThreadingHTTPServer):
    """Serves `body` with an ETag; `log` holds (status, If-None-Match) of every answer."""

    daemon_threads = True

    def __init__(self):
        self.body = json.dumps({"schema_version": 1, "models": {"mine": CARD}}).encode()
        self.status = 200
        self.log = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/registry.json"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        tag = f'"{hash(self.server.body)}"'
        given = self.headers.get("If-None-Match")
        status = 304 if self.server.status == 200 and given == tag else self.server.status
        self.server.log.append((status, given))
        self.send_response(status)
        self.send_header("ETag", tag)
        body = self.server.body if status == 200 else b""
        self.send_header("Content-Length", str(len(body)))
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


def test_offline_never_asks(server, monkeypatch):
    monkeypatch.setenv("MODELZOO_OFFLINE", "1")
    with pytest.raises(errors.OfflineError):
        list_models(registries=[server.url])
    monkeypatch.delenv("MODELZOO_OFFLINE")
    list_models(registries=[server.url])
    monkeypatch.setenv("MODELZOO_OFFLINE", "1")
    assert "mine" in list_models(registries=[server.url], refresh=True)
    assert len(server.log) == 1


def test_a_server_that_fails_leaves_the_copy(server, caplog):
    list_models(registries=[server.url])
    for status, body in ((503, b""), (200, b"<html>"), (200, b'{"schema_version": 1, "models": {"mine": {}}}')):
        server.status, server.body = status, body
        assert "mine" in list_models(registries=[server.url], refresh=True)
    assert "the copy in the cache is used" in caplog.text


@pytest.mark.parametrize(
    "status,body,error",
    [
        (404, b"", errors.NetworkError),
        (200, b"<html>", errors.RegistryFormatError),
        (200, b'{"schema_version": 9, "models": {}}', errors.RegistryError),
    ],
)
def test_without_a_copy_the_failure_is_said(server, status, body, error):
    server.status, server.body = status, body
    with pytest.raises(error):
        list_models(registries=[server.url])


def test_nobody_there_is_a_network_error_without_the_password(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(errors.NetworkError) as caught:
        list_models(registries=[server.url.replace("http://", "http://me:secret@")])
    assert "secret" not in str(caught.value)
