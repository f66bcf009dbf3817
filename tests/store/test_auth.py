"""Headers that a file or the environment keeps for a host go to that host, and nowhere else."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from modelzoo.errors import NetworkError, UsageError
from modelzoo.store import auth
from tests.store.conftest import pinned, some_bytes
from tests.store.fault_server import Fault

DATA = some_bytes(50_000)


@pytest.fixture
def file(tmp_path: Path, monkeypatch) -> Path:
    path = tmp_path / "auth.toml"
    monkeypatch.setenv("MODELZOO_AUTH_FILE", str(path))
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def test_a_host_gets_the_headers_of_the_file(server, store, file):
    write(file, f'"{server.url}" = {{Authorization = "Bearer s3cret", X-Api-Key = "k3y"}}\n')
    store.fetch("net", [pinned(DATA, server.serve("/f", DATA, [Fault(cut=10_000)]))])
    assert [one.headers["authorization"] for one in server.seen] == ["Bearer s3cret"] * 2, "also for the rest"
    assert server.seen[0].headers["x-api-key"] == "k3y"
    for path in store.root.rglob("*"):
        assert not path.is_file() or b"s3cret" not in path.read_bytes(), path


def test_the_environment_goes_before_the_file(server, store, file, monkeypatch):
    write(file, f'"{server.url}" = {{Authorization = "Bearer file", X-Api-Key = "k3y"}}\n')
    monkeypatch.setenv("MODELZOO_AUTH", json.dumps({server.url: "Bearer variable"}))
    store.fetch("net", [pinned(DATA, server.serve("/f", DATA))])
    assert server.seen[0].headers["authorization"] == "Bearer variable"
    assert server.seen[0].headers["x-api-key"] == "k3y"


def test_a_redirect_takes_no_header_along_to_another_host(server, mirror, store, file):
    write(file, f'"{server.url}" = {{Authorization = "Bearer one", Cookie = "a=b"}}\n')
    target = mirror.serve("/f", DATA)
    store.fetch("net", [pinned(DATA, server.serve("/f", DATA, [Fault(status=302, headers={"Location": target})]))])
    assert server.seen[0].headers["cookie"] == "a=b"
    assert not {"authorization", "cookie"} & set(mirror.seen[0].headers)


def test_each_host_on_the_way_gets_its_own(server, mirror, store, file):
    write(file, f'"{server.url}" = "Bearer one"\n"{mirror.url}" = "Bearer other"\n')
    target = mirror.serve("/f", DATA)
    store.fetch("net", [pinned(DATA, server.serve("/f", DATA, [Fault(status=307, headers={"Location": target})]))])
    assert server.seen[0].headers["authorization"] == "Bearer one"
    assert mirror.seen[0].headers["authorization"] == "Bearer other"


def test_the_login_of_a_url_goes_before_both(server, store, file):
    write(file, f'"{server.url}" = {{authorization = "Bearer one", X-Api-Key = "k3y"}}\n')
    url = server.serve("/f", DATA).replace("http://", "http://user:secret@")
    store.fetch("net", [pinned(DATA, url)])
    assert server.seen[0].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert server.seen[0].headers["x-api-key"] == "k3y"


@pytest.mark.parametrize("status", [401, 403])
def test_a_host_that_asks_for_a_login_is_an_error_that_says_where_to_write_it(server, store, file, status):
    write(file, f'"{server.url}" = "Bearer s3cret"\n')
    with pytest.raises(NetworkError) as caught:
        store.fetch("net", [pinned(DATA, server.serve("/f", DATA, always=Fault(status=status)))])
    assert "MODELZOO_AUTH_FILE" in caught.value.hint
    assert "s3cret" not in str(caught.value) and len(server.seen) == 1


@pytest.mark.parametrize(
    ("key", "url", "meant"),
    [
        ("files.example", "https://files.example/f", True),
        ("FILES.example", "https://files.EXAMPLE./f", True),
        ("files.example:443", "https://files.example/f", True),
        ("https://files.example", "https://files.example:443/f", True),
        ("[::1]:8443", "https://[::1]:8443/f", True),
        ("http://files.example", "http://files.example/f", True),
        ("files.example", "http://files.example/f", False),
        ("files.example", "https://files.example:8443/f", False),
        ("files.example", "https://a.files.example/f", False),
        ("files.example", "https://files.example.evil/f", False),
        ("files.example", "https://files.example@evil.example/f", False),
        ("http://files.example", "https://files.example/f", False),
    ],
)
def test_scheme_host_and_port_have_to_be_the_same(monkeypatch, key, url, meant):
    monkeypatch.setenv("MODELZOO_AUTH", json.dumps({key: "Bearer abc"}))
    assert auth.headers_for(url) == ({"Authorization": "Bearer abc"} if meant else {})


@pytest.mark.parametrize(
    "value",
    [
        "{", "[]", '"s3cret"', '{"a/b": "s3cret"}', '{"": "s3cret"}', '{"*": "s3cret"}', '{"a:99999": "s3cret"}',
        '{"a": ["s3cret"]}', '{"a": {"X": 1}}', '{"a": {"X Y": "s3cret"}}', '{"a": {"X": "s3cret\\r\\nEvil: 1"}}',
        '{"a": {"X": ""}}', '{"a": {"Range": "bytes=0-"}}', '{"a": {"Host": "s3cret"}}', '{"a": "s3cr\\u00e9t"}',
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_without_saying_its_secrets(server, store, monkeypatch, value):
    monkeypatch.setenv("MODELZOO_AUTH", value)
    with pytest.raises(UsageError, match="MODELZOO_AUTH") as caught:
        store.fetch("net", [pinned(DATA, server.serve("/f", DATA))])
    assert "s3cr" not in str(caught.value) and not server.seen


@pytest.mark.parametrize("name", ["auth.toml", "auth.json"])
def test_a_file_that_cannot_be_understood_is_named(tmp_path, monkeypatch, name):
    write(tmp_path / name, 'a = "s3cret')
    monkeypatch.setenv("MODELZOO_AUTH_FILE", str(tmp_path / name))
    with pytest.raises(UsageError, match=name) as caught:
        auth.headers_for("https://files.example/f")
    assert "s3cret" not in str(caught.value) and caught.value.__cause__ is None


def test_it_may_be_json_and_lies_with_the_other_settings(tmp_path, monkeypatch):
    write(tmp_path / "a.json", '{"files.example": "Bearer abc"}')
    monkeypatch.setenv("MODELZOO_AUTH_FILE", str(tmp_path / "a.json"))
    assert auth.headers_for("https://files.example/f") == {"Authorization": "Bearer abc"}
    monkeypatch.delenv("MODELZOO_AUTH_FILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert auth.auth_file() == tmp_path / "modelzoo" / "auth.toml"


def test_a_file_that_others_may_read_is_warned_of(file, caplog):
    write(file, '"files.example" = "Bearer abc"')
    with caplog.at_level(logging.WARNING, "modelzoo"):
        auth.headers_for("https://files.example/f")
        assert not caplog.records
        file.chmod(0o644)
        assert auth.headers_for("https://files.example/f")
    assert "chmod 600" in caplog.text
