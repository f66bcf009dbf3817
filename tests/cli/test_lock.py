"""`lock` and `fetch --locked`: a project gets the files that it was locked to, or none."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli import invented
from tests.cli.conftest import Run


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write(tmp_path, a=b"first", b=b"second")


def write(folder: Path, *, pinned: bool = True, **files: bytes) -> Path:
    cards: dict[str, Any] = {}
    for name, data in files.items():
        (folder / f"{name}.bin").write_bytes(data)
        file: dict[str, Any] = {
            "name": f"{name}.bin",
            "role": "weights",
            "urls": [{"url": (folder / f"{name}.bin").as_uri()}],
        }
        if pinned:
            file |= {"size": len(data), "digests": {"sha256": hashlib.sha256(data).hexdigest()}}
        cards[name] = {"title": name, "task": "t", "framework": "f", "licence": "MIT", "files": [file]}
    return invented.registry_file(folder / "own.json", **cards)


def fetch(run: Run, own: Path, *words: str) -> Any:
    return run("--registry", own, "fetch", *words)


def test_locking_adds_and_fetching_locked_takes_all_that_is_locked(run: Run, own: Path) -> None:
    assert run("--registry", own, "lock", "a").out == "a  added\n"
    assert run("--registry", own, "lock", "a", "b").out == "a  unchanged\nb  added\n"
    lock = json.loads(Path("modelzoo.lock").read_text())
    assert set(lock["models"]) == {"a", "b"}
    assert lock["models"]["a"]["files"][0]["sha256"] == hashlib.sha256(b"first").hexdigest()
    ran = fetch(run, own, "--locked", "--json")
    assert [Path(one["files"][0]["path"]).read_bytes() for one in ran.json] == [b"first", b"second"]


def test_what_is_not_locked_is_refused_before_anything_is_fetched(run: Run, own: Path) -> None:
    run("--registry", own, "lock", "a")
    ran = fetch(run, own, "--locked", "a", "b")
    assert ran.code == 2
    assert "not in the lockfile" in ran.err
    assert run("cache", "list", "-q").out == ""


def test_a_registry_that_says_something_else_later_is_refused(run: Run, own: Path, tmp_path: Path) -> None:
    run("--registry", own, "lock", "a", "b")
    write(tmp_path, a=b"other", b=b"second")
    ran = fetch(run, own, "--locked", "a")
    assert ran.code == 7
    assert "not what was locked" in ran.err
    assert run("--registry", own, "lock", "--check", "a", "b").code == 1
    assert run("--registry", own, "lock", "--check", "b").code == 0
    before = Path("modelzoo.lock").read_bytes()
    checked = run("--registry", own, "lock", "--check", "--json")
    assert checked.json["models"] == {"a": "changed", "b": "unchanged"}
    assert Path("modelzoo.lock").read_bytes() == before
    assert run("--registry", own, "lock").out == "a  changed\nb  unchanged\n"
    assert fetch(run, own, "--locked", "a").code == 0


def test_other_bytes_at_the_same_place_are_refused_by_the_lock(run: Run, own: Path, tmp_path: Path) -> None:
    run("--registry", own, "lock", "a")
    (tmp_path / "a.bin").write_bytes(b"FIRST")
    assert fetch(run, own, "--locked").code == 7


def test_an_unpinned_model_is_locked_after_its_first_use_and_bound_from_then_on(run: Run, tmp_path: Path) -> None:
    own = write(tmp_path, pinned=False, a=b"first")
    ran = run("--registry", own, "lock", "a")
    assert ran.code == 8
    assert "--trust-first-use" in ran.err
    assert not Path("modelzoo.lock").exists()
    assert fetch(run, own, "--trust-first-use", "a").code == 0
    assert run("--registry", own, "lock", "a").code == 0
    other = ("--cache", str(tmp_path / "elsewhere"))
    assert run(*other, "--registry", own, "fetch", "--locked").code == 0  # another machine: the lock is enough
    (tmp_path / "a.bin").write_bytes(b"FIRST")
    assert run("--cache", str(tmp_path / "third"), "--registry", own, "fetch", "--locked").code == 7


def test_removing_and_another_file(run: Run, own: Path) -> None:
    assert run("--registry", own, "lock", "--lockfile", "x.lock", "a", "b").code == 0
    assert run("--registry", own, "lock", "--lockfile", "x.lock", "--remove", "a").out == "a  removed\n"
    assert list(json.loads(Path("x.lock").read_text())["models"]) == ["b"]
    assert not Path("modelzoo.lock").exists()
    assert fetch(run, own, "--lockfile", "x.lock", "a").code == 2
    assert fetch(run, own, "--lockfile", "x.lock").code == 0
    assert run("--registry", own, "lock", "--lockfile", "x.lock", "--remove", "a").code == 2


@pytest.mark.parametrize(
    "words,code",
    [
        (("fetch", "--locked"), 2),
        (("fetch",), 2),
        (("lock",), 2),
        (("lock", "--check", "a"), 2),
        (("lock", "nobody"), 3),
        (("lock", "lenet"), 2),
        (("lock", "--remove", "--check", "a"), 2),
    ],
)
def test_what_makes_no_sense(run: Run, own: Path, words: tuple[str, ...], code: int) -> None:
    ran = run("--registry", own, *words)
    assert ran.code == code
    assert not Path("modelzoo.lock").exists()


def test_a_damaged_lockfile_is_said_to_be_one(run: Run, own: Path) -> None:
    Path("modelzoo.lock").write_text("{")
    assert fetch(run, own, "--locked").code == 4
    assert run("--registry", own, "lock", "a").code == 4
    assert Path("modelzoo.lock").read_text() == "{"


def test_locked_and_trusting_are_two_things(run: Run, own: Path) -> None:
    run("--registry", own, "lock", "a")
    assert fetch(run, own, "--locked", "--trust-first-use", "a").code == 2
