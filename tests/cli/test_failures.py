"""Every failure ends in a message, a hint and the documented exit code, under `--json` in one document."""

from __future__ import annotations

import errno
import inspect
import io
import json
import os
import socket
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from modelzoo import errors
from modelzoo.cli.root import root, verb
from tests.cli import invented
from tests.cli.conftest import Run, Tiny
from tests.cli.snapshot import assert_snapshot

raised: BaseException = Exception()


@verb("probe")
def probe() -> None:
    """Fail as the test says."""
    raise raised


@pytest.fixture
def failing(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a verb that raises an exception."""
    monkeypatch.setitem(root.where, "probe", f"{__name__}:probe")

    def fail(error: BaseException, *words: str) -> Any:
        monkeypatch.setattr(sys.modules[__name__], "raised", error)
        return run("probe", *words)

    return fail


def one_of(cls: type[errors.ModelzooError]) -> errors.ModelzooError:
    if cls is errors.MissingExtraError:
        return cls("parquet", "pyarrow", "Writing parquet")  # type: ignore[call-arg, arg-type]
    if issubclass(cls, errors.NotFoundError):
        return cls("nmae", ["name"])
    if cls is errors.UnsupportedOperatorError:
        return cls("node", "Op", hint="do this")  # type: ignore[call-arg]
    return cls("Something happened.", hint="do this")


CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.ModelzooError)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_of_error_has_its_code_its_message_and_its_hint(failing, cls) -> None:
    error = one_of(cls)
    ran = failing(error)
    assert (ran.code, ran.out) == (cls.exit_code, "")
    assert ran.err.splitlines()[0] == f"error: {error.what}"
    assert ran.err.splitlines()[-1] == f"  Hint: {error.hint}"
    document = failing(error, "--json")
    assert (document.code, document.err) == (cls.exit_code, "")
    assert document.json["error"] == cls.__name__
    assert document.json["message"] == error.what
    assert document.json["exit_code"] == cls.exit_code
    assert failing(error, "--quiet").err == ran.err


def test_what_nobody_foresaw(failing) -> None:
    ran = failing(ValueError("a value\nof two lines"))
    assert (ran.code, ran.out) == (70, "")
    assert_snapshot("error-fault", ran.err)
    assert failing(RuntimeError(), "--json").json["received"] == "RuntimeError"


def test_the_traceback_of_what_nobody_foresaw_can_be_had(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("MODELZOO_DEBUG", "1")
    monkeypatch.setitem(root.where, "probe", f"{__name__}:probe")
    monkeypatch.setattr(sys.modules[__name__], "raised", ValueError("a value"))
    with pytest.raises(SystemExit) as stop:
        root.main(["probe"])
    assert stop.value.code == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()], ids=lambda error: type(error).__name__)
def test_an_interrupt(failing, error: BaseException) -> None:
    ran = failing(error)
    assert (ran.code, ran.out, ran.err) == (130, "", "Interrupted.\n")


@pytest.mark.parametrize(
    ("number", "name"),
    [(errno.ENOSPC, "DiskFullError"), (errno.EROFS, "ReadOnlyError"), (errno.EACCES, "ReadOnlyError")],
)
def test_what_the_system_refuses_without_anybody_having_caught_it(failing, number: int, name: str) -> None:
    ran = failing(OSError(number, os.strerror(number), "/some/file"), "--json")
    assert (ran.code, ran.json["error"], ran.json["received"]) == (10, name, "/some/file")


def test_causes_and_attempts_are_listed_and_the_hint_comes_last(failing) -> None:
    error = errors.NetworkError(
        "No URL delivered net.bin.", attempts=["https://a/net.bin: 404", "https://b/net.bin: timeout"], hint="wait"
    )
    error.__cause__ = OSError("connection refused")
    assert_snapshot("error-network", failing(error).err)


# -- the same from the outside: what a user can really meet -----------------------------------------------------------


@pytest.fixture
def card(tiny: Tiny) -> dict[str, Any]:
    return json.loads(json.dumps(tiny.card))


@pytest.fixture
def fetch(run: Run, tmp_path: Path) -> Callable[..., Any]:
    def fetch(card: dict[str, Any], *words: str) -> Any:
        return run("fetch", "tiny_v1", "--registry", invented.registry_file(tmp_path / "r.json", tiny_v1=card), *words)

    return fetch


def test_another_digest(fetch, card, tmp_path: Path) -> None:
    card["files"][0]["digests"]["sha256"] = "0" * 64
    ran = fetch(card)
    assert ran.code == 7
    assert "tiny.tar.gz" in ran.err
    assert "0000000" in ran.err
    assert not list((tmp_path / "cache").rglob("*.ckpt"))


def test_another_size(fetch, card) -> None:
    card["files"][0]["size"] += 1
    assert fetch(card).code == 7


def test_nobody_answers(fetch, card) -> None:
    with socket.socket() as idle:
        idle.bind(("127.0.0.1", 0))
        port = idle.getsockname()[1]
    card["files"][0]["urls"] = [{"url": f"file:///nowhere/{port}/tiny.tar.gz", "kind": "original"}]
    ran = fetch(card)
    assert ran.code == 5
    assert "tried" in ran.err


def test_offline_and_not_cached(fetch, card) -> None:
    card["files"][0]["urls"] = [{"url": "https://example.org/tiny.tar.gz", "kind": "original"}]
    assert fetch(card, "--offline").code == 6


def test_a_member_that_is_not_there(fetch, card) -> None:
    card["files"][0]["members"][0]["path"] = "other.ckpt"
    ran = fetch(card)
    assert ran.code == 9
    assert "other.ckpt" in ran.err


def test_an_archive_that_is_none(fetch, card, tmp_path: Path) -> None:
    data = b"not an archive " * 100
    (tmp_path / "t.tar.gz").write_bytes(data)
    new = invented.card(
        data, (tmp_path / "t.tar.gz").as_uri(), member="tiny.ckpt", width=0.125, size=64, names=["a", "b"]
    )
    assert fetch(new).code == 9


def test_a_path_that_leaves_its_folder(fetch, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("../tiny.ckpt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    (tmp_path / "t.tar.gz").write_bytes(buffer.getvalue())
    new = invented.card(
        buffer.getvalue(), (tmp_path / "t.tar.gz").as_uri(), member="tiny.ckpt", width=0.125, size=64, names=["a", "b"]
    )
    assert fetch(new).code == 9


def test_a_cache_that_is_a_file(fetch, card, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert fetch(card, "--cache", str(tmp_path / "file")).code == 10


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "There is no such registry."),
        ("{", "is not a JSON registry"),
        ('{"schema_version": 9, "models": {}}', "schema_version 9"),
        ('{"schema_version": 1}', "no `models` object"),
        ('{"schema_version": 1, "models": {"x": {"title": "X"}}}', "x"),
    ],
)
def test_a_registry_that_cannot_be_read(run: Run, tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "broken.json"
    if content is not None:
        path.write_text(content)
    ran = run("list", "--registry", path)
    assert (ran.code, ran.out) == (4, "")
    assert says in ran.err
    assert run("list", "--registry", path, "--json").json["exit_code"] == 4


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff not a jpeg", b"GIF89a"], ids=["empty", "jpeg", "gif"])
def test_a_picture_that_is_none(run: Run, tiny: Tiny, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "wrong.jpg"
    path.write_bytes(data)
    ran = run("classify", "tiny_v1", path, "--registry", tiny.registry)
    assert (ran.code, ran.out) == (15, "")
    assert "wrong.jpg" in ran.err


def test_weights_that_are_not_there(run: Run, tiny: Tiny, picture: Path) -> None:
    ran = run("classify", "tiny_v1", picture, "--weights", "nowhere.ckpt", "--registry", tiny.registry)
    assert ran.code == 13
    assert "nowhere.ckpt" in ran.err
