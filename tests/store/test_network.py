"""Servers that are busy, away, or lead elsewhere; certificates and proxies."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from modelzoo.errors import DigestError, NetworkError
from modelzoo.store import Policy, Source, Store
from modelzoo.store.retries import TransferFailed, pause, retry_after
from tests.store.conftest import QUICK, pinned, some_bytes
from tests.store.fault_server import Fault

DATA = some_bytes(100_000)
AWAY = "http://127.0.0.1:9/f"  # the port of "discard", where nobody listens


def test_a_mirror_serves_what_the_original_does_not(server, mirror, store):
    url = server.serve("/f", DATA, always=Fault(status=404))
    source = pinned(DATA, AWAY, url, mirror.serve("/f", DATA))
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert (len(server.seen), len(mirror.seen)) == (1, 1)


def test_a_mirror_that_lies_does_no_harm(server, mirror, store):
    source = pinned(DATA, mirror.serve("/f", DATA, always=Fault(flip=1)), server.serve("/f", DATA))
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA


def test_a_mirror_that_is_down_and_one_that_lies_are_both_named(mirror, store):
    lie = mirror.serve("/f", DATA, always=Fault(flip=1))
    with pytest.raises(DigestError) as caught:
        store.fetch("net", [pinned(DATA, AWAY, lie)])
    assert f"{AWAY}: the server refuses connections" in str(caught.value)
    assert f"{lie}: wrong bytes: sha256 is" in str(caught.value)


def test_the_attempts_are_listed(server, store):
    url = server.serve("/f", DATA, always=Fault(status=500))
    with pytest.raises(NetworkError) as caught:
        store.fetch("net", [pinned(DATA, url)])
    assert caught.value.attempts == (f"{url}: the server fails (HTTP 500)",) * QUICK.rounds
    assert caught.value.received == url


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
def test_what_will_not_change_is_not_asked_again(server, store, status):
    with pytest.raises(NetworkError, match=str(status)):
        store.fetch("net", [pinned(DATA, server.serve("/f", DATA, always=Fault(status=status)))])
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_change_is_asked_again(server, store, status):
    url = server.serve("/f", DATA, [Fault(status=status)] * 2)
    assert store.fetch("net", [pinned(DATA, url)]).files["weights"].read_bytes() == DATA
    assert len(server.seen) == 3


def test_the_wait_that_a_server_asks_for_is_kept_and_bounded(server, root, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("modelzoo.store.download.rest", lambda seconds, stop: waits.append(seconds))
    faults = [Fault(status=503, headers={"Retry-After": value}) for value in ("7", "100000", "soon")]
    policy = replace(QUICK, longest_wait=30.0, backoff=0.001, rounds=5)
    Store(root, policy=policy, progress=False).fetch("net", [pinned(DATA, server.serve("/f", DATA, faults))])
    long = [wait for wait in waits if wait > 1]
    assert len(long) == 2
    assert 6.5 < long[0] <= 7 and 29.5 < long[1] <= 30


def test_retry_after_is_seconds_or_a_date_by_the_clock_of_the_server():
    assert retry_after("12", None, 60) == 12
    assert retry_after("9" * 400, None, 60) == 60
    now = 1_000_000_000.0
    assert retry_after(formatdate(now + 20, usegmt=True), formatdate(now, usegmt=True), 60) == 20
    assert retry_after(formatdate(now - 20, usegmt=True), formatdate(now, usegmt=True), 60) == 0
    for nonsense in (None, "", "soon", "-3", "1e9", "Wed, 99 Foo 2020 00:00:00 GMT"):
        assert retry_after(nonsense, None, 60) == 0


def test_pauses_double_and_are_bounded():
    for turn in range(1, 40):
        assert 0.5 * min(0.5 * 2 ** (turn - 1), 60) <= pause(turn, 0.5, 60.0) <= 60


def test_a_stall_ends_and_the_download_goes_on(server, store):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(stall=50_000)]))
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert server.ranges("/f") == [None, "bytes=50000-"]


def test_a_trickle_is_given_up(server, root):
    url = server.serve("/f", DATA, always=Fault(pause=0.05, chunk=1))
    with pytest.raises(NetworkError, match=r"only \d+ bytes came within"):
        Store(root, policy=replace(QUICK, rounds=1), progress=False).fetch("net", [pinned(DATA, url)])


def test_a_server_without_an_answer_is_given_up(server, root):
    url = server.serve("/f", DATA, always=Fault(stall=0, length="none"))
    with pytest.raises(NetworkError, match=r"no byte came for 0\.5 s"):
        Store(root, policy=replace(QUICK, rounds=1), progress=False).fetch("net", [pinned(DATA, url)])


def test_redirects_are_followed_and_counted(server, mirror, store):
    target = mirror.serve("/deep/f", DATA)
    url = server.serve("/f", DATA, always=Fault(status=307, headers={"Location": "/g"}))
    server.serve("/g", DATA, always=Fault(status=302, headers={"Location": target}))
    store.fetch("net", [pinned(DATA, url)])
    loop = server.serve("/loop", DATA, always=Fault(status=301, headers={"Location": "/loop"}))
    with pytest.raises(NetworkError, match="redirects more than 10 times"):
        store.fetch("other", [pinned(DATA[1:], loop)])
    assert len(server.gets("/loop")) == 11


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/f", "", "http://[::1/f"])
def test_redirects_to_what_is_no_web_server_are_refused(server, store, target):
    url = server.serve("/f", DATA, always=Fault(status=302, headers={"Location": target}))
    with pytest.raises(NetworkError, match="it redirects to"):
        store.fetch("net", [pinned(DATA, url)])
    assert len(server.seen) == 1


class Script:
    """A network of other hosts: `Location` by URL, and a file at the end."""

    def __init__(self, redirects: Mapping[str, str]) -> None:
        self.redirects = redirects
        self.asked: list[str] = []

    def get(self, url: str, headers: Mapping[str, str]) -> Script.Reply:
        self.asked.append(url)
        return self.Reply(self.redirects.get(url))

    class Reply:
        def __init__(self, location: str | None) -> None:
            self.status = 302 if location else 200
            self.headers = {"location": location} if location else {"content-length": str(len(DATA))}
            self._left = b"" if location else DATA

        def read(self) -> bytes:
            data, self._left = self._left, b""
            return data

        def close(self) -> None:
            pass


@pytest.fixture
def public_names(monkeypatch):
    known = {"files.example": ["93.184.216.34"], "inside.example": ["10.0.0.7"]}
    monkeypatch.setattr("modelzoo.store.addresses.resolve", lambda name: known.get(name, []))


def test_without_a_strong_digest_no_redirect_leaves_https(root, make_store, public_names):
    first, then = "https://files.example/f", "http://files.example/f"
    loose = Source("f", "weights", (first,), None, {"md5": "0" * 32})
    with pytest.raises(NetworkError, match="from https to http"):
        make_store(transport=Script({first: then})).fetch("net", [loose], trust_first_use=True)
    make_store(transport=Script({first: then})).fetch("net", [pinned(DATA, first)])


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/f",
        "http://169.254.169.254/f",
        "http://[::1]/f",
        "http://[::ffff:10.0.0.1]/f",
        "http://localhost/f",
        "http://inside.example/f",
        "http://box.local/f",
    ],
)
def test_no_redirect_leads_from_outside_into_the_own_network(make_store, public_names, target):
    url = "http://files.example/f"
    network = Script({url: target})
    with pytest.raises(NetworkError, match="private address"):
        make_store(transport=network).fetch("net", [pinned(DATA, url)])
    assert network.asked == [url]


def test_a_name_that_is_not_known_is_said_so(make_store, monkeypatch):
    import socket

    def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(NetworkError, match="name of the server is not known"):
        make_store().fetch("net", [pinned(DATA, "https://files.example/f")])


def test_a_proxy_that_asks_for_a_login_is_named(server, make_store, monkeypatch):
    server.serve("http://files.example/f", DATA, always=Fault(status=407))
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    with pytest.raises(NetworkError, match="proxy asks for a login") as caught:
        make_store().fetch("net", [pinned(DATA, "http://files.example/f")])
    assert "NO_PROXY" in str(caught.value)


def test_no_proxy_is_honoured(server, mirror, store, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, mirror.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    store.fetch("net", [pinned(DATA, server.serve("/f", DATA))])
    assert not mirror.seen


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with the openssl program")
def test_an_unknown_certificate_is_refused_until_the_user_names_its_authority(tmp_path, store, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(command, check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            self.wfile.write(DATA)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    source = pinned(DATA, f"https://127.0.0.1:{server.server_port}/f")
    try:
        with pytest.raises(NetworkError, match="certificate is not accepted") as caught:
            store.fetch("net", [source])
        assert len(caught.value.attempts) == 1 and "REQUESTS_CA_BUNDLE" in str(caught.value)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent.pem"))
        with pytest.raises(NetworkError, match="CA"):
            store.fetch("net", [source])
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    finally:
        server.shutdown()
        server.server_close()


def test_a_transport_can_be_replaced(make_store):
    class Down:
        def get(self, url: str, headers: Mapping[str, str]) -> None:
            raise TransferFailed("the sea cable is cut", again=False)

    with pytest.raises(NetworkError, match="sea cable"):
        make_store(transport=Down()).fetch("net", [pinned(DATA, "https://files.example/f")])


def test_the_default_limits_are_bounded():
    policy = Policy()
    assert policy.longest_wait <= 60 and policy.read_timeout <= 60 and policy.rounds <= 10
