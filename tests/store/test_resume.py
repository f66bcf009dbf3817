"""What is kept of an interrupted download, and what servers may answer when asked for the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelzoo.errors import DigestError, NetworkError
from modelzoo.store import Source, Store
from tests.store.conftest import QUICK, pinned, some_bytes
from tests.store.fault_server import Fault

DATA = some_bytes(300_000)
OTHER = some_bytes(300_000, seed=1)
ONCE = replace(QUICK, rounds=1)


def interrupted(root, source: Source, **options: bool) -> None:
    with pytest.raises(NetworkError, match="are kept"):
        Store(root, policy=ONCE, progress=False).fetch("net", [source], **options)


def part(root):
    (path,) = (root / "partial").glob("*.part")
    return path


def test_after_a_cut_one_request_asks_for_the_rest(server, root, store):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=123_456)]))
    interrupted(root, source)
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert server.ranges("/f") == [None, "bytes=123456-"]
    assert server.seen[1].headers["if-range"] == '"v1"'
    assert server.sent == len(DATA)


def test_a_weak_etag_is_not_sent_as_a_condition(server, root, store):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=1000)], etag='W/"v1"'))
    interrupted(root, source)
    store.fetch("net", [source])
    assert server.ranges("/f") == [None, "bytes=1000-"]
    assert "if-range" not in server.seen[1].headers


def test_a_file_that_changed_in_between_is_fetched_from_its_start(server, root, store):
    source = pinned(DATA, server.serve("/f", OTHER, [Fault(cut=1000)], etag='"old"'))
    interrupted(root, source)
    server.serve("/f", DATA, etag='"new"')
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert server.seen[1].headers["if-range"] == '"old"'
    assert len(server.seen) == 2


def test_a_file_that_changed_without_a_sign_is_fetched_again_from_its_start(server, root, store):
    source = pinned(DATA, server.serve("/f", OTHER, [Fault(cut=1000)], etag=""))
    interrupted(root, source)
    server.serve("/f", DATA, etag="")
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert server.ranges("/f") == [None, "bytes=1000-", None]


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        ([Fault(ranges=False)], ["bytes=1000-"]),
        ([Fault(shift=7)], ["bytes=1000-", None]),
        ([Fault(shift=-7)], ["bytes=1000-", None]),
        ([Fault(status=206, body=b"x")], ["bytes=1000-", None]),
        ([Fault(status=416, headers={"Content-Range": "bytes */500"})], ["bytes=1000-", "bytes=1000-"]),
        ([Fault(status=416)], ["bytes=1000-", None]),
        ([Fault(encode=True)], ["bytes=1000-", None]),
        ([Fault(headers={"ETag": '"other"'})], ["bytes=1000-", None]),
    ],
    ids=["ignored", "later", "earlier", "no range stated", "416 of a shorter file", "416 bare", "encoded", "new etag"],
)
def test_a_wrong_answer_to_a_request_for_the_rest_does_no_harm(server, root, store, faults, ranges):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=1000), *faults]))
    interrupted(root, source)
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert server.ranges("/f") == [None, *ranges]


@pytest.mark.parametrize("size", [True, False], ids=["size known", "size unknown"])
def test_what_is_complete_already_costs_no_request(server, root, store, size):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=1000)]), size=size)
    interrupted(root, source)
    with part(root).open("ab") as stream:
        stream.write(DATA[1000:])
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert len(server.seen) == 1


def test_a_server_that_says_that_nothing_is_left_is_believed_only_by_the_digest(server, root, store):
    """416: with a digest what is complete is never asked for; without one it is fetched anew, since nobody knows."""
    loose = Source("f", "weights", (server.serve("/f", DATA, [Fault(cut=1000)]),), None, {})
    interrupted(root, loose, trust_first_use=True)
    with part(root).open("ab") as stream:
        stream.write(OTHER[1000:])
    assert store.fetch("net", [loose], trust_first_use=True).files["weights"].read_bytes() == DATA
    assert server.ranges("/f") == [None, "bytes=300000-", None]


@pytest.mark.parametrize("size", [True, False], ids=["size known", "size unknown"])
def test_what_is_longer_than_the_file_is_thrown_away(server, root, store, size):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=1000)]), size=size)
    interrupted(root, source)
    with part(root).open("ab") as stream:
        stream.write(DATA + b"more")
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert server.ranges("/f")[-1] is None


@pytest.mark.parametrize("damage", [0, 70_000, 199_999], ids=["at the start", "in the middle", "after the last mark"])
def test_a_partial_file_damaged_on_the_disk_is_cut_back_or_fetched_again(server, root, store, damage):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=200_000)]))
    interrupted(root, source)
    path = part(root)
    content = bytearray(path.read_bytes())
    content[damage] ^= 1
    path.write_bytes(content)
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    marks = [int(text.removeprefix("bytes=").rstrip("-")) for text in server.ranges("/f") if text]
    assert all(mark <= damage or mark == 200_000 for mark in marks)


def test_the_rest_may_come_from_another_server(server, mirror, root, store):
    source = pinned(
        DATA,
        server.serve("/f", DATA, [Fault(cut=100_000)], always=Fault(status=404)),
        mirror.serve("/g", DATA, etag='"another"'),
    )
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert mirror.ranges("/g") == ["bytes=100000-"]
    assert "if-range" not in mirror.seen[0].headers


def test_a_mirror_of_another_file_does_not_cost_what_is_kept(server, mirror, root, store):
    source = pinned(DATA, mirror.serve("/g", OTHER[:5000]), server.serve("/f", DATA, [Fault(cut=100_000)]))
    assert store.fetch("net", [source]).files["weights"].read_bytes() == DATA
    assert server.ranges("/f") == [None, "bytes=100000-"]


def test_without_a_digest_only_the_same_file_of_the_same_server_is_resumed(server, mirror, root, store):
    url = server.serve("/f", DATA, [Fault(cut=100_000)])
    source = Source("f", "weights", (url,), None, {})
    interrupted(root, source, trust_first_use=True)
    assert store.fetch("net", [source], trust_first_use=True).files["weights"].read_bytes() == DATA
    assert server.ranges("/f") == [None, "bytes=100000-"]

    weak = Source("f", "weights", (mirror.serve("/f", DATA, [Fault(cut=100_000)], etag='W/"v1"'),), None, {})
    assert store.fetch("other", [weak], trust_first_use=True).files["weights"].read_bytes() == DATA
    assert mirror.ranges("/f") == [None, None]


def test_bytes_of_several_attempts_that_are_wrong_together_are_all_thrown_away(server, root, store):
    source = pinned(DATA, server.serve("/f", OTHER, [Fault(cut=1000)], etag=""))
    interrupted(root, source)
    with pytest.raises(DigestError):
        store.fetch("net", [source])
    assert server.ranges("/f") == [None, "bytes=1000-", None, None]
    assert not list((root / "partial").glob("*.part"))
