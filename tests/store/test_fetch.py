"""Fetching as it should be, and requests that make no sense."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from hashlib import sha384
from pathlib import Path

import pytest

from modelzoo.errors import NetworkError, RegistryFormatError, UsageError
from modelzoo.store import Member, Source, Store, cache_root
from tests.store.conftest import QUICK, pinned, some_bytes, visible
from tests.store.fault_server import Fault

DATA = some_bytes(300_000)


def test_a_fetched_file_is_real_read_only_and_under_its_own_name(server, store):
    fetched = store.fetch("ns/net", [pinned(DATA, server.serve("/f", DATA))])
    path = fetched.files["weights"]
    assert path == store.root / "models" / "ns+net" / "net.bin" == Path(fetched) / "net.bin"
    assert path.read_bytes() == DATA
    status = path.lstat()
    assert (status.st_nlink, status.st_mode & 0o777) == (1, 0o444)
    assert fetched.all == (("weights", "net.bin", path),)
    assert visible(store.root) == [path], "the bytes are stored once"
    assert (store.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_what_is_cached_costs_no_request(server, store, make_store):
    source = pinned(DATA, server.serve("/f", DATA))
    assert store.locate("net", [source]) is None
    first = store.fetch("net", [source])
    assert make_store(offline=True).fetch("net", [source]) == first == store.locate("net", [source])
    assert store.locate("net") == first
    assert len(server.seen) == 1


def test_a_file_of_two_models_is_downloaded_once(server, store):
    source = pinned(DATA, server.serve("/f", DATA))
    one, other = store.fetch("one", [source]), store.fetch("other", [source])
    assert one.path != other.path
    assert other.files["weights"].read_bytes() == DATA
    assert other.files["weights"].lstat().st_nlink == 1, "onnx refuses files with a second name"
    assert len(server.seen) == 1


def test_what_arrived_before_another_file_failed_is_not_fetched_again(server, make_store):
    store = make_store(policy=replace(QUICK, parallel=1))
    first = pinned(DATA, server.serve("/a", DATA), name="a")
    second = pinned(DATA[1:], server.serve("/b", DATA[1:], always=Fault(status=404)), name="deep/b", role="labels")
    with pytest.raises(NetworkError):
        store.fetch("net", [first, second])
    assert store.locate("net") is None
    server.serve("/b", DATA[1:])
    fetched = store.fetch("net", [first, second])
    assert fetched.files["labels"] == fetched.path / "deep" / "b"
    assert (len(server.gets("/a")), len(server.gets("/b"))) == (1, 2)


def test_a_file_is_also_found_by_sha384_alone(server, store):
    source = Source("f", "weights", (server.serve("/f", DATA),), None, {"sha384": sha384(DATA).hexdigest()})
    store.fetch("one", [source])
    store.fetch("other", [source])
    assert len(server.seen) == 1


def test_a_card_that_names_other_bytes_gets_them(server, store):
    old, new = DATA, some_bytes(200_000, seed=1)
    store.fetch("net", [pinned(old, server.serve("/old", old))])
    other = pinned(old, server.url + "/old", name="old", role="labels")
    fetched = store.fetch("net", [pinned(new, server.serve("/new", new)), other])
    assert fetched.files["weights"].read_bytes() == new
    assert fetched.files["labels"].read_bytes() == old
    assert len(server.gets("/old")) == 1, "the old bytes were still there"
    assert not list((store.root / "partial").iterdir())


def test_local_urls_need_no_network(tmp_path, make_store, monkeypatch):
    monkeypatch.setattr("modelzoo.store.local.installed_root", lambda: tmp_path)
    (tmp_path / "a file").write_bytes(DATA)
    store = make_store(offline=True)
    url = (tmp_path / "a file").as_uri()
    assert "%20" in url
    fetched = store.fetch("net", [pinned(DATA, url), pinned(DATA, "package:a file", name="b", role="labels")])
    assert [path.read_bytes() for path in fetched.files.values()] == [DATA, DATA]


@pytest.mark.parametrize(
    "url",
    ["package:../secret", "package:/etc/passwd", "file://elsewhere/x", "file:///dev/zero", "file:///nowhere/at/all"],
)
def test_local_urls_that_lead_astray_are_refused(store, url):
    with pytest.raises(NetworkError) as caught:
        store.fetch("net", [pinned(DATA, url)])
    assert len(caught.value.attempts) == 1


def test_progress_is_told_to_a_function(server, make_store):
    steps = []
    store = make_store(progress=lambda *step: steps.append(step))
    store.fetch("net", [pinned(DATA, server.serve("/f", DATA))])
    assert steps[0] == ("net.bin", 0, len(DATA))
    assert steps[-1] == ("net.bin", len(DATA), len(DATA))
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)


def test_a_bar_is_drawn_when_asked_for_and_else_only_on_a_terminal(server, make_store, capfd):
    source = pinned(DATA, server.serve("/f", DATA))
    make_store(progress=None).fetch("net", [source])
    assert capfd.readouterr() == ("", "")
    make_store(progress=True).fetch("other", [pinned(DATA[1:], server.serve("/g", DATA[1:]))])
    out, err = capfd.readouterr()
    assert out == "" and "net.bin" in err


def test_what_fetch_would_do_can_be_asked_without_network_or_writing(server, store):
    source = pinned(DATA, server.serve("/f", DATA, [Fault(cut=100_000)] * 9))
    (planned,) = store.plan("net", [source])
    assert (planned.cached, planned.kept, planned.size, planned.pinned) == (False, 0, len(DATA), True)
    assert not store.root.exists() and not server.seen
    with pytest.raises(NetworkError):
        Store(store.root, policy=replace(QUICK, rounds=1), progress=False).fetch("net", [source])
    assert store.plan("net", [source])[0].kept == 100_000
    server.serve("/f", DATA)
    store.fetch("net", [source])
    assert store.plan("net", [source])[0].cached


def test_importing_the_store_and_listing_it_load_nothing_heavy(tmp_path):
    code = (
        "import sys, pathlib; from modelzoo.store import Store; s = Store(pathlib.Path(sys.argv[1]));"
        "s.entries(), s.locate('net');"
        "print([m for m in ('requests', 'urllib3', 'tqdm', 'numpy', 'filelock', 'ssl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("MODELZOO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "modelzoo"
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "own"))
    assert Store().root == cache_root() == tmp_path / "own"


GOOD = pinned(DATA, "https://example.org/f")


@pytest.mark.parametrize(
    ("case", "key", "sources", "error"),
    [
        ("no sources", "net", [], UsageError),
        ("key leads out", "../net", [GOOD], UsageError),
        ("key in capitals", "Net", [GOOD], UsageError),
        ("name leads out", "net", [replace(GOOD, name="../x")], RegistryFormatError),
        ("name is a device", "net", [replace(GOOD, name="aux.bin")], RegistryFormatError),
        ("names collide", "net", [GOOD, replace(GOOD, name="NET.BIN")], RegistryFormatError),
        ("digest is a path", "net", [replace(GOOD, digests={"sha256": "../" * 21 + "x"})], RegistryFormatError),
        ("digest is unknown", "net", [replace(GOOD, digests={"sha9": "00"})], RegistryFormatError),
        ("size is negative", "net", [replace(GOOD, size=-1)], RegistryFormatError),
        ("no URL", "net", [replace(GOOD, urls=())], RegistryFormatError),
        ("URL of ftp", "net", [replace(GOOD, urls=("ftp://example.org/f",))], RegistryFormatError),
        ("URL without host", "net", [replace(GOOD, urls=("https:///f",))], RegistryFormatError),
        ("member leads out", "net", [replace(GOOD, members=(Member("a", "graph", name="../a"),))], RegistryFormatError),
        (
            "member twice",
            "net",
            [replace(GOOD, members=(Member("a", "graph"), Member("a", "mean", "b")))],
            RegistryFormatError,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_requests_without_sense_are_refused_before_anything_is_touched(store, case, key, sources, error):
    with pytest.raises(error):
        store.fetch(key, sources)
    assert not store.root.exists()


def test_credentials_go_to_their_host_and_into_no_message(server, mirror, store):
    target = mirror.serve("/f", DATA)
    url = server.serve("/f", DATA, [Fault(status=302, headers={"Location": target})])
    with_login = url.replace("http://", "http://user:s%65cret@") + "?token=s3cret"
    store.fetch("net", [pinned(DATA, with_login)])
    assert server.seen[0].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert "authorization" not in mirror.seen[0].headers

    for path in store.root.rglob("*"):
        assert not path.is_file() or b"cret" not in path.read_bytes(), path

    server.serve("/f", DATA, always=Fault(status=401))
    with pytest.raises(NetworkError) as caught:
        store.fetch("other", [pinned(DATA[1:], with_login)])
    for text in (str(caught.value), repr(caught.value.as_dict())):
        assert "cret" not in text and "s3" not in text
        assert server.url.removeprefix("http://") + "/f" in text


def test_netrc_and_cookies_are_never_sent(server, mirror, store, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("default login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    target = mirror.serve("/f", DATA)
    url = server.serve("/f", DATA, [Fault(status=302, headers={"Location": target, "Set-Cookie": "a=b; Path=/"})])
    store.fetch("net", [pinned(DATA, url)])
    for seen in (*server.seen, *mirror.seen):
        assert not {"authorization", "cookie"} & set(seen.headers)
        assert seen.headers["accept-encoding"] == "identity"


def test_keys_in_urls_stay_out_of_what_is_kept_of_an_interrupted_download(server, store):
    url = server.serve("/f", DATA, always=Fault(cut=1000)).replace("http://", "http://user:s3cret@")
    with pytest.raises(NetworkError):
        store.fetch("net", [pinned(DATA, url + "?key=s3cret")])
    texts = [path.read_bytes() for path in (store.root / "partial").glob("*.journal")]
    assert len(texts) == 1 and b"s3cret" not in texts[0]
