"""How bodies are read: into one buffer where their length is stated, piece by piece everywhere else."""

from __future__ import annotations

import pytest

from modelzoo.errors import NetworkError
from modelzoo.store import transport
from modelzoo.store.retries import TransferFailed
from modelzoo.store.transport import RequestsTransport
from tests.store.conftest import QUICK, pinned, some_bytes
from tests.store.fault_server import Fault
from tests.store.test_bodies import DATA, HEALED, REFUSED

LARGE = some_bytes(5_000_000, seed=3)


@pytest.fixture(params=["one buffer", "pieces"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "pieces":  # requests over another urllib3, or over none
        monkeypatch.setattr(transport, "_bare_stream", lambda response: (None, 0))
    return request.param


def pieces_of(url: str) -> tuple[list[bytes], bool]:
    """What `read` gave, piece by piece, and whether all of it lay in one buffer."""
    reply = RequestsTransport(QUICK).get(url, {})
    found, one_buffer = [], True
    try:
        while len(piece := reply.read()):
            one_buffer = one_buffer and isinstance(piece, memoryview)
            found.append(bytes(piece))
        assert len(reply.read()) == 0  # and again at the end
    finally:
        reply.close()
    return found, one_buffer


def test_a_body_of_stated_length_comes_whole_and_ends_although_the_connection_does_not(server, way):
    found, one_buffer = pieces_of(server.serve("/f", LARGE))
    assert b"".join(found) == LARGE
    assert len(found) < 500
    assert one_buffer == (way == "one buffer")


@pytest.mark.parametrize("length", ["chunked", "none"])
def test_a_body_without_a_stated_length_comes_whole_too(server, way, length):
    found, one_buffer = pieces_of(server.serve("/f", LARGE, [Fault(length=length)]))
    assert b"".join(found) == LARGE
    assert not one_buffer


def test_an_empty_body(server, way):
    assert pieces_of(server.serve("/f", b""))[0] == []


def test_a_cut_is_seen_as_such_or_as_fewer_bytes(server, way):
    url = server.serve("/f", LARGE, [Fault(cut=100_000)])
    try:
        found, _ = pieces_of(url)
    except TransferFailed as failure:
        assert "cut before the end" in failure.cause
    else:
        assert LARGE.startswith(b"".join(found))
        assert sum(map(len, found)) == 100_000


@pytest.mark.parametrize("faults", HEALED.values(), ids=HEALED)
def test_a_fault_that_passes_is_healed_either_way(server, store, way, faults):
    fetched = store.fetch("net", [pinned(DATA, server.serve("/f", DATA, faults))])
    assert fetched.files["weights"].read_bytes() == DATA


@pytest.mark.parametrize(("fault", "error", "cause"), REFUSED.values(), ids=REFUSED)
def test_a_fault_that_stays_is_refused_either_way(server, store, way, fault, error, cause):
    url = server.serve("/f", DATA, [fault] * 50)
    with pytest.raises(error) as caught:
        store.fetch("net", [pinned(DATA, url)])
    assert cause in str(caught.value)


def test_a_server_that_stalls_is_left_in_time(server, store, way):
    url = server.serve("/f", LARGE, [Fault(stall=10_000)] * 50)
    with pytest.raises(NetworkError, match="no byte came"):
        store.fetch("net", [pinned(LARGE, url)])
