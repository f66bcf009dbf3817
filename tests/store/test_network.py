"""Servers that are busy, away, or lead elsewhere; certificates and proxies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate

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
    assert str(caught.value).count(url) == 2  # what was received, and one line for all that ended alike
    assert f"({QUICK.rounds} times)" in str(caught.value)
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


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date", "absurd seconds", "absurd date", "nonsense"])
def test_a_server_that_asks_to_wait_is_given_the_time_but_not_all_of_it(server, root, monkeypatch, status, form):
    """With a `Date` of the server's own clock, which is years off."""
    now = 1_000_000_000.0
    value = {
        "seconds": "1",
        "date": formatdate(now + 1, usegmt=True),
        "absurd seconds": "9" * 30,
        "absurd date": formatdate(now + 1e9, usegmt=True),
        "nonsense": "Wed, 99 Foo 20000",
    }[form]
    headers = {"Retry-After": value, "Date": formatdate(now, usegmt=True)}
    url = server.serve("/f", DATA, [Fault(status=status, headers=headers)] * 2)
    waits: list[float] = []
    monkeypatch.setattr("modelzoo.store.download.rest", lambda seconds, stop: waits.append(seconds))
    store = Store(root, policy=replace(QUICK, backoff=0.001, longest_wait=30.0), progress=False)
    assert store.fetch("net", [pinned(DATA, url)]).files["weights"].read_bytes() == DATA
    assert len(server.seen) == 3
    asked_for = {"seconds": 1, "date": 1, "nonsense": None}.get(form, 30)
    assert [round(wait) for wait in waits if wait > 0.5] == ([asked_for] * 2 if asked_for else [])


def test_the_wait_that_a_server_asks_for_is_named(server, root):
    url = server.serve("/f", DATA, always=Fault(status=429, headers={"Retry-After": "0.1"}))
    busy = server.serve("/g", DATA, always=Fault(status=429, headers={"Retry-After": "3"}))
    with pytest.raises(NetworkError) as caught:
        Store(root, policy=replace(QUICK, rounds=1), progress=False).fetch("net", [pinned(DATA, url, busy)])
    assert f"{busy}: the server has too many requests (HTTP 429), and asks to wait 0.2 s" in str(caught.value)
    assert f"{url}: the server has too many requests (HTTP 429)\n" in str(caught.value)


def test_a_busy_server_is_left_for_its_mirror_at_once(server, mirror, root):
    url = server.serve("/f", DATA, always=Fault(status=503, headers={"Retry-After": "3600"}))
    store = Store(root, policy=replace(QUICK, longest_wait=60.0), progress=False)
    store.fetch("net", [pinned(DATA, url, mirror.serve("/f", DATA))])
    assert (len(server.seen), len(mirror.seen)) == (1, 1)


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


def test_one_byte_a_second_is_left_for_a_mirror_and_the_bytes_are_kept(server, mirror, root):
    url = server.serve("/f", DATA, always=Fault(pause=1.0, chunk=1))
    policy = replace(QUICK, read_timeout=3.0, rate_window=1.5, minimum_rate=1024.0)
    fetched = Store(root, policy=policy, progress=False).fetch("net", [pinned(DATA, url, mirror.serve("/f", DATA))])
    assert fetched.files["weights"].read_bytes() == DATA
    (wanted,) = mirror.ranges("/f")
    kept = int(wanted.removeprefix("bytes=").removesuffix("-"))
    assert 1 <= kept <= 20, "what came in the first seconds, however busy the machine is"


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


def test_a_public_server_leads_nobody_to_the_loopback_interface(server, mirror, store, monkeypatch):
    """The public server is behind a proxy; what it leads to could be reached, and is not asked."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, server.url)
    inner = mirror.serve("/f", DATA)
    url = "http://files.example/f"
    server.serve(url, DATA, always=Fault(status=302, headers={"Location": inner}))
    with pytest.raises(NetworkError, match=r"private address 127\.0\.0\.1: refused") as caught:
        store.fetch("net", [pinned(DATA, url)])
    assert [one.path for one in server.seen] == [url] and not mirror.seen and caught.value.hint


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


def test_a_transport_can_be_replaced(make_store):
    class Down:
        def get(self, url: str, headers: Mapping[str, str]) -> None:
            raise TransferFailed("the sea cable is cut", again=False)

    with pytest.raises(NetworkError, match="sea cable"):
        make_store(transport=Down()).fetch("net", [pinned(DATA, "https://files.example/f")])


def test_the_default_limits_are_bounded():
    policy = Policy()
    assert policy.longest_wait <= 60 and policy.read_timeout <= 60 and policy.rounds <= 10
