"""A mirror is written from the cache, served by any server, and asked first; its bytes are verified all the same."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest

from modelzoo import errors, fetch
from modelzoo.registry import Card, card_sources, load_registries, validate_registry
from modelzoo.registry.mirror import write_mirror
from modelzoo.store import Store
from tests.store.fault_server import Fault, fault_server


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


PLAIN, PACKED, LOOSE = b"plain" * 999, archive(net=b"inside" * 99, readme=b"no"), b"loose" * 333


@pytest.fixture
def origin(monkeypatch, tmp_path):
    monkeypatch.setenv("MODELZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("MODELZOO_OFFLINE", "MODELZOO_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    with fault_server() as server:
        for path, data in (("/plain", PLAIN), ("/packed", PACKED), ("/loose", LOOSE)):
            server.serve(path, data)
        yield server


def cards(url: str) -> dict[str, Card]:
    def one(name: str, data: bytes, digests: dict[str, str], **more: object) -> dict[str, object]:
        urls = [{"url": f"{url}/{name}"}]
        return {"name": name, "role": "weights", "urls": urls, "size": len(data), "digests": digests, **more}

    both = {"sha256": hashlib.sha256(PLAIN).hexdigest(), "md5": hashlib.md5(PLAIN).hexdigest()}
    sha384 = {"sha384": hashlib.sha384(PACKED).hexdigest()}
    raw = {
        "plain": [one("plain", PLAIN, both), {**one("plain", b"", {}), "name": "more", "optional": True}],
        "packed": [one("packed", PACKED, sha384, role="archive", members=[{"path": "net", "role": "weights"}])],
        "loose": [{k: v for k, v in one("loose", LOOSE, {}).items() if k != "size"}],
    }
    about = {"title": "T", "task": "t", "framework": "f"}
    return {name: Card.from_dict(name, {**about, "files": files}) for name, files in raw.items()}


def served(server, folder):
    for path in folder.rglob("*"):
        if path.is_file():
            server.serve("/" + path.relative_to(folder).as_posix(), path.read_bytes())


def registry_of(tmp_path, made):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"schema_version": 1, "models": {n: c.as_dict() for n, c in made.items()}}))
    return str(path)


def test_it_holds_archives_whole_and_a_registry_of_what_it_holds(origin, tmp_path):
    made = cards(origin.url)
    done = write_mirror(tmp_path / "m", [made["plain"], made["packed"]])
    assert [(one.name, one.fetched, one.error) for one in done] == [("plain", 1, None), ("packed", 1, None)]
    held = sorted(path.relative_to(tmp_path / "m").as_posix() for path in (tmp_path / "m").rglob("*") if path.is_file())
    assert held == sorted(
        [
            "registry.json",
            f"sha256/{hashlib.sha256(PLAIN).hexdigest()}",
            f"sha384/{hashlib.sha384(PACKED).hexdigest()}",
        ]
    )
    assert (tmp_path / "m" / done[1].files[0]).read_bytes() == PACKED
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "m").rglob("*") if path.is_file())
    validate_registry(tmp_path / "m" / "registry.json")
    assert Store().entries() == ()  # nothing of it stays in the cache


def test_fetching_asks_the_mirror_first_and_needs_nobody_else(origin, tmp_path, monkeypatch):
    made = cards(origin.url)
    write_mirror(tmp_path / "m", [made["plain"], made["packed"]])
    origin.seen.clear()
    with fault_server() as mirror:
        served(mirror, tmp_path / "m")
        monkeypatch.setenv("MODELZOO_MIRROR", mirror.url + "/")
        own = registry_of(tmp_path, made)
        got = fetch("packed", registries=[own]).files["weights"].read_bytes()
        assert got == b"inside" * 99
        assert fetch("plain", registries=[own]).files["weights"].read_bytes() == PLAIN
        assert len(mirror.seen) == 2
    assert origin.seen == []


def test_a_mirror_that_lies_is_found_out_and_the_origin_asked(origin, tmp_path, monkeypatch):
    made = cards(origin.url)
    write_mirror(tmp_path / "m", [made["plain"]])
    with fault_server() as mirror:
        mirror.serve(f"/sha256/{hashlib.sha256(PLAIN).hexdigest()}", b"x" + PLAIN[1:])
        monkeypatch.setenv("MODELZOO_MIRROR", mirror.url)
        got = fetch("plain", registries=[registry_of(tmp_path, made)]).files["weights"].read_bytes()
        assert got == PLAIN
        assert len(mirror.seen) >= 1


def test_a_mirror_without_the_file_costs_one_request(origin, tmp_path, monkeypatch):
    with fault_server() as mirror:
        monkeypatch.setenv("MODELZOO_MIRROR", mirror.url)
        own = registry_of(tmp_path, cards(origin.url))
        assert fetch("plain", registries=[own]).files["weights"].read_bytes() == PLAIN
        assert len(mirror.seen) == 1


def test_files_without_a_strong_digest_are_mirrored_on_request_and_pinned_by_the_mirrors_registry(
    origin, tmp_path, monkeypatch
):
    made = cards(origin.url)
    (refused,) = write_mirror(tmp_path / "m", [made["loose"]])
    assert isinstance(refused.error, errors.UnpinnedError)
    (taken,) = write_mirror(tmp_path / "m", [made["loose"]], trust_first_use=True)
    assert taken.files == (f"sha256/{hashlib.sha256(LOOSE).hexdigest()}",)
    origin.seen.clear()
    with fault_server() as mirror:
        served(mirror, tmp_path / "m")
        monkeypatch.setenv("MODELZOO_MIRROR", mirror.url)
        found = fetch("loose", registries=[f"{mirror.url}/registry.json"])
        assert found.files["weights"].read_bytes() == LOOSE
    assert origin.seen == []


def test_running_again_fetches_nothing_adds_cards_and_mends_what_is_damaged(origin, tmp_path):
    made = cards(origin.url)
    (first,) = write_mirror(tmp_path / "m", [made["plain"]])
    origin.seen.clear()
    assert [one.fetched for one in write_mirror(tmp_path / "m", [made["plain"], made["packed"]])] == [0, 1]
    assert [seen.path for seen in origin.seen] == ["/packed"]
    assert set(json.loads((tmp_path / "m" / "registry.json").read_text())["models"]) == {"plain", "packed"}
    (tmp_path / "m" / first.files[0]).write_bytes(b"rot")
    assert [one.fetched for one in write_mirror(tmp_path / "m", [made["plain"]])] == [1]
    assert (tmp_path / "m" / first.files[0]).read_bytes() == PLAIN


def test_one_card_that_fails_leaves_the_others(origin, tmp_path):
    made = cards(origin.url)
    origin.serve("/plain", PLAIN, [Fault(status=404)] * 20)
    told = []
    done = write_mirror(tmp_path / "m", [made["plain"], made["packed"]], report=told.append)
    assert done == told
    assert isinstance(done[0].error, errors.NetworkError)
    assert done[1].error is None
    assert list(json.loads((tmp_path / "m" / "registry.json").read_text())["models"]) == ["packed"]
    assert Store().entries() == ()


def test_where_no_mirror_can_be(origin, tmp_path):
    made = cards(origin.url)
    (tmp_path / "file").write_text("x")
    with pytest.raises(errors.UsageError):
        write_mirror(tmp_path / "file", [made["plain"]])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "registry.json").write_text("{}")
    with pytest.raises(errors.UsageError):
        write_mirror(tmp_path / "other", [made["plain"]])
    assert (tmp_path / "other" / "registry.json").read_text() == "{}"


@pytest.mark.parametrize("value", ["ftp://h", "somewhere", "https://a b", "http:/x"])
def test_what_is_no_mirror(monkeypatch, value):
    monkeypatch.setenv("MODELZOO_MIRROR", value)
    with pytest.raises(errors.UsageError):
        card_sources(load_registries().card("inception_v1"))


def test_the_mirror_goes_behind_the_wheel_and_before_everything_else(monkeypatch):
    raw = {
        "name": "f",
        "role": "weights",
        "urls": [{"url": "https://h/f"}, {"url": "package:modelzoo/f", "kind": "package"}],
        "digests": {"sha512": "0" * 128},
    }
    card = Card.from_dict("x", {"title": "T", "task": "t", "framework": "f", "files": [raw]})
    monkeypatch.setenv("MODELZOO_MIRROR", "https://m/base/")
    (source,) = card_sources(card)
    assert source.urls == ("package:modelzoo/f", f"https://m/base/sha512/{'0' * 128}", "https://h/f")
